//! What a configuration means, in words: the answer of `denwa check`.

use std::fmt;
use std::net::IpAddr;

use super::exchanges::exchanges;
use super::words::{Count, Size, Things, Time};
use crate::config::{
    Access, CallRecords, Config, DigestOffer, Extension, Identity, Listen, LogLevel, NatMedia, Network,
    Number, Password, Sandbox,
};
use crate::tls;

/// A configuration in words, a table of some lines. Passwords are not shown.
pub struct Summary<'a>(pub &'a Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let domain = match &config.domain {
            Some(domain) => domain,
            None => "any name or address of this machine",
        };
        row(f, "phones register at", domain)?;
        for (i, listen) in config.listen.iter().enumerate() {
            let title = if i == 0 { "SIP is spoken on" } else { "" };
            row(f, title, Place(listen))?;
            if let Some((_, Access { allow, deny })) = config.gates.iter().find(|(place, _)| place == listen)
            {
                let but = if deny.is_empty() { "" } else { ", but not " };
                row(f, "", format_args!("  for {}{but}{}", Allowed(allow), Networks(deny)))?;
            }
        }
        for (i, listen) in config.mantela.listen.iter().enumerate() {
            row(f, if i == 0 { "mantela.json is on" } else { "" }, Place(listen))?;
        }
        if tls::is_spoken(config) {
            match &config.tls {
                Some(files) => row(f, "TLS certificate", files.cert.display())?,
                None => row(f, "TLS certificate", "made by denwa (self-signed)")?,
            }
        }
        for address in &config.advertise {
            let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            row(f, "public address", format_args!("{address} ({family})"))?;
        }
        if config.advertise_auto {
            row(f, "public address", "found out from the cloud, else that of the machine (auto)")?;
        }
        guard(f, config)?;
        let ports = config.media_ports;
        let calls = Things(ports.pairs() as u64 / 2, "audio call");
        let (first, last) = (ports.first, ports.last);
        let media = format_args!("udp {first}-{last}, enough for {calls} at once (4 ports each)");
        row(f, "media ports", media)?;
        let expires = config.register_expires;
        let (min, max) = (Time(expires.min), Time(expires.max));
        row(f, "registrations last", format_args!("{min} to {max}"))?;
        if config.keep_alive.is_zero() {
            row(f, "keep-alive", "never")?;
        } else {
            let time = Time(config.keep_alive);
            row(f, "keep-alive", format_args!("every {time} to each phone on UDP"))?;
        }
        let (limit, silence) = (Time(config.call_limit), Time(config.media_timeout));
        row(f, "calls end", format_args!("after {limit}, or {silence} without sound"))?;
        row(f, "state is kept in", config.state.display())?;
        match config.sync.is_zero() {
            true => row(f, "a power cut loses", "what is on its way to the disk")?,
            false => row(f, "a power cut loses", format_args!("the last {} of it", Time(config.sync)))?,
        }
        match config.call_records {
            None => row(f, "call records", "are not kept")?,
            Some(CallRecords { bytes, files }) => {
                let files = Things(files.into(), "file");
                row(
                    f,
                    "call records",
                    format_args!("are kept too: calls.csv, {files} of {} at most", Size(bytes)),
                )?;
            }
        }
        row(f, "the log has", level(config.log))?;
        row(f, "the sandbox is", sandbox(config.sandbox))?;
        match &config.user {
            Some(user) => row(f, "runs as", format_args!("{user}, if root starts it"))?,
            None => row(f, "runs as", "who starts it; if that is root, as denwa or else nobody")?,
        }

        writeln!(f, "\n  {}", Things(config.extensions.len() as u64, "extension"))?;
        for (number, extension) in &config.extensions {
            writeln!(f, "    {}", Line { number, extension })?;
        }
        if !config.groups.is_empty() {
            writeln!(f, "\n  {}", Things(config.groups.len() as u64, "group"))?;
        }
        for (number, members) in &config.groups {
            write!(f, "    {:<6} rings", number.as_str())?;
            for member in members {
                write!(f, " {member}")?;
            }
            writeln!(f)?;
        }
        if let Some(echo) = &config.echo {
            writeln!(f, "\n  echo test\n    {echo}")?;
        }
        exchanges(f, config)
    }
}

fn row(f: &mut fmt::Formatter<'_>, title: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {title:<19} {value}")
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "what is broken (error)",
        LogLevel::Warn => "what needs a look (warn)",
        LogLevel::Info => "registrations and calls (info)",
        LogLevel::Debug => "the first line of every message (debug)",
    }
}

/// Who may speak, and how much.
fn guard(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    let Access { allow, deny } = &config.access;
    row(f, "heard is", Allowed(allow))?;
    if !deny.is_empty() {
        row(f, "but not", Networks(deny))?;
    }
    let stealth = match config.stealth {
        true => "no answer unless they use the domain (stealth)",
        false => "answers, though they may not call",
    };
    row(f, "strangers get", stealth)?;
    let rates = [config.rate_stranger, config.rate_strangers, config.rate_phone];
    let [stranger, strangers, phone] = rates.map(|rate| Count(rate.0.into()));
    row(f, "packets a second", format_args!("{stranger} from each stranger, {strangers} from all of them,"))?;
    row(f, "", format_args!("{phone} from each address where a phone is registered"))?;
    match config.ban {
        None => row(f, "wrong passwords", "are never too many"),
        Some(ban) => {
            let (failures, time) = (Count(ban.failures.into()), Time(ban.time));
            row(
                f,
                "wrong passwords",
                format_args!("{failures} of them, and their source is not heard for {time}"),
            )
        }
    }
}

fn sandbox(sandbox: Sandbox) -> &'static str {
    match sandbox {
        Sandbox::Require => "complete, or it does not start (require)",
        Sandbox::BestEffort => "as good as this system has it (best-effort)",
        Sandbox::Off => "off",
    }
}

/// `everybody`, or `10.0.0.0/8 192.0.2.0/24`.
struct Allowed<'a>(&'a [Network]);

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("everybody"),
            networks => Networks(networks).fmt(f),
        }
    }
}

/// The first of a list, and how many more there are.
struct Networks<'a>(&'a [Network]);

impl fmt::Display for Networks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        for (i, network) in self.0.iter().take(SHOWN).enumerate() {
            let blank = if i == 0 { "" } else { " " };
            write!(f, "{blank}{network}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {} more", Count(more as u64)),
        }
    }
}

/// `udp:5060 on every address`.
struct Place<'a>(&'a Listen);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listen { transport, address, port } = self.0;
        match address {
            None => write!(f, "{transport} port {port} of every IPv6 and IPv4 address"),
            Some(IpAddr::V4(address)) => write!(f, "{transport} port {port} of {address}"),
            Some(IpAddr::V6(address)) => write!(f, "{transport} port {port} of {address}"),
        }
    }
}

/// An extension and what is special about it.
struct Line<'a> {
    number: &'a Number,
    extension: &'a Extension,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extension = self.extension;
        write!(f, "{:<6}", self.number.as_str())?;
        if let Some(name) = &extension.name {
            write!(f, " {name},")?;
        }
        let phones = Things(extension.max_contacts.into(), "phone");
        write!(f, " up to {phones}")?;
        if let Some(to) = &extension.busy {
            write!(f, ", busy to {to}")?;
        }
        if let Some(no_answer) = &extension.no_answer {
            let (after, to) = (Time(no_answer.after), &no_answer.to);
            write!(f, ", no answer after {after} to {to}")?;
        }
        if let Some(to) = &extension.offline {
            write!(f, ", offline to {to}")?;
        }
        if extension.identity == Identity::Any {
            f.write_str(", may show any caller id")?;
        }
        if extension.digest == DigestOffer::Md5 {
            f.write_str(", digest by MD5 alone")?;
        }
        if extension.nat_media == NatMedia::Learn {
            f.write_str(", sound from wherever it comes first")?;
        }
        if !extension.allow.is_empty() {
            write!(f, ", only from {}", Networks(&extension.allow))?;
        }
        let usual = Extension::new(Password::new(""));
        if extension.max_calls != usual.max_calls {
            write!(f, ", {} at once", Things(extension.max_calls.into(), "call"))?;
        }
        if extension.max_calls_hour != usual.max_calls_hour {
            write!(f, ", {} an hour", Things(extension.max_calls_hour.into(), "call"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn says_all_but_the_passwords() {
        let text = b"domain = pbx.example.net\nlisten = udp:60 tcp:[2001:db8::1]:61\n\
            advertise = 203.0.113.5\nmedia-ports = 40000-40007\nkeep-alive = 0s\n\
            ext.101 = secret-one\next.101.name = Kitchen\next.101.busy = 102\n\
            ext.101.no-answer = 20s 600\next.101.offline = 102\next.102 = secret-two\n\
            ext.102.identity = any\next.102.digest = md5\next.102.nat-media = learn\n\
            ext.102.max-contacts = 1\next.102.allow = 192.0.2.0/24 ::1\next.102.max-calls = 1\n\
            ext.102.max-calls-hour = 2000\nlisten.lan = udp:70\nlisten.lan.allow = 10.0.0.0/8\n\
            listen.wan = udp:80\nlisten.wan.deny = 10.0.0.0/8\nallow = 192.0.2.0/24 ::/0 10.0.0.0/8\n\
            deny = 192.0.2.9\nrate.phone = 1000/s\nban = 3 90s\ncall-records = 250k 1\nsandbox = require\nuser = pbx\ngroup.600 = 102 101\necho = 114";
        let config = Config::parse("x", text).unwrap();
        let said = Summary(&config).to_string();
        for line in [
            "phones register at  pbx.example.net",
            "SIP is spoken on    udp port 60 of every IPv6 and IPv4 address",
            "                    tcp port 61 of 2001:db8::1",
            "                    udp port 70 of every IPv6 and IPv4 address",
            "                      for 10.0.0.0/8",
            "                    udp port 80 of every IPv6 and IPv4 address",
            "                      for everybody, but not 10.0.0.0/8",
            "heard is            192.0.2.0/24 ::/0 10.0.0.0/8",
            "but not             192.0.2.9/32",
            "strangers get       no answer unless they use the domain (stealth)",
            "packets a second    10 from each stranger, 500 from all of them,",
            "                    1,000 from each address where a phone is registered",
            "wrong passwords     3 of them, and their source is not heard for 1 min 30 s",
            "call records        are kept too: calls.csv, 1 file of 250 kB at most",
            "the sandbox is      complete, or it does not start (require)",
            "runs as             pbx, if root starts it",
            "public address      203.0.113.5 (IPv4)",
            "media ports         udp 40000-40007, enough for 2 audio calls at once (4 ports each)",
            "keep-alive          never",
            "2 extensions",
            "  101    Kitchen, up to 5 phones, busy to 102, no answer after 20 s to 600, offline to 102",
            "  102    up to 1 phone, may show any caller id, digest by MD5 alone, sound from wherever it \
             comes first, only from 192.0.2.0/24 ::1/128, 1 call at once, 2,000 calls an hour",
            "  600    rings 102 101",
            "  114",
        ] {
            assert!(said.lines().any(|said| said == format!("  {line}")), "{line}\n{said}");
        }
        assert!(!said.contains("secret"));
    }

    #[test]
    fn says_what_is_usual() {
        let many: String = (0..9).map(|i| format!(" 192.0.2.{i}")).collect();
        let text =
            format!("ext.101 = secret-one\ndeny ={many}\nban = never\ncall-records = off\nsandbox = off");
        let config = Config::parse("x", text.as_bytes()).unwrap();
        let said = Summary(&config).to_string();
        for line in [
            "heard is            everybody",
            "but not             192.0.2.0/32 192.0.2.1/32 192.0.2.2/32 192.0.2.3/32 192.0.2.4/32 192.0.2.5/32 and 3 more",
            "strangers get       answers, though they may not call",
            "wrong passwords     are never too many",
            "call records        are not kept",
            "the sandbox is      off",
            "runs as             who starts it; if that is root, as denwa or else nobody",
            "  101    up to 5 phones",
        ] {
            assert!(said.lines().any(|said| said == format!("  {line}")), "{line}\n{said}");
        }
        let usual = Config::parse("x", b"ext.101 = secret-one").unwrap();
        let said = Summary(&usual).to_string();
        assert!(said.contains("30 of them, and their source is not heard for 10 min"), "{said}");
        assert!(said.contains("10 files of 1 MB at most"), "{said}");
        assert!(said.contains("as good as this system has it"), "{said}");
    }
}

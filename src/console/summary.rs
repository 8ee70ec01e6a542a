//! What a configuration means, in words: the answer of `denwa check`.

use std::fmt;
use std::net::IpAddr;

use super::words::{Things, Time};
use crate::config::{Config, DigestOffer, Extension, Identity, Listen, LogLevel, NatMedia, Number};

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
        }
        for address in &config.advertise {
            let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            row(f, "public address", format_args!("{address} ({family})"))?;
        }
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
        row(f, "the log has", level(config.log))?;

        writeln!(f, "\n  {}", Things(config.extensions.len() as u64, "extension"))?;
        for (number, extension) in &config.extensions {
            writeln!(f, "    {}", Line { number, extension })?;
        }
        if !config.groups.is_empty() {
            writeln!(f, "\n  {}", Things(config.groups.len() as u64, "group"))?;
        }
        for (number, members) in &config.groups {
            write!(f, "    {number:<6} rings")?;
            for member in members {
                write!(f, " {member}")?;
            }
            writeln!(f)?;
        }
        match &config.echo {
            Some(echo) => writeln!(f, "\n  echo test\n    {echo}"),
            None => Ok(()),
        }
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
        LogLevel::Debug => "every message (debug)",
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
        Ok(())
    }
}

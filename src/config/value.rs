//! How each kind of value is written, and what is said when it is not.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::de::Value;
use super::file::{
    Address, Advertised, Banned, Calls, CallsAnHour, Contacts, Digits, Domain, Goal, Minutes, Name, Pin,
    PlaceName, Records, Time, UserName, WebPlace, Word, YesNo,
};
use super::mistake::{Reason, printable};
use super::network::{bare_address, network};
use super::{
    Ban, CallRecords, DigestOffer, Identifier, Identity, Listen, LogLevel, MAX_CONTACTS, MAX_HOSTS, NatMedia,
    Network, Number, Password, PortRange, Rate, Sandbox, Spot, Target, TargetHost, Terminal, Transport,
    WebAddress,
};
use crate::sip::{Host, Uri};

/// Why a word is not a value: a sentence for the person who wrote it.
type Why = String;

/// `$kind` is read from one word (`read_word`), from a whole text (`read_text`), or from a part of a key
/// (`read_part`).
macro_rules! written_as {
    ($($kind:ty: $read:ident by $parse:expr;)*) => {$(
        impl Value for $kind {
            fn read(word: super::de::Word<'_>) -> Result<Self, Reason> {
                word.$read($parse)
            }
        }
    )*};
}

written_as! {
    Domain: read_word by domain;
    Listen: read_word by listen;
    Advertised: read_word by advertised;
    PortRange: read_word by port_range;
    Time: read_word by time;
    Number: read_word by number;
    Contacts: read_word by contacts;
    Calls: read_word by calls;
    CallsAnHour: read_word by calls_an_hour;
    Minutes: read_word by minutes;
    Digits: read_word by digits;
    Pin: read_word by pin;
    Address: read_word by address;
    Goal: read_text by goal;
    Word: read_text by word;
    Network: read_word by network;
    Rate: read_word by rate;
    YesNo: read_word by yes_no;
    WebPlace: read_word by web_place;
    WebAddress: read_word by WebAddress::parse;
    Identifier: read_word by identifier;
    UserName: read_word by user_name;
    PlaceName: read_part by place_name;
    Password: read_text by password;
    Name: read_text by name;
    Banned: read_text by ban;
    Records: read_text by call_records;
    PathBuf: read_text by |text| Ok(PathBuf::from(text));
}

/// `$kind` is one of a few words.
macro_rules! one_of {
    ($($kind:ident: $($word:literal => $value:ident)*;)*) => {$(
        impl Value for $kind {
            fn read(word: super::de::Word<'_>) -> Result<Self, Reason> {
                let values = [$($kind::$value),*];
                let which = word.read_choice(&[$($word),*])?;
                values.get(which).copied().ok_or(Reason::NoValue)
            }
        }
    )*};
}

one_of! {
    LogLevel: "error" => Error "warn" => Warn "info" => Info "debug" => Debug;
    Sandbox: "require" => Require "best-effort" => BestEffort "off" => Off;
    Spot: "auto" => Auto "off" => Off;
    Identity: "own" => Own "any" => Any;
    DigestOffer: "both" => Both "md5" => Md5;
    NatMedia: "strict" => Strict "learn" => Learn;
    Terminal: "application" => Application "cellphone" => Cellphone "conference" => Conference
        "dialphone" => Dialphone "fax" => Fax "information" => Information "modem" => Modem "music" => Music
        "other" => Other "phone" => Phone "pushphone" => Pushphone "reserved" => Reserved
        "smartphone" => Smartphone "unknown" => Unknown;
}

/// A word from the file inside a sentence.
fn shown(word: &str) -> String {
    printable(word, 40)
}

/// A whole number and its unit, together: `500ms 30s 2m 8h 1d`.
fn time(word: &str) -> Result<Time, Why> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = word.split_at(digits);
    let Ok(amount) = amount.parse::<u32>() else {
        return Err(format!("`{}` is not a duration", shown(word)));
    };
    let amount = u64::from(amount);
    let time = match unit {
        "ms" => Duration::from_millis(amount),
        "s" => Duration::from_secs(amount),
        "m" => Duration::from_secs(amount * 60),
        "h" => Duration::from_secs(amount * 3600),
        "d" => Duration::from_secs(amount * 86400),
        "" => {
            return Err(format!(
                "`{amount}` has no unit; write {amount}s for seconds, m for minutes, h for hours"
            ));
        }
        _ => {
            return Err(format!("`{}` has an unknown unit; there are ms, s, m, h and d", shown(word)));
        }
    };
    Ok(Time(time))
}

/// As it is dialled.
pub(super) fn number(word: &str) -> Result<Number, Why> {
    // One could be dialled, but not written into a list, where a `#` before a word is a comment.
    Number::new(word).filter(|_| !word.starts_with('#')).ok_or_else(|| {
        format!(
            "`{}` is not a number; it takes 1 to 32 of 0-9 A-Z a-z * + - _ #, and no # first",
            shown(word)
        )
    })
}

/// Decimal digits and nothing else.
fn whole<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok().filter(|_| word.bytes().all(|b| b.is_ascii_digit()))
}

fn contacts(word: &str) -> Result<Contacts, Why> {
    match whole(word) {
        Some(most @ 1..=MAX_CONTACTS) => Ok(Contacts(most)),
        _ => Err(format!("`{}` is not a number of phones from 1 to {MAX_CONTACTS}", shown(word))),
    }
}

fn calls(word: &str) -> Result<Calls, Why> {
    match whole(word) {
        Some(most @ 1..=1000) => Ok(Calls(most)),
        _ => Err(format!("`{}` is not a number of calls from 1 to 1000", shown(word))),
    }
}

fn calls_an_hour(word: &str) -> Result<CallsAnHour, Why> {
    match whole(word) {
        Some(most @ 1..=100_000) => Ok(CallsAnHour(most)),
        _ => Err(format!("`{}` is not a number of calls an hour from 1 to 100000", shown(word))),
    }
}

fn minutes(word: &str) -> Result<Minutes, Why> {
    match whole(word) {
        Some(most @ 1..=44_640) => Ok(Minutes(most)),
        _ => Err(format!("`{}` is not a number of minutes from 1 to 44640", shown(word))),
    }
}

fn digits(word: &str) -> Result<Digits, Why> {
    match whole(word) {
        Some(count @ 0..=32) => Ok(Digits(count)),
        _ => Err(format!("`{}` is not a number of digits from 0 to 32", shown(word))),
    }
}

/// A SHA-256 in hex, with or without colons.
fn pin(word: &str) -> Result<Pin, Why> {
    let digits: Vec<u8> = word.bytes().filter(|&b| b != b':').collect();
    let mut pin = [0; 32];
    let is_hex = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
    for (byte, pair) in pin.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| pair.get(at).and_then(|&b| char::from(b).to_digit(16)).unwrap_or(0) as u8;
        *byte = digit(0) << 4 | digit(1);
    }
    match is_hex {
        true => Ok(Pin(pin)),
        false => {
            Err(format!("`{}` is not the SHA-256 of a certificate, which has 64 hex digits", shown(word)))
        }
    }
}

/// The user that somebody proves to be.
fn word(text: &str) -> Result<Word, Why> {
    const LONGEST: usize = 64;
    match text.len() {
        1..=LONGEST if !text.contains(['"', '\\']) => Ok(Word(text.to_string())),
        1..=LONGEST => Err(format!("`{}` has a quote or a backslash in it", shown(text))),
        bytes => Err(format!("the user has {bytes} bytes; {LONGEST} are the most")),
    }
}

/// `sip:user@host:port;transport=tcp`.
fn address(word: &str) -> Result<Address, Why> {
    let word_shown = shown(word);
    let Some(uri) = Uri::parse(word.as_bytes()).filter(|uri| uri.scheme.eq_ignore_ascii_case(b"sip")) else {
        return Err(match bare_address(word) {
            Some(IpAddr::V6(ip)) => format!("`{word_shown}` is an address alone; write sip:[{ip}]"),
            Some(IpAddr::V4(ip)) => format!("`{word_shown}` is an address alone; write sip:{ip}"),
            None => {
                format!("`{word_shown}` is not a SIP URI, like sip:[2001:db8::1]:5060 or sip:pbx.example.net")
            }
        });
    };
    if !uri.headers.is_empty() {
        return Err(format!("`{word_shown}` has a `?` in it"));
    }
    let host = match uri.host {
        Host::Ip(ip) if ip.is_unspecified() || ip.is_multicast() => {
            return Err(format!("nobody can be reached at `{word_shown}`"));
        }
        Host::Ip(ip) => TargetHost::Ip(ip),
        Host::Name(name) => TargetHost::Name(String::from_utf8_lossy(name).to_ascii_lowercase()),
    };
    let transport = match uri.param("transport") {
        None => None,
        Some(name) if name.eq_ignore_ascii_case(b"udp") => Some(Transport::Udp),
        Some(name) if name.eq_ignore_ascii_case(b"tcp") => Some(Transport::Tcp),
        Some(name) if name.eq_ignore_ascii_case(b"tls") => Some(Transport::Tls),
        Some(_) => return Err(format!("in `{word_shown}`, transport is none of udp, tcp and tls")),
    };
    if uri.port == Some(0) {
        return Err(format!("in `{word_shown}`, the port is not from 1 to 65535"));
    }
    Ok(Address { user: uri.number(), target: Target { host, port: uri.port, transport } })
}

/// `trunk.isp trunk.other`, `peer.tokyo`, `group.600` or `reject Not from here`.
fn goal(text: &str) -> Result<Goal, Why> {
    const LONGEST: usize = 128;
    if let Some(why) = text.strip_prefix("reject").filter(|why| why.is_empty() || why.starts_with(' ')) {
        let why = why.trim();
        return match why.len() {
            0..=LONGEST if !why.contains(['"', '\\']) => Ok(Goal::Reject(why.to_string())),
            0..=LONGEST => Err("the reason has a quote or a backslash in it".into()),
            bytes => Err(format!("the reason has {bytes} bytes; {LONGEST} are the most")),
        };
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [one] = words.as_slice()
        && let Some(group) = one.strip_prefix("group.")
    {
        return number(group).map(Goal::Group);
    }
    if words.len() > MAX_HOSTS {
        return Err(format!("there are {} of them; {MAX_HOSTS} are the most", words.len()));
    }
    let is_neighbour = |word: &&str| word.starts_with("trunk.") || word.starts_with("peer.");
    match words.iter().find(|word| !is_neighbour(word)) {
        Some(word) if word.starts_with('#') => Err(Reason::Comment.to_string()),
        Some(word) => Err(format!(
            "`{}` is not where a call can go; there are trunk.NAME, peer.NAME, group.N and `reject` with a reason",
            shown(word)
        )),
        None => Ok(Goal::Neighbours(words.into_iter().map(String::from).collect())),
    }
}

/// So many a second: `10/s`.
fn rate(word: &str) -> Result<Rate, Why> {
    const MOST: u32 = 1_000_000;
    let word_shown = shown(word);
    if whole::<u32>(word).is_some() {
        return Err(format!("`{word_shown}` has no unit; write {word_shown}/s for so many a second"));
    }
    match word.strip_suffix("/s").map(whole) {
        Some(Some(rate @ 1..=MOST)) => Ok(Rate(rate)),
        Some(_) => Err(format!("`{word_shown}` is not a rate from 1/s to {MOST}/s")),
        None => Err(format!("`{word_shown}` is not a rate; a rate is so many a second, like 10/s")),
    }
}

/// `10 1h` or `never`.
fn ban(text: &str) -> Result<Banned, Why> {
    const MINUTE: Duration = Duration::from_secs(60);
    const WEEK: Duration = Duration::from_secs(7 * 86400);
    let words: Vec<&str> = text.split_whitespace().collect();
    if text.contains('#') {
        return Err(Reason::Comment.to_string());
    }
    let (failures, after) = match words.as_slice() {
        ["never"] => return Ok(Banned(None)),
        [failures, after] => (failures, after),
        _ => {
            let shown = shown(text);
            return Err(format!(
                "`{shown}` is neither `never` nor a number of wrong passwords and a duration"
            ));
        }
    };
    let Some(failures @ 3..=1000) = whole(failures) else {
        return Err(format!("`{}` is not a number of wrong passwords from 3 to 1000", shown(failures)));
    };
    match time(after)? {
        Time(time) if (MINUTE..=WEEK).contains(&time) => Ok(Banned(Some(Ban { failures, time }))),
        _ => Err(format!("`{}` is not a duration from 1m to 7d", shown(after))),
    }
}

/// `1M 10` or `off`.
fn call_records(text: &str) -> Result<Records, Why> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if text.contains('#') {
        return Err(Reason::Comment.to_string());
    }
    let (bytes, files) = match words.as_slice() {
        ["off"] => return Ok(Records(None)),
        [bytes, files] => (size(bytes)?, files),
        _ => return Err(format!("`{}` is neither `off` nor a size and a number of files", shown(text))),
    };
    match whole(files) {
        Some(files @ 1..=1000) => Ok(Records(Some(CallRecords { bytes, files }))),
        _ => Err(format!("`{}` is not a number of files from 1 to 1000", shown(files))),
    }
}

/// A whole number and its unit, together: `10k 1M 1G`, of a thousand each.
fn size(word: &str) -> Result<u64, Why> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = word.split_at(digits);
    let Ok(amount) = amount.parse::<u32>() else {
        return Err(format!("`{}` is not a size", shown(word)));
    };
    let factor = match unit {
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "" => return Err(format!("`{amount}` has no unit; write {amount}k for kilobytes, M for megabytes")),
        _ => return Err(format!("`{}` has an unknown unit; there are k, M and G", shown(word))),
    };
    match u64::from(amount) * factor {
        bytes @ 10_000..=1_000_000_000 => Ok(bytes),
        _ => Err(format!("`{}` is not a size from 10k to 1G", shown(word))),
    }
}

fn yes_no(word: &str) -> Result<YesNo, Why> {
    match word {
        "yes" => Ok(YesNo(true)),
        "no" => Ok(YesNo(false)),
        "on" | "true" | "1" | "Yes" | "YES" => Err(format!("`{word}` is not `yes` or `no`; write `yes`")),
        "off" | "false" | "0" | "No" | "NO" => Err(format!("`{word}` is not `yes` or `no`; write `no`")),
        _ => Err(format!("`{}` is not `yes` or `no`", shown(word))),
    }
}

fn user_name(word: &str) -> Result<UserName, Why> {
    if is_name(word) && !word.starts_with('-') {
        return Ok(UserName(word.to_string()));
    }
    Err(format!("`{}` is not a user name; it takes 1 to 32 of a-z A-Z 0-9 _ -, and no - first", shown(word)))
}

/// Empty for the places that have no name.
fn place_name(part: &str) -> Result<PlaceName, Why> {
    match part {
        "allow" | "deny" => Err(format!(
            "a list for some places needs their name, `listen.NAME.{part}`; one for all is just `{part}`"
        )),
        _ if part.is_empty() || is_name(part) => Ok(PlaceName(part.to_string())),
        _ => Err(format!("`{}` is not a name; it takes 1 to 32 of a-z A-Z 0-9 - _", shown(part))),
    }
}

fn is_name(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// What stands for a password that is still to be made up ([`super::fill_in()`]).
pub(super) const RANDOM: &str = "random";

/// Never repeats what it was given.
fn password(text: &str) -> Result<Password, Why> {
    const LONGEST: usize = 128;
    match text.len() {
        _ if text == RANDOM => Err(format!(
            "`{RANDOM}` is no password, but the word for one that `denwa init --with FILE` makes up; write a long one"
        )),
        1..=LONGEST => Ok(Password::new(text)),
        bytes => Err(format!("the password has {bytes} bytes; {LONGEST} are the most")),
    }
}

/// How a person or a room is called.
pub(super) fn name(text: &str) -> Result<Name, Why> {
    const LONGEST: usize = 64;
    match text.len() {
        _ if text.contains('\t') => Err("the name has a tab in it".into()),
        1..=LONGEST => Ok(Name(text.to_string())),
        bytes => Err(format!("the name has {bytes} bytes; {LONGEST} are the most")),
    }
}

fn advertised(word: &str) -> Result<Advertised, Why> {
    match bare_address(word) {
        _ if word == "auto" => Ok(Advertised(None)),
        Some(address) => Ok(Advertised(Some(address))),
        None => Err(format!("`{}` is neither `auto` nor an IP address", shown(word))),
    }
}

/// `first-last`.
fn port_range(word: &str) -> Result<PortRange, Why> {
    let not_ports = || format!("`{}` is not a range of ports", shown(word));
    let (first, last) = word.split_once('-').ok_or_else(not_ports)?;
    match (port(first), port(last)) {
        (Some(first), Some(last)) => Ok(PortRange { first, last }),
        _ => Err(format!("{}; ports are 1 to 65535", not_ports())),
    }
}

/// Decimal digits, 1 to 65535.
fn port(word: &str) -> Option<u16> {
    whole(word).filter(|&port| port > 0)
}

/// `udp:5060`, `tcp:192.0.2.1:5060`, `udp:[2001:db8::1]:5060`.
fn listen(word: &str) -> Result<Listen, Why> {
    let word_shown = shown(word);
    let (transport, place) = match word.split_once(':') {
        Some(("udp", place)) => (Transport::Udp, place),
        Some(("tcp", place)) => (Transport::Tcp, place),
        Some(("tls", place)) => (Transport::Tls, place),
        _ => {
            return Err(format!("`{word_shown}` does not begin with `udp:`, `tcp:` or `tls:`"));
        }
    };
    let (address, port_word) = match place.rsplit_once(':') {
        None => (None, place),
        Some((address, port)) => (Some(address), port),
    };
    let address = match address {
        None => None,
        Some(literal) => Some(listen_address(word, literal)?),
    };
    match port(port_word) {
        Some(port) => Ok(Listen { transport, address, port }),
        None if bare_address(place).is_some() => Err(format!("`{word_shown}` has no port after the address")),
        None => Err(format!("`{word_shown}` does not end in a port from 1 to 65535")),
    }
}

/// `8080`, `192.0.2.1:8080`, `[2001:db8::1]:8080`: TCP is understood, and may be written.
fn web_place(word: &str) -> Result<WebPlace, Why> {
    if word.starts_with("udp:") {
        return Err(format!("`{}` is for UDP, and HTTP is spoken by TCP", shown(word)));
    }
    let whole = if word.starts_with("tcp:") { word.to_owned() } else { format!("tcp:{word}") };
    listen(&whole).map(WebPlace)
}

fn identifier(word: &str) -> Result<Identifier, Why> {
    Identifier::new(word).ok_or_else(|| {
        format!(
            "`{}` is not an identifier; it takes 1 to 64 letters, digits and signs of ASCII, and no blank",
            shown(word)
        )
    })
}

fn listen_address(word: &str, literal: &str) -> Result<IpAddr, Why> {
    let word = shown(word);
    match bare_address(literal) {
        Some(IpAddr::V6(_)) if !literal.starts_with('[') => {
            Err(format!("in `{word}`, write the IPv6 address in brackets, and the port behind them"))
        }
        Some(address) if address.is_unspecified() => {
            Err(format!("in `{word}`, leave the address out to listen on all of both families"))
        }
        Some(address) if address.is_multicast() => Err(format!("`{word}` is a multicast address")),
        Some(IpAddr::V4(address)) if address == Ipv4Addr::BROADCAST => {
            Err(format!("`{word}` is the broadcast address"))
        }
        Some(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(format!("in `{word}`, write the address as IPv4"))
        }
        Some(IpAddr::V6(address)) if address.is_unicast_link_local() => {
            Err(format!("`{word}` is a link-local address, which means nothing without its interface"))
        }
        Some(address) => Ok(address),
        None if literal.starts_with('[') != literal.ends_with(']') => {
            Err(format!("in `{word}`, a bracket is missing"))
        }
        None => Err(format!("in `{word}`, `{}` is not an IP address", shown(literal))),
    }
}

/// A host name in lower case, or an address as it stands in a URI.
fn domain(word: &str) -> Result<Domain, Why> {
    if let Some(address) = bare_address(word) {
        return match address {
            _ if address.is_unspecified() || address.is_multicast() => {
                Err(format!("`{}` cannot be a domain", shown(word)))
            }
            IpAddr::V4(v4) => Ok(Domain(v4.to_string())),
            IpAddr::V6(v6) => Ok(Domain(format!("[{v6}]"))),
        };
    }
    let why = |why: &str| Err(format!("`{}` {why}", shown(word)));
    let lower = word.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if !name.is_ascii() {
        return why("is not in ASCII; write the name in its `xn--` form");
    }
    if name.contains("//") || name.starts_with("sip:") || name.starts_with("sips:") {
        return why("is more than the name; leave out everything before it");
    }
    if name.contains('@') {
        return why("is an address of somebody; the domain is what comes after the `@`");
    }
    if name.contains(':') {
        return why("has a port or is a broken IPv6 address; ports belong to `listen`");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return why("is not a host name");
    }
    if name.split('.').next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return why("is neither a host name nor an IPv4 address");
    }
    Ok(Domain(name.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listens(word: &str) -> Result<(Transport, Option<String>, u16), Why> {
        listen(word).map(|l| (l.transport, l.address.map(|a| a.to_string()), l.port))
    }

    #[test]
    fn durations_have_a_unit() {
        let ms = |word: &str| time(word).map(|t| t.0.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("30s"), Ok(30_000));
        assert_eq!(ms("2m"), Ok(120_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        assert_eq!(ms("1d"), Ok(86_400_000));
        assert_eq!(ms("4294967295d"), Ok(4_294_967_295 * 86_400_000));
        assert!(ms("30").unwrap_err().contains("write 30s for seconds"));
        for wrong in ["s", "-3s", "3 s", "3S", "1.5h", "99999999999s", "３s", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_to_listen() {
        let v6 = Some("2001:db8::1".to_string());
        let v4 = Some("192.0.2.1".to_string());
        assert_eq!(listens("udp:60"), Ok((Transport::Udp, None, 60)));
        assert_eq!(listens("udp:[2001:DB8::1]:5060"), Ok((Transport::Udp, v6, 5060)));
        assert_eq!(listens("tls:5061"), Ok((Transport::Tls, None, 5061)));
        assert_eq!(listens("tcp:192.0.2.1:5060"), Ok((Transport::Tcp, v4, 5060)));
    }

    #[test]
    fn where_one_cannot_listen() {
        for (word, why) in [
            ("5060", "does not begin with"),
            ("udp", "does not begin with"),
            ("UDP:5060", "does not begin with"),
            ("udp:", "does not end in a port"),
            ("udp:0", "does not end in a port"),
            ("udp:+5", "does not end in a port"),
            ("udp:65536", "does not end in a port"),
            ("udp:192.0.2.1", "no port"),
            ("udp:[2001:db8::1]", "in `udp:[2001:db8::1]`, a bracket is missing"),
            ("udp:2001:db8::1:5060", "brackets"),
            ("udp:[2001:db8::1:5060", "a bracket is missing"),
            ("udp:[192.0.2.1]:5060", "not an IP address"),
            ("udp:0.0.0.0:5060", "leave the address out"),
            ("udp:[::]:5060", "leave the address out"),
            ("udp:[::ffff:192.0.2.1]:5060", "as IPv4"),
            ("udp:[fe80::1]:5060", "link-local"),
            ("udp:224.0.0.1:5060", "multicast"),
            ("udp:255.255.255.255:5060", "broadcast"),
            ("udp:pbx.example.net:5060", "not an IP address"),
        ] {
            let said = listens(word).unwrap_err();
            assert!(said.contains(why), "{word}: {said}");
        }
    }

    #[test]
    fn domains() {
        let read = |word: &str| domain(word).map(|d| d.0);
        assert_eq!(read("PBX.Example.net."), Ok("pbx.example.net".into()));
        assert_eq!(read("any-word"), Ok("any-word".into()));
        assert_eq!(read("192.0.2.1"), Ok("192.0.2.1".into()));
        assert_eq!(read("2001:DB8:0::1"), Ok("[2001:db8::1]".into()));
        assert_eq!(read("[2001:db8::1]"), Ok("[2001:db8::1]".into()));
        for (word, why) in [
            ("sip:pbx.example.net", "leave out"),
            ("https://pbx.example.net", "leave out"),
            ("101@pbx.example.net", "`@`"),
            ("pbx.example.net:5060", "port"),
            ("電話.example", "xn--"),
            ("pbx..net", "not a host name"),
            ("-pbx.net", "not a host name"),
            ("192.0.2.256", "neither"),
            ("0.0.0.0", "cannot be"),
            (".", "not a host name"),
        ] {
            let said = read(word).unwrap_err();
            assert!(said.contains(why), "{word}: {said}");
        }
        assert!(read(&"a.".repeat(127)).is_ok());
        assert!(read(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn rates_and_calls() {
        assert_eq!(rate("10/s"), Ok(Rate(10)));
        assert!(rate("10").unwrap_err().contains("write 10/s"));
        for wrong in
            ["/s", "s", "10s", "10/", "10/S", "10/sec", "0/s", "1000001/s", "1.5/s", "+1/s", "99999999999/s"]
        {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "1001", "70000", "+1", "", "4/h"] {
            assert!(calls(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "100001", "99999999999", "-1", ""] {
            assert!(calls_an_hour(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bans() {
        let read = |text: &str| ban(text).map(|ban| ban.0);
        let hour = Duration::from_secs(3600);
        assert_eq!(read("10 1h"), Ok(Some(Ban { failures: 10, time: hour })));
        assert_eq!(read("3\t60m"), Ok(Some(Ban { failures: 3, time: hour })));
        assert_eq!(read("never"), Ok(None));
        for wrong in
            ["", "Never", "10", "1h", "1h 10", "10 1h 1h", "2 1h", "1001 1h", "10 59s", "10 0s", "10 169h"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names() {
        for right in ["denwa", "_x", "D-9", "0"] {
            assert_eq!(user_name(right).map(|user| user.0), Ok(right.to_string()));
        }
        for wrong in ["", "-x", "a.b", "a b", "a/b", "電話", &"x".repeat(33)] {
            assert!(user_name(wrong).is_err(), "{wrong}");
        }
        for right in ["", "lan", "-", "9", "Allow"] {
            assert_eq!(place_name(right).map(|name| name.0), Ok(right.to_string()));
        }
        for wrong in ["allow", "deny", "a+b", "電話", &"x".repeat(33)] {
            assert!(place_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("1-65535"), Ok(PortRange { first: 1, last: 65535 }));
        for wrong in ["40000", "40000:40999", "0-10", "1-70000", "a-b", "-", "1-2-3"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_repeated() {
        let secret = "s3cret".repeat(40);
        assert!(!password(&secret).unwrap_err().contains("s3cret"));
        assert_eq!(password("a # b").unwrap().reveal(), "a # b");
    }
}

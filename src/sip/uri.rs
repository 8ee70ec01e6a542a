//! URIs (RFC 3261 §19.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text::{decimal, find_param, unescape};

/// A `sip:` or `sips:` URI, or the scheme of any other.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The scheme as it was written.
    pub scheme: &'a [u8],
    /// The user, with escapes and user parameters, without password; `None` if there is no `@`.
    pub user: Option<&'a [u8]>,
    /// The host.
    pub host: Host<'a>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// `;name=value` parameters, from the first `;`.
    pub params: &'a [u8],
    /// Headers, behind the `?`.
    pub headers: &'a [u8],
}

/// A host: an address, or a name to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An address; IPv4-mapped IPv6 is given as IPv4.
    Ip(IpAddr),
    /// A name as it was written.
    Name(&'a [u8]),
}

impl fmt::Display for Host<'_> {
    /// As it stands in a URI; of a name, what is UTF-8.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

impl<'a> Host<'a> {
    /// Reads a host: a name, an IPv4 address or an IPv6 address in brackets.
    pub fn parse(text: &'a [u8]) -> Option<Host<'a>> {
        if let Some(inner) = text.strip_prefix(b"[") {
            return ipv6(inner.strip_suffix(b"]")?).map(Host::Ip);
        }
        let ok = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
        if text.is_empty() || !text.iter().all(ok) {
            return None;
        }
        // Most hosts are asked for several times a message, and most names do not end like an address.
        let address: Option<Ipv4Addr> = match text.last() {
            Some(b'0'..=b'9') => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()),
            _ => None,
        };
        Some(address.map_or(Host::Name(text), |ip| Host::Ip(ip.into())))
    }

    /// Reads `received=`, which may hold an IPv6 address without brackets (RFC 5118 §4.5).
    pub fn parse_received(text: &'a [u8]) -> Option<IpAddr> {
        match Host::parse(text) {
            Some(Host::Ip(ip)) => Some(ip),
            _ => ipv6(text),
        }
    }

    /// Splits `host[:port]`; the port may stand apart by blanks (as in Via). `None` if either is bad.
    pub fn parse_with_port(text: &'a [u8]) -> Option<(Host<'a>, Option<u16>)> {
        let host_end = match text.first()? {
            b'[' => text.iter().position(|&b| b == b']')? + 1,
            _ => text.iter().position(|&b| b == b':').unwrap_or(text.len()),
        };
        let host = Host::parse(super::trim(&text[..host_end]))?;
        let rest = super::trim(&text[host_end..]);
        if rest.is_empty() {
            return Some((host, None));
        }
        let port = decimal(super::trim(rest.strip_prefix(b":")?))?;
        Some((host, Some(u16::try_from(port).ok()?)))
    }

    /// Whether both are the same address, or the same name in any case.
    pub fn matches(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Ip(a), Host::Ip(b)) => a == b,
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}

/// An IPv6 address; three colons, which RFC 3261's own grammar once produced, count as two
/// (RFC 5118 §4.10).
fn ipv6(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok().filter(|t| t.len() <= 48)?;
    let ip: Ipv6Addr = text.parse().or_else(|_| text.replacen(":::", "::", 1).parse()).ok()?;
    Some(IpAddr::V6(ip).to_canonical())
}

impl<'a> Uri<'a> {
    /// The scheme of any URI.
    pub fn scheme_of(text: &[u8]) -> Option<&[u8]> {
        let (first, rest) = text.split_first()?;
        let end = rest.iter().position(|&b| b == b':')? + 1;
        let ok = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        (first.is_ascii_alphabetic() && rest[..end - 1].iter().all(ok)).then(|| &text[..end])
    }

    /// Reads a `sip:` or `sips:` URI; `None` for any other, and for one with blanks or brackets,
    /// a bad host or a bad port.
    pub fn parse(text: &'a [u8]) -> Option<Uri<'a>> {
        let scheme = Uri::scheme_of(text)?;
        if !scheme.eq_ignore_ascii_case(b"sip") && !scheme.eq_ignore_ascii_case(b"sips") {
            return None;
        }
        if text.iter().any(|&b| matches!(b, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f)) {
            return None;
        }
        let rest = &text[scheme.len() + 1..];
        let (user, rest) = match rest.iter().position(|&b| b == b'@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let user = user.map(|u| u.split(|&b| b == b':').next().unwrap_or(u));
        if user.is_some_and(<[u8]>::is_empty) {
            return None;
        }
        let host_end = rest.iter().position(|&b| b == b';' || b == b'?').unwrap_or(rest.len());
        let (host_port, rest) = rest.split_at(host_end);
        let (host, port) = Host::parse_with_port(host_port)?;
        let params_end = rest.iter().position(|&b| b == b'?').unwrap_or(rest.len());
        let (params, headers) = rest.split_at(params_end);
        Some(Uri { scheme, user, host, port, params, headers: headers.get(1..).unwrap_or_default() })
    }

    /// The value of a parameter: `None` if it is not there, empty if it has none.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        find_param(self.params, name)
    }

    /// The user as a number that could be dialled: unescaped, without user parameters. `None` if
    /// there is none, or it is not UTF-8.
    pub fn number(&self) -> Option<String> {
        let user = self.user?.split(|&b| b == b';').next()?;
        String::from_utf8(unescape(user).into_owned()).ok()
    }

    /// Whether both are the same by RFC 3261 §19.1.4.
    pub fn matches(&self, other: &Uri<'_>) -> bool {
        let same = |name: &str| match (self.param(name), other.param(name)) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            (None, None) => true,
            _ => false,
        };
        // Parameters that only one of them has are ignored, but for these four.
        let shared = |(name, value): (&[u8], Option<&[u8]>)| {
            super::params(other.params)
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .is_none_or(|(_, v)| v.unwrap_or_default().eq_ignore_ascii_case(value.unwrap_or_default()))
        };
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.user.map(unescape) == other.user.map(unescape)
            && self.host.matches(&other.host)
            && self.port == other.port
            && ["transport", "user", "method", "maddr"].into_iter().all(same)
            && super::params(self.params).all(shared)
            && unescape(self.headers) == unescape(other.headers)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn users_may_hold_almost_anything() {
        let uri = Uri::parse(b"sip:user;par=u%40example.net@example.com").unwrap();
        assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(uri.host, Host::Name(b"example.com"));
        let uri = Uri::parse(b"sip:john.doe:secret@h;lr?a=b").unwrap();
        assert_eq!((uri.user, uri.headers), (Some(&b"john.doe"[..]), &b"a=b"[..]));
        assert_eq!(uri.param("LR"), Some(&b""[..]));
    }

    #[test]
    fn addresses_and_ports() {
        let host_port = |text: &'static str| Uri::parse(text.as_bytes()).map(|u| (u.host, u.port));
        let v6 = |text: &str| Host::Ip(text.parse().unwrap());
        assert_eq!(host_port("sip:[2001:db8::10:5070]"), Some((v6("2001:db8::10:5070"), None)));
        assert_eq!(host_port("sip:[2001:db8::10]:5070"), Some((v6("2001:db8::10"), Some(5070))));
        assert_eq!(host_port("sip:2001:db8::10"), None);
        assert_eq!(host_port("sip:a:99999"), None);
        assert_eq!(host_port("sip:[::ffff:192.0.2.1]"), Some((v6("192.0.2.1"), None)));
        assert_eq!(Host::parse_received(b"2001:db8::1"), "2001:db8::1".parse().ok());
    }

    #[test]
    fn the_same_and_not_the_same() {
        let same =
            |a: &str, b: &str| Uri::parse(a.as_bytes()).unwrap().matches(&Uri::parse(b.as_bytes()).unwrap());
        assert!(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"));
        assert!(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
        assert!(!same("sip:ALICE@a.com", "sip:alice@a.com"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
        assert!(!same("sip:a@b;security=on", "sip:a@b;security=off"));
    }
}

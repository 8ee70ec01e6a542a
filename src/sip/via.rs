//! Via (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use super::Host;
use super::text::{find_param, trim};

/// One Via value.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, …, in any case.
    pub transport: &'a [u8],
    /// The host of sent-by.
    pub host: Host<'a>,
    /// The port of sent-by, if one is written.
    pub port: Option<u16>,
    /// Parameters, from the first `;`.
    pub params: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one value: `SIP/2.0/UDP host:port;branch=…`, with blanks wherever they are allowed.
    pub fn parse(value: &'a [u8]) -> Option<Via<'a>> {
        let mut parts = value.splitn(3, |&b| b == b'/');
        let (protocol, version) = (trim(parts.next()?), trim(parts.next()?));
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return None;
        }
        let rest = trim(parts.next()?);
        let blank = rest.iter().position(|&b| super::text::is_blank(b))?;
        let (transport, rest) = rest.split_at(blank);
        let sent_by_end = rest.iter().position(|&b| b == b';').unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at(sent_by_end);
        let (host, port) = Host::parse_with_port(trim(sent_by))?;
        Some(Via { transport, host, port, params })
    }

    /// The branch; empty if there is none.
    pub fn branch(&self) -> &'a [u8] {
        find_param(self.params, "branch").unwrap_or_default()
    }

    /// Whether the client wants the answer at the port that it sent from (RFC 3581).
    pub fn wants_rport(&self) -> bool {
        find_param(self.params, "rport").is_some()
    }

    /// The address that a server before us saw.
    pub fn received(&self) -> Option<IpAddr> {
        find_param(self.params, "received").and_then(Host::parse_received)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blanks_everywhere() {
        let via = Via::parse(b"SIP  / 2.0\r\n /UDP\r\n    192.0.2.2 : 5061 ;branch = z9hG4bK30").unwrap();
        assert_eq!((via.transport, via.port, via.branch()), (&b"UDP"[..], Some(5061), &b"z9hG4bK30"[..]));
    }

    #[test]
    fn addresses() {
        let via =
            Via::parse(b"SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];rport;branch=z").unwrap();
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok());
        assert_eq!((via.port, via.wants_rport()), (None, true));
        assert!(Via::parse(b"SIP/3.0/UDP a").is_none());
        assert!(Via::parse(b"SIP/2.0/UDP").is_none());
    }
}

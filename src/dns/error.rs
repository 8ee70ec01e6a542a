//! Why a server was not located.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::{MAX_ALIASES, Name};

/// Why a server was not located, as a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsError {
    /// The name that was asked for.
    pub name: Name,
    /// What is wrong.
    pub reason: Reason,
    /// Which name servers were asked, at most three; none if it was not necessary.
    pub asked: Vec<SocketAddr>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// NXDOMAIN.
    NoSuchName,
    /// NODATA: there is such a name, but it has no address.
    NoAddress,
    /// A name server answers that it cannot or will not, with this code: 2 is SERVFAIL, 5 REFUSED.
    Failed(u8),
    /// Nobody answers in time.
    NoAnswer,
    /// What comes is no answer.
    Unreadable,
    /// No name server can be reached at all.
    Unreachable(io::ErrorKind),
    /// Aliases (CNAME) that lead back to where they began.
    AliasLoop,
    /// More than [`MAX_ALIASES`] aliases.
    TooManyAliases,
    /// The domain speaks SIP, but by no transport that was asked for or is known here; or it says that it does
    /// not (RFC 2782: a target of `.`).
    NotOffered,
}

impl Reason {
    /// Whether it says nothing about the name: another time, or by another server, it may be found.
    pub fn is_failure(self) -> bool {
        matches!(self, Reason::Failed(_) | Reason::NoAnswer | Reason::Unreadable | Reason::Unreachable(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoSuchName => f.write_str("no such name"),
            Reason::NoAddress => f.write_str("the name has no address"),
            Reason::Failed(1) => f.write_str("the name server does not understand the question (FORMERR)"),
            Reason::Failed(2) => f.write_str("the name server cannot find out (SERVFAIL)"),
            Reason::Failed(5) => f.write_str("the name server refuses to answer (REFUSED)"),
            Reason::Failed(code) => write!(f, "the name server fails with code {code}"),
            Reason::NoAnswer => f.write_str("no answer from any name server"),
            Reason::Unreadable => f.write_str("what the name server says cannot be read"),
            Reason::Unreachable(kind) => write!(f, "the name server cannot be reached ({kind})"),
            Reason::AliasLoop => f.write_str("its aliases (CNAME) lead in a circle"),
            Reason::TooManyAliases => write!(f, "more than {MAX_ALIASES} aliases (CNAME) in a row"),
            Reason::NotOffered => f.write_str("it does not offer SIP by this transport"),
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)?;
        for (index, server) in self.asked.iter().enumerate() {
            let before = if index == 0 { " (asked" } else { "," };
            match server.port() {
                53 => write!(f, "{before} {}", server.ip())?,
                _ => write!(f, "{before} {server}")?,
            }
        }
        if self.asked.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl std::error::Error for DnsError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_who_was_asked_for_what() {
        let name = Name::new("example.net").unwrap();
        let asked =
            ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.1:5353"].map(|server| server.parse().unwrap());
        let said = |reason, asked: &[SocketAddr]| {
            DnsError { name: name.clone(), reason, asked: asked.to_vec() }.to_string()
        };
        assert_eq!(said(Reason::NoSuchName, &asked[..1]), "example.net: no such name (asked 192.0.2.1)");
        assert_eq!(
            said(Reason::NoAnswer, &asked),
            "example.net: no answer from any name server (asked 192.0.2.1, 2001:db8::1, 192.0.2.1:5353)"
        );
        assert_eq!(said(Reason::AliasLoop, &[]), "example.net: its aliases (CNAME) lead in a circle");
    }
}

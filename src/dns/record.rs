//! What can be asked, and what is answered: the few types of records that locate a SIP server.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use domain::base::Rtype;

use super::Name;

/// What is asked of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Its IPv4 addresses (RFC 1035 §3.4.1).
    A,
    /// Its IPv6 addresses (RFC 3596).
    Aaaa,
    /// Which hosts give a service (RFC 2782).
    Srv,
    /// By which transports it is spoken to (RFC 3403).
    Naptr,
}

impl Kind {
    pub(super) fn rtype(self) -> Rtype {
        match self {
            Kind::A => Rtype::A,
            Kind::Aaaa => Rtype::AAAA,
            Kind::Srv => Rtype::SRV,
            Kind::Naptr => Rtype::NAPTR,
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// About whom.
    pub name: Name,
    /// What is wanted.
    pub kind: Kind,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA: an address that a packet can be sent to.
    Address(IpAddr),
    /// SRV.
    Srv(Srv),
    /// NAPTR.
    Naptr(Naptr),
}

/// A host that gives a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// The lowest is tried first.
    pub priority: u16,
    /// How often it is the first of its priority, in proportion to others.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// The host; `None` if the service is decidedly not given (a target of `.`).
    pub target: Option<Name>,
}

/// A transport by which a domain is spoken to (RFC 3263 §4.1): those with the flag `s` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// The lowest is the one that counts.
    pub order: u16,
    /// The lowest of an order is tried first.
    pub preference: u16,
    /// Such as `SIP+D2U`, in upper case.
    pub service: String,
    /// Whose SRV records are to be asked for.
    pub replacement: Name,
}

/// What became of a question that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is known.
    pub content: Content,
    /// How many aliases led there, at most [`MAX_ALIASES`](super::MAX_ALIASES).
    pub aliases: usize,
    /// For how long it is so.
    pub ttl: Duration,
    /// Which name server says so, where one was asked.
    pub server: Option<SocketAddr>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Records, 1 to [`MAX_RECORDS`](super::MAX_RECORDS).
    Records(Rc<[Record]>),
    /// The name is an alias of this one, of which nothing is said.
    Alias(Name),
    /// There is such a name, but no such record.
    NoRecords,
    /// There is no such name.
    NoSuchName,
}

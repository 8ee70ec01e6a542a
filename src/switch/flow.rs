//! Flows: what a request came from, and so where answers and later requests go (RFC 5626 §3).

use std::net::{IpAddr, SocketAddr};

pub use crate::config::Transport;

/// One way to reach somebody: a pair of addresses on one of our sockets, or a stream connection.
///
/// The local address is part of it: a server with several addresses answers from the one that
/// was asked, or a home router drops the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// UDP or TCP.
    pub transport: Transport,
    /// The address and port of ours that the packet was sent to; never a wildcard.
    pub local: SocketAddr,
    /// Where it came from. IPv4 is never written as IPv4-mapped IPv6 here.
    pub remote: SocketAddr,
    /// Which connection, for streams; `StreamId(0)` for datagrams.
    pub stream: StreamId,
}

/// A stream connection; numbers are never used again while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl Flow {
    /// Whether two addresses at the two ends of flows are of one family.
    pub fn same_family(&self, other: &Flow) -> bool {
        self.local.is_ipv6() == other.local.is_ipv6()
    }

    /// Whether retransmission is ours to do.
    pub fn is_reliable(&self) -> bool {
        self.transport == Transport::Tcp
    }

    /// The address that sends.
    pub fn source(&self) -> IpAddr {
        self.remote.ip()
    }
}

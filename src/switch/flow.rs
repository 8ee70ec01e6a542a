//! Flows: what a request came from, and so where answers and later requests go (RFC 5626 §3).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

pub use crate::config::Transport;
use crate::journal;

/// One way to reach somebody: a pair of addresses on one of our sockets, or a stream connection.
///
/// The local address is part of it: a server with several addresses answers from the one that
/// was asked, or a home router drops the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// The address and port of ours that the packet was sent to; never a wildcard.
    pub local: SocketAddr,
    /// Where it came from. IPv4 is never written as IPv4-mapped IPv6 here.
    pub remote: SocketAddr,
    /// Which connection, for streams; `StreamId(0)` for datagrams.
    pub stream: StreamId,
}

/// A stream connection; numbers, from 1 on, are never used again while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl Flow {
    /// Whether two addresses at the two ends of flows are of one family.
    pub fn same_family(&self, other: &Flow) -> bool {
        self.local.is_ipv6() == other.local.is_ipv6()
    }

    /// Whether retransmission is ours to do.
    pub fn is_reliable(&self) -> bool {
        self.transport.is_stream()
    }

    /// The address that sends.
    pub fn source(&self) -> IpAddr {
        self.remote.ip()
    }

    /// Whether it is that of a stream which has not survived: nothing can be sent there.
    pub fn is_dead(&self) -> bool {
        self.is_reliable() && self.stream == StreamId(0)
    }

    /// The flow as it is put on record. Which stream it was means nothing to the next process.
    pub(super) fn kept(&self) -> journal::Flow {
        journal::Flow {
            transport: match self.transport {
                Transport::Udp => journal::Transport::Udp,
                Transport::Tcp => journal::Transport::Tcp,
                Transport::Tls => journal::Transport::Tls,
            },
            local: self.local.into(),
            remote: self.remote.into(),
        }
    }
}

/// The streams that stand although they were opened to another process, by their ends. No others do.
#[derive(Default)]
pub(super) struct Standing(HashMap<(SocketAddr, SocketAddr), StreamId>);

impl Standing {
    /// These.
    pub(super) fn new(streams: &[Flow]) -> Standing {
        Standing(streams.iter().map(|flow| ((flow.local, flow.remote), flow.stream)).collect())
    }

    /// A flow that was on record; that of a stream which does not stand is dead.
    pub(super) fn flow(&self, kept: journal::Flow) -> Flow {
        let (local, remote) = (kept.local.into(), kept.remote.into());
        match kept.transport {
            journal::Transport::Udp => Flow { transport: Transport::Udp, local, remote, stream: StreamId(0) },
            // A connection inside TLS is never handed over.
            journal::Transport::Tls => Flow { transport: Transport::Tls, local, remote, stream: StreamId(0) },
            journal::Transport::Tcp => {
                let stream = self.0.get(&(local, remote)).copied().unwrap_or_default();
                Flow { transport: Transport::Tcp, local, remote, stream }
            }
        }
    }
}

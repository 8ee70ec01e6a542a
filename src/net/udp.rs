//! One UDP socket and what is about to be sent on it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use smol::Async;

use super::sys::{self, Outgoing};
use crate::switch::{Flow, StreamId, Transport};

/// How often a full socket is tried again before what it does not take is dropped. The buffer
/// holds what the network takes in milliseconds, and whoever gets nothing asks again.
const TRIES: u32 = 3;

/// For how many datagrams room is kept when there are none.
const PENDING_KEPT: usize = 2 * sys::BATCH;

/// A UDP socket.
pub(super) struct Udp {
    /// The socket.
    pub(super) socket: Rc<Async<UdpSocket>>,
    bound: SocketAddr,
    pending: Vec<(Flow, Vec<u8>)>,
}

impl Udp {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Udp> {
        let bound = socket.local_addr()?;
        let socket = Rc::new(Async::new(socket)?);
        Ok(Udp { socket, bound, pending: Vec::new() })
    }

    /// What it is bound to.
    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Whether this is the socket that a flow came by: 2 for its own address, 1 for all, 0 if not.
    pub(super) fn fits(&self, local: SocketAddr) -> u8 {
        if self.bound == local {
            2
        } else {
            let any = self.bound.ip().is_unspecified()
                && self.bound.port() == local.port()
                && self.bound.is_ipv6() == local.is_ipv6();
            u8::from(any)
        }
    }

    /// Whether what comes from an address of ours can leave by this socket, as [`Udp::fits`], and from which address
    /// and port it does.
    pub(super) fn reached_from(&self, ip: std::net::IpAddr) -> (u8, SocketAddr) {
        let local = SocketAddr::new(ip, self.bound.port());
        match self.fits(local) {
            // Another address of the same family than the system would choose is as good.
            0 if self.bound.is_ipv6() == ip.is_ipv6() => (1, self.bound),
            0 => (0, local),
            fits => (fits + 1, local),
        }
    }

    /// The flow of a datagram, if its addresses are such that one can answer.
    pub(super) fn flow(&self, datagram: &sys::Datagram<'_>) -> Option<Flow> {
        let local = datagram.local.unwrap_or(self.bound.ip());
        // Nobody can be answered at port 0.
        let usable = !local.is_unspecified() && !local.is_multicast() && datagram.remote.port() != 0;
        usable.then_some(Flow {
            transport: Transport::Udp,
            local: SocketAddr::new(local, self.bound.port()),
            remote: datagram.remote,
            stream: StreamId(0),
        })
    }

    /// Queues a datagram for [`Udp::flush`].
    pub(super) fn queue(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.pending.push((flow, bytes));
    }

    /// Sends what is queued, without waiting. What cannot be sent is dropped, as the network
    /// would; returns what, if anything.
    pub(super) fn flush(&mut self) -> Option<Unsent> {
        if self.pending.is_empty() {
            return None;
        }
        let wildcard = self.bound.ip().is_unspecified();
        let mut rest = self.pending.as_slice();
        let mut tries = TRIES;
        let mut unsent: Option<Unsent> = None;
        while let Some((first, _)) = rest.first() {
            let datagrams = rest.iter().map(|(flow, bytes)| Outgoing {
                bytes,
                from: wildcard.then_some(flow.local.ip()),
                to: flow.remote,
            });
            let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            match sys::send(&*self.socket, datagrams) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if full(&error) && tries > 0 => {
                    tries -= 1;
                    std::thread::yield_now();
                }
                Err(error) => {
                    let count = if full(&error) { rest.len() } else { 1 };
                    rest = &rest[count..];
                    unsent.get_or_insert(Unsent { count: 0, to: first.remote, error }).count += count;
                }
            }
        }
        self.pending.clear();
        self.pending.shrink_to(PENDING_KEPT);
        unsent
    }
}

/// Datagrams that were dropped.
pub(super) struct Unsent {
    /// How many.
    pub(super) count: usize,
    /// Where the first of them should have gone.
    pub(super) to: SocketAddr,
    /// Why it did not.
    pub(super) error: io::Error,
}

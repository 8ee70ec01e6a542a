//! The relay's sockets: opened, kept warm, and used.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use rustix::process::{Resource, getrlimit};

use super::demux::{Demux, Key, Place};
use super::end::Sockets;
use super::{Component, MOST_RESTING};

/// Expedited forwarding (RFC 3246), what routers on the way know voice by.
const EXPEDITED: u8 = 0xb8;

/// How much may wait in each socket, in bytes (the kernel doubles it, and counts its own with the packet's):
/// more than a hundred packets of voice.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// How many pairs are kept open after use, at most: some more than rest before the port is used again, so
/// that under load no socket has to be opened at all. They cost about 6 kB of kernel memory each.
const WARM_PAIRS: usize = MOST_RESTING + 64;

/// For how long, in milliseconds.
const WARM_MS: u64 = 30_000;

/// All open sockets and the epoll set that watches them, level-triggered.
///
/// A pair that is closed stays open for a while, deaf, for whoever wants the same port next:
/// to open one takes some 20 µs of the machine's time, to find one open 1 µs.
#[derive(Debug)]
pub(super) struct SocketTable {
    epoll: OwnedFd,
    sockets: Vec<Option<OwnedFd>>,
    free: Vec<Key>,
    demux: Demux,
    /// The longest warm first.
    warm: VecDeque<Warm>,
    most_warm: usize,
}

#[derive(Debug)]
struct Warm {
    local: SocketAddr,
    pair: Sockets,
    since: u64,
}

impl SocketTable {
    /// No sockets yet.
    pub(super) fn new() -> io::Result<SocketTable> {
        Ok(SocketTable {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: Vec::new(),
            free: Vec::new(),
            demux: Demux::default(),
            warm: VecDeque::new(),
            // No more than a quarter of the descriptors that the process may have.
            most_warm: getrlimit(Resource::Nofile)
                .current
                .map_or(WARM_PAIRS, |most| WARM_PAIRS.min(most as usize / 8)),
        })
    }

    /// Has something else watched as well, reported as `tag`.
    pub(super) fn watch(&self, other: impl AsFd, tag: u64) -> io::Result<()> {
        epoll::add(&self.epoll, other, epoll::EventData::new_u64(tag), epoll::EventFlags::IN)?;
        Ok(())
    }

    /// Waits until something is readable, at most for so many milliseconds; fills `ready` up to its capacity.
    pub(super) fn wait(&self, ready: &mut Vec<epoll::Event>, timeout: Option<u64>) {
        ready.clear();
        let timeout = timeout.map(|milliseconds| Timespec {
            tv_sec: (milliseconds / 1_000) as i64,
            tv_nsec: (milliseconds % 1_000 * 1_000_000) as i64,
        });
        // It can only fail by a signal, and then nothing is ready.
        let _ = epoll::wait(&self.epoll, spare_capacity(ready), timeout.as_ref());
    }

    /// Opens the sockets of an end: RTP on the given port, RTCP on the next. `place` says whose they are.
    pub(super) fn open(
        &mut self,
        local: SocketAddr,
        place: impl Fn(Component) -> Place,
    ) -> io::Result<Sockets> {
        let pair = self.find_or_open(local)?;
        self.demux.point(pair.rtp, Some(place(Component::Rtp)));
        self.demux.point(pair.rtcp, Some(place(Component::Rtcp)));
        Ok(pair)
    }

    fn find_or_open(&mut self, local: SocketAddr) -> io::Result<Sockets> {
        // Under load, what is wanted again has been warm for almost the longest; otherwise, few are warm.
        if let Some(index) = self.warm.iter().position(|warm| warm.local == local)
            && let Some(warm) = self.warm.remove(index)
        {
            self.discard(warm.pair.rtp);
            self.discard(warm.pair.rtcp);
            return Ok(warm.pair);
        }
        match self.open_cold(local) {
            Err(_) if !self.warm.is_empty() => {
                // What is kept warm must not stand in the way, by its number or by its port.
                self.cool(u64::MAX);
                self.open_cold(local)
            }
            done => done,
        }
    }

    fn open_cold(&mut self, local: SocketAddr) -> io::Result<Sockets> {
        let next = after(local).filter(|_| local.port() > 0).ok_or(io::ErrorKind::InvalidInput)?;
        let rtp = self.add(bound(local)?)?;
        match bound(next).and_then(|socket| self.add(socket)) {
            Ok(rtcp) => Ok(Sockets { rtp, rtcp }),
            Err(error) => {
                self.remove(rtp);
                Err(error)
            }
        }
    }

    /// Takes over the sockets of an end that a relay before this one had open there, and what waits in them.
    ///
    /// # Errors
    /// When they are not what was open there.
    pub(super) fn adopt(
        &mut self,
        local: SocketAddr,
        [rtp, rtcp]: [OwnedFd; 2],
        place: impl Fn(Component) -> Place,
    ) -> io::Result<Sockets> {
        if address_of(&rtp) != Some(local) || address_of(&rtcp) != after(local) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a socket is not that of {local}"),
            ));
        }
        let pair = Sockets { rtp: self.add(rtp)?, rtcp: self.add(rtcp)? };
        self.demux.point(pair.rtp, Some(place(Component::Rtp)));
        self.demux.point(pair.rtcp, Some(place(Component::Rtcp)));
        Ok(pair)
    }

    /// Gives a socket away, with what waits in it.
    pub(super) fn give_away(&mut self, key: Key) -> Option<OwnedFd> {
        self.sockets.get_mut(key.0 as usize)?.take()
    }

    fn add(&mut self, socket: OwnedFd) -> io::Result<Key> {
        let key = self.free.pop().unwrap_or(Key(self.sockets.len() as u32));
        if let Err(error) = self.watch(&socket, key.0.into()) {
            self.free.push(key);
            return Err(error);
        }
        let index = key.0 as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(socket);
        Ok(key)
    }

    fn remove(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key.0 as usize)
            && socket.take().is_some()
        {
            self.free.push(key);
        }
    }

    /// Closes the sockets of an end. What still comes to them is nobody's.
    pub(super) fn close(&mut self, local: SocketAddr, pair: Sockets, now: u64) {
        self.demux.point(pair.rtp, None);
        self.demux.point(pair.rtcp, None);
        if self.warm.len() >= self.most_warm {
            self.cool_first();
        }
        self.warm.push_back(Warm { local, pair, since: now });
    }

    /// Lets go of the pairs that have been warm for long enough; says when the next one will have been.
    pub(super) fn cool(&mut self, now: u64) -> Option<u64> {
        loop {
            let due = self.warm.front()?.since.saturating_add(WARM_MS);
            if due > now {
                return Some(due);
            }
            self.cool_first();
        }
    }

    fn cool_first(&mut self) {
        if let Some(warm) = self.warm.pop_front() {
            self.remove(warm.pair.rtp);
            self.remove(warm.pair.rtcp);
        }
    }

    /// Drops all that waits in a socket, but not more than fits its buffer: what comes in
    /// faster than that has to be refused packet by packet.
    fn discard(&self, key: Key) {
        for _ in 0..RECEIVE_BUFFER / 256 {
            if self.receive_any(key, &mut [0; 1]).is_none() {
                return;
            }
        }
    }

    /// Receives one packet, and says whose it is, its length and where it came from. `None` if there is none, or if
    /// it is nobody's.
    pub(super) fn receive(&self, key: Key, buffer: &mut [u8]) -> Option<(Place, usize, SocketAddr)> {
        let (length, from) = self.receive_any(key, buffer)?;
        Some((self.demux.find(key)?, length, from))
    }

    fn receive_any(&self, key: Key, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let socket = self.sockets.get(key.0 as usize)?.as_ref()?;
        let (length, _, from) = net::recvfrom(socket, buffer, RecvFlags::empty()).ok()?;
        Some((length, SocketAddr::try_from(from?).ok()?))
    }

    /// Sends one packet. One that cannot be sent is lost like one that is lost on the way: a full
    /// buffer, an address without a route or of the other family.
    pub(super) fn send(&self, key: Key, bytes: &[u8], to: SocketAddr) {
        if let Some(Some(socket)) = self.sockets.get(key.0 as usize) {
            let _ = net::sendto(socket, bytes, SendFlags::empty(), &to);
        }
    }
}

/// The next port of the same address.
fn after(mut local: SocketAddr) -> Option<SocketAddr> {
    local.set_port(local.port().checked_add(1)?);
    Some(local)
}

/// Where a socket is bound.
fn address_of(socket: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(net::getsockname(socket).ok()?).ok()
}

/// A UDP socket at exactly this address.
fn bound(local: SocketAddr) -> io::Result<OwnedFd> {
    let family = match local {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    // Each of these makes the relay better; none is needed to make it work.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    match local {
        SocketAddr::V4(_) => {
            let _ = sockopt::set_ip_tos(&socket, EXPEDITED);
            let _ = sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT);
        }
        SocketAddr::V6(_) => {
            let _ = sockopt::set_ipv6_tclass(&socket, EXPEDITED.into());
            let _ = sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT);
            // Without this an unspecified address would take the IPv4 port too.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
    }
    net::bind(&socket, &local)?;
    Ok(socket)
}

//! What the relay promises, held against real sockets on the loopback interface.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use denwa::media::{
    Admit, Command, Counters, End, Event, Far, MAX_STREAMS, Relay, Remote, SessionId, Side, Stream,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a packet or an event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing may come, where nothing is to come.
const QUIET: Duration = Duration::from_millis(100);

/// A relay and the events that were not looked at yet.
struct Exchange {
    relay: Relay,
    events: VecDeque<Event>,
}

impl Exchange {
    fn start() -> Exchange {
        Exchange { relay: Relay::start().unwrap(), events: VecDeque::new() }
    }

    /// Sets a session and waits until that is done.
    fn set(&mut self, session: u64, streams: Vec<Option<Stream>>) {
        self.relay.send(Command::Set { session: SessionId(session), streams });
        self.settle();
    }

    /// Sets a session of one stream.
    fn join(&mut self, session: u64, a: End, b: End) {
        self.set(session, vec![Some(Stream { a, b: Far::End(b) })]);
    }

    /// Waits until the relay has obeyed all commands: it does so in order, so the end of a session that never
    /// was comes after them.
    fn settle(&mut self) {
        let marker = SessionId(u64::MAX);
        self.relay.send(Command::Close { session: marker });
        let nothing = Counters::default();
        let done = Event::Closed { session: marker, a: nothing, b: nothing };
        let mut seen = VecDeque::new();
        loop {
            match self.event() {
                event if event == done => break,
                event => seen.push_back(event),
            }
        }
        self.events.append(&mut seen);
    }

    /// Closes a session, and returns what came from its two sides.
    fn close(&mut self, session: u64) -> (Counters, Counters) {
        self.relay.send(Command::Close { session: SessionId(session) });
        match self.event() {
            Event::Closed { session: closed, a, b } if closed.0 == session => (a, b),
            other => panic!("{other:?}"),
        }
    }

    /// The next event.
    fn event(&mut self) -> Event {
        self.event_within(PATIENCE).unwrap()
    }

    fn event_within(&mut self, patience: Duration) -> Option<Event> {
        let end = Instant::now() + patience;
        while self.events.is_empty() {
            let left = Timespec::try_from(end.checked_duration_since(Instant::now())?).unwrap();
            let mut fds = [PollFd::from_borrowed_fd(self.relay.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&left)).unwrap();
            let mut events = Vec::new();
            self.relay.drain(&mut events);
            self.events.extend(events);
        }
        self.events.pop_front()
    }
}

/// A phone's socket.
struct Phone(UdpSocket);

impl Phone {
    fn at(address: &str) -> Phone {
        let socket = UdpSocket::bind(address).unwrap();
        Phone(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn say(&self, bytes: &[u8], to: SocketAddr) {
        self.0.send_to(bytes, to).unwrap();
    }

    /// The next packet and where it came from.
    fn hear(&self) -> (Vec<u8>, SocketAddr) {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.0.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    fn hears_nothing(&self) {
        self.0.set_read_timeout(Some(QUIET)).unwrap();
        let error = self.0.recv_from(&mut [0; 2048]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }
}

/// A free address for an end: even port, of this family.
fn local(ip: &str) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ip: IpAddr = ip.parse().unwrap();
    loop {
        let step = NEXT.fetch_add(2, Ordering::Relaxed) % 8_000;
        // Two copies of these tests may run at a time.
        let port = 12_000 + (step + (std::process::id() % 4_000) as u16 * 2) % 8_000;
        let pair = [(ip, port), (ip, port + 1)];
        if pair.iter().all(|address| UdpSocket::bind(address).is_ok()) {
            return (ip, port).into();
        }
    }
}

/// The address of RTCP, where this one is RTP's.
fn next(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// An end that admits the phone's address and sends to it.
fn end(local: SocketAddr, phone: &Phone) -> End {
    let remote = Remote { rtp: phone.address(), rtcp: next(phone.address()) };
    let admit = Admit::Address(phone.address().ip());
    End { local, remote: Some(remote), admit, window: 0, silence: None }
}

/// An RTP packet of 20 ms of sound.
fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([sequence as u8; 160]);
    packet
}

#[test]
fn packets_go_both_ways_in_each_family_and_across() {
    let mut exchange = Exchange::start();
    for (ip_a, ip_b) in
        [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")]
    {
        let (local_a, local_b) = (local(ip_a), local(ip_b));
        let (a, b) = (Phone::at(&format!("[{ip_a}]:0").replace("[127.0.0.1]", "127.0.0.1")), {
            Phone::at(&format!("[{ip_b}]:0").replace("[127.0.0.1]", "127.0.0.1"))
        });
        exchange.join(1, end(local_a, &a), end(local_b, &b));
        for sequence in 0..10 {
            a.say(&rtp(sequence, 1), local_a);
            assert_eq!(b.hear(), (rtp(sequence, 1), local_b), "{ip_a} to {ip_b}");
            b.say(&rtp(sequence, 2), local_b);
            assert_eq!(a.hear(), (rtp(sequence, 2), local_a), "{ip_b} to {ip_a}");
        }
        let heard = Counters { packets: 10, bytes: 1720, lost: 0, strangers: 0 };
        assert_eq!(exchange.close(1), (heard, heard));
    }
}

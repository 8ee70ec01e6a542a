//! A relay, phones, and a call between two of them.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use denwa::media::{
    Admit, Command, Component, Counters, End, Event, Far, Lock, Measured, Relay, Remote, SessionId, Side,
    Stream,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a packet or an event may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing may come, where nothing is to come.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// A relay and the events that were not looked at yet.
pub(crate) struct Exchange {
    pub(crate) relay: Relay,
    pub(crate) events: VecDeque<Event>,
    pub(crate) locks: VecDeque<Lock>,
}

impl Exchange {
    pub(crate) fn start() -> Exchange {
        Exchange { relay: Relay::start().unwrap(), events: VecDeque::new(), locks: VecDeque::new() }
    }

    /// Sets a session and waits until that is done.
    pub(crate) fn set(&mut self, session: u64, streams: Vec<Option<Stream>>) {
        self.relay.send(Command::Set { session: SessionId(session), streams });
        self.settle();
    }

    /// Sets a session of one stream.
    pub(crate) fn join(&mut self, session: u64, a: End, b: End) {
        self.set(session, vec![Some(Stream { a, b: Far::End(b) })]);
    }

    /// Waits until the relay has obeyed all commands: it does so in order, so the end of a session that never
    /// was comes after them.
    pub(crate) fn settle(&mut self) {
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

    /// Closes a session, and returns what came from its two sides, but for the jitter: it is this machine's.
    pub(crate) fn close(&mut self, session: u64) -> (Counters, Counters) {
        self.relay.send(Command::Close { session: SessionId(session) });
        match self.event() {
            Event::Closed { session: closed, a, b } if closed.0 == session => {
                (Counters { jitter: 0, ..a }, Counters { jitter: 0, ..b })
            }
            other => panic!("{other:?}"),
        }
    }

    /// How all sessions are.
    pub(crate) fn measure(&mut self) -> Vec<Measured> {
        self.relay.measure();
        match self.event() {
            Event::Measured(measured) => measured,
            other => panic!("{other:?}"),
        }
    }

    /// The next event but for locks.
    pub(crate) fn event(&mut self) -> Event {
        self.event_within(PATIENCE).unwrap()
    }

    pub(crate) fn event_within(&mut self, patience: Duration) -> Option<Event> {
        let end = Instant::now() + patience;
        while self.events.is_empty() {
            let left = Timespec::try_from(end.checked_duration_since(Instant::now())?).unwrap();
            let mut fds = [PollFd::from_borrowed_fd(self.relay.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&left)).unwrap();
            let mut events = Vec::new();
            self.relay.drain(&mut events);
            for event in events {
                match event {
                    Event::Locked { session, lock } => {
                        assert_eq!(session, SessionId(SESSION));
                        self.locks.push_back(lock);
                    }
                    event => self.events.push_back(event),
                }
            }
        }
        self.events.pop_front()
    }

    /// The locks that were told by now.
    pub(crate) fn locks(&mut self) -> Vec<Lock> {
        self.settle();
        self.locks.drain(..).collect()
    }
}

/// A phone's socket.
pub(crate) struct Phone(pub(crate) UdpSocket);

impl Phone {
    pub(crate) fn at(address: &str) -> Phone {
        let socket = UdpSocket::bind(address).unwrap();
        Phone(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn say(&self, bytes: &[u8], to: SocketAddr) {
        self.0.send_to(bytes, to).unwrap();
    }

    /// The next packet and where it came from.
    pub(crate) fn hear(&self) -> (Vec<u8>, SocketAddr) {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.0.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    pub(crate) fn hears_nothing(&self) {
        self.0.set_read_timeout(Some(QUIET)).unwrap();
        let error = self.0.recv_from(&mut [0; 2048]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }
}

/// A free address for an end: even port, of this family.
pub(crate) fn local(ip: &str) -> SocketAddr {
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
pub(crate) fn next(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// An end that admits the phone's address and sends to it.
pub(crate) fn end(local: SocketAddr, phone: &Phone) -> End {
    let remote = Remote { rtp: phone.address(), rtcp: next(phone.address()) };
    let admit = Admit::Address(phone.address().ip());
    End { local, remote: Some(remote), admit, window: 0, silence: None }
}

/// An RTP packet of 20 ms of sound.
pub(crate) fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([sequence as u8; 160]);
    packet
}

/// What was received, as the relay counts it.
pub(crate) fn heard(packets: u64, bytes: u64, lost: u64, strangers: u64) -> Counters {
    Counters { packets, bytes, lost, strangers, ..Counters::default() }
}

/// A session between two phones on addresses of their own.
pub(crate) struct Call {
    pub(crate) exchange: Exchange,
    pub(crate) phone_a: Phone,
    pub(crate) phone_b: Phone,
    pub(crate) a: End,
    pub(crate) b: End,
}

pub(crate) const SESSION: u64 = 7;

impl Call {
    /// The ends as `change` wants them.
    pub(crate) fn with(change: impl FnOnce(&mut End, &mut End)) -> Call {
        let (phone_a, phone_b) = (Phone::at("127.0.1.1:0"), Phone::at("127.0.2.1:0"));
        let (mut a, mut b) = (end(local("127.0.0.1"), &phone_a), end(local("127.0.0.1"), &phone_b));
        change(&mut a, &mut b);
        let mut call = Call { exchange: Exchange::start(), phone_a, phone_b, a, b };
        call.set();
        call
    }

    pub(crate) fn new() -> Call {
        Call::with(|_, _| ())
    }

    /// Tells the relay what the ends are now.
    pub(crate) fn set(&mut self) {
        self.exchange.join(SESSION, self.a.clone(), self.b.clone());
    }

    /// Checks that a packet from `from` to the caller's port is what the callee hears next.
    pub(crate) fn passes(&self, from: &Phone, bytes: &[u8]) {
        from.say(bytes, self.a.local);
        assert_eq!(self.phone_b.hear(), (bytes.to_vec(), self.b.local));
    }

    /// A lock of the caller's end in its window.
    pub(crate) fn lock(&self, component: Component, source: SocketAddr) -> Lock {
        Lock { stream: 0, side: Side::A, component, window: self.a.window, source }
    }

    /// Asks for a lock to be restored, and waits until that is done.
    pub(crate) fn restore(&mut self, lock: Lock) {
        self.exchange.relay.send(Command::Lock { session: SessionId(SESSION), lock });
        self.exchange.settle();
    }

    /// What came from the caller, and from the callee.
    pub(crate) fn close(&mut self) -> (Counters, Counters) {
        self.exchange.close(SESSION)
    }
}

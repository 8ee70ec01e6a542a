//! What the relay promises, held against real sockets on the loopback interface.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use denwa::media::{
    Admit, Command, Component, Counters, End, Event, Far, Lock, MAX_SESSIONS, MAX_STREAMS, Measured, Relay,
    Remote, SessionId, Side, Stream,
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
    locks: VecDeque<Lock>,
}

impl Exchange {
    fn start() -> Exchange {
        Exchange { relay: Relay::start().unwrap(), events: VecDeque::new(), locks: VecDeque::new() }
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

    /// Closes a session, and returns what came from its two sides, but for the jitter: it is this machine's.
    fn close(&mut self, session: u64) -> (Counters, Counters) {
        self.relay.send(Command::Close { session: SessionId(session) });
        match self.event() {
            Event::Closed { session: closed, a, b } if closed.0 == session => {
                (Counters { jitter: 0, ..a }, Counters { jitter: 0, ..b })
            }
            other => panic!("{other:?}"),
        }
    }

    /// How all sessions are.
    fn measure(&mut self) -> Vec<Measured> {
        self.relay.measure();
        match self.event() {
            Event::Measured(measured) => measured,
            other => panic!("{other:?}"),
        }
    }

    /// The next event but for locks.
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
    fn locks(&mut self) -> Vec<Lock> {
        self.settle();
        self.locks.drain(..).collect()
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

/// What was received, as the relay counts it.
fn heard(packets: u64, bytes: u64, lost: u64, strangers: u64) -> Counters {
    Counters { packets, bytes, lost, strangers, ..Counters::default() }
}

/// A session between two phones on addresses of their own.
struct Call {
    exchange: Exchange,
    phone_a: Phone,
    phone_b: Phone,
    a: End,
    b: End,
}

const SESSION: u64 = 7;

impl Call {
    /// The ends as `change` wants them.
    fn with(change: impl FnOnce(&mut End, &mut End)) -> Call {
        let (phone_a, phone_b) = (Phone::at("127.0.1.1:0"), Phone::at("127.0.2.1:0"));
        let (mut a, mut b) = (end(local("127.0.0.1"), &phone_a), end(local("127.0.0.1"), &phone_b));
        change(&mut a, &mut b);
        let mut call = Call { exchange: Exchange::start(), phone_a, phone_b, a, b };
        call.set();
        call
    }

    fn new() -> Call {
        Call::with(|_, _| ())
    }

    /// Tells the relay what the ends are now.
    fn set(&mut self) {
        self.exchange.join(SESSION, self.a.clone(), self.b.clone());
    }

    /// Checks that a packet from `from` to the caller's port is what the callee hears next.
    fn passes(&self, from: &Phone, bytes: &[u8]) {
        from.say(bytes, self.a.local);
        assert_eq!(self.phone_b.hear(), (bytes.to_vec(), self.b.local));
    }

    /// A lock of the caller's end in its window.
    fn lock(&self, component: Component, source: SocketAddr) -> Lock {
        Lock { stream: 0, side: Side::A, component, window: self.a.window, source }
    }

    /// Asks for a lock to be restored, and waits until that is done.
    fn restore(&mut self, lock: Lock) {
        self.exchange.relay.send(Command::Lock { session: SessionId(SESSION), lock });
        self.exchange.settle();
    }

    /// What came from the caller, and from the callee.
    fn close(&mut self) -> (Counters, Counters) {
        self.exchange.close(SESSION)
    }
}

#[test]
fn packets_go_both_ways_in_each_family_and_across() {
    let mut exchange = Exchange::start();
    for (ip_a, ip_b) in
        [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")]
    {
        let phone = |ip: &str| Phone::at(&SocketAddr::new(ip.parse().unwrap(), 0).to_string());
        let (a, b) = (phone(ip_a), phone(ip_b));
        let (local_a, local_b) = (local(ip_a), local(ip_b));
        exchange.join(1, end(local_a, &a), end(local_b, &b));
        for sequence in 0..10 {
            a.say(&rtp(sequence, 1), local_a);
            assert_eq!(b.hear(), (rtp(sequence, 1), local_b), "{ip_a} to {ip_b}");
            b.say(&rtp(sequence, 2), local_b);
            assert_eq!(a.hear(), (rtp(sequence, 2), local_a), "{ip_b} to {ip_a}");
        }
        assert_eq!(exchange.close(1), (heard(10, 1720, 0, 0), heard(10, 1720, 0, 0)));
    }
}

#[test]
fn any_bytes_pass_whatever_they_are() {
    let mut call = Call::new();
    let t38 = [0x00, 0x00, 0x03, 0x06, 0x00, 0x00];
    let stun = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let dtls = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let video = vec![0xab; 1_500];
    let longest = vec![0xcd; 65_507];
    for bytes in [&[][..], &[0x80], &t38, &stun, &dtls, &video, &longest] {
        call.passes(&call.phone_a, bytes);
    }
    let (a, _) = call.close();
    assert_eq!((a.packets, a.bytes), (7, 1 + 6 + 20 + 13 + 1_500 + 65_507));
}

#[test]
fn noise_harms_nothing() {
    let mut call = Call::new();
    let mut random = 88_172_645_463_325_252_u64;
    let mut media = 0;
    for _ in 0..2_000 {
        let mut bytes = Vec::new();
        for _ in 0..random % 5 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.extend(random.to_le_bytes());
        }
        random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        call.passes(&call.phone_a, &bytes);
        media += u64::from(!matches!(*bytes, [0x80..0xc0, 192..=223, ..]));
    }
    assert_eq!(call.close().0.packets, media);
}

#[test]
fn rtcp_goes_from_port_to_port_and_multiplexed_with_rtp() {
    let rtcp_a = Phone::at("127.0.1.1:0");
    let rtcp_b = Phone::at("127.0.2.1:0");
    let mut call = Call::with(|a, b| {
        a.remote.as_mut().unwrap().rtcp = rtcp_a.address();
        b.remote.as_mut().unwrap().rtcp = rtcp_b.address();
    });
    let report = [0x80, 200, 0, 6, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9];
    rtcp_a.say(&report, next(call.a.local));
    assert_eq!(rtcp_b.hear(), (report.to_vec(), next(call.b.local)));
    rtcp_b.say(&report, next(call.b.local));
    assert_eq!(rtcp_a.hear(), (report.to_vec(), next(call.a.local)));

    call.passes(&call.phone_a, &report);
    assert_eq!(call.close().0, Counters::default(), "reports are no sound");
}

#[test]
fn strangers_are_dropped_and_counted() {
    let mut call = Call::new();
    let elsewhere = Phone::at("127.0.66.6:0");
    let neighbour = Phone::at("127.0.1.1:0");
    elsewhere.say(&rtp(0, 9), call.a.local);
    call.passes(&call.phone_a, &rtp(1, 1));
    elsewhere.say(&rtp(1, 9), call.a.local);
    neighbour.say(&rtp(1, 9), call.a.local);
    elsewhere.say(&[0x80, 200], next(call.a.local));
    call.exchange.settle();
    call.passes(&call.phone_a, &rtp(2, 1));
    call.phone_b.hears_nothing();
    // What the callee says goes to who is locked, and to nobody else.
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(call.phone_a.hear().0, rtp(1, 2));
    elsewhere.hears_nothing();
    neighbour.hears_nothing();
    assert_eq!(call.close().0, heard(2, 344, 0, 4));
}

#[test]
fn a_private_address_in_sdp_is_replaced_by_the_source_that_speaks() {
    let behind_nat = "192.168.0.10:4000".parse().unwrap();
    let mut call = Call::with(|a, _| a.remote = Some(Remote { rtp: behind_nat, rtcp: behind_nat }));
    call.passes(&call.phone_a, &rtp(1, 1));
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(call.phone_a.hear(), (rtp(1, 2), call.a.local));
    call.close();
}

#[test]
fn a_lock_elsewhere_than_the_sdp_says_is_told_once() {
    let mut call = Call::new();
    for sequence in 0..3 {
        call.passes(&call.phone_a, &rtp(sequence, 1));
    }
    assert_eq!(call.exchange.locks(), [], "as the SDP says");

    // Of both sockets, as soon as it is so: a crash may come at any time.
    let behind_nat = "192.168.0.10:4000".parse().unwrap();
    (call.a.remote, call.a.window) = (Some(Remote { rtp: behind_nat, rtcp: behind_nat }), 1);
    call.set();
    let rtcp = Phone::at("127.0.1.1:0");
    for _ in 0..3 {
        call.passes(&call.phone_a, &rtp(3, 1));
        rtcp.say(&[0x80, 200], next(call.a.local));
    }
    let locks =
        [call.lock(Component::Rtp, call.phone_a.address()), call.lock(Component::Rtcp, rtcp.address())];
    assert_eq!(call.exchange.locks(), locks);
    let neighbour = Phone::at("127.0.1.1:0");
    neighbour.say(&rtp(4, 1), call.a.local);
    assert_eq!(call.exchange.locks(), [], "a stranger takes none");

    // A new window, in which it is silent: sound still goes to it.
    call.a.window = 2;
    call.set();
    assert_eq!(call.exchange.locks(), locks.map(|lock| Lock { window: 2, ..lock }));
    call.passes(&call.phone_a, &rtp(5, 1));
    assert_eq!(call.exchange.locks(), []);
    call.close();
}

#[test]
fn a_restored_lock_is_as_good_as_one_that_was_taken() {
    let mut call = Call::with(|a, _| (a.remote, a.admit, a.window) = (None, Admit::Anyone, 3));
    let thief = Phone::at("127.0.66.6:0");
    call.restore(call.lock(Component::Rtp, call.phone_a.address()));
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(call.phone_a.hear().0, rtp(1, 2), "before it said a word");
    thief.say(&rtp(1, 9), call.a.local);
    thief.say(&[0x80, 200], next(call.a.local));
    call.exchange.settle();
    call.passes(&call.phone_a, &rtp(1, 1));
    assert_eq!(call.exchange.locks(), [], "whoever restores it knows it");
    assert_eq!(call.close().0.strangers, 2);
}

#[test]
fn a_lock_that_does_not_fit_is_not_restored() {
    let mut call = Call::with(|a, _| a.window = 3);
    let thief = Phone::at("127.0.66.6:0");
    let neighbour = Phone::at("127.0.1.1:0");
    let right = call.lock(Component::Rtp, neighbour.address());
    for lock in [
        Lock { window: 2, ..right },
        Lock { source: thief.address(), ..right },
        Lock { stream: 1, ..right },
        Lock { stream: 255, ..right },
    ] {
        call.restore(lock);
        call.phone_b.say(&rtp(1, 2), call.b.local);
        assert_eq!(call.phone_a.hear().0, rtp(1, 2), "{lock:?}");
    }
    call.exchange.relay.send(Command::Lock { session: SessionId(99), lock: right });
    call.restore(right);
    call.phone_b.say(&rtp(2, 2), call.b.local);
    assert_eq!(neighbour.hear().0, rtp(2, 2));
    call.close();
}

#[test]
fn where_no_address_is_known_packets_wait_for_none() {
    let mut call = Call::with(|a, _| a.remote = None);
    call.phone_b.say(&rtp(1, 2), call.b.local);
    call.exchange.settle();
    call.passes(&call.phone_a, &rtp(1, 1));
    call.phone_b.say(&rtp(2, 2), call.b.local);
    assert_eq!(call.phone_a.hear().0, rtp(2, 2), "the first had nowhere to go");
    let (_, b) = call.close();
    assert_eq!((b.packets, b.lost), (2, 0));
}

#[test]
fn the_first_of_anyone_has_the_end() {
    let mut call = Call::with(|a, _| (a.admit, a.remote) = (Admit::Anyone, None));
    let (first, second) = (Phone::at("127.0.3.1:0"), Phone::at("127.0.4.1:0"));
    call.passes(&first, &rtp(1, 1));
    second.say(&rtp(1, 9), call.a.local);
    // The address counts for the other socket too.
    second.say(&[0x80, 200], next(call.a.local));
    call.exchange.settle();
    call.passes(&first, &rtp(2, 1));
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(first.hear().0, rtp(1, 2));
    assert_eq!(call.close().0.strangers, 2);
}

#[test]
fn another_port_takes_over_after_two_seconds_of_silence_and_another_address_never() {
    let mut call = Call::with(|a, _| a.admit = Admit::Anyone);
    let (moved, stranger) = (Phone::at("127.0.1.1:0"), Phone::at("127.0.66.6:0"));
    call.passes(&call.phone_a, &rtp(1, 1));
    moved.say(&rtp(2, 1), call.a.local);
    call.phone_b.hears_nothing();
    std::thread::sleep(Duration::from_millis(2_000));
    stranger.say(&rtp(9, 9), call.a.local);
    call.exchange.settle();
    call.passes(&moved, &rtp(3, 1));
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(moved.hear().0, rtp(1, 2));
    assert_eq!(call.close().0, heard(2, 344, 1, 2));
}

#[test]
fn a_new_window_opens_the_lock_and_an_old_one_does_not() {
    let mut call = Call::new();
    let moved = Phone::at("127.0.3.1:0");
    call.passes(&call.phone_a, &rtp(1, 1));

    // The same negotiation again, whatever it says: the lock knows better.
    call.a.admit = Admit::Address(moved.address().ip());
    call.a.remote = end(call.a.local, &moved).remote;
    call.set();
    call.passes(&call.phone_a, &rtp(2, 1));
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(call.phone_a.hear().0, rtp(1, 2));

    // A new one: packets go where it says, and come from there.
    call.a.window = 1;
    call.a.remote = end(call.a.local, &moved).remote.map(|remote| Remote { rtcp: remote.rtp, ..remote });
    call.set();
    call.phone_b.say(&rtp(2, 2), call.b.local);
    assert_eq!(moved.hear().0, rtp(2, 2));
    call.phone_a.say(&rtp(3, 1), call.a.local);
    call.exchange.settle();
    call.passes(&moved, &rtp(4, 1));
    assert_eq!(call.close().0, heard(3, 3 * 172, 1, 1));
}

/// On hold a phone behind NAT may say nothing, and yet wants to hear the music.
#[test]
fn a_new_window_with_the_same_address_goes_on_to_the_known_source() {
    let behind_nat = "192.168.0.10:4000".parse().unwrap();
    let mut call = Call::with(|a, _| a.remote = Some(Remote { rtp: behind_nat, rtcp: behind_nat }));
    call.passes(&call.phone_a, &rtp(1, 1));
    call.a.window = 1;
    call.set();
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(call.phone_a.hear().0, rtp(1, 2));
    call.close();
}

#[test]
fn the_echo_returns_sound_with_another_ssrc_and_nothing_else() {
    let mut exchange = Exchange::start();
    let phone = Phone::at("127.0.1.1:0");
    let local = local("127.0.0.1");
    exchange.set(1, vec![Some(Stream { a: end(local, &phone), b: Far::Echo })]);
    phone.say(&[0x80, 200, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], local);
    phone.say(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0], local);
    phone.say(&rtp(5, 0xffff_ffff), local);
    assert_eq!(phone.hear(), (rtp(5, 0), local));
    phone.say(&rtp(6, 41), local);
    assert_eq!(phone.hear(), (rtp(6, 42), local));
    phone.hears_nothing();
    let (a, b) = exchange.close(1);
    assert_eq!((a.packets, b), (3, Counters::default()));
}

#[test]
fn streams_come_and_go_while_others_stay() {
    let mut call = Call::new();
    let audio = || Some(Stream { a: call.a.clone(), b: Far::End(call.b.clone()) });
    let (camera, screen) = (Phone::at("127.0.1.1:0"), Phone::at("127.0.2.1:0"));
    let (from, to) = (local("127.0.0.1"), local("::1"));
    let mut video = Stream { a: end(from, &camera), b: Far::End(end(local("127.0.0.1"), &screen)) };

    call.passes(&call.phone_a, &rtp(1, 1));
    call.exchange.set(SESSION, vec![audio(), None, Some(video.clone())]);
    camera.say(&rtp(1, 3), from);
    assert_eq!(screen.hear().0, rtp(1, 3));
    call.passes(&call.phone_a, &rtp(2, 1));

    // The picture moves to another index and another port, on the camera's side of another family.
    let camera = Phone::at("[::1]:0");
    video.a = end(to, &camera);
    call.exchange.set(SESSION, vec![audio(), Some(video.clone())]);
    camera.say(&rtp(2, 3), to);
    assert_eq!(screen.hear().0, rtp(2, 3));
    assert!(UdpSocket::bind(from).is_err(), "kept warm for the next call");

    // And the sound goes.
    call.exchange.set(SESSION, vec![None, Some(video)]);
    camera.say(&rtp(3, 3), to);
    assert_eq!(screen.hear().0, rtp(3, 3));
    call.phone_a.say(&rtp(3, 1), call.a.local);
    call.phone_b.hears_nothing();
    let (a, _) = call.close();
    assert_eq!(a, heard(5, 5 * 172, 0, 0), "of streams that are gone, too");
}

#[test]
fn a_port_that_is_taken_fails_once_and_harms_no_other() {
    let mut call = Call::new();
    let (taken, free) = (local("127.0.0.1"), local("127.0.0.1"));
    // Of the pair only the odd port is taken: the even one must be let go.
    let holder = UdpSocket::bind(next(taken)).unwrap();
    let other = Stream {
        a: end(taken, &call.phone_a),
        b: Far::End(End { local: free, ..end(taken, &call.phone_b) }),
    };
    let audio = Some(Stream { a: call.a.clone(), b: Far::End(call.b.clone()) });
    let both = vec![audio, Some(other)];
    call.exchange.set(SESSION, both.clone());
    match call.exchange.event() {
        Event::Failed { session, local, reason } => {
            assert_eq!((session.0, local), (SESSION, taken));
            assert!(reason.contains("in use"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    call.passes(&call.phone_a, &rtp(1, 1));
    drop(UdpSocket::bind(taken).unwrap());
    // What came to the half that works goes nowhere.
    call.phone_b.say(&rtp(1, 2), free);

    // Said again, it is tried again.
    drop(holder);
    call.exchange.set(SESSION, both);
    call.phone_b.say(&rtp(2, 2), free);
    assert_eq!(call.phone_a.hear(), (rtp(2, 2), taken));
    assert_eq!(call.close().1.packets, 2);
    assert_eq!(call.exchange.event_within(QUIET), None);
}

#[test]
fn impossible_addresses_fail() {
    let mut exchange = Exchange::start();
    let phone = Phone::at("127.0.1.1:0");
    for address in ["127.0.0.1:0", "127.0.0.1:65535", "192.0.2.1:40000", "[2001:db8::1]:40000"] {
        let address = address.parse().unwrap();
        exchange.set(1, vec![Some(Stream { a: end(address, &phone), b: Far::Echo })]);
        let event = exchange.event();
        assert!(matches!(&event, Event::Failed { local, .. } if *local == address), "{event:?}");
    }
    let too_many = (0..=MAX_STREAMS).map(|_| end(local("127.0.0.1"), &phone));
    exchange.set(1, too_many.map(|a| Some(Stream { a, b: Far::Echo })).collect());
    let event = exchange.event();
    assert!(matches!(&event, Event::Failed { reason, .. } if reason == "more than 8 streams"), "{event:?}");
    exchange.close(1);
}

/// Packets to nowhere are lost, and nothing else is.
#[test]
fn unreachable_remotes_do_no_harm() {
    for remote in ["127.0.2.1:0", "[::1]:9", "255.255.255.255:9", "0.0.0.0:0", "240.0.0.1:9"] {
        let remote = remote.parse().unwrap();
        let mut call = Call::with(|_, b| b.remote = Some(Remote { rtp: remote, rtcp: remote }));
        for sequence in 0..3 {
            call.phone_a.say(&rtp(sequence, 1), call.a.local);
            call.phone_b.say(&rtp(sequence, 2), call.b.local);
            assert_eq!(call.phone_a.hear().0, rtp(sequence, 2), "{remote}");
        }
        assert_eq!(call.close().0.packets, 3, "{remote}");
    }
}

#[test]
fn a_port_is_used_again_and_hears_nothing_of_its_last_call() {
    let mut call = Call::new();
    call.passes(&call.phone_a, &rtp(1, 1));
    for round in 0..50 {
        assert_eq!(call.close().0.packets, 1);
        // The last call's phone has not understood yet.
        for sequence in 2..10 {
            call.phone_a.say(&rtp(sequence, 1), call.a.local);
        }
        call.a.window = round;
        call.set();
        call.passes(&call.phone_a, &rtp(1, 1));
    }
}

#[test]
fn closing_what_never_was_is_answered() {
    let mut exchange = Exchange::start();
    assert_eq!(exchange.close(12345), (Counters::default(), Counters::default()));
    exchange.set(1, vec![]);
    exchange.set(2, vec![None, None]);
    exchange.close(1);
    exchange.close(2);
    exchange.close(2);
}

#[test]
fn silence_is_told_once_for_each_window_and_end() {
    let limit = Duration::from_millis(300);
    let start = Instant::now(); // before the relay starts to count
    let mut call = Call::with(|a, _| a.silence = Some(limit));
    let silent = Event::Silent { session: SessionId(SESSION), side: Side::A };
    // The callee, who promised nothing, may say what he wants.
    call.phone_b.say(&rtp(1, 1), call.b.local);
    assert_eq!(call.exchange.event(), silent);
    assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
    assert_eq!(call.exchange.event_within(Duration::from_millis(1_500)), None, "once");

    // RTCP is life.
    (call.a.window, call.b.silence) = (1, Some(limit));
    call.set();
    let speaking = Instant::now();
    while speaking.elapsed() < Duration::from_millis(1_500) {
        call.phone_a.say(&[0x80, 200], next(call.a.local));
        call.phone_b.say(&rtp(1, 1), call.b.local);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(call.exchange.event_within(Duration::ZERO), None);
    let both = [call.exchange.event(), call.exchange.event()];
    assert!(both.contains(&silent), "{both:?}");
    assert!(both.contains(&Event::Silent { session: SessionId(SESSION), side: Side::B }), "{both:?}");

    // On hold nothing is promised.
    (call.a.window, call.a.silence, call.b.window, call.b.silence) = (2, None, 2, None);
    call.set();
    assert_eq!(call.exchange.event_within(Duration::from_millis(1_500)), None);
    call.close();
}

#[test]
fn loss_is_counted_by_sequence_number() {
    let mut call = Call::new();
    for sequence in [65_533, 65_534, 1, 0, 2, 5] {
        call.passes(&call.phone_a, &rtp(sequence, 1));
    }
    // 65,535, 3 and 4 are missing.
    assert_eq!(call.close().0, heard(6, 6 * 172, 3, 0));
}

#[test]
fn each_end_is_measured_as_it_is() {
    let mut call = Call::new();
    let quiet = |side| Measured {
        session: SessionId(SESSION),
        stream: 0,
        side,
        counters: Counters::default(),
        jitter: 0,
        round_trip: 0,
        payload_type: None,
        source: None,
        heard: None,
    };
    assert_eq!(call.exchange.measure(), [quiet(Side::A), quiet(Side::B)]);

    // Each 20 ms, as its clock says, but each fifth one comes together with the next.
    let mut due = Instant::now();
    for sequence in 0..60 {
        if sequence % 5 != 0 {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        call.phone_a.say(&rtp(sequence, 1), call.a.local);
        due += Duration::from_millis(20);
    }
    let stranger = Phone::at("127.0.66.6:0");
    stranger.say(&rtp(1, 1), call.b.local);
    std::thread::sleep(Duration::from_millis(50));
    let [a, b] = call.exchange.measure().try_into().unwrap();
    assert_eq!((a.side, a.payload_type, a.source), (Side::A, Some(0), Some(call.phone_a.address())));
    assert_eq!((a.counters.packets, a.counters.bytes, a.counters.lost), (60, 60 * 172, 0));
    let ago = a.heard.unwrap();
    assert!((Duration::from_millis(50)..PATIENCE).contains(&ago), "{ago:?}");
    // Two of five differ by 20 ms; on a busy machine more.
    assert!((5_000..=20_000).contains(&a.jitter), "{} µs", a.jitter);
    assert!((a.jitter..=40_000).contains(&a.counters.jitter), "{} µs", a.counters.jitter);
    let expected = Counters { strangers: 1, ..Counters::default() };
    assert_eq!(b, Measured { counters: expected, ..quiet(Side::B) });

    // Where there is an echo there is one end only, and what is not relayed has none.
    let echo = Stream { a: end(local("127.0.0.1"), &call.phone_a), b: Far::Echo };
    call.exchange.set(SESSION, vec![None, Some(echo)]);
    let [a] = call.exchange.measure().try_into().unwrap();
    assert_eq!(a, Measured { stream: 1, ..quiet(Side::A) });
    assert_eq!(call.close().0.packets, 60);
    assert_eq!(call.exchange.measure(), []);
}

#[test]
fn the_round_trip_to_each_side_is_what_its_reports_say() {
    const ONE_TENTH: u32 = 6_554;
    let mut call = Call::new();
    let (rtcp_a, rtcp_b) = (Phone::at("127.0.1.1:0"), Phone::at("127.0.2.1:0"));
    call.a.remote = Some(Remote { rtp: call.phone_a.address(), rtcp: rtcp_a.address() });
    call.b.remote = Some(Remote { rtp: call.phone_b.address(), rtcp: rtcp_b.address() });
    call.set();
    let sender_report = |middle: u32| {
        let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0];
        report.extend(middle.to_be_bytes());
        report.extend([0; 14]);
        report
    };
    let receiver_report = |report: u32, ago: u32| {
        let mut packet = vec![0x81, 201, 0, 7, 0, 0, 0, 2];
        packet.extend([0; 16]);
        packet.extend(report.to_be_bytes());
        packet.extend(ago.to_be_bytes());
        packet
    };
    // The callee takes 250 ms, 100 of which it says it needed.
    rtcp_a.say(&sender_report(0xabcd_ef01), next(call.a.local));
    rtcp_b.hear();
    std::thread::sleep(Duration::from_millis(250));
    // A made-up answer comes first, and one that would have taken longer than there was time.
    for (report, ago) in [(0xabcd_ef02, 0), (0xabcd_ef01, 10 * ONE_TENTH), (0xabcd_ef01, ONE_TENTH)] {
        rtcp_b.say(&receiver_report(report, ago), next(call.b.local));
        rtcp_a.hear();
    }
    let [a, b] = call.exchange.measure().try_into().unwrap();
    assert_eq!(a.round_trip, 0, "nobody told");
    assert!((149_000..900_000).contains(&b.round_trip), "{} µs", b.round_trip);
    // And to the caller, multiplexed with its sound.
    call.phone_b.say(&sender_report(7), call.b.local);
    call.phone_a.hear();
    call.passes(&call.phone_a, &receiver_report(7, 0));
    let [a, _] = call.exchange.measure().try_into().unwrap();
    assert!((1..900_000).contains(&a.round_trip), "{} µs", a.round_trip);
    let (of_a, of_b) = call.close();
    assert_eq!((of_a.round_trip, of_b.round_trip), (a.round_trip, b.round_trip));
}

/// Far more sessions than a process may have sockets, in an order of their own; and none of them leaves one behind.
#[test]
fn thousands_of_sessions_leave_nothing_open() {
    let mut exchange = Exchange::start();
    let phone = Phone::at("127.0.1.1:0");
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for session in 0..5_000_u64 {
        let address = |offset: u64| {
            let number = (session * 2 + offset) % 3_000;
            SocketAddr::from(([127, 0, 5, (number / 1_000) as u8], 30_000 + (number % 1_000) as u16 * 2))
        };
        let stream = Stream { a: end(address(0), &phone), b: Far::End(end(address(1), &phone)) };
        exchange.relay.send(Command::Set { session: SessionId(session), streams: vec![Some(stream)] });
        if session >= 20 {
            exchange.relay.send(Command::Close { session: SessionId(session - 20) });
            let event = exchange.event();
            assert!(
                matches!(event, Event::Closed { session: SessionId(closed), .. } if closed == session - 20)
            );
        }
    }
    // Other tests in this process hold some sockets too.
    let most = 4 * 20 + 2 * 512 + 300;
    assert!(open() < before + most, "{} descriptors, {before} before", open());
    drop(exchange);
    let end = Instant::now() + PATIENCE;
    while (0..3_000).any(|number| {
        let ip = [127, 0, 5, (number / 1_000) as u8];
        UdpSocket::bind(SocketAddr::from((ip, 30_000 + (number % 1_000) as u16 * 2))).is_err()
    }) {
        assert!(Instant::now() < end, "ports are still open after the relay");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One thread floods it with commands while packets flow: all commands are obeyed, all packets arrive.
#[test]
fn commands_and_packets_do_not_stand_in_each_others_way() {
    let mut call = Call::new();
    let phone = Phone::at("127.0.1.1:0");
    for session in 0..20_000_u64 {
        let id = SessionId(1_000 + session);
        call.exchange.relay.send(Command::Set { session: id, streams: vec![] });
        call.exchange.relay.send(Command::Close { session: id });
        if session % 100 == 0 {
            call.passes(&call.phone_a, &rtp((session / 100) as u16, 1));
        }
    }
    for session in 0..20_000_u64 {
        let nothing = Counters::default();
        let closed = Event::Closed { session: SessionId(1_000 + session), a: nothing, b: nothing };
        assert_eq!(call.exchange.event(), closed);
    }
    phone.hears_nothing();
    assert_eq!(call.close().0.packets, 200);
}

#[test]
fn one_session_too_many_fails_and_a_closed_one_makes_room() {
    let mut exchange = Exchange::start();
    let all = MAX_SESSIONS as u64;
    for session in 0..all {
        exchange.relay.send(Command::Set { session: SessionId(session), streams: vec![] });
    }
    exchange.set(all, vec![]);
    let event = exchange.event();
    assert!(matches!(event, Event::Failed { session, .. } if session.0 == all), "{event:?}");
    exchange.set(0, vec![None]);
    exchange.close(1);
    exchange.set(all, vec![]);
    assert_eq!(exchange.event_within(Duration::ZERO), None);
}

#[test]
fn an_executor_can_wait_for_it() {
    let relay = smol::Async::new(Relay::start().unwrap()).unwrap();
    for session in 0..100 {
        relay.get_ref().send(Command::Close { session: SessionId(session) });
        let mut events = Vec::new();
        smol::block_on(relay.readable()).unwrap();
        relay.get_ref().drain(&mut events);
        assert!(matches!(events[..], [Event::Closed { session: closed, .. }] if closed.0 == session));
    }
}

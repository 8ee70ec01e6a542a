//! A relay that goes on where another one left, as after an upgrade.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use denwa::media::{
    Admit, Command, Component, Counters, Event, Far, Legacy, Measured, Relay, SessionId, Stream,
};

use crate::scene::{Call, Exchange, PATIENCE, Phone, SESSION, end, heard, local, next, rtp};

/// The same in another process: copies of the sockets, whose originals are closed.
fn moved(Legacy { state, sockets }: Legacy) -> Legacy {
    Legacy { state, sockets: copies(&sockets) }
}

fn copies(sockets: &[OwnedFd]) -> Vec<OwnedFd> {
    sockets.iter().map(|socket| socket.try_clone().unwrap()).collect()
}

impl Exchange {
    /// Another relay takes the place of this one, after the time that a program needs to start.
    fn hand_over(&mut self, pause: Duration) {
        let relay = std::mem::replace(&mut self.relay, Relay::start().unwrap());
        let legacy = moved(relay.leave());
        std::thread::sleep(pause);
        self.relay = Relay::start_with(legacy).unwrap();
    }
}

/// Twenty calls under way, forty phones that do not pause, and ten relays one after the other: each packet
/// arrives, once and in order.
#[test]
fn no_packet_is_lost_or_comes_twice() {
    const CALLS: u8 = 20;
    let mut exchange = Exchange::start();
    // Callee after caller, call by call, and where each phone sends.
    let phones: Vec<Phone> = (1..=2 * CALLS).map(|n| Phone::at(&format!("127.0.7.{n}:0"))).collect();
    let mut ways: Vec<SocketAddr> = Vec::new();
    for (session, pair) in phones.chunks(2).enumerate() {
        let (a, b) = (end(local("127.0.0.1"), &pair[0]), end(local("127.0.0.1"), &pair[1]));
        ways.extend([a.local, b.local]);
        exchange.join(session as u64, a, b);
    }
    let is_over = AtomicBool::new(false);
    let talk = || {
        let mut sequence = 0;
        while !is_over.load(Ordering::Relaxed) {
            for (phone, way) in phones.iter().zip(&ways) {
                phone.say(&rtp(sequence, 1), *way);
            }
            sequence += 1;
            std::thread::sleep(Duration::from_millis(3));
        }
        sequence
    };
    let hear = |phone: &Phone| {
        phone.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut buffer = [0; 200];
        // Until it has been quiet for a while.
        let packets = std::iter::from_fn(|| {
            let length = phone.0.recv(&mut buffer).ok()?;
            assert_eq!(length, 172);
            Some(u16::from_be_bytes([buffer[2], buffer[3]]))
        });
        packets.collect::<Vec<u16>>()
    };
    let sent = std::thread::scope(|scope| {
        let talking = scope.spawn(talk);
        let hearing: Vec<_> = phones.iter().map(|phone| scope.spawn(move || hear(phone))).collect();
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(50));
            exchange.hand_over(Duration::from_millis(50));
        }
        is_over.store(true, Ordering::Relaxed);
        let sent = talking.join().unwrap();
        for hearing in hearing {
            assert_eq!(hearing.join().unwrap(), (0..sent).collect::<Vec<u16>>());
        }
        sent
    });
    assert!(sent > 100, "{sent}");
    let all = heard(sent.into(), u64::from(sent) * 172, 0, 0);
    for session in 0..u64::from(CALLS) {
        assert_eq!(exchange.close(session), (all, all));
    }
}

#[test]
fn locks_counters_and_measures_go_on() {
    let mut call = Call::with(|a, _| (a.remote, a.admit) = (None, Admit::Anyone));
    for sequence in [1, 2, 4, 3, 6] {
        call.passes(&call.phone_a, &rtp(sequence, 1));
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 7, 7, 7, 7];
    report.extend([0; 14]);
    call.phone_b.say(&report, call.b.local);
    call.phone_a.hear();
    assert_eq!(call.exchange.locks(), [call.lock(Component::Rtp, call.phone_a.address())]);
    let [before, _] = call.exchange.measure().try_into().unwrap();
    assert!(before.jitter > 0);

    call.exchange.hand_over(Duration::from_millis(50));
    let [after, _] = call.exchange.measure().try_into().unwrap();
    assert!(after.heard >= before.heard.map(|heard| heard + Duration::from_millis(50)));
    assert_eq!(after, Measured { heard: after.heard, ..before });

    // Who has the lock has it still, is sent to, and is not told of again.
    let thief = Phone::at("127.0.66.6:0");
    thief.say(&rtp(7, 9), call.a.local);
    call.phone_b.say(&rtp(1, 2), call.b.local);
    assert_eq!(call.phone_a.hear().0, rtp(1, 2));
    // The packet that was missing comes late, and an answer to a report that the last relay passed on.
    call.passes(&call.phone_a, &rtp(5, 1));
    let mut answer = vec![0x81, 201, 0, 7, 0, 0, 0, 2];
    answer.extend([0; 16]);
    answer.extend([7, 7, 7, 7, 0, 0, 0, 0]);
    call.passes(&call.phone_a, &answer);
    assert_eq!(call.exchange.locks(), []);
    let (a, b) = call.close();
    assert!(a.round_trip >= 50_000, "{} µs", a.round_trip);
    assert_eq!(Counters { round_trip: 0, ..a }, heard(6, 6 * 172, 0, 1));
    assert_eq!(b, heard(1, 172, 0, 0));
}

/// What was ordered is done, what was not yet told is told, and a promise of sound counts from when it was
/// made.
#[test]
fn orders_reports_and_promises_are_kept() {
    let start = Instant::now();
    let limit = Duration::from_millis(1_500);
    let mut call = Call::with(|a, _| a.silence = Some(limit));
    let never = SessionId(99);
    call.exchange.relay.send(Command::Close { session: never });
    call.exchange.hand_over(Duration::from_millis(700));
    let nothing = Counters::default();
    assert_eq!(call.exchange.event(), Event::Closed { session: never, a: nothing, b: nothing });
    call.exchange.hand_over(Duration::from_millis(700));
    assert!(matches!(call.exchange.event(), Event::Silent { session: SessionId(SESSION), .. }));
    // It counts in whole milliseconds, and is looked for once a second.
    let expected = limit - Duration::from_millis(1)..limit + Duration::from_secs(3);
    assert!(expected.contains(&start.elapsed()), "{:?}", start.elapsed());
    // And the session can be changed and closed like any other.
    call.a.local = local("127.0.0.1");
    call.set();
    call.passes(&call.phone_a, &rtp(1, 1));
    assert_eq!(call.close().0.packets, 1);
}

/// The old one stays if the new one does not come up.
#[test]
fn a_relay_can_take_back_what_it_left() {
    let mut call = Call::new();
    call.passes(&call.phone_a, &rtp(1, 1));
    let legacy = std::mem::replace(&mut call.exchange.relay, Relay::start().unwrap()).leave();
    call.phone_a.say(&rtp(2, 1), call.a.local);
    drop(copies(&legacy.sockets));
    call.exchange.relay = Relay::start_with(legacy).unwrap();
    assert_eq!(call.phone_b.hear().0, rtp(2, 1));
    call.passes(&call.phone_a, &rtp(3, 1));
    assert_eq!(call.close().0, heard(3, 3 * 172, 0, 0));
}

#[test]
fn a_legacy_that_is_damaged_is_refused() {
    let (phone_a, phone_b) = (Phone::at("127.0.1.1:0"), Phone::at("127.0.2.1:0"));
    let mut exchange = Exchange::start();
    let ends = [(); 3].map(|_| local("127.0.0.1"));
    exchange.join(1, end(ends[0], &phone_a), end(ends[1], &phone_b));
    exchange.set(2, vec![None, Some(Stream { a: end(ends[2], &phone_a), b: Far::Echo })]);
    phone_a.say(&rtp(1, 1), ends[0]);
    phone_b.hear();
    let Legacy { state, sockets } = exchange.relay.leave();
    let refused = |state: &[u8], sockets: Vec<OwnedFd>| {
        let error = Relay::start_with(Legacy { state: state.to_vec(), sockets }).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
        error.to_string()
    };
    for length in 1..state.len() {
        refused(&state[..length], copies(&sockets));
    }
    assert!(refused(&[], copies(&sockets)).contains("6 sockets instead of 0"));
    assert!(refused(&[&state[..], &[0]].concat(), copies(&sockets)).contains("too long"));
    let mut newer = state.clone();
    newer[0] += 1;
    assert!(refused(&newer, copies(&sockets)).contains("of version 2, not 1"));
    // Sockets that are missing, too many, in another order, or of something else.
    assert!(refused(&state, copies(&sockets[1..])).contains("5 sockets instead of 6"));
    assert!(
        refused(&state, copies(&sockets).into_iter().chain(copies(&sockets)).collect())
            .contains("12 sockets")
    );
    assert!(refused(&state, copies(&sockets).into_iter().rev().collect()).contains("is not that of"));
    let other = |_: &OwnedFd| phone_a.0.as_fd().try_clone_to_owned().unwrap();
    assert!(refused(&state, sockets.iter().map(other).collect()).contains("is not that of"));

    // With any octet changed it is refused, or it works with what it says.
    let (mut works, mut fails) = (0, 0);
    for at in 0..state.len() {
        for flip in [1, 0x80, 0xff] {
            let mut state = state.clone();
            state[at] ^= flip;
            let Ok(relay) = Relay::start_with(Legacy { state, sockets: copies(&sockets) }) else {
                fails += 1;
                continue;
            };
            works += 1;
            for to in [ends[0], next(ends[0]), ends[1], ends[2]] {
                phone_a.say(&rtp(2, 1), to);
            }
            relay.measure();
            relay.send(Command::Close { session: SessionId(1) });
        }
    }
    assert!(works > 10 && fails > 10, "{works} and {fails}");

    // And untouched it is taken, until its sockets are closed.
    drop(Relay::start_with(Legacy { state, sockets }).unwrap());
    let patience = Instant::now() + PATIENCE;
    while UdpSocket::bind(ends[0]).is_err() {
        assert!(Instant::now() < patience, "its ports are still open");
        std::thread::sleep(Duration::from_millis(10));
    }
}

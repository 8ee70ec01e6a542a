//! Sessions that come, change and go, and what the relay is told of them.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use denwa::media::{Command, Counters, End, Event, Far, MAX_SESSIONS, MAX_STREAMS, Relay, SessionId, Stream};

use crate::scene::{Call, Exchange, PATIENCE, Phone, QUIET, SESSION, end, heard, local, next, rtp};

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

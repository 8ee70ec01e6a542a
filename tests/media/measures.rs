//! What the relay counts and measures.

use std::time::{Duration, Instant};

use denwa::media::{Counters, Event, Far, Measured, Remote, SessionId, Side, Stream};

use crate::scene::{Call, PATIENCE, Phone, SESSION, end, heard, local, next, rtp};

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
fn silence_is_told_once_for_each_window_and_end() {
    let limit = Duration::from_millis(300);
    let start = Instant::now(); // before the relay starts to count
    let mut call = Call::with(|a, _| a.silence = Some(limit));
    let silent = Event::Silent { session: SessionId(SESSION), side: Side::A };
    // The callee, who promised nothing, may say what he wants.
    call.phone_b.say(&rtp(1, 1), call.b.local);
    assert_eq!(call.exchange.event(), silent);
    // It counts in whole milliseconds.
    assert!(start.elapsed() + Duration::from_millis(1) >= limit, "{:?}", start.elapsed());
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

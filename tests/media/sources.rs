//! Who may speak at an end, and where what it shall hear goes.

use std::time::Duration;

use denwa::media::{Admit, Command, Component, Lock, Remote, SessionId};

use crate::scene::{Call, Phone, end, heard, next, rtp};

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

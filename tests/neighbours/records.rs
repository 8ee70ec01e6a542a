//! What a call record says of other exchanges: by which the call came and went.

use std::net::SocketAddr;
use std::time::Duration;

use crate::kit::*;
use crate::peers::call_in;

const WORLD: &str = "peer.osaka = sip:203.0.113.20\npeer.osaka.prefix = 8066\npeer.osaka.user = link\npeer.osaka.password = shared-secret\npeer.osaka.trunks = isp two\n\
    trunk.isp = sip:0312345678@203.0.113.9\ntrunk.isp.password = p\ntrunk.isp.register = no\n\
    trunk.two = sip:u@203.0.113.10\ntrunk.two.password = p\ntrunk.two.register = no\n\
    route.0 = trunk.isp trunk.two\n";

fn world() -> World {
    World::new(WORLD, &[101, 102]).0
}

fn osaka() -> SocketAddr {
    "203.0.113.20:5060".parse().unwrap()
}

fn isp() -> SocketAddr {
    "203.0.113.9:5060".parse().unwrap()
}

fn two() -> SocketAddr {
    "203.0.113.10:5060".parse().unwrap()
}

/// What the record of the only call that has ended says; none is left.
fn exchanges(world: &mut World) -> Vec<String> {
    world.is_at_rest();
    let records = std::mem::take(&mut world.records);
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].exchanges.iter().map(ToString::to_string).collect()
}

/// Whoever is called answers, the caller acknowledges, and hangs up.
fn talk(world: &mut World, caller: SocketAddr, callee: SocketAddr, rung: &str, restart: bool) {
    let ok = answer(rung, 200, "far", &format!("Contact: <sip:x@{callee}>\r\n"), &sdp(callee, 7000));
    let sent = world.say(callee, &ok);
    let ok = one(&sent, caller, "SIP/2.0 200").to_owned();
    let number = cseq(&ok);
    world.say(caller, &in_dialog(&ok, "ACK", number, caller));
    if restart {
        world.restart();
    }
    let sent = world.say(caller, &in_dialog(&ok, "BYE", number + 1, caller));
    let bye = one(&sent, callee, "BYE").to_owned();
    world.say(callee, &answer(&bye, 200, "far", "", ""));
}

#[test]
fn between_phones_there_is_none() {
    let mut world = world();
    let (sent, _) = world.dial(101, "102");
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    talk(&mut world, World::at(101), World::at(102), &rung, false);
    assert!(exchanges(&mut world).is_empty());
}

#[test]
fn a_call_that_goes_out_names_the_one_that_answered_also_after_a_restart() {
    for restart in [false, true] {
        let mut world = world();
        let (sent, _) = world.dial(101, "0451234567");
        let first = one(&sent, isp(), "INVITE").to_owned();
        // It is slow, so that the second rings as well; then it has the call.
        let sent = world.wait(Duration::from_millis(1100));
        let second = one(&sent, two(), "INVITE").to_owned();
        talk(&mut world, World::at(101), isp(), &first, restart);
        if !restart {
            world.say(two(), &answer(&second, 487, "far", "", ""));
        }
        assert_eq!(exchanges(&mut world), ["trunk.isp"]);
    }
}

#[test]
fn one_that_nobody_answered_names_the_last_that_was_tried() {
    let mut world = world();
    let (sent, _) = world.dial(101, "0451234567");
    let first = one(&sent, isp(), "INVITE").to_owned();
    let sent = world.say(isp(), &answer(&first, 503, "far", "", ""));
    let second = one(&sent, two(), "INVITE").to_owned();
    let sent = world.say(two(), &answer(&second, 486, "far", "", ""));
    one(&sent, World::at(101), "SIP/2.0 486");
    assert_eq!(exchanges(&mut world), ["trunk.two"]);
}

#[test]
fn a_call_that_comes_in_names_whose_it_is_whether_it_is_answered_or_not() {
    let mut world = world();
    let sent = call_in(&mut world, osaka(), "101", "a");
    let rung = one(&sent, World::at(101), "INVITE").to_owned();
    talk(&mut world, osaka(), World::at(101), &rung, false);
    assert_eq!(exchanges(&mut world), ["peer.osaka"]);

    let sent = call_in(&mut world, osaka(), "101", "b");
    let rung = one(&sent, World::at(101), "INVITE").to_owned();
    world.say(World::at(101), &answer(&rung, 486, "kitchen", "", ""));
    assert_eq!(exchanges(&mut world), ["peer.osaka"]);
}

#[test]
fn one_from_a_friend_by_a_providers_line_names_both_the_callers_first() {
    let mut world = world();
    let sent = call_in(&mut world, osaka(), "0451234567", "a");
    let rung = one(&sent, isp(), "INVITE").to_owned();
    talk(&mut world, osaka(), isp(), &rung, false);
    assert_eq!(exchanges(&mut world), ["peer.osaka", "trunk.isp"]);
}

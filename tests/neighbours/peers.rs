//! A friend's exchange: known by its address and its password, and given what it was granted.

use std::net::SocketAddr;
use std::time::Duration;

use crate::kit::*;

const PEER: &str = "peer.tokyo = sip:203.0.113.9\npeer.tokyo.prefix = 8023\npeer.tokyo.user = link\n\
    peer.tokyo.password = shared-secret\n";

fn tokyo() -> SocketAddr {
    "203.0.113.9:5060".parse().unwrap()
}

/// An INVITE of another exchange.
pub fn invite(from: SocketAddr, number: &str, caller: &str, call: &str) -> String {
    let body = sdp(from, 8000);
    format!(
        "INVITE sip:{number}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}\r\nMax-Forwards: 10\r\n\
         From: <sip:{caller}@{from}>;tag=p-{call}\r\nTo: <sip:{number}@192.0.2.1>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:gw@{from}>\r\nUser-Agent: Another Exchange With A Name That Is Long Enough For A Challenge In Full\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The peer calls and proves itself.
pub fn call_in(world: &mut World, from: SocketAddr, number: &str, call: &str) -> Sent {
    let request = invite(from, number, "555", call);
    let sent = world.say(from, &request);
    let Some((_, challenge)) = sent.iter().find(|(_, m)| status(m) == 407) else { return sent };
    world.say(from, &prove(&request, challenge, "link", "shared-secret"))
}

#[test]
fn it_is_asked_for_its_password_and_shown_so_that_it_can_be_called_back() {
    let (mut world, _) = World::new(PEER, &[101]);
    let request = invite(tokyo(), "101", "555", "a");
    let sent = world.say(tokyo(), &request);
    let challenge = one(&sent, tokyo(), "SIP/2.0 407").to_owned();
    none(&sent, World::at(101), "INVITE");
    let wrong =
        world.say(tokyo(), &prove(&request, &challenge, "link", "guess").replace("z9hG4bKa", "z9hG4bKb"));
    none(&wrong, World::at(101), "INVITE");
    let challenge = one(&wrong, tokyo(), "SIP/2.0 407").to_owned();
    let sent = world.say(tokyo(), &prove(&request, &challenge, "link", "shared-secret"));
    let rung = one(&sent, World::at(101), "INVITE");
    assert!(header(rung, "From").starts_with("<sip:8023555@pbx.test>"), "{rung}");
    assert!(header(rung, "P-Asserted-Identity").contains("<sip:8023555@"), "{rung}");
}

#[test]
fn it_may_know_us_by_another_name() {
    let (mut world, _) = World::new(PEER, &[101, 102]);
    let elsewhere = |request: String| request.replacen("@192.0.2.1 SIP", "@our-old-name.example SIP", 1);
    let request = elsewhere(invite(tokyo(), "101", "555", "a"));
    let sent = world.say(tokyo(), &request);
    let challenge = one(&sent, tokyo(), "SIP/2.0 407").to_owned();
    let sent = world.say(tokyo(), &prove(&request, &challenge, "link", "shared-secret"));
    one(&sent, World::at(101), "INVITE");
    let options = "OPTIONS sip:our-old-name.example SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKo\r\n\
        Max-Forwards: 70\r\nFrom: <sip:tokyo>;tag=o\r\nTo: <sip:our-old-name.example>\r\nCall-ID: o\r\n\
        CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    one(&world.say(tokyo(), options), tokyo(), "SIP/2.0 200");
    // A phone that asks for another domain asks for somebody else.
    let invite = world.request(102, "INVITE", "sip:101@our-old-name.example", "", "");
    let sent = world.ask(102, &invite);
    one(&sent, World::at(102), "SIP/2.0 404");
}

#[test]
fn strangers_are_not_friends() {
    let (mut world, _) = World::new(PEER, &[101]);
    let stranger: SocketAddr = "198.51.100.200:5060".parse().unwrap();
    let sent = call_in(&mut world, stranger, "101", "x");
    none(&sent, World::at(101), "INVITE");
    assert!(sent.iter().all(|(_, m)| status(m) == 407), "the right password from the wrong place: {sent:?}");
}

#[test]
fn one_without_a_password_is_known_by_its_address() {
    let open = "peer.tokyo = sip:203.0.113.9\npeer.tokyo.prefix = 8023\npeer.tokyo.allow = 203.0.113.64/26\n";
    let (mut world, _) = World::new(open, &[101]);
    for (from, call, rings) in [
        ("203.0.113.9:5060", "a", true),
        ("203.0.113.9:7777", "b", true),
        ("203.0.113.65:5060", "c", true),
        ("203.0.113.10:5060", "d", false),
    ] {
        let from: SocketAddr = from.parse().unwrap();
        let sent = world.say(from, &invite(from, "101", "555", call));
        assert_eq!(sent.iter().any(|(_, m)| m.starts_with("INVITE")), rings, "{from}: {sent:?}");
    }
    // Nobody becomes an extension of ours by saying so.
    let from: SocketAddr = "203.0.113.65:5060".parse().unwrap();
    let forged = invite(from, "101", "101", "e").replace(&format!("sip:101@{from}"), "sip:101@pbx.test");
    let sent = world.say(from, &forged);
    assert_eq!(status(&sent[0].1), 407, "{sent:?}");
}

#[test]
fn what_it_says_of_who_calls_is_not_passed_on() {
    let (mut world, _) = World::new(PEER, &[101]);
    let lie = "P-Asserted-Identity: <sip:110@police.example>\r\nRemote-Party-ID: <sip:110@x>;party=calling\r\nCSeq:";
    let request = invite(tokyo(), "101", "555", "a").replacen("CSeq:", lie, 1);
    let sent = world.say(tokyo(), &request);
    let challenge = one(&sent, tokyo(), "SIP/2.0 407").to_owned();
    let sent = world.say(tokyo(), &prove(&request, &challenge, "link", "shared-secret"));
    let rung = one(&sent, World::at(101), "INVITE");
    assert!(!rung.contains("110@"), "{rung}");
}

#[test]
fn it_has_as_many_calls_as_it_may() {
    let text = format!("{PEER}peer.tokyo.max-calls = 2\n");
    let (mut world, _) = World::new(&text, &[101]);
    for call in ["a", "b"] {
        one(&call_in(&mut world, tokyo(), "101", call), World::at(101), "INVITE");
    }
    let sent = call_in(&mut world, tokyo(), "101", "c");
    assert_eq!(status(one(&sent, tokyo(), "SIP/2.0 4")), 403);
    // And so have we.
    let (sent, _) = world.dial(101, "8023555");
    one(&sent, World::at(101), "SIP/2.0 503");
}

#[test]
fn who_is_routed_on_can_be_called_back_too() {
    let text = "peer.a = sip:203.0.113.9\npeer.a.prefix = 8023\npeer.a.hop = yes\n\
                peer.b = sip:203.0.113.10\npeer.b.prefix = 9\npeer.b.hop = yes\n";
    let (mut world, _) = World::new(text, &[101]);
    let b: SocketAddr = "203.0.113.10:5060".parse().unwrap();
    let sent = call_in(&mut world, tokyo(), "0977", "a");
    let on = one(&sent, b, "INVITE sip:77@");
    assert!(header(on, "From").starts_with("<sip:08023555@"), "{on}");
    // That number, as b dials it.
    let sent = world.say(b, &invite(b, "08023555", "77", "b"));
    let back = one(&sent, tokyo(), "INVITE sip:555@");
    assert!(header(back, "From").starts_with("<sip:0977@"), "{back}");
}

#[test]
fn a_ring_of_exchanges_that_route_to_each_other_comes_to_an_end() {
    let text = "peer.a = sip:203.0.113.9\npeer.a.hop = yes\npeer.b = sip:203.0.113.10\npeer.b.prefix = 9\n";
    let (mut world, _) = World::new(text, &[101]);
    let b: SocketAddr = "203.0.113.10:5060".parse().unwrap();
    let mut hops = 10;
    for call in 0..12 {
        let request = invite(tokyo(), "09555", "1", &format!("c{call}"));
        let request = request.replace("Max-Forwards: 10", &format!("Max-Forwards: {hops}"));
        let sent = world.say(tokyo(), &request);
        match sent.iter().find(|(to, m)| *to == b && m.starts_with("INVITE")) {
            Some((_, on)) => {
                let left: u32 = header(on, "Max-Forwards").parse().unwrap();
                assert!(left < hops);
                hops = left;
            }
            None => {
                assert_eq!((hops, status(&sent[0].1)), (0, 483));
                return;
            }
        }
    }
    panic!("it goes round for ever");
}

#[test]
fn a_peer_that_does_not_answer_fails_at_once_and_ipv4_is_tried_where_ipv6_is_silent() {
    let text = "peer.tokyo = sip:[2001:db8::9] sip:203.0.113.9\npeer.tokyo.prefix = 8023\n";
    let (mut world, _) = World::new(text, &[101]);
    let six: SocketAddr = "[2001:db8::9]:5060".parse().unwrap();
    let (sent, _) = world.dial(101, "8023555");
    one(&sent, six, "INVITE");
    none(&sent, tokyo(), "INVITE");
    let sent = world.wait(Duration::from_millis(1100));
    let next = one(&sent, tokyo(), "INVITE").to_owned();
    let sent = world.say(tokyo(), &answer(&next, 486, "far", "", ""));
    one(&sent, World::at(101), "SIP/2.0 486");

    // What has just been silent is not waited for again.
    let (mut both, _) = World::new(text, &[101]);
    both.alive = vec![six, tokyo()];
    both.wait(Duration::from_secs(30));
    both.alive = vec![tokyo()];
    for (number, is_known) in [("8023555", false), ("8023556", true)] {
        let (sent, _) = both.dial(101, number);
        let sent = match is_known {
            true => sent,
            false => {
                one(&sent, six, "INVITE");
                both.wait(Duration::from_millis(1100))
            }
        };
        let next = one(&sent, tokyo(), "INVITE").to_owned();
        both.say(tokyo(), &answer(&next, 486, "far", "", ""));
    }

    // One that is alone and silent is given up before the caller gives up.
    let text = "peer.osaka = sip:203.0.113.77\npeer.osaka.prefix = 9\n";
    let (mut alone, _) = World::new(text, &[101]);
    let (sent, _) = alone.dial(101, "955");
    one(&sent, "203.0.113.77:5060".parse().unwrap(), "INVITE");
    let sent = alone.wait(Duration::from_millis(6_100));
    let refused = one(&sent, World::at(101), "SIP/2.0 503");
    assert!(header(refused, "Reason").contains("peer.osaka does not answer"), "{refused}");
    alone.wait(Duration::from_secs(60));
    alone.is_at_rest();

    // By now it is known that nobody is there, at either.
    world.wait(Duration::from_secs(60));
    assert!(
        world.told.iter().any(|t| t.contains("peer.tokyo does not answer at 203.0.113.9")),
        "{:?}",
        world.told
    );
    let (sent, _) = world.dial(101, "8023555");
    let refused = one(&sent, World::at(101), "SIP/2.0 503");
    assert!(header(refused, "Reason").contains("203.0.113.9 does not answer"), "{refused}");
    let why: Vec<String> = world.switch.why(Some("8023555")).into_iter().map(|it| it.reason).collect();
    assert!(why.iter().any(|it| it.contains("203.0.113.9 does not answer")), "{why:?}");
    let call = "no exchange that 8023555 might be at could be reached, or had room";
    assert_eq!(why.last().map(String::as_str), Some(call), "{why:?}");
    world.is_at_rest();
}

/// A friend with a certificate, whose host is tokyo's.
fn pinned(more: &str, tls: &[SocketAddr]) -> World {
    let pin = "ab".repeat(32);
    let text =
        format!("peer.tokyo = sip:203.0.113.9\npeer.tokyo.prefix = 8023\npeer.tokyo.pin = {pin}\n{more}");
    World::with_tls(&text, &[101], tls).0
}

#[test]
fn who_has_shown_its_certificate_is_asked_for_nothing_as_long_as_the_connection_stands() {
    let [away, other] = ["198.51.100.77:7001", "198.51.100.77:7002"].map(|at| at.parse().unwrap());
    let account = "peer.tokyo.user = link\npeer.tokyo.password = shared-secret\n";
    for more in ["", account] {
        let mut world = pinned(more, &[away, other]);
        world.certify(away, [0xab; 32]);
        world.certify(other, [0xac; 32]);
        let sent = world.say(away, &invite(away, "101", "555", "a"));
        let rung = one(&sent, World::at(101), "INVITE");
        assert!(header(rung, "From").starts_with("<sip:8023555@pbx.test>"), "{rung}");
        // It has no number here, whatever it says.
        let register = world.request(101, "REGISTER", "sip:pbx.test", "", "");
        assert_eq!(status(one(&world.say(away, &register), away, "SIP/2.0 4")), 405);
        assert_eq!(
            status(one(&world.say(other, &invite(other, "101", "555", "b")), other, "SIP/2.0 4")),
            407
        );

        world.hang_up(away);
        let sent = world.say(away, &invite(away, "101", "555", "c"));
        none(&sent, World::at(101), "INVITE");
        one(&sent, away, "SIP/2.0 407");
    }
}

#[test]
fn whose_certificate_is_known_is_not_known_by_its_address_but_by_its_password_if_it_has_one() {
    let from: SocketAddr = "203.0.113.9:7001".parse().unwrap();
    for tls in [&[from][..], &[]] {
        let mut world = pinned("", tls);
        if !tls.is_empty() {
            world.certify(from, [0xac; 32]);
        }
        let sent = world.say(from, &invite(from, "101", "555", "a"));
        none(&sent, World::at(101), "INVITE");
        let refused = one(&sent, from, "SIP/2.0 403");
        assert!(header(refused, "Reason").contains("peer.tokyo does not show its certificate"), "{refused}");
        let told = world.switch.refused_lately();
        assert!(told.iter().any(|why| why.reason.contains("peer.tokyo.pin")), "{told:?}");

        let mut world = pinned("peer.tokyo.user = link\npeer.tokyo.password = shared-secret\n", tls);
        one(&call_in(&mut world, from, "101", "a"), World::at(101), "INVITE");
    }
}

#[test]
fn where_strangers_get_no_answer_a_friend_with_its_certificate_does() {
    let [away, other] = ["198.51.100.77:7001", "198.51.100.77:7002"].map(|at| at.parse().unwrap());
    let mut world = pinned("", &[away, other]);
    let hidden = denwa::config::Config { stealth: true, ..world.switch.config().clone() };
    world.input(denwa::switch::Input::Reload(Box::new(hidden)));
    world.certify(away, [0xab; 32]);
    one(&world.say(away, &invite(away, "101", "555", "a")), World::at(101), "INVITE");
    let sent = world.say(other, &invite(other, "101", "555", "b"));
    assert!(sent.is_empty(), "{sent:?}");
}

/// The friend calls by a connection of its own, which ends as the call does: before our BYE, or before it is answered; and
/// ours stands by then, or does not yet.
#[test]
fn what_is_under_way_when_a_friends_connection_ends_goes_on_by_ours() {
    let (away, ours): (SocketAddr, SocketAddr) =
        ("203.0.113.9:7001".parse().unwrap(), "203.0.113.9:5061".parse().unwrap());
    let pin = "ab".repeat(32);
    let text =
        format!("peer.tokyo = sip:{ours};transport=tls\npeer.tokyo.prefix = 8023\npeer.tokyo.pin = {pin}\n");
    for (bye_first, we_are_connected) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut world = World::with_tls(&text, &[101], &[away]).0;
        world.certify(away, [0xab; 32]);
        if we_are_connected {
            world.connect();
        }
        let sent = world.say(away, &invite(away, "101", "555", "a"));
        let rung = one(&sent, World::at(101), "INVITE").to_owned();
        let contact = format!("Contact: <sip:101@{}>\r\n", World::at(101));
        let sent =
            world.say(World::at(101), &answer(&rung, 200, "here", &contact, &sdp(World::at(101), 4000)));
        let ok = one(&sent, away, "SIP/2.0 200").to_owned();
        world.say(away, &in_dialog(&ok, "ACK", 1, away));

        let bye = back_in_dialog(&rung, "here", "BYE", 1, World::at(101));
        let mut sent = Vec::new();
        if bye_first {
            one(&world.say(World::at(101), &bye), away, "BYE");
            sent.extend(world.hang_up(away));
        } else {
            world.hang_up(away);
            sent.extend(world.say(World::at(101), &bye));
        }
        none(&sent, away, "BYE");
        sent.extend(world.connect());
        one(&sent, ours, "BYE");
        world.is_at_rest();
    }
}

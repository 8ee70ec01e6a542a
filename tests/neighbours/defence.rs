//! What a rogue among the others tries: other people's money, other people's names, other people's phones.

use std::net::SocketAddr;
use std::time::Duration;

use denwa::config::Config;
use denwa::switch::{Flow, HostId, Input, Output, StreamId, Transport};

use crate::kit::*;
use crate::peers::invite;

const TRUNK: &str = "trunk.isp = sip:0312345678@203.0.113.20\ntrunk.isp.password = pstn-secret\n\
    trunk.isp.register = no\ntrunk.isp.numbers = 101\nroute.0 = trunk.isp\n";
const PEER: &str = "peer.tokyo = sip:203.0.113.9\npeer.tokyo.prefix = 8023\npeer.tokyo.hop = yes\n";
const PROXY: &str = "Proxy-Authenticate: Digest realm=\"isp.example\", nonce=\"n2\", qop=\"auth\"\r\n";

fn provider() -> SocketAddr {
    "203.0.113.20:5060".parse().unwrap()
}

fn tokyo() -> SocketAddr {
    "203.0.113.9:5060".parse().unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A phone talks by the trunk; the 2xx as it got it, and the INVITE as it left.
fn talk(world: &mut World, phone: u8, number: &str) -> (String, String) {
    let (sent, invite) = world.dial(phone, number);
    let out = one(&sent, provider(), "INVITE").to_owned();
    let ok = answer(&out, 200, "far", "Contact: <sip:gw@203.0.113.20>\r\n", &sdp(provider(), 7000));
    let sent = world.say(provider(), &ok);
    let ok = one(&sent, World::at(phone), "SIP/2.0 200").to_owned();
    world.say(World::at(phone), &in_dialog(&ok, "ACK", cseq(&invite), World::at(phone)));
    (ok, out)
}

#[test]
fn what_is_dialled_becomes_nothing_but_a_number() {
    let evil = "5%40h%20SIP/2.0%0D%0AP-Asserted-Identity%3A%20%3Csip%3A110%40police%3E%0D%0AX%3A%20";
    for number in ["0", "0-10-1-202-555", "0%20x", "045%40evil.example", "045;phone-context=x", "0%C3%A9"]
        .iter()
        .map(|start| format!("{start}{}", if start.len() == 1 { evil } else { "" }))
    {
        let (mut world, _) = World::new(TRUNK, &[101]);
        let (sent, _) = world.dial(101, &number);
        for (_, message) in sent.iter().filter(|(to, _)| *to == provider()) {
            let user = between(message, "INVITE sip:", "@");
            assert!(user.bytes().all(|b| b.is_ascii_digit()), "{number}: {message}");
        }
        for (_, message) in &sent {
            assert!(!message.contains("\r\nX: ") && !message.contains("<sip:110@police"), "{message}");
        }
    }
    let more = "peer.b = sip:203.0.113.11\npeer.b.prefix = 9\n";
    let (mut world, _) = World::new(&format!("{PEER}{more}"), &[101]);
    let sent = world.say(tokyo(), &invite(tokyo(), &format!("09{evil}"), "555", "q"));
    none(&sent, "203.0.113.11:5060".parse().unwrap(), "INVITE");
    let (mut world, _) = World::new(TRUNK, &[101]);
    let (sent, _) = world.dial(101, "090%22%0D%0AX-Split:%201");
    assert!(sent.iter().all(|(_, m)| !m.contains("\r\nX-Split")), "{sent:#?}");
}

#[test]
fn nobody_learns_the_contact_that_is_registered() {
    let text = TRUNK.replace("trunk.isp.register = no\n", "");
    let (mut world, _) = World::new(&text, &[101]);
    let stranger: SocketAddr = "198.51.100.250:5060".parse().unwrap();
    let options = format!(
        "OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP {stranger};branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
         From: <sip:a@b>;tag=trunk.isp\r\nTo: <sip:pbx.test>\r\nCall-ID: contact\r\nCSeq: 1 OPTIONS\r\n\
         User-Agent: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(300)
    );
    let sent = world.say(stranger, &options);
    let tag = header(one(&sent, stranger, "SIP/2.0"), "To").split("tag=").nth(1).unwrap().to_owned();
    none(&world.say(stranger, &invite(stranger, &tag, "110", "evil")), World::at(101), "INVITE");
}

#[test]
fn an_emergency_number_opens_no_door_from_outside() {
    let text = format!("{TRUNK}trunk.isp.max-calls = 1\next.101.max-calls = 2\n");
    let (mut world, _) = World::new(&text, &[101, 102]);
    one(&world.say(provider(), &invite(provider(), "0312345678", "101", "a")), World::at(101), "INVITE");
    for call in ["b", "c", "d"] {
        let sent = world.say(provider(), &invite(provider(), "110", "101", call));
        none(&sent, World::at(101), "INVITE");
    }
    // And nobody here pays for it.
    let (sent, _) = world.dial(101, "102");
    one(&sent, World::at(102), "INVITE");
}

#[test]
fn a_phone_is_not_sent_where_only_it_may_call() {
    let (mut world, _) = World::new(&format!("{TRUNK}{PEER}"), &[101]);
    let sent = world.say(tokyo(), &invite(tokyo(), "101", "555", "a"));
    let rung = one(&sent, World::at(101), "INVITE").to_owned();
    let contact = "Contact: <sip:101@198.51.100.101:5060>\r\n";
    let sent = world.say(World::at(101), &answer(&rung, 200, "kit", contact, &sdp(World::at(101), 4000)));
    let ok = one(&sent, tokyo(), "SIP/2.0 200").to_owned();
    world.say(tokyo(), &in_dialog(&ok, "ACK", 1, tokyo()));
    let refer = in_dialog(&ok, "REFER", 2, tokyo());
    let refer = refer.replacen("Content-Length", "Refer-To: <sip:0312340000@pbx.test>\r\nContent-Length", 1);
    let sent = world.say(tokyo(), &refer);
    none(&sent, World::at(101), "REFER");
    one(&sent, tokyo(), "SIP/2.0 403");
}

#[test]
fn refusals_and_requests_do_not_tell_where_phones_are() {
    let (mut world, _) = World::new(&format!("{TRUNK}{PEER}"), &[101]);
    let sent = world.say(tokyo(), &invite(tokyo(), "101", "555", "a"));
    let rung = one(&sent, World::at(101), "INVITE").to_owned();
    let more = "Contact: <sip:101@192.168.1.5:5062>\r\nWarning: 399 192.168.1.5 x\r\n";
    let sent = world.say(World::at(101), &answer(&rung, 486, "kit", more, ""));
    let busy = one(&sent, tokyo(), "SIP/2.0 486");
    assert!(!busy.contains("192.168.1.5") && !busy.contains("Record-Route"), "{busy}");
    let more = "Privacy: id\r\nReferred-By: <sip:101@192.168.1.5>\r\nDiversion: <sip:101@pbx.test>\r\n\
        History-Info: <sip:101@pbx.test>\r\nContent-Type: application/sdp\r\n";
    let request = world.request(101, "INVITE", "sip:0451234567@pbx.test", more, &sdp(World::at(101), 4000));
    let sent = world.ask(101, &request);
    let out = one(&sent, provider(), "INVITE");
    assert!(!out.contains("192.168") && !out.contains("101@") && !out.contains("A Long Name"), "{out}");
    assert!(header(out, "From").contains("anonymous@anonymous.invalid"));
}

#[test]
fn nobody_passes_for_somebody_here() {
    let (mut world, _) = World::new("peer.a = sip:203.0.113.9\n", &[101, 102]);
    let sent = world.say(tokyo(), &invite(tokyo(), "101", "102", "z"));
    let rung = one(&sent, World::at(101), "INVITE");
    assert!(
        !header(rung, "From").contains("102") && !header(rung, "P-Asserted-Identity").contains("102"),
        "{rung}"
    );
    // Of two at one address, the one without a password does not speak for the one with.
    let text =
        "peer.a = sip:203.0.113.9\npeer.b = sip:203.0.113.9:5070\npeer.b.user = u\npeer.b.password = p\n";
    let (mut world, _) = World::new(text, &[101]);
    let from: SocketAddr = "203.0.113.9:33333".parse().unwrap();
    none(&world.say(from, &invite(from, "101", "555", "q")), World::at(101), "INVITE");
}

#[test]
fn a_caller_who_dials_184_is_nobody_at_a_friends() {
    let (mut world, _) = World::new(PEER, &[101]);
    let (sent, _) = world.dial(101, "1848023555");
    let out = one(&sent, tokyo(), "INVITE");
    assert!(out.starts_with("INVITE sip:555@") && !out.contains("101@"), "{out}");
}

#[test]
fn denwas_own_goodbye_is_proved_too() {
    let (mut world, _) = World::new(&format!("{TRUNK}trunk.isp.max-minutes = 1\n"), &[101]);
    world.alive = vec![provider()];
    talk(&mut world, 101, "0451234567");
    let sent = world.wait(seconds(61));
    let bye = one(&sent, provider(), "BYE").to_owned();
    let sent = world.say(provider(), &answer(&bye, 407, "far", PROXY, ""));
    let again = one(&sent, provider(), "BYE");
    assert!(
        again.contains("Proxy-Authorization: Digest username=\"0312345678\"")
            && cseq(again) == cseq(&bye) + 1
    );
}

#[test]
fn help_is_called_whatever_was_spent() {
    for limit in ["max-calls-hour = 1", "max-calls = 1", "max-minutes-day = 1", "max-calls-extension = 1"] {
        let text = format!("{TRUNK}trunk.isp.emergency = yes\nroute.119 = trunk.isp\ntrunk.isp.{limit}\n");
        let (mut world, _) = World::new(&text, &[101, 102]);
        world.alive = vec![provider()];
        talk(&mut world, 101, "0451234567");
        talk(&mut world, 102, "119");
        none(&world.wait(seconds(50)), World::at(102), "BYE");
        none(&world.wait(seconds(90)), World::at(102), "BYE");
    }
}

#[test]
fn two_calls_do_not_spend_a_minute_twice() {
    let text = format!("{TRUNK}trunk.isp.max-minutes-day = 3\ntrunk.isp.max-minutes = 2\n");
    let (mut world, _) = World::new(&text, &[101, 102]);
    world.alive = vec![provider()];
    talk(&mut world, 101, "0451234567");
    talk(&mut world, 102, "0451234567");
    none(&world.wait(seconds(55)), World::at(102), "BYE");
    one(&world.wait(seconds(10)), World::at(102), "BYE");
}

#[test]
fn a_way_that_failed_holds_nothing() {
    let two = "trunk.two = sip:u@203.0.113.21\n";
    let text = TRUNK.replace("route.0 = trunk.isp", "route.0 = trunk.isp trunk.two")
        + "trunk.isp.max-calls = 1\n"
        + two;
    let (mut world, _) = World::new(&text, &[101]);
    let second: SocketAddr = "203.0.113.21:5060".parse().unwrap();
    world.alive = vec![provider(), second];
    let (sent, _) = world.dial(101, "0451234567");
    let first = one(&sent, provider(), "INVITE").to_owned();
    let sent = world.say(provider(), &answer(&first, 503, "x", "", ""));
    let out = one(&sent, second, "INVITE").to_owned();
    world.say(second, &answer(&out, 200, "far", "Contact: <sip:gw@203.0.113.21>\r\n", &sdp(second, 7000)));
    let sent = world.say(provider(), &invite(provider(), "u", "0312340000", "in"));
    none(&sent, provider(), "SIP/2.0 403");
}

#[test]
fn two_requests_at_once_never_have_one_number() {
    let (mut world, _) = World::new(TRUNK, &[101]);
    let (ok, _) = talk(&mut world, 101, "0451234567");
    let mut numbers = Vec::new();
    let mut infos = Vec::new();
    for n in [50, 51] {
        let sent = world.say(World::at(101), &in_dialog(&ok, "INFO", n, World::at(101)));
        infos.push(one(&sent, provider(), "INFO").to_owned());
    }
    for info in &infos {
        numbers.push(cseq(info));
        let sent = world.say(provider(), &answer(info, 407, "far", PROXY, ""));
        numbers.push(cseq(one(&sent, provider(), "INFO")));
    }
    let sent = world.say(World::at(101), &in_dialog(&ok, "INFO", 52, World::at(101)));
    numbers.push(cseq(one(&sent, provider(), "INFO")));
    let all: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(all.len(), numbers.len(), "{numbers:?}");
    assert_eq!(all.last(), numbers.last());
}

fn config(text: &str) -> Box<Config> {
    let text = format!("domain = pbx.test\nstealth = no\next.101 = secret-101\n{text}");
    Box::new(Config::parse("test", text.as_bytes()).unwrap_or_else(|m| panic!("{m}")))
}

#[test]
fn another_password_is_tried_at_once_and_a_trunk_that_is_gone_rings_no_longer() {
    let text = "trunk.isp = sip:0312345678@203.0.113.20\ntrunk.isp.numbers = 101\nroute.0 = trunk.isp\n";
    let (mut world, sent) = World::new(&format!("{text}trunk.isp.password = wrong\n"), &[101]);
    let register = one(&sent, provider(), "REGISTER").to_owned();
    world.say(provider(), &answer(&register, 403, "t", "", ""));
    let sent = world.input(Input::Reload(config(&format!("{text}trunk.isp.password = right\n"))));
    one(&sent, provider(), "REGISTER");
    let (sent, _) = world.dial(101, "0451234567");
    let out = one(&sent, provider(), "INVITE").to_owned();
    world.say(provider(), &answer(&out, 180, "far", "", ""));
    let sent = world.input(Input::Reload(config("")));
    one(&sent, provider(), "CANCEL");
    one(&sent, World::at(101), "SIP/2.0 480");
}

/// A way to a host by TCP, which is not connected.
fn tcp(remote: &str) -> Flow {
    let (local, remote) = ("0.0.0.0:0".parse().unwrap(), remote.parse().unwrap());
    Flow { transport: Transport::Tcp, local, remote, stream: StreamId(0) }
}

/// Plays so many minutes in which each connection that is wanted is made, and closed at once if `is_short`; how many
/// were wanted.
fn connections(world: &mut World, minutes: u64, is_short: bool) -> u32 {
    let mut now = world.switch.now();
    let end = now + seconds(minutes * 60);
    let (mut wanted, mut stream) = (0, 1_000);
    while now < end {
        let outputs: Vec<Output> = std::iter::from_fn(|| world.switch.poll()).collect();
        for output in outputs {
            let Output::Connect { ticket, transport, remote, .. } = output else { continue };
            (wanted, stream) = (wanted + 1, stream + 1);
            let local = "192.0.2.1:40000".parse().unwrap();
            let flow = Flow { transport, local, remote, stream: StreamId(stream) };
            world.switch.handle(now, Input::Connected { ticket, flow });
            if is_short {
                world.switch.handle(now, Input::Closed(StreamId(stream)));
            }
        }
        now = world.switch.deadline().filter(|due| *due > now).unwrap_or(now + seconds(1)).min(end);
        world.switch.handle(now, Input::Tick);
    }
    wanted
}

#[test]
fn who_closes_each_connection_is_not_asked_all_day() {
    let (mut world, _) = World::new("peer.x = sip:friend.example;transport=tcp\npeer.x.prefix = 9\n", &[101]);
    let now = world.switch.now();
    world
        .switch
        .handle(now, Input::Located(HostId(1), Ok((vec![tcp("203.0.113.50:5060")], seconds(86_400)))));
    let wanted = connections(&mut world, 60, true);
    assert!((100..400).contains(&wanted), "{wanted} in an hour");
}

#[test]
fn names_that_lead_elsewhere_in_another_order_confuse_nobody() {
    let (mut world, _) = World::new("peer.x = sip:friend.example;transport=tcp\npeer.x.prefix = 9\n", &[101]);
    let now = world.switch.now();
    let both = [tcp("203.0.113.50:5060"), tcp("203.0.113.51:5060")];
    let found = |ways: [Flow; 2]| Input::Located(HostId(1), Ok((ways.to_vec(), seconds(86_400))));
    world.switch.handle(now, found(both));
    let tickets: Vec<(u64, SocketAddr)> = std::iter::from_fn(|| world.switch.poll())
        .filter_map(|output| match output {
            Output::Connect { ticket, remote, .. } => Some((ticket, remote)),
            _ => None,
        })
        .collect();
    assert_eq!(tickets.len(), 2);
    world.switch.handle(now, found([both[1], both[0]]));
    for (n, (ticket, remote)) in tickets.into_iter().enumerate() {
        let local = "192.0.2.1:40000".parse().unwrap();
        let flow = Flow { transport: Transport::Tcp, local, remote, stream: StreamId(7_000 + n as u64) };
        world.switch.handle(now, Input::Connected { ticket, flow });
    }
    let closed = std::iter::from_fn(|| world.switch.poll())
        .filter(|output| matches!(output, Output::Close(_)))
        .count();
    assert_eq!(closed, 0, "both were wanted");
}

/// A friend without a password, or somebody who writes its address on his datagrams.
#[test]
fn a_flood_from_a_friends_address_takes_what_it_was_granted_and_no_more() {
    let (mut world, _) = World::new(PEER, &[101, 102, 103]);
    // With the budgets of a fresh exchange.
    world.input(Input::Reload(config(&format!("ext.102 = secret-102\next.103 = secret-103\n{PEER}"))));
    let (mut rang, mut answers) = (0, 0);
    for second in 0..3 {
        for n in 0..5_000 {
            let sent = world.say(tokyo(), &invite(tokyo(), "101", "555", &format!("flood-{second}-{n}")));
            rang += sent.iter().filter(|(to, m)| *to == World::at(101) && m.starts_with("INVITE")).count();
            answers += sent.iter().filter(|(to, _)| *to == tokyo()).count();
            if n % 5 == 0 {
                world.wait(Duration::from_millis(1));
            }
        }
        let (sent, _) = world.dial(102, "103");
        one(&sent, World::at(103), "INVITE");
    }
    // Its `max-calls`; and 500 datagrams a second are read, as of any source that is known.
    assert_eq!(rang, 10);
    assert!(answers <= 5_000, "{answers} answers to 15,000 datagrams");
    world.wait(seconds(600));
    world.is_at_rest();
}

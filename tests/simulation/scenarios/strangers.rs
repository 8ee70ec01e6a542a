//! Open on the Internet: who is heard, who is not, and what their owners are told of it.

use denwa::config::{Ban, Network, Rate};
use denwa::guard::{News, Prefix, Refusal};
use denwa::switch::{Event, Flow, Input, StreamId};

use super::*;
use crate::phone::Outcome;

fn stealthy() -> Story {
    Story::with(|config| config.stealth = true)
}

/// What people were told of requests that were turned away.
fn refusals(story: &Story) -> Vec<&Refusal> {
    let news = story.events.iter().filter_map(|event| match event {
        Event::Guard(News::Refused(refusal)) => Some(refusal),
        _ => None,
    });
    news.collect()
}

/// A phone that tries to register, and is not disturbed by not being answered.
fn tries(story: &mut Story, number: &str, change: impl FnOnce(&mut Spec)) -> usize {
    let id = story.unregistered(number, change);
    story.phones[id].undisturbed = false;
    story.then(id, Action::Register);
    id
}

fn is_registered(story: &Story, id: usize) -> bool {
    story.phones[id].registration.until.is_some()
}

fn network(address: &str, length: u8) -> Network {
    Network { address: address.parse().unwrap(), length }
}

#[test]
fn with_stealth_a_phone_that_uses_another_host_is_not_answered_and_its_owner_is_told() {
    let mut story = stealthy();
    let lost = tries(&mut story, "101", |spec| spec.domain = "192.0.2.1".into());
    story.expect(story.phones[lost].registration.last_status == 0, "no answer");
    let told = refusals(&story);
    story.expect(told.len() == 1, &format!("one line, {told:?}"));
    let refusal = told[0].clone();
    assert_eq!((refusal.method.as_str(), refusal.number.as_str()), ("REGISTER", "101"));
    assert_eq!(refusal.why, "used host 192.0.2.1 instead of pbx.example.net (domain, stealth)");
    assert!(refusal.known && !refusal.answered);
    // One who does use it is served, and its calls and its way out of them as well.
    let (caller, callee) = (story.phone("102"), story.phone_with("103", behind_nat));
    story.call(caller, "103");
    story.expect_up(&[caller, callee]);
    story.then(callee, Action::HangUp);
    story.expect_idle();
    story.close();
}

#[test]
fn with_stealth_strangers_are_not_told_of_at_once_whatever_they_try() {
    let mut story = stealthy();
    for number in ["999", "admin", "1000"] {
        tries(&mut story, number, |spec| spec.domain = "192.0.2.1".into());
    }
    story.expect(refusals(&story).is_empty(), "nobody of the house is concerned");
    story.pass(70);
    let summary = story.events.iter().find_map(|event| match event {
        Event::Guard(News::Summary(summary)) => Some(summary.clone()),
        _ => None,
    });
    let summary = summary.expect("a line a minute");
    assert!(summary.refused > 0 && summary.why.contains("instead of pbx.example.net"), "{summary:?}");
    story.close();
}

#[test]
fn with_stealth_a_connection_that_speaks_without_the_domain_is_closed() {
    let mut story = stealthy();
    let flow = |stream| Flow {
        transport: Transport::Tcp,
        local: V4.parse().unwrap(),
        remote: "203.0.113.200:40000".parse().unwrap(),
        stream: StreamId(stream),
    };
    let options = |host: &str| {
        format!(
            "OPTIONS sip:{host} SIP/2.0\r\nVia: SIP/2.0/TCP 203.0.113.200;branch=z9hG4bKx\r\nFrom: <sip:a@{host}>;tag=1\r\n\
             To: <sip:a@{host}>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let mut closed_by = |stream: u64, bytes: &str| {
        story.input(Input::Opened(flow(stream)));
        story.hospitality.expects(flow(stream), bytes.as_bytes(), true);
        story.input(Input::Packet { flow: flow(stream), bytes: bytes.as_bytes() });
        story.closed.contains(&StreamId(stream))
    };
    assert!(closed_by(901, &options("192.0.2.1")), "another host");
    assert!(closed_by(902, "GET / HTTP/1.1\r\n\r\n"), "no SIP");
    assert!(!closed_by(903, &options(DOMAIN)), "one who knows us");
    story.close();
}

#[test]
fn with_stealth_a_phone_that_asks_for_an_address_but_is_at_the_domain_is_served() {
    // The Request-URI is the outbound proxy's, To and From are right; and one of them suffices.
    let mut story = stealthy();
    let flow = Flow {
        transport: Transport::Udp,
        local: V4.parse().unwrap(),
        remote: "203.0.113.200:5060".parse().unwrap(),
        stream: StreamId(0),
    };
    let other = "192.0.2.1";
    for (uri, to, from, heard) in [
        (DOMAIN, other, other, true),
        (other, DOMAIN, other, true),
        (other, other, DOMAIN, true),
        (other, other, other, false),
        ("PBX.Example.NET", other, other, true),
        ("pbx.example.net.evil.example", other, other, false),
    ] {
        let request = format!(
            "REGISTER sip:{uri} SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.200;branch=z9hG4bK{uri}{to}{from};rport\r\n\
             From: <sip:101@{from}>;tag=1\r\nTo: <sip:101@{to}>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\n\
             Subject: {}\r\nContent-Length: 0\r\n\r\n",
            "long enough ".repeat(30)
        );
        let before = story.hospitality.census.answered;
        story.hospitality.expects(flow, request.as_bytes(), heard);
        story.input(Input::Packet { flow, bytes: request.as_bytes() });
        let answered = story.hospitality.census.answered > before;
        story.expect(answered == heard, &format!("{uri} {to} {from} is heard: {heard}"));
    }
    story.close();
}

#[test]
fn a_right_password_from_outside_is_a_wrong_one_and_the_log_knows_better() {
    let mut story = Story::with(|config| {
        let extension = config.extensions.get_mut("101").unwrap();
        extension.allow = vec![network("198.51.100.0", 28), network("2001:db8:0:2::", 64)];
    });
    story.phone("101"); // 198.51.100.10
    story.phone_with("101", on_v6);
    let outside = tries(&mut story, "101", |spec| spec.address = "198.51.100.16:5060".parse().unwrap());
    let wrong = tries(&mut story, "102", |spec| {
        spec.address = "198.51.100.17:5060".parse().unwrap();
        spec.password = "guessed".into();
    });
    let missing = tries(&mut story, "199", |spec| spec.address = "198.51.100.18:5060".parse().unwrap());
    for id in [outside, wrong, missing] {
        story.expect(!is_registered(&story, id), "refused");
        let status = story.phones[id].registration.last_status;
        story.expect(status == 401, &format!("phone {id} is challenged again, {status}"));
    }
    let why = |number: &str| {
        let refusal = refusals(&story).into_iter().find(|refusal| refusal.number == number);
        refusal.map(|refusal| refusal.why.clone())
    };
    assert_eq!(why("101").unwrap(), "the password is right, but not from there (ext.101.allow)");
    assert_eq!(why("102").unwrap(), "wrong password (ext.102)");
    assert_eq!(why("199"), None, "strangers guess numbers all day");
    story.close();
}

#[test]
fn who_is_not_in_allow_or_is_in_deny_is_not_heard() {
    let mut story = Story::with(|config| {
        config.access.allow = vec![network("198.51.100.0", 24), network("2001:db8::", 32)];
        config.access.deny = vec![network("198.51.100.12", 32)];
    });
    let welcome = story.phone("101"); // 198.51.100.10
    story.phone_with("102", on_v6);
    let denied = tries(&mut story, "103", |_| {}); // 198.51.100.12
    let foreign = tries(&mut story, "104", |spec| spec.address = "203.0.113.9:5060".parse().unwrap());
    for id in [denied, foreign] {
        story.expect(story.phones[id].registration.last_status == 0, "silence");
    }
    story.call(welcome, "102");
    story.expect(story.is_up(welcome), "the others call each other");
    story.close();
}

#[test]
fn ten_wrong_passwords_and_the_source_is_not_heard_for_a_while() {
    let time = Duration::from_secs(600);
    let mut story = Story::with(|config| config.ban = Some(Ban { failures: 10, time }));
    let guesser = tries(&mut story, "101", |spec| spec.password = "guessed".into());
    for _ in 0..12 {
        story.then(guesser, Action::Register);
        story.pass(19);
    }
    let banned = story.events.iter().find_map(|event| match event {
        Event::Guard(News::Banned { source, failures, time, number }) => {
            Some((*source, *failures, *time, number.clone()))
        }
        _ => None,
    });
    let source = Prefix::of("198.51.100.10".parse().unwrap());
    let told = Some((source, 10, time, "101".into()));
    story.expect(banned == told, &format!("the ban is told, not {banned:?}"));
    // The right password, from the same address, comes too late until the ban is over.
    story.deed(guesser, Deed::Crash { noticed: false });
    let mut registers = |port| {
        let address = SocketAddr::from(([198, 51, 100, 10], port));
        let id = tries(&mut story, "101", |spec| spec.address = address);
        let registered = is_registered(&story, id);
        story.deed(id, Deed::Crash { noticed: false });
        story.pass(600);
        registered
    };
    let heard = [registers(5070), registers(5080)];
    story.expect(heard == [false, true], &format!("{heard:?}"));
    story.close();
}

#[test]
fn a_house_with_a_registered_phone_is_never_banned() {
    let mut story = Story::with(|config| {
        config.ban = Some(Ban { failures: 3, time: Duration::from_secs(600) });
        config.rate_stranger = Rate(1000);
    });
    let home = story.phone_with("101", behind_nat);
    let guesser = tries(&mut story, "102", |spec| {
        behind_nat(spec);
        spec.password = "mistyped".into();
    });
    for _ in 0..10 {
        story.then(guesser, Action::Register);
    }
    let other = story.phone("103");
    story.call(home, "103");
    story.expect_up(&[home, other]);
    story.close();
}

#[test]
fn emergency_numbers_are_refused_at_once_in_words() {
    let mut story = Story::new();
    let caller = story.phone("101");
    for dialled in ["110", "118", "119", "184110", "186119"] {
        story.call(caller, dialled);
        let call = story.newest(caller);
        story.expect(call.outcome == Some(Outcome::Refused(403)), &format!("{dialled} is refused"));
        let reason = call.reason.clone().unwrap_or_default();
        assert!(reason.contains("携帯電話") && reason.contains("mobile phone"), "{dialled}: {reason}");
    }
    let told = refusals(&story).last().unwrap().why.clone();
    assert!(told.contains("emergency") && told.contains("group.1"), "{told}");
    story.call(caller, "184");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(404)), "this is no emergency");
    story.close();
}

#[test]
fn an_emergency_number_that_is_routed_is_called() {
    let mut story = Story::with(|config| {
        config.groups.insert(number("110"), vec![number("102")]);
    });
    let (caller, guard) = (story.phone("101"), story.phone("102"));
    for dialled in ["110", "184110"] {
        story.call(caller, dialled);
        story.expect_up(&[caller, guard]);
        story.then(caller, Action::HangUp);
    }
    story.close();
}

#[test]
fn an_emergency_call_that_is_routed_is_never_one_too_many() {
    let mut story = Story::with(|config| {
        config.groups.insert(number("110"), vec![number("102")]);
        let caller = config.extensions.get_mut("101").unwrap();
        (caller.max_calls, caller.max_calls_hour) = (1, 1);
    });
    let (caller, guard) = (story.phone("101"), story.phone("102"));
    story.call(caller, "114");
    story.then(caller, Action::HangUp);
    story.call(caller, "114");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(403)), "no more in this hour");
    story.call(caller, "184110");
    story.expect_up(&[caller, guard]);
    story.then(caller, Action::HangUp);
    story.expect_idle();
    story.close();
}

#[test]
fn too_many_calls_are_refused_with_a_reason() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("101").unwrap().max_calls = 1;
        config.extensions.get_mut("102").unwrap().max_calls_hour = 2;
    });
    let (one, two) = (story.phone("101"), story.phone("102"));
    story.phone_with("103", |spec| spec.lines = 5);
    story.call(one, "103");
    story.expect(story.is_up(one), "the first call");
    story.call(one, "103");
    let refused = story.newest(one);
    story.expect(refused.outcome == Some(Outcome::Refused(403)), "the second at once is refused");
    assert!(refused.reason.clone().unwrap().contains("ext.101.max-calls"));
    for up in [true, true, false] {
        story.call(two, "114");
        story.expect(story.is_up(two) == up, "two in an hour");
        story.then(two, Action::HangUp);
    }
    story.pass(3 * 3600);
    story.call(two, "114");
    story.expect(story.is_up(two), "another hour");
    story.close();
}

#[test]
fn a_storm_of_strangers_takes_nothing_from_phones() {
    let mut story = stealthy();
    let (caller, callee) = (story.phone("101"), story.phone_with("102", on_v6));
    let mut rng = crate::rng::Rng::new(7);
    let places = [V4, V6].map(|place| place.parse().unwrap());
    for n in 0..20_000 {
        let visit = crate::stranger::visit(&mut rng, DOMAIN, &places);
        story.plan_visit(Duration::from_millis(n / 2), visit);
    }
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.then(callee, Action::Hold);
    story.then(caller, Action::HangUp);
    story.expect_idle();
    story.pass(120);
    let lines = story.events.iter().filter(|event| matches!(event, Event::Guard(_))).count();
    story.expect(lines < 40, &format!("{lines} lines about it"));
    story.close();
}

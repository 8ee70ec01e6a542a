//! Being found: REGISTER and what comes of it.

use std::time::Duration;

use denwa::config::{DigestOffer, ExpiresRange};
use denwa::switch::{Event, Gone};

use super::*;
use crate::phone::Outcome;

#[test]
fn a_phone_registers_and_refreshes() {
    let mut story = Story::new();
    let phone = story.phone("101");
    story.pass(3000);
    let registration = &story.phones[phone].registration;
    story.expect(registration.is_valid(story.now), "it is registered after refreshes");
    let told = story.events.iter().filter(|e| matches!(e, Event::Registered { .. })).count();
    story.expect(told == 1, "a new binding is told once, refreshes are not");
    story.close();
}

#[test]
fn every_kind_of_phone_registers() {
    let kinds: [fn(&mut Spec); 9] = [
        on_v6,
        on_tcp,
        behind_nat,
        |spec| spec.hand = Hand::Compact,
        |spec| spec.hand = Hand::Odd,
        |spec| spec.instance = true,
        |spec| spec.algorithms = vec![Algorithm::Md5],
        |spec| spec.rport = false,
        |spec| spec.preloads_route = true,
    ];
    for kind in kinds {
        let mut story = Story::new();
        story.phone_with("101", kind);
        story.close();
    }
}

/// The network delivers nothing that comes from an address which the phone did not ask.
#[test]
fn a_phone_is_answered_from_the_address_that_it_asked() {
    let mut story = Story::new();
    let caller = story.phone_with("101", |spec| {
        on_v6(spec);
        spec.server = OTHER_V6.parse().unwrap();
    });
    let callee = story.phone_with("102", on_v6);
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.then(callee, Action::HangUp);
    story.close();
}

#[test]
fn a_nonce_is_used_again_with_a_higher_count() {
    let mut story = Story::new();
    let phone = story.phone_with("101", |spec| spec.keeps_nonce = true);
    let before = story.laws.challenges;
    story.act(phone, Action::Register);
    story.pass(1);
    story.expect(story.laws.challenges == before, "no second challenge");
    story.close();
}

#[test]
fn an_extension_with_md5_alone_is_challenged_so() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("101").unwrap().digest = DigestOffer::Md5;
    });
    story.phone_with("101", |spec| spec.algorithms = vec![Algorithm::Md5]);
    story.close();
}

#[test]
fn a_wrong_password_never_gets_in() {
    // Without bans, as who is banned gets no answer.
    let mut story = Story::with(|config| config.ban = None);
    let thief = story.unregistered("101", |spec| spec.password = "guess".into());
    story.act(thief, Action::Register);
    story.pass(120);
    let registration = &story.phones[thief].registration;
    story.expect(registration.until.is_none(), "it is not registered");
    story.expect(matches!(registration.last_status, 401 | 403), "it was refused");
    let caller = story.phone("102");
    story.call(caller, "101");
    story.expect(!story.was_rung(thief), "it is not rung");
    story.close();
}

#[test]
fn an_unknown_extension_looks_like_a_wrong_password() {
    let mut story = Story::new();
    let mut statuses = Vec::new();
    for number in ["101", "999"] {
        let thief = story.unregistered(number, |spec| spec.password = "guess".into());
        story.act(thief, Action::Register);
        story.pass(2);
        statuses.push(story.phones[thief].registration.last_status);
        story.phones[thief].registration.wanted = false;
    }
    story.expect(statuses[0] == statuses[1], &format!("one answer for both: {statuses:?}"));
    story.close();
}

#[test]
fn a_phone_that_takes_its_binding_back_is_not_rung() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.then(callee, Action::Unregister);
    story.call(caller, "102");
    story.expect(!story.was_rung(callee), "it is not rung");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(480)), "480");
    story.close();
}

#[test]
fn a_star_takes_all_bindings_of_the_extension_back() {
    let mut story = Story::new();
    let (caller, one, two) = (story.phone("101"), story.phone("102"), story.phone("102"));
    story.then(one, Action::UnregisterAll);
    story.call(caller, "102");
    story.expect(!story.was_rung(one) && !story.was_rung(two), "neither is rung");
    let removed = |e: &&Event| matches!(e, Event::Unregistered { cause: Gone::Removed, .. });
    story.expect(story.events.iter().filter(removed).count() == 2, "two bindings are gone");
    story.close();
}

#[test]
fn a_binding_that_is_not_refreshed_expires() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.phones[callee].registration.wanted = false;
    story.pass(700);
    story.call(caller, "102");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(480)), "480");
    let expired = |e: &Event| matches!(e, Event::Unregistered { cause: Gone::Expired, .. });
    story.expect(story.events.iter().any(expired), "that is told");
    story.close();
}

#[test]
fn too_brief_is_refused_with_the_shortest_time() {
    let mut story = Story::with(|config| {
        let (min, max) = (Duration::from_secs(120), Duration::from_secs(3600));
        config.register_expires = ExpiresRange { min, max };
    });
    let phone = story.phone_with("101", |spec| spec.expires = 30);
    let until = story.phones[phone].registration.until.unwrap();
    story.expect(until - story.now > Duration::from_secs(110), "it asked again, for longer");
    story.close();
}

#[test]
fn too_long_is_shortened() {
    let mut story = Story::with(|config| {
        let (min, max) = (Duration::from_secs(60), Duration::from_secs(300));
        config.register_expires = ExpiresRange { min, max };
    });
    let phone = story.phone_with("101", |spec| spec.expires = 86_400);
    let until = story.phones[phone].registration.until.unwrap();
    story.expect(until - story.now <= Duration::from_secs(300), "no longer than allowed");
    story.close();
}

#[test]
fn one_phone_more_than_allowed_replaces_the_oldest() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("102").unwrap().max_contacts = 2;
    });
    let caller = story.phone("101");
    let phones = [story.phone("102"), story.phone("102"), story.phone("102")];
    for phone in phones {
        story.behave(phone, Reaction::Ring);
    }
    story.call(caller, "102");
    let rung: Vec<bool> = phones.iter().map(|phone| story.was_rung(*phone)).collect();
    story.expect(rung == [false, true, true], "the two newest are rung");
    story.close();
}

#[test]
fn a_device_that_comes_back_replaces_itself() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("102").unwrap().max_contacts = 2;
    });
    let caller = story.phone("101");
    let other = story.phone("102");
    let phone = story.phone_with("102", |spec| {
        on_tcp(spec);
        spec.instance = true;
    });
    for _ in 0..4 {
        story.deed(phone, Deed::Crash { noticed: false });
        story.pass(1);
        story.deed(phone, Deed::Start);
        story.pass(2);
    }
    story.behave(other, Reaction::Ring);
    story.call(caller, "102");
    story.expect(story.was_rung(other), "its neighbour was not pushed out");
    story.expect_up(&[caller, phone]);
    story.close();
}

#[test]
fn a_replayed_nonce_count_is_refused_as_stale() {
    let mut story = Story::new();
    let phone = story.phone_with("101", |spec| spec.keeps_nonce = true);
    story.phones[phone].rewind_nonce();
    let before = story.laws.challenges;
    story.then(phone, Action::Register);
    story.expect(story.laws.challenges == before + 1, "it is challenged");
    story.expect(story.phones[phone].registration.last_status == 200, "and then gets in");
    story.close();
}

#[test]
fn a_udp_binding_is_kept_open_by_options() {
    let mut story = Story::new();
    let (udp, tcp) = (story.phone("101"), story.phone_with("102", on_tcp));
    story.pass(260);
    let heard = |phone: usize| *story.phones[phone].heard.get("OPTIONS").unwrap_or(&0);
    story.expect((9..=11).contains(&heard(udp)), "about ten in 260 s over UDP");
    story.expect(heard(tcp) == 0, "none over TCP");
    story.close();
}

#[test]
fn what_is_not_served_is_refused() {
    let mut story = Story::new();
    let phone = story.phone("101");
    for (method, status) in [("SUBSCRIBE", 489), ("PUBLISH", 405), ("OPTIONS", 200)] {
        story.act(phone, Action::Ask(method.into()));
        story.pass(2);
        let answer = story.phones[phone].answers.last().cloned();
        story.expect(answer == Some((method.into(), status)), &format!("{method}: {status}"));
    }
    story.close();
}

#[test]
fn a_message_reaches_every_phone_of_the_extension_or_one() {
    let mut story = Story::new();
    let (sender, receiver) = (story.phone("101"), story.phone("102"));
    story.act(sender, Action::Message("102".into()));
    story.pass(2);
    story.expect(story.phones[receiver].texts.len() == 1, "the text is there, once");
    let answer = story.phones[sender].answers.last().cloned();
    story.expect(answer == Some(("MESSAGE".into(), 200)), "200");
    story.close();
}

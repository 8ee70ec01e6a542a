//! What goes wrong: phones that vanish, limits, media that does not come.

use denwa::config::{NatMedia, PortRange};
use denwa::switch::{Cause, Event, Input};

use super::*;
use crate::phone::Outcome;

fn talk_with(change: impl FnOnce(&mut Config), one: fn(&mut Spec)) -> (Story, usize, usize) {
    let mut story = Story::with(change);
    let (caller, callee) = (story.phone_with("101", one), story.phone("102"));
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    (story, caller, callee)
}

fn ended_by(story: &Story, cause: Cause) -> bool {
    story.events.iter().any(|event| match event {
        Event::CallEnded(record) => record.cause == cause,
        _ => false,
    })
}

#[test]
fn the_longest_call_is_ended_on_both_sides() {
    let limit = Duration::from_secs(600);
    let (mut story, caller, callee) = talk_with(|config| config.call_limit = limit, |_| {});
    story.pass(590);
    story.expect_up(&[caller, callee]);
    story.pass(12);
    for phone in [caller, callee] {
        let outcome = story.newest(phone).outcome;
        story.expect(outcome == Some(Outcome::HungUpByPeer), "BYE came");
    }
    story.expect_idle();
    story.expect(ended_by(&story, Cause::CallLimit), "the record says so");
    story.close();
}

#[test]
fn a_call_whose_phone_died_is_ended_when_its_media_stops() {
    let (mut story, caller, callee) = talk_with(|_| {}, |_| {});
    story.deed(callee, Deed::Crash { noticed: false });
    story.pass(50);
    story.expect_up(&[caller]);
    story.pass(50);
    story.expect(story.newest(caller).outcome == Some(Outcome::HungUpByPeer), "BYE came");
    story.expect(ended_by(&story, Cause::MediaTimeout), "the record says so");
    story.pass(60);
    story.expect(story.live_calls() == 0, "no call is left");
    story.close();
}

#[test]
fn a_call_whose_sound_is_lost_is_ended_on_both_sides() {
    for muted in [0, 1] {
        let (mut story, caller, callee) = talk_with(|_| {}, |_| {});
        story.phones[[caller, callee][muted]].mute = true;
        // It is no fault of the exchange that it expects this sound.
        story.phones[caller].undisturbed = false;
        story.pass(50);
        story.expect_up(&[caller, callee]);
        story.pass(20);
        for phone in [caller, callee] {
            let outcome = story.newest(phone).outcome;
            story.expect(outcome == Some(Outcome::HungUpByPeer), "BYE came");
        }
        story.expect(ended_by(&story, Cause::MediaTimeout), "the record says so");
        story.expect_idle();
        story.close();
    }
}

#[test]
fn a_phone_that_forgot_its_call_is_rung_again() {
    let (mut story, caller, callee) = talk_with(|_| {}, |_| {});
    story.deed(callee, Deed::Crash { noticed: false });
    story.pass(1);
    story.deed(callee, Deed::Start);
    story.pass(2);
    story.then(caller, Action::HangUp);
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.close();
}

#[test]
fn a_call_outlives_its_connection() {
    let (mut story, caller, callee) = talk_with(
        |_| {},
        |spec| {
            on_tcp(spec);
            spec.instance = true;
        },
    );
    story.deed(caller, Deed::Cut);
    story.pass(5);
    story.expect_up(&[caller, callee]);
    story.then(callee, Action::Hold);
    story.expect_up(&[caller, callee]);
    story.expect(story.phones[caller].heard["INVITE"] == 1, "the re-INVITE found the new connection");
    story.then(callee, Action::HangUp);
    story.expect(story.newest(caller).outcome == Some(Outcome::HungUpByPeer), "so did the BYE");
    story.expect_idle();
    story.close();
}

/// Whoever hangs up while the other's connection is broken is heard when it is back.
#[test]
fn a_bye_waits_for_the_new_connection() {
    for deed in [Deed::Cut, Deed::Rebind] {
        let kind = if matches!(deed, Deed::Cut) { on_tcp } else { behind_nat };
        let (mut story, caller, callee) = talk_with(|_| {}, kind);
        story.deed(caller, deed);
        story.pass_ms(20);
        story.act(callee, Action::HangUp);
        story.pass_ms(50);
        story.expect(story.is_up(caller), "it could not hear");
        story.then(caller, Action::Register);
        story.expect(story.newest(caller).outcome == Some(Outcome::HungUpByPeer), "the BYE came");
        story.expect_idle();
        story.close();
    }
}

#[test]
fn a_call_outlives_its_nat_mapping() {
    let (mut story, caller, callee) = talk_with(|_| {}, behind_nat);
    story.deed(caller, Deed::Rebind);
    story.then(caller, Action::Register);
    story.then(callee, Action::HangUp);
    story.expect(story.newest(caller).outcome == Some(Outcome::HungUpByPeer), "the BYE came");
    story.expect_idle();
    story.close();
}

#[test]
fn a_call_without_free_ports_is_refused() {
    let ports = PortRange { first: 40000, last: 40007 };
    let (mut story, ..) = talk_with(|config| config.media_ports = ports, |_| {});
    let (third, _) = (story.phone("103"), story.phone("104"));
    for _ in 0..3 {
        story.call(third, "104");
        let outcome = story.newest(third).outcome;
        if outcome == Some(Outcome::Refused(503)) {
            return story.close();
        }
    }
    panic!("four ports served more than two calls\n{}", story.ladder());
}

#[test]
fn a_late_offer_is_not_left_without_ports() {
    let ports = PortRange { first: 40000, last: 40003 };
    let mut story = Story::with(|config| config.media_ports = ports);
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    let late = story.phone_with("103", |spec| spec.late_offer = true);
    let fourth = story.phone("104");
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.call(late, "104");
    story.expect(story.newest(late).outcome == Some(Outcome::Refused(503)), "503 before it rings");
    story.expect(!story.was_rung(fourth), "nobody is rung in vain");
    story.close();
}

#[test]
fn ports_come_back_when_calls_end() {
    let ports = PortRange { first: 40000, last: 40015 };
    let mut story = Story::with(|config| config.media_ports = ports);
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    for _ in 0..30 {
        story.call(caller, "102");
        story.expect_up(&[caller, callee]);
        story.then(caller, Action::HangUp);
        story.pass(60);
    }
    story.close();
}

#[test]
fn a_relay_that_fails_ends_the_call() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.deed(caller, Deed::FailRelay);
    story.call(caller, "102");
    story.expect(!story.is_up(caller) && !story.is_up(callee), "no call without sound");
    story.expect(story.newest(caller).outcome.is_some(), "the caller is told");
    story.expect_idle();
    story.close();
}

#[test]
fn the_operator_ends_all_calls() {
    let (mut story, ..) = talk_with(|_| {}, |_| {});
    let (third, fourth) = (story.phone("103"), story.phone("104"));
    story.behave(fourth, Reaction::Ring);
    story.call(third, "104");
    story.input(Input::HangUp("the exchange is stopped"));
    story.pass(2);
    story.expect_idle();
    story.expect(ended_by(&story, Cause::Operator), "the record says so");
    story.close();
}

#[test]
fn an_extension_may_learn_where_media_comes_from() {
    let (story, ..) =
        talk_with(|config| config.extensions.get_mut("101").unwrap().nat_media = NatMedia::Learn, behind_nat);
    story.close();
}

#[test]
fn behind_a_translated_address_phones_see_the_public_one() {
    let (public, local) = ("203.0.113.5:5060", "10.0.0.5:5060");
    let config = Config {
        domain: Some(DOMAIN.into()),
        advertise: vec!["203.0.113.5".parse().unwrap()],
        extensions: ["101", "102"].map(|n| (number(n), extension(n))).into(),
        ..Config::default()
    };
    let place = Place { public: public.parse().unwrap(), local: local.parse().unwrap() };
    let mut story = Story::in_places(config, &[place]);
    let on_ec2 = |spec: &mut Spec| spec.server = place.public;
    let (caller, callee) = (story.phone_with("101", on_ec2), story.phone_with("102", on_ec2));
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.then(callee, Action::Hold);
    story.then(callee, Action::HangUp);
    story.expect_idle();
    story.close();
}

#[test]
fn a_crash_while_it_rings_leaves_nothing_behind() {
    for one in [0, 1] {
        let mut story = Story::new();
        let phones = [story.phone("101"), story.phone("102")];
        story.behave(phones[1], Reaction::Ring);
        story.call(phones[0], "102");
        story.deed(phones[one], Deed::Crash { noticed: false });
        story.pass(600);
        story.expect(story.live_calls() == 0, "no call is left");
        story.expect(story.phones[phones[1]].active_calls().count() == 0, "nothing rings");
        story.close();
    }
}

#[test]
fn a_silent_phone_is_given_up() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.deed(callee, Deed::Crash { noticed: false });
    story.call(caller, "102");
    story.pass(60);
    let outcome = story.newest(caller).outcome;
    let told = matches!(outcome, Some(Outcome::Refused(408 | 480)));
    story.expect(told, &format!("408 or 480, not {outcome:?}"));
    story.close();
}

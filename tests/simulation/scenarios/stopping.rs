//! The cloud says that it will stop the machine, and what its public address is.

use std::time::Duration;

use denwa::switch::{Cause, Event, Input};

use super::*;
use crate::phone::Outcome;

/// The notice of EC2.
const NOTICE: Option<Duration> = Some(Duration::from_secs(120));

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn calls_end_before_the_stop_and_registrations_outlast_it() {
    let mut story = Story::new();
    let phones = ["101", "102", "103", "104"].map(|number| story.phone(number));
    let [caller, callee, third, fourth] = phones;
    story.call(caller, "102");
    story.input(Input::MachineStops(NOTICE));
    story.pass(60);
    story.call(third, "104");
    story.expect_up(&phones);
    story.then(fourth, Action::HangUp);

    // 94 s.
    story.pass(29);
    story.call(third, "104");
    let refused = story.newest(third).outcome;
    story.expect(refused == Some(Outcome::Refused(503)), &format!("503, not {refused:?}"));
    story.expect_up(&[caller, callee]);

    // 111 s.
    story.pass(15);
    story.expect_idle();
    let ends =
        |event: &Event| matches!(event, Event::CallEnded(record) if record.cause == Cause::MachineStops);
    story.expect(story.events.iter().any(ends), "the record says why");
    for phone in [caller, callee] {
        let reason = story.newest(phone).reason.clone().unwrap_or_default();
        story.expect(reason == "SIP;cause=503;text=\"The server is being stopped\"", &reason);
    }

    // Longer than anybody's registration.
    story.pass(5);
    story.plan(Duration::ZERO, 0, Deed::Restart { asleep: HOUR, power_cut: false });
    story.pass_ms(1);
    story.expect(story.registered() == 4, "all are registered");
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.then(caller, Action::HangUp);
    story.close();
}

#[test]
fn registrations_do_not_outlast_what_was_no_stop() {
    for spared in [false, true] {
        let mut story = Story::new();
        story.phone("101");
        if spared {
            story.input(Input::MachineStops(NOTICE));
            story.pass(115);
            story.input(Input::MachineStops(None));
        }
        story.plan(Duration::ZERO, 0, Deed::Restart { asleep: 2 * HOUR, power_cut: false });
        story.pass_ms(1);
        story.expect(story.registered() == 0, "nobody is");
        story.close();
    }
}

#[test]
fn registrations_are_short_until_the_notice_is_taken_back() {
    let mut story = Story::new();
    let left = |story: &Story, phone: usize| {
        let until = story.phones[phone].registration.until.unwrap();
        (until - story.now).as_secs()
    };
    story.input(Input::MachineStops(NOTICE));
    let brief = story.phone("101");
    story.expect(left(&story, brief) <= 60, "a short one");
    story.input(Input::MachineStops(None));
    let long = story.phone("102");
    story.expect(left(&story, long) > 500, "a long one");
    story.pass(115);
    story.call(brief, "102");
    story.expect_up(&[brief, long]);
    story.then(brief, Action::HangUp);
    story.close();
}

#[test]
fn a_stop_that_does_not_come_is_none() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.input(Input::MachineStops(NOTICE));
    story.pass(130);
    story.call(caller, "102");
    story.expect(!story.is_up(caller), "no call");
    story.pass(300);
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.then(caller, Action::HangUp);
    story.close();
}

/// A notice that comes late, or that a wrong clock makes late.
#[test]
fn no_time_left_ends_calls_at_once() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.input(Input::MachineStops(Some(Duration::ZERO)));
    story.pass(1);
    story.expect_idle();
    story.close();
}

#[test]
fn a_public_address_that_is_found_is_the_one_that_phones_see() {
    let (public, local) = ("203.0.113.5:5060", "10.0.0.5:5060");
    let config = Config {
        domain: Some(DOMAIN.into()),
        advertise_auto: true,
        extensions: ["101", "102"].map(|n| (number(n), extension(n))).into(),
        ..Config::default()
    };
    let place = Place { public: public.parse().unwrap(), local: local.parse().unwrap() };
    let mut story = Story::in_places(config, &[place]);
    story.input(Input::Advertised(vec![place.public.ip()]));
    let on_ec2 = |spec: &mut Spec| spec.server = place.public;
    let (caller, callee) = (story.phone_with("101", on_ec2), story.phone_with("102", on_ec2));
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.then(callee, Action::HangUp);
    story.close();
}

//! Another configuration while people use their phones.

use denwa::config::{NoAnswer, PortRange};
use denwa::switch::{Cause, Event, Gone, Input};

use super::*;
use crate::phone::Outcome;

impl Story {
    /// The exchange goes on with what `change` makes of its configuration.
    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config().clone();
        change(&mut config);
        self.deed(0, Deed::Reload(Box::new(config)));
        self.pass(1);
    }

    fn remove(&mut self, removed: &str) {
        self.reload(|config| {
            config.extensions.remove(removed);
            config.groups.values_mut().for_each(|members| members.retain(|m| m.as_str() != removed));
        });
    }

    fn ended_by_removal(&self) -> usize {
        let is_one = |event: &&Event| matches!(event, Event::CallEnded(record) if record.cause == Cause::ExtensionRemoved);
        self.events.iter().filter(is_one).count()
    }
}

#[test]
fn the_same_configuration_changes_nothing() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone_with("102", on_tcp));
    story.call(caller, "102");
    for _ in 0..3 {
        story.reload(|_| {});
        story.expect_up(&[caller, callee]);
    }
    story.then(callee, Action::Hold);
    story.then(caller, Action::HangUp);
    story.expect_idle();
    story.call(callee, "101");
    story.expect_up(&[caller, callee]);
    story.close();
}

#[test]
fn a_new_extension_and_a_new_password_work_at_once() {
    let mut story = Story::new();
    let old = story.phone("101");
    let new = story.unregistered("106", |_| {});
    story.reload(|config| {
        config.extensions.insert(number("106"), extension("106"));
        config.extensions.insert(number("101"), Extension::new(Password::new("another")));
    });
    story.then(new, Action::Register);
    story.expect(story.phones[new].registration.until.is_some(), "the new one registers");
    // Who is registered stays so until the password is asked for.
    story.call(new, "101");
    story.expect_up(&[old, new]);
    story.then(new, Action::HangUp);
    story.then(old, Action::Register);
    story.call(old, "106");
    story.expect(!story.is_up(old), "the old password is refused");
    let other = story.phone_with("101", |spec| spec.password = "another".into());
    story.call(other, "106");
    story.expect_up(&[other, new]);
    story.close();
}

#[test]
fn the_phones_and_calls_of_a_removed_extension_are_gone() {
    for (removed, how_many) in [("101", 1), ("102", 1), ("103", 0)] {
        let mut story = Story::new();
        let phones = [story.phone("101"), story.phone("102"), story.phone("103")];
        story.call(phones[0], "102");
        story.expect_up(&phones[..2]);
        story.remove(removed);
        story.expect(story.ended_by_removal() == how_many, "the record says so");
        let is_up = how_many == 0;
        story.expect(story.is_up(phones[0]) == is_up && story.is_up(phones[1]) == is_up, "as it should be");
        let gone = |event: &Event| {
            matches!(event, Event::Unregistered { extension, cause: Gone::ExtensionRemoved, .. }
                if extension.as_str() == removed)
        };
        story.expect(story.events.iter().filter(|event| gone(event)).count() == 1, "it is told");
        story.pass(5);
        story.close();
    }
}

#[test]
fn what_rings_at_a_removed_extension_is_silent() {
    // Alone: the caller is told.
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.behave(callee, Reaction::Ring);
    story.call(caller, "102");
    story.remove("102");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(480)), "480");
    story.expect(story.ended_by_removal() == 1, "the record says so");
    story.expect_idle();
    story.close();

    // In a group: the others ring on, and answer.
    let mut story = Story::new();
    let (caller, one, other) = (story.phone("101"), story.phone("102"), story.phone("103"));
    story.behave(one, Reaction::Ring);
    story.behave(other, Reaction::Ring);
    story.call(caller, "600");
    story.remove("102");
    story.expect(story.phones[one].active_calls().count() == 0, "it is cancelled");
    story.then(other, Action::Answer);
    story.expect_up(&[caller, other]);
    story.close();

    // The caller itself.
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.behave(callee, Reaction::Ring);
    story.call(caller, "102");
    story.remove("101");
    story.pass(2);
    story.expect_idle();
    story.close();
}

#[test]
fn forwards_groups_and_the_echo_test_are_those_of_the_new_one() {
    let mut story = Story::new();
    let (caller, other) = (story.phone("101"), story.phone("103"));
    story.reload(|config| {
        config.groups.insert(number("600"), vec![number("103")]);
        config.echo = Some(number("115"));
        let busy = config.extensions.get_mut("104").unwrap();
        busy.offline = Some(number("103"));
        busy.no_answer = Some(NoAnswer { after: Duration::from_secs(5), to: number("105") });
    });
    for dialled in ["600", "104", "115"] {
        story.call(caller, dialled);
        story.expect(story.is_up(caller) && (dialled == "115" || story.is_up(other)), dialled);
        story.then(caller, Action::HangUp);
    }
    story.call(caller, "114");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(404)), "the old number leads nowhere");
    story.close();
}

#[test]
fn a_shorter_limit_holds_for_calls_in_progress() {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    story.call(caller, "102");
    story.pass(100);
    story.reload(|config| config.call_limit = Duration::from_secs(120));
    story.pass(15);
    story.expect_up(&[caller, callee]);
    story.pass(40);
    story.expect_idle();
    story.close();
}

#[test]
fn calls_keep_their_media_ports() {
    let ports = |first, last| move |config: &mut Config| config.media_ports = PortRange { first, last };
    let mut story = Story::with(ports(40000, 40003));
    let phones = [story.phone("101"), story.phone("102"), story.phone("103"), story.phone("104")];
    story.call(phones[0], "102");
    // One pair of these is in use, so that there is no room for a second call.
    story.reload(ports(40002, 40005));
    story.call(phones[2], "104");
    story.expect(story.newest(phones[2]).outcome == Some(Outcome::Refused(503)), "no port is given twice");
    story.reload(ports(40100, 40103));
    story.call(phones[2], "104");
    story.expect_up(&phones);
    story.then(phones[1], Action::Hold);
    story.then(phones[0], Action::HangUp);
    story.then(phones[2], Action::HangUp);
    story.close();
}

#[test]
fn where_nobody_listens_any_more_nobody_is_rung() {
    let mut story = Story::new();
    let (caller, on_udp) = (story.phone_with("101", on_tcp), story.phone("102"));
    let listen = story.config().listen.clone();
    // The connection goes on although its listener is closed.
    story.reload(|config| {
        config.listen.iter_mut().for_each(|place| place.port = 5070);
    });
    story.call(caller, "102");
    story.expect(story.newest(caller).outcome == Some(Outcome::Refused(480)), "nobody can be reached");
    story.expect(!story.was_rung(on_udp), "nothing is sent there");
    story.reload(|config| config.listen = listen);
    story.call(caller, "102");
    story.expect_up(&[caller, on_udp]);
    story.close();
}

#[test]
fn a_reload_is_told_with_what_it_is() {
    let mut story = Story::new();
    let mut config = story.config().clone();
    config.extensions.remove("105");
    story.input(Input::Reload(Box::new(config.clone())));
    let told = story.events.iter().any(|event| matches!(event, Event::Reloaded(told) if **told == config));
    story.expect(told, "the configuration is told");
    story.close();
}

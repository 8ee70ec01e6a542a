//! Calling and being called: every way in which a call comes to be, or does not.

use denwa::config::NoAnswer;
use denwa::switch::{Cause, Event};

use super::*;
use crate::phone::Outcome;

/// Two phones, 101 and 102.
fn pair() -> (Story, usize, usize) {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    (story, caller, callee)
}

/// What the caller got in the end.
fn outcome(story: &Story, caller: usize) -> Option<Outcome> {
    story.newest(caller).outcome
}

fn expect_refused(story: &Story, caller: usize, status: u16) {
    let got = outcome(story, caller);
    story.expect(got == Some(Outcome::Refused(status)), &format!("{status}, not {got:?}"));
}

fn cause(story: &Story) -> Option<Cause> {
    story.events.iter().rev().find_map(|event| match event {
        Event::CallEnded(record) => Some(record.cause),
        _ => None,
    })
}

#[test]
fn a_call_is_answered_and_the_caller_hangs_up() {
    let (mut story, caller, callee) = pair();
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.expect(story.newest(caller).progress.contains(&180), "it rang");
    story.expect(story.live_calls() == 1 && story.relay.open() == 1, "one call, one session");
    story.expect(story.laws.compared > 0, "the media law had something to compare");
    story.then(caller, Action::HangUp);
    story.expect(outcome(&story, callee) == Some(Outcome::HungUpByPeer), "both are told");
    story.expect_idle();
    story.expect(cause(&story) == Some(Cause::CallerHungUp), "the record says who hung up");
    story.close();
}

#[test]
fn a_call_is_answered_and_the_callee_hangs_up() {
    let (mut story, caller, callee) = pair();
    story.call(caller, "102");
    story.then(callee, Action::HangUp);
    story.expect(outcome(&story, caller) == Some(Outcome::HungUpByPeer), "both are told");
    story.expect_idle();
    story.expect(cause(&story) == Some(Cause::CalleeHungUp), "the record says who hung up");
    story.close();
}

#[test]
fn both_hang_up_at_once() {
    let (mut story, caller, callee) = pair();
    story.call(caller, "102");
    story.act(caller, Action::HangUp);
    story.then(callee, Action::HangUp);
    story.expect_idle();
    story.close();
}

#[test]
fn a_long_call_stays_up() {
    let (mut story, caller, callee) = pair();
    story.call(caller, "102");
    story.pass(3 * 3600);
    story.expect_up(&[caller, callee]);
    story.close();
}

#[test]
fn a_refusal_reaches_the_caller() {
    for status in [486, 480, 603, 488, 404] {
        let (mut story, caller, callee) = pair();
        story.behave(callee, Reaction::Refuse(status));
        story.call(caller, "102");
        expect_refused(&story, caller, status);
        story.expect_idle();
        story.close();
    }
}

#[test]
fn a_phone_in_a_call_is_busy() {
    let mut story = Story::new();
    let (caller, other) = (story.phone("101"), story.phone("103"));
    let callee = story.phone_with("102", |spec| spec.lines = 1);
    story.call(other, "102");
    story.call(caller, "102");
    expect_refused(&story, caller, 486);
    story.expect_up(&[other, callee]);
    story.close();
}

#[test]
fn an_unknown_number_is_not_found() {
    let (mut story, caller, _) = pair();
    story.call(caller, "999");
    expect_refused(&story, caller, 404);
    story.close();
}

#[test]
fn a_known_number_without_phone_is_unavailable() {
    let (mut story, caller, _) = pair();
    story.call(caller, "105");
    expect_refused(&story, caller, 480);
    story.close();
}

#[test]
fn nobody_calls_without_password() {
    let (mut story, _, callee) = pair();
    let thief = story.unregistered("103", |spec| spec.password = "guess".into());
    story.call(thief, "102");
    story.expect(matches!(outcome(&story, thief), Some(Outcome::Refused(403 | 407))), "refused");
    story.expect(!story.was_rung(callee), "nobody is rung");
    story.close();
}

#[test]
fn nobody_calls_under_another_number() {
    let (mut story, _, callee) = pair();
    let thief = story.unregistered("103", |spec| spec.shows = Some("101".into()));
    story.call(thief, "102");
    story.expect(matches!(outcome(&story, thief), Some(Outcome::Refused(403))), "403");
    story.expect(!story.was_rung(callee), "nobody is rung");
    story.close();
}

#[test]
fn a_phone_that_is_not_registered_can_call() {
    let (mut story, _, callee) = pair();
    let caller = story.unregistered("103", |_| {});
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.close();
}

/// The caller gives up so many milliseconds after dialling: before the challenge, after it, before
/// it rings, while it rings, and around the answer.
#[test]
fn the_caller_gives_up_at_each_moment() {
    for hasty in [false, true] {
        for moment in (0..160).step_by(5).chain([500, 990, 1000, 1010, 1020, 1030, 1040, 1050, 1060]) {
            let mut story = Story::new();
            let caller = story.phone_with("101", |spec| spec.hasty = hasty);
            let callee = story.phone("102");
            story.act(caller, Action::Call("102".into()));
            story.pass_ms(moment);
            story.act(caller, Action::HangUp);
            story.pass(40);
            story.expect_idle();
            story.expect(outcome(&story, caller).is_some(), "the caller is out");
            if moment == 500 {
                let cancelled = outcome(&story, callee) == Some(Outcome::Cancelled);
                story.expect(cancelled, "the callee stops ringing");
                story.expect(cause(&story) == Some(Cause::Cancelled), "the record says so");
            }
            story.close();
        }
    }
}

#[test]
fn a_busy_call_goes_where_it_is_forwarded() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("102").unwrap().busy = Some(number("103"));
    });
    let (caller, callee, third) = (story.phone("101"), story.phone("102"), story.phone("103"));
    story.behave(callee, Reaction::Refuse(486));
    story.call(caller, "102");
    story.expect_up(&[caller, third]);
    story.close();
}

#[test]
fn a_call_that_nobody_answers_goes_where_it_is_forwarded() {
    let mut story = Story::with(|config| {
        let no_answer = NoAnswer { after: Duration::from_secs(20), to: number("103") };
        config.extensions.get_mut("102").unwrap().no_answer = Some(no_answer);
    });
    let (caller, callee, third) = (story.phone("101"), story.phone("102"), story.phone("103"));
    story.behave(callee, Reaction::Ring);
    story.call(caller, "102");
    story.pass(15);
    story.expect(!story.was_rung(third), "not before its time");
    story.pass(6);
    story.expect_up(&[caller, third]);
    story.expect(outcome(&story, callee) == Some(Outcome::Cancelled), "the first stops ringing");
    story.close();
}

#[test]
fn a_call_to_nobody_goes_where_it_is_forwarded() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("102").unwrap().offline = Some(number("103"));
    });
    let (caller, third) = (story.phone("101"), story.phone("103"));
    story.call(caller, "102");
    story.expect_up(&[caller, third]);
    story.close();
}

#[test]
fn forwards_in_a_circle_end() {
    let mut story = Story::with(|config| {
        config.extensions.get_mut("102").unwrap().offline = Some(number("103"));
        config.extensions.get_mut("103").unwrap().offline = Some(number("102"));
    });
    let caller = story.phone("101");
    story.call(caller, "102");
    story.expect(matches!(outcome(&story, caller), Some(Outcome::Refused(_))), "refused");
    story.close();
}

#[test]
fn a_redirection_leads_to_the_other_number() {
    let mut story = Story::new();
    let (caller, callee, third) = (story.phone("101"), story.phone("102"), story.phone("103"));
    story.behave(callee, Reaction::Redirect("103".into()));
    story.call(caller, "102");
    story.expect_up(&[caller, third]);
    story.close();
}

#[test]
fn all_phones_of_an_extension_ring_and_one_answers() {
    let mut story = Story::new();
    let caller = story.phone("101");
    let (quick, slow) = (story.phone("102"), story.phone("102"));
    story.behave(slow, Reaction::Ring);
    story.call(caller, "102");
    story.expect_up(&[caller, quick]);
    let loser = story.newest(slow);
    story.expect(loser.outcome == Some(Outcome::Cancelled), "the other stops ringing");
    let reason = loser.reason.clone().unwrap_or_default();
    let elsewhere = reason.contains("SIP") && reason.contains("cause=200");
    story.expect(elsewhere, "it is told that somebody answered elsewhere");
    story.close();
}

#[test]
fn a_caller_who_gives_up_is_not_an_answer_elsewhere() {
    let (mut story, caller, callee) = pair();
    story.behave(callee, Reaction::Ring);
    story.call(caller, "102");
    story.then(caller, Action::HangUp);
    let reason = story.newest(callee).reason.clone().unwrap_or_default();
    story.expect(!reason.contains("cause=200"), "a missed call is a missed call");
    story.close();
}

#[test]
fn a_group_rings_its_members() {
    let mut story = Story::new();
    let caller = story.phone("101");
    let phones = [story.phone("102"), story.phone("102"), story.phone("103")];
    for phone in phones {
        story.behave(phone, Reaction::Ring);
    }
    story.call(caller, "600");
    story.expect(phones.iter().all(|phone| story.was_rung(*phone)), "all ring");
    story.expect(story.relay.open() <= 1, "with one relay session");
    story.then(phones[2], Action::Answer);
    story.expect_up(&[caller, phones[2]]);
    story.expect(story.relay.opened == 1, "there was one relay session");
    story.close();
}

#[test]
fn one_decline_does_not_silence_the_house() {
    let mut story = Story::new();
    let caller = story.phone("101");
    let (rude, kind) = (story.phone("102"), story.phone("103"));
    story.behave(rude, Reaction::Refuse(603));
    story.phones[kind].spec.manners.after = Duration::from_secs(5);
    story.call(caller, "600");
    story.pass(4);
    story.expect_up(&[caller, kind]);
    story.close();
}

#[test]
fn a_group_of_busy_phones_is_busy() {
    let mut story = Story::new();
    let caller = story.phone("101");
    for member in ["102", "103"] {
        let phone = story.phone(member);
        story.behave(phone, Reaction::Refuse(486));
    }
    story.call(caller, "600");
    expect_refused(&story, caller, 486);
    story.close();
}

/// Two phones pick up in the same instant: one has the call, the other is acknowledged and ended.
#[test]
fn a_group_falls_silent_when_a_member_sends_the_call_elsewhere() {
    for target in ["104", "114"] {
        let mut story = Story::new();
        let caller = story.phone("101");
        let (sends, rings, _) = (story.phone("102"), story.phone("103"), story.phone("104"));
        story.behave(sends, Reaction::Redirect(target.into()));
        story.behave(rings, Reaction::Ring);
        story.call(caller, "600");
        story.expect(story.is_up(caller), "somebody answered");
        story.expect(outcome(&story, rings) == Some(Outcome::Cancelled), "the others stop ringing");
        story.close();
    }
}

#[test]
fn two_answers_make_one_call() {
    let mut story = Story::new();
    let caller = story.phone("101");
    let (one, two) = (story.phone("102"), story.phone("103"));
    story.call(caller, "600");
    story.pass(2);
    let up = [one, two].into_iter().filter(|phone| story.is_up(*phone)).count();
    story.expect(up == 1 && story.is_up(caller), "one call is up");
    story.expect(story.newest(one).answered && story.newest(two).answered, "both were acknowledged");
    story.close();
}

#[test]
fn a_peer_may_fork_further_on() {
    for forking in [Forking::Rings, Forking::Answers] {
        for late in [false, true] {
            let mut story = Story::new();
            let caller = story.phone_with("101", |spec| spec.late_offer = late);
            let callee = story.phone_with("102", |spec| {
                spec.forking = forking;
                spec.manners.ringing = Ringing::EarlyMedia;
            });
            story.call(caller, "102");
            story.pass(2);
            story.expect(story.is_up(caller), "the caller has a call");
            let up = story.phones[callee].active_calls().filter(|call| call.is_up()).count();
            story.expect(up == 1, &format!("one of the answers is the call, not {up}"));
            story.close();
        }
    }
}

#[test]
fn a_phone_can_call_itself_by_its_number() {
    let mut story = Story::new();
    let phone = story.phone("101");
    story.call(phone, "101");
    story.pass(2);
    story.then(phone, Action::HangUp);
    story.close();
}

#[test]
fn reliable_ringing_is_confirmed_end_to_end() {
    for ringing in [Ringing::Bell, Ringing::EarlyMedia] {
        for late in [false, true] {
            let mut story = Story::new();
            let caller = story.phone_with("101", |spec| {
                spec.reliable = true;
                spec.late_offer = late;
            });
            let callee = story.phone_with("102", |spec| {
                spec.reliable = true;
                spec.manners.ringing = ringing;
            });
            story.call(caller, "102");
            story.expect_up(&[caller, callee]);
            story.expect(story.phones[callee].heard.contains_key("PRACK"), "PRACK came");
            story.close();
        }
    }
}

#[test]
fn early_media_is_heard_and_answered() {
    let mut story = Story::new();
    let caller = story.phone("101");
    let callee = story.phone_with("102", |spec| spec.manners.ringing = Ringing::EarlyMedia);
    story.call(caller, "102");
    story.expect(story.newest(caller).progress.contains(&183), "183");
    story.expect_up(&[caller, callee]);
    story.close();
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut story = Story::new();
    let caller = story.phone_with("101", |spec| spec.late_offer = true);
    let callee = story.phone("102");
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.expect(story.laws.compared > 0, "the media law had something to compare");
    story.close();
}

#[test]
fn two_late_answers_make_one_call() {
    let mut story = Story::new();
    let caller = story.phone_with("101", |spec| spec.late_offer = true);
    let (one, two) = (story.phone("102"), story.phone("103"));
    story.call(caller, "600");
    story.pass(2);
    let up = [one, two].into_iter().filter(|phone| story.is_up(*phone)).count();
    story.expect(up == 1 && story.is_up(caller), "one call is up");
    story.close();
}

#[test]
fn the_echo_test_answers() {
    for late in [false, true] {
        for kind in [|_: &mut Spec| {}, on_v6, on_tcp, behind_nat] {
            let mut story = Story::new();
            let caller = story.phone_with("101", |spec| {
                kind(spec);
                spec.late_offer = late;
            });
            story.call(caller, "114");
            story.expect_up(&[caller]);
            story.expect(story.relay.open() == 1, "one session");
            story.then(caller, Action::Hold);
            story.then(caller, Action::Resume);
            story.then(caller, Action::Info);
            story.expect_up(&[caller]);
            story.then(caller, Action::HangUp);
            story.expect_idle();
            story.close();
        }
    }
}

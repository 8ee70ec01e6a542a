//! What happens during a call: hold, changes, messages, and transfers.

use super::*;
use crate::phone::Outcome;

/// Two phones of two kinds in a call.
fn talk(one: fn(&mut Spec), other: fn(&mut Spec)) -> (Story, usize, usize) {
    let mut story = Story::new();
    let (caller, callee) = (story.phone_with("101", one), story.phone_with("102", other));
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    (story, caller, callee)
}

fn plain(_: &mut Spec) {}

fn video(spec: &mut Spec) {
    spec.video = true;
}

/// What two phones may differ in.
const KINDS: [fn(&mut Spec); 8] = [
    plain,
    on_v6,
    on_tcp,
    behind_nat,
    video,
    |spec| spec.hand = Hand::Compact,
    |spec| {
        on_v6(spec);
        on_tcp(spec);
    },
    |spec| spec.restless = true,
];

#[test]
fn every_kind_of_phone_talks_to_every_other() {
    for one in KINDS {
        for other in KINDS {
            let (mut story, caller, callee) = talk(one, other);
            story.expect(story.laws.compared > 0, "the media law had something to compare");
            for (phone, action) in [
                (caller, Action::Hold),
                (caller, Action::Resume),
                (callee, Action::Hold),
                (callee, Action::Resume),
                (callee, Action::Update),
                (caller, Action::Update),
                (caller, Action::Refresh),
                (callee, Action::Refresh),
                (callee, Action::Move),
                (caller, Action::Move),
                (caller, Action::Video),
                (callee, Action::Fax),
                (caller, Action::Voice),
                (caller, Action::Info),
                (callee, Action::Info),
            ] {
                story.then(phone, action);
                story.expect_up(&[caller, callee]);
            }
            story.expect(story.phones[callee].heard["INVITE"] == 7, "six re-INVITEs came");
            story.expect(story.phones[caller].heard["INVITE"] == 5, "five re-INVITEs came");
            story.expect(story.phones[caller].heard["UPDATE"] == 1, "an UPDATE came");
            story.expect(story.phones[caller].heard["INFO"] == 1, "an INFO came");
            story.then(callee, Action::HangUp);
            story.expect_idle();
            story.close();
        }
    }
}

#[test]
fn a_call_on_hold_is_kept() {
    let (mut story, caller, callee) = talk(plain, on_v6);
    story.then(caller, Action::Hold);
    story.pass(1800);
    story.expect_up(&[caller, callee]);
    story.then(caller, Action::Resume);
    story.pass(300);
    story.expect_up(&[caller, callee]);
    story.close();
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    for action in [Action::Move, Action::Hold, Action::Video, Action::Fax, Action::Update, Action::Refresh] {
        let (mut story, caller, callee) = talk(plain, |spec| spec.stubborn = true);
        let before = story.newest(caller).media.local.clone();
        story.then(caller, action);
        story.expect(story.newest(caller).media.local == before, "what was agreed stays");
        story.pass(100);
        story.expect_up(&[caller, callee]);
        story.close();
    }
}

/// Every datagram comes twice: what is heard again changes nothing.
#[test]
fn what_comes_twice_counts_once() {
    for late in [false, true] {
        for stubborn in [false, true] {
            let mut story = Story::new();
            let caller = story.phone_with("101", |spec| spec.late_offer = late);
            let callee = story.phone_with("102", |spec| spec.stubborn = stubborn);
            story.network.weather.twice = 100;
            story.call(caller, "102");
            for action in [Action::Move, Action::Refresh, Action::Video, Action::Hold, Action::Update] {
                story.then(caller, action);
                story.expect_up(&[caller, callee]);
            }
            story.then(callee, Action::HangUp);
            story.expect_idle();
            story.close();
        }
    }
}

#[test]
fn two_changes_at_once_are_both_made_in_the_end() {
    let (mut story, caller, callee) = talk(plain, plain);
    story.act(caller, Action::Hold);
    story.act(callee, Action::Hold);
    story.pass(10);
    story.expect_up(&[caller, callee]);
    let settled = [caller, callee].iter().all(|phone| {
        let phone = &story.phones[*phone];
        phone.calls.iter().all(|call| !phone.is_negotiating(call))
    });
    story.expect(settled, "nothing is pending");
    story.close();
}

#[test]
fn a_call_is_hung_up_while_it_changes() {
    for moment in (0..80).step_by(5) {
        for one in [0, 1] {
            let (mut story, caller, callee) = talk(plain, on_tcp);
            story.act(caller, Action::Hold);
            story.pass_ms(moment);
            story.then([caller, callee][one], Action::HangUp);
            story.pass(40);
            story.expect_idle();
            story.close();
        }
    }
}

#[test]
fn a_call_is_sent_to_a_third() {
    for kind in KINDS {
        for by_caller in [true, false] {
            let (mut story, caller, callee) = talk(plain, kind);
            let third = story.phone_with("103", kind);
            let (sender, sent) = if by_caller { (caller, callee) } else { (callee, caller) };
            story.act(sender, Action::BlindTransfer("103".into()));
            story.pass(4);
            story.expect_up(&[sent, third]);
            let out = story.phones[sender].active_calls().count() == 0;
            story.expect(out, "whoever sent it is out");
            story.close();
        }
    }
}

#[test]
fn a_call_that_cannot_be_sent_on_stays() {
    let (mut story, caller, callee) = talk(plain, plain);
    story.act(caller, Action::BlindTransfer("999".into()));
    story.pass(4);
    story.expect(story.phones[caller].active_calls().any(Call::is_up), "the call stays");
    story.expect(story.phones[callee].active_calls().any(Call::is_up), "the call stays");
    story.close();
}

#[test]
fn two_peers_are_joined() {
    for one in KINDS {
        for other in KINDS {
            let mut story = Story::new();
            let middle = story.phone("101");
            let (first, second) = (story.phone_with("102", one), story.phone_with("103", other));
            story.call(middle, "102");
            story.then(middle, Action::Hold);
            story.call(middle, "103");
            story.expect_up(&[first, second]);
            story.act(middle, Action::AttendedTransfer);
            story.pass(4);
            story.expect_up(&[first, second]);
            let replaced = story.phones[second].calls[0].outcome;
            story.expect(replaced == Some(Outcome::Replaced), "the second call was replaced");
            let out = story.phones[middle].active_calls().count() == 0;
            story.expect(out, "whoever joined them is out");
            story.expect(story.live_calls() == 1, "one call is left");
            story.expect(story.relay.open() == 1, "one relay session is left");
            story.close();
        }
    }
}

//! Calling and being called.

use super::*;
use crate::phone::Outcome;

/// Two phones, 101 and 102.
fn pair() -> (Story, usize, usize) {
    let mut story = Story::new();
    let (caller, callee) = (story.phone("101"), story.phone("102"));
    (story, caller, callee)
}

#[test]
fn a_call_is_answered_and_the_caller_hangs_up() {
    let (mut story, caller, callee) = pair();
    story.call(caller, "102");
    story.expect_up(&[caller, callee]);
    story.expect(story.newest(caller).progress.contains(&180), "it rang");
    story.expect(story.live_calls() == 1 && story.relay.open() == 1, "one call, one session");
    story.then(caller, Action::HangUp);
    story.expect(story.newest(callee).outcome == Some(Outcome::HungUpByPeer), "both are told");
    story.expect_idle();
    story.close();
}

#[test]
fn a_call_is_answered_and_the_callee_hangs_up() {
    let (mut story, caller, callee) = pair();
    story.call(caller, "102");
    story.then(callee, Action::HangUp);
    story.expect(story.newest(caller).outcome == Some(Outcome::HungUpByPeer), "both are told");
    story.expect_idle();
    story.close();
}

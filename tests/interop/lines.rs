//! Scenarios played to the letter by SIPp, message by message.

use crate::kit::Family::V6;
use crate::kit::Transport::Tcp;
use crate::kit::{Denwa, Line, Scene, ports};

/// SIPp knows MD5 alone, and answers no keep-alive while it plays nothing.
const HOUSE: &str = "keep-alive = 0s
ext.101 = correct-horse
ext.101.digest = md5
ext.102 = battery staple
ext.102.digest = md5
ext.103 = 103#secret
ext.103.digest = md5
group.600 = 102 103";

struct House {
    denwa: Denwa,
    kitchen: Line,
    study: Line,
    attic: Line,
    scene: Scene,
}

impl House {
    /// An exchange with three extensions; the study and the attic are registered.
    fn new(settings: &str) -> House {
        let house = House::empty(settings);
        house.study.register(&house.scene, &house.denwa);
        house.attic.register(&house.scene, &house.denwa);
        house
    }

    /// Nobody is registered.
    fn empty(settings: &str) -> House {
        let scene = Scene::new();
        let denwa = Denwa::start(&scene, &format!("{HOUSE}\n{settings}"));
        House {
            denwa,
            kitchen: Line::new("101", "correct-horse"),
            study: Line::new("102", "battery staple"),
            attic: Line::new("103", "103#secret").on(V6),
            scene,
        }
    }

    /// The kitchen calls the study, and both play their part.
    fn call(&self, caller: &str, callee: &str) {
        let callee = self.study.play(callee, &[("CANCEL_SAYS", "CANCEL")]);
        let callee = callee.start(&self.scene, &self.denwa);
        self.kitchen.call("102", caller).start(&self.scene, &self.denwa).succeeds();
        callee.succeeds();
    }

    /// The kitchen calls `number` in vain.
    fn refused(&self, number: &str, status: &str) {
        let words = [("STATUS", status)];
        let call = self.kitchen.call(number, "caller-refused");
        call.with(&words).start(&self.scene, &self.denwa).succeeds();
    }
}

#[test]
#[ignore = "needs SIPp"]
fn a_line_registers_and_leaves() {
    let house = House::empty("");
    let words = [("STATUS", "200"), ("EXPIRES", "0")];
    for line in [&house.kitchen, &house.attic] {
        line.register(&house.scene, &house.denwa);
        line.play("register", &words).start(&house.scene, &house.denwa).succeeds();
    }
    house.refused("103", "480");
}

#[test]
#[ignore = "needs SIPp"]
fn a_wrong_password_does_not_register() {
    let house = House::empty("");
    let thief = Line::new("102", "guessed");
    let words = [("STATUS", "401"), ("EXPIRES", "600")];
    thief.play("register", &words).start(&house.scene, &house.denwa).succeeds();
    house.refused("102", "480");
}

#[test]
#[ignore = "needs SIPp"]
fn a_wrong_password_does_not_call() {
    let mut house = House::new("");
    house.kitchen = Line::new("101", "guessed");
    house.refused("102", "407");
}

#[test]
#[ignore = "needs SIPp"]
fn who_registers_for_moments_is_told_how_long() {
    let house = House::empty("");
    let words = [("STATUS", "423"), ("EXPIRES", "5")];
    house.study.play("register", &words).start(&house.scene, &house.denwa).succeeds();
    let messages = house.scene.read("line-102-register-messages.log");
    assert!(messages.contains("Min-Expires: 60"), "423 without Min-Expires");
}

#[test]
#[ignore = "needs SIPp"]
fn a_call_without_sound_is_ended() {
    let house = House::new("media-timeout = 2s");
    house.call("caller-hung-up", "callee");
    house.denwa.program.expect("101 → 102 ended");
}

#[test]
#[ignore = "needs SIPp"]
fn a_call_that_lasts_too_long_is_ended() {
    let house = House::new("call-limit = 2s");
    house.call("caller-hung-up", "callee");
    house.denwa.program.expect("101 → 102 ended");
}

#[test]
#[ignore = "needs SIPp"]
fn a_call_over_udp() {
    House::new("").call("caller", "callee");
}

#[test]
#[ignore = "needs SIPp"]
fn a_call_from_tcp_on_ipv6() {
    let mut house = House::new("");
    house.kitchen = Line::new("101", "correct-horse").on(V6).over(Tcp);
    house.call("caller", "callee");
}

#[test]
#[ignore = "needs SIPp"]
fn a_hundred_calls() {
    // Enough for all at once, should the machine pause.
    let port = ports::take(402).next_multiple_of(2);
    let house = House::new(&format!("ext.101.max-calls = 100\nmedia-ports = {port}-{}", port + 399));
    let callee = house.study.play("callee", &[]).times(100, 1);
    let callee = callee.start(&house.scene, &house.denwa);
    let caller = house.kitchen.call("102", "caller").times(100, 25);
    caller.start(&house.scene, &house.denwa).succeeds();
    callee.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn the_callee_hangs_up() {
    House::new("").call("caller-hung-up", "callee-hangs-up");
}

#[test]
#[ignore = "needs SIPp"]
fn the_caller_gives_up() {
    House::new("").call("caller-cancels", "callee-cancelled");
}

#[test]
#[ignore = "needs SIPp"]
fn a_reinvite_and_its_answer_pass() {
    House::new("").call("caller-reinvites", "callee-reinvited");
}

#[test]
#[ignore = "needs SIPp"]
fn the_offer_may_come_late() {
    House::new("").call("caller-late-offer", "callee-late-offer");
}

#[test]
#[ignore = "needs SIPp"]
fn reliable_provisional_responses_pass() {
    House::new("").call("caller-pracks", "callee-reliable");
}

#[test]
#[ignore = "needs SIPp"]
fn busy_is_busy() {
    let house = House::new("");
    let busy = house.study.play("callee-busy", &[]).start(&house.scene, &house.denwa);
    house.refused("102", "486");
    busy.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn busy_goes_elsewhere() {
    let house = House::new("ext.102.busy = 103");
    let busy = house.study.play("callee-busy", &[]).start(&house.scene, &house.denwa);
    let attic = house.attic.play("callee", &[]).start(&house.scene, &house.denwa);
    house.kitchen.call("102", "caller").start(&house.scene, &house.denwa).succeeds();
    busy.succeeds();
    attic.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn no_answer_goes_elsewhere() {
    let house = House::new("ext.102.no-answer = 2s 103");
    let rings = house.study.play("callee-cancelled", &[("CANCEL_SAYS", "CANCEL")]);
    let rings = rings.start(&house.scene, &house.denwa);
    let attic = house.attic.play("callee", &[]).start(&house.scene, &house.denwa);
    house.kitchen.call("102", "caller").start(&house.scene, &house.denwa).succeeds();
    rings.succeeds();
    attic.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn offline_goes_elsewhere() {
    let house = House::empty("ext.102.offline = 103");
    house.attic.register(&house.scene, &house.denwa);
    let attic = house.attic.play("callee", &[]).start(&house.scene, &house.denwa);
    house.kitchen.call("102", "caller").start(&house.scene, &house.denwa).succeeds();
    attic.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn of_a_group_one_answers_and_the_other_is_told() {
    let house = House::new("");
    let told = [("CANCEL_SAYS", "Reason: *SIP *; *cause=200")];
    let loser = house.attic.play("callee-cancelled", &told).start(&house.scene, &house.denwa);
    let winner = house.study.play("callee", &[]).start(&house.scene, &house.denwa);
    house.kitchen.call("600", "caller").start(&house.scene, &house.denwa).succeeds();
    winner.succeeds();
    loser.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn two_phones_of_an_extension_both_ring() {
    let house = House::new("");
    let second = Line::new("102", "battery staple").on(V6);
    second.register(&house.scene, &house.denwa);
    let told = [("CANCEL_SAYS", "Reason: *SIP *; *cause=200")];
    let loser = house.study.play("callee-cancelled", &told).start(&house.scene, &house.denwa);
    let winner = second.play("callee", &[]).start(&house.scene, &house.denwa);
    house.kitchen.call("102", "caller").start(&house.scene, &house.denwa).succeeds();
    winner.succeeds();
    loser.succeeds();
}

#[test]
#[ignore = "needs SIPp"]
fn numbers_that_nobody_has_or_answers() {
    let house = House::empty("");
    house.refused("999", "404");
    house.refused("102", "480");
    house.refused("600", "480");
}

#[test]
#[ignore = "needs SIPp"]
fn when_the_media_ports_are_used_up_a_call_is_refused() {
    let port = ports::take(6) & !1;
    let house = House::new(&format!("media-ports = {port}-{}", port + 3));
    let callee = house.study.play("callee", &[]).start(&house.scene, &house.denwa);
    let caller = house.kitchen.call("102", "caller").with(&[("TALK", "1500")]);
    let caller = caller.start(&house.scene, &house.denwa);
    house.denwa.program.expect("answered");

    let refused = house.attic.call("102", "caller-refused").with(&[("STATUS", "503")]);
    refused.start(&house.scene, &house.denwa).succeeds();
    let messages = house.scene.read("line-103-caller-refused-messages.log");
    assert!(messages.contains("Retry-After:"), "503 without Retry-After");
    caller.succeeds();
    callee.succeeds();
}

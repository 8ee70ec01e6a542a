//! People who talk go on talking, whatever becomes of the exchange.

use crate::kit::Family::{V4, V6};
use crate::kit::Transport::{Tcp, Tls, Udp};
use crate::kit::{Baresip, Denwa, Phone, Scene, wait_until};

/// baresip stops at a challenge that offers SHA-256, so its extensions are sent MD5 alone.
const HOUSE: &str = "ext.101 = correct-horse
ext.101.digest = md5
ext.102 = battery staple
ext.102.digest = md5
echo = 114";

fn kitchen() -> Baresip<'static> {
    Baresip::new("101", "correct-horse").tone(440.0)
}

fn study() -> Baresip<'static> {
    Baresip::new("102", "battery staple").tone(1000.0)
}

/// Each hears the other, by what is said from now on.
fn hear_each_other(one: &Phone, other: &Phone) {
    one.hears(other);
    other.hears(one);
}

fn talk(caller: &mut Phone, callee: &mut Phone) {
    caller.dial("102");
    callee.answer();
    caller.talks();
    callee.talks();
    hear_each_other(caller, callee);
}

#[test]
#[ignore = "needs baresip"]
fn after_kill_9_they_go_on_talking_and_hang_up() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut kitchen = kitchen().on(V4).register(&scene, &denwa);
    let mut study = study().on(V6).register(&scene, &denwa);
    talk(&mut kitchen, &mut study);
    for _ in 0..2 {
        denwa.crash();
        hear_each_other(&kitchen, &study);
    }
    study.hang_up();
    kitchen.is_hung_up();
    denwa.program.expect("101 → 102 ended");
}

#[test]
#[ignore = "needs baresip"]
fn a_hold_after_kill_9_is_one() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut kitchen = kitchen().register(&scene, &denwa);
    let mut study = study().register(&scene, &denwa);
    talk(&mut kitchen, &mut study);
    denwa.crash();
    kitchen.show_rates();
    study.show_rates();
    wait_until("sound flows", || kitchen.sends_and_receives() == (true, true));
    kitchen.program.say("/hold");
    study.program.expect("got re-INVITE");
    wait_until("silence", || kitchen.sends_and_receives() == (false, false));
    kitchen.program.say("/resume");
    wait_until("sound flows again", || kitchen.sends_and_receives() == (true, true));
    kitchen.hang_up();
    study.is_hung_up();
}

/// Its connection ends with the process, and it opens another one.
#[test]
#[ignore = "needs baresip"]
fn after_kill_9_whoever_speaks_tls_talks_on() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, &format!("{HOUSE}\nlisten.tls = tls:PORT"));
    let mut kitchen = kitchen().over(Tls).register(&scene, &denwa);
    let mut study = study().on(V6).register(&scene, &denwa);
    talk(&mut kitchen, &mut study);
    denwa.crash();
    hear_each_other(&kitchen, &study);
    kitchen.hang_up();
    study.is_hung_up();
    denwa.program.expect("101 → 102 ended");
}

#[test]
#[ignore = "needs baresip"]
fn an_upgrade_is_not_noticed() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut kitchen = kitchen().over(Udp).register(&scene, &denwa);
    let mut study = study().over(Tcp).register(&scene, &denwa);
    talk(&mut kitchen, &mut study);
    let before = denwa.exchange();
    denwa.command(&scene, &["upgrade"]);
    assert_ne!(denwa.exchange(), before);
    hear_each_other(&kitchen, &study);
    kitchen.hang_up();
    study.is_hung_up();
    denwa.program.expect("101 → 102 ended");
}

#[test]
#[ignore = "needs baresip"]
fn the_operator_sees_and_ends_a_call() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut kitchen = kitchen().register(&scene, &denwa);
    let mut study = study().register(&scene, &denwa);
    talk(&mut kitchen, &mut study);
    let calls = denwa.command(&scene, &["calls"]);
    assert!(calls.contains("101") && calls.contains("102") && calls.contains("PCM"), "{calls}");
    denwa.command(&scene, &["hangup", "101"]);
    kitchen.is_hung_up();
    study.is_hung_up();
}

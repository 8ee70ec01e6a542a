//! linphone, which is careful where baresip is simple: it offers a dozen codecs, GRUU, ICE.

use crate::kit::Family::{self, V4, V6};
use crate::kit::Transport::{self, Tcp, Udp};
use crate::kit::{Baresip, Denwa, Linphone, Scene};

const HOUSE: &str = "ext.101 = correct-horse
ext.102 = battery staple
ext.102.digest = md5";

/// linphone calls baresip, each hears the other, linphone hangs up.
fn linphone_calls(family: Family, transport: Transport) {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut kitchen =
        Linphone::new("101", "correct-horse").on(family).over(transport).register(&scene, &denwa);
    let mut study = Baresip::new("102", "battery staple").tone(1000.0).register(&scene, &denwa);

    kitchen.dial("102");
    study.answer();
    kitchen.talks();
    study.hears_tone(kitchen.tone);
    kitchen.hears_tone(study.tone);
    kitchen.hang_up();
    study.is_hung_up();
    assert!(scene.read("linphone-101-messages.log").contains("algorithm=SHA-256"));
}

#[test]
#[ignore = "needs linphone and baresip"]
fn linphone_calls_over_udp() {
    linphone_calls(V4, Udp);
}

#[test]
#[ignore = "needs linphone and baresip"]
fn linphone_calls_over_tcp_on_ipv6() {
    linphone_calls(V6, Tcp);
}

#[test]
#[ignore = "needs linphone and baresip"]
fn baresip_calls_linphone() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut kitchen = Linphone::new("101", "correct-horse").register(&scene, &denwa);
    let mut study = Baresip::new("102", "battery staple").on(V6).register(&scene, &denwa);

    study.dial("101");
    kitchen.answer();
    study.talks();
    study.hears_tone(kitchen.tone);
    kitchen.hears_tone(study.tone);
    study.hang_up();
    kitchen.is_hung_up();
}

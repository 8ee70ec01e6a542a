//! Exchange to exchange through a proxy: a Kamailio that lets pass only what is as it should be.

use crate::kit::Family::V4;
use crate::kit::Transport::Udp;
use crate::kit::{Baresip, Denwa, Kamailio, Phone, Scene, ports, wait_until};

/// Two exchanges that know each other, and can be reached only through a proxy, by UDP on one side of it and by TCP on
/// the other.
struct Between {
    kyoto: Denwa,
    tokyo: Denwa,
    proxy: Kamailio,
    scenes: [Scene; 2],
}

impl Between {
    /// `asks`: whether the proxy wants a password. `kyoto`, `tokyo`: more settings.
    fn start(asks: bool, kyoto: &str, tokyo: &str) -> Between {
        let scenes = ["-kyoto", "-tokyo"].map(Scene::called);
        let [at_kyoto, at_tokyo] = [ports::take(1), ports::take(1)];
        let words = [
            ("KYOTO", &*at_kyoto.to_string()),
            ("TOKYO", &*at_tokyo.to_string()),
            ("ASKS", if asks { "yes" } else { "no" }),
        ];
        let proxy = Kamailio::start(&scenes[0], &words);
        let tokyo = format!(
            "ext.201 = battery-staple\next.201.digest = md5\n\
             peer.kyoto = sip:[::1]:{};transport=tcp\npeer.kyoto.prefix = 8075\n{tokyo}",
            proxy.right
        );
        let kyoto = format!(
            "ext.101 = correct-horse\next.101.digest = md5\n\
             peer.tokyo = sip:[::1]:{}\npeer.tokyo.prefix = 8023\n{kyoto}",
            proxy.left
        );
        let tokyo = Denwa::start_at(&scenes[1], at_tokyo, &tokyo);
        let kyoto = Denwa::start_at(&scenes[0], at_kyoto, &kyoto);
        kyoto.program.expect("peer.tokyo answers at");
        tokyo.program.expect("peer.kyoto answers at");
        Between { kyoto, tokyo, proxy, scenes }
    }

    fn phones(&self) -> (Phone, Phone) {
        let kitchen = Baresip::new("101", "correct-horse").tone(440.0).on(V4).over(Udp);
        let study = Baresip::new("201", "battery-staple").tone(1000.0).on(V4).over(Udp);
        (kitchen.register(&self.scenes[0], &self.kyoto), study.register(&self.scenes[1], &self.tokyo))
    }
}

const PASSWORD: &str = "peer.X.user = kyoto-tokyo\npeer.X.password = a-long-shared-secret";

fn talk(caller: &mut Phone, callee: &mut Phone, number: &str) {
    caller.dial(number);
    callee.answer();
    caller.talks();
    callee.talks();
    caller.hears(callee);
    callee.hears(caller);
}

/// It puts the other on hold and comes back. It shows its rates.
fn hold(phone: &mut Phone) {
    wait_until("sound flows", || phone.sends_and_receives() == (true, true));
    phone.program.say("/hold");
    wait_until("silence", || phone.sends_and_receives() == (false, false));
    phone.program.say("/resume");
    wait_until("sound flows again", || phone.sends_and_receives() == (true, true));
}

#[test]
#[ignore = "needs baresip and Kamailio"]
fn exchanges_meet_behind_a_strict_proxy() {
    let between = Between::start(false, &PASSWORD.replace('X', "tokyo"), &PASSWORD.replace('X', "kyoto"));
    let (mut kitchen, mut study) = between.phones();

    talk(&mut kitchen, &mut study, "8023201");
    kitchen.show_rates();
    study.show_rates();
    hold(&mut kitchen);
    hold(&mut study);
    study.hang_up();
    kitchen.is_hung_up();
    between.kyoto.program.expect("101 → 8023201 ended");

    talk(&mut study, &mut kitchen, "8075101");
    hold(&mut kitchen);
    study.hang_up();
    kitchen.is_hung_up();
    between.tokyo.program.expect("201 → 8075101 ended");

    talk(&mut study, &mut kitchen, "8075101");
    kitchen.hang_up();
    study.is_hung_up();
    between.tokyo.program.expect("201 → 8075101 ended");
    between.proxy.liked_everything();
}

#[test]
#[ignore = "needs baresip and Kamailio"]
fn calls_that_fail_do_so_behind_a_strict_proxy_too() {
    let between = Between::start(false, &PASSWORD.replace('X', "tokyo"), &PASSWORD.replace('X', "kyoto"));
    let (mut kitchen, mut study) = between.phones();
    let mut pair = [(&mut kitchen, "8023201", "8023999"), (&mut study, "8075101", "8075999")];
    for at in [0, 1] {
        if at == 1 {
            pair.swap(0, 1);
        }
        let [(caller, number, nobody), (callee, ..)] = &mut pair;
        // The caller gives up.
        caller.dial(number);
        callee.program.expect("Incoming call from");
        caller.program.expect("180 Ringing");
        caller.hang_up();
        callee.program.expect("CANCEL sip:");
        callee.program.expect("session closed");

        // The callee declines.
        caller.dial(number);
        callee.program.expect("Incoming call from");
        callee.hang_up();
        caller.program.expect("session closed: 486");

        caller.dial(nobody);
        caller.program.expect("session closed: 404");
    }
    between.proxy.liked_everything();
}

/// RFC 3261 §22.3: the proxy asks for a password, and so does the exchange behind it, each in its own name.
#[test]
#[ignore = "needs baresip and Kamailio"]
fn a_proxy_may_ask_for_a_password_too() {
    for also_tokyo in [false, true] {
        let secret = PASSWORD.replace('X', "tokyo");
        let tokyo = if also_tokyo { PASSWORD.replace('X', "kyoto") } else { String::new() };
        let between = Between::start(true, &secret, &tokyo);
        let (mut kitchen, mut study) = between.phones();
        talk(&mut kitchen, &mut study, "8023201");
        kitchen.hang_up();
        study.is_hung_up();
        between.kyoto.program.expect("101 → 8023201 ended");
        between.proxy.liked_everything();
    }
}

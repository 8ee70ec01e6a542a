//! Exchange to exchange: two of ours, joined by a few lines on each side.

use crate::kit::Family::{V4, V6};
use crate::kit::Transport::Udp;
use crate::kit::{Baresip, Denwa, Family, Machine, Phone, Scene, in_uri, ports};

/// Two exchanges that know each other, each in a scene of its own.
struct Pair {
    kyoto: Denwa,
    tokyo: Denwa,
    scenes: [Scene; 2],
}

impl Pair {
    /// `transport` is what stands behind the hosts in the URIs.
    fn start(family: Family, transport: &str, kyoto: &str, tokyo: &str) -> Pair {
        let scenes = ["-kyoto", "-tokyo"].map(Scene::called);
        let [at_kyoto, at_tokyo] = [ports::take(1), ports::take(1)];
        let host = in_uri(family.loopback());
        let kyoto = format!(
            "ext.101 = correct-horse\next.101.digest = md5\next.101.name = Kitchen\n\
             peer.tokyo = sip:{host}:{at_tokyo}{transport}\npeer.tokyo.prefix = 8023\n{kyoto}"
        );
        let tokyo = format!(
            "ext.201 = battery-staple\next.201.digest = md5\n\
             peer.kyoto = sip:{host}:{at_kyoto}{transport}\npeer.kyoto.prefix = 8075\n{tokyo}"
        );
        let tokyo = Denwa::start_at(&scenes[1], at_tokyo, &tokyo);
        let kyoto = Denwa::start_at(&scenes[0], at_kyoto, &kyoto);
        kyoto.program.expect("peer.tokyo answers at");
        Pair { kyoto, tokyo, scenes }
    }

    fn phones(&self, a: Family, b: Family) -> (Phone, Phone) {
        let kitchen = Baresip::new("101", "correct-horse").tone(440.0).on(a).over(Udp);
        let study = Baresip::new("201", "battery-staple").tone(1000.0).on(b).over(Udp);
        (kitchen.register(&self.scenes[0], &self.kyoto), study.register(&self.scenes[1], &self.tokyo))
    }
}

const SHARED: &str = "peer.tokyo.user = kyoto-tokyo\npeer.tokyo.password = a-long-shared-secret";

fn shared() -> String {
    SHARED.replace("tokyo.", "kyoto.")
}

#[test]
#[ignore = "needs baresip"]
fn friends_call_each_other_by_prefix() {
    for (link, transport, phones) in [
        (V6, "", (V4, V4)),
        (V4, "", (V6, V4)),
        (V6, ";transport=tcp", (V4, V6)),
        (V4, ";transport=tcp", (V4, V4)),
    ] {
        let pair = Pair::start(link, transport, SHARED, &shared());
        let (mut kitchen, mut study) = pair.phones(phones.0, phones.1);
        kitchen.dial("8023201");
        study.answer();
        kitchen.talks();
        study.talks();
        kitchen.hears(&study);
        study.hears(&kitchen);
        let invite = study.last_received("INVITE");
        assert!(invite.contains("<sip:8075101@"), "the caller can be called back: {invite}");
        study.hang_up();
        kitchen.is_hung_up();
        pair.kyoto.program.expect("101 → 8023201 ended");

        // And back, by the number that was shown.
        study.dial("8075101");
        kitchen.answer();
        study.talks();
        kitchen.hears(&study);
        study.hang_up();
        kitchen.is_hung_up();
    }
}

/// The fingerprint of an exchange's certificate, as it shows it to its owner for the friend.
fn pin_of(denwa: &Denwa, scene: &Scene, friend: &str) -> String {
    let shown = denwa.command(scene, &["peer", "show", friend]);
    let pin = shown.split("peer.NAME.pin = ").nth(1).and_then(|rest| rest.lines().next());
    pin.unwrap_or_else(|| panic!("{shown}")).to_owned()
}

fn one_calls_the_other(caller: &mut Phone, callee: &mut Phone, number: &str) {
    caller.dial(number);
    callee.answer();
    caller.talks();
    caller.hears(callee);
    callee.hears(caller);
    callee.hang_up();
    caller.is_hung_up();
}

/// Two exchanges without a password, each of which knows the other by its certificate.
#[test]
#[ignore = "needs baresip"]
fn a_friend_is_known_by_its_certificate() {
    let scenes = ["-kyoto", "-tokyo"].map(Scene::called);
    let [at_kyoto, at_tokyo, tls_kyoto, tls_tokyo] = [(); 4].map(|()| ports::take(1));
    let nobody = "ab".repeat(32);
    let kyoto = |pin: &str| {
        format!(
            "listen = udp:{at_kyoto} tls:{tls_kyoto}\next.101 = correct-horse\next.101.digest = md5\n\
             peer.tokyo = sip:[::1]:{tls_tokyo};transport=tls\npeer.tokyo.prefix = 8023\npeer.tokyo.pin = {pin}\n"
        )
    };
    let tokyo = |pin: &str| {
        format!(
            "listen = udp:{at_tokyo} tls:{tls_tokyo}\next.201 = battery-staple\next.201.digest = md5\n\
             peer.kyoto = sip:[::1]:{tls_kyoto};transport=tls\npeer.kyoto.prefix = 8075\npeer.kyoto.pin = {pin}\n"
        )
    };
    // Whoever is there is not who it should be: nobody is called.
    let pins = {
        let denwa = Denwa::start_at(&scenes[1], at_tokyo, &tokyo(&nobody));
        let pin_tokyo = pin_of(&denwa, &scenes[1], "kyoto");
        let other = Denwa::start_at(&scenes[0], at_kyoto, &kyoto(&nobody));
        other.program.expect("peer.tokyo cannot be reached at");
        [pin_of(&other, &scenes[0], "tokyo"), pin_tokyo]
    };
    let tokyo = Denwa::start_at(&scenes[1], at_tokyo, &tokyo(&pins[0]));
    let kyoto = Denwa::start_at(&scenes[0], at_kyoto, &kyoto(&pins[1]));
    kyoto.program.expect("peer.tokyo answers at");
    tokyo.program.expect("peer.kyoto answers at");
    let pair = Pair { kyoto, tokyo, scenes };
    let (mut kitchen, mut study) = pair.phones(V4, V6);
    for number in ["8023201", "8075101"] {
        one_calls_the_other(&mut kitchen, &mut study, number);
        std::mem::swap(&mut kitchen, &mut study);
    }
    pair.kyoto.program.expect("101 → 8023201 ended");
}

/// Whether the other end of an IPv6 link can be reached: while it is cut, packets go to a card that nobody has.
fn link(machine: &Machine, other: &str, is_whole: bool) {
    let mut words = vec!["-6", "neigh", if is_whole { "del" } else { "replace" }, other, "dev", "eth0"];
    if !is_whole {
        words.extend(["lladdr", "02:00:00:00:00:ff", "nud", "permanent"]);
    }
    assert!(machine.command("ip").args(words).status().unwrap().success());
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn a_call_goes_on_when_the_link_between_exchanges_was_cut() {
    let scenes = ["-kyoto", "-tokyo"].map(Scene::called);
    let machines = [Machine::new(), Machine::new()];
    machines[0].cable("eth0", &machines[1], "eth0", 1500);
    for (machine, address) in machines.iter().zip(["2001:db8::1", "2001:db8::2"]) {
        machine.address("eth0", &format!("{address}/64"));
    }
    let kyoto = "ext.101 = correct-horse\next.101.digest = md5\nlisten = udp:5060\n\
        peer.tokyo = sip:[2001:db8::2]\npeer.tokyo.prefix = 8023\n";
    let tokyo = "ext.201 = battery-staple\next.201.digest = md5\nlisten = udp:5060\n\
        peer.kyoto = sip:[2001:db8::1]\npeer.kyoto.prefix = 8075\n";
    let tokyo = Denwa::start_on(&machines[1], &scenes[1], &format!("{tokyo}{}", shared()));
    let kyoto = Denwa::start_on(&machines[0], &scenes[0], &format!("{kyoto}{SHARED}"));
    kyoto.program.expect("peer.tokyo answers at [2001:db8::2]:5060");
    let (kyoto, tokyo) = (Denwa { port: 5060, ..kyoto }, Denwa { port: 5060, ..tokyo });
    let at = |address: &str| address.parse().unwrap();
    let kitchen = Baresip::new("101", "correct-horse").tone(440.0).over(Udp);
    let study = Baresip::new("201", "battery-staple").tone(1000.0).over(Udp);
    // The phones are in the house of their exchange, and know IPv4 alone.
    let mut kitchen = kitchen.at(&machines[0], at("127.0.0.1"), at("127.0.0.1")).register(&scenes[0], &kyoto);
    let mut study = study.at(&machines[1], at("127.0.0.1"), at("127.0.0.1")).register(&scenes[1], &tokyo);

    kitchen.dial("8023201");
    study.answer();
    kitchen.hears(&study);
    study.hears(&kitchen);
    link(&machines[0], "2001:db8::2", false);
    std::thread::sleep(std::time::Duration::from_secs(6));
    link(&machines[0], "2001:db8::2", true);
    kitchen.new_recording();
    study.new_recording();
    kitchen.hears(&study);
    study.hears(&kitchen);

    // What is said while it is cut is said again: both hang up.
    link(&machines[0], "2001:db8::2", false);
    kitchen.hang_up();
    std::thread::sleep(std::time::Duration::from_secs(3));
    link(&machines[0], "2001:db8::2", true);
    study.is_hung_up();
}

//! Exchange to exchange: two of ours, joined by a few lines on each side.

use crate::kit::Family::{V4, V6};
use crate::kit::Transport::{Tcp, Tls, Udp};
use crate::kit::{Baresip, Denwa, Family, Machine, Phone, Scene, in_uri, ports, wait_until};

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
        let kitchen = Baresip::new("101", "correct-horse").tone(440.0).on(a).over(Tcp);
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

/// Those between exchanges on connections, of which one is killed: they go on, and what rang ends.
#[test]
#[ignore = "needs baresip"]
fn calls_by_tcp_outlive_an_exchange() {
    let pair = Pair::start(V6, ";transport=tcp", SHARED, &shared());
    let (mut kitchen, mut study) = pair.phones(V4, V4);
    for hangs_up in ["caller", "callee"] {
        kitchen.dial("8023201");
        study.answer();
        kitchen.talks();
        study.talks();
        pair.tokyo.crash();
        kitchen.hears(&study);
        study.hears(&kitchen);
        pair.tokyo.program.expect("peer.kyoto answers at");
        let (first, second) = match hangs_up {
            "caller" => (&mut kitchen, &mut study),
            _ => (&mut study, &mut kitchen),
        };
        first.hang_up();
        second.is_hung_up();
        pair.kyoto.program.expect("101 → 8023201 ended");
    }
    kitchen.dial("8023201");
    study.program.expect("Incoming call from");
    pair.tokyo.crash();
    let status = kitchen.program.expect("session closed: ");
    assert!(status.starts_with('5'), "{status}");
}

/// Each of so many exchanges routes a number on to the next, behind the 0 by which that does the same.
fn a_ring(of: usize) {
    let places: Vec<u16> = (0..of).map(|_| ports::take(1)).collect();
    let scenes: Vec<Scene> = (0..of).map(|at| Scene::called(&format!("-{of}-{at}"))).collect();
    let house = |at: usize| {
        let (next, before) = (places[(at + 1) % of], places[(at + of - 1) % of]);
        let from = if next == before { "next" } else { "before" };
        let before =
            if from == "next" { String::new() } else { format!("peer.before = sip:[::1]:{before}\n") };
        let settings = format!(
            "ext.101 = correct-horse\next.101.digest = md5\npeer.next = sip:[::1]:{next}\npeer.next.prefix = 9\n\
             peer.next.strip = 0\npeer.next.add = 0\n{before}peer.{from}.hop = yes\n"
        );
        Denwa::start_at(&scenes[at], places[at], &settings)
    };
    let houses: Vec<Denwa> = (0..of).map(house).collect();
    for (denwa, scene) in houses.iter().zip(&scenes) {
        wait_until("the next one answers", || {
            denwa.command(scene, &["peer", "show", "next"]).contains(" ms")
        });
    }
    let mut phone = Baresip::new("101", "correct-horse").register(&scenes[0], &houses[0]);
    phone.dial("9555");
    let status = phone.program.expect("session closed: ");
    assert!(status.starts_with(['4', '5']), "{status}");
    for (denwa, scene) in houses.iter().zip(&scenes) {
        assert!(denwa.program.output().contains("INVITE sip:0"), "it never got that far");
        wait_until("nothing is left", || denwa.command(scene, &["calls"]).starts_with("no calls"));
        let show = denwa.command(scene, &["peer", "show", "next"]);
        assert!(show.contains(" 0 of 10"), "{show}");
    }
}

#[test]
#[ignore = "needs baresip"]
fn a_call_that_goes_round_between_two_or_three_comes_to_an_end() {
    a_ring(2);
    a_ring(3);
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

#[test]
#[ignore = "needs baresip"]
fn a_friend_is_given_over_and_taken_back() {
    let tokyo = format!("{}\next.202 = red-sky-tonight\next.202.digest = md5", shared());
    let pair = Pair::start(V6, "", SHARED, &tokyo);
    let (mut kitchen, mut study) = pair.phones(V4, V6);
    let attic = Baresip::new("202", "red-sky-tonight").tone(2000.0).on(V4).over(Udp);
    let mut attic = attic.register(&pair.scenes[1], &pair.tokyo);
    kitchen.dial("8023201");
    study.answer();
    study.talks();
    kitchen.hears(&study);
    study.program.say("/transfer sip:202@denwa.test");
    attic.answer();
    attic.talks();
    pair.tokyo.program.expect("→ 202 answered");
    kitchen.new_recording();
    kitchen.hears(&attic);
    attic.hears(&kitchen);
    // On hold, and back, as in any call.
    attic.show_rates();
    wait_until("sound flows", || attic.sends_and_receives() == (true, true));
    attic.program.say("/hold");
    wait_until("silence from here", || !attic.sends_and_receives().0);
    attic.program.say("/resume");
    wait_until("sound flows again", || attic.sends_and_receives() == (true, true));

    attic.program.say("/transfer sip:201@denwa.test");
    study.answer();
    pair.tokyo.program.expect("→ 201 answered");
    study.new_recording();
    study.hears(&kitchen);
    // It gets the sound, but does not play what begins at 0 when it has played for 20 s (baresip 1.0).
    kitchen.show_rates();
    wait_until("sound flows on", || kitchen.sends_and_receives() == (true, true));
    study.hang_up();
    kitchen.is_hung_up();
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
            "listen = udp:{at_kyoto} tcp:{at_kyoto} tls:{tls_kyoto}\next.101 = correct-horse\next.101.digest = md5\n\
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

/// By what two exchanges may speak with each other: what their phones dial for it, the family, and what stands in the
/// URI behind the port.
const WIRES: [(&str, Family, &str); 6] = [
    ("81", V4, ""),
    ("82", V6, ""),
    ("83", V4, ";transport=tcp"),
    ("84", V6, ";transport=tcp"),
    ("85", V4, ";transport=tls"),
    ("86", V6, ";transport=tls"),
];

/// The peers that the exchange at one end of all wires has at the other, which is at these ports and has this
/// certificate. Each wire has a password of its own.
fn wires_to(port: u16, tls: u16, pin: &str) -> String {
    let peer = |(prefix, family, transport): &(&str, Family, &str)| {
        let host = in_uri(family.loopback());
        let by_tls = transport.ends_with("tls");
        let port = if by_tls { tls } else { port };
        let pin = if by_tls { format!("peer.w{prefix}.pin = {pin}\n") } else { String::new() };
        format!(
            "peer.w{prefix} = sip:{host}:{port}{transport}\npeer.w{prefix}.prefix = {prefix}\n\
             peer.w{prefix}.user = wire-{prefix}\npeer.w{prefix}.password = a-long-secret-of-{prefix}\n{pin}"
        )
    };
    WIRES.iter().map(peer).collect()
}

/// Two exchanges that know each other by all wires, and in each of their houses a phone of each family.
fn wired() -> ([Scene; 2], [Denwa; 2]) {
    let scenes = ["-kyoto", "-tokyo"].map(Scene::called);
    let settings = "listen.tls = tls:PORT\next.104 = correct-horse\next.104.digest = md5\n\
        ext.106 = battery-staple\next.106.digest = md5\n";
    let houses = [0, 1].map(|n: usize| Denwa::start(&scenes[n], settings));
    for (here, there) in [(0, 1), (1, 0)] {
        let pin = houses[there].fingerprint(&scenes[there]);
        houses[here].add(&scenes[here], &wires_to(houses[there].port, houses[there].tls, &pin));
    }
    for (house, (prefix, ..)) in houses.iter().flat_map(|house| WIRES.map(|wire| (house, wire))) {
        wait_until(&format!("wire {prefix} stands"), || {
            house.program.output().contains(&format!("peer.w{prefix} answers at"))
        });
    }
    (scenes, houses)
}

/// One calls the other by a wire, each hears the other, and the callee is shown by what it can call back.
fn talk_by(wire: &str, number: &str, phones: &mut [Phone; 2]) {
    let [caller, callee] = phones;
    caller.dial(&format!("{wire}{number}"));
    callee.answer();
    caller.talks();
    callee.talks();
    caller.hears(callee);
    callee.hears(caller);
    let invite = callee.last_received("INVITE");
    assert!(invite.contains(&format!("<sip:{wire}{number}@")), "it came by another wire: {invite}");
    callee.hang_up();
    caller.is_hung_up();
}

#[test]
#[ignore = "needs baresip"]
fn any_family_meets_any_family_by_any_transport() {
    let (scenes, houses) = wired();
    let mut failed = Vec::new();
    for (family, number, password) in [(V4, "104", "correct-horse"), (V6, "106", "battery-staple")] {
        let phone = |house: usize, tone| {
            let phone = Baresip::new(number, password).on(family).over(Udp).tone(tone);
            phone.register(&scenes[house], &houses[house])
        };
        let mut phones = [phone(0, 440.0), phone(1, 1000.0)];
        for (prefix, peer, transport) in WIRES {
            let call = || talk_by(prefix, number, &mut phones);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
            if result.is_err() {
                failed.push(format!("phones {family:?}, friends {peer:?}{transport}"));
                phones.iter_mut().for_each(Phone::hang_up);
            }
            // The next call goes the other way.
            phones.reverse();
        }
    }
    assert!(failed.is_empty(), "of 12: {failed:#?}");
}

/// From phone to phone, through two exchanges, nothing can be read on the way, and the keys arrive to the letter.
#[test]
#[ignore = "needs baresip"]
fn encrypted_sound_passes_between_exchanges_by_tls() {
    let (scenes, houses) = wired();
    let phone = |house: usize, tone| {
        let phone = Baresip::new("104", "correct-horse").over(Tls).tone(tone);
        let phone = phone.modules(&["g711", "srtp"]).wishes(";mediaenc=srtp-mand");
        phone.register(&scenes[house], &houses[house])
    };
    let mut phones = [phone(0, 440.0), phone(1, 1000.0)];
    for wire in ["86", "85"] {
        talk_by(wire, "104", &mut phones);
        let invite = phones[1].last_received("INVITE");
        let keys = invite.lines().find(|line| line.starts_with("a=crypto")).unwrap();
        assert!(invite.contains(" RTP/SAVP ") && invite.contains("SIP/2.0/TLS"), "{invite}");
        assert!(phones[0].program.output().contains(keys), "{keys}");
        phones.reverse();
    }
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
    machines[0].link("eth0", "2001:db8::2", false);
    std::thread::sleep(std::time::Duration::from_secs(6));
    machines[0].link("eth0", "2001:db8::2", true);
    kitchen.new_recording();
    study.new_recording();
    kitchen.hears(&study);
    study.hears(&kitchen);

    // What is said while it is cut is said again: both hang up.
    machines[0].link("eth0", "2001:db8::2", false);
    kitchen.hang_up();
    std::thread::sleep(std::time::Duration::from_secs(3));
    machines[0].link("eth0", "2001:db8::2", true);
    study.is_hung_up();
}

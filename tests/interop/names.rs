//! Friends and providers that are found by name, by a real name server.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::kit::{
    Baresip, Denwa, Machine, Nameless, Names, Phone, Provider, Scene, binary, ports, wait_until,
};

const KITCHEN: &str = "ext.101 = correct-horse\next.101.digest = md5\n";

fn kitchen(scene: &Scene, denwa: &Denwa) -> Phone {
    Baresip::new("101", "correct-horse").tone(440.0).register(scene, denwa)
}

/// A host's record for dnsmasq.
fn host(name: &str, addresses: &[&str]) -> String {
    format!("--host-record={name},{}", addresses.join(","))
}

/// Waits until an exchange says this. What it knows of a name holds for 30 s at least.
fn says_in_time(denwa: &Denwa, text: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while !denwa.program.output().contains(text) {
        assert!(Instant::now() < until, "it never says {text}");
        sleep(Duration::from_millis(100));
    }
}

/// Two exchanges on machines of their own: Kyoto knows Tokyo as `tokyo.test`, Tokyo knows Kyoto by its address, and calls
/// from 192.0.2.2.
struct Pair {
    kyoto: Denwa,
    tokyo: Denwa,
    kitchen: Phone,
    study: Phone,
    machines: [Machine; 2],
    scenes: [Scene; 2],
}

impl Pair {
    /// `records` are what is known of names in Kyoto; nothing is if there are none.
    fn start(records: &[String]) -> (Pair, Option<Names>) {
        let scenes = ["-kyoto", "-tokyo"].map(Scene::called);
        let machines = [Machine::new(), Machine::new()];
        machines[0].cable("eth0", &machines[1], "eth0", 1500);
        machines[0].address("eth0", "192.0.2.1/24");
        machines[0].address("eth0", "2001:db8::1/64");
        machines[1].address("eth0", "192.0.2.2/24");
        machines[1].address("eth0", "192.0.2.3/24");
        machines[1].address("eth0", "2001:db8::2/64");
        let names = (!records.is_empty()).then(|| Names::start_on(&machines[0], &scenes[0], records));
        let house = |at: usize, settings: &str| {
            let settings = format!("listen = udp:5060\n{settings}");
            Denwa { port: 5060, ..Denwa::start_on(&machines[at], &scenes[at], &settings) }
        };
        let tokyo = house(
            1,
            "ext.201 = battery-staple\next.201.digest = md5\npeer.kyoto = sip:192.0.2.1\npeer.kyoto.prefix = 8075\n\
             peer.kyoto.allow = 192.0.2.1 2001:db8::1\n",
        );
        let kyoto =
            house(0, &format!("{KITCHEN}peer.tokyo = sip:tokyo.test:5060\npeer.tokyo.prefix = 8023\n"));
        let here = "127.0.0.1".parse().unwrap();
        let kitchen = Baresip::new("101", "correct-horse").tone(440.0).at(&machines[0], here, here);
        let kitchen = kitchen.register(&scenes[0], &kyoto);
        let study = Baresip::new("201", "battery-staple").tone(1000.0).at(&machines[1], here, here);
        let study = study.register(&scenes[1], &tokyo);
        (Pair { kyoto, tokyo, kitchen, study, machines, scenes }, names)
    }

    /// Kyoto calls Tokyo, and they talk; how long it took until it rang.
    fn call(&mut self) -> Duration {
        let Pair { kyoto, kitchen, study, .. } = self;
        kitchen.new_recording();
        let dialled = Instant::now();
        kitchen.program.say("/dial 8023201");
        study.program.expect("Incoming call from");
        let rang = dialled.elapsed();
        study.new_recording();
        study.program.say("/accept");
        kitchen.talks();
        study.talks();
        kitchen.hears(study);
        study.hears(kitchen);
        kitchen.hang_up();
        study.is_hung_up();
        kyoto.program.expect("101 → 8023201 ended");
        rang
    }
}

/// By its name it has two addresses; that of IPv6 dies after it was heard there.
#[test]
#[ignore = "needs baresip, dnsmasq and network namespaces"]
fn a_friend_whose_ipv6_is_dead_rings_soon() {
    if !Names::are_here() {
        return;
    }
    let (mut pair, _names) = Pair::start(&[host("tokyo.test", &["192.0.2.2", "2001:db8::2"])]);
    let invites = |pair: &Pair, to: &str| {
        let to = format!("to {to}:5060 (udp): INVITE");
        pair.kyoto.program.output().matches(&to).count()
    };
    // The one that answers first may be either.
    says_in_time(&pair.kyoto, "from [2001:db8::2]:5060 (udp): SIP/2.0 200 OK");
    pair.call();
    assert_eq!((invites(&pair, "[2001:db8::2]") > 0, invites(&pair, "192.0.2.2")), (true, 0));
    pair.machines[0].link("eth0", "2001:db8::2", false);
    let by_six = invites(&pair, "[2001:db8::2]");
    let rang = pair.call();
    assert!(rang <= Duration::from_millis(1_500), "it rang after {rang:?}");
    assert!(invites(&pair, "[2001:db8::2]") > by_six, "IPv6 was not asked first");
    // Now that is known.
    let rang = pair.call();
    assert!(rang <= Duration::from_millis(500), "it rang after {rang:?}");
}

/// It is called where it is now, and is known by that when it calls.
#[test]
#[ignore = "needs baresip, dnsmasq and network namespaces"]
fn a_friend_who_moves_is_found_and_known() {
    if !Names::are_here() {
        return;
    }
    let (mut pair, names) = Pair::start(&[host("tokyo.test", &["192.0.2.3"])]);
    says_in_time(&pair.kyoto, "peer.tokyo answers at 192.0.2.3:5060");
    pair.study.dial("8075101");
    let status = pair.study.program.expect("session closed: ");
    assert!(status.starts_with(['4', '5']), "whoever calls from 192.0.2.2 is a stranger: {status}");
    drop(names);
    let records = [host("tokyo.test", &["192.0.2.2"])];
    let _names = Names::start_on(&pair.machines[0], &pair.scenes[0], &records);
    says_in_time(&pair.kyoto, "peer.tokyo answers at 192.0.2.2:5060");
    says_in_time(&pair.tokyo, "peer.kyoto answers at");
    pair.call();
    pair.study.dial("8075101");
    pair.kitchen.answer();
    pair.study.talks();
    pair.study.hang_up();
    pair.kitchen.is_hung_up();
}

/// As on a server whose network comes up late, or is another one tomorrow.
#[test]
#[ignore = "needs baresip, dnsmasq and network namespaces"]
fn a_name_server_that_comes_later_is_asked() {
    if !Names::are_here() {
        return;
    }
    let nameless = Nameless::new();
    let (mut pair, _) = Pair::start(&[]);
    pair.kyoto.program.expect("peer.tokyo cannot be found");
    let records = [host("tokyo.test", &["192.0.2.2"])];
    let _names = Names::start_on(&pair.machines[0], &pair.scenes[0], &records);
    drop(nameless);
    says_in_time(&pair.kyoto, "names are asked for as /etc/resolv.conf and /etc/hosts say now");
    says_in_time(&pair.kyoto, "peer.tokyo answers at 192.0.2.2:5060");
    pair.call();
}

/// By NAPTR a provider says by which transport, by SRV which servers in which order; the first of them is silent. There is
/// another provider whose name nobody knows, and then nobody who knows names.
#[test]
#[ignore = "needs baresip, SIPp and dnsmasq"]
fn a_provider_says_by_its_name_which_servers_it_has() {
    if !Names::are_here() {
        return;
    }
    let (scene, here) = (Scene::new(), ports::take(1));
    let provider = Provider::start(&scene, "provider", &[], here);
    let names = Names::start(
        &scene,
        &[
            "--naptr-record=provider.test,10,50,S,SIP+D2U,,_sip._udp.provider.test".to_owned(),
            format!("--srv-host=_sip._udp.provider.test,first.provider.test,{},10", provider.port),
            format!("--srv-host=_sip._udp.provider.test,second.provider.test,{},20", provider.port),
            host("first.provider.test", &["2001:db8::dead"]),
            host("second.provider.test", &["::1"]),
        ],
    );
    let settings = format!(
        "{KITCHEN}trunk.isp = sip:line@provider.test\ntrunk.isp.password = a-line-password\n\
         trunk.gone = sip:line@gone.test\nroute.0 = trunk.isp\n"
    );
    let denwa = Denwa::start_at(&scene, here, &settings);
    wait_until("the one that is not there is told", || {
        denwa.program.output().contains("trunk.gone cannot be found")
    });
    let mut phone = kitchen(&scene, &denwa);
    says_in_time(&denwa, "trunk.isp is registered, for 12 s");
    drop(names);
    phone.dial("0451234567");
    phone.talks();
    phone.hears_itself();
    phone.hang_up();
    denwa.program.expect("101 → 0451234567 ended");
    provider.is_content();
}

/// By the names that the exchange knows too; whoever is not found leaves the file as it is.
#[test]
#[ignore = "needs dnsmasq"]
fn a_friend_is_added_from_a_web_server_that_is_found_by_name() {
    if !Names::are_here() {
        return;
    }
    let (scene, port) = (Scene::new(), ports::take(1));
    let settings = format!(
        "{KITCHEN}mantela.listen = [::1]:{port}\nmantela.name = Tokyo Exchange\nmantela.identifier = tokyo.test\n\
         mantela.prefix = 8023\n"
    );
    let _tokyo = Denwa::start(&scene, &settings);
    let names = Names::start(&scene, &[host("tokyo.test", &["::1"])]);
    let file = scene.write("kyoto.conf", KITCHEN);
    let add = |name: &str| {
        let mut command = Command::new(binary());
        command.args(["peer", "add", "--private", "--yes", "--config"]).arg(&file);
        let output = command.arg(format!("http://{name}:{port}/.well-known/mantela.json")).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (is_done, said) = add("osaka.test");
    assert!(!is_done && said.contains("osaka.test: no such name"), "{said}");
    assert_eq!(scene.read("kyoto.conf"), KITCHEN);
    let (is_done, said) = add("tokyo.test");
    assert!(is_done && scene.read("kyoto.conf").contains("peer.tokyo-exchange "), "{said}");
    drop(names);
    let (is_done, said) = add("tokyo.test");
    assert!(!is_done && said.contains("it cannot be had: tokyo.test: "), "{said}");
}

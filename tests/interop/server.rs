//! denwa as its users see it: the first start, the signals, the mistakes in a configuration.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kit::{Baresip, Denwa, Machine, Phone, Program, Scene, binary, in_uri};

const SERVER_V4: &str = "192.0.2.1";
const SERVER_V6: &str = "2001:db8::1";
const PHONE_V4: &str = "192.0.2.2";
const PHONE_V6: &str = "2001:db8::2";

/// A server and a desk with two phones, joined by a cable.
fn server_and_desk() -> (Machine, Machine) {
    let (server, desk) = (Machine::new(), Machine::new());
    server.cable("eth0", &desk, "eth0", 1500);
    for (machine, v4, v6) in [(&server, SERVER_V4, SERVER_V6), (&desk, PHONE_V4, PHONE_V6)] {
        machine.address("eth0", &format!("{v4}/24"));
        machine.address("eth0", &format!("{v6}/64"));
    }
    (server, desk)
}

/// What a first start tells to type into a phone.
struct Printed {
    user: String,
    password: String,
    port: String,
}

impl Printed {
    /// Reads the next phone of the output, by the words that a person would look for.
    fn next(program: &Program) -> Printed {
        let word = |name| program.expect(name).trim().to_owned();
        let (user, password) = (word("user "), word("password "));
        let server = word("server ");
        assert!(server.contains(SERVER_V4) && server.contains(SERVER_V6), "{server:?}");
        Printed { user, password, port: word("port ") }
    }

    /// A phone into which exactly this is typed.
    fn phone<'a>(&self, desk: &'a Machine, own: &str, server: &str) -> Baresip<'a> {
        let (own, server): (IpAddr, IpAddr) = (own.parse().unwrap(), server.parse().unwrap());
        let Printed { user, password, port } = self;
        let account = format!("<sip:{user}@{}:{port}>;auth_pass={password}\n", in_uri(server));
        Baresip::new(user, password).at(desk, own, server).account(account)
    }
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn the_first_start_prints_what_two_phones_need() {
    let scene = Scene::new();
    let (server, desk) = server_and_desk();
    let mut denwa = Denwa::first_run(&server, &scene);
    let (first, second) = (Printed::next(&denwa.program), Printed::next(&denwa.program));
    let echo = denwa.program.expect("Call ");
    let echo = echo.split(' ').next().unwrap();

    let mut kitchen = first.phone(&desk, PHONE_V4, SERVER_V4).register(&scene, &denwa);
    let study = second.phone(&desk, PHONE_V6, SERVER_V6).tone(1000.0);
    let mut study = study.register(&scene, &denwa);
    kitchen.dial(echo);
    kitchen.talks();
    kitchen.hears_tone(kitchen.tone);
    kitchen.hang_up();
    denwa.program.expect("ended");
    study.dial(&first.user);
    kitchen.answer();
    study.talks();
    kitchen.hears(&study);
    study.hears(&kitchen);

    // Ctrl-C ends the call on both sides.
    denwa.program.signal(Signal::INT);
    kitchen.is_hung_up();
    study.is_hung_up();
    assert!(denwa.program.ends_within(Duration::from_secs(5)).success());

    // The second start takes what the first one wrote.
    let written = fs::read_to_string(scene.path("home/denwa.conf")).unwrap();
    assert!(written.contains(&first.password));
    let again = Program::start(&scene, "denwa-again", {
        let mut command = server.command(binary());
        command.current_dir(scene.path("home"));
        command
    });
    again.expect("SIP on ");
    assert!(!again.output().contains("password"));
    assert_eq!(fs::read_to_string(scene.path("home/denwa.conf")).unwrap(), written);
}

/// Two phones in a call on loopback.
fn talking(scene: &Scene) -> (Denwa, Phone, Phone) {
    let denwa = Denwa::start(
        scene,
        "ext.101 = correct-horse\next.101.digest = md5\n\
         ext.102 = battery staple\next.102.digest = md5",
    );
    let mut kitchen = Baresip::new("101", "correct-horse").register(scene, &denwa);
    let study = Baresip::new("102", "battery staple").tone(1000.0);
    let mut study = study.register(scene, &denwa);
    kitchen.dial("102");
    study.answer();
    kitchen.hears(&study);
    (denwa, kitchen, study)
}

#[test]
#[ignore = "needs baresip"]
fn sigterm_stops_within_a_second_and_hangs_up_nobody() {
    let scene = Scene::new();
    let (mut denwa, kitchen, study) = talking(&scene);
    let start = Instant::now();
    denwa.program.signal(Signal::TERM);
    assert!(denwa.program.ends_within(Duration::from_secs(1)).success());
    assert!(start.elapsed() < Duration::from_secs(1));
    for phone in [kitchen, study] {
        phone.program.expect_not("BYE sip:", Duration::from_millis(300));
    }
}

#[test]
#[ignore = "needs baresip"]
fn a_dead_phone_does_not_hold_up_the_end() {
    let scene = Scene::new();
    let (mut denwa, kitchen, study) = talking(&scene);
    drop(study); // killed in the middle of the call
    denwa.program.signal(Signal::INT);
    kitchen.is_hung_up();
    assert!(denwa.program.ends_within(Duration::from_secs(8)).success());
}

/// Runs `denwa` to its end.
fn denwa(args: &[&str]) -> Output {
    Command::new(binary()).args(args).output().unwrap()
}

#[test]
#[ignore = "runs the binary under test"]
fn a_configuration_with_mistakes_is_explained_and_not_started() {
    let scene = Scene::new();
    let bad = scene.write("bad.conf", "ext.101 = secret\necco = 114\nkeep-alive = 25\n");
    let bad = bad.to_str().unwrap();
    for args in [&["check", bad] as &[_], &["run", "--config", bad]] {
        let output = denwa(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("bad.conf:2: ") && text.contains("`echo`"), "{text}");
        assert!(text.contains("bad.conf:3: "), "{text}");
    }

    let good = scene.write("good.conf", "ext.101 = secret\necho = 114\n");
    let output = denwa(&["check", good.to_str().unwrap()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("101") && text.contains("114") && !text.contains("secret"), "{text}");

    assert_eq!(denwa(&["check", "/nonexistent/denwa.conf"]).status.code(), Some(1));
    let version = denwa(&["--version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("denwa "));
}

#[test]
#[ignore = "runs the binary under test"]
fn a_port_that_is_taken_is_named() {
    let scene = Scene::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = scene.write("denwa.conf", &format!("ext.101 = secret\nlisten = udp:127.0.0.1:{port}\n"));
    let output = denwa(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&port.to_string()), "{text}");
}

//! Certificates that an authority has signed: denwa's own, got and renewed by README's words, and that of a friend's web
//! server.

use std::process::Command;

use crate::kit::Transport::{Tls, Udp};
use crate::kit::{Authority, Baresip, Denwa, Program, Scene, binary, ports, proved, wait_until};

const HOUSE: &str = "ext.101 = correct-horse\next.101.digest = md5\n\
                     ext.102 = battery staple\next.102.digest = md5\n";

/// What a friend publishes.
const FRIEND: &str = r#"{"version": "0.1.x", "aboutMe": {"name": "Tokyo Exchange", "preferredPrefix": ["8023"],
    "identifier": "tokyo.example.net", "sipUri": ["sip:tokyo.example.net"]}, "extensions": [], "providers": []}"#;

#[test]
#[ignore = "needs baresip, Pebble and lego"]
fn a_certificate_is_got_and_renewed_as_the_readme_says() {
    let scene = Scene::new();
    let authority = Authority::start(&scene);
    let domain = "pbx.example.net";
    let (certificate, key) = authority.lego(&scene, domain, &["run"]);
    let trusted = authority.trusted(&scene);
    let settings = format!(
        "{HOUSE}listen.tls = tls:PORT\ntls.cert = {}\ntls.key = {}",
        certificate.display(),
        key.display()
    );
    let denwa = Denwa::start(&scene, &settings);
    let first = proved(denwa.tls, domain, &trusted);
    let mut kitchen = Baresip::new("101", "correct-horse").over(Tls).register(&scene, &denwa);
    let mut study = Baresip::new("102", "battery staple").tone(1000.0).over(Udp).register(&scene, &denwa);
    kitchen.dial("102");
    study.answer();

    // Without its wait of up to eight minutes, which spares real authorities.
    authority.lego(&scene, domain, &["renew", "--days", "9999", "--no-random-sleep"]);
    wait_until("the new certificate is shown", || proved(denwa.tls, domain, &trusted) != first);
    // Nobody who is connected notices.
    kitchen.hears(&study);
    study.hang_up();
    kitchen.is_hung_up();
}

#[test]
#[ignore = "needs Pebble, lego and a mount namespace"]
fn a_friend_is_added_from_a_web_server_that_an_authority_vouches_for() {
    let scene = Scene::new();
    let authority = Authority::start(&scene);
    let domain = "tokyo.example.net";
    let (certificate, key) = authority.lego(&scene, domain, &["run"]);
    authority.trusted(&scene);
    scene.write("web/.well-known/mantela.json", FRIEND);
    let port = ports::take(1);
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-WWW", "-accept", &port.to_string()]).current_dir(scene.path("web"));
    command.arg("-cert").arg(&certificate).arg("-cert_chain").arg(&certificate).arg("-key").arg(key);
    let _web = Program::start(&scene, "web", command);
    ports::wait_until_taken(port);

    scene.write("denwa.conf", HOUSE);
    let hosts = scene.write("hosts", &format!("127.0.0.1 localhost {domain} kyoto.example.net\n"));
    // On a machine where these names lead here, and whose list of authorities is that.
    let add = |list: &str, host: &str| {
        let list = scene.path(list);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec"]).arg(
            "mount --bind \"$1\" /etc/hosts; mount --bind \"$2\" /etc/ssl/certs/ca-certificates.crt; shift 2; exec \"$@\"",
        );
        command.arg("sh").arg(&hosts).arg(list).arg(binary()).args(["peer", "add", "--private", "--yes"]);
        command.arg("--config").arg(scene.path("denwa.conf"));
        let output = command.arg(format!("https://{host}:{port}/.well-known/mantela.json")).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };

    // An authority that it does not know: the web server's own certificate, as a list.
    let (is_done, said) = add("pebble.pem", domain);
    assert!(!is_done && said.contains("UnknownIssuer"), "{said}");
    // A certificate of somebody else.
    let (is_done, said) = add("authorities.pem", "kyoto.example.net");
    assert!(!is_done && said.contains("kyoto.example.net"), "{said}");
    assert_eq!(scene.read("denwa.conf"), HOUSE);

    let (is_done, said) = add("authorities.pem", domain);
    assert!(is_done, "{said}");
    let written = scene.read("denwa.conf");
    assert!(written.starts_with(HOUSE) && written.contains("peer.tokyo-exchange "), "{written}");
}

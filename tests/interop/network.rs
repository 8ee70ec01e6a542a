//! Networks that are not like loopback: narrow links, and servers with several addresses.

use std::net::IpAddr;

use crate::kit::Transport::{self, Tcp, Udp};
use crate::kit::{Baresip, Denwa, Machine, Scene, ask_by_tcp, ask_by_udp};

const HOUSE: &str = "ext.101 = correct-horse
ext.101.digest = md5
ext.102 = battery staple
ext.102.digest = md5
echo = 114";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Tunnels of 1280 bytes, the least that IPv6 allows, lie between the server and the homes. The
/// server's own link has 1500, so it learns of a tunnel only when a packet does not fit.
fn a_large_invite_crosses_a_narrow_tunnel(transport: Transport) {
    let scene = Scene::new();
    let (server, router) = (Machine::new(), Machine::new());
    let homes = [Machine::new(), Machine::new()];
    server.cable("eth0", &router, "server", 1500);
    server.address("eth0", "2001:db8::1/64");
    server.default_route(ip("2001:db8::ff"));
    router.address("server", "2001:db8::ff/64");
    router.forwards();
    for (home, n) in homes.iter().zip(1..) {
        router.cable(&format!("home{n}"), home, "eth0", 1280);
        router.address(&format!("home{n}"), &format!("2001:db8:{n}::ff/64"));
        home.address("eth0", &format!("2001:db8:{n}::1/64"));
        home.default_route(ip(&format!("2001:db8:{n}::ff")));
    }

    let denwa = Denwa::start_on(&server, &scene, HOUSE);
    let at_server = ip("2001:db8::1");
    let many = ["g711", "opus", "g722", "g726", "gsm", "amr", "l16", "codec2", "mpa"];
    let kitchen = Baresip::new("101", "correct-horse").modules(&many).over(transport);
    let study = Baresip::new("102", "battery staple").tone(1000.0).over(transport);
    let mut kitchen = kitchen.at(&homes[0], ip("2001:db8:1::1"), at_server).register(&scene, &denwa);
    let mut study = study.at(&homes[1], ip("2001:db8:2::1"), at_server).register(&scene, &denwa);

    kitchen.dial("102");
    study.answer();
    kitchen.hears(&study);
    study.hears(&kitchen);
    let invite = study.last_received("INVITE");
    assert!(invite.len() > 1280, "the INVITE has {} bytes only", invite.len());
    study.hang_up();
    kitchen.is_hung_up();
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn a_large_invite_crosses_a_narrow_tunnel_by_udp() {
    a_large_invite_crosses_a_narrow_tunnel(Udp);
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn a_large_invite_crosses_a_narrow_tunnel_by_tcp() {
    a_large_invite_crosses_a_narrow_tunnel(Tcp);
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn of_several_addresses_the_one_that_was_asked_answers() {
    let scene = Scene::new();
    let (server, desk) = (Machine::new(), Machine::new());
    server.cable("eth0", &desk, "eth0", 1500);
    let addresses = ["192.0.2.1", "192.0.2.8", "192.0.2.9", "2001:db8::1", "2001:db8::8", "2001:db8::9"];
    for address in addresses {
        let length = if address.contains(':') { 64 } else { 24 };
        server.address("eth0", &format!("{address}/{length}"));
    }
    desk.address("eth0", "192.0.2.100/24");
    desk.address("eth0", "2001:db8::100/64");
    let denwa = Denwa::start_on(&server, &scene, HOUSE);

    for address in addresses {
        let asked = (ip(address), denwa.port).into();
        let answers = desk.enter(|| [ask_by_udp(asked), ask_by_tcp(asked)]);
        for answer in answers {
            assert_eq!(answer.as_deref(), Some("SIP/2.0 200 OK"), "from {address}");
        }
    }

    for (number, own, asked) in [("101", "192.0.2.100", "192.0.2.9"), ("102", "2001:db8::100", "2001:db8::8")]
    {
        let password = if number == "101" { "correct-horse" } else { "battery staple" };
        let phone = Baresip::new(number, password).at(&desk, ip(own), ip(asked));
        let mut phone = phone.register(&scene, &denwa);
        phone.dial("114");
        let from = phone.program.expect("receiving from ");
        assert!(from.trim_start_matches('[').starts_with(asked), "media from {from}");
        phone.hears_tone(phone.tone);
        assert!(phone.last_received("SIP/2.0 200").contains(&format!(" {asked}\r\n")));
        phone.hang_up();
    }
}

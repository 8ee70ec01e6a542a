//! Peers, trunks and routes.

use super::{mistakes, parse};
use crate::config::{Kind, Label, Number, Route, TargetHost, Transport};

fn reasons(lines: &str) -> Vec<String> {
    let text = format!("group.600 = 101 102\necho = 114\n{lines}");
    mistakes(&text).iter().map(|mistake| mistake.to_string()).collect()
}

#[test]
fn a_peer_in_four_lines() {
    let config = parse(
        "ext.101 = a\npeer.tokyo = sip:[2001:db8::1]:60 sip:Tokyo.example.net;transport=tcp\n\
         peer.tokyo.prefix = 8023\npeer.tokyo.user = kyoto\npeer.tokyo.password = a long secret\n",
    );
    let peer = &config.neighbours["peer.tokyo"];
    assert_eq!(peer.hosts[0].to_string(), "[2001:db8::1]:60");
    assert_eq!(peer.hosts[1].host, TargetHost::Name("tokyo.example.net".into()));
    assert_eq!((peer.hosts[1].port, peer.hosts[1].transport), (None, Some(Transport::Tcp)));
    let account = peer.account.as_ref().unwrap();
    assert_eq!((account.user.as_str(), account.password.reveal()), ("kyoto", "a long secret"));
    assert_eq!(peer.max_calls, 10);
    let Kind::Peer(peer) = &peer.kind else { panic!() };
    assert_eq!((peer.prefix.as_ref().map(Number::as_str), peer.strip), (Some("8023"), 4));
    assert_eq!((&peer.numbers, peer.hop, peer.trunks.len()), (&None, false, 0));
}

#[test]
fn a_trunk_registers_if_it_has_a_password() {
    let config = parse(
        "ext.101 = a\ntrunk.isp = sip:0312345678@sip.example.jp\ntrunk.isp.password = b\n\
         trunk.isp.numbers = 101\ntrunk.lan = sip:u@192.0.2.1\nroute.0 = trunk.isp trunk.lan\n\
         route.09x = reject Not from here\n",
    );
    let isp = &config.neighbours["trunk.isp"];
    assert_eq!(isp.account.as_ref().unwrap().user, "0312345678");
    let Kind::Trunk(trunk) = &isp.kind else { panic!() };
    assert!(trunk.register && !trunk.emergency);
    assert_eq!((trunk.max_minutes, trunk.max_minutes_day, trunk.max_calls_hour), (60, 120, 30));
    let Kind::Trunk(lan) = &config.neighbours["trunk.lan"].kind else { panic!() };
    assert!(!lan.register);
    let [isp, lan] = ["trunk.isp", "trunk.lan"].map(|label| Label::new(label).unwrap());
    assert_eq!(config.routes["0"], Route::Neighbours(vec![isp, lan]));
    assert_eq!(config.routes["09x"], Route::Reject("Not from here".into()));
}

#[test]
fn mistakes_about_other_exchanges() {
    for (lines, expected) in [
        (
            "peer.tokyo.prefix = 8023",
            "peer.tokyo: this exchange is nowhere: it needs a line `peer.NAME = sip:HOST` or `trunk.NAME = sip:USER@HOST`",
        ),
        (
            "peer.tokyo = 2001:db8::1",
            "peer.tokyo: `2001:db8::1` is an address alone; write sip:[2001:db8::1] (for example `peer.tokyo = sip:[2001:db8::1]:5060`)",
        ),
        (
            "peer.tokyo = sip:a;transport=sctp",
            "peer.tokyo: in `sip:a;transport=sctp`, transport is none of udp, tcp and tls (for example `peer.tokyo = sip:[2001:db8::1]:5060`)",
        ),
        (
            "peer.a = sip:b sip:kyoto@a",
            "peer.a: a friend's exchange is called by numbers, and not by a user; write sip:HOST, and `.user` and \
             `.password` if you have agreed on them",
        ),
        (
            "peer.a = sip:a\npeer.a.user = b",
            "peer.a: a user and a password belong together; one of the two is missing",
        ),
        (
            "peer.a = sip:a\npeer.a.numbers = 999",
            "peer.a.numbers: there is no number 999: no extension, no group, and not the echo test",
        ),
        (
            "peer.a = sip:a
peer.a.user = u
peer.a.password = p
peer.a.trunks = isp",
            "peer.a.trunks: there is no trunk.isp",
        ),
        (
            "trunk.isp = sip:u@h
peer.a = sip:a
peer.a.trunks = isp",
            "peer.a.trunks: whoever may call at your cost must have a password or a certificate (`.pin`): an address alone can be forged",
        ),
        (
            "peer.a = sip:a\npeer.a.prefix = 8\npeer.b = sip:b\npeer.b.prefix = 8",
            "peer.b.prefix: this prefix is that of peer.a.prefix on line 4 already",
        ),
        ("trunk.isp = sip:sip.example.jp", "trunk.isp: who we are there is missing; write sip:USER@HOST"),
        (
            "trunk.isp = sip:u@h\ntrunk.isp.register = yes",
            "trunk.isp.register: nobody can register without a password; add `.password`",
        ),
        (
            "trunk.isp = sip:u@h\ntrunk.isp.numbers = 101 600",
            "trunk.isp.numbers: 600 is not an extension, and a group rings extensions only",
        ),
        ("route.0 = trunk.isp", "route.0: there is no trunk.isp"),
        (
            "route.0 = elsewhere",
            "route.0: `elsewhere` is not where a call can go; there are trunk.NAME, peer.NAME, group.N and `reject` with a reason (for example `route.0 = trunk.isp`)",
        ),
        (
            "route.0 = group.700",
            "route.0: there is no number group.700: no extension, no group, and not the echo test",
        ),
        (
            "trunk.isp = sip:u@h\nroute.110 = trunk.isp",
            "route.110: emergency calls go only where somebody takes them: `trunk.isp.emergency = yes` says so of a trunk",
        ),
        (
            "peer.a = sip:a\npeer.a.strip = 33",
            "peer.a.strip: `33` is not a number of digits from 0 to 32 (for example `peer.tokyo.strip = 4`)",
        ),
    ] {
        assert_eq!(reasons(lines), [expected], "{lines}");
    }
}

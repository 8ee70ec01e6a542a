//! What the screens show, to the letter, and what programs get.

use std::net::Ipv6Addr;

use super::*;
use crate::switch::view::{
    Alive, BanView, CallState, CallView, CountsView, ExtensionView, LegView, MeasuredView, PhoneView,
    RefusedView, StreamView,
};

/// An exchange that has been up for 25 h, and that nobody outside has reached.
pub(super) fn status() -> Status {
    Status {
        facts: Facts {
            version: "0.1.0".into(),
            configuration: "/etc/denwa/denwa.conf".into(),
            keeper_pid: 4211,
            pid: 4212,
            started_unix: 1_795_301_506,
            exchange_started_unix: 1_795_391_206,
            restarts: 2,
            sandbox: "sandbox: user denwa, no capabilities, Landlock ABI 7 (files, TCP ports, signals), \
                      seccomp, no core dumps"
                .into(),
            sandbox_complete: true,
            state: "/var/lib/denwa".into(),
        },
        now_unix: 1_795_391_506,
        domain: Some("pbx.example.net".into()),
        listening: vec![
            Listening { transport: "udp".into(), address: (Ipv6Addr::UNSPECIFIED, 5060).into() },
            Listening { transport: "tcp".into(), address: ([0, 0, 0, 0], 5060).into() },
        ],
        tls: None,
        addresses: vec!["2001:db8::20".parse().unwrap(), "10.0.0.20".parse().unwrap()],
        advertise: vec!["203.0.113.5".parse().unwrap()],
        media_ports: (40_000, 40_999),
        state: StateFolder::Written,
        counts: CountsView {
            extensions: 5,
            registered: 3,
            phones: 4,
            calls: 1,
            calls_limit: 250,
            outside_s: None,
        },
        neighbours: Vec::new(),
        refused: vec![RefusedView { reason: "wrong password".into(), count: 1_234 }],
        banned: 1,
        stopping_s: None,
        remarks: Vec::new(),
    }
}

/// An extension with a phone that answers, and one that does not.
pub(super) fn extension(number: &str) -> ExtensionView {
    let phone = PhoneView {
        address: "192.0.2.31:5060".parse().unwrap(),
        transport: "udp".into(),
        user_agent: Some("Grandstream GXP1620".into()),
        registered_s: 8_000,
        expires_in_s: 2_600,
        alive: Alive::Yes,
        round_trip_ms: Some(12),
        behind_nat: true,
    };
    let away = PhoneView {
        address: "[2001:db8::7]:49152".parse().unwrap(),
        transport: "tcp".into(),
        user_agent: None,
        alive: Alive::Disconnected,
        round_trip_ms: None,
        behind_nat: false,
        ..phone.clone()
    };
    ExtensionView { extension: number.into(), name: Some("Kitchen".into()), phones: vec![phone, away] }
}

/// A call that is up, in which one side is heard well and the other is not.
pub(super) fn call(number: u64) -> CallView {
    let measured = |lost, heard_ms| MeasuredView {
        source: Some("192.0.2.31:40012".parse().unwrap()),
        packets: 4_150,
        bytes: 713_800,
        lost,
        loss_percent: lost as f32 / 41.5,
        strangers: 0,
        jitter_ms: Some(2.14),
        round_trip_ms: Some(23.0),
        heard_ms: Some(heard_ms),
        payload_type: Some(0),
    };
    let leg = |extension: &str, measured| LegView {
        extension: Some(extension.into()),
        address: "192.0.2.31:5060".parse().unwrap(),
        transport: "udp".into(),
        streams: vec![StreamView {
            line: 0,
            codec: "PCMU".into(),
            relay: "192.0.2.1:40000".parse().unwrap(),
            measured,
        }],
    };
    CallView {
        call: number,
        from: "101".into(),
        to: "102".into(),
        answered_by: Some("102".into()),
        state: CallState::Up,
        lasted_s: 90,
        talked_s: Some(83),
        call_id: "a84b4c76e66710".into(),
        legs: vec![leg("101", Some(measured(0, 20))), leg("102", Some(measured(166, 9_000)))],
    }
}

#[test]
fn one_screen_says_how_the_exchange_is() {
    assert_eq!(
        super::status(&status(), Paint::NONE),
        "\
denwa 0.1.0 runs /etc/denwa/denwa.conf

  up                 25 h, since 2026-11-21 22:51:46 UTC
  it died            2 times since then, the last time 5 min ago
  processes          4211 keeps it, 4212 serves
  SIP is spoken on   udp [::]:5060, tcp 0.0.0.0:5060
  addresses          2001:db8::20, 10.0.0.20
  phones register at pbx.example.net
  public address     203.0.113.5
  extensions         3 of 5 registered, 4 phones
  calls              1 now, 250 at most (media ports 40000-40999)
  state folder       /var/lib/denwa
  sandbox            user denwa, no capabilities, Landlock ABI 7 (files, TCP
                     ports, signals), seccomp, no core dumps
  not heard          1 source; `denwa bans` shows which
  refused in 24 h    1,234 times: wrong password

Look:
  - the exchange died and was started again, which it should never have to be:
    the log says how, please report it
  - nothing from the Internet has reached it since it was started: if phones are
    to, open udp 5060, tcp 5060 and udp 40000-40999 in the server's firewall and
    in its provider's (a security group at ConoHa and on EC2)
"
    );
}

#[test]
fn what_is_not_right_is_said_with_what_would_help() {
    let well = || {
        let mut status = status();
        status.facts.restarts = 0;
        status.counts.outside_s = Some(7);
        status
    };
    assert!(advice(&well()).is_empty());
    type Change = fn(&mut Status);
    let cases: [(Change, &str); 8] = [
        (|s| s.state = StateFolder::Unwritable, "cannot be written: calls go on"),
        (|s| s.state = StateFolder::Missing, "phones have to register anew after a restart"),
        (|s| s.facts.restarts = 1, "it should never have to be"),
        (|s| s.counts.registered = 0, "pbx.example.net as server"),
        (|s| s.counts.outside_s = None, "open udp 5060"),
        (|s| s.counts.calls = 250, "media-ports"),
        (|s| s.facts.sandbox_complete = false, "the sandbox: user denwa"),
        (|s| s.remarks.push("extension 101: short".into()), "extension 101: short"),
    ];
    for (change, part) in cases {
        let mut status = well();
        change(&mut status);
        let advice = advice(&status);
        assert!(advice.len() == 1 && advice[0].contains(part), "{part}: {advice:?}");
    }
    // At home, or just started, nobody outside is no news.
    let mut at_home = status();
    at_home.facts.restarts = 0;
    at_home.listening.iter_mut().for_each(|place| place.address.set_ip([127, 0, 0, 1].into()));
    assert!(advice(&at_home).is_empty());
    let mut young = status();
    young.facts.restarts = 0;
    young.facts.exchange_started_unix = young.now_unix - 299;
    assert!(advice(&young).is_empty());
}

#[test]
fn each_phone_is_a_line() {
    let none = ExtensionView { extension: "102".into(), name: None, phones: Vec::new() };
    let extensions = [extension("101"), none];
    assert_eq!(
        phones(&extensions, None, Paint::NONE),
        "\
EXT  NAME     ADDRESS              VIA  ALIVE  SINCE  LEFT    NAT  PHONE
101  Kitchen  192.0.2.31:5060      udp  12 ms  2 h    43 min  yes  Grandstream GXP1620
101  Kitchen  [2001:db8::7]:49152  tcp  away   2 h    43 min  no   -
102  -        not registered
"
    );
    let narrow = phones(&extensions, Some(40), Paint::NONE);
    assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
}

#[test]
fn each_leg_of_a_call_is_a_line() {
    let echo = LegView { extension: None, streams: Vec::new(), ..call(18).legs.remove(1) };
    let mut test = call(18);
    (test.to, test.answered_by, test.legs[1]) = ("114".into(), None, echo);
    test.legs[0].streams[0].measured = None;
    let mut rings = call(19);
    (rings.state, rings.talked_s, rings.answered_by, rings.lasted_s) = (CallState::Ringing, None, None, 4);
    rings.legs.iter_mut().for_each(|leg| leg.streams.clear());
    assert_eq!(
        calls(&[call(17), test, rings], None, Paint::NONE),
        "  LEG        CODEC  PACKETS   LOST  JITTER  ROUND TRIP    HEARD  FROM
call 17: 101 → 102, up for 1 min 23 s
  101        PCMU     4,150  0.0 %  2.1 ms     23.0 ms      now  192.0.2.31:40012
  102        PCMU     4,150  4.0 %  2.1 ms     23.0 ms  9 s ago  192.0.2.31:40012
call 18: 101 → 114, up for 1 min 23 s
  101        PCMU         -      -       -           -        -  192.0.2.31:5060 udp
  echo test  -            -      -       -           -        -  this exchange
call 19: 101 → 102, ringing for 4 s
  101        -            -      -       -           -        -  192.0.2.31:5060 udp
  102        -            -      -       -           -        -  192.0.2.31:5060 udp
"
    );
    assert_eq!(calls(&[], None, Paint::NONE), "no calls\n");
}

#[test]
fn who_is_not_heard_is_a_line() {
    let operator = BanView { source: "198.51.100.9".into(), wrong_passwords: None, left_s: 86_400 };
    let wrong = BanView { source: "2001:db8::/64".into(), wrong_passwords: Some(30), left_s: 83 };
    assert_eq!(
        bans(&[operator, wrong], Paint::NONE),
        "\
SOURCE         STILL FOR   WHY
198.51.100.9   24 h        the operator said so (denwa ban)
2001:db8::/64  1 min 23 s  30 wrong passwords (ban)
"
    );
}

#[test]
fn programs_find_their_fields() {
    let status = status_json(&status());
    for field in [
        "version",
        "configuration",
        "pid",
        "keeper_pid",
        "started_unix",
        "exchange_started_unix",
        "restarts",
        "now_unix",
        "domain",
        "listening",
        "tls",
        "advertise",
        "media_ports",
        "state",
        "state_folder",
        "sandbox",
        "sandbox_complete",
        "extensions",
        "registered",
        "phones",
        "calls",
        "calls_limit",
        "outside_s",
        "refused",
        "banned",
        "remarks",
        "advice",
    ] {
        assert!(status.get(field).is_some(), "{field}");
    }
    assert_eq!(status["state"], "written");
    assert_eq!(status["listening"][0]["address"], "[::]:5060");
    let phones = serde_json::to_value([extension("101")]).unwrap();
    assert_eq!(phones[0]["extension"], "101");
    assert_eq!(phones[0]["phones"][0]["alive"], "yes");
    assert_eq!(phones[0]["phones"][1]["alive"], "disconnected");
    let calls = serde_json::to_value([call(17)]).unwrap();
    assert_eq!(calls[0]["legs"][1]["streams"][0]["measured"]["lost"], 166);
    assert_eq!(calls[0]["state"], "up");
}

#[test]
fn colours_are_for_terminals() {
    let painted = super::status(&status(), Paint::ALWAYS);
    assert!(painted.contains("\x1b[32m3 of 5 registered, 4 phones\x1b[0m"), "{painted}");
}

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::*;

const V4: &str = "203.0.113.5";
const V6: &str = "2001:db8::5";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lines(text: &[&str]) -> Vec8 {
    text.iter().flat_map(|line| [line.as_bytes(), b"\r\n"]).flatten().copied().collect()
}

type Vec8 = std::vec::Vec<u8>;

/// Parses, rewrites, and checks what holds for every body.
fn rewritten(body: &[u8], address: &str, ports: &[Option<u16>]) -> Vec8 {
    rewritten_with(body, address, ports, Keys::Stay)
}

fn rewritten_with(body: &[u8], address: &str, ports: &[Option<u16>], keys: Keys) -> Vec8 {
    let sdp = Sdp::parse(body).unwrap();
    let once = relay(&sdp, ip(address), ports, Origin::Stays, keys);
    check_laws(&sdp, &once, ip(address), ports, keys);
    once
}

fn check_laws(sdp: &Sdp<'_>, once: &[u8], address: IpAddr, ports: &[Option<u16>], keys: Keys) {
    let again = Sdp::parse(once).unwrap();
    assert_eq!(relay(&again, address, ports, Origin::Stays, keys), once, "rewriting twice differs");
    assert_eq!(again.media().len(), sdp.media().len());
    for (index, (before, after)) in sdp.media().iter().zip(again.media()).enumerate() {
        let port = ports.get(index).copied().flatten().unwrap_or(0);
        let is_refused = before.port == 0 || before.is_refused(keys);
        assert_eq!(after.port, if is_refused { 0 } else { port });
        assert_eq!(after.protocol, before.protocol);
        assert!(after.formats().eq(before.formats()));
        assert_eq!(after.direction, before.direction);
        assert_eq!(after.crypto, before.crypto && keys == Keys::Stay);
        match after.connection {
            Connection::Address(a) => {
                assert!(a == address || (a.is_unspecified() && a.is_ipv6() == address.is_ipv6()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_example_of_rfc_8866() {
    let body = lines(&[
        "v=0",
        "o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1",
        "s=Call to John Smith",
        "i=SDP Offer #1",
        "u=http://www.jdoe.example.com/home.html",
        "e=Jane Doe <jane@jdoe.example.com>",
        "p=+1 617 555-6011",
        "c=IN IP4 198.51.100.1",
        "t=0 0",
        "m=audio 49170 RTP/AVP 0",
        "m=audio 49180 RTP/AVP 0",
        "m=video 51372 RTP/AVP 99",
        "c=IN IP6 2001:db8::2",
        "a=rtpmap:99 h263-1998/90000",
    ]);
    let sdp = Sdp::parse(&body).unwrap();
    let [first, second, video] = sdp.media() else { panic!() };
    assert_eq!(first.rtp(), Some("198.51.100.1:49170".parse().unwrap()));
    assert_eq!(first.rtcp(), Some("198.51.100.1:49171".parse().unwrap()));
    assert_eq!(second.port, 49180);
    assert_eq!(video.rtp(), Some("[2001:db8::2]:51372".parse().unwrap()));
    assert_eq!((first.kind, video.kind), (Kind::Audio, Kind::Video));

    let expected = String::from_utf8(body.clone())
        .unwrap()
        .replace("c=IN IP4 198.51.100.1", "c=IN IP4 203.0.113.5")
        .replace("c=IN IP6 2001:db8::2", "c=IN IP4 203.0.113.5")
        .replace("m=audio 49170", "m=audio 40000")
        .replace("m=audio 49180", "m=audio 0")
        .replace("m=video 51372", "m=video 40002");
    let got = rewritten(&body, V4, &[Some(40000), None, Some(40002)]);
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}

#[test]
fn multicast_with_ttl_and_count() {
    let body = lines(&[
        "v=0",
        "o=jdoe 2890844526 2890842807 IN IP4 10.47.16.5",
        "s=SDP Seminar",
        "c=IN IP4 224.2.17.12/127",
        "t=2873397496 2873404696",
        "a=recvonly",
        "m=audio 49170/2 RTP/AVP 0",
        "m=video 51372 RTP/AVP 99",
        "c=IN IP6 ff15::101/3",
        "a=sendonly",
    ]);
    let sdp = Sdp::parse(&body).unwrap();
    let [audio, video] = sdp.media() else { panic!() };
    let Connection::Address(address) = audio.connection else { panic!() };
    assert!(address.is_multicast());
    assert_eq!(audio.port, 49170);
    assert_eq!(audio.direction, Direction::RecvOnly);
    assert_eq!(video.direction, Direction::SendOnly);
    assert_eq!(video.connection, Connection::Address(ip("ff15::101")));

    let got = rewritten(&body, V4, &[Some(40000), Some(40002)]);
    let got = String::from_utf8(got).unwrap();
    assert!(got.contains("\r\nm=audio 40000 RTP/AVP 0\r\n"), "{got}");
    assert!(!got.contains("224.2") && !got.contains("ff15"), "{got}");
}

#[test]
fn a_browser_loses_ice_and_bundle_and_keeps_the_rest() {
    let body = lines(&[
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=group:LS 0 1",
        "a=extmap-allow-mixed",
        "a=ice-lite",
        "a=ice-options:trickle ice2",
        "m=audio 54400 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 192.0.2.7",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=candidate:1 1 udp 2113937151 192.168.1.7 54400 typ host",
        "a=remote-candidates:1 198.51.100.2 49160",
        "a=end-of-candidates",
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "a=ice-pacing:50",
        "a=fingerprint:sha-256 D2:FA:0E",
        "a=setup:actpass",
        "a=mid:0",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=rtcp-xr:rcvr-rtt=all",
        "a=ssrc:3510681183 cname:loqPWNg7JMmrFUnr",
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=bundle-only",
        "a=ice-mismatch",
        "a=mid:1",
    ]);
    let sdp = Sdp::parse(&body).unwrap();
    let [audio, video] = sdp.media() else { panic!() };
    assert!(audio.rtcp_mux && audio.fingerprint && !audio.crypto && audio.is_relayable());
    assert_eq!(audio.rtcp, Some(Rtcp { port: 9, address: Some(ip("0.0.0.0")) }));
    assert!(video.bundle_only && !video.is_relayable());

    let expected = lines(&[
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:LS 0 1",
        "a=extmap-allow-mixed",
        "m=audio 40000 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 203.0.113.5",
        "a=fingerprint:sha-256 D2:FA:0E",
        "a=setup:actpass",
        "a=mid:0",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=rtcp-xr:rcvr-rtt=all",
        "a=ssrc:3510681183 cname:loqPWNg7JMmrFUnr",
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
    ]);
    let got = rewritten(&body, V4, &[Some(40000), Some(40002)]);
    assert_eq!(String::from_utf8(got), String::from_utf8(expected));
}

#[test]
fn fax_and_keys_pass() {
    let fax = lines(&[
        "v=0",
        "o=- 1 2 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=image 49170 udptl t38",
        "a=T38FaxVersion:0",
        "m=audio 49172 RTP/SAVP 0",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
        "m=message 9 TCP/MSRP *",
    ]);
    let sdp = Sdp::parse(&fax).unwrap();
    let [image, secure, message] = sdp.media() else { panic!() };
    assert_eq!((image.kind, image.is_relayable()), (Kind::Image, true));
    assert!(image.formats().eq([b"t38".as_slice()]));
    assert!(secure.crypto && secure.is_relayable());
    assert_eq!((message.kind, message.is_relayable()), (Kind::Other, false));
    let got = rewritten(&fax, V6, &[Some(40000), Some(40002), None]);
    let got = String::from_utf8(got).unwrap();
    assert!(got.contains("\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19z"));
    assert!(got.contains("m=message 0 TCP/MSRP *"));
}

#[test]
fn a_session_of_ours_goes_on_with_whoever_takes_it_over() {
    let body = |origin: &str| {
        lines(&["v=0", origin, "s=-", "c=IN IP4 203.0.113.5", "t=0 0", "m=audio 5004 RTP/AVP 0"])
    };
    let written = |origin: &str, turn: u8| {
        let body = body(origin);
        let ours = Origin::Ours { session: 7, turn };
        let once = relay(&Sdp::parse(&body).unwrap(), ip(V4), &[Some(5004)], ours, Keys::Go);
        let twice = relay(&Sdp::parse(&once).unwrap(), ip(V4), &[Some(5004)], ours, Keys::Go);
        assert_eq!(once, twice);
        let text = String::from_utf8(once).unwrap();
        let line = text.lines().find(|line| line.starts_with("o=")).unwrap().to_owned();
        let (start, end) = (line.strip_prefix("o=- 7 ").unwrap(), format!(" IN IP4 {V4}"));
        start.strip_suffix(&end).unwrap().parse::<u32>().unwrap()
    };
    let first = written("o=101 8000 8000 IN IP4 203.0.113.5", 0);
    let held = written("o=101 8000 8001 IN IP4 203.0.113.5", 0);
    assert_eq!((first, held), (8000, 8001));
    let other = written("o=- 1 1 IN IP6 2001:db8::5", 1);
    assert!(other > held);
    // As some write the time, in 64 bits, and some write nonsense.
    let long = written("o=- 1 17004160123456789012 IN IP4 203.0.113.6", 1);
    assert_eq!(written("o=- 1 17004160123456789013 IN IP4 203.0.113.6", 1), long + 1);
    assert!(written("o=x 1 -v- IN IP4 203.0.113.6", 200) < 1 << 31);
}

const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19z";

/// A session of these lines, each `m=` line with what belongs to it.
fn session(media: &[&str]) -> Vec8 {
    lines(&[&["v=0", "o=- 1 1 IN IP4 203.0.113.5", "s=-", "c=IN IP4 203.0.113.5", "t=0 0"], media].concat())
}

#[test]
fn where_keys_could_be_read_they_go_and_with_them_what_is_nothing_without() {
    let both =
        session(&["m=audio 5004 RTP/SAVP 0", KEY, "a=ptime:20", "m=audio 5006 RTP/AVP 0", "a=sendrecv"]);
    let ports = [Some(5004), Some(5006)];
    assert!(!Sdp::parse(&both).unwrap().needs_keys());
    let plain = session(&["m=audio 0 RTP/SAVP 0", "a=ptime:20", "m=audio 5006 RTP/AVP 0", "a=sendrecv"]);
    assert_eq!(rewritten_with(&both, V4, &ports, Keys::Go), plain);
    assert_eq!(rewritten_with(&both, V4, &ports, Keys::Stay), both);

    // As optional as can be: one line, that might be encrypted.
    let optional = session(&["m=audio 5004 RTP/AVP 0", KEY, "a=sendrecv"]);
    assert!(!Sdp::parse(&optional).unwrap().needs_keys());
    let plain = session(&["m=audio 5004 RTP/AVP 0", "a=sendrecv"]);
    assert_eq!(rewritten_with(&optional, V4, &[Some(5004)], Keys::Go), plain);

    // With DTLS no key is in the body.
    let dtls =
        session(&["m=audio 5004 UDP/TLS/RTP/SAVPF 0", "a=fingerprint:sha-256 D2:FA:0E", "a=setup:actpass"]);
    assert_eq!(rewritten_with(&dtls, V4, &[Some(5004)], Keys::Go), dtls);
    let either = session(&["m=audio 5004 RTP/SAVPF 0", KEY, "a=fingerprint:sha-256 D2:FA:0E"]);
    assert!(!Sdp::parse(&either).unwrap().needs_keys());
    let text = String::from_utf8(rewritten_with(&either, V4, &[Some(5004)], Keys::Go)).unwrap();
    assert!(
        text.contains("m=audio 5004") && text.contains("fingerprint") && !text.contains("crypto"),
        "{text}"
    );
}

#[test]
fn who_insists_on_keys() {
    let insists = |media: &[&str]| Sdp::parse(&session(media)).unwrap().needs_keys();
    assert!(insists(&["m=audio 5004 RTP/SAVP 0", KEY]));
    assert!(insists(&["m=audio 5004 rtp/savpf 0", KEY, "m=video 5006 RTP/AVP 99"]), "pictures are no sound");
    assert!(insists(&["m=audio 5004 RTP/SAVP 0", KEY, "m=audio 0 RTP/AVP 0"]));
    assert!(insists(&["m=video 5004 RTP/SAVP 99", KEY]));
    assert!(!insists(&["m=audio 0 RTP/SAVP 0", KEY, "m=image 5006 udptl t38"]), "a fax instead");
    assert!(!insists(&["m=audio 5004 RTP/AVP 0", "m=video 5006 RTP/SAVP 99", KEY]));
    assert!(!insists(&["m=audio 5004 RTP/SAVP 0"]), "no key that could be read");
    assert!(!insists(&[]));
}

#[test]
fn a_key_that_is_a_mere_capability_goes_with_what_would_use_it() {
    let body = session(&[
        "a=acap:7 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0",
        "m=audio 5004 RTP/AVP 0",
        "a=tcap:1 RTP/SAVP RTP/AVPF",
        "a=pcfg:1 t=1 a=1",
        "a=pcfg:2 t=1 a=-m:12,[7]|12",
        "a=pcfg:3 t=2 a=12",
        "a=pcfg:4 t=2",
        "a=lcfg:5 mt=1 a=1",
        "a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0",
        "a=acap:12 rtcp-fb:0 nack",
    ]);
    let left = session(&[
        "m=audio 5004 RTP/AVP 0",
        "a=tcap:1 RTP/SAVP RTP/AVPF",
        "a=pcfg:3 t=2 a=12",
        "a=pcfg:4 t=2",
        "a=acap:12 rtcp-fb:0 nack",
    ]);
    assert_eq!(rewritten_with(&body, V4, &[Some(5004)], Keys::Stay), body);
    assert_eq!(rewritten_with(&body, V4, &[Some(5004)], Keys::Go), left);
}

#[test]
fn the_origin_changes_only_with_the_family() {
    let body = |host: &str| lines(&["v=0", &format!("o=101 8000 8001 IN {host}"), "m=audio 1 RTP/AVP 0"]);
    let origin = |body: &[u8], address| {
        let got = String::from_utf8(rewritten(body, address, &[Some(40000)])).unwrap();
        got.lines().find(|l| l.starts_with("o=")).unwrap().to_owned()
    };
    assert_eq!(origin(&body("IP4 10.0.0.1"), V4), "o=101 8000 8001 IN IP4 10.0.0.1");
    assert_eq!(origin(&body("IP6 2001:db8::1"), V6), "o=101 8000 8001 IN IP6 2001:db8::1");

    let first = origin(&body("IP6 2001:db8::1"), V4);
    let second = origin(&body("IP6 2001:db8::2"), V4);
    assert!(first.starts_with("o=101 ") && first.ends_with(" 8001 IN IP4 203.0.113.5"), "{first}");
    assert_ne!(first, second);
    assert_eq!(first, origin(&body("IP6 2001:db8::1"), V4));
    assert_eq!(origin(b"v=0\r\no=broken\r\n\r\nm=audio 1 RTP/AVP 0\r\n", V4), "o=broken");
}

#[test]
fn of_several_addresses_the_first_counts() {
    let body = lines(&[
        "v=0",
        "c=IN IP4 192.0.2.1",
        "c=IN IP4 0.0.0.0",
        "m=audio 5004 RTP/AVP 0",
        "m=video 5006 RTP/AVP 31",
        "c=IN IP4 0.0.0.0",
        "c=IN IP4 192.0.2.2",
    ]);
    let sdp = Sdp::parse(&body).unwrap();
    assert_eq!(sdp.media()[0].rtp(), Some("192.0.2.1:5004".parse().unwrap()));
    assert_eq!(sdp.media()[1].rtp(), None);
    let written = rewritten(&body, V4, &[Some(40_000), Some(40_002)]);
    let written = Sdp::parse(&written).unwrap();
    assert_eq!(written.media()[0].rtp(), Some("203.0.113.5:40000".parse().unwrap()));
    assert_eq!(written.media()[1].rtp(), None, "held, as it was understood");
}

#[test]
fn hold_stays_hold() {
    let old = lines(&["v=0", "c=IN IP4 0.0.0.0", "t=0 0", "m=audio 5004 RTP/AVP 0"]);
    let sdp = Sdp::parse(&old).unwrap();
    assert_eq!(sdp.media()[0].connection, Connection::Address(ip("0.0.0.0")));
    assert_eq!((sdp.media()[0].rtp(), sdp.media()[0].rtcp()), (None, None));
    let got = rewritten(&old, V6, &[Some(40000)]);
    assert_eq!(got, lines(&["v=0", "c=IN IP6 ::", "t=0 0", "m=audio 40000 RTP/AVP 0"]));

    for (attribute, direction) in [
        ("a=sendonly", Direction::SendOnly),
        ("a=inactive ", Direction::Inactive),
        ("a=recvonly", Direction::RecvOnly),
        ("a=sendrecv", Direction::SendRecv),
        ("a=sendonlyish", Direction::SendRecv),
    ] {
        let body = lines(&["v=0", "c=IN IP4 10.0.0.1", "m=audio 5004 RTP/AVP 0", attribute]);
        assert_eq!(Sdp::parse(&body).unwrap().media()[0].direction, direction);
        assert!(rewritten(&body, V4, &[Some(2)]).ends_with(format!("{attribute}\r\n").as_bytes()));
    }
}

#[test]
fn addresses_of_all_kinds() {
    let connection = |value: &str| {
        let body = format!("v=0\nc={value}\nm=audio 5004 RTP/AVP 0\n");
        rewritten(body.as_bytes(), V6, &[Some(40000)]);
        let sdp = Sdp::parse(body.as_bytes()).unwrap();
        match sdp.media()[0].connection {
            Connection::Address(address) => address.to_string(),
            Connection::Name(name) => format!("name {}", String::from_utf8_lossy(name)),
            Connection::None => "none".into(),
        }
    };
    assert_eq!(connection("IN IP4 192.0.2.1"), "192.0.2.1");
    assert_eq!(connection("in ip4  192.0.2.1 "), "192.0.2.1");
    assert_eq!(connection("IN IP6 2001:DB8::1"), "2001:db8::1");
    assert_eq!(connection("IN IP6 [2001:db8::1]"), "2001:db8::1");
    assert_eq!(connection("IN IP6 ::ffff:192.0.2.1"), "192.0.2.1");
    assert_eq!(connection("IN IP4 239.1.2.3/127/3"), "239.1.2.3");
    assert_eq!(connection("IN IP4 phone.example.com"), "name phone.example.com");
    assert_eq!(connection("IN IP4 256.1.1.1"), "name 256.1.1.1");
}

#[test]
fn rtcp_elsewhere() {
    let media = |attribute: &str| {
        let body = format!("v=0\nc=IN IP4 192.0.2.1\nm=audio 5004 RTP/AVP 0\n{attribute}\n");
        let got = String::from_utf8(rewritten(body.as_bytes(), V4, &[Some(40000)])).unwrap();
        assert_eq!(got.contains(attribute), !attribute.starts_with("a=rtcp:"), "{got}");
        Sdp::parse(body.as_bytes()).unwrap().media()[0].rtcp().map(|a| a.to_string())
    };
    assert_eq!(media("a=rtcp:53020").as_deref(), Some("192.0.2.1:53020"));
    assert_eq!(media("a=rtcp:53020 IN IP4 126.16.64.4").as_deref(), Some("126.16.64.4:53020"));
    assert_eq!(media("a=rtcp:53020 IN IP6 2001:db8::9").as_deref(), Some("[2001:db8::9]:53020"));
    assert_eq!(media("a=rtcp:0"), None);
    assert_eq!(media("a=rtcp:soon").as_deref(), Some("192.0.2.1:5005"));
    assert_eq!(media("a=rtcp-fb:0 nack").as_deref(), Some("192.0.2.1:5005"));
    assert_eq!(media("a=rtcp-mux").as_deref(), Some("192.0.2.1:5005"));
}

#[test]
fn a_missing_connection_is_added_in_its_place() {
    let body = b"v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nb=AS:64\nt=0 0\nm=audio 5004 RTP/AVP 0\n";
    let expected =
        b"v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 203.0.113.5\nb=AS:64\nt=0 0\nm=audio 40000 RTP/AVP 0\n";
    assert_eq!(rewritten(body, V4, &[Some(40000)]), expected);
    assert_eq!(Sdp::parse(body).unwrap().media()[0].connection, Connection::None);

    let bare = b"v=0\rm=audio 5004 RTP/AVP 0";
    assert_eq!(rewritten(bare, V4, &[Some(9)]), b"v=0\rc=IN IP4 203.0.113.5\rm=audio 9 RTP/AVP 0");
    let none = b"v=0\r\ns=-\r\n";
    assert_eq!(rewritten(none, V4, &[]), none, "nothing to receive, nothing to repair");
    let own = b"v=0\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP4 10.0.0.1\r\n";
    assert_eq!(rewritten(own, V4, &[]), b"v=0\r\nm=audio 0 RTP/AVP 0\r\nc=IN IP4 203.0.113.5\r\n");
}

#[test]
fn odd_bodies_keep_their_shape() {
    let body = b"\r\nv=0\r\n\xff\xfe Latin-1 \xe9\nX=unknown\na=tool:\xe9\r\r\nc=IN IP4 10.0.0.1\nm= audio\t5004/2  RTP/AVP  0  8 \r\nno equals sign\r\n\r\n\r\n";
    let expected = b"\r\nv=0\r\n\xff\xfe Latin-1 \xe9\nX=unknown\na=tool:\xe9\r\r\nc=IN IP4 203.0.113.5\nm= audio\t40000  RTP/AVP  0  8 \r\nno equals sign\r\n\r\n\r\n";
    assert_eq!(rewritten(body, V4, &[Some(40000)]), expected);
    // A line that only some readers see is seen here too.
    let hidden = b"v=0\r\nc=IN IP4 10.0.0.1\r\na=x\rc=IN IP4 10.9.9.9\rm=audio 1 RTP/AVP 0\r\n";
    assert!(!String::from_utf8_lossy(&rewritten(hidden, V4, &[Some(2)])).contains("10."));
}

#[test]
fn what_is_refused() {
    let error = |body: &[u8]| Sdp::parse(body).err();
    assert_eq!(error(b""), Some(SdpError::NoVersion));
    assert_eq!(error(b"\r\n\r\n"), Some(SdpError::NoVersion));
    assert_eq!(error(b"o=- 1 1 IN IP4 10.0.0.1\r\nv=0\r\n"), Some(SdpError::NoVersion));
    assert_eq!(error(b"<?xml version='1.0'?>"), Some(SdpError::NoVersion));
    for media in [
        "",
        "audio",
        "audio 5004",
        "audio x RTP/AVP 0",
        "audio 65536 RTP/AVP 0",
        "audio -1 RTP/AVP 0",
        "audio +1 RTP/AVP 0",
        "audio /2 RTP/AVP 0",
    ] {
        assert_eq!(error(format!("v=0\r\nm={media}\r\n").as_bytes()), Some(SdpError::BadMedia), "{media}");
    }
    for connection in ["", "IN", "IN IP4", "ATM NSAP 47.0091"] {
        let body = format!("v=0\r\nc={connection}\r\n");
        assert_eq!(error(body.as_bytes()), Some(SdpError::BadConnection), "{connection}");
    }
    let media = |count| format!("v=0\r\nc=IN IP4 10.0.0.1\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(count));
    assert_eq!(error(media(MAX_MEDIA).as_bytes()), None);
    assert_eq!(error(media(MAX_MEDIA + 1).as_bytes()), Some(SdpError::TooManyMedia));
}

#[test]
fn thousands_of_lines_take_linear_time() {
    let time = |count: usize| {
        let body = [
            "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n".to_owned(),
            "a=candidate:1 1 udp 1 10.0.0.1 5004 typ host\r\na=rtpmap:0 PCMU/8000\r\n".repeat(count),
        ]
        .concat();
        let start = Instant::now();
        let got = rewritten(body.as_bytes(), V4, &[Some(40000)]);
        assert_eq!(got.iter().filter(|&&b| b == b'\n').count(), count + 3);
        assert!(echo_answer(&Sdp::parse(body.as_bytes()).unwrap(), ip(V4), 2, 1, 1).is_some());
        start.elapsed()
    };
    time(100);
    assert!(time(20_000) < Duration::from_secs(5), "2.4 MB ought to take some ten milliseconds");
}

#[test]
fn the_echo_takes_the_first_plain_sound() {
    let offer = lines(&[
        "v=0",
        "o=- 1 1 IN IP4 10.0.0.1",
        "s=-",
        "c=IN IP4 10.0.0.1",
        "t=7 8",
        "m=audio 5002 RTP/SAVP 0",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
        "m=audio 0 RTP/AVP 0",
        "m=video 5006 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        "m=audio 5004 RTP/AVP 0 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=ptime:20",
        "a=rtcp-mux",
        "a=rtcp:5005",
        "a=sendonly",
        "a=rtpmap:101 telephone-event/8000",
        "m=audio 5008 RTP/AVP 8",
        "a=rtpmap:8 PCMA/8000",
    ]);
    let offer = Sdp::parse(&offer).unwrap();
    assert_eq!(echo_line(&offer), Some(3));
    let expected = lines(&[
        "v=0",
        "o=- 77 3 IN IP6 2001:db8::5",
        "s=-",
        "c=IN IP6 2001:db8::5",
        "t=7 8",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=video 0 RTP/AVP 96",
        "m=audio 40000 RTP/AVP 0 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=ptime:20",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtcp-mux",
        "a=recvonly",
        "m=audio 0 RTP/AVP 8",
    ]);
    let answer = echo_answer(&offer, ip(V6), 40000, 77, 3).unwrap();
    assert_eq!(String::from_utf8(answer), String::from_utf8(expected));

    for unusable in ["m=audio 5002 RTP/SAVP 0", "m=video 5002 RTP/AVP 96", "m=audio 0 RTP/AVP 0"] {
        let body = lines(&["v=0", "c=IN IP4 10.0.0.1", unusable]);
        assert_eq!(echo_answer(&Sdp::parse(&body).unwrap(), ip(V4), 2, 1, 1), None);
    }
}

#[test]
fn the_echo_offers_what_every_phone_has() {
    let offer = echo_offer(ip(V4), 40000, 5, 1);
    let sdp = Sdp::parse(&offer).unwrap();
    let [audio] = sdp.media() else { panic!() };
    assert_eq!(audio.rtp(), Some(SocketAddr::new(ip(V4), 40000)));
    assert!(audio.formats().eq([b"0".as_slice(), b"8", b"9", b"101"]));
    assert_eq!(audio.direction, Direction::SendRecv);
    assert_eq!(echo_line(&sdp), Some(0));
}

/// xorshift64*: enough to be different each time and the same for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

#[test]
fn whatever_comes_the_laws_hold() {
    let seeds = [
        "v=0\r\no=- 1 2 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP4 10.0.0.1/127\r\nt=0 0\r\na=sendonly\r\nm=audio 5004/2 RTP/AVP 0 8 101\r\nc=IN IP4 0.0.0.0\r\na=rtcp:5005 IN IP4 10.0.0.2\r\na=rtcp-mux\r\na=ice-ufrag:x\r\na=candidate:1\r\na=crypto:1 x\r\nm=image 6 udptl t38\r\n",
        "v=0\no=- 1 2 IN IP4 10.0.0.1\nm=video 0 RTP/SAVPF 96\na=group:BUNDLE a b\na=bundle-only\nm=audio 7 RTP/AVP 0\nb=AS:1\na=inactive\n",
    ];
    let pieces = [
        "\r\n",
        "\n",
        "\r",
        "m=",
        "c=",
        "c=IN IP4 1.2.3.4\r\n",
        "m=audio 1 RTP/AVP 0\n",
        "o=",
        "v=",
        "a=",
        "=",
        " ",
        "/",
        "65535",
        "99999",
        "\0",
        "a=rtcp:",
        "a=group:BUNDLE",
        "\u{e9}",
        "IP6",
        "::",
        "0.0.0.0",
    ];
    let mut random = Random(0x5eed_0001);
    let mut parsed = 0;
    for round in 0..40_000 {
        let mut body = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            let at = random.below(body.len() + 1);
            match random.below(4) {
                0 if at < body.len() => body[at] = random.below(256) as u8,
                1 => drop(body.drain(at..(at + random.below(20)).min(body.len()))),
                2 => {
                    let piece = pieces[random.below(pieces.len())].bytes();
                    drop(body.splice(at..at, piece));
                }
                _ => {
                    let copy = body[at..(at + random.below(60)).min(body.len())].to_vec();
                    let to = random.below(body.len() + 1);
                    drop(body.splice(to..to, copy));
                }
            }
        }
        let Ok(sdp) = Sdp::parse(&body) else { continue };
        parsed += 1;
        let address = ip([V4, V6][random.below(2)]);
        let ports = &[Some(40000), None, Some(40004)][..random.below(4)];
        for keys in [Keys::Stay, Keys::Go] {
            let once = relay(&sdp, address, ports, Origin::Stays, keys);
            check_laws(&sdp, &once, address, ports, keys);
        }
        if let Some(answer) = echo_answer(&sdp, address, 40000, 1, 1) {
            let answer = Sdp::parse(&answer).unwrap();
            assert_eq!(answer.media().len(), sdp.media().len());
            assert_eq!(answer.media().iter().filter(|m| m.port != 0).count(), 1);
        }
    }
    assert!(parsed > 10_000, "{parsed}: the mutations must leave something to look at");
}

/// Bodies of messages that real devices sent, where the collection is at hand.
#[test]
fn bodies_of_real_phones() {
    let Ok(folder) = std::fs::read_dir("../shared/corpus/realworld") else {
        return println!("skipped: ../shared/corpus/realworld is not there");
    };
    let mut seen = 0;
    for entry in folder {
        let path = entry.unwrap().path();
        let message = std::fs::read(&path).unwrap();
        let hostile = path.to_string_lossy().contains("hostile");
        let Some(start) = message.windows(7).position(|w| w == b"\r\n\r\nv=0") else { continue };
        let body = &message[start + 4..];
        match Sdp::parse(body) {
            Ok(sdp) => {
                seen += 1;
                let ports: std::vec::Vec<_> =
                    (0..sdp.media().len()).map(|i| Some(40000 + i as u16)).collect();
                for address in [V4, V6] {
                    rewritten(body, address, &ports);
                }
            }
            Err(error) => assert!(hostile, "{path:?}: {error:?}"),
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn who_is_not_to_be_known_is_not_named() {
    let body =
        b"v=0\r\no=- 7 9 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let sdp = Sdp::parse(body).unwrap();
    let ours: IpAddr = "203.0.113.5".parse().unwrap();
    let hidden = relay(&sdp, ours, &[Some(40_000)], Origin::Hidden, Keys::Go);
    let text = String::from_utf8(hidden.clone()).unwrap();
    assert!(!text.contains("10.0.0.7") && text.contains(" 9 IN IP4 203.0.113.5\r\n"), "{text}");
    assert_eq!(
        relay(&Sdp::parse(&hidden).unwrap(), ours, &[Some(40_000)], Origin::Hidden, Keys::Go),
        hidden,
        "and no other twice"
    );
}

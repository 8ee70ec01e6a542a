//! A session description: what the relay writes is understood as it was meant, and tells nobody where
//! the phone is.

use std::net::IpAddr;

use denwa::sip::sdp::{Connection, Keys, MAX_MEDIA, Origin, Sdp, echo_answer, echo_line, echo_offer, relay};

use super::cost;

/// The address that the relay has for one family or the other.
const OURS: [&str; 2] = ["203.0.113.5", "2001:db8::5"];

/// A body.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
}

fn look(body: &[u8]) {
    let Ok(sdp) = Sdp::parse(body) else { return };
    assert!(sdp.media().len() <= MAX_MEDIA);
    for media in sdp.media() {
        assert!(!media.is_relayable() || media.port != 0);
        assert!(media.rtp().is_none_or(|rtp| rtp.port() == media.port && !rtp.ip().is_unspecified()));
        assert!(media.rtcp().is_none_or(|rtcp| rtcp.port() != 0));
        assert!(media.formats().all(|format| !format.is_empty()));
        assert_eq!(media.direction.reversed().reversed(), media.direction);
        if let Connection::Address(address) = media.connection {
            assert_eq!(address, address.to_canonical());
        }
    }
    for address in OURS {
        let address: IpAddr = address.parse().unwrap();
        relayed(&sdp, body, address, &[Some(40_000), None, Some(40_004), Some(65_534)]);
        relayed(&sdp, body, address, &[]);
        echoed(&sdp, address);
    }
}

/// What the relay makes of it.
fn relayed(sdp: &Sdp<'_>, body: &[u8], address: IpAddr, ports: &[Option<u16>]) {
    for origin in [Origin::Stays, Origin::Hidden, Origin::Ours { session: 7, turn: 200 }] {
        for keys in [Keys::Stay, Keys::Go] {
            relayed_where(sdp, body, address, ports, origin, keys);
        }
    }
}

fn relayed_where(
    sdp: &Sdp<'_>,
    body: &[u8],
    address: IpAddr,
    ports: &[Option<u16>],
    origin: Origin,
    keys: Keys,
) {
    let written = relay(sdp, address, ports, origin, keys);
    assert!(written.len() <= body.len() * 8 + 64, "{} bytes became {}", body.len(), written.len());
    let text = written.escape_ascii();
    let read = Sdp::parse(&written).unwrap();
    assert_eq!(relay(&read, address, ports, origin, keys), written, "a second time changes nothing: {text}");
    assert_eq!(read.media().len(), sdp.media().len(), "{text}");
    if keys == Keys::Go {
        let mut lines = written.split(|b| b"\r\n".contains(b));
        let is_key = |line: &[u8]| line.starts_with(b"a=crypto:") || line.starts_with(b"a=acap:1 crypto:");
        assert!(!lines.any(is_key), "a key is told: {text}");
        assert!(!read.needs_keys(), "{text}");
    }
    for (index, (old, new)) in sdp.media().iter().zip(read.media()).enumerate() {
        assert_eq!(
            (new.kind, new.protocol, new.direction),
            (old.kind, old.protocol, old.direction),
            "{text}"
        );
        assert_eq!((new.fingerprint, new.rtcp_mux), (old.fingerprint, old.rtcp_mux), "{text}");
        assert_eq!(new.crypto, old.crypto && keys == Keys::Stay, "{text}");
        assert!(new.formats().eq(old.formats()), "{text}");
        assert!(new.rtcp.is_none() && !new.bundle_only, "{text}");
        let is_refused = old.port == 0 || old.is_refused(keys);
        let port = ports.get(index).copied().flatten().filter(|_| !is_refused);
        assert_eq!(new.port, port.unwrap_or(0), "{text}");
        let Connection::Address(there) = new.connection else { panic!("no address: {text}") };
        assert_eq!(there.is_ipv6(), address.is_ipv6(), "{text}");
        assert!(there == address || there.is_unspecified(), "the phone's address is told: {text}");
        let is_held = matches!(old.connection, Connection::Address(a) if a.is_unspecified());
        assert!(is_held || there == address, "{text}");
    }
}

/// What the echo test says to it.
fn echoed(sdp: &Sdp<'_>, address: IpAddr) {
    let offer = echo_offer(address, 40_000, 1, 2);
    assert_eq!(echo_line(&Sdp::parse(&offer).unwrap()), Some(0));

    let answer = echo_answer(sdp, address, 40_000, 1, 2);
    assert_eq!(answer.is_some(), echo_line(sdp).is_some());
    let (Some(answer), Some(taken)) = (answer, echo_line(sdp)) else { return };
    let text = answer.escape_ascii();
    let read = Sdp::parse(&answer).unwrap();
    assert_eq!(read.media().len(), sdp.media().len(), "as many lines as were offered: {text}");
    for (index, (offered, media)) in sdp.media().iter().zip(read.media()).enumerate() {
        assert_eq!(media.port, if index == taken { 40_000 } else { 0 }, "{text}");
        assert_eq!((media.kind, media.protocol), (offered.kind, offered.protocol), "{text}");
        assert!(media.formats().eq(offered.formats()), "{text}");
    }
    let media = &read.media()[taken];
    assert_eq!(media.direction, sdp.media()[taken].direction.reversed(), "{text}");
    assert_eq!(media.rtp().map(|rtp| rtp.ip()), Some(address), "{text}");
}

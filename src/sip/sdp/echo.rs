//! What the echo test says of itself: it takes any sound and sends the same back.

use std::net::IpAddr;

use super::line::{Lines, tokens};
use super::{Kind, Media, Sdp};

/// Which `m=` line of an offer the echo test takes: the first that is alive, sound, and plain RTP
/// (`RTP/AVP`, `RTP/AVPF`). With SRTP it could not send back what it hears, for its keys are
/// another's.
pub fn echo_line(offer: &Sdp<'_>) -> Option<usize> {
    offer.media().iter().position(is_plain_sound)
}

fn is_plain_sound(media: &Media<'_>) -> bool {
    let plain = [b"RTP/AVP".as_slice(), b"RTP/AVPF"];
    media.kind == Kind::Audio
        && media.port != 0
        && plain.iter().any(|name| media.protocol.eq_ignore_ascii_case(name))
}

/// The echo test's answer (RFC 3264 §6): the line of [`echo_line`] is accepted at `address` and
/// `port` with all its formats, whatever they are, since what comes is what goes; every other line is
/// refused. `id` and `version` are those of `o=`; the version goes up by one for each new answer
/// of a session that differs from the one before. `None` if no line can be taken: 488.
pub fn echo_answer(offer: &Sdp<'_>, address: IpAddr, port: u16, id: u64, version: u64) -> Option<Vec<u8>> {
    let taken = echo_line(offer)?;
    let mut out = Vec::with_capacity(offer.body.len() + 128);
    write_session(&mut out, address, id, version);
    write_times(&mut out, offer.body);

    let mut lines = Lines::of(offer.body);
    for (index, media) in offer.media().iter().enumerate() {
        // To this `m=` line, past the attributes of the one before.
        let Some((_, line)) = lines.by_ref().find_map(|l| l.split().filter(|(k, _)| *k == b'm')) else {
            break;
        };
        let kind = tokens(line).next().unwrap_or(line);
        let port = if index == taken { port } else { 0 };
        write(&mut out, &[b"m=", kind, b" ", port.to_string().as_bytes(), b" ", media.protocol]);
        for format in media.formats() {
            write(&mut out, &[b" ", format]);
        }
        out.extend_from_slice(b"\r\n");
        if index == taken {
            write_attributes(&mut out, lines.clone(), media);
        }
    }
    Some(out)
}

/// The echo test's offer, for an INVITE that brought none (RFC 3261 §13.2.1): what every phone has.
pub fn echo_offer(address: IpAddr, port: u16, id: u64, version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(300);
    write_session(&mut out, address, id, version);
    out.extend_from_slice(b"t=0 0\r\n");
    out.extend_from_slice(format!("m=audio {port} RTP/AVP 0 8 9 101\r\n").as_bytes());
    out.extend_from_slice(
        b"a=rtpmap:0 PCMU/8000\r\n\
          a=rtpmap:8 PCMA/8000\r\n\
          a=rtpmap:9 G722/8000\r\n\
          a=rtpmap:101 telephone-event/8000\r\n\
          a=fmtp:101 0-16\r\n\
          a=sendrecv\r\n",
    );
    out
}

fn write_session(out: &mut Vec<u8>, address: IpAddr, id: u64, version: u64) {
    let family = if address.is_ipv6() { "IP6" } else { "IP4" };
    let session =
        format!("v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\n");
    out.extend_from_slice(session.as_bytes());
}

/// RFC 3264 §6: the answer's `t=` equals the offer's.
fn write_times(out: &mut Vec<u8>, offer: &[u8]) {
    let start = out.len();
    let session = Lines::of(offer).map_while(|line| (!line.is(b'm')).then_some(line));
    for line in session.filter(|line| line.is(b't')) {
        write(out, &[line.text, b"\r\n"]);
    }
    if out.len() == start {
        out.extend_from_slice(b"t=0 0\r\n");
    }
}

/// The attributes that say how a format is written, and the direction seen from our side.
fn write_attributes(out: &mut Vec<u8>, lines: Lines<'_>, media: &Media<'_>) {
    let copied = [b"rtpmap:".as_slice(), b"fmtp:", b"ptime:", b"maxptime:"];
    let attributes = lines.map_while(|line| (!line.is(b'm')).then_some(line));
    for (kind, value) in attributes.filter_map(|line| line.split()) {
        if kind == b'a' && copied.iter().any(|name| value.starts_with(name)) {
            write(out, &[b"a=", value, b"\r\n"]);
        }
    }
    if media.rtcp_mux {
        out.extend_from_slice(b"a=rtcp-mux\r\n");
    }
    let direction = media.direction.reversed().as_str();
    write(out, &[b"a=", direction.as_bytes(), b"\r\n"]);
}

fn write(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

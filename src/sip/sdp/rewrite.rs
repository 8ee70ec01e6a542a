//! The relay puts itself between two phones.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher13;

use super::line::{Lines, tokens};
use super::{Connection, Sdp, key_capability};

/// What becomes of the keys of SRTP that stand in a body (SDES, RFC 4568).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are passed on.
    Stay,
    /// Somebody on the way could read them: they are taken out, and sound that is nothing without them is refused.
    Go,
}

/// What becomes of the line that says whose session it is (`o=`, RFC 8866 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stays as it is, if its address is of the family that is spoken.
    Stays,
    /// Nobody learns the address in it.
    Hidden,
    /// The session is denwa's: whoever reads it goes on with it when somebody else has taken the call over.
    Ours {
        /// By which it is known all the time.
        session: u32,
        /// How many have taken it over, at most [`MAX_TURN`]: the version goes up with each (RFC 3264 §8).
        turn: u8,
    },
}

/// The most [`Origin::Ours`] tells apart: versions stay below 2³¹, which is as much as some can read.
pub const MAX_TURN: u8 = 127;

/// The body as the other side shall see it: media goes to `address`, for the n-th `m=` line to
/// the n-th of `ports`; a line with `None`, or beyond the end of `ports`, is refused with port 0.
///
/// | line | what becomes of it |
/// |---|---|
/// | `c=` | our address; an unspecified one (hold, RFC 3264 §8.4) stays unspecified; added if an `m=` line had none |
/// | `m=` | our port; 0 stays 0, so that index and refusal are kept; `port/count` loses its count; 0 if it needs keys and they go |
/// | `a=rtcp` | removed: we receive RTCP on the port after RTP's, which is what is meant without it |
/// | ICE attributes (RFC 8839) | removed: the relay is the only candidate |
/// | `a=group:BUNDLE`, `a=bundle-only` (RFC 9143) | removed: each line has its own port |
/// | `a=crypto`, `a=acap:1 crypto:…` and the `a=pcfg`, `a=lcfg` (RFC 5939) that use it | removed where keys go |
/// | `o=` | see below |
///
/// Everything else stays byte for byte, in order, with its line endings: codecs,
/// `a=fingerprint`, `a=rtcp-mux`, what nobody knows yet.
///
/// `o=` identifies the session and nobody sends anything there, so it stays as it is: two phones of
/// one extension that write `101 8000 8000` differ in nothing but that address, and a caller that
/// saw them made equal would take the second phone's answer for the first one's. Only where the
/// family differs, our address takes its place, since a phone that knows IPv4 alone may refuse the
/// whole body, or where it is [`Origin::Hidden`]; then the session id becomes a hash of the old id and address, which
/// keeps them apart. The version is the phone's, but in [`Origin::Ours`], where it counts behind the turn.
///
/// Rewriting what was written with the same parameters changes nothing.
pub fn relay(sdp: &Sdp<'_>, address: IpAddr, ports: &[Option<u16>], origin: Origin, keys: Keys) -> Vec<u8> {
    let key_capabilities = match keys {
        Keys::Go if sdp.has_key_capabilities => key_capabilities(sdp.body),
        _ => Vec::new(),
    };
    let mut out = Vec::with_capacity(sdp.body.len() + 64);
    let mut lines_of_media = sdp.media.iter().zip(ports.iter().chain(std::iter::repeat(&None)));
    let mut in_session = true;
    let mut has_connection = false; // in this part: the session's or one `m=` line's
    let mut missing = sdp.lacks_connection();

    for line in Lines::of(sdp.body) {
        let (kind, value) = line.split().unwrap_or((0, b""));
        if missing && matches!(kind, b'b' | b't' | b'r' | b'z' | b'k' | b'a' | b'm') {
            // Here, because RFC 8866 §5 wants it before these.
            write_connection(&mut out, address);
            out.extend_from_slice(usual_ending(sdp.body));
            missing = false;
        }
        match kind {
            b'm' => {
                let port = match lines_of_media.next() {
                    Some((media, _)) if media.is_refused(keys) => 0,
                    Some((media, Some(port))) if media.port != 0 => *port,
                    _ => 0,
                };
                write_media(&mut out, line.text, port);
                (in_session, has_connection) = (false, false);
            }
            // Several in one part make sense for layered multicast alone.
            b'c' if has_connection => continue,
            b'c' => {
                write_connection(&mut out, if is_held(value) { nowhere(address) } else { address });
                has_connection = true;
            }
            b'o' if in_session => write_origin(&mut out, line.text, address, origin),
            b'a' if is_dissolved(value) => continue,
            b'a' if keys == Keys::Go && tells_keys(value, &key_capabilities) => continue,
            _ => out.extend_from_slice(line.text),
        }
        out.extend_from_slice(line.ending);
    }
    out
}

fn usual_ending(body: &[u8]) -> &[u8] {
    Lines::of(body).map(|line| line.ending).find(|e| !e.is_empty()).unwrap_or(b"\r\n")
}

/// `c=IN IP6 2001:db8::1`
fn write_connection(out: &mut Vec<u8>, address: IpAddr) {
    out.extend_from_slice(format!("c=IN {} {address}", family(address)).as_bytes());
}

/// An `m=` line, of which at least `m=` is there, with another port; the rest as it was.
fn write_media(out: &mut Vec<u8>, text: &[u8], port: u16) {
    let mut words = tokens(&text[2..]);
    let (Some(_kind), Some(old)) = (words.next(), words.next()) else {
        return out.extend_from_slice(text); // not an `m=` line that parses
    };
    let (start, end) = (text.len() - words.rest().len() - old.len(), text.len() - words.rest().len());
    out.extend_from_slice(&text[..start]);
    out.extend_from_slice(port.to_string().as_bytes());
    out.extend_from_slice(&text[end..]);
}

/// `o=` with our address, if it is of another family or not to be told.
fn write_origin(out: &mut Vec<u8>, text: &[u8], address: IpAddr, origin: Origin) {
    let mut words = tokens(text); // the first has `o=` before it, and keeps it
    let mut word = || words.next();
    let (Some(user), Some(id), Some(version), Some(_net), Some(its_family), Some(host)) =
        (word(), word(), word(), word(), word(), word())
    else {
        return out.extend_from_slice(text);
    };
    if let Origin::Ours { session, turn } = origin {
        let digits = version.iter().filter(|b| b.is_ascii_digit());
        let version =
            digits.fold(0u32, |sum, digit| sum.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
        let version = u32::from(turn.min(MAX_TURN)) << 24 | version & 0xff_ffff;
        let ours = format!("o=- {session} {version} IN {} {address}", family(address));
        return out.extend_from_slice(ours.as_bytes());
    }
    let other = if address.is_ipv6() { b"IP4" } else { b"IP6" };
    let is_hidden = origin == Origin::Hidden && host != address.to_string().as_bytes();
    if !is_hidden && !its_family.eq_ignore_ascii_case(other) {
        return out.extend_from_slice(text);
    }
    let mut hash = SipHasher13::new(); // of fixed key: the same after a restart
    for part in [id, b" ", host] {
        hash.write(part);
    }
    let id = hash.finish() >> 2; // RFC 3264 §5 keeps it below 2⁶²
    out.extend_from_slice(user);
    out.extend_from_slice(format!(" {id} ").as_bytes());
    out.extend_from_slice(version);
    out.extend_from_slice(format!(" IN {} {address}", family(address)).as_bytes());
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "IP6" } else { "IP4" }
}

/// The unspecified address of the same family.
fn nowhere(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn is_held(connection: &[u8]) -> bool {
    matches!(Connection::parse(connection), Ok(Connection::Address(a)) if a.is_unspecified())
}

/// Whether an attribute speaks of a path that the relay takes the place of.
fn is_dissolved(attribute: &[u8]) -> bool {
    let (name, value) = match attribute.iter().position(|&b| b == b':') {
        Some(colon) => (&attribute[..colon], &attribute[colon + 1..]),
        None => (attribute, &b""[..]),
    };
    match name {
        b"candidate" | b"remote-candidates" | b"end-of-candidates" => true,
        b"rtcp" | b"bundle-only" => true,
        b"group" => tokens(value).next() == Some(b"BUNDLE"),
        _ => name.starts_with(b"ice-"),
    }
}

/// The numbers of the capabilities that are keys, in order.
fn key_capabilities(body: &[u8]) -> Vec<&[u8]> {
    let attributes = Lines::of(body).filter_map(|line| line.split()).filter(|(kind, _)| *kind == b'a');
    let mut numbers: Vec<&[u8]> = attributes.filter_map(|(_, value)| key_capability(value)).collect();
    numbers.sort_unstable();
    numbers
}

/// Whether an attribute is a key, or offers to use one of the capabilities that are.
fn tells_keys(attribute: &[u8], key_capabilities: &[&[u8]]) -> bool {
    if attribute.starts_with(b"crypto:") || key_capability(attribute).is_some() {
        return true;
    }
    let Some(configuration) = attribute.strip_prefix(b"pcfg:").or(attribute.strip_prefix(b"lcfg:")) else {
        return false;
    };
    // `pcfg:1 t=1 a=-m:1,[2]|3`: the numbers stand between signs.
    let used = tokens(configuration).filter_map(|word| word.strip_prefix(b"a="));
    used.flat_map(|list| list.split(|b| !b.is_ascii_digit()))
        .any(|n| key_capabilities.binary_search(&n).is_ok())
}

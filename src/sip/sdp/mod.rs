//! Session descriptions (RFC 8866, RFC 4566): where the sound is wanted, and how the relay puts
//! itself in between.
//!
//! [`Sdp::parse`] looks at a body, [`relay`] writes it anew with the relay's addresses in place
//! of the phone's, [`echo_answer`] and [`echo_offer`] are the words of the echo test. All are pure:
//! equal input gives equal bytes, so a retransmitted answer is the same answer. All take time
//! linear in the body.

mod echo;
mod line;
mod rewrite;

use std::net::{IpAddr, SocketAddr};

use heapless::Vec;

pub use echo::{echo_answer, echo_line, echo_offer};
pub use rewrite::{Keys, MAX_TURN, Origin, relay};

use line::{Lines, tokens};

/// The most `m=` lines that a body may have; one with more is an error.
pub const MAX_MEDIA: usize = 16;

/// A body that was understood. Borrows from it and allocates nothing.
///
/// What is read is the little that a relay has to know. Lines may end in CRLF, LF or a lone CR;
/// blank and unknown lines, missing `o=`, `s=` and `t=` lines, and bytes of any character set are
/// let pass.
#[derive(Clone, Debug)]
pub struct Sdp<'a> {
    body: &'a [u8],
    media: Vec<Media<'a>, MAX_MEDIA>,
    has_connection: bool,
    has_key_capabilities: bool,
}

/// Why a body was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// The first line is not `v=`.
    NoVersion,
    /// An `m=` line without kind, port or protocol, or with a port above 65535.
    BadMedia,
    /// A `c=` line that is not `IN`, an address type and an address.
    BadConnection,
    /// More than [`MAX_MEDIA`] `m=` lines.
    TooManyMedia,
}

/// One `m=` line with what belongs to it (RFC 8866 §5.14), at media level or by inheritance.
#[derive(Clone, Debug)]
pub struct Media<'a> {
    /// What is carried.
    pub kind: Kind,
    /// Where RTP (or UDPTL …) is wanted; 0: the stream is refused or ended. The form `port/count`
    /// is read as its first port, and [`relay`] drops the count: one stream a line.
    pub port: u16,
    /// The transport, as written, e.g. `RTP/AVP`.
    pub protocol: &'a [u8],
    /// Where the stream is wanted: by its own `c=` line, else the session's.
    pub connection: Connection<'a>,
    /// `a=rtcp` (RFC 3605).
    pub rtcp: Option<Rtcp>,
    /// `a=rtcp-mux` (RFC 5761): RTCP may come on RTP's port. True in an answer means accepted.
    pub rtcp_mux: bool,
    /// Who sends.
    pub direction: Direction,
    /// `a=bundle-only` (RFC 9143): with port 0 in an offer, wanted only inside a bundle; since
    /// [`relay`] dissolves bundles, such a line counts as refused.
    pub bundle_only: bool,
    /// `a=crypto` (RFC 4568): keys for SRTP are in the body.
    pub crypto: bool,
    /// `a=fingerprint` (RFC 8122): DTLS is offered.
    pub fingerprint: bool,
    /// What `a=rtpmap` calls the first format: `opus/48000/2`.
    pub encoding: Option<&'a [u8]>,
    formats: &'a [u8],
}

/// What an `m=` line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures that move.
    Video,
    /// T.38 fax, mostly.
    Image,
    /// Data channels, slides, camera control.
    Application,
    /// Text while it is typed (RFC 4103).
    Text,
    /// `message` and whatever else there is.
    Other,
}

/// Where a `c=` line points (RFC 8866 §5.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection<'a> {
    /// An address; never IPv4 mapped into IPv6. May be unspecified (the old way to put a call on
    /// hold, RFC 3264 §8.4), multicast, private.
    Address(IpAddr),
    /// A host name, or what else stands there.
    Name(&'a [u8]),
    /// Neither the line nor the session has one.
    #[default]
    None,
}

/// `a=rtcp:port [IN IP4 address]` (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// The address, if it differs from RTP's.
    pub address: Option<IpAddr>,
}

/// Who sends, seen from the author of the body (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both sides: what is meant if nothing is said.
    #[default]
    SendRecv,
    /// The author alone.
    SendOnly,
    /// The other side alone.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl<'a> Sdp<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`SdpError`] names the rule that was broken; RFC 3261 §13.3.1.3 answers 488 to all of them.
    pub fn parse(body: &'a [u8]) -> Result<Sdp<'a>, SdpError> {
        let mut sdp = Sdp { body, media: Vec::new(), has_connection: false, has_key_capabilities: false };
        let mut session = Inherited::default();
        let mut has_connection = false; // in this part: the session's or one `m=` line's
        let mut lines = Lines::of(body).filter(|line| !line.text.is_empty());

        if !lines.next().is_some_and(|line| line.is(b'v')) {
            return Err(SdpError::NoVersion);
        }
        for line in lines {
            let Some((kind, value)) = line.split() else { continue };
            match (kind, sdp.media.last_mut()) {
                (b'm', _) => {
                    let media = Media::parse(value, &session).ok_or(SdpError::BadMedia)?;
                    sdp.media.push(media).map_err(|_| SdpError::TooManyMedia)?;
                    has_connection = false;
                }
                (b'c', media) => {
                    let connection = Connection::parse(value)?;
                    sdp.has_connection |= media.is_none();
                    // The first one counts, and is the one that [`relay`] keeps.
                    if !std::mem::replace(&mut has_connection, true) {
                        *media.map_or(&mut session.connection, |media| &mut media.connection) = connection;
                    }
                }
                (b'a', _) if key_capability(value).is_some() => sdp.has_key_capabilities = true,
                (b'a', None) => session.attribute(value),
                (b'a', Some(media)) => media.attribute(value),
                _ => {}
            }
        }
        // A session's own lines stand before its first `m=`, so inheriting at `m=` saw them all.
        Ok(sdp)
    }

    /// The `m=` lines in their order.
    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// Whether it asks for encrypted sound with keys in the body, and for nothing else: no sound that is alive does
    /// without.
    pub fn needs_keys(&self) -> bool {
        let is_plain =
            |media: &Media<'_>| media.kind == Kind::Audio && media.port != 0 && !media.needs_keys();
        self.media.iter().any(Media::needs_keys) && !self.media.iter().any(is_plain)
    }

    /// Whether some `m=` line has no address at all, which RFC 8866 §5.7 forbids and phones do.
    fn lacks_connection(&self) -> bool {
        !self.has_connection && self.media.iter().any(|m| m.connection == Connection::None)
    }
}

/// What the session part says for all its `m=` lines.
#[derive(Default)]
struct Inherited<'a> {
    connection: Connection<'a>,
    direction: Direction,
    fingerprint: bool,
}

impl Inherited<'_> {
    fn attribute(&mut self, value: &[u8]) {
        if let Some(direction) = Direction::parse(value) {
            self.direction = direction;
        } else if value.starts_with(b"fingerprint:") {
            self.fingerprint = true;
        }
    }
}

impl<'a> Media<'a> {
    /// The value of an `m=` line: `audio 49170/2 RTP/AVP 0 8`.
    fn parse(value: &'a [u8], session: &Inherited<'a>) -> Option<Media<'a>> {
        let mut words = tokens(value);
        let kind = Kind::parse(words.next()?);
        let port = words.next()?.split(|&b| b == b'/').next().and_then(number)?;
        let protocol = words.next()?;
        Some(Media {
            kind,
            port,
            protocol,
            connection: session.connection,
            rtcp: None,
            rtcp_mux: false,
            direction: session.direction,
            bundle_only: false,
            crypto: false,
            fingerprint: session.fingerprint,
            encoding: None,
            formats: words.rest(),
        })
    }

    fn attribute(&mut self, value: &'a [u8]) {
        if let Some(direction) = Direction::parse(value) {
            self.direction = direction;
        } else if let Some(rtcp) = value.strip_prefix(b"rtcp:") {
            self.rtcp = Rtcp::parse(rtcp);
        } else if let Some(map) = value.strip_prefix(b"rtpmap:") {
            let mut words = tokens(map);
            if words.next().is_some_and(|format| self.formats().next() == Some(format)) {
                self.encoding = self.encoding.or(words.next());
            }
        } else if value == b"rtcp-mux" {
            self.rtcp_mux = true;
        } else if value == b"bundle-only" {
            self.bundle_only = true;
        } else if value.starts_with(b"crypto:") {
            self.crypto = true;
        } else if value.starts_with(b"fingerprint:") {
            self.fingerprint = true;
        }
    }

    /// The formats, as written: payload types of RTP, `t38` of UDPTL.
    pub fn formats(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        tokens(self.formats)
    }

    /// Whether the line is alive and moves by UDP, so that the relay can carry it. What is secure
    /// counts: it passes the relay as it is.
    pub fn is_relayable(&self) -> bool {
        let by_udp = [b"RTP/".as_slice(), b"UDP"]; // RTP/AVP …, udptl, UDP/TLS/RTP/SAVPF, UDP/BFCP
        let starts = |name: &&[u8]| {
            self.protocol.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        self.port != 0 && by_udp.iter().any(starts)
    }

    /// Whether it is alive, and is nothing without the keys in the body: SRTP (RFC 3711) by SDES. With a fingerprint
    /// the keys are agreed on elsewhere.
    pub fn needs_keys(&self) -> bool {
        let secure = [b"RTP/SAVP".as_slice(), b"RTP/SAVPF"];
        self.port != 0
            && self.crypto
            && !self.fingerprint
            && secure.iter().any(|name| self.protocol.eq_ignore_ascii_case(name))
    }

    /// Whether it is refused, for it is nothing without its keys.
    pub fn is_refused(&self, keys: Keys) -> bool {
        keys == Keys::Go && self.needs_keys()
    }

    /// Where RTP is wanted, if that is an address and a port that one can send to.
    pub fn rtp(&self) -> Option<SocketAddr> {
        match self.connection {
            Connection::Address(address) => target(address, self.port),
            _ => None,
        }
    }

    /// Where RTCP is wanted if it is not multiplexed: as `a=rtcp` says, else on the next port.
    pub fn rtcp(&self) -> Option<SocketAddr> {
        let rtp = self.rtp()?;
        match self.rtcp {
            Some(rtcp) => target(rtcp.address.unwrap_or(rtp.ip()), rtcp.port),
            None => target(rtp.ip(), rtp.port().checked_add(1)?),
        }
    }
}

fn target(address: IpAddr, port: u16) -> Option<SocketAddr> {
    (port != 0 && !address.is_unspecified()).then(|| SocketAddr::new(address, port))
}

impl Kind {
    fn parse(word: &[u8]) -> Kind {
        let kinds = [
            (b"audio".as_slice(), Kind::Audio),
            (b"video", Kind::Video),
            (b"image", Kind::Image),
            (b"application", Kind::Application),
            (b"text", Kind::Text),
        ];
        let known = kinds.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        known.map_or(Kind::Other, |&(_, kind)| kind)
    }
}

impl<'a> Connection<'a> {
    /// The value of a `c=` line: `IN IP4 224.2.36.42/127`.
    fn parse(value: &'a [u8]) -> Result<Connection<'a>, SdpError> {
        let mut words = tokens(value);
        let (Some(net), Some(_family), Some(host)) = (words.next(), words.next(), words.next()) else {
            return Err(SdpError::BadConnection);
        };
        if !net.eq_ignore_ascii_case(b"IN") {
            return Err(SdpError::BadConnection);
        }
        let host = host.split(|&b| b == b'/').next().unwrap_or(host); // without TTL and count
        match address(host) {
            Some(address) => Ok(Connection::Address(address)),
            None => Ok(Connection::Name(host)),
        }
    }
}

impl Rtcp {
    fn parse(value: &[u8]) -> Option<Rtcp> {
        let mut words = tokens(value);
        let port = words.next().and_then(number)?;
        Some(Rtcp { port, address: words.nth(2).and_then(address) })
    }
}

impl Direction {
    fn parse(attribute: &[u8]) -> Option<Direction> {
        match attribute {
            b"sendrecv" => Some(Direction::SendRecv),
            b"sendonly" => Some(Direction::SendOnly),
            b"recvonly" => Some(Direction::RecvOnly),
            b"inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }

    /// The same, seen from the other side.
    pub fn reversed(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            both => both,
        }
    }

    /// Whether the author sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the author wants to receive.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// As an attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// The number of a capability (RFC 5939 §3.4.1) that is keys: `acap:1 crypto:1 AES_CM…`.
fn key_capability(attribute: &[u8]) -> Option<&[u8]> {
    let mut words = tokens(attribute.strip_prefix(b"acap:")?);
    let number = words.next()?;
    words.next().filter(|word| word.starts_with(b"crypto:")).map(|_| number)
}

fn number(digits: &[u8]) -> Option<u16> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None; // `parse` would let a sign pass
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An address, with the brackets that some phones put around IPv6.
fn address(text: &[u8]) -> Option<IpAddr> {
    let bare = text.strip_prefix(b"[").and_then(|t| t.strip_suffix(b"]")).unwrap_or(text);
    let address: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;

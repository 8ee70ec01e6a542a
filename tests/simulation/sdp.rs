//! Session descriptions (RFC 4566) and the offer/answer model (RFC 3264) as a phone sees them.

use std::net::{IpAddr, SocketAddr};

/// What a description says that matters here: where each stream wants its packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Sdp {
    /// `o=`'s session version: goes up with each change.
    pub version: u64,
    /// `o=`'s user and session number.
    pub origin: String,
    pub media: Vec<Media>,
    /// Attribute lines of the session's head.
    pub attributes: Vec<String>,
}

/// One `m=` line.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// `audio`, `video`.
    pub kind: String,
    pub protocol: String,
    pub formats: String,
    /// Where its RTP goes; port 0 for a stream that is refused or off.
    pub rtp: SocketAddr,
    pub direction: Direction,
    /// Further attribute lines.
    pub attributes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    const ALL: [(Direction, &'static str); 4] = [
        (Direction::SendRecv, "sendrecv"),
        (Direction::SendOnly, "sendonly"),
        (Direction::RecvOnly, "recvonly"),
        (Direction::Inactive, "inactive"),
    ];

    /// What answers an offer of this (RFC 3264 §6.1) if the answerer wants `wish`.
    pub fn answer(self, wish: Direction) -> Direction {
        let (offer_sends, offer_receives) = self.flags();
        let (sends, receives) = wish.flags();
        match (sends && offer_receives, receives && offer_sends) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether it sends, whether it receives.
    pub fn flags(self) -> (bool, bool) {
        match self {
            Direction::SendRecv => (true, true),
            Direction::SendOnly => (true, false),
            Direction::RecvOnly => (false, true),
            Direction::Inactive => (false, false),
        }
    }

    fn text(self) -> &'static str {
        Self::ALL.iter().find(|(d, _)| *d == self).map_or("sendrecv", |(_, text)| text)
    }
}

impl Sdp {
    pub fn write(&self) -> Vec<u8> {
        let address = self.media.first().map_or(IpAddr::from([0, 0, 0, 0]), |m| m.rtp.ip());
        let family = if address.is_ipv6() { "IP6" } else { "IP4" };
        let Sdp { origin, version, .. } = self;
        let mut text = format!(
            "v=0\r\no={origin} {version} IN {family} {address}\r\ns=-\r\n\
             c=IN {family} {address}\r\nt=0 0\r\n"
        );
        for attribute in &self.attributes {
            text += &format!("a={attribute}\r\n");
        }
        for media in &self.media {
            let Media { kind, protocol, formats, rtp, .. } = media;
            text += &format!("m={kind} {} {protocol} {formats}\r\n", rtp.port());
            for attribute in &media.attributes {
                text += &format!("a={attribute}\r\n");
            }
            text += &format!("a={}\r\n", media.direction.text());
        }
        text.into_bytes()
    }

    /// Reads a description, strictly: CRLF, lines in their order, a `c=` for each stream, and
    /// nothing left of ICE, which cannot pass a relay.
    pub fn read(body: &[u8]) -> Result<Sdp, String> {
        let text = std::str::from_utf8(body).map_err(|_| "SDP that is not UTF-8")?;
        let text = text.strip_suffix("\r\n").ok_or("SDP without a last CRLF")?;
        let mut sdp = Sdp { version: 0, origin: String::new(), media: Vec::new(), attributes: Vec::new() };
        let mut default: Option<IpAddr> = None;
        let mut own: Vec<Option<IpAddr>> = Vec::new();
        let mut seen = String::new();
        for line in text.split("\r\n") {
            let broken = || format!("SDP line {line:?}");
            let (kind, value) = line.split_once('=').ok_or_else(broken)?;
            if kind.len() != 1 || value.contains(['\r', '\n']) {
                return Err(broken());
            }
            seen += kind;
            match kind {
                "v" if value != "0" => return Err(broken()),
                "o" => {
                    let words: Vec<&str> = value.split(' ').collect();
                    let [user, id, version, "IN", _, _] = words[..] else {
                        return Err(broken());
                    };
                    sdp.origin = format!("{user} {id}");
                    sdp.version = version.parse().map_err(|_| broken())?;
                }
                "c" => {
                    let words: Vec<&str> = value.split(' ').collect();
                    let ["IN", family, address] = words[..] else {
                        return Err(broken());
                    };
                    let address: IpAddr = address.parse().map_err(|_| broken())?;
                    if (family == "IP6") != address.is_ipv6() {
                        return Err(broken());
                    }
                    match own.last_mut() {
                        Some(own) => *own = Some(address),
                        None => default = Some(address),
                    }
                }
                "m" => {
                    let mut words = value.splitn(4, ' ');
                    let mut word = || words.next().ok_or_else(broken);
                    let (kind, port) = (word()?.into(), word()?);
                    let port = port.parse().map_err(|_| broken())?;
                    let (protocol, formats) = (word()?.into(), word()?.into());
                    let rtp = SocketAddr::from(([0, 0, 0, 0], port));
                    let (direction, attributes) = (Direction::SendRecv, Vec::new());
                    let media = Media { kind, protocol, formats, rtp, direction, attributes };
                    sdp.media.push(media);
                    own.push(None);
                }
                "a" => {
                    let ice = ["candidate:", "ice-", "end-of-candidates", "group:BUNDLE"];
                    if ice.iter().any(|ice| value.starts_with(ice)) {
                        return Err(format!("{line:?} cannot pass a relay"));
                    }
                    let direction = Direction::ALL.iter().find(|(_, text)| *text == value);
                    match (sdp.media.last_mut(), direction) {
                        (Some(media), Some((direction, _))) => media.direction = *direction,
                        (Some(media), None) => media.attributes.push(value.into()),
                        (None, _) => sdp.attributes.push(value.into()),
                    }
                }
                _ => {}
            }
        }
        if !seen.starts_with("vos") {
            return Err(format!("SDP lines in the order {seen}"));
        }
        for (media, own) in sdp.media.iter_mut().zip(own) {
            let address = own.or(default).ok_or("an SDP stream without c= line")?;
            media.rtp.set_ip(address);
        }
        Ok(sdp)
    }
}

#[test]
fn what_is_written_is_read() {
    let media = |kind: &str, port, direction| Media {
        kind: kind.into(),
        protocol: "RTP/AVP".into(),
        formats: "0 8".into(),
        rtp: SocketAddr::new("2001:db8::7".parse().unwrap(), port),
        direction,
        attributes: vec!["rtpmap:0 PCMU/8000".into()],
    };
    let media = vec![media("audio", 4000, Direction::SendOnly), media("video", 0, Direction::SendRecv)];
    let sdp = Sdp { version: 3, origin: "- 17".into(), media, attributes: vec!["tool:x".into()] };
    assert_eq!(Sdp::read(&sdp.write()), Ok(sdp));
}

#[test]
fn an_answer_never_promises_what_was_not_offered() {
    use Direction::*;
    assert_eq!(SendRecv.answer(SendRecv), SendRecv);
    assert_eq!(SendOnly.answer(SendRecv), RecvOnly);
    assert_eq!(RecvOnly.answer(SendRecv), SendOnly);
    assert_eq!(SendOnly.answer(SendOnly), Inactive);
    assert_eq!(Inactive.answer(SendRecv), Inactive);
}

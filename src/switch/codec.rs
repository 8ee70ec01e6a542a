//! What a stream is made of, for people to read. Nothing in the exchange depends on it.

use serde::{Deserialize, Serialize};

use crate::sip::printable;
use crate::sip::sdp::Media;

/// How much of a name is kept, in bytes: `AMR-WB`, `telephone-event`.
const MOST: usize = 16;

/// The first format of an `m=` line: in an answer, what will be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
pub(super) struct Codec {
    payload_type: Option<u8>,
    /// What `a=rtpmap` or the line itself calls it; zeros behind.
    name: [u8; MOST],
}

impl Codec {
    /// That of a line.
    pub(super) fn of(media: &Media<'_>) -> Codec {
        let Some(first) = media.formats().next() else { return Codec::default() };
        let payload_type = std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok());
        let said = media.encoding.unwrap_or(if payload_type.is_none() { first } else { b"" });
        let said = said.split(|&b| b == b'/').next().unwrap_or_default();
        let mut name = [0; MOST];
        name.iter_mut().zip(said).for_each(|(to, from)| *to = *from);
        Codec { payload_type, name }
    }

    /// What two lines agree on: this one, or the other if nobody called this one anything.
    pub(super) fn common(self, other: &Codec) -> Codec {
        if self.is_named() { self } else { *other }
    }

    fn is_named(&self) -> bool {
        self.name[0] != 0 || self.payload_type.is_some_and(|payload| usual(payload).is_some())
    }

    /// Its name as people know it: by RFC 3551 where the number is enough, else as it was called; `?` if
    /// that is not known.
    pub(super) fn name(&self) -> String {
        let said = self.name.split(|&b| b == 0).next().unwrap_or_default();
        let known = self.payload_type.and_then(usual);
        match (known, said, self.payload_type) {
            (Some(known), ..) => known.into(),
            (None, b"t38", _) => "T.38".into(),
            (None, b"", Some(payload)) => format!("? ({payload})"),
            (None, b"", None) => "?".into(),
            (None, said, _) => printable(said, MOST),
        }
    }
}

/// The payload types that have one meaning (RFC 3551 §6).
pub(crate) fn usual(payload_type: u8) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU",
        3 => "GSM",
        4 => "G723",
        5 | 6 | 16 | 17 => "DVI4",
        7 => "LPC",
        8 => "PCMA",
        9 => "G722",
        10 | 11 => "L16",
        12 => "QCELP",
        13 => "CN",
        14 => "MPA",
        15 => "G728",
        18 => "G729",
        25 => "CelB",
        26 => "JPEG",
        28 => "nv",
        31 => "H261",
        32 => "MPV",
        33 => "MP2T",
        34 => "H263",
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sip::sdp::Sdp;

    fn named(line: &str) -> String {
        let body = format!("v=0\r\nc=IN IP4 192.0.2.1\r\nm={line}\r\n");
        Codec::of(&Sdp::parse(body.as_bytes()).unwrap().media()[0]).name()
    }

    #[test]
    fn by_number_by_name_or_not_at_all() {
        assert_eq!(named("audio 9 RTP/AVP 0 8"), "PCMU");
        assert_eq!(named("audio 9 RTP/AVP 9\r\na=rtpmap:9 G722/8000"), "G722");
        let opus = "audio 9 RTP/AVP 111 0\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:111 opus/48000/2";
        assert_eq!(named(opus), "opus");
        assert_eq!(named("audio 9 RTP/AVP 97"), "? (97)");
        assert_eq!(named("image 9 udptl t38"), "T.38");
        assert_eq!(named("audio 9 RTP/AVP"), "?");
        let nasty = "audio 9 RTP/AVP 97\r\na=rtpmap:97 \x1b[31m-and-so-on-and-on/8000";
        assert_eq!(named(nasty), "?[31m-and-so-on-");
    }
}

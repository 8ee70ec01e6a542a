//! Offer and answer (RFC 3264): what a phone has agreed on with its peer, and what is under way.

use std::net::{IpAddr, SocketAddr};

use crate::sdp::{Direction, Media, Sdp};

/// What an offer may change, beside directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// Where our streams are received.
    Ports,
    /// One more stream.
    Video,
    /// The first stream becomes T.38.
    Fax,
    /// The first stream becomes audio again.
    Voice,
}

/// The media state of one dialog.
#[derive(Clone, Debug)]
pub struct Negotiation {
    /// The descriptions in force.
    pub local: Option<Sdp>,
    pub remote: Option<Sdp>,
    /// Ours, waiting for an answer.
    offered: Option<Sdp>,
    /// Theirs, waiting for ours.
    received: Option<Sdp>,
    /// What we want of each stream.
    pub wish: Direction,
    /// Where our audio is; video is four ports above.
    rtp: SocketAddr,
    video: bool,
    origin: String,
    version: u64,
}

impl Negotiation {
    pub fn new(address: IpAddr, port: u16, video: bool, origin: u64) -> Negotiation {
        Negotiation {
            local: None,
            remote: None,
            offered: None,
            received: None,
            wish: Direction::SendRecv,
            rtp: SocketAddr::new(address, port),
            video,
            origin: format!("phone {origin}"),
            version: 0,
        }
    }

    /// Whether an offer waits for its answer, from either side.
    pub fn is_pending(&self) -> bool {
        self.offered.is_some() || self.received.is_some()
    }

    /// Whether an offer of ours waits for its answer.
    pub fn has_offered(&self) -> bool {
        self.offered.is_some()
    }

    /// Whether both sides have agreed once.
    pub fn is_settled(&self) -> bool {
        self.local.is_some() && self.remote.is_some()
    }

    /// A new offer: the streams that there are, with what is wished now.
    pub fn offer(&mut self) -> Sdp {
        self.offer_change(Change::Nothing)
    }

    /// A new offer that changes the streams.
    pub fn offer_change(&mut self, change: Change) -> Sdp {
        self.version += 1;
        let mut media: Vec<Media> = match &self.local {
            Some(local) => {
                let wished = |media: &Media| Media { direction: self.wish, ..media.clone() };
                local.media.iter().map(wished).collect()
            }
            None if self.video => vec![self.audio(), self.picture()],
            None => vec![self.audio()],
        };
        match change {
            Change::Nothing => {}
            Change::Ports => {
                for media in media.iter_mut().filter(|media| media.rtp.port() != 0) {
                    media.rtp.set_port(media.rtp.port() % 50_000 + 2000);
                }
            }
            Change::Video => {
                let has = media.iter().any(|media| media.kind == "video");
                self.video = true;
                media.extend((!has).then(|| self.picture()));
            }
            Change::Fax => media[0] = self.fax(),
            Change::Voice => media[0] = self.audio(),
        }
        let offer = self.describe(media);
        self.offered = Some(offer.clone());
        offer
    }

    /// Their offer; to be answered at once or when the user picks up.
    pub fn take_offer(&mut self, body: &[u8]) -> Result<(), String> {
        let offer = Sdp::read(body)?;
        self.check_family(&offer)?;
        self.received = Some(offer);
        Ok(())
    }

    /// Our answer, which puts both descriptions in force. The last one again if nothing was asked.
    pub fn answer(&mut self) -> Option<Sdp> {
        let Some(offer) = self.received.take() else {
            return self.local.clone();
        };
        self.version += 1;
        let own = [self.audio(), self.picture(), self.fax()];
        let answered = |theirs: &Media| {
            let mut ours = theirs.clone();
            let known = own.iter().find(|own| own.kind == theirs.kind);
            let wanted = theirs.rtp.port() != 0 && (theirs.kind != "video" || self.video);
            let port = known.filter(|_| wanted).map_or(0, |own| own.rtp.port());
            ours.rtp = SocketAddr::new(self.rtp.ip(), port);
            ours.direction = theirs.direction.answer(self.wish);
            ours.attributes.retain(|attribute| !attribute.starts_with("rtcp:"));
            ours
        };
        let media = offer.media.iter().map(answered).collect();
        let answer = self.describe(media);
        self.local = Some(answer.clone());
        self.remote = Some(offer);
        Some(answer)
    }

    /// Their answer, which puts both descriptions in force.
    pub fn take_answer(&mut self, body: &[u8]) -> Result<(), String> {
        let answer = Sdp::read(body)?;
        let Some(offer) = self.offered.clone() else {
            return Err("an answer to nothing".into());
        };
        if offer.media.len() != answer.media.len() {
            let (asked, got) = (offer.media.len(), answer.media.len());
            return Err(format!("{got} m= lines answer {asked} (RFC 3264 §6)"));
        }
        self.check_family(&answer)?;
        for (asked, got) in offer.media.iter().zip(&answer.media) {
            if asked.kind != got.kind {
                return Err(format!("m={} answers m={}", got.kind, asked.kind));
            }
            if asked.rtp.port() == 0 && got.rtp.port() != 0 {
                return Err(format!("m={} was off and is answered with a port", asked.kind));
            }
        }
        self.offered = None;
        self.local = Some(offer);
        self.remote = Some(answer);
        Ok(())
    }

    /// The offer under way came to nothing; what was in force stays.
    pub fn abandon(&mut self) {
        self.offered = None;
        self.received = None;
    }

    /// What the peer's description would reach: it has to speak our family of addresses.
    fn check_family(&self, sdp: &Sdp) -> Result<(), String> {
        let strange = |media: &&Media| media.rtp.is_ipv6() != self.rtp.is_ipv6();
        match sdp.media.iter().find(strange) {
            Some(media) => Err(format!("cannot reach media at {}", media.rtp)),
            None => Ok(()),
        }
    }

    fn describe(&self, media: Vec<Media>) -> Sdp {
        let origin = self.origin.clone();
        let attributes = vec!["tool:simulated".into()];
        Sdp { version: self.version, origin, media, attributes }
    }

    fn audio(&self) -> Media {
        Media {
            kind: "audio".into(),
            protocol: "RTP/AVP".into(),
            formats: "0 8 101".into(),
            rtp: self.rtp,
            direction: self.wish,
            attributes: vec![
                "rtpmap:0 PCMU/8000".into(),
                "rtpmap:101 telephone-event/8000".into(),
                "fmtp:101 0-15".into(),
            ],
        }
    }

    fn fax(&self) -> Media {
        Media {
            kind: "image".into(),
            protocol: "udptl".into(),
            formats: "t38".into(),
            rtp: self.rtp,
            direction: Direction::SendRecv,
            attributes: vec!["T38FaxVersion:0".into(), "T38FaxUdpEC:t38UDPRedundancy".into()],
        }
    }

    fn picture(&self) -> Media {
        Media {
            kind: "video".into(),
            protocol: "RTP/AVP".into(),
            formats: "99".into(),
            rtp: SocketAddr::new(self.rtp.ip(), self.rtp.port() + 4),
            direction: self.wish,
            attributes: vec!["rtpmap:99 H264/90000".into()],
        }
    }
}

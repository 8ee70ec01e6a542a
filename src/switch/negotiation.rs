//! Offer and answer (RFC 3264): what each side of a dialog said last, and what the relay makes of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::Leg;
use super::codec::Codec;
use crate::media::{Admit, End, MAX_STREAMS, Remote, Side};
use crate::sip::sdp::{Kind, Sdp};

/// How long an end that promised nothing may be silent: on hold, or a fax.
const HOLD_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// What one body says, as far as the relay must know it; by index of the `m=` lines.
#[derive(Clone, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
pub(super) struct Lines(Vec<Line>);

/// What one `m=` line says.
#[derive(Clone, Copy, Debug, PartialEq, Hash, Serialize, Deserialize)]
pub(super) struct Line {
    /// It is alive, and can be relayed.
    pub(super) alive: bool,
    rtp: Option<SocketAddr>,
    rtcp: Option<SocketAddr>,
    port: u16,
    mux: bool,
    /// Its author promises a steady stream of sound.
    sends: bool,
    receives: bool,
    /// For people to read.
    pub(super) codec: Codec,
}

impl Lines {
    /// Reads a body; lines beyond [`MAX_STREAMS`] are refused, so they are left out.
    pub(super) fn of(sdp: &Sdp<'_>) -> Lines {
        let line = |media: &crate::sip::sdp::Media<'_>| Line {
            alive: media.is_relayable() && !media.rtp().is_some_and(|rtp| rtp.ip().is_multicast()),
            rtp: media.rtp(),
            rtcp: media.rtcp(),
            port: media.port,
            mux: media.rtcp_mux,
            sends: media.kind == Kind::Audio && media.direction.sends() && media.rtp().is_some(),
            receives: media.direction.receives(),
            codec: Codec::of(media),
        };
        Lines(sdp.media().iter().take(MAX_STREAMS).map(line).collect())
    }

    pub(super) fn get(&self, index: usize) -> Option<&Line> {
        self.0.get(index)
    }

    /// Which lines are alive.
    pub(super) fn alive(&self) -> Vec<bool> {
        self.0.iter().map(|line| line.alive).collect()
    }
}

/// The state of one dialog's negotiation. An offer that is refused changes nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Negotiation {
    /// What both sides agreed on last: the caller's lines, the callee's.
    pub(super) agreed: Option<[Lines; 2]>,
    /// An offer that a response made, to be answered in the ACK or PRACK.
    pub(super) offered: Option<(Side, Lines)>,
    /// How often something new was agreed on: opens the relay's locks again.
    pub(super) window: u32,
}

impl Negotiation {
    /// An offer was answered. Returns whether anything is new.
    pub(super) fn agree(&mut self, offerer: Side, offer: Lines, answer: Lines) -> bool {
        let agreed = match offerer {
            Side::A => [offer, answer],
            Side::B => [answer, offer],
        };
        self.offered = None;
        if self.agreed.as_ref() == Some(&agreed) {
            return false;
        }
        self.agreed = Some(agreed);
        self.window += 1;
        true
    }
}

/// What the relay is told of one end: its author's line, and that of the other side. `own` tells
/// our addresses.
pub(super) fn end(
    leg: &Leg,
    port: u16,
    line: &Line,
    other: &Line,
    window: u32,
    timeout: Option<Duration>,
    own: impl Fn(IpAddr) -> bool,
) -> End {
    let local = leg.flow.local.ip();
    let source = leg.flow.source();
    let said = line.rtp.map(|rtp| rtp.ip()).filter(|ip| ip.is_ipv6() == local.is_ipv6());
    // What a phone behind NAT writes is of no use outside: it speaks from where it signals. And who
    // names the relay itself would have it talk in circles.
    let useless = |ip| own(ip) || is_private(ip) && !is_private(source);
    let nat = said.is_some_and(|ip| ip != source && useless(ip));
    let address = if nat { source } else { said.unwrap_or(source) };
    let remote = match (nat || leg.learn, line.rtp) {
        (false, Some(rtp)) if said.is_some() => {
            let rtcp = if line.mux && other.mux { Some(rtp) } else { line.rtcp };
            Some(Remote { rtp, rtcp: rtcp.unwrap_or(rtp) })
        }
        (false, Some(_)) => {
            // It wrote an address of the other family; it was given one of this.
            let rtp = SocketAddr::new(source, line.port);
            let rtcp = if line.mux && other.mux { line.port } else { line.port.saturating_add(1) };
            Some(Remote { rtp, rtcp: SocketAddr::new(source, rtcp) })
        }
        _ => None,
    };
    let promised = line.sends && other.receives;
    End {
        local: SocketAddr::new(local, port),
        remote,
        admit: if leg.learn { Admit::Anyone } else { Admit::Address(address) },
        window,
        silence: timeout.map(|timeout| if promised { timeout } else { HOLD_LIMIT.max(timeout) }),
    }
}

/// Whether an address means nothing on the Internet.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

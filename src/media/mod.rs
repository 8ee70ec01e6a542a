//! The relay: moves RTP, RTCP and T.38 packets between the two ends of a stream. Knows nothing of SIP.
//!
//! The switch says declaratively what a session should look like ([`Command::Set`]); the relay
//! opens, points and closes sockets to make it so, and reports ([`Event`]).
//!
//! ```text
//! Relay ── mailbox ──▶ Forwarder ─▶ Session ─▶ LiveStream ─▶ LiveEnd ─▶ Source     who speaks
//!       ◀─ mailbox ──        │                                      ├─▶ Sequence   what is missing
//!                            │                                      ├─▶ Jitter     how unevenly it comes
//!                            │                                      └─▶ RoundTrip  how far away it is
//!                            └────▶ SocketTable ─▶ Demux                whose packet it is
//! ```
//!
//! [`PortAllocator`] is the switch's: it must know a port before the relay opens it.

mod clock_rate;
mod demux;
mod end;
mod forwarder;
mod jitter;
mod legacy;
mod mailbox;
mod moment;
mod packet;
mod ports;
mod relay;
mod report;
mod round_trip;
mod sequence;
mod session;
mod sockets;
mod source;
mod stream;

pub use legacy::Legacy;
pub use ports::{MOST_RESTING, PortAllocator, REST_MS};
pub use relay::Relay;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A relay session: all media streams of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// The most streams (SDP `m=` lines) that one session relays.
pub const MAX_STREAMS: usize = 8;

/// The most sessions at a time; [`Command::Set`] for one more is answered by [`Event::Failed`].
pub const MAX_SESSIONS: usize = 16_384;

/// How much one end may send: ten times what a high-definition picture takes. More is dropped, and shows
/// as lost.
pub const MAX_PACKETS_A_SECOND: u32 = 10_000;

/// What the switch tells the relay.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// From now on the session is exactly this; `None` is an `m=` line that is not relayed.
    /// An end whose `local` stays keeps its sockets, its counters and (within a `window`) its locks.
    /// What cannot be opened is reported by [`Event::Failed`], and tried again by the next `Set`.
    Set {
        /// Which session.
        session: SessionId,
        /// Its streams, by index of their `m=` line.
        streams: Vec<Option<Stream>>,
    },
    /// Restores a lock that a relay before this one told of ([`Event::Locked`]); comes after `Set`. From then
    /// on the source is as if it had just spoken: its packets are accepted, and packets go to it. Ignored
    /// where the end is not open or has another window, or where the source is not admitted.
    Lock {
        /// Which session.
        session: SessionId,
        /// The lock.
        lock: Lock,
    },
    /// The session is over; answered by [`Event::Closed`].
    Close {
        /// Which session.
        session: SessionId,
    },
}

/// Two ends and what joins them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// The caller's end.
    pub a: End,
    /// The other one.
    pub b: Far,
}

/// What a stream's first end is joined to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Far {
    /// Another end: packets are forwarded both ways.
    End(End),
    /// The echo test: RTP goes back where it came from, with the SSRC shifted; RTCP does not.
    Echo,
}

/// One end of a stream: where the relay listens, and who may speak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Where RTP is received, an even port; RTCP is received on the next port.
    pub local: SocketAddr,
    /// Where packets are sent until the end's real source is known. `None`: not known yet.
    pub remote: Option<Remote>,
    /// Who may speak.
    pub admit: Admit,
    /// Which negotiation this is: when it changes, the lock on the source is opened again. Packets go on to
    /// the source that was locked until another speaks or `remote` changes too.
    pub window: u32,
    /// How long this end may be silent, in RTP and RTCP, before [`Event::Silent`] (which comes up to
    /// a second later); `None` where nothing is promised.
    pub silence: Option<Duration>,
}

/// Where an end's SDP wants its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP; equal to `rtp` where multiplexed (RFC 5761).
    pub rtcp: SocketAddr,
}

/// Whose packets are accepted. The first packet to each of an end's two sockets locks it to its source
/// address and port; after two seconds of silence another port of the same address may take the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admit {
    /// Only this address, any port.
    Address(IpAddr),
    /// Any address: the first that sends has it (`nat-media = learn`).
    Anyone,
}

/// What the relay tells the switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A socket could not be opened: the session does not work, or not in full. Said once for each
    /// [`Command::Set`], of the first address that failed.
    Failed {
        /// Which session.
        session: SessionId,
        /// The address that could not be bound.
        local: SocketAddr,
        /// Why: in the system's words, or which bound was reached.
        reason: String,
    },
    /// An end kept silent for longer than it may; said once for each window.
    Silent {
        /// Which session.
        session: SessionId,
        /// Which end.
        side: Side,
    },
    /// Packets of an end go somewhere else than its SDP says, since a source was locked there that is behind
    /// NAT, was learned, or sends from another port; or, in a new window, since they still go to the source
    /// that was locked in the last one. Told once for each change, also for one back to where the SDP says,
    /// so that the newest of a window is what a relay after this one needs ([`Command::Lock`]). Nothing is
    /// told of an end where everything is as its SDP says.
    ///
    /// A socket tells this at most once for each window and each two seconds of silence before another port
    /// takes over: no source can make an end tell more than one a second.
    Locked {
        /// Which session.
        session: SessionId,
        /// The lock.
        lock: Lock,
    },
    /// How each end of each session is, as [`Relay::measure`] asked; at most [`MAX_SESSIONS`] times
    /// [`MAX_STREAMS`] times two.
    Measured(Vec<Measured>),
    /// The session is closed, and this is what it moved.
    Closed {
        /// Which session.
        session: SessionId,
        /// What came from the `a` ends of all its streams.
        a: Counters,
        /// What came from the `b` ends of all its streams.
        b: Counters,
    },
}

/// Who has the lock of one of an end's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The stream, by index of its `m=` line.
    pub stream: u8,
    /// Which of its ends.
    pub side: Side,
    /// Which of the end's sockets.
    pub component: Component,
    /// The end's window.
    pub window: u32,
    /// Whose packets are accepted, and where packets go.
    pub source: SocketAddr,
}

/// Which of an end's two flows (RFC 8445 §4 calls them components).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Component {
    /// Media, and what is multiplexed with it.
    Rtp,
    /// Reports about it.
    Rtcp,
}

/// One of the two ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The caller's.
    A,
    /// The other one.
    B,
}

/// What was received from one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets accepted on the RTP port, be it RTP or, say, T.38; not RTCP.
    pub packets: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
    /// Packets missing by RTP sequence number; those that come late are not.
    pub lost: u64,
    /// Packets from strangers, dropped.
    pub strangers: u64,
    /// The worst interarrival jitter in microseconds (RFC 3550 appendix A.8), of whichever stream: a smoothed
    /// figure, to which a single late packet adds an eighth of its delay. 0 where the RTP clock is not known.
    pub jitter: u32,
    /// The longest round trip between the relay and this side in microseconds, from its RTCP reports (RFC
    /// 3550 §6.4.1); 0 where none told it: one side sends no reports, or they are encrypted.
    pub round_trip: u32,
}

/// How one end of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Which session.
    pub session: SessionId,
    /// The stream, by index of its `m=` line.
    pub stream: u8,
    /// Which of its ends.
    pub side: Side,
    /// What came from it so far.
    pub counters: Counters,
    /// The jitter as it is now, in microseconds.
    pub jitter: u32,
    /// The newest round trip, in microseconds; 0 where none is known.
    pub round_trip: u32,
    /// The RTP payload type of the last packet; what it means, the SDP says. `None` before the first.
    pub payload_type: Option<u8>,
    /// Whose packets are accepted on the RTP port; `None` before the first.
    pub source: Option<SocketAddr>,
    /// How long ago it last spoke, in RTP or RTCP; `None` if it never did.
    pub heard: Option<Duration>,
}

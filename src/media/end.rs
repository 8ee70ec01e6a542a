//! One end of a stream as it runs: who speaks there, and what came from it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::demux::Key;
use super::jitter::Jitter;
use super::moment::Moment;
use super::packet::{self, Looks};
use super::round_trip::RoundTrip;
use super::sequence::Sequence;
use super::source::Source;
use super::{Admit, Component, Counters, End, MAX_PACKETS_A_SECOND, Measured, SessionId, Side};

/// An end with its two sockets open.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LiveEnd {
    wanted: End,
    rtp: Source,
    rtcp: Source,
    sockets: Sockets,
    /// Who has the end where anyone may: the address that spoke first, on whichever socket.
    learned: Option<IpAddr>,
    counters: Counters,
    sequence: Sequence,
    jitter: Jitter,
    round_trip: RoundTrip,
    /// When it last spoke or, since nobody can have spoken before that, when its promise began, in
    /// milliseconds.
    heard: u64,
    /// Whether silence in this window was told.
    told: bool,
    /// The second of [`LiveEnd::within_budget`], and how many packets came in it.
    second: (u64, u32),
}

/// The two sockets of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sockets {
    /// On the even port.
    pub(super) rtp: Key,
    /// On the odd one.
    pub(super) rtcp: Key,
}

impl LiveEnd {
    /// An end that nobody spoke to yet.
    pub(super) fn new(wanted: End, sockets: Sockets, now: u64) -> LiveEnd {
        let (mut rtp, mut rtcp) = (Source::default(), Source::default());
        rtp.aim(wanted.remote.map(|remote| remote.rtp));
        rtcp.aim(wanted.remote.map(|remote| remote.rtcp));
        LiveEnd {
            wanted,
            rtp,
            rtcp,
            sockets,
            learned: None,
            counters: Counters::default(),
            sequence: Sequence::default(),
            jitter: Jitter::default(),
            round_trip: RoundTrip::default(),
            heard: now,
            told: false,
            second: (0, 0),
        }
    }

    /// Becomes what is wanted now, on the same sockets: the counters stay, and the locks unless the
    /// window is another one.
    pub(super) fn become_wanted(&mut self, wanted: End, now: u64) {
        if wanted.window != self.wanted.window {
            self.rtp.open();
            self.rtcp.open();
            self.learned = None;
            self.told = false;
            self.heard = now;
        }
        if wanted.remote != self.wanted.remote {
            self.rtp.aim(wanted.remote.map(|remote| remote.rtp));
            self.rtcp.aim(wanted.remote.map(|remote| remote.rtcp));
        }
        if wanted.silence != self.wanted.silence {
            self.heard = now;
        }
        self.wanted = wanted;
    }

    /// Takes note of a packet, and says what it looks like; `None` if it is not accepted.
    pub(super) fn hear(
        &mut self,
        component: Component,
        from: SocketAddr,
        bytes: &[u8],
        now: Moment,
    ) -> Option<Looks> {
        let (admit, learned) = (self.wanted.admit, self.learned);
        if !self.source(component).accept(from, |address| admits(admit, learned, address), now.ms()) {
            self.counters.strangers += 1;
            return None;
        }
        self.learned = Some(from.ip());
        self.heard = now.ms();
        if !self.within_budget(now.ms()) {
            return None;
        }
        let looks = packet::look(bytes);
        if component == Component::Rtp {
            self.count(looks, bytes.len(), now);
        }
        Some(looks)
    }

    /// Restores a lock of this window, unless its source is not admitted.
    pub(super) fn restore(&mut self, component: Component, window: u32, source: SocketAddr, now: u64) {
        if window == self.wanted.window && admits(self.wanted.admit, None, source.ip()) {
            self.learned = Some(source.ip());
            self.source(component).restore(source, now);
        }
    }

    /// The window and the source of a lock that is to be told.
    pub(super) fn take_news(&mut self, component: Component) -> Option<(u32, SocketAddr)> {
        let said = self.wanted.remote.map(|remote| match component {
            Component::Rtp => remote.rtp,
            Component::Rtcp => remote.rtcp,
        });
        let source = self.source(component).take_news(said)?;
        Some((self.wanted.window, source))
    }

    fn source(&mut self, component: Component) -> &mut Source {
        match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        }
    }

    /// Whether this second may bear one more packet. Two calls whose SDP points at each other's relay ports
    /// would otherwise send a single packet round and round, as fast as the machine can.
    fn within_budget(&mut self, now: u64) -> bool {
        let (second, packets) = &mut self.second;
        if *second != now / 1_000 {
            (*second, *packets) = (now / 1_000, 0);
        }
        *packets = packets.saturating_add(1);
        *packets <= MAX_PACKETS_A_SECOND
    }

    fn count(&mut self, looks: Looks, length: usize, now: Moment) {
        match looks {
            Looks::Rtcp => return,
            Looks::Rtp { payload_type, number, timestamp, ssrc } => {
                self.sequence.note(ssrc, number);
                self.jitter.note(ssrc, payload_type, timestamp, now.0);
            }
            Looks::Other => {}
        }
        self.counters.packets += 1;
        self.counters.bytes += length as u64;
    }

    /// A report is passed on to it.
    pub(super) fn passed_on(&mut self, report: u32, now: Moment) {
        self.round_trip.passed_on(report, now.0);
    }

    /// It says that a report came some time ago, in units of 2^-16 s.
    pub(super) fn answered(&mut self, report: u32, ago: u32, now: Moment) {
        self.round_trip.answered(report, ago, now.0);
    }

    /// From which socket and to where packets for this end go, if that is known.
    pub(super) fn target(&self, component: Component) -> Option<(Key, SocketAddr)> {
        match component {
            Component::Rtp => Some((self.sockets.rtp, self.rtp.target()?)),
            Component::Rtcp => Some((self.sockets.rtcp, self.rtcp.target()?)),
        }
    }

    /// When this end has been silent for too long, in milliseconds, unless it speaks before;
    /// `None` where nothing is promised or all is said.
    pub(super) fn silent_at(&self) -> Option<u64> {
        let limit = self.wanted.silence.filter(|_| !self.told)?;
        Some(self.heard.saturating_add(limit.as_millis() as u64))
    }

    /// Whether it is silent for too long; says so once in each window.
    pub(super) fn tells_silence(&mut self, now: u64) -> bool {
        let silent = self.silent_at().is_some_and(|at| at <= now);
        self.told |= silent;
        silent
    }

    /// Where it listens.
    pub(super) fn local(&self) -> SocketAddr {
        self.wanted.local
    }

    /// Its sockets.
    pub(super) fn sockets(&self) -> Sockets {
        self.sockets
    }

    /// The same sockets, by other numbers.
    pub(super) fn renumber(&mut self, sockets: Sockets) {
        self.sockets = sockets;
    }

    /// What came from it.
    pub(super) fn counters(&self) -> Counters {
        Counters {
            lost: self.sequence.lost(),
            jitter: self.jitter.worst(),
            round_trip: self.round_trip.longest(),
            ..self.counters
        }
    }

    /// How it is.
    pub(super) fn measured(&self, session: SessionId, stream: u8, side: Side, now: u64) -> Measured {
        let ago = |heard| Duration::from_millis(now.saturating_sub(heard));
        Measured {
            session,
            stream,
            side,
            counters: self.counters(),
            jitter: self.jitter.now(),
            round_trip: self.round_trip.latest(),
            payload_type: self.jitter.payload_type(),
            source: self.rtp.locked(),
            heard: self.rtp.heard().max(self.rtcp.heard()).map(ago),
        }
    }
}

/// Whether an address may take a lock, where anyone may and one was learned on the other socket.
fn admits(admit: Admit, learned: Option<IpAddr>, address: IpAddr) -> bool {
    match admit {
        Admit::Address(only) => only == address,
        Admit::Anyone => learned.is_none_or(|first| first == address),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOCKETS: Sockets = Sockets { rtp: Key(0), rtcp: Key(1) };

    fn wanted() -> End {
        End {
            local: "192.0.2.1:40000".parse().unwrap(),
            remote: None,
            admit: Admit::Anyone,
            window: 0,
            silence: Some(Duration::from_secs(60)),
        }
    }

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000)
    }

    #[test]
    fn a_second_bears_so_many_packets_and_no_more() {
        let mut end = LiveEnd::new(wanted(), SOCKETS, 0);
        let from = "192.0.2.2:4000".parse().unwrap();
        let most = u64::from(MAX_PACKETS_A_SECOND);
        for second in 0..3 {
            let passed =
                (0..most + 500).filter_map(|_| end.hear(Component::Rtp, from, &[0], ms(second * 1_000 + 7)));
            assert_eq!(passed.count() as u64, most);
        }
        assert_eq!(end.counters(), Counters { packets: 3 * most, bytes: 3 * most, ..Counters::default() });
    }

    #[test]
    fn whoever_speaks_first_has_both_sockets() {
        let mut end = LiveEnd::new(wanted(), SOCKETS, 0);
        let report = [0x80, 200];
        assert_eq!(
            end.hear(Component::Rtcp, "192.0.2.2:4001".parse().unwrap(), &report, ms(0)),
            Some(Looks::Rtcp)
        );
        assert_eq!(end.hear(Component::Rtp, "192.0.2.3:4000".parse().unwrap(), &[0], ms(0)), None);
        assert_eq!(
            end.hear(Component::Rtp, "192.0.2.2:4000".parse().unwrap(), &[0], ms(0)),
            Some(Looks::Other)
        );
        // Another window is anybody's again.
        end.become_wanted(End { window: 1, ..wanted() }, 0);
        assert_eq!(
            end.hear(Component::Rtp, "192.0.2.3:4000".parse().unwrap(), &[0], ms(0)),
            Some(Looks::Other)
        );
        assert_eq!(end.hear(Component::Rtcp, "192.0.2.2:4001".parse().unwrap(), &report, ms(0)), None);
        assert_eq!(end.counters(), Counters { packets: 2, bytes: 2, strangers: 2, ..Counters::default() });
    }

    #[test]
    fn the_time_of_silence_starts_with_the_promise_and_with_each_packet() {
        let mut end = LiveEnd::new(wanted(), SOCKETS, 1_000);
        assert_eq!(end.silent_at(), Some(61_000));
        end.hear(Component::Rtcp, "192.0.2.2:4001".parse().unwrap(), &[], ms(5_000));
        assert_eq!(end.silent_at(), Some(65_000));
        end.become_wanted(wanted(), 7_000);
        assert_eq!(end.silent_at(), Some(65_000), "nothing new was promised");
        end.become_wanted(End { silence: None, ..wanted() }, 8_000);
        assert_eq!((end.silent_at(), end.tells_silence(1_000_000)), (None, false));
        end.become_wanted(wanted(), 9_000);
        assert_eq!(end.silent_at(), Some(69_000));
        assert!(!end.tells_silence(68_999));
        assert!(end.tells_silence(69_000));
        assert!(!end.tells_silence(69_001));
        end.become_wanted(End { window: 1, ..wanted() }, 70_000);
        assert_eq!(end.silent_at(), Some(130_000));
    }
}

//! One end of a stream as it runs: who speaks there, and what came from it.

use std::net::{IpAddr, SocketAddr};

use super::demux::Key;
use super::packet::{self, Looks};
use super::sequence::Sequence;
use super::source::Source;
use super::{Admit, Component, Counters, End, MAX_PACKETS_A_SECOND};

/// An end with its two sockets open.
#[derive(Debug)]
pub(super) struct LiveEnd {
    wanted: End,
    rtp: Source,
    rtcp: Source,
    sockets: Sockets,
    /// Who has the end where anyone may: the address that spoke first, on whichever socket.
    learned: Option<IpAddr>,
    counters: Counters,
    sequence: Sequence,
    /// When it last spoke or, since nobody can have spoken before that, when its promise began, in milliseconds.
    heard: u64,
    /// Whether silence in this window was told.
    told: bool,
    /// The second of [`LiveEnd::within_budget`], and how many packets came in it.
    second: (u64, u32),
}

/// The two sockets of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Takes note of a packet, and says whether it is accepted.
    pub(super) fn hear(&mut self, component: Component, from: SocketAddr, bytes: &[u8], now: u64) -> bool {
        let (admit, learned) = (self.wanted.admit, self.learned);
        if !self.source(component).accept(from, |address| admits(admit, learned, address), now) {
            self.counters.strangers += 1;
            return false;
        }
        self.learned = Some(from.ip());
        self.heard = now;
        if !self.within_budget(now) {
            return false;
        }
        if component == Component::Rtp {
            self.count(bytes);
        }
        true
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
        let source = self.source(component).take_news()?;
        Some((self.wanted.window, source))
    }

    fn source(&mut self, component: Component) -> &mut Source {
        match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        }
    }

    /// Whether this second may bear one more packet. Two calls whose SDP points at each other's relay ports would
    /// otherwise send a single packet round and round, as fast as the machine can.
    fn within_budget(&mut self, now: u64) -> bool {
        let (second, packets) = &mut self.second;
        if *second != now / 1_000 {
            (*second, *packets) = (now / 1_000, 0);
        }
        *packets = packets.saturating_add(1);
        *packets <= MAX_PACKETS_A_SECOND
    }

    fn count(&mut self, bytes: &[u8]) {
        match packet::look(bytes) {
            Looks::Rtcp => return,
            Looks::Rtp { number, ssrc } => self.sequence.note(ssrc, number),
            Looks::Other => {}
        }
        self.counters.packets += 1;
        self.counters.bytes += bytes.len() as u64;
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

    /// What came from it.
    pub(super) fn counters(&self) -> Counters {
        Counters { lost: self.sequence.lost(), ..self.counters }
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

    #[test]
    fn a_second_bears_so_many_packets_and_no_more() {
        let mut end = LiveEnd::new(wanted(), SOCKETS, 0);
        let from = "192.0.2.2:4000".parse().unwrap();
        let most = u64::from(MAX_PACKETS_A_SECOND);
        for second in 0..3 {
            let passed = (0..most + 500).filter(|_| end.hear(Component::Rtp, from, &[0], second * 1_000 + 7));
            assert_eq!(passed.count() as u64, most);
        }
        assert_eq!(end.counters(), Counters { packets: 3 * most, bytes: 3 * most, ..Counters::default() });
    }

    #[test]
    fn whoever_speaks_first_has_both_sockets() {
        let mut end = LiveEnd::new(wanted(), SOCKETS, 0);
        let report = [0x80, 200];
        assert!(end.hear(Component::Rtcp, "192.0.2.2:4001".parse().unwrap(), &report, 0));
        assert!(!end.hear(Component::Rtp, "192.0.2.3:4000".parse().unwrap(), &[0], 0));
        assert!(end.hear(Component::Rtp, "192.0.2.2:4000".parse().unwrap(), &[0], 0));
        // Another window is anybody's again.
        end.become_wanted(End { window: 1, ..wanted() }, 0);
        assert!(end.hear(Component::Rtp, "192.0.2.3:4000".parse().unwrap(), &[0], 0));
        assert!(!end.hear(Component::Rtcp, "192.0.2.2:4001".parse().unwrap(), &report, 0));
        assert_eq!(end.counters(), Counters { packets: 2, bytes: 2, lost: 0, strangers: 2 });
    }

    #[test]
    fn the_time_of_silence_starts_with_the_promise_and_with_each_packet() {
        let mut end = LiveEnd::new(wanted(), SOCKETS, 1_000);
        assert_eq!(end.silent_at(), Some(61_000));
        end.hear(Component::Rtcp, "192.0.2.2:4001".parse().unwrap(), &[], 5_000);
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

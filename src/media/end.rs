//! One end of a stream as it runs: who speaks there, and what came from it.

use std::net::{IpAddr, SocketAddr};

use super::demux::{Component, Key};
use super::packet::{self, Looks};
use super::sequence::Sequence;
use super::source::Source;
use super::{Admit, Counters, End};

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
        let admitted = |address| match admit {
            Admit::Address(only) => only == address,
            Admit::Anyone => learned.is_none_or(|first| first == address),
        };
        let source = match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        };
        if !source.accept(from, admitted, now) {
            self.counters.strangers += 1;
            return false;
        }
        self.learned = Some(from.ip());
        self.heard = now;
        if component == Component::Rtp {
            self.count(bytes);
        }
        true
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

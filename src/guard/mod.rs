//! Who may speak at all: lists, budgets and bans, asked before anything of a packet is read.
//!
//! A source is an IPv4 address or an IPv6 /64 (a [`Prefix`]): that is what one customer of a provider
//! has. A source where a phone is registered is a *phone*, every other a *stranger*. Strangers share
//! small budgets, phones have larger ones of their own, so however many strangers come, they take
//! nothing from phones.
//!
//! The guard owns no socket and no clock. It decides by what it has learned ([`Lesson`]), and tells
//! people little ([`News`]): of ten thousand packets of a scan, one line.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Config, Transport};
use crate::time::Instant;

/// The guard of one exchange.
pub struct Guard {
    news: VecDeque<News>,
}

/// What is known of the source of a packet that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A phone is registered from this source.
    Phone,
    /// Nobody is known there.
    Stranger {
        /// Whether an answer to it may once be longer than what it sent ([`Lesson::Exceeded`]).
        credit: bool,
    },
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It stays.
    Admitted,
    /// It stays, and this one, the oldest of all that are without authentication, goes.
    InsteadOf(u64),
    /// It is closed at once.
    Refused,
}

/// What the exchange found out, for the guard to judge by.
#[derive(Clone, Debug, PartialEq)]
pub enum Lesson {
    /// Somebody proved to be an extension; on this stream, or on none (0).
    Authenticated {
        /// Where.
        source: IpAddr,
        /// Its number, 0 for datagrams.
        stream: u64,
    },
    /// A binding is there that was not, or came to this source.
    Bound(IpAddr),
    /// A binding of this source is gone.
    Unbound(IpAddr),
    /// The credentials were wrong, with a nonce that was made for this very source: whoever sent
    /// them can receive there.
    Failed {
        /// Where.
        source: IpAddr,
        /// Whom they claimed to be, at most 64 bytes, printable ASCII.
        number: String,
    },
    /// A stranger was sent more than it had sent.
    Exceeded(IpAddr),
    /// A request was refused, or not answered.
    Refused(Refusal),
}

/// A request that was refused or not answered, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Where it came from.
    pub remote: SocketAddr,
    /// Its method, at most 32 bytes, printable ASCII.
    pub method: String,
    /// Whom it claimed to be, or dialled; at most 64 bytes, printable ASCII; may be empty.
    pub number: String,
    /// What sent it, by its own word: User-Agent, at most 64 bytes, printable ASCII; may be empty.
    pub agent: String,
    /// Why, with the configuration key that governs it where there is one; at most 200 bytes.
    pub why: String,
    /// Whether it was answered at all.
    pub answered: bool,
    /// Whether it concerns an extension that exists, so that it may be a mistake of its owner.
    /// These are told at once, the others when the minute is over.
    pub known: bool,
}

/// What people should know.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A request was refused or not answered; the first of its source in this minute.
    Refused(Refusal),
    /// What a source sent in vain, since it was last told of.
    Summary(Summary),
    /// The same of all sources that are not worth a line each.
    Others {
        /// How many sources, at least.
        sources: u64,
        /// How many packets.
        packets: u64,
        /// Over what time.
        period: Duration,
    },
    /// A source is not heard for a while.
    Banned {
        /// Which.
        source: Prefix,
        /// How many wrong passwords it took.
        failures: u32,
        /// For how long.
        time: Duration,
        /// Whom it claimed to be last; printable ASCII.
        number: String,
    },
}

/// What one source sent in vain.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The source.
    pub source: Prefix,
    /// Over what time.
    pub period: Duration,
    /// Packets that were dropped unread.
    pub dropped: u64,
    /// Requests that were read, and refused or not answered.
    pub refused: u64,
    /// Connections that were refused.
    pub connections: u64,
    /// The most telling reason, with the configuration key that governs it.
    pub why: String,
    /// What sent them, by its own word; may be empty.
    pub agent: String,
    /// Whom they claimed to be or dialled last; may be empty.
    pub number: String,
}

/// What counts as one source: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(u64);

impl Guard {
    /// A guard by the lists and budgets of a configuration. `key` is for its tables: who does not
    /// know it cannot make sources collide.
    pub fn new(_config: &Config, _key: (u64, u64)) -> Guard {
        Guard { news: VecDeque::new() }
    }

    /// Whether a datagram, or a message on a stream, may be read at all, and what is known of its
    /// source. `None`: no.
    pub fn packet(
        &mut self,
        _now: Instant,
        _transport: Transport,
        _local: SocketAddr,
        _remote: SocketAddr,
    ) -> Option<Standing> {
        Some(Standing::Stranger { credit: true })
    }

    /// A connection was opened to a listener. Its number is never 0.
    pub fn opened(
        &mut self,
        _now: Instant,
        _stream: u64,
        _local: SocketAddr,
        _remote: SocketAddr,
    ) -> Opening {
        Opening::Admitted
    }

    /// A connection is closed, by whomever.
    pub fn closed(&mut self, _stream: u64) {}

    /// Takes in what the exchange found out.
    pub fn learn(&mut self, _now: Instant, lesson: Lesson) {
        if let Lesson::Refused(refusal) = lesson {
            self.news.push_back(News::Refused(refusal));
        }
    }

    /// The next connection that took too long to authenticate, and has to go.
    pub fn overdue(&mut self, _now: Instant) -> Option<u64> {
        None
    }

    /// The next thing that people should know.
    pub fn news(&mut self, _now: Instant) -> Option<News> {
        self.news.pop_front()
    }

    /// When [`Guard::overdue`] or [`Guard::news`] will have something.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}

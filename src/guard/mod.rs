//! Who may speak at all: lists, budgets and bans, asked before anything of a packet is read.
//!
//! A source is an IPv4 address or an IPv6 /64 (a [`Prefix`]): that is what one customer of a provider
//! has. A source where a phone is registered is a *phone*, every other a *stranger*. Strangers share
//! small budgets, phones have larger ones of their own, so however many strangers come, they take
//! nothing from phones.
//!
//! The guard owns no socket and no clock. It decides by what it has learned ([`Lesson`]), and tells
//! people little ([`News`]): of ten thousand packets of a scan, one line.

mod access;
mod bucket;
mod details;
mod edicts;
mod herald;
mod networks;
mod offenders;
mod phones;
mod prefix;
mod reason;
mod strangers;
mod streams;
mod table;
mod tally;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Config, Transport};
use crate::time::Instant;
use access::Lists;
use edicts::Edicts;
pub use edicts::MAX_EDICTS;
use herald::Herald;
pub use networks::Networks;
use offenders::Offenders;
use phones::Phones;
pub use prefix::Prefix;
use prefix::{Key, Source};
use reason::{Reason, Words};
use strangers::Strangers;
use streams::Streams;
use tally::Vain;

/// The guard of one exchange.
///
/// It has the tables that it starts with, about 200 KiB, and grows by an entry for each source where
/// phones are registered, and for each connection on which one proved itself. Each table says what happens when it is full.
pub struct Guard {
    key: Key,
    lists: Lists,
    edicts: Edicts,
    phones: Phones,
    offenders: Offenders,
    strangers: Strangers,
    streams: Streams,
    herald: Herald,
    /// What was decided since it was asked for: one or two for each input, and all when all are lifted.
    decisions: Vec<Decision>,
}

/// That a source is not heard, or is heard again; for who remembers it beyond this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub source: Prefix,
    /// How many wrong passwords it took; `None`: the operator said so.
    pub failures: Option<u32>,
    /// Until when; `None`: it is heard again.
    pub until: Option<Instant>,
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
    /// Somebody was sent more than it had sent. Strangers have few such answers, phones are not counted.
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
    /// A request was refused or not answered; the first of its source and number in this minute, and one
    /// of the first three of its source.
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
    /// A source is not heard for a while. Ten of these a minute are told.
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

/// A source that is not heard for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Banned {
    /// Which.
    pub source: Prefix,
    /// How many wrong passwords it took; `None`: the operator said so.
    pub failures: Option<u32>,
    /// How long that still holds.
    pub left: Duration,
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

impl Guard {
    /// A guard by the lists and budgets of a configuration. `key` is for its tables: who does not
    /// know it cannot make sources collide.
    pub fn new(config: &Config, key: (u64, u64)) -> Guard {
        Guard {
            key: Key::new(key),
            lists: Lists::new(config),
            edicts: Edicts::default(),
            phones: Phones::new(config),
            offenders: Offenders::new(config.ban),
            strangers: Strangers::new(config),
            streams: Streams::new(),
            herald: Herald::new(Words::new(config)),
            decisions: Vec::new(),
        }
    }

    /// Goes by the lists and budgets of another configuration. Phones, bans, and what everybody has used of
    /// the budgets stay; where nobody is banned any more (`ban = never`), bans end.
    pub fn reload(&mut self, now: Instant, config: &Config) {
        self.lists = Lists::new(config);
        self.phones.reload(config);
        self.offenders.reload(config.ban);
        self.strangers.reload(config);
        self.herald.reload(now, Words::new(config));
    }

    /// Whether a datagram, or a message on a stream, may be read at all, and what is known of its
    /// source. `None`: no. It is counted, and costs a few dozen nanoseconds and no memory.
    pub fn packet(
        &mut self,
        now: Instant,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<Standing> {
        let source = self.key.source(remote.ip());
        match self.judge(now, transport, local, remote.ip(), source) {
            Ok(standing) => Some(standing),
            Err(reason) => {
                self.herald.count(now, source, Vain::Packet, reason);
                None
            }
        }
    }

    /// A connection was opened to a listener. Its number is never 0.
    ///
    /// It costs its source a packet, and has 32 s to authenticate. Until then it is one of at most 8
    /// of its source (64 where phones are registered) and 1,024 of all; afterwards, of 512 of its source. One that is too many for its
    /// source costs nothing: what phones that try again and again would pay is what those that are in
    /// need to speak.
    pub fn opened(
        &mut self,
        now: Instant,
        stream: u64,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Opening {
        let source = self.key.source(remote.ip());
        let phone = self.phones.has(source);
        let opened = match self.streams.has_room(source.prefix, phone) {
            true => self.judge(now, transport, local, remote.ip(), source),
            false if phone => Err(Reason::PhoneStreams),
            false => Err(Reason::StrangerStreams),
        };
        let opened = opened.map(|_| self.streams.open(stream, source.prefix, phone, now));
        match opened {
            Ok(None) => Opening::Admitted,
            Ok(Some(oldest)) => Opening::InsteadOf(oldest),
            Err(reason) => {
                self.herald.count(now, source, Vain::Connection, reason);
                Opening::Refused
            }
        }
    }

    /// A connection stands that was opened to another process. It costs nothing; one on which nobody has proved
    /// who he is has as much time as a new one.
    pub fn inherit(&mut self, now: Instant, stream: u64, source: IpAddr, proved: bool) {
        let source = self.key.source(source);
        // There are no more than there were.
        let _ = self.streams.open(stream, source.prefix, self.phones.has(source), now);
        if proved {
            self.streams.proved(stream);
        }
    }

    /// A connection is closed, by whomever.
    pub fn closed(&mut self, stream: u64) {
        self.streams.forget(stream);
    }

    /// Takes in what the exchange found out.
    pub fn learn(&mut self, now: Instant, lesson: Lesson) {
        match lesson {
            Lesson::Authenticated { source, stream } => {
                self.offenders.authenticated(self.key.source(source), now);
                self.streams.proved(stream);
            }
            Lesson::Bound(source) => {
                let source = self.key.source(source);
                self.phones.bound(source, now);
                if self.offenders.is_banned(source, now) {
                    self.decisions.push(Decision { source: source.prefix, failures: Some(0), until: None });
                }
                self.offenders.pardon(source);
            }
            Lesson::Unbound(source) => self.phones.unbound(self.key.source(source)),
            Lesson::Failed { source, number } => self.failed(now, self.key.source(source), number),
            Lesson::Exceeded(source) => {
                let source = self.key.source(source);
                if !self.phones.has(source) {
                    self.strangers.exceeded(source, now);
                }
            }
            Lesson::Refused(refusal) => {
                let source = self.key.source(refusal.remote.ip());
                self.herald.refused(now, source, refusal);
            }
        }
    }

    /// The operator bans a source for a while, whoever is there: it is heard no more, and its connections are
    /// closed. What was said of it before is replaced. `None`: there are [`MAX_EDICTS`] already.
    pub fn ban(&mut self, now: Instant, address: IpAddr, time: Duration) -> Option<Prefix> {
        let source = self.key.source(address).prefix;
        self.edicts.ban(source, now, time).then(|| {
            self.streams.banish(source);
            self.decisions.push(Decision { source, failures: None, until: Some(now + time) });
            source
        })
    }

    /// The operator has a source heard again, or all of them, for whatever reason they were not. Which.
    pub fn unban(&mut self, now: Instant, address: Option<IpAddr>) -> Vec<Prefix> {
        let source = address.map(|address| self.key.source(address));
        let mut lifted = self.edicts.lift(source.map(|source| source.prefix), now);
        let heard = |failures| move |source: &Prefix| Decision { source: *source, failures, until: None };
        self.decisions.extend(lifted.iter().map(heard(None)));
        let pardoned = self.offenders.lift(source, now);
        self.decisions.extend(pardoned.iter().map(heard(Some(0))));
        lifted.extend(pardoned);
        lifted.sort_unstable();
        lifted.dedup();
        lifted
    }

    /// What was decided since the last time.
    pub fn decisions(&mut self) -> std::vec::Drain<'_, Decision> {
        self.decisions.drain(..)
    }

    /// All that holds of what was decided.
    pub fn all_decisions(&self, now: Instant) -> impl Iterator<Item = Decision> {
        let edicts = self.edicts.all(now);
        let edicts = edicts.map(|(source, until)| Decision { source, failures: None, until: Some(until) });
        let offenders = self.offenders.banned(now);
        edicts.chain(offenders.map(|(source, failures, until)| Decision {
            source,
            failures: Some(failures),
            until: Some(until),
        }))
    }

    /// Goes on with what a guard before this one has decided. Where a phone is registered, only the operator's
    /// word counts.
    pub fn restore(&mut self, now: Instant, Decision { source, failures, until }: Decision) {
        let Some(until) = until else { return };
        let Some(failures) = failures else {
            // There were no more than there may be.
            self.edicts.ban(source, now, until - now);
            return;
        };
        let source = self.key.source_of(source);
        if !self.phones.has(source) {
            self.offenders.restore(source, now, failures, until);
        }
    }

    /// Who is not heard, the operator's edicts first.
    pub fn bans(&self, now: Instant) -> Vec<Banned> {
        let edicts = self.edicts.all(now);
        let edicts = edicts.map(|(source, until)| Banned { source, failures: None, left: until - now });
        let offenders = self.offenders.banned(now);
        edicts
            .chain(offenders.map(|(source, failures, until)| Banned {
                source,
                failures: Some(failures),
                left: until - now,
            }))
            .collect()
    }

    /// The five sources that sent most in vain since people were last told, and since when. What they sent is
    /// not forgotten by it.
    pub fn vain(&self, now: Instant) -> Vec<Summary> {
        self.herald.so_far(now)
    }

    /// Whether a phone is registered where an address belongs to.
    pub fn is_phone(&self, source: IpAddr) -> bool {
        self.phones.has(self.key.source(source))
    }

    /// The next connection that took too long to authenticate, or whose source is not heard any
    /// more, and has to go.
    pub fn overdue(&mut self, now: Instant) -> Option<u64> {
        self.streams.overdue(now)
    }

    /// The next thing that people should know; in any minute 26 at most.
    pub fn news(&mut self, now: Instant) -> Option<News> {
        self.herald.next(now)
    }

    /// When [`Guard::overdue`] or [`Guard::news`] will have something; a moment that is past if they
    /// have it now.
    pub fn deadline(&self) -> Option<Instant> {
        self.streams.deadline().into_iter().chain(self.herald.deadline()).min()
    }

    /// The way of a packet: lists and edicts first, which know no exception; then phones, who are never
    /// banned by anybody else; then bans, and at last the budgets of strangers.
    fn judge(
        &mut self,
        now: Instant,
        transport: Transport,
        local: SocketAddr,
        remote: IpAddr,
        source: Source,
    ) -> Result<Standing, Reason> {
        self.lists.admit(transport, local, remote)?;
        if self.edicts.has(source.prefix, now) {
            return Err(Reason::Edict);
        }
        if let Some(verdict) = self.phones.packet(source, now) {
            return verdict.map(|()| Standing::Phone);
        }
        if self.offenders.is_banned(source, now) {
            return Err(Reason::Banned);
        }
        self.strangers.packet(source, now).map(|credit| Standing::Stranger { credit })
    }

    /// Somebody had the wrong password. Where a phone is registered that has no consequence: whoever
    /// shares its address must not be able to silence it.
    fn failed(&mut self, now: Instant, source: Source, number: String) {
        if self.phones.has(source) {
            return;
        }
        if let Some(ban) = self.offenders.failed(source, now) {
            self.streams.condemn(source.prefix);
            let (failures, time) = (ban.failures, ban.time);
            let until = Some(now + time);
            self.decisions.push(Decision { source: source.prefix, failures: Some(failures), until });
            self.herald.banned(now, News::Banned { source: source.prefix, failures, time, number });
        }
    }
}

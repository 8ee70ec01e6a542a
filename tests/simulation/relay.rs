//! A media relay without sockets: it keeps what it is told and checks that it makes sense.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use denwa::config::PortRange;
use denwa::media::{
    Admit, Command, Component, Counters, End, Event, Far, Lock, MAX_STREAMS, SessionId, Side, Stream,
};
use denwa::switch::Instant;

/// How long the relay takes to close a session.
const CLOSING: Duration = Duration::from_millis(3);
/// How long a call may go on after the relay reported silence: BYE has 64·T1.
const MERCY: Duration = Duration::from_secs(40);

pub struct Relay {
    /// Where media ports may be, or could be before a reload.
    pub ranges: Vec<PortRange>,
    /// Each address that media may use, as the phones see it and as it is.
    addresses: Vec<(IpAddr, IpAddr)>,
    sessions: BTreeMap<SessionId, Session>,
    closing: BTreeMap<SessionId, Instant>,
    /// Where closed sessions listened, and until when phones may not know it.
    ended: Vec<(SocketAddr, Instant)>,
    /// Sessions that were refused a port.
    failed: Vec<(SessionId, SocketAddr)>,
    /// Fail the next session that is opened.
    pub fail_next: bool,
    /// How many sessions there ever were.
    pub opened: usize,
    /// Who was locked where no description says, and told; all of it is to be there again after a crash.
    told: BTreeMap<(SessionId, u8, bool), Lock>,
    /// How many locks came back.
    pub relocked: u64,
}

#[derive(Default)]
struct Session {
    streams: Vec<Option<Stream>>,
    /// For each end that promises sound: in which window, since when it is silent, and when that
    /// was reported.
    silent: BTreeMap<(usize, bool), Silence>,
    reported: Option<Instant>,
    /// Who is locked.
    locks: BTreeMap<(u8, bool), Lock>,
}

struct Silence {
    window: u32,
    since: Instant,
    said: bool,
}

impl Relay {
    pub fn new(ports: PortRange, addresses: Vec<(IpAddr, IpAddr)>) -> Relay {
        Relay {
            ranges: vec![ports],
            addresses,
            sessions: BTreeMap::new(),
            closing: BTreeMap::new(),
            ended: Vec::new(),
            failed: Vec::new(),
            fail_next: false,
            opened: 0,
            told: BTreeMap::new(),
            relocked: 0,
        }
    }

    /// How many sessions are open.
    pub fn open(&self) -> usize {
        self.sessions.len()
    }

    /// Finds an end by the address where phones send to it.
    pub fn find(&self, public: SocketAddr) -> Option<(SessionId, usize, Side, &End)> {
        self.ends().find(|(.., end)| seen_at(&self.addresses, end.local) == public)
    }

    /// Whether a session that listened here was closed a short while ago: its phones may not have
    /// heard of that.
    pub fn has_ended(&self, now: Instant, public: SocketAddr) -> bool {
        self.ended.iter().any(|(local, until)| *local == public && *until > now)
    }

    /// Does what the exchange wants; the error says which rule it broke.
    pub fn apply(&mut self, now: Instant, command: Command) -> Result<(), String> {
        match command {
            Command::Close { session } => {
                self.told.retain(|(id, ..), _| *id != session);
                let gone = self.sessions.remove(&session).ok_or(format!("{session:?} is not open"))?;
                self.ended.retain(|(_, until)| *until > now);
                for (.., end) in ends_of(&gone.streams) {
                    self.ended.push((seen_at(&self.addresses, end.local), now + MERCY));
                }
                self.closing.insert(session, now + CLOSING);
                Ok(())
            }
            Command::Set { session, streams } => {
                if self.closing.contains_key(&session) {
                    return Err(format!("{session:?} is set after it was closed"));
                }
                if streams.len() > MAX_STREAMS {
                    return Err(format!("{session:?} has {} streams", streams.len()));
                }
                if !self.sessions.contains_key(&session) {
                    self.opened += 1;
                    if std::mem::take(&mut self.fail_next) {
                        let first = streams.iter().flatten().next().map(|stream| stream.a.local);
                        self.failed.extend(first.map(|local| (session, local)));
                    }
                }
                let entry = self.sessions.entry(session).or_default();
                entry.streams = streams;
                entry.note_windows(now);
                self.check()
            }
            Command::Lock { session, lock } => {
                let entry = self.sessions.get_mut(&session).ok_or(format!("{session:?} is not open"))?;
                entry.locks.insert((lock.stream, lock.side == Side::A), lock);
                self.relocked += 1;
                Ok(())
            }
        }
    }

    /// After a crash, who was locked in a window that goes on has to be so again.
    pub fn check_locks(&self) -> Option<String> {
        self.ends().find_map(|(id, index, side, end)| {
            let place = (index as u8, side == Side::A);
            let told = self.told.get(&(id, place.0, place.1)).filter(|lock| lock.window == end.window)?;
            let is_there = self.sessions.get(&id).is_some_and(|s| s.locks.get(&place) == Some(told));
            (!is_there).then(|| format!("{told:?} of {id:?} did not come back"))
        })
    }

    /// The process ends, and all sessions with it.
    pub fn die(&mut self) {
        self.sessions.clear();
        self.closing.clear();
        self.failed.clear();
    }

    /// What there is to report by now. `speaks` says whether somebody sends to an address.
    pub fn listen(&mut self, now: Instant, speaks: impl Fn(SocketAddr) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        for (session, local) in self.failed.drain(..) {
            events.push(Event::Failed { session, local, reason: "address in use".into() });
        }
        self.closing.retain(|session, at| {
            if *at <= now {
                let (a, b) = (Counters::default(), Counters::default());
                events.push(Event::Closed { session: *session, a, b });
            }
            *at > now
        });
        for (id, session) in &mut self.sessions {
            for (index, side, end) in ends_of(&session.streams) {
                let place = (index as u8, side == Side::A);
                let window = end.window;
                let is_locked = session.locks.get(&place).is_some_and(|lock| lock.window == window);
                if end.remote.is_none() && !is_locked && speaks(seen_at(&self.addresses, end.local)) {
                    let ip = match end.admit {
                        Admit::Address(ip) => ip,
                        Admit::Anyone => IpAddr::from([203, 0, 113, 99]),
                    };
                    let source = SocketAddr::new(ip, 50_000 + (window % 10_000) as u16);
                    let lock = Lock { stream: place.0, side, component: Component::Rtp, window, source };
                    session.locks.insert(place, lock);
                    self.told.insert((*id, place.0, place.1), lock);
                    events.push(Event::Locked { session: *id, lock });
                }
                let Some(limit) = end.silence else { continue };
                let Some(silence) = session.silent.get_mut(&(index, side == Side::A)) else {
                    continue;
                };
                if speaks(seen_at(&self.addresses, end.local)) {
                    silence.since = now;
                } else if !silence.said && silence.since + limit <= now {
                    silence.said = true;
                    session.reported.get_or_insert(now);
                    events.push(Event::Silent { session: *id, side });
                }
            }
        }
        events
    }

    /// When there may be something to report.
    pub fn next(&self) -> Option<Instant> {
        let closing = self.closing.values().copied();
        let silent = self.sessions.values().flat_map(|session| {
            ends_of(&session.streams).filter_map(|(index, side, end)| {
                let silence = session.silent.get(&(index, side == Side::A))?;
                (!silence.said).then_some(silence.since + end.silence?)
            })
        });
        closing.chain(silent).min()
    }

    /// Sessions that live on although their silence was reported long ago.
    pub fn overdue(&self, now: Instant) -> Option<SessionId> {
        let late = |s: &Session| s.reported.is_some_and(|reported| reported + MERCY < now);
        self.sessions.iter().find(|(_, session)| late(session)).map(|(id, _)| *id)
    }

    fn ends(&self) -> impl Iterator<Item = (SessionId, usize, Side, &End)> {
        self.sessions.iter().flat_map(|(id, session)| {
            ends_of(&session.streams).map(|(index, side, end)| (*id, index, side, end))
        })
    }

    /// Ports are even, in their range, on our addresses, and used once.
    fn check(&self) -> Result<(), String> {
        let mut used = BTreeMap::new();
        for (id, index, side, end) in self.ends() {
            let local = end.local;
            if local.port() % 2 != 0 {
                return Err(format!("{local} of {id:?} is odd"));
            }
            if !self.ranges.iter().any(|ports| (ports.first..ports.last).contains(&local.port())) {
                return Err(format!("{local} of {id:?} is outside of media-ports"));
            }
            if !self.addresses.iter().any(|(_, own)| *own == local.ip()) {
                return Err(format!("{local} of {id:?} is not an address of ours"));
            }
            if let Some(other) = used.insert(local, (id, index, side)) {
                return Err(format!("{local} serves {other:?} and {:?}", (id, index, side)));
            }
            if end.remote.is_some_and(|to| to.rtp.is_ipv6() != local.is_ipv6()) {
                return Err(format!("{local} of {id:?} sends to another family: {end:?}"));
            }
        }
        Ok(())
    }
}

impl Session {
    fn note_windows(&mut self, now: Instant) {
        let ends: Vec<_> = ends_of(&self.streams)
            .filter(|(.., end)| end.silence.is_some())
            .map(|(index, side, end)| ((index, side == Side::A), end.window))
            .collect();
        self.silent.retain(|key, _| ends.iter().any(|(kept, _)| kept == key));
        for (key, window) in ends {
            match self.silent.get_mut(&key) {
                Some(silence) if silence.window == window => {}
                _ => {
                    self.silent.insert(key, Silence { window, since: now, said: false });
                }
            }
        }
    }
}

fn seen_at(addresses: &[(IpAddr, IpAddr)], local: SocketAddr) -> SocketAddr {
    let known = addresses.iter().find(|(_, own)| *own == local.ip());
    SocketAddr::new(known.map_or(local.ip(), |(public, _)| *public), local.port())
}

fn ends_of(streams: &[Option<Stream>]) -> impl Iterator<Item = (usize, Side, &End)> {
    streams.iter().enumerate().flat_map(|(index, stream)| {
        let a = stream.iter().map(move |stream| (index, Side::A, &stream.a));
        let b = stream.iter().filter_map(move |stream| match &stream.b {
            Far::End(end) => Some((index, Side::B, end)),
            Far::Echo => None,
        });
        a.chain(b)
    })
}

//! The forwarding loop.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::demux::Key;
use super::legacy::{Legacy, State};
use super::mailbox::Mailbox;
use super::moment::Moment;
use super::relay::Order;
use super::session::{Failure, Session};
use super::sockets::SocketTable;
use super::{Command, Event, Lock, MAX_SESSIONS, SessionId, Stream};

/// The epoll tag of the mailbox; sockets have 32-bit ones.
const MAILBOX: u64 = u64::MAX;

/// How many sockets are served before the next look at the mailbox.
const READY: usize = 256;

/// How many commands are obeyed before the next look at the sockets: opening and closing ports must not hold
/// up the packets of calls that stand.
const COMMANDS_A_TURN: usize = 8;

/// The longest possible datagram.
const BUFFER: usize = 65_536;

/// How often, at most, silence is looked for, in milliseconds.
const CHECK_MS: u64 = 1_000;

/// All that the relay's thread owns.
pub(super) struct Forwarder {
    orders: Arc<Mailbox<Order>>,
    events: Arc<Mailbox<Event>>,
    /// Collected from the mailbox, not yet obeyed.
    waiting: VecDeque<Order>,
    /// Of locks that packets of this turn took.
    news: Vec<Event>,
    sockets: SocketTable,
    sessions: Vec<Option<Session>>,
    free: Vec<u32>,
    by_id: HashMap<SessionId, u32>,
    /// When silence is to be looked for next, in milliseconds; `None` where nobody promised sound.
    check: Option<u64>,
}

impl Forwarder {
    /// A relay without sessions.
    pub(super) fn new(orders: Arc<Mailbox<Order>>, events: Arc<Mailbox<Event>>) -> io::Result<Forwarder> {
        let sockets = SocketTable::new()?;
        sockets.watch(&*orders, MAILBOX)?;
        Ok(Forwarder {
            orders,
            events,
            waiting: VecDeque::new(),
            news: Vec::with_capacity(READY),
            sockets,
            sessions: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            check: None,
        })
    }

    /// Goes on with what another relay left.
    ///
    /// # Errors
    /// When it is damaged or of another version, or when the system does not let its sockets be watched.
    pub(super) fn take_over(&mut self, legacy: Legacy) -> io::Result<()> {
        let (State { sessions, events }, sockets) = legacy.unpack()?;
        let mut sockets = sockets.into_iter();
        for mut session in sessions {
            let slot = self.sessions.len() as u32;
            for (end, place) in session.ends(slot) {
                let (Some(rtp), Some(rtcp)) = (sockets.next(), sockets.next()) else { break };
                end.renumber(self.sockets.adopt(end.local(), [rtp, rtcp], place)?);
            }
            self.check = self.check.into_iter().chain(session.silent_at()).min();
            self.by_id.insert(session.id(), slot);
            self.sessions.push(Some(session));
        }
        self.events.post(events);
        Ok(())
    }

    /// Leaves everything to the next relay, but for sockets that are kept warm.
    fn leave(mut self) -> Legacy {
        let sessions = self.sessions.into_iter().flatten().collect();
        let mut events = Vec::new();
        self.events.collect(&mut events);
        Legacy::pack(sessions, events, |key| self.sockets.give_away(key))
    }

    /// Relays until the handle is gone; what is left then, if that was asked for.
    pub(super) fn run(mut self) -> Option<Legacy> {
        let mut ready = Vec::with_capacity(READY);
        let mut buffer = vec![0; BUFFER];
        // What was taken over may be due.
        let mut patience = Some(0);
        loop {
            self.sockets.wait(&mut ready, patience);
            let moment = Moment::now();
            let now = moment.ms();
            let mut told = false;
            for event in &ready {
                match event.data.u64() {
                    MAILBOX => told = true,
                    key => self.relay(Key(key as u32), &mut buffer, moment),
                }
            }
            if !self.news.is_empty() {
                self.events.post(self.news.drain(..));
            }
            // Only now, when no packet of this turn is left whose socket a command might close; and only what
            // can be obeyed soon, so that the mailbox bounds all that waits.
            if told && self.waiting.is_empty() {
                self.orders.collect(&mut self.waiting);
            }
            for _ in 0..COMMANDS_A_TURN {
                match self.waiting.pop_front() {
                    Some(Order::Obey(Command::Set { session, streams })) => {
                        self.set(session, streams, now);
                    }
                    Some(Order::Obey(Command::Lock { session, lock })) => self.restore(session, lock, now),
                    Some(Order::Obey(Command::Close { session })) => self.close(session, now),
                    Some(Order::Measure) => self.measure(now),
                    Some(Order::Leave) => return Some(self.leave()),
                    Some(Order::Stop) => return None,
                    None => break,
                }
            }
            self.look_for_silence(now);
            let next = self.sockets.cool(now).into_iter().chain(self.check).min();
            patience = match self.waiting.is_empty() {
                true => next.map(|at| at.saturating_sub(now)),
                false => Some(0),
            };
        }
    }

    /// Moves one packet from a socket to where it goes.
    fn relay(&mut self, key: Key, buffer: &mut [u8], now: Moment) {
        let Some((place, length, from)) = self.sockets.receive(key, buffer) else { return };
        let Some(Some(session)) = self.sessions.get_mut(place.session as usize) else { return };
        let Some(stream) = session.stream(place.stream) else { return };
        let packet = &mut buffer[..length];
        if let Some((key, to)) = stream.relay(place.side, place.component, from, packet, now) {
            self.sockets.send(key, packet, to);
        }
        self.news.extend(session.take_news(place.stream, place.side, place.component));
    }

    /// Makes a session what it is to be.
    fn set(&mut self, id: SessionId, wanted: Vec<Option<Stream>>, now: u64) {
        let result = match self.slot(id) {
            Some(slot) => {
                let session = self.sessions[slot as usize].get_or_insert_with(|| Session::new(id));
                let result = session.set(slot, wanted, &mut self.sockets, now);
                self.events.post(session.take_all_news());
                self.check = self.check.into_iter().chain(session.silent_at()).min();
                result
            }
            None => Err(Failure::too_many(&wanted, "sessions", MAX_SESSIONS)),
        };
        if let Err(Failure { local, reason }) = result {
            self.events.post([Event::Failed { session: id, local, reason }]);
        }
    }

    /// Restores a lock, and tells it to whoever knows of another one.
    fn restore(&mut self, id: SessionId, lock: Lock, now: u64) {
        let Some(slot) = self.by_id.get(&id) else { return };
        let Some(Some(session)) = self.sessions.get_mut(*slot as usize) else { return };
        session.restore(lock, now);
        self.events.post(session.take_news(lock.stream, lock.side, lock.component));
    }

    /// The slot of a session, old or new; `None` where there are too many.
    fn slot(&mut self, id: SessionId) -> Option<u32> {
        if let Some(slot) = self.by_id.get(&id) {
            return Some(*slot);
        }
        if self.by_id.len() >= MAX_SESSIONS {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            self.sessions.len() as u32 - 1
        });
        self.by_id.insert(id, slot);
        Some(slot)
    }

    /// Ends a session, and says what it moved: nothing, if there was none.
    fn close(&mut self, id: SessionId, now: u64) {
        let session = self.by_id.remove(&id).and_then(|slot| {
            self.free.push(slot);
            self.sessions[slot as usize].take()
        });
        let [a, b] = session.map(|session| session.close(&mut self.sockets, now)).unwrap_or_default();
        self.events.post([Event::Closed { session: id, a, b }]);
    }

    /// Tells how all sessions are.
    fn measure(&self, now: u64) {
        let sessions = self.sessions.iter().flatten();
        let measured = sessions.flat_map(|session| session.measured(now)).collect();
        self.events.post([Event::Measured(measured)]);
    }

    /// Tells which ends have been silent for too long.
    fn look_for_silence(&mut self, now: u64) {
        if self.check.is_none_or(|at| at > now) {
            return;
        }
        let mut next = None;
        for (&id, &slot) in &self.by_id {
            let Some(session) = &mut self.sessions[slot as usize] else { continue };
            for side in session.silent_sides(now) {
                self.events.post([Event::Silent { session: id, side }]);
            }
            next = next.into_iter().chain(session.silent_at()).min();
        }
        self.check = next.map(|at: u64| at.max(now + CHECK_MS));
    }
}

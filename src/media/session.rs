//! A session as it runs: the streams of one call, and the change from what is to what is wanted.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::demux::Place;
use super::end::LiveEnd;
use super::sockets::SocketTable;
use super::stream::LiveStream;
use super::{Component, Counters, Event, Far, Lock, MAX_STREAMS, Measured, SessionId, Side, Stream};

/// Streams by index of their `m=` line, and what was counted on ends that are gone.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Session {
    id: SessionId,
    streams: Vec<LiveStream>,
    past: [Counters; 2],
}

/// Why a session is not what it should be.
#[derive(Debug)]
pub(super) struct Failure {
    /// The first address that could not be bound.
    pub(super) local: SocketAddr,
    /// Why.
    pub(super) reason: String,
}

impl Session {
    /// A session without streams.
    pub(super) fn new(id: SessionId) -> Session {
        Session { id, streams: Vec::new(), past: Default::default() }
    }

    /// Makes the session what is wanted, as far as that works: an end that could not be opened stays closed
    /// until the next attempt, all the others are as they should be.
    pub(super) fn set(
        &mut self,
        slot: u32,
        mut wanted: Vec<Option<Stream>>,
        sockets: &mut SocketTable,
        now: u64,
    ) -> Result<(), Failure> {
        let excess = wanted.split_off(wanted.len().min(MAX_STREAMS));
        let mut result = match excess.iter().flatten().next() {
            Some(_) => Err(Failure::too_many(&excess, "streams", MAX_STREAMS)),
            None => Ok(()),
        };
        // First everything that goes, so that its ports are free for whoever wants them now.
        self.close_except(&wanted, sockets, now);
        self.streams.resize_with(wanted.len(), LiveStream::default);
        for (index, (live, wanted)) in self.streams.iter_mut().zip(wanted).enumerate() {
            let Some(Stream { a, b }) = wanted else { continue };
            let b = match b {
                Far::End(end) => Some(end),
                Far::Echo => None,
            };
            live.echo = b.is_none();
            for (side, end) in [(Side::A, Some(a)), (Side::B, b)] {
                let Some(end) = end else { continue };
                if let Some(live) = live.end(side) {
                    live.become_wanted(end, now);
                    continue;
                }
                let local = end.local;
                let place = |component| Place { session: slot, stream: index as u8, side, component };
                match sockets.open(local, place) {
                    Ok(pair) => *live.end(side) = Some(LiveEnd::new(end, pair, now)),
                    Err(error) if result.is_ok() => {
                        result = Err(Failure { local, reason: error.to_string() });
                    }
                    Err(_) => {}
                }
            }
        }
        result
    }

    /// Closes every end, and says what came from either side.
    pub(super) fn close(mut self, sockets: &mut SocketTable, now: u64) -> [Counters; 2] {
        self.close_except(&[], sockets, now);
        self.past
    }

    /// Closes every end that is not wanted where it is.
    fn close_except(&mut self, wanted: &[Option<Stream>], sockets: &mut SocketTable, now: u64) {
        for (index, live) in self.streams.iter_mut().enumerate() {
            let wanted = wanted.get(index).and_then(Option::as_ref);
            for (side, past) in [Side::A, Side::B].into_iter().zip(&mut self.past) {
                let wanted = wanted.and_then(|stream| match (side, &stream.b) {
                    (Side::A, _) => Some(stream.a.local),
                    (Side::B, Far::End(end)) => Some(end.local),
                    (Side::B, Far::Echo) => None,
                });
                let gone = |end: &mut LiveEnd| Some(end.local()) != wanted;
                if let Some(end) = live.end(side).take_if(gone) {
                    past.add(end.counters());
                    sockets.close(end.local(), end.sockets(), now);
                }
            }
        }
    }

    /// Which one it is.
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// How many streams it has, closed ones included.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// All its ends, and whose packets each one's sockets receive if it is in a slot.
    pub(super) fn ends(
        &mut self,
        slot: u32,
    ) -> impl Iterator<Item = (&mut LiveEnd, impl Fn(Component) -> Place)> {
        self.streams.iter_mut().enumerate().flat_map(move |(index, stream)| {
            let ends = [(Side::A, &mut stream.a), (Side::B, &mut stream.b)];
            ends.into_iter().filter_map(move |(side, end)| {
                let place = move |component| Place { session: slot, stream: index as u8, side, component };
                Some((end.as_mut()?, place))
            })
        })
    }

    /// The same, only to look at.
    pub(super) fn live_ends(&self) -> impl Iterator<Item = &LiveEnd> {
        self.streams.iter().flat_map(|stream| [&stream.a, &stream.b]).flatten()
    }

    /// One of its streams.
    pub(super) fn stream(&mut self, index: u8) -> Option<&mut LiveStream> {
        self.streams.get_mut(usize::from(index))
    }

    /// Restores a lock, if there is an end whose it may be.
    pub(super) fn restore(&mut self, lock: Lock, now: u64) {
        let end = self.stream(lock.stream).and_then(|stream| stream.end(lock.side).as_mut());
        if let Some(end) = end {
            end.restore(lock.component, lock.window, lock.source, now);
        }
    }

    /// What is to be told of the lock of one socket. Costs no allocation.
    pub(super) fn take_news(&mut self, stream: u8, side: Side, component: Component) -> Option<Event> {
        let end = self.stream(stream)?.end(side).as_mut()?;
        let (window, source) = end.take_news(component)?;
        Some(Event::Locked { session: self.id, lock: Lock { stream, side, component, window, source } })
    }

    /// What is to be told of all its locks.
    pub(super) fn take_all_news(&mut self) -> impl Iterator<Item = Event> {
        let sides = [Side::A, Side::B].into_iter();
        let ends = sides.flat_map(|side| [(side, Component::Rtp), (side, Component::Rtcp)]);
        let sockets = (0..self.streams.len() as u8)
            .flat_map(move |stream| ends.clone().map(move |(side, component)| (stream, side, component)));
        sockets.filter_map(|(stream, side, component)| self.take_news(stream, side, component))
    }

    /// How each of its ends is.
    pub(super) fn measured(&self, now: u64) -> impl Iterator<Item = Measured> {
        self.streams.iter().enumerate().flat_map(move |(index, stream)| {
            [(Side::A, &stream.a), (Side::B, &stream.b)]
                .into_iter()
                .filter_map(move |(side, end)| Some(end.as_ref()?.measured(self.id, index as u8, side, now)))
        })
    }

    /// Which sides have become silent for too long: each at most once for each of its ends and windows.
    pub(super) fn silent_sides(&mut self, now: u64) -> impl Iterator<Item = Side> {
        self.streams.iter_mut().flat_map(move |stream| {
            [Side::A, Side::B]
                .into_iter()
                .filter(move |side| stream.end(*side).as_mut().is_some_and(|end| end.tells_silence(now)))
        })
    }

    /// When the next of its ends will have been silent for too long, unless it speaks.
    pub(super) fn silent_at(&self) -> Option<u64> {
        self.live_ends().filter_map(LiveEnd::silent_at).min()
    }
}

impl Failure {
    /// That there are more than so many of something.
    pub(super) fn too_many(excess: &[Option<Stream>], what: &str, most: usize) -> Failure {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Failure {
            local: excess.iter().flatten().next().map_or(nowhere, |stream| stream.a.local),
            reason: format!("more than {most} {what}"),
        }
    }
}

impl Counters {
    fn add(&mut self, other: Counters) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.strangers += other.strangers;
        self.jitter = self.jitter.max(other.jitter);
        self.round_trip = self.round_trip.max(other.round_trip);
    }
}

//! How many connections a source has, and on which of them nobody has proved who they are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::prefix::Prefix;
use crate::time::Instant;

/// The most connections without authentication that a stranger has.
pub(super) const MAX_OF_STRANGER: usize = 8;
/// The most that a source of phones has.
pub(super) const MAX_OF_PHONE: usize = 64;
/// The most with authentication that a source has: an office has room, and whoever knows one password
/// cannot take the connections of everybody else.
pub(super) const MAX_PROVED: usize = 512;
/// The most of all without authentication. At the bound the oldest goes, a stranger's before a phone's: whoever opens many
/// pushes out its own, and those who are in earnest need a second or two.
const MAX: usize = 1_024;
/// How long authentication may take: as long as a transaction (RFC 3261 §17.1.1.2, 64 × T1).
const PATIENCE: Duration = Duration::from_secs(32);

/// They wait here from the opening until they are authenticated, closed or overdue.
pub(super) struct Streams {
    /// The oldest first.
    strangers: VecDeque<Waiting>,
    /// Those of sources where a phone was registered when they came, the oldest first.
    phones: VecDeque<Waiting>,
    /// Those of sources that were banned meanwhile.
    condemned: VecDeque<u64>,
    /// Where those are that are authenticated; as many as there are.
    proved: BTreeMap<u64, Prefix>,
}

struct Waiting {
    stream: u64,
    source: Prefix,
    until: Instant,
}

impl Streams {
    pub(super) fn new() -> Streams {
        Streams {
            strangers: VecDeque::with_capacity(MAX),
            phones: VecDeque::new(),
            condemned: VecDeque::new(),
            proved: BTreeMap::new(),
        }
    }

    /// Whether a source may have one more.
    pub(super) fn has_room(&self, source: Prefix, phone: bool) -> bool {
        let most = if phone { MAX_OF_PHONE } else { MAX_OF_STRANGER };
        self.all().filter(|waiting| waiting.source == source).count() < most
            // Nobody but a source of phones comes near it, and only then is it worth counting.
            && (self.proved.len() < MAX_PROVED
                || self.proved.values().filter(|proved| **proved == source).count() < MAX_PROVED)
    }

    /// A connection came, for which its source has room; it may have to take the place of another, which
    /// is named.
    pub(super) fn open(&mut self, stream: u64, source: Prefix, phone: bool, now: Instant) -> Option<u64> {
        let oldest = if self.all().count() < MAX {
            None
        } else {
            self.strangers.pop_front().or_else(|| self.phones.pop_front())
        };
        let queue = if phone { &mut self.phones } else { &mut self.strangers };
        queue.push_back(Waiting { stream, source, until: now + PATIENCE });
        oldest.map(|waiting| waiting.stream)
    }

    fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.strangers.iter().chain(&self.phones)
    }

    /// A connection is authenticated; one of which nothing is known stays so. Most that proves itself came
    /// by datagrams (0) or did so before: neither is looked for among those that wait.
    pub(super) fn proved(&mut self, stream: u64) {
        if stream == 0 || self.proved.contains_key(&stream) {
            return;
        }
        let waiting = self.all().find(|waiting| waiting.stream == stream).map(|waiting| waiting.source);
        if let Some(source) = waiting {
            self.forget(stream);
            self.proved.insert(stream, source);
        }
    }

    /// A connection is closed.
    pub(super) fn forget(&mut self, stream: u64) {
        if self.proved.remove(&stream).is_some() {
            return;
        }
        for queue in [&mut self.strangers, &mut self.phones] {
            if let Some(at) = queue.iter().position(|waiting| waiting.stream == stream) {
                queue.remove(at);
            }
        }
        self.condemned.retain(|&condemned| condemned != stream);
    }

    /// A source is not heard any more: neither are its connections.
    pub(super) fn condemn(&mut self, source: Prefix) {
        for queue in [&mut self.strangers, &mut self.phones] {
            let of_source = queue.iter().filter(|waiting| waiting.source == source);
            self.condemned.extend(of_source.map(|waiting| waiting.stream));
            queue.retain(|waiting| waiting.source != source);
        }
    }

    /// A source is not heard any more, whoever is there: neither are connections that proved themselves.
    pub(super) fn banish(&mut self, source: Prefix) {
        self.condemn(source);
        let proved = self.proved.iter().filter(|(_, of)| **of == source);
        self.condemned.extend(proved.map(|(stream, _)| *stream));
        self.proved.retain(|_, of| *of != source);
    }

    /// The next that has to go; it is forgotten.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<u64> {
        if let Some(stream) = self.condemned.pop_front() {
            return Some(stream);
        }
        let mut queues = [&mut self.strangers, &mut self.phones].into_iter();
        let late = queues.find(|queue| queue.front().is_some_and(|waiting| waiting.until <= now))?;
        late.pop_front().map(|waiting| waiting.stream)
    }

    /// When there will be one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if !self.condemned.is_empty() {
            return Some(Instant(0));
        }
        [&self.strangers, &self.phones].into_iter().filter_map(|queue| Some(queue.front()?.until)).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prefix(n: u32) -> Prefix {
        Prefix::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
    }

    fn drain(streams: &mut Streams, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| streams.overdue(Instant(now))).collect()
    }

    #[test]
    fn who_does_not_authenticate_goes() {
        let mut streams = Streams::new();
        assert_eq!(streams.deadline(), None);
        for (stream, phone) in [(1, false), (2, true), (3, false), (4, true)] {
            assert_eq!(streams.open(stream, prefix(1), phone, Instant(stream)), None);
        }
        streams.forget(1);
        streams.forget(4);
        streams.forget(99);
        assert_eq!(streams.deadline(), Some(Instant(32_002)));
        assert!(drain(&mut streams, 32_001).is_empty());
        assert_eq!(drain(&mut streams, 32_002), [2]);
        assert_eq!(drain(&mut streams, 100_000), [3]);
        assert_eq!(streams.deadline(), None);
    }

    #[test]
    fn a_source_has_few_and_one_of_phones_has_more() {
        let mut streams = Streams::new();
        for (source, phone, most) in [(1, false, 8), (2, true, 64)] {
            for n in 0..most {
                assert!(streams.has_room(prefix(source as u32), phone));
                assert_eq!(streams.open(source * 1_000 + n, prefix(source as u32), phone, Instant(0)), None);
            }
            assert!(!streams.has_room(prefix(source as u32), phone));
        }
        streams.forget(1_003);
        assert!(streams.has_room(prefix(1), false));
    }

    #[test]
    fn whoever_proved_himself_has_many_but_not_all() {
        let mut streams = Streams::new();
        for stream in 1..=512 {
            assert!(streams.has_room(prefix(1), true));
            streams.open(stream, prefix(1), true, Instant(0));
            streams.proved(stream);
            streams.proved(stream);
        }
        assert_eq!(streams.deadline(), None);
        assert!(!streams.has_room(prefix(1), true) && streams.has_room(prefix(2), false));
        streams.proved(9_999);
        streams.forget(17);
        assert!(streams.has_room(prefix(1), true));
    }

    #[test]
    fn the_oldest_makes_room_and_a_stranger_before_a_phone() {
        let mut streams = Streams::new();
        let mut numbers = 1..;
        let mut open =
            |source, phone| streams.open(numbers.next().unwrap(), prefix(source), phone, Instant(0));
        for n in 0..64 {
            assert_eq!(open(0, true), None, "{n}");
        }
        for n in 64..1_024 {
            assert_eq!(open(n, false), None, "{n}");
        }
        assert_eq!(open(5_000, false), Some(65));
        assert_eq!(open(5_001, true), Some(66));
        assert_eq!(streams.strangers.len() + streams.phones.len(), MAX);
    }

    #[test]
    fn those_of_the_banished_are_overdue_even_if_they_proved_themselves() {
        let mut streams = Streams::new();
        for stream in 1..=4 {
            streams.open(stream, prefix((stream % 2) as u32), false, Instant(0));
        }
        streams.proved(1);
        streams.proved(2);
        streams.banish(prefix(1));
        assert_eq!(drain(&mut streams, 0), [3, 1]);
        assert_eq!(drain(&mut streams, 32_000), [4]);
    }

    #[test]
    fn connections_of_the_banned_are_overdue() {
        let mut streams = Streams::new();
        for stream in 1..=6 {
            streams.open(stream, prefix((stream % 2) as u32), stream > 3, Instant(0));
        }
        streams.condemn(prefix(1));
        assert_eq!(streams.deadline(), Some(Instant(0)));
        streams.forget(3);
        assert_eq!(drain(&mut streams, 0), [1, 5]);
        assert_eq!(drain(&mut streams, 32_000), [2, 4, 6]);
    }
}

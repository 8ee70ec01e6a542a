//! Which ports the relay may use, and which are free: a pure table, so that the switch can know
//! the port before the INVITE leaves, and answer 503 itself when there is none.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use crate::config::PortRange;

/// How long a released pair rests before it is given out again, in milliseconds: what the old
/// call's phones still send must not reach the new one.
pub const REST_MS: u64 = 2_000;

/// How many pairs rest at most; of more, those that rest longest are ready before their time.
pub const MOST_RESTING: usize = 448;

/// Gives out pairs of ports: an even one for RTP, and the next for RTCP (RFC 3550 §11).
///
/// A released pair rests for [`REST_MS`], or until [`MOST_RESTING`] others were released after it, which takes
/// more than a hundred calls a second. When only resting pairs are left, the one that rested longest is given:
/// an exchange that runs through its whole range so fast is better served by a port that is barely cold than by
/// a refused call, since the relay admits only the new call's sources. So [`PortAllocator::allocate`] refuses
/// only when every pair is in use.
///
/// Of the rested pairs the one released last is given first: the relay still holds its sockets open, and a session
/// that finds its sockets open costs the relay a tenth of one that has to open them.
///
/// Each operation is O(1) on average. Memory is fixed by the range: 2 bytes and a bit for each pair, and
/// at most 16 bytes for each resting one.
#[derive(Debug)]
pub struct PortAllocator {
    /// The first even port of the range; pair `n` is `base + 2 * n`.
    base: u16,
    /// Pairs that may be given out, the next one last.
    ready: Vec<u16>,
    /// Pairs that rest, the longest first.
    resting: VecDeque<Resting>,
    /// For each pair whether it is given out; 64 pairs a word.
    used: Vec<u64>,
    in_use: usize,
    pairs: usize,
    /// Ports that are given out and lie outside the range, since it was another one then.
    outside: BTreeSet<u16>,
}

#[derive(Debug)]
struct Resting {
    pair: u16,
    /// When it was released, in milliseconds.
    since: u64,
}

impl PortAllocator {
    /// All pairs that lie wholly within the range; none if it has no even port followed by an odd one.
    pub fn new(range: PortRange) -> PortAllocator {
        let base = u32::from(range.first).next_multiple_of(2);
        let end = u32::from(range.last) + 1;
        // At most 32,768 pairs, so that their numbers fit 16 bits.
        let pairs = (end.saturating_sub(base) / 2) as u16;
        PortAllocator {
            base: base as u16,
            ready: (0..pairs).rev().collect(),
            resting: VecDeque::new(),
            used: vec![0; usize::from(pairs).div_ceil(64)],
            in_use: 0,
            pairs: usize::from(pairs),
            outside: BTreeSet::new(),
        }
    }

    /// An even port, its odd neighbour included, until it is released; `None` when all are in use.
    ///
    /// `now` is in milliseconds on a clock that never goes back.
    pub fn allocate(&mut self, now: u64) -> Option<u16> {
        while let Some(longest) = self.resting.front()
            && (now.saturating_sub(longest.since) >= REST_MS || self.resting.len() > MOST_RESTING)
        {
            self.ready.push(longest.pair);
            self.resting.pop_front();
        }
        let pair = match self.ready.pop() {
            Some(pair) => pair,
            None => self.resting.pop_front()?.pair,
        };
        self.used[usize::from(pair / 64)] |= 1 << (pair % 64);
        self.in_use += 1;
        Some(self.base + 2 * pair)
    }

    /// Goes over to another range. What is given out stays so until it is released, wherever it lies; what
    /// rests goes on resting, if it lies within the range.
    pub fn change(&mut self, range: PortRange) {
        let mut next = PortAllocator::new(range);
        let used = (0..self.pairs as u16).filter(|pair| self.is_used(*pair)).map(|pair| self.base + 2 * pair);
        next.claim(used.chain(self.outside.iter().copied()));
        for resting in &self.resting {
            let pair = next.pair_of(self.base + 2 * resting.pair).filter(|pair| !next.is_used(*pair));
            next.resting.extend(pair.map(|pair| Resting { pair, ..*resting }));
        }
        let rests: BTreeSet<u16> = next.resting.iter().map(|resting| resting.pair).collect();
        next.ready.retain(|pair| !rests.contains(pair));
        *self = next;
    }

    /// Gives out these very ports, since calls already have them, wherever they lie; odd ones are left alone. One
    /// look at all that is free is enough for however many.
    pub fn claim(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            let is_new = match self.pair_of(port) {
                None => port.is_multiple_of(2) && self.outside.insert(port),
                Some(pair) if self.is_used(pair) => false,
                Some(pair) => {
                    self.used[usize::from(pair / 64)] |= 1 << (pair % 64);
                    true
                }
            };
            self.in_use += usize::from(is_new);
        }
        let (mut ready, mut resting) = (mem::take(&mut self.ready), mem::take(&mut self.resting));
        ready.retain(|pair| !self.is_used(*pair));
        resting.retain(|resting| !self.is_used(resting.pair));
        (self.ready, self.resting) = (ready, resting);
    }

    fn is_used(&self, pair: u16) -> bool {
        self.used[usize::from(pair / 64)] >> (pair % 64) & 1 == 1
    }

    /// Which pair of the range a port is the even one of.
    fn pair_of(&self, port: u16) -> Option<u16> {
        let offset = port.checked_sub(self.base)?;
        (offset % 2 == 0 && usize::from(offset / 2) < self.pairs).then_some(offset / 2)
    }

    /// Takes a port back. One that is not given out is left alone, so releasing twice does no harm.
    pub fn release(&mut self, port: u16, now: u64) {
        let Some(pair) = self.pair_of(port) else {
            self.in_use -= usize::from(self.outside.remove(&port));
            return;
        };
        let bit = 1 << (pair % 64);
        match self.used.get_mut(usize::from(pair / 64)) {
            Some(word) if *word & bit != 0 => *word &= !bit,
            _ => return,
        }
        self.in_use -= 1;
        self.resting.push_back(Resting { pair, since: now });
    }

    /// How many pairs are given out.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// How many pairs there are.
    pub fn capacity(&self) -> usize {
        self.pairs
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn ports(first: u16, last: u16) -> PortAllocator {
        PortAllocator::new(PortRange { first, last })
    }

    #[test]
    fn pairs_lie_within_the_range() {
        for (first, last, expected) in [
            (40000, 40003, vec![40000, 40002]),
            (40001, 40004, vec![40002]),
            (40000, 40000, vec![]),
            (40001, 40002, vec![]),
            (40003, 40002, vec![]),
            (65534, 65535, vec![65534]),
            (65535, 65535, vec![]),
        ] {
            let mut ports = ports(first, last);
            assert_eq!(ports.capacity(), expected.len(), "{first}-{last}");
            let all: Vec<u16> = std::iter::from_fn(|| ports.allocate(0)).collect();
            assert_eq!(all, expected, "{first}-{last}");
        }
        assert_eq!(ports(0, 65535).capacity(), 32_768);
    }

    #[test]
    fn a_released_pair_rests_while_there_is_another() {
        let mut ports = ports(40000, 40005);
        assert_eq!(ports.allocate(0), Some(40000));
        ports.release(40000, 10);
        assert_eq!(ports.allocate(10), Some(40002));
        assert_eq!(ports.allocate(10), Some(40004));
        ports.release(40004, 11);
        // Both rest: the longest first, and then no port is left.
        assert_eq!(ports.allocate(12), Some(40000));
        assert_eq!(ports.allocate(12), Some(40004));
        assert_eq!(ports.allocate(12), None);
        assert_eq!(ports.in_use(), 3);
    }

    #[test]
    fn another_range_leaves_what_is_given_out() {
        let mut ports = ports(40000, 40007);
        let given: Vec<u16> = (0..3).map(|_| ports.allocate(0).unwrap()).collect();
        assert_eq!(given, [40000, 40002, 40004]);
        ports.release(40004, 5);
        ports.change(PortRange { first: 40002, last: 40009 });
        assert_eq!((ports.in_use(), ports.capacity()), (2, 4));
        // 40002 is in use, and 40004 rests.
        assert_eq!([0; 3].map(|_| ports.allocate(10)), [Some(40006), Some(40008), Some(40004)]);
        assert_eq!(ports.allocate(10), None);
        // What lies outside is taken back, once, and not given out again.
        ports.release(40000, 20);
        ports.release(40000, 20);
        assert_eq!((ports.in_use(), ports.allocate(20)), (4, None));
        ports.change(PortRange { first: 50000, last: 50003 });
        assert_eq!((ports.in_use(), ports.capacity()), (4, 2));
        for port in [40002, 40004, 40006, 40008] {
            ports.release(port, 30);
        }
        assert_eq!((ports.in_use(), ports.allocate(30)), (0, Some(50000)));
        ports.change(PortRange { first: 40000, last: 40001 });
        ports.change(PortRange { first: 50000, last: 50003 });
        assert_eq!([0; 2].map(|_| ports.allocate(40)), [Some(50002), None]);
    }

    #[test]
    fn of_rested_pairs_the_last_released_is_next() {
        let mut ports = ports(40000, 40999);
        let (first, second) = (ports.allocate(0).unwrap(), ports.allocate(0).unwrap());
        ports.release(first, 100);
        ports.release(second, 200);
        assert_eq!(ports.allocate(200 + REST_MS), Some(second));
        assert_eq!(ports.allocate(200 + REST_MS), Some(first));
    }

    #[test]
    fn at_high_rates_the_same_few_pairs_are_used() {
        let mut ports = ports(20000, 59999);
        let mut seen = BTreeSet::new();
        for now in 0..10_000 {
            let pair = ports.allocate(now / 10).unwrap();
            seen.insert(pair);
            ports.release(pair, now / 10);
        }
        assert_eq!(seen.len(), MOST_RESTING + 1);
    }

    #[test]
    fn what_is_not_given_out_cannot_be_released() {
        let mut ports = ports(40000, 40003);
        let port = ports.allocate(0).unwrap();
        for other in [0, 39998, 39999, 40001, 40002, 40003, 40004, 65535] {
            ports.release(other, 0);
        }
        assert_eq!(ports.in_use(), 1);
        ports.release(port, 0);
        ports.release(port, 0);
        assert_eq!(ports.in_use(), 0);
        let both: BTreeSet<_> = (0..2).filter_map(|_| ports.allocate(0)).collect();
        assert_eq!((both.len(), ports.allocate(0)), (2, None));
    }

    #[test]
    fn what_is_claimed_is_given_to_nobody_else() {
        let mut table = ports(40000, 40005);
        table.claim([40002, 40002, 40001, 39998, 39998, 40006]);
        assert_eq!(table.in_use(), 3);
        table.release(39998, 0);
        table.release(40006, 0);
        assert_eq!(table.in_use(), 1);
        assert_eq!(
            [table.allocate(0), table.allocate(0), table.allocate(0)],
            [Some(40000), Some(40004), None]
        );
        table.release(40002, 0);
        assert_eq!((table.allocate(5_000), table.in_use()), (Some(40002), 3));
        table.release(40000, 5_000);
        table.claim([40000]);
        assert_eq!(table.allocate(9_000), None);
    }

    /// A long random life, held against the plainest table that obeys the same rules.
    #[test]
    fn random_lives_obey_the_rules() {
        for seed in 1..200_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut next = move |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let first = 40_000 + next(2) as u16;
            let last = first + next(40) as u16;
            let mut table = ports(first, last);
            let all: Vec<u16> = (first..last).filter(|port| port % 2 == 0).collect();
            let mut used = BTreeSet::new();
            let mut released = BTreeMap::new();
            let mut now = 0;
            for step in 0..2_000 {
                now += next(400);
                let context = format!("seed {seed}, step {step}");
                if next(2) == 0 {
                    let given = table.allocate(now);
                    let Some(port) = given else {
                        assert_eq!(used.len(), all.len(), "{context}: refused with ports free");
                        continue;
                    };
                    assert!(all.contains(&port), "{context}: {port} is out of range");
                    assert!(used.insert(port), "{context}: {port} given twice");
                    let rested = |at: &u64| now - at >= REST_MS;
                    let since = released.remove(&port);
                    if since.is_some_and(|at| !rested(&at)) {
                        assert!(
                            all.iter().all(|other| used.contains(other)
                                || released.get(other).is_some_and(|at| !rested(at))),
                            "{context}: {port} was to rest"
                        );
                        assert!(
                            released.values().all(|other| Some(*other) >= since),
                            "{context}: another rested longer than {port}"
                        );
                    }
                } else {
                    let port = first + next(42) as u16;
                    table.release(port, now);
                    if used.remove(&port) {
                        released.insert(port, now);
                    }
                }
                assert_eq!(table.in_use(), used.len(), "{context}");
            }
        }
    }
}

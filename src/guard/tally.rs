//! How much came in vain, by source.

use std::cmp::Reverse;

use super::prefix::{Prefix, Source};
use super::reason::Reason;
use super::table::{Place, Table};

/// How many sources are told of with a line each.
pub(super) const NAMED: usize = 5;

/// What was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vain {
    /// A packet was dropped unread.
    Packet,
    /// A request was read, and refused or not answered.
    Request,
    /// A connection was refused.
    Connection,
}

/// The counts of one period.
///
/// The table has 512 places in 20 KiB. Where the four of a set are taken, a newcomer displaces the
/// source with the lowest count, which goes to the others: who sends much stays, however many send a
/// little, and nothing is counted twice or not at all. How many the others are is known from marks, one
/// for each 65,536th of all sources; where two share one, they count as one.
pub(super) struct Tally {
    counts: Table<Count, 4, 128>,
    /// What displaced sources sent.
    others: u64,
    /// Who they are.
    marks: Marks,
}

/// What one source sent in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) dropped: u64,
    pub(super) refused: u64,
    pub(super) connections: u64,
    /// The reason that more than half of all had, if one had (the vote of Boyer and Moore).
    pub(super) reason: Reason,
    lead: u32,
    mark: u16,
}

/// What came in vain in a period.
#[derive(Debug)]
pub(super) struct Report {
    /// Those who sent most, at most [`NAMED`], the busiest first.
    pub(super) named: Vec<(Prefix, Count)>,
    /// How many others there are, at least.
    pub(super) sources: u64,
    /// What they sent.
    pub(super) packets: u64,
}

impl Count {
    const NONE: Count =
        Count { dropped: 0, refused: 0, connections: 0, reason: Reason::Stranger, lead: 0, mark: 0 };

    fn total(&self) -> u64 {
        self.dropped + self.refused + self.connections
    }

    fn add(&mut self, vain: Vain, reason: Reason) {
        match vain {
            Vain::Packet => self.dropped += 1,
            Vain::Request => self.refused += 1,
            Vain::Connection => self.connections += 1,
        }
        if self.reason == reason {
            self.lead = self.lead.saturating_add(1);
        } else if self.lead == 0 {
            (self.reason, self.lead) = (reason, 1);
        } else {
            self.lead -= 1;
        }
    }
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { counts: Table::new(Count::NONE), others: 0, marks: Marks::new() }
    }

    /// Counts one thing.
    pub(super) fn count(&mut self, source: Source, vain: Vain, reason: Reason) {
        let count = match self.counts.place(source, Count::total) {
            Place::Own(count) => count,
            Place::Taken(count) => {
                if count.total() > 0 {
                    self.others += count.total();
                    self.marks.set(count.mark);
                }
                // The low bits find the place in the tables.
                *count = Count { mark: (source.hash >> 48) as u16, ..Count::NONE };
                count
            }
        };
        count.add(vain, reason);
    }

    /// Who sent something, and what, the busiest first.
    pub(super) fn busiest(&self) -> Vec<(Prefix, Count)> {
        let counts = self.counts.iter().filter(|(_, count)| count.total() > 0);
        let mut counts: Vec<(Prefix, Count)> = counts.map(|(source, count)| (source, *count)).collect();
        counts.sort_unstable_by_key(|(source, count)| (Reverse(count.total()), *source));
        counts
    }

    /// Says what was counted, and begins anew.
    pub(super) fn close(&mut self) -> Report {
        let mut named = self.busiest();
        let rest = named.split_off(named.len().min(NAMED));
        rest.iter().for_each(|(_, count)| self.marks.set(count.mark));
        // Who was displaced and came back in force is not one of the others.
        named.iter().for_each(|(_, count)| self.marks.clear(count.mark));
        let sources = self.marks.count().max(rest.len() as u64);
        let packets = rest.iter().fold(self.others, |packets, (_, count)| packets + count.total());
        *self = Tally::new();
        Report { named, sources, packets }
    }
}

/// A bit for each mark: 8 KiB.
struct Marks(Box<[u64]>);

impl Marks {
    fn new() -> Marks {
        Marks(vec![0; (1 << 16) / 64].into())
    }

    fn set(&mut self, mark: u16) {
        self.0[usize::from(mark / 64)] |= 1 << (mark % 64);
    }

    fn clear(&mut self, mark: u16) {
        self.0[usize::from(mark / 64)] &= !(1 << (mark % 64));
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|marks| u64::from(marks.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::prefix::Key;
    use std::net::{IpAddr, Ipv4Addr};

    fn source(n: u32) -> Source {
        Key::new((3, 4)).source(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
    }

    #[test]
    fn the_busiest_are_named_and_the_others_are_counted() {
        let mut tally = Tally::new();
        for n in 1..=8 {
            for _ in 0..n {
                tally.count(source(n), Vain::Packet, Reason::Stranger);
            }
        }
        tally.count(source(8), Vain::Request, Reason::Refused);
        tally.count(source(8), Vain::Connection, Reason::Banned);
        let report = tally.close();
        let totals: Vec<u64> = report.named.iter().map(|(_, count)| count.total()).collect();
        assert_eq!(totals, [10, 7, 6, 5, 4]);
        let (busiest, first) = report.named[0];
        assert_eq!((first.dropped, first.refused, first.connections), (8, 1, 1));
        assert_eq!((busiest, first.reason), (source(8).prefix, Reason::Stranger));
        assert_eq!((report.sources, report.packets), (3, 1 + 2 + 3));

        let report = tally.close();
        assert!(report.named.is_empty());
        assert_eq!((report.sources, report.packets), (0, 0));
    }

    #[test]
    fn who_sends_much_is_not_lost_among_those_who_send_little() {
        let mut tally = Tally::new();
        let mut sent = 0;
        for n in 0..100_000 {
            tally.count(source(1_000 + n), Vain::Packet, Reason::Strangers);
            sent += 1;
            if n % 100 == 0 {
                for scanner in 1..=3 {
                    tally.count(source(scanner), Vain::Packet, Reason::Stranger);
                    sent += 1;
                }
            }
        }
        let report = tally.close();
        let named: u64 = report.named.iter().map(|(_, count)| count.total()).sum();
        assert_eq!(named + report.packets, sent, "nothing is lost, nothing is counted twice");
        for scanner in 1..=3 {
            let prefix = source(scanner).prefix;
            assert!(report.named.iter().any(|(s, count)| *s == prefix && count.dropped > 900), "{scanner}");
        }
        // Of 100,000 sources, so many of 65,536 marks are hit: 1 - exp(-100,000 / 65,536).
        assert!((50_000..=53_000).contains(&report.sources), "{}", report.sources);
    }

    #[test]
    fn the_reason_of_most_is_told() {
        let mut tally = Tally::new();
        for n in 0..100 {
            let reason = if n % 5 < 2 { Reason::Strangers } else { Reason::Banned };
            tally.count(source(1), Vain::Packet, reason);
        }
        assert_eq!(tally.close().named[0].1.reason, Reason::Banned);
    }

    #[test]
    fn the_table_is_as_large_as_is_said() {
        assert_eq!(Tally::new().counts.iter().count(), 512);
        assert_eq!(512 * (size_of::<Count>() + size_of::<Prefix>()), 20 << 10);
    }
}

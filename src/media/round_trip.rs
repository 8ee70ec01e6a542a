//! How long a packet takes from the relay to an end and back (RFC 3550 §6.4.1), in microseconds.

use serde::{Deserialize, Serialize};

/// How many reports are remembered: an answer is about the newest that arrived, which some may have followed.
const REMEMBERED: usize = 4;

/// Longer is not believed.
const MOST: u64 = 10_000_000;

/// How much earlier an answer may seem to have come than it can have: clocks tick in steps.
const TOLERANCE: u64 = 1_000;

/// The round trip to one end: from when the relay passed a report of the other end on to it, until it passes
/// the answer, less the time that the end says it took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct RoundTrip {
    /// What the last reports said of when they were sent, and when they were passed on; the newest first.
    reports: [(u32, u64); REMEMBERED],
    latest: u32,
    longest: u32,
}

impl RoundTrip {
    /// A report is passed on to the end.
    pub(super) fn passed_on(&mut self, report: u32, now: u64) {
        self.reports.rotate_right(1);
        self.reports[0] = (report, now);
    }

    /// The end says that a report came some time ago, in units of 2^-16 s. What cannot be is ignored.
    pub(super) fn answered(&mut self, report: u32, ago: u32, now: u64) {
        let Some((_, passed_on)) = self.reports.iter().find(|(remembered, _)| *remembered == report) else {
            return;
        };
        let time = now.saturating_sub(*passed_on);
        let ago = (u64::from(ago) * 1_000_000) >> 16;
        if ago <= time + TOLERANCE && time.saturating_sub(ago) <= MOST {
            // Zero would say that nothing is known.
            self.latest = (time.saturating_sub(ago) as u32).max(1);
            self.longest = self.longest.max(self.latest);
        }
    }

    /// The last one measured; 0 if there is none.
    pub(super) fn latest(&self) -> u32 {
        self.latest
    }

    /// The longest.
    pub(super) fn longest(&self) -> u32 {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u32 = 1 << 16;

    #[test]
    fn the_time_that_the_end_took_is_not_on_the_way() {
        let mut trip = RoundTrip::default();
        trip.passed_on(0xabcd, 1_000_000);
        trip.answered(0xabcd, 3 * SECOND, 4_030_000);
        assert_eq!((trip.latest(), trip.longest()), (30_000, 30_000));
        trip.passed_on(0xbcde, 6_000_000);
        trip.answered(0xbcde, SECOND / 2, 6_512_000);
        assert_eq!((trip.latest(), trip.longest()), (12_000, 30_000));
        // The last one went astray, and it answers the one before once more.
        trip.passed_on(0xcdef, 8_000_000);
        trip.answered(0xbcde, 4 * SECOND, 10_020_000);
        assert_eq!((trip.latest(), trip.longest()), (20_000, 30_000));
    }

    #[test]
    fn what_cannot_be_is_ignored() {
        let mut trip = RoundTrip::default();
        trip.answered(0xabcd, 0, 1_000_000);
        trip.passed_on(0xabcd, 1_000_000);
        trip.answered(0xabce, 0, 1_010_000);
        // It took longer than there was time, or an age; or it is about a report of long ago.
        trip.answered(0xabcd, SECOND, 1_990_000);
        trip.answered(0xabcd, u32::MAX, 2_000_000);
        trip.answered(0xabcd, 0, 1_000_000 + MOST + 1);
        (1..=REMEMBERED as u32).for_each(|report| trip.passed_on(report, 1_500_000));
        trip.answered(0xabcd, 0, 1_600_000);
        assert_eq!((trip.latest(), trip.longest()), (0, 0));
        // By a tick of its clock.
        trip.answered(1, SECOND / 10, 1_599_900);
        assert_eq!(trip.latest(), 1);
    }
}

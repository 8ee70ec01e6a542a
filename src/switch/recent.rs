//! How much of something there was lately.

use crate::time::Instant;

/// One hour, in milliseconds.
pub(super) const HOUR: u64 = 3_600_000;

/// One day, in milliseconds.
pub(super) const DAY: u64 = 24 * HOUR;

/// A count over the last `SPAN` milliseconds: exact for the span of the clock that runs, and of the one before as much
/// as if it had been spread evenly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Recent<const SPAN: u64> {
    /// The span of `counts[0]`, counted from the start.
    pub(super) span: u64,
    /// How much there was in that span and in the one before.
    pub(super) counts: [u32; 2],
}

impl<const SPAN: u64> Recent<SPAN> {
    /// There was so much now.
    pub(super) fn add(&mut self, now: Instant, count: u32) {
        self.counts = self.by(now);
        self.span = now.0 / SPAN;
        self.counts[0] = self.counts[0].saturating_add(count);
    }

    /// How much there was within the last span.
    pub(super) fn within(&self, now: Instant) -> u32 {
        let [current, before] = self.by(now);
        let left = SPAN - now.0 % SPAN;
        current.saturating_add((u64::from(before) * left).div_ceil(SPAN) as u32)
    }

    /// How much there was in this span of the clock, and in the one before.
    fn by(&self, now: Instant) -> [u32; 2] {
        let span = now.0 / SPAN;
        match span - self.span.min(span) {
            0 => self.counts,
            1 => [0, self.counts[0]],
            _ => [0, 0],
        }
    }
}

//! Token buckets, each of which is one number: the moment when it will be full again.
//!
//! That is the generic cell rate algorithm (ITU-T I.371, annex A). A bucket that nobody used, and one
//! that filled up again, are the same, so forgetting a full one loses nothing.

use std::time::Duration;

use crate::time::Instant;

/// How fast buckets of a kind fill, and how much they hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Nanoseconds for one token.
    token: u64,
    /// Nanoseconds from empty to full.
    full: u64,
}

/// When it is full again, in nanoseconds; whatever is past is full. The lower, the more tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(u64);

impl Budget {
    /// `count` tokens in each `time`, and `burst` when full; both at least 1. A time that does not
    /// divide evenly is rounded up to the next nanosecond: never more tokens than were asked for.
    pub(super) fn new(count: u32, time: Duration, burst: u32) -> Budget {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let token = time.div_ceil(u64::from(count.max(1))).max(1);
        Budget { token, full: token.saturating_mul(u64::from(burst.max(1))) }
    }

    /// Whether there is a token.
    pub(super) fn has(&self, bucket: Bucket, now: Instant) -> bool {
        let now = nanoseconds(now);
        bucket.0.max(now).saturating_add(self.token) <= now.saturating_add(self.full)
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&self, bucket: &mut Bucket, now: Instant) -> bool {
        let has = self.has(*bucket, now);
        if has {
            bucket.0 = bucket.0.max(nanoseconds(now)).saturating_add(self.token);
        }
        has
    }

    /// A bucket with so many tokens, or full if they are more than it holds.
    pub(super) fn with(&self, tokens: u32, now: Instant) -> Bucket {
        let missing = self.full.saturating_sub(self.token.saturating_mul(u64::from(tokens)));
        Bucket(nanoseconds(now).saturating_add(missing))
    }
}

fn nanoseconds(now: Instant) -> u64 {
    now.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn taken(budget: &Budget, bucket: &mut Bucket, now: u64) -> usize {
        (0..100_000).take_while(|_| budget.take(bucket, Instant(now))).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let budget = Budget::new(10, SECOND, 50);
        let mut bucket = Bucket::default();
        assert_eq!(taken(&budget, &mut bucket, 0), 50);
        assert_eq!(taken(&budget, &mut bucket, 99), 0);
        assert_eq!(taken(&budget, &mut bucket, 100), 1);
        assert_eq!(taken(&budget, &mut bucket, 1_100), 10);
        assert_eq!(taken(&budget, &mut bucket, 1_000_000), 50, "it holds no more than the burst");
    }

    #[test]
    fn rates_that_do_not_divide_a_second_are_kept_as_well() {
        for rate in [1, 3, 7, 999, 1_000, 65_536, 999_999, 1_000_000] {
            let budget = Budget::new(rate, SECOND, 1);
            let mut bucket = Bucket::default();
            let mut count = 0;
            for now in 0..10_000 {
                // One a millisecond at most, as the burst is 1.
                count += u32::from(budget.take(&mut bucket, Instant(now)));
            }
            let most = 10 * rate.min(1_000);
            assert!(count <= most + 1 && count >= most / 2, "{rate}: {count}");
        }
    }

    #[test]
    fn one_can_begin_with_less() {
        let budget = Budget::new(10, SECOND, 20);
        assert_eq!(taken(&budget, &mut budget.with(5, Instant(777)), 777), 5);
        assert_eq!(taken(&budget, &mut budget.with(500, Instant(777)), 777), 20);
    }

    #[test]
    fn the_end_of_time_is_not_the_end_of_it() {
        let budget = Budget::new(0, Duration::MAX, u32::MAX);
        let mut bucket = Bucket::default();
        for now in [0, u64::MAX / 1_000_000, u64::MAX] {
            budget.take(&mut bucket, Instant(now));
            budget.with(3, Instant(now));
        }
    }
}

//! The budgets of those whom nobody knows.

use std::time::Duration;

use super::bucket::{Bucket, Budget};
use super::prefix::Source;
use super::reason::Reason;
use super::table::{Place, Table};
use crate::config::Config;
use crate::time::Instant;

/// How many seconds of its rate a stranger may send at once.
pub(super) const BURST: u32 = 5;
/// How many longer answers a source gets a minute.
const CREDITS: u32 = 4;
/// How many all strangers together get a minute.
const ALL_CREDITS: u32 = 600;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Buckets for each stranger, and for all of them.
///
/// The table has 4,096 places in 96 KiB. Where the four of a set are taken, a newcomer displaces the source
/// with the most tokens, and begins with what that one had. So the four fill levels of a set change as
/// if the same four sources had sent all the time, whoever comes: who rotates through sources gets no
/// burst that the set would not have had. Nor does a source gain by being displaced: it had the most
/// tokens of its set, and when it comes back it finds no more than it would have had by then. Who
/// wants to harm one stranger in this way needs sources in its set, and cannot know which those are.
///
/// Credit for longer answers goes with the place as well: a source that is displaced again and again can
/// use up that of its whole set, 16 a minute, and no more.
pub(super) struct Strangers {
    known: Table<Buckets, 4, 1_024>,
    packets: Budget,
    credits: Budget,
    all_packets: (Budget, Bucket),
    all_credits: (Budget, Bucket),
}

#[derive(Clone, Copy, Default)]
struct Buckets {
    packets: Bucket,
    credits: Bucket,
}

impl Strangers {
    pub(super) fn new(config: &Config) -> Strangers {
        let [packets, all_packets] = budgets(config);
        Strangers {
            known: Table::new(Buckets::default()),
            packets,
            credits: Budget::new(CREDITS, MINUTE, CREDITS),
            all_packets: (all_packets, Bucket::default()),
            all_credits: (Budget::new(ALL_CREDITS, MINUTE, ALL_CREDITS), Bucket::default()),
        }
    }

    /// Goes by other budgets. A bucket is as full as it was: each holds what comes in a fixed time.
    pub(super) fn reload(&mut self, config: &Config) {
        [self.packets, self.all_packets.0] = budgets(config);
    }

    /// Takes a packet out of the budgets of a source and of all, and says whether an answer to it may
    /// be longer than it.
    ///
    /// The source's own is asked first, and pays even if nothing is left in the common one. Otherwise
    /// who sends most would have most tries at the little that comes in there: a hundred sources
    /// with a thousand packets a second each would leave a newcomer one chance in two hundred.
    /// So they have ten tries a second each like everybody, and the newcomer one chance in two.
    ///
    /// # Errors
    ///
    /// Which budget is used up.
    pub(super) fn packet(&mut self, source: Source, now: Instant) -> Result<bool, Reason> {
        let (own, reason) = match self.known.place(source, |buckets| buckets.packets) {
            Place::Own(own) => (own, Reason::Stranger),
            // It did not empty the bucket that it finds: too many of them did.
            Place::Taken(own) => (own, Reason::Strangers),
        };
        if !self.packets.take(&mut own.packets, now) {
            return Err(reason);
        }
        let (budget, bucket) = &mut self.all_packets;
        if !budget.take(bucket, now) {
            return Err(Reason::Strangers);
        }
        Ok(self.credits.has(own.credits, now) && self.all_credits.0.has(self.all_credits.1, now))
    }

    /// A longer answer was sent.
    pub(super) fn exceeded(&mut self, source: Source, now: Instant) {
        let (Place::Own(own) | Place::Taken(own)) = self.known.place(source, |buckets| buckets.packets);
        self.credits.take(&mut own.credits, now);
        let (budget, bucket) = &mut self.all_credits;
        budget.take(bucket, now);
    }
}

/// The budget of each stranger, and that of all together.
fn budgets(config: &Config) -> [Budget; 2] {
    let (one, all) = (config.rate_stranger.0, config.rate_strangers.0);
    [Budget::new(one, SECOND, one.saturating_mul(BURST)), Budget::new(all, SECOND, all)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;
    use crate::guard::prefix::{Key, Prefix};
    use std::net::{IpAddr, Ipv4Addr};

    fn strangers(one: u32, all: u32) -> Strangers {
        let config = Config { rate_stranger: Rate(one), rate_strangers: Rate(all), ..Config::default() };
        Strangers::new(&config)
    }

    fn source(n: u32) -> Source {
        Key::new((3, 4)).source(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
    }

    /// So many sources that share one set.
    fn neighbours(count: usize) -> Vec<Source> {
        let set = |source: &Source| source.hash % 1_024;
        let first = set(&source(0));
        (0..).map(source).filter(|s| set(s) == first).take(count).collect()
    }

    fn passed(strangers: &mut Strangers, source: Source, now: u64) -> usize {
        (0..1_000).take_while(|_| strangers.packet(source, Instant(now)).is_ok()).count()
    }

    #[test]
    fn a_source_over_its_own_budget_takes_nothing_from_the_others() {
        let mut strangers = strangers(10, 60);
        for _ in 0..10_000 {
            let _ = strangers.packet(source(1), Instant(0));
        }
        assert_eq!(strangers.packet(source(1), Instant(0)), Err(Reason::Stranger));
        assert_eq!(passed(&mut strangers, source(2), 0), 10, "what 50 left over of 60");
        assert_eq!(strangers.packet(source(2), Instant(0)), Err(Reason::Strangers));
    }

    #[test]
    fn who_rotates_gets_what_the_set_has_and_no_more() {
        let mut strangers = strangers(10, 1_000_000);
        let many = neighbours(100);
        let all: usize = many.iter().map(|&source| passed(&mut strangers, source, 0)).sum();
        assert_eq!(all, 4 * 50);
        assert_eq!(
            strangers.packet(source(0), Instant(0)),
            Err(Reason::Strangers),
            "a newcomer is not to blame"
        );
        let all: usize = many.iter().map(|&source| passed(&mut strangers, source, 1_000)).sum();
        assert_eq!(all, 4 * 10);
    }

    #[test]
    fn the_poorest_stays() {
        let mut strangers = strangers(10, 1_000_000);
        let many = neighbours(50);
        assert_eq!(passed(&mut strangers, many[0], 0), 50);
        for &other in &many[1..] {
            assert!(strangers.packet(other, Instant(0)).is_ok());
        }
        assert_eq!(strangers.packet(many[0], Instant(0)), Err(Reason::Stranger));
    }

    #[test]
    fn four_longer_answers_a_minute() {
        let mut strangers = strangers(10, 500);
        for _ in 0..4 {
            assert_eq!(strangers.packet(source(1), Instant(0)), Ok(true));
            strangers.exceeded(source(1), Instant(0));
        }
        assert_eq!(strangers.packet(source(1), Instant(0)), Ok(false));
        assert_eq!(strangers.packet(source(2), Instant(0)), Ok(true));
        assert_eq!(strangers.packet(source(1), Instant(14_999)), Ok(false));
        assert_eq!(strangers.packet(source(1), Instant(15_000)), Ok(true));
    }

    #[test]
    fn and_six_hundred_for_all() {
        let mut strangers = strangers(10, 1_000_000);
        for n in 0..600 {
            assert_eq!(strangers.packet(source(n), Instant(0)), Ok(true), "{n}");
            strangers.exceeded(source(n), Instant(0));
        }
        assert_eq!(strangers.packet(source(1_000), Instant(0)), Ok(false));
        assert_eq!(strangers.packet(source(1_000), Instant(100)), Ok(true));
    }

    #[test]
    fn the_table_is_as_large_as_is_said() {
        let strangers = strangers(10, 500);
        assert_eq!(strangers.known.iter().count(), 4_096);
        assert_eq!(4_096 * (size_of::<Buckets>() + size_of::<Prefix>()), 96 << 10);
    }
}

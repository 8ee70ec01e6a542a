//! The two clocks: one that only goes forward, and the one on the wall.

use std::time::{self, Duration, SystemTime, UNIX_EPOCH};

use crate::switch::Instant;

/// How often the wall clock is looked at, at most.
const LOOK: Duration = Duration::from_secs(5);

/// By how much it may differ from what was last told.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Tells the time as [`Instant`], and notices when somebody sets the wall clock.
#[derive(Debug)]
pub(super) struct Clock {
    start: time::Instant,
    /// What it said then.
    first: Instant,
    /// What was last told, and when.
    told: Option<(Instant, Duration)>,
    looked: Instant,
}

impl Clock {
    /// A clock that says `first` now.
    pub(super) fn start(first: Instant) -> Clock {
        Clock { start: time::Instant::now(), first, told: None, looked: first }
    }

    /// The time.
    pub(super) fn now(&self) -> Instant {
        self.first + self.start.elapsed()
    }

    /// What the clock on the wall says, in milliseconds since 1970.
    pub(super) fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
    }

    /// When a moment comes, for timers.
    pub(super) fn when(&self, moment: Instant) -> time::Instant {
        self.start + (moment - self.first)
    }

    /// The wall clock in milliseconds since 1970, if that is news: the first time, and when it
    /// is more than a second off from what was told.
    pub(super) fn wall_news(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some() && now - self.looked < LOOK {
            return None;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.news(now, wall)
    }

    fn news(&mut self, now: Instant, wall: Duration) -> Option<u64> {
        self.looked = now;
        if let Some((then, told)) = self.told {
            let expected = told + (now - then);
            if wall.abs_diff(expected) <= TOLERANCE {
                return None;
            }
        }
        self.told = Some((now, wall));
        Some(wall.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_news_at_first_and_when_it_was_set() {
        let mut clock = Clock::start(Instant(0));
        let at = |seconds: u64| Instant(seconds * 1000);
        let wall = |milliseconds: u64| Duration::from_millis(1_700_000_000_000 + milliseconds);
        assert_eq!(clock.news(at(0), wall(0)), Some(1_700_000_000_000));
        // As expected, and almost.
        assert_eq!(clock.news(at(10), wall(10_000)), None);
        assert_eq!(clock.news(at(20), wall(20_900)), None);
        assert_eq!(clock.news(at(30), wall(29_100)), None);
        // Set forward, then back.
        assert_eq!(clock.news(at(40), wall(3_640_000)), Some(1_700_003_640_000));
        assert_eq!(clock.news(at(50), wall(3_650_000)), None);
        assert_eq!(clock.news(at(60), wall(60_000)), Some(1_700_000_060_000));
    }

    #[test]
    fn it_is_looked_at_once_in_five_seconds() {
        let mut clock = Clock::start(Instant(0));
        assert!(clock.wall_news(Instant(0)).is_some());
        // An hour off, which nobody notices before it is time to look.
        clock.told = Some((Instant(0), Duration::ZERO));
        assert!(clock.wall_news(Instant(4_999)).is_none());
        assert!(clock.wall_news(Instant(5_000)).is_some());
    }
}

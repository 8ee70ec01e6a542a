//! When an exchange that died is started again.

use std::time::{Duration, Instant};

use heapless::Deque;

/// Who ran at least so long has not died soon.
pub(super) const LONG: Duration = Duration::from_secs(30);
/// The wait after the second death in a row; the first is not waited after, and each further one twice
/// as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What deaths are counted in, for people.
const MINUTE: Duration = Duration::from_secs(60);
/// More than there can be: seven deaths in the first 7 s, then one every 5 s.
const MOST_A_MINUTE: usize = 20;

/// How soon and how often exchanges have died.
#[derive(Debug, Default)]
pub struct Backoff {
    soon: u32,
    deaths: Deque<Instant, MOST_A_MINUTE>,
}

/// What to do after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// How long to wait.
    pub wait: Duration,
    /// How many exchanges have died within the last minute, with this one; at most 20 are counted.
    pub times: usize,
}

impl Backoff {
    /// Decides on the next start, now that an exchange has died that ran from `since` on.
    pub fn died(&mut self, since: Instant, now: Instant) -> Again {
        if now.duration_since(since) >= LONG {
            self.soon = 0;
        }
        let wait = match self.soon {
            0 => Duration::ZERO,
            soon => LONGEST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(soon - 1).min(1_000)),
        };
        self.soon = self.soon.saturating_add(1);

        while self.deaths.front().is_some_and(|&death| now.duration_since(death) > MINUTE)
            || self.deaths.is_full()
        {
            self.deaths.pop_front();
        }
        // There is room.
        let _ = self.deaths.push_back(now);
        Again { wait, times: self.deaths.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_and_longer_until_one_runs_for_long() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut after = |ran: u64| {
            let since = now;
            now += Duration::from_millis(ran);
            let again = backoff.died(since, now);
            now += again.wait;
            (again.wait.as_millis(), again.times)
        };
        assert_eq!(after(3_600_000), (0, 1));
        let waits = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
        for (i, wait) in waits.into_iter().enumerate() {
            assert_eq!(after(10), (wait, i + 2));
        }
        assert_eq!(after(30_000).0, 0);
        assert_eq!(after(29_999).0, 100);
        assert_eq!(after(3_600_000), (0, 1));
        for _ in 0..10_000 {
            let (wait, times) = after(0);
            assert!(wait <= 5_000 && times <= MOST_A_MINUTE);
        }
    }
}

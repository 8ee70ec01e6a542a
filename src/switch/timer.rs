//! One heap of everything that will be due.
//!
//! Timers are never taken out: whoever is woken looks whether it still has something to do. What
//! is armed is bounded by what is alive, and by what has ended in the last few minutes: a limit of
//! hours is armed in short steps, or a busy day's calls would all wait for theirs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// T1 (RFC 3261 §17.1.1.1): an estimate of the round-trip time; all transaction timers scale by it.
pub(super) const T1: Duration = Duration::from_millis(500);
/// T2: the longest interval between retransmissions of non-INVITE requests and of responses to INVITE.
pub(super) const T2: Duration = Duration::from_secs(4);
/// T4: how long a message can stay in the network.
pub(super) const T4: Duration = Duration::from_secs(5);
/// How long transactions wait at most: timers B, D, F, H, J, L and M.
pub(super) const T1_64: Duration = Duration::from_millis(64 * T1.as_millis() as u64);

/// A heap of things due, of any kind.
pub(super) struct Timers<T> {
    heap: BinaryHeap<Entry<T>>,
    armed: u64,
}

struct Entry<T> {
    at: Instant,
    /// Equal times fire in the order in which they were armed.
    order: u64,
    what: T,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Timers<T> {
        Timers { heap: BinaryHeap::new(), armed: 0 }
    }

    pub(super) fn arm(&mut self, at: Instant, what: T) {
        self.armed += 1;
        self.heap.push(Entry { at, order: self.armed, what });
    }

    /// The next that is due by `now`.
    pub(super) fn due(&mut self, now: Instant) -> Option<T> {
        if self.heap.peek()?.at > now {
            return None;
        }
        let due = self.heap.pop().map(|entry| entry.what);
        if self.heap.capacity() > 1024 && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        due
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
use crate::time::Instant;

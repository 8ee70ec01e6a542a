//! The last lines of the log, for who looks at a screen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many lines are kept.
const LINES: usize = 64;

/// The most bytes that are kept of one.
const MOST: usize = 400;

/// The last 64 lines, each up to 400 bytes. A copy is the same tail.
#[derive(Clone, Debug, Default)]
pub struct Tail(Arc<Mutex<VecDeque<Box<str>>>>);

impl Tail {
    /// The last lines, the oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lock().iter().map(|line| line.to_string()).collect()
    }

    /// One more line.
    pub(super) fn push(&self, line: &str) {
        let end = (0..=line.len().min(MOST)).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        let mut lines = self.lock();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.get(..end).unwrap_or_default().into());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<str>>> {
        // A queue of lines is whole between any two operations, whoever panicked elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let tail = Tail::default();
        for n in 0..100 {
            tail.clone().push(&format!("{n} {}", "電".repeat(n * 10)));
        }
        let lines = tail.lines();
        assert_eq!(lines.len(), 64);
        assert!(lines[0].starts_with("36 電") && lines[63].starts_with("99 電"));
        assert!(lines.iter().all(|line| line.len() <= 400));
    }
}

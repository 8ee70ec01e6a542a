//! How much the log may grow.

use std::time::Duration;

use crate::config::LogLevel;

/// The most lines a minute, below `debug`.
const LINES: u32 = 300;
/// The same at `debug`, where each message is a line.
const DEBUG_LINES: u32 = 3_000;
/// The most errors a minute. They have a ceiling of their own, so that nothing keeps them out but
/// more of their kind.
const ERRORS: u32 = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// Lets so many lines a minute pass, and counts the others. A minute begins with its first line, and
/// with the first line after it people are told what was left out.
#[derive(Debug)]
pub(super) struct Ceiling {
    lines: u32,
    /// When the minute began, by the wall clock.
    began: Option<Duration>,
    /// Lines that passed, and that did not.
    others: (u32, u64),
    /// Errors that passed, and that did not.
    errors: (u32, u64),
}

/// What was left out in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// How many lines.
    pub(super) lines: u64,
    /// How many of them were errors.
    pub(super) errors: u64,
}

impl Ceiling {
    /// The ceiling of a log of this level.
    pub(super) fn of(level: LogLevel) -> Ceiling {
        let lines = if level >= LogLevel::Debug { DEBUG_LINES } else { LINES };
        Ceiling { lines, began: None, others: (0, 0), errors: (0, 0) }
    }

    /// Begins a new minute if the last one is over, or the clock was set back; what that one left out.
    pub(super) fn turn(&mut self, now: Duration) -> Option<LeftOut> {
        let is_over = self.began.is_none_or(|began| now < began || now - began >= MINUTE);
        if !is_over {
            return None;
        }
        let left_out = LeftOut { lines: self.others.1.saturating_add(self.errors.1), errors: self.errors.1 };
        (self.began, self.others, self.errors) = (Some(now), (0, 0), (0, 0));
        (left_out.lines > 0).then_some(left_out)
    }

    /// Whether one more line of this level may pass.
    pub(super) fn admits(&mut self, level: LogLevel) -> bool {
        let (counts, most) = match level {
            LogLevel::Error => (&mut self.errors, ERRORS),
            _ => (&mut self.others, self.lines),
        };
        let admitted = counts.0 < most;
        match admitted {
            true => counts.0 += 1,
            false => counts.1 = counts.1.saturating_add(1),
        }
        admitted
    }
}

//! How much the log may grow.

use std::time::Duration;

use crate::config::LogLevel;

/// The most lines a minute that say what happened or needs a look.
const LINES: u32 = 300;
/// The most at `debug`, where each message is a line.
const DEBUG_LINES: u32 = 3_000;
/// The most errors.
const ERRORS: u32 = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// Lets so many lines a minute pass, and counts the others. Each of the three kinds has a ceiling of
/// its own, so that nothing keeps a line out but more of its kind. A minute begins with its first line,
/// and with the first line after it people are told what was left out.
#[derive(Debug, Default)]
pub(super) struct Ceiling {
    /// When the minute began, by the wall clock.
    began: Option<Duration>,
    /// Messages that passed, and that did not.
    messages: (u32, u64),
    /// Other lines.
    lines: (u32, u64),
    /// Errors.
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
    /// Begins a new minute if the last one is over, or the clock was set back; what that one left out.
    pub(super) fn turn(&mut self, now: Duration) -> Option<LeftOut> {
        let is_over = self.began.is_none_or(|began| now < began || now - began >= MINUTE);
        if !is_over {
            return None;
        }
        let lines = self.messages.1.saturating_add(self.lines.1).saturating_add(self.errors.1);
        let left_out = LeftOut { lines, errors: self.errors.1 };
        *self = Ceiling { began: Some(now), ..Ceiling::default() };
        (left_out.lines > 0).then_some(left_out)
    }

    /// Whether one more line of this level may pass.
    pub(super) fn admits(&mut self, level: LogLevel) -> bool {
        let (counts, most) = match level {
            LogLevel::Error => (&mut self.errors, ERRORS),
            LogLevel::Warn | LogLevel::Info => (&mut self.lines, LINES),
            LogLevel::Debug => (&mut self.messages, DEBUG_LINES),
        };
        let admitted = counts.0 < most;
        match admitted {
            true => counts.0 += 1,
            false => counts.1 = counts.1.saturating_add(1),
        }
        admitted
    }
}

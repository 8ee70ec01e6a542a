//! What time it is.

use rustix::time::{ClockId, clock_gettime};

/// A moment on the system's clock that never goes back (CLOCK_MONOTONIC): microseconds since some start that
/// all processes share, so that a relay can leave its moments to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// The present one.
    pub(super) fn now() -> Moment {
        let now = clock_gettime(ClockId::Monotonic);
        Moment(now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000)
    }

    /// In milliseconds, which is what all that waits is told in.
    pub(super) fn ms(self) -> u64 {
        self.0 / 1_000
    }
}

//! No input is slow: at most 1 ms of processor time for each kB that is begun.
//!
//! What is measured is the time that this thread ran, so a machine that is busy with other things
//! changes little, and the best of several tries counts.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// For each kB that is begun.
pub const LIMIT: Duration = Duration::from_millis(1);

/// How often something must have been too slow in a row before it is called that.
pub const TRIES: u32 = 8;

/// What so many bytes may take.
pub fn limit(bytes: usize) -> Duration {
    LIMIT * crate::SLOWDOWN * (bytes / 1000 + 1) as u32
}

/// The processor time that this thread has used.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Does some work for an input of so many bytes, which must not take too long.
pub fn bounded(bytes: usize, work: impl Fn()) {
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        let start = now();
        work();
        best = best.min(now() - start);
        if best <= limit(bytes) {
            return;
        }
    }
    panic!("slow: {bytes} bytes took {best:?}, and at most {:?} is allowed", limit(bytes));
}

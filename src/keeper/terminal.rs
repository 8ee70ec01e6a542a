//! The terminal that the keeper was started on, and whether it is still there.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};

/// SIGHUP has two meanings: the terminal is closed, or whoever sends it wants the configuration read again.
/// What became of the terminal tells which.
pub(super) struct Terminal(Option<OwnedFd>);

impl Terminal {
    /// The controlling terminal of this process, if it has one.
    pub(super) fn own() -> Terminal {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Terminal(openat(CWD, c"/dev/tty", flags, Mode::empty()).ok())
    }

    /// Whether there was one, and it is closed.
    pub(super) fn is_gone(&self) -> bool {
        let Some(terminal) = &self.0 else { return false };
        let mut asked = [PollFd::new(terminal, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&at_once)).is_ok() && asked[0].revents().contains(PollFlags::HUP)
    }
}

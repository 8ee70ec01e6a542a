//! The exchange as a process: how it is started, and the keeper's end of what joins them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::handover::{PATIENCE, Parcel, Past, READY};

/// This program itself. It is opened at the start, and so are all exchanges from it: it does not matter
/// whether the file is replaced or deleted meanwhile, or in a folder that a caged process cannot reach.
pub(super) struct Binary(File);

impl Binary {
    /// Opens the running program; it can be executed, but not read, through this descriptor.
    pub(super) fn own() -> io::Result<Binary> {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/exe").map(Binary)
    }

    /// Where it is, as far as that is known, for people.
    pub(super) fn path(&self) -> PathBuf {
        std::fs::read_link(self.descriptor()).unwrap_or_else(|_| "denwa".into())
    }

    fn descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// Starts an exchange and hands it what it needs.
    ///
    /// # Errors
    ///
    /// Only if there is no process then: one that does not take what it is given is killed, and that
    /// is seen when it is reaped.
    pub(super) fn start(&self, parcel: &Parcel, past: Past) -> io::Result<Exchange> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let child = Command::new(self.descriptor())
            .arg0("denwa")
            .arg("--exchange")
            // It needs nothing of it, and there may be other programs' keys in it.
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            // A terminal's Ctrl-C reaches the keeper alone, which passes it on once.
            .process_group(0)
            .spawn()?;
        let exchange = Exchange {
            pid: Pid::from_child(&child),
            since: Instant::now(),
            report: Report::Awaited,
            link: ours,
        };
        if parcel.send(&exchange.link, past).is_err() {
            exchange.signal(Signal::KILL);
        }
        Ok(exchange)
    }
}

/// A started exchange that was not reaped yet.
pub(super) struct Exchange {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    report: Report,
    /// Held open: its end tells the exchange that there is no keeper any more.
    link: UnixStream,
}

/// What the exchange has said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    Awaited,
    Ready,
    /// The link has ended, so there will be none.
    None,
}

impl Exchange {
    /// What becomes readable when the exchange reports. Nothing once it is ready: from then on it hears
    /// packets, and nothing that it says is read.
    pub(super) fn report(&self) -> Option<BorrowedFd<'_>> {
        (self.report == Report::Awaited).then(|| self.link.as_fd())
    }

    /// Reads what it has said, without waiting; whether it has ever been ready.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.report == Report::Awaited {
            let mut octet = [0];
            self.report = match rustix::net::recv(&self.link, &mut octet, RecvFlags::DONTWAIT) {
                Ok((1, _)) if octet == [READY] => Report::Ready,
                Err(Errno::AGAIN | Errno::INTR) => Report::Awaited,
                _ => Report::None,
            };
        }
        self.report == Report::Ready
    }

    /// Sends it a signal. It was not reaped, so nobody else has its number.
    pub(super) fn signal(&self, signal: Signal) {
        // It fails only if the exchange has ended, which is told by SIGCHLD.
        let _ = kill_process(self.pid, signal);
    }
}

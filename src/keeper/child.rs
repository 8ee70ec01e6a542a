//! The exchange as a process: how it is started, and the keeper's end of what joins them.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::handover::{Parcel, Past, READY, answer, send_heir, send_names};

/// A program that is an exchange: at first this one itself. It is opened once, and so are all exchanges from
/// it: it does not matter whether the file is replaced or deleted meanwhile, or in a folder that a caged process
/// cannot reach.
pub(super) struct Binary(File);

impl Binary {
    /// Opens the running program; it can be executed, but not read, through this descriptor.
    pub(super) fn own() -> io::Result<Binary> {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/exe").map(Binary)
    }

    /// Opens another program.
    pub(super) fn open(path: &Path) -> io::Result<Binary> {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map(Binary)
    }

    /// Whether it is this very file.
    pub(super) fn is(&self, other: &Binary) -> bool {
        let file = |binary: &Binary| binary.0.metadata().ok().map(|data| (data.dev(), data.ino()));
        file(self) == file(other)
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
    /// Only if there is no process then: one that cannot be given what it needs is killed, and that is
    /// seen when it is reaped.
    pub(super) fn start(&self, parcel: &Parcel, past: Past) -> io::Result<Exchange> {
        let exchange = self.spawn(Stdio::inherit())?;
        if parcel.send(&exchange.link, 0, past).is_err() {
            exchange.signal(Signal::KILL);
        }
        Ok(exchange)
    }

    /// Starts an exchange that takes over from one that runs, by `predecessor`. Also returns what it says on
    /// its standard error until it has.
    ///
    /// # Errors
    ///
    /// Those of [`Binary::start`].
    pub(super) fn start_heir(
        &self,
        parcel: &Parcel,
        past: Past,
        predecessor: BorrowedFd<'_>,
    ) -> io::Result<(Exchange, PipeReader)> {
        let (words, write) = io::pipe()?;
        rustix::io::ioctl_fionbio(&words, true)?;
        let exchange = self.spawn(write.into())?;
        let log = io::stderr();
        if parcel.send_to_heir(&exchange.link, past, predecessor, log.as_fd()).is_err() {
            exchange.signal(Signal::KILL);
        }
        Ok((exchange, words))
    }

    fn spawn(&self, log: Stdio) -> io::Result<Exchange> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(self.descriptor())
            .arg0("denwa")
            .arg("--exchange")
            // It needs nothing of it, and there may be other programs' keys in it.
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stderr(log)
            // A terminal's Ctrl-C reaches the keeper alone, which passes it on once.
            .process_group(0)
            .spawn()?;
        Ok(Exchange {
            pid: Pid::from_child(&child),
            since: Instant::now(),
            is_ready: false,
            has_hung_up: false,
            asked: None,
            link: ours,
        })
    }
}

/// How many octets of an exchange are read at a time.
const MOST_OCTETS: usize = 64;

/// A started exchange that was not reaped yet.
pub(super) struct Exchange {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// Whether it has ever said that it serves.
    pub(super) is_ready: bool,
    /// Whether the link has ended, so that nothing more comes.
    has_hung_up: bool,
    /// The number of the order whose answer is awaited.
    asked: Option<u8>,
    /// Held open: its end tells the exchange that there is no keeper any more.
    link: UnixStream,
}

impl Exchange {
    /// What becomes readable when the exchange says something that is awaited. Nothing else that it says is
    /// read: once it is ready it hears packets.
    pub(super) fn report(&self) -> Option<BorrowedFd<'_>> {
        let is_awaited = !self.has_hung_up && (!self.is_ready || self.asked.is_some());
        is_awaited.then(|| self.link.as_fd())
    }

    /// Gives it an order, which it is to answer.
    pub(super) fn order(&mut self, parcel: &Parcel, number: u8) -> io::Result<()> {
        parcel.send(&self.link, number, Past::default())?;
        self.asked = Some(number);
        Ok(())
    }

    /// Gives it another certificate for TLS.
    pub(super) fn renew(&mut self, parcel: &Parcel, number: u8) -> io::Result<()> {
        parcel.send_material(&self.link, number)?;
        self.asked = Some(number);
        Ok(())
    }

    /// Tells it what the files say of name servers and names ([`dns::FILES`](crate::dns::FILES)). It does not answer.
    pub(super) fn tell_names(&self, files: &[String; 2]) -> io::Result<()> {
        send_names(&self.link, files)
    }

    /// Tells it that there is an heir at the other end of `pair`.
    pub(super) fn bequeath(&self, pair: BorrowedFd<'_>) -> io::Result<()> {
        send_heir(&self.link, pair)
    }

    /// Reads what it has said, without waiting: whether the order was obeyed, if it has answered that.
    pub(super) fn hear(&mut self) -> Option<bool> {
        // Whoever says very much says nothing that counts, and does not keep us.
        for _ in 0..MOST_OCTETS {
            if self.report().is_none() {
                break;
            }
            let mut octet = [0];
            match rustix::net::recv(&self.link, &mut octet, RecvFlags::DONTWAIT) {
                Ok((1, _)) if octet == [READY] => self.is_ready = true,
                // An answer to an earlier order came too late.
                Ok((1, _)) => {
                    let is = |is_done| self.asked.is_some_and(|number| octet == [answer(number, is_done)]);
                    if is(true) || is(false) {
                        self.asked = None;
                        return Some(octet[0] & 1 == 1);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                _ => self.has_hung_up = true,
            }
        }
        None
    }

    /// Sends it a signal. It was not reaped, so nobody else has its number.
    pub(super) fn signal(&self, signal: Signal) {
        // It fails only if the exchange has ended, which is told by SIGCHLD.
        let _ = kill_process(self.pid, signal);
    }
}

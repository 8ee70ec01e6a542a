//! The exchange's first step: it takes what the keeper that started it has sent by standard input.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;

use crate::handover::{Handover, receive};
use crate::net::sys;

/// Takes over what the keeper has sent by standard input. For an exchange, before anything else.
///
/// # Errors
///
/// If nobody, or somebody else, is there.
pub fn take_over() -> Result<Handover, TakeOverError> {
    // It was executed as /proc/self/fd/N, and would be called N in `top`.
    let _ = rustix::thread::set_name(c"denwa-exchange");
    // It is not in the terminal's foreground, but its log goes there.
    sys::write_from_background().map_err(TakeOverError)?;
    let link = io::stdin().as_fd().try_clone_to_owned().map_err(TakeOverError)?;
    receive(UnixStream::from(link)).map_err(TakeOverError)
}

/// Why nothing was taken over.
#[derive(Debug)]
pub struct TakeOverError(io::Error);

impl std::error::Error for TakeOverError {}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_io_error(&self.0) {
            Some(Errno::NOTSOCK) => {
                f.write_str("only denwa itself starts a process with `--exchange`; type `denwa run`")
            }
            _ => write!(f, "the exchange was not given what it needs: {}", self.0),
        }
    }
}

//! One exchange for each state folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The name of the file that is locked.
const NAME: &str = "lock";

/// Holds a folder for as long as it lives, and in any case no longer than the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Why a folder cannot be had.
#[derive(Debug)]
pub(super) enum NoLock {
    /// Another process has it, by its own word this one.
    Held(Option<u32>),
    /// The system does not do it: nothing can be written there.
    Impossible,
}

impl Lock {
    /// Takes the folder, and tells others who has it.
    pub(super) fn take(folder: &Path, holder: u32) -> Result<Lock, NoLock> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(folder.join(NAME)).map_err(|_| NoLock::Impossible)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(NoLock::Held(read(&file))),
            Err(_) => return Err(NoLock::Impossible),
        }
        // The lock is what counts; where the disk is full, nobody is told who has it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{holder}"));
        Ok(Lock { _file: file })
    }
}

/// The process that a lock names.
fn read(mut file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read(&mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim_end().parse().ok()
}

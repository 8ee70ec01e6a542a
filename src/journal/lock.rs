//! One exchange for each state folder.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The name of the file that is locked.
const NAME: &str = "lock";

/// Holds a folder for as long as it lives, and in any case no longer than the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a folder cannot be had.
#[derive(Debug)]
pub enum NoLock {
    /// Another process has it, by its own word this one.
    Held(Option<u32>),
    /// The system does not do it: nothing can be written there, or looked at.
    Impossible,
}

/// Somebody else has a folder.
#[derive(Debug)]
pub struct InUse {
    /// Which folder.
    pub folder: PathBuf,
    /// Which process, as far as that is known.
    pub holder: Option<u32>,
}

impl std::error::Error for InUse {}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("denwa runs already")?;
        if let Some(holder) = self.holder {
            write!(f, " as process {holder}")?;
        }
        write!(
            f,
            " (state folder {}): `denwa status` tells how it is, `denwa stop` stops it; a second exchange needs a \
             configuration with a folder (`state`) and ports (`listen`, `media-ports`) of its own",
            self.folder.display()
        )
    }
}

impl Lock {
    /// Takes the folder, and tells others who has it.
    pub(super) fn take(folder: &Path, holder: u32) -> Result<Lock, NoLock> {
        let path = folder.join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        // One that cannot be written, on a disk that is read-only, can be locked all the same.
        let file = options.open(&path).or_else(|_| File::open(&path));
        let mut file = file.map_err(|_| NoLock::Impossible)?;
        lock(&file)?;
        // The lock is what counts; where nothing can be written, nobody is told who has it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{holder}"));
        Ok(Lock { _file: file })
    }

    /// Keeps exchanges from a folder whose files are to be replaced. Nothing is written, and no link
    /// followed: the folder may be another user's. `None` where no exchange has ever been, which one that
    /// starts in this very moment might change.
    ///
    /// # Errors
    ///
    /// An exchange has it, or that cannot be known.
    pub fn hold(folder: &Path) -> Result<Option<Lock>, NoLock> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        match options.open(folder.join(NAME)) {
            Ok(file) => lock(&file).map(|()| Some(Lock { _file: file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(NoLock::Impossible),
        }
    }
}

fn lock(file: &File) -> Result<(), NoLock> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(NoLock::Held(read(file))),
        Err(_) => Err(NoLock::Impossible),
    }
}

/// The process that a lock names.
fn read(mut file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read(&mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim_end().parse().ok()
}

//! The one folder that the exchange may write, `state`.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, fchown};
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{Error, User};

/// Only its owner may look into it: it will hold who calls whom.
const MODE: u32 = 0o700;

/// Makes the folder `path` if there is none, and gives it to `user` if that is its purpose: a folder that
/// was just made, or an empty one of root's. One that already holds something is left as it is;
/// whether `user` can use it shows when the process becomes that user ([`super::confine_keeper`]).
///
/// # Errors
///
/// The folder cannot be made or given away, or there is something else in its place; and without a
/// `user`, it cannot be used.
pub fn prepare_state(path: &Path, user: Option<&User>) -> Result<(), Error> {
    let made = make(path, user);
    made.map_err(|error| Error::Create { state: path.to_owned(), error })?;
    match user {
        Some(_) => Ok(()),
        None => check(path, &User::current()),
    }
}

fn make(path: &Path, user: Option<&User>) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => (),
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        // Something is there, but what it leads to is not.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(io::Error::new(error.kind(), "there is a link of that name that leads nowhere"));
        }
        Err(error) => return Err(error),
    }
    match user {
        None => Ok(()),
        Some(user) => give_if_unused(path, user),
    }
}

/// What is examined and what is given away is the same folder, whoever may rename it meanwhile.
fn give_if_unused(path: &Path, user: &User) -> io::Result<()> {
    let folder = File::open(path)?;
    match is_unused(&folder.metadata()?, path)? {
        true => give(&folder, user),
        false => Ok(()),
    }
}

/// Whether it is root's and empty, so that nobody else can have put it to use.
fn is_unused(folder: &Metadata, path: &Path) -> io::Result<bool> {
    Ok(folder.uid() == 0 && fs::read_dir(path)?.next().is_none())
}

fn give(folder: &File, user: &User) -> io::Result<()> {
    match fchown(folder, Some(user.uid), Some(user.gid)) {
        // A container without that user: root will not become it either.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        done => done,
    }
}

/// Whether an error says that the disk takes nothing at present, which is nobody's mistake and may pass.
pub fn takes_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// Whether this process, which is `user` by now, can read and write the folder `path`; where the disk is read-only
/// at present, whether it could. Capabilities don't count: the child will have none.
pub(super) fn check(path: &Path, user: &str) -> Result<(), Error> {
    // `access` asks for the real user, without capabilities unless that is root.
    let reads = Access::READ_OK | Access::EXEC_OK;
    let found = match access(path, reads | Access::WRITE_OK) {
        Err(Errno::ROFS) => access(path, reads),
        found => found,
    };
    let Err(errno) = found else { return Ok(()) };
    let closed = path
        .ancestors()
        .skip(1)
        .filter(|above| !above.as_os_str().is_empty())
        .filter(|above| access(*above, Access::EXEC_OK) == Err(Errno::ACCESS))
        .last();
    Err(Error::State {
        state: path.to_owned(),
        user: user.to_owned(),
        closed: closed.map(Path::to_owned),
        error: errno.into(),
    })
}

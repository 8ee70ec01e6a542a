//! What the process is bounded by besides its rights.

use std::io;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use super::Error;

/// How many files and sockets may be open at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OpenFiles {
    pub(super) wanted: u64,
    pub(super) given: u64,
}

/// Lets `wanted` files be open, or as many as the system allows.
pub(super) fn open_files(wanted: u64) -> Result<OpenFiles, Error> {
    let exactly = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let given = match setrlimit(Resource::Nofile, exactly(wanted)) {
        Ok(()) => wanted,
        // Only a privileged process may raise its maximum.
        Err(Errno::PERM) => {
            let most = getrlimit(Resource::Nofile).maximum.map_or(wanted, |maximum| maximum.min(wanted));
            setrlimit(Resource::Nofile, exactly(most)).map_err(failed("limiting the open files"))?;
            most
        }
        Err(errno) => return Err(failed("limiting the open files")(errno)),
    };
    Ok(OpenFiles { wanted, given })
}

/// Leaves nothing behind after a crash, and lets no process of the same user look inside: memory holds
/// passwords.
pub(super) fn no_core_dumps() -> Result<(), Error> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(failed("forbidding core dumps"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("forbidding core dumps"))
}

/// An error of what every system can do.
pub(super) fn failed(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::System { what, error: io::Error::from(errno) }
}

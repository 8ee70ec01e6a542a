//! The cage: what the process gives up before it hears the first packet, so that whoever finds a
//! hole in it can touch nothing.
//!
//! There are two processes. The keeper gives up what it does not need to hold sockets and to start
//! the exchange again ([`confine_keeper`]); the exchange, its child, gives up nearly everything
//! ([`enter`]):
//!
//! | what is gone | by | since Linux |
//! |---|---|---|
//! | being root, and every capability (the keeper: but `CAP_NET_BIND_SERVICE`, and `CAP_DAC_READ_SEARCH` where [`Rights::read_any`] says so) | the user, `capset`, `no_new_privs` | 3.5 |
//! | all files but those in [`Rights`] | Landlock ABI 1 (3: truncation as well) | 5.13 (6.2) |
//! | TCP ports to bind | Landlock ABI 4 | 6.7 |
//! | signals and abstract sockets to others | Landlock ABI 6 | 6.12 |
//! | other programs, other processes, new code, most of the kernel | seccomp | 3.17 |
//! | core dumps, and being looked into | limits, `PR_SET_DUMPABLE` | |
//!
//! UDP ports and TCP connections stay free: those of phones are arbitrary.
//!
//! All of this binds the calling thread and those that it starts later. So it must happen **before the
//! first thread**; a thread started earlier stays free.

mod achieved;
mod error;
mod landlock;
mod limits;
mod privileges;
mod seccomp;
mod state;
mod user;

use std::path::Path;

use rustix::thread::CapabilitySet;

pub use achieved::Achieved;
pub use error::Error;
pub use state::{prepare_state, takes_nothing};
pub use user::User;

use crate::config::Sandbox;
use achieved::Bars;

/// What a process keeps.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'a> {
    /// `sandbox`: what happens where the system cannot give all of the cage.
    pub level: Sandbox,
    /// Whom root becomes; `None` where the process is not root ([`User::find`]).
    pub user: Option<&'a User>,
    /// Files and folders to read. Those that are not there, or closed to the user, need no rule.
    pub read: &'a [&'a Path],
    /// Whether the files to read may be read whoever owns them, as far as the keeper had the right to that: a
    /// certificate's key is root's alone. It is kept only where Landlock makes those files the only ones, and by the
    /// keeper alone.
    pub read_any: bool,
    /// Folders to read and write, create and remove files and folders in: those of `state`. They must
    /// be there ([`prepare_state`]); on a disk that is read-only at present they can at least be read.
    pub write: &'a [&'a Path],
    /// Programs to execute; `/proc/self/exe` is this one, even where the user may not walk its path. The
    /// folders of the shared libraries that this process uses come with them.
    pub execute: &'a [&'a Path],
    /// The most files and sockets that may be open at once. The child cannot have more than its keeper
    /// left itself.
    pub open_files: u64,
}

/// Leaves the keeper only what it needs: it becomes the user of `rights`, keeps no capability but that of
/// binding ports below 1024, if it had that one (a later configuration may want one), and perhaps that of
/// [`Rights::read_any`], and touches no files but those in `rights`. No child of its can have more, and none has the capability.
///
/// # Errors
///
/// A folder of [`Rights::write`] that the user cannot use; and what is missing under
/// [`Sandbox::Require`], which asks here for the user and Landlock. After an error the process may
/// have lost some of its rights already, and should end.
pub fn confine_keeper(rights: &Rights) -> Result<Achieved, Error> {
    confine(rights, Who::Keeper)
}

/// Enters the cage, for good.
///
/// # Errors
///
/// A folder of [`Rights::write`] that the user cannot use; and under [`Sandbox::Require`] what is
/// missing of an unprivileged user, Landlock and seccomp. After an error the process may have lost
/// some of its rights already, and should end.
pub fn enter(rights: &Rights) -> Result<Achieved, Error> {
    confine(rights, Who::Exchange)
}

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Keeper,
    Exchange,
}

/// Each step takes away what the next ones do not need: capabilities after the user that they are
/// needed to become, seccomp after all the rest.
fn confine(rights: &Rights, who: Who) -> Result<Achieved, Error> {
    if rights.level == Sandbox::Off {
        return Ok(Achieved::off());
    }
    let open_files = limits::open_files(rights.open_files)?;
    privileges::empty_bounding_set();
    let kept = match who {
        Who::Keeper if rights.read_any => CapabilitySet::NET_BIND_SERVICE | CapabilitySet::DAC_READ_SEARCH,
        Who::Keeper => CapabilitySet::NET_BIND_SERVICE,
        Who::Exchange => CapabilitySet::empty(),
    };
    privileges::hold_capabilities()?;
    let user = privileges::leave_root(rights.user);
    let name = user.as_ref().map_or("root", |name| name);
    for folder in rights.write {
        state::check(folder, name)?;
    }
    let mut capabilities = privileges::give_up_capabilities(kept)?;
    privileges::gain_none()?;
    // After the change of user, which sets it as well.
    limits::no_core_dumps()?;
    let landlock = landlock::restrict(rights, who);
    if landlock.is_err() && capabilities.contains(CapabilitySet::DAC_READ_SEARCH) {
        // All files there are would be too many.
        capabilities = privileges::give_up_capabilities(CapabilitySet::NET_BIND_SERVICE)?;
    }
    let seccomp = match who {
        Who::Keeper => None,
        Who::Exchange => Some(seccomp::install()),
    };
    let bars = Bars { user, capabilities, landlock, seccomp, open_files };
    match bars.missing() {
        missing if rights.level == Sandbox::Require && !missing.is_empty() => Err(Error::Incomplete(missing)),
        _ => Ok(Achieved::with(bars)),
    }
}

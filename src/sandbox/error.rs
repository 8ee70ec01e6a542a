//! Why the exchange does not start in its cage.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::takes_nothing;

/// What is wrong, and what to do about it.
#[derive(Debug)]
pub enum Error {
    /// `user` names nobody whom `/etc/passwd` knows.
    NoSuchUser(String),
    /// `/etc/passwd` cannot be read.
    Users(io::Error),
    /// The folder of `state` cannot be made.
    Create {
        /// Which.
        state: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The folder of `state` cannot be used by the user.
    State {
        /// Which.
        state: PathBuf,
        /// Who.
        user: String,
        /// The folder above that the user cannot even pass, if that is why.
        closed: Option<PathBuf>,
        /// What the system said.
        error: io::Error,
    },
    /// `sandbox = require`, and this is missing.
    Incomplete(Vec<String>),
    /// A system call failed that every system has.
    System {
        /// What it was to do.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl Error {
    /// Whether the folder of `state` is not there only because the disk takes nothing at present.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, Error::Create { error, .. } if takes_nothing(error))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NoSuchUser(_) | Error::Incomplete(_) => None,
            Error::Users(error)
            | Error::Create { error, .. }
            | Error::State { error, .. }
            | Error::System { error, .. } => Some(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchUser(name) => write!(
                f,
                "user = {name}: /etc/passwd has no such user; make one (`adduser -S {name}` or \
                 `useradd -r {name}`), or leave `user` out"
            ),
            Error::Users(error) => write!(f, "/etc/passwd cannot be read: {error}"),
            Error::Create { state, error } => write!(
                f,
                "state = {state} cannot be made: {error}; make that folder, or choose another one in `state`",
                state = state.display()
            ),
            Error::State { state: path, user, closed, error } => {
                let state = path.display();
                write!(f, "state = {state} cannot be used by the user {user}: ")?;
                match closed {
                    Some(closed) => write!(
                        f,
                        "{} is closed to it; choose a folder elsewhere in `state`, or another `user`",
                        closed.display()
                    ),
                    None if is_shared(path) => {
                        write!(f, "{error}; choose a folder for denwa alone in `state`")
                    }
                    None if error.kind() == io::ErrorKind::PermissionDenied => write!(
                        f,
                        "{error}; give it that folder (`chown -R {user} {state}`), or choose another one in \
                         `state` or another `user`"
                    ),
                    None => write!(f, "{error}; choose another folder in `state`"),
                }
            }
            Error::Incomplete(missing) => write!(
                f,
                "sandbox = require, but there is {}; put that right, or let `sandbox = best-effort` go on with less",
                missing.join(", and ")
            ),
            Error::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

/// Whether a folder is so near the root that it hardly belongs to denwa alone (`/`, `/var/lib`, `/home/me`),
/// and nobody should be told to give it away with all that is in it.
fn is_shared(folder: &Path) -> bool {
    let is_named = folder.file_name().is_some_and(|name| name == "denwa");
    folder.is_absolute() && folder.components().count() <= 3 && !is_named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_give_the_whole_system_away() {
        let said = |state: &str| {
            let error = io::ErrorKind::PermissionDenied.into();
            Error::State { state: state.into(), user: "nobody".into(), closed: None, error }.to_string()
        };
        for shared in ["/", "/var", "/var/lib", "/home/alice"] {
            assert!(!said(shared).contains("chown"), "{}", said(shared));
        }
        for own in ["/var/lib/denwa", "/srv/denwa", "/home/alice/state", "state"] {
            assert!(said(own).contains(&format!("`chown -R nobody {own}`")), "{}", said(own));
        }
    }
}

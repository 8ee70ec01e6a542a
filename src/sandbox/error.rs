//! Why the exchange does not start in its cage.

use std::fmt;
use std::io;
use std::path::PathBuf;

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
            Error::State { state, user, closed, error } => {
                let state = state.display();
                write!(f, "state = {state} cannot be used by the user {user}: ")?;
                match closed {
                    Some(closed) => write!(
                        f,
                        "{} is closed to it; choose a folder elsewhere in `state`, or another `user`",
                        closed.display()
                    ),
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

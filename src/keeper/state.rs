//! The state folder, before there is a cage: made where it is missing.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::config::Config;

/// Makes the state folder, readable by its owner alone, unless there is one. Returns a notice where that
/// fails, but nobody has asked for this very folder: nothing is kept there yet, and whoever tries denwa
/// for the first time may not have the rights for the default one.
///
/// # Errors
///
/// If the folder that the configuration names cannot be had.
pub(super) fn prepare(config: &Config) -> Result<Option<String>, StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&config.state);
    match made {
        Ok(()) => Ok(None),
        Err(error) => {
            let error = StateError { path: config.state.clone(), error };
            if config.state == Config::default().state {
                Ok(Some(format!("going on without this: {error}")))
            } else {
                Err(error)
            }
        }
    }
}

/// Why there is no state folder, and what to do about it.
#[derive(Debug)]
pub struct StateError {
    path: PathBuf,
    error: io::Error,
}

impl std::error::Error for StateError {}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "state = {path}: {}", self.error)?;
        match self.error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => f.write_str(
                "; this must be a folder: remove what is there, or name another folder in `state`",
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "; make the folder and give it to the user that starts denwa, or name another one in `state`",
            ),
            _ => Ok(()),
        }
    }
}

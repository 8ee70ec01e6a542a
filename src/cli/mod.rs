//! The subcommands that speak to a running denwa, or work on its files.
//!
//! They exit with 0 when it is done, with 1 when it could not be (the reason is on standard error), and with 2
//! when no denwa runs.

mod backup;
mod edit;
mod keeper;

use std::path::PathBuf;
use std::process::ExitCode;

use denwa::config;

pub(crate) use backup::{Backup, Restore, backup, restore};
pub(crate) use edit::{Add, Passwd, Remove, add, passwd, remove};
pub(crate) use keeper::{Reload, Stop, reload, stop};

/// What stands for the argument `-`, standard input or output: no file has that name.
pub(crate) const STANDARD: &str = "/dev/-";

/// Nobody is there.
const NOT_RUNNING: u8 = 2;

/// How a subcommand ends; why it could not do its work is for people.
type Done = Result<ExitCode, Box<dyn std::error::Error>>;

/// The configuration that is meant: the one that is named, else the one that `denwa run` would take.
pub(crate) fn configuration(named: Option<PathBuf>) -> Result<PathBuf, &'static str> {
    named.or_else(config::find).ok_or(
        "there is no denwa.conf here and no /etc/denwa/denwa.conf: name the configuration, or type `denwa`, which \
         writes one",
    )
}

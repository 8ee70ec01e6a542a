//! The subcommands that speak to a denwa which runs: their arguments, and one function for each.

pub(crate) mod act;
mod ask;
mod backup;
mod edit;
pub(crate) mod follow;
pub(crate) mod init;
pub(crate) mod keeper;
pub(crate) mod look;
pub(crate) mod peer;
mod peer_add;
pub(crate) mod route;
pub(crate) mod watch;

use std::io;
use std::path::PathBuf;

use denwa::config::{self, Config};
use denwa::console::control::{Client, Reply, Request};

use crate::Done;
pub(crate) use backup::{Backup, Restore, backup, restore};
pub(crate) use edit::{Add, Passwd, Remove, add, passwd, remove};

/// What stands for the argument `-`, standard input or output: no file has that name.
pub(crate) const STANDARD: &str = "/dev/-";

/// The configuration that is meant: the one that is named, else the one that `denwa run` would take.
pub(crate) fn configuration(named: Option<PathBuf>) -> Result<PathBuf, &'static str> {
    named.or_else(config::find).ok_or(
        "there is no denwa.conf here and no /etc/denwa/denwa.conf: name the configuration, or type `denwa`, which \
         writes one",
    )
}

/// Puts the public addresses that a running exchange has found into its configuration, if they are left to it; none
/// if there is nobody to ask.
pub(crate) fn find_advertised(config: &mut Config) {
    if !config.advertise_auto {
        return;
    }
    let reply = Client::connect(&config.state).and_then(|mut client| client.ask(&Request::Status));
    if let Ok(Reply::Status(status)) = reply {
        config.advertise = status.advertise;
    }
}

/// Fills a slice with random bytes, for passwords.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

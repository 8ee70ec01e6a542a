//! What the subcommands do, a file for those that belong together.

pub(crate) mod backup;
pub(crate) mod edit;

use std::error::Error;
use std::path::{Path, PathBuf};

use denwa::config::{self, Config};
use denwa::journal::{Lock, NoLock};

/// What stands for the argument `-`, standard input or output: no file has that name.
pub(crate) const STANDARD: &str = "/dev/-";

/// The configuration that is meant: the one that was named, else the one that `denwa run` takes.
///
/// # Errors
///
/// There is none.
pub(crate) fn configuration(named: Option<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
    let found = named.or_else(config::find);
    found.ok_or_else(|| {
        "there is no configuration, neither denwa.conf in this folder nor /etc/denwa/denwa.conf: name one, or \
         type `denwa`, which writes one"
            .into()
    })
}

/// Has the running exchange read the configuration at `path` again, which is `config`; says what came of it.
pub(crate) fn reload_if_running(path: &Path, config: &Config) -> String {
    match Lock::hold(&config.state) {
        Err(NoLock::Held(_)) => {
            format!(
                "The exchange that runs does not know of it yet: `denwa reload --config {}`.",
                path.display()
            )
        }
        _ => "The next start of denwa will know of it.".into(),
    }
}

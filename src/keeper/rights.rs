//! What each of the two processes keeps of its rights.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::cloud;
use crate::config::Config;
use crate::dns;
use crate::handover::{MAX_SOCKETS, MAX_WEB_SOCKETS};
use crate::net::CONNECTIONS_MAX;
use crate::sandbox::{self, Achieved, Error, Rights, User};
use crate::tls;

/// Descriptors that belong to no phone: standard ones, epoll, timers, signals, connections of operators and of HTTP,
/// the odd file.
const OTHER_FILES: usize = 64;

/// Makes the state folder and gives it to whom the exchange runs as. Returns a notice where that fails,
/// but phones can be served all the same: the disk takes nothing at present, or nobody has asked for this very
/// folder, in which nothing is kept yet, and whoever tries denwa for the first time may not have the rights for the
/// default one.
///
/// # Errors
///
/// If the folder that the configuration names cannot be had for another reason.
pub(super) fn prepare_state(config: &Config, user: Option<&User>) -> Result<Option<String>, Error> {
    match sandbox::prepare_state(&config.state, user) {
        Ok(()) => Ok(None),
        Err(error) if config.state == Config::default().state || error.is_of_disk() => {
            Ok(Some(format!("going on without this: {error}")))
        }
        Err(error) => Err(error),
    }
}

/// Cuts the keeper's rights to what it needs and, since a child can have no more, what the exchange does.
/// `path` is where the configuration is, which it may read again, as far as its user can; `program` is where this
/// program is. What takes its place there can be executed, and so can all else in that folder: what it is
/// to be, only root and the keeper's own user can say, who may execute more than that anyway. The exchange
/// may execute nothing.
pub(super) fn confine(
    config: &Config,
    path: &Path,
    program: &Path,
    user: Option<&User>,
    has_state: bool,
) -> Result<Achieved, Error> {
    let state = [config.state.as_path()];
    // Folders, since files are replaced by others of their name.
    let mut read = folders_of(path);
    // An ACME client replaces them as well, and what they lead to.
    for file in config.tls.iter().flat_map(|files| [&files.cert, &files.key]) {
        read.append(&mut folders_of(file));
    }
    // The exchange says there by which name it runs.
    read.push(PathBuf::from("/etc/passwd"));
    // And here whether the machine is a cloud's.
    read.push(PathBuf::from(cloud::FIRMWARE));
    // And whom it asks for the addresses of others.
    read.extend(dns::FILES.iter().flat_map(|file| folders_of(Path::new(file))));
    // And here by whom others prove who they are.
    read.extend(tls::BUNDLES.map(PathBuf::from));
    let read: Vec<&Path> = read.iter().map(PathBuf::as_path).collect();
    let mut execute = vec![Path::new("/proc/self/exe")];
    execute.extend(program.parent());
    sandbox::confine_keeper(&Rights {
        level: config.sandbox,
        user,
        read: &read,
        // Those who get certificates write the key for root alone.
        read_any: config.tls.is_some() && tls::is_spoken(config),
        write: if has_state { &state } else { &[] },
        execute: &execute,
        open_files: open_files(config),
    })
}

/// The folder in which a file is, and that in which it really is if it is a link. Of where a link leads that leads
/// nowhere yet, it is what there is of the way.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let really = path.canonicalize().ok();
    let target = fs::read_link(path).ok().filter(|_| really.is_none());
    let target = target.and_then(|target| Some(path.parent()?.join(target)));
    let way =
        target.and_then(|target| target.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok()));
    let way = way.filter(|way| way.parent().is_some());
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Some(PathBuf::from(".")),
        folder => folder.map(Path::to_owned),
    };
    [folder(path), really.as_deref().and_then(folder), way].into_iter().flatten().collect()
}

/// Locks the exchange into its cage. It must come before its first thread and its first packet.
///
/// # Errors
///
/// Those of [`sandbox::enter`].
pub fn enter_cage(config: &Config, has_state: bool) -> Result<Achieved, Error> {
    // Still root where the keeper stayed it, because there is no cage or nobody to become.
    let user = User::find(config.user.as_deref())?;
    let state = [config.state.as_path()];
    sandbox::enter(&Rights {
        level: config.sandbox,
        user: user.as_ref(),
        read: &[],
        read_any: false,
        write: if has_state { &state } else { &[] },
        execute: &[],
        open_files: open_files(config),
    })
}

/// Whether an exchange may need more files than any can have since the keeper gave up its rights.
pub(super) fn needs_more_files(config: &Config) -> bool {
    getrlimit(Resource::Nofile).maximum.is_some_and(|most| most < open_files(config))
}

/// The most files and sockets that an exchange has open: what it listens on, connections, the relay's ports.
fn open_files(config: &Config) -> u64 {
    let ports = usize::from(config.media_ports.last - config.media_ports.first) + 1;
    (MAX_SOCKETS + MAX_WEB_SOCKETS + CONNECTIONS_MAX + ports + OTHER_FILES) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_leads_nowhere_yet_may_be_followed_later() {
        let folder = std::env::temp_dir().join(format!("denwa-rights-{}", std::process::id()));
        let (etc, run) = (folder.join("etc"), folder.join("run"));
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(&run).unwrap();
        let (etc, run) = (etc.canonicalize().unwrap(), run.canonicalize().unwrap());
        let link = etc.join("resolv.conf");
        symlink("../run/resolvconf/interfaces/resolv.conf", &link).unwrap();
        assert_eq!(folders_of(&link), [etc.clone(), run.clone()]);
        fs::create_dir_all(run.join("resolvconf/interfaces")).unwrap();
        fs::write(run.join("resolvconf/interfaces/resolv.conf"), "").unwrap();
        assert_eq!(folders_of(&link), [etc.clone(), run.join("resolvconf/interfaces")]);
        fs::remove_file(&link).unwrap();
        symlink("/nothing/at/all", &link).unwrap();
        assert_eq!(folders_of(&link), [etc], "nobody may read everything for that");
        fs::remove_dir_all(&folder).unwrap();
    }
}

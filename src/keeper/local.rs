//! Local sockets of the state folder, by which the operator's commands reach us.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Gid, Uid, umask};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::console::control::{at, connect, elsewhere};
use crate::sandbox::{User, takes_nothing};

/// What nobody but the owner has on a socket: no right at all.
const OTHERS: Mode = Mode::from_raw_mode(0o177);

/// Listens at `name` in `folder`, mode 0600. Root does it as the `user` that it becomes later: the socket
/// is that user's then, and whatever the user has put into its folder cannot lead root elsewhere.
///
/// What an exchange before us left there is removed; a socket on which somebody answers is not. Where the disk
/// takes nothing, it listens elsewhere ([`elsewhere`]).
///
/// # Errors
///
/// [`io::ErrorKind::AddrInUse`] if somebody answers, [`io::ErrorKind::AlreadyExists`] if something else has
/// the name, and what the system says if the folder cannot be written.
pub(super) fn listen(folder: &Path, name: &str, user: Option<&User>) -> io::Result<UnixListener> {
    let in_folder = || {
        at(folder, name, |path| {
            remove_stale(&path)?;
            let before = umask(OTHERS);
            let listener = UnixListener::bind(&path);
            umask(before);
            listener
        })
    };
    let listen = || {
        let listener = in_folder().or_else(|error| match takes_nothing(&error) {
            true => UnixListener::bind_addr(&elsewhere(folder, name)?),
            false => Err(error),
        })?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    match user {
        Some(user) => as_user(user, listen),
        None => listen(),
    }
}

/// The process that answers at `name` in `folder`: nobody, or one whose number may not be known.
pub(super) fn occupant(folder: &Path, name: &str) -> Option<Option<u32>> {
    let stream = connect(folder, name).ok()?;
    Some(socket_peercred(&stream).ok().map(|peer| peer.pid.as_raw_pid().unsigned_abs()))
}

/// Takes a socket away on which nobody answers.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Does something with the rights of a user, for as long as it takes. Only root can, before its first thread.
fn as_user<T>(user: &User, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    match set_thread_res_gid(Gid::ROOT, gid, Gid::ROOT) {
        Ok(()) => {}
        // A container without that user: root does not become it later either.
        Err(rustix::io::Errno::INVAL) => return work(),
        Err(error) => return Err(error.into()),
    }
    let done = match set_thread_res_uid(Uid::ROOT, uid, Uid::ROOT) {
        Ok(()) => {
            let done = work();
            set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
            done
        }
        Err(rustix::io::Errno::INVAL) => work(),
        Err(error) => Err(error.into()),
    };
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    done
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("denwa-local-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_left_is_removed_but_nothing_that_is_used() {
        let folder = Folder::new("stale");
        let path = folder.0.join("control");
        assert_eq!(occupant(&folder.0, "control"), None);
        let first = listen(&folder.0, "control", None).unwrap();
        assert_eq!(occupant(&folder.0, "control"), Some(Some(std::process::id())));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = listen(&folder.0, "control", None).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists() && occupant(&folder.0, "control").is_none());
        drop(listen(&folder.0, "control", None).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        let taken = listen(&folder.0, "control", None).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[test]
    fn a_folder_may_have_a_path_that_no_socket_could() {
        let folder = Folder::new("deep");
        let deep = folder.0.join("a-long-name/".repeat(30));
        fs::create_dir_all(&deep).unwrap();
        let listener = listen(&deep, "control", None).unwrap();
        at(&deep, "control", UnixStream::connect).unwrap();
        drop(listener);
        let none = listen(&deep.join("none"), "control", None).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}

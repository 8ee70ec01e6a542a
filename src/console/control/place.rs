//! Where the sockets are by which commands reach a denwa that runs: in the state folder.
//!
//! Where nothing can be made in that, since the disk is full or read-only, they are in the kernel's abstract
//! namespace, under the folder's number. Anybody may have put something there, and so it counts only if it is
//! somebody's who may rule over that folder anyway.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

/// The name of the operator's socket in the state folder.
pub const SOCKET: &str = "control";

/// The longest path that fits into a socket's address (unix(7)), in bytes.
const MAX_PATH: usize = 107;

/// Does something with the path of a socket in a folder. Where that is longer than a socket's may be, another
/// one that leads there.
///
/// # Errors
///
/// Those of `work`; and if its folder is needed and cannot be opened.
pub fn at<T>(folder: &Path, name: &str, work: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().len() <= MAX_PATH {
        return work(path);
    }
    let folder: File = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(folder)?;
    work(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

/// The address that takes the place of a path in a folder in which nothing can be made.
///
/// # Errors
///
/// There is no such folder.
pub fn elsewhere(folder: &Path, name: &str) -> io::Result<SocketAddr> {
    let folder = fs::metadata(folder)?;
    SocketAddr::from_abstract_name(format!("denwa/{:x}/{:x}/{name}", folder.dev(), folder.ino()))
}

/// Connects to the socket of a folder, wherever it is.
///
/// # Errors
///
/// Why the one in the folder cannot be had, if there is no other.
pub fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    at(folder, name, UnixStream::connect).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            connect_elsewhere(folder, name).map_err(|_| error)
        }
        _ => Err(error),
    })
}

fn connect_elsewhere(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&elsewhere(folder, name)?)?;
    let (owner, peer) = (fs::metadata(folder)?.uid(), socket_peercred(&stream)?.uid);
    match peer.is_root() || peer == geteuid() || peer.as_raw() == owner {
        true => Ok(stream),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

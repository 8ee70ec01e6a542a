//! Where the socket is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

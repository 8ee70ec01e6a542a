//! A folder for one test.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

/// A folder of one test, open to whom root becomes; it goes away with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// An empty one, named for the process and the test.
    pub(crate) fn new() -> Folder {
        let test = thread::current().name().unwrap_or_default().to_owned();
        let path = std::env::temp_dir().join(format!("denwa-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

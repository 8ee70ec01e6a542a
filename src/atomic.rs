//! Files that are there whole or not at all, whenever the power goes: each is written beside its place, put on
//! the disk, and given its name in one step.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Who owns a file, and who may read and write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permissions, 12 bits.
    pub mode: u32,
    /// User and group; `None` for whoever writes it.
    pub owner: Option<(u32, u32)>,
}

impl Rights {
    /// Its owner, who writes it, and nobody else.
    pub const PRIVATE: Rights = Rights { mode: 0o600, owner: None };

    /// Those of the file or folder that `path` leads to.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub fn of(path: &Path) -> io::Result<Rights> {
        let found = fs::metadata(path)?;
        Ok(Rights { mode: found.mode() & 0o7777, owner: Some((found.uid(), found.gid())) })
    }
}

/// Writes a new file at `path`, which only its owner may read.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is anything, and those of the file system. There is no new
/// file then.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = beside(path);
    let written = write(&unfinished, bytes, Rights::PRIVATE)
        // A link, unlike a rename, fails where there is a file already.
        .and_then(|()| fs::hard_link(&unfinished, path));
    let removed = fs::remove_file(&unfinished);
    written.and(removed)?;
    sync_folder(path)
}

/// Writes a file at `path`, whatever is there; what a link leads to is not touched.
///
/// # Errors
///
/// Those of the file system. What was there is there still.
pub fn put(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    let unfinished = beside(path);
    let written = write(&unfinished, bytes, rights).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // It is of no use to anybody, and may not be there.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    sync_folder(path)
}

/// Writes a file in the place of the one that `path` leads to, with its owner and permissions.
///
/// # Errors
///
/// Those of [`put`]; and there has to be a file, whose owner this process is or can name.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    put(&path, bytes, Rights::of(&path)?)
}

/// Gives a file another name, which it keeps when something is [`put`] in its place; whatever had that name is
/// gone. Nothing if there is no such file.
///
/// # Errors
///
/// Those of the file system.
pub fn set_aside(path: &Path, name: &Path) -> io::Result<()> {
    let not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::symlink_metadata(path).and_then(|_| fs::remove_file(name)) {
        Err(error) if !not_found(&error) => return Err(error),
        _ => {}
    }
    // Not all file systems have files with two names.
    match fs::hard_link(path, name).or_else(|_| fs::rename(path, name)) {
        Err(error) if !not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The name of a file while it is being written.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}.unfinished", std::process::id()));
    path.with_file_name(name)
}

/// Writes a file that was not there.
fn write(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    // One that is here was left by a process of our number that was interrupted.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    let made = file.metadata()?;
    if let Some((uid, gid)) = rights.owner.filter(|owner| *owner != (made.uid(), made.gid())) {
        fchown(&file, Some(uid), Some(gid))?;
    }
    file.set_permissions(Permissions::from_mode(rights.mode))?;
    file.sync_all()
}

/// Puts the name on the disk as well.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A new folder that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("denwa-{}-atomic-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn names(&self) -> Vec<OsString> {
            let mut names: Vec<_> =
                fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_file_is_its_owners_and_takes_nobodys_place() {
        let folder = Folder::new("new");
        let path = folder.0.join("x");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(Rights::of(&path).unwrap().mode, 0o600);
        assert_eq!(folder.names(), ["x"]);
    }

    #[test]
    fn what_takes_a_place_has_the_same_rights() {
        let folder = Folder::new("rights");
        let (path, link) = (folder.0.join("x"), folder.0.join("y"));
        fs::write(&path, "one").unwrap();
        // Its owner may not write it, but may replace it.
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        symlink("x", &link).unwrap();
        let before = Rights::of(&path).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(Rights::of(&path).unwrap(), before);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        put(&link, b"three", Rights { mode: 0o640, owner: None }).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!((fs::read(&link).unwrap(), Rights::of(&link).unwrap().mode), (b"three".to_vec(), 0o640));
        assert_eq!(folder.names(), ["x", "y"]);
    }

    #[test]
    fn what_is_set_aside_has_both_names_until_its_place_is_taken() {
        let folder = Folder::new("aside");
        let (path, aside) = (folder.0.join("x"), folder.0.join("x.before"));
        fs::write(&aside, "zero").unwrap();
        set_aside(&path, &aside).unwrap();
        assert_eq!(fs::read(&aside).unwrap(), b"zero");
        fs::write(&path, "one").unwrap();
        set_aside(&path, &aside).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&aside).unwrap()), (b"one".to_vec(), b"one".to_vec()));
        put(&path, b"two", Rights::PRIVATE).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&aside).unwrap()), (b"two".to_vec(), b"one".to_vec()));
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = Folder::new("fails");
        let path = folder.0.join("x");
        fs::create_dir(&path).unwrap();
        assert!(put(&path, b"one", Rights::PRIVATE).is_err());
        assert!(replace(&folder.0.join("y"), b"one").is_err());
        assert!(create(&folder.0.join("z/x"), b"one").is_err());
        assert_eq!(folder.names(), ["x"]);
    }
}

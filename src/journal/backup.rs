//! A backup: one file with a configuration, a journal and the certificate for TLS that the exchange has made.
//!
//! ```text
//! magic (8 octets), version (u32), length of the body in octets (u64), CRC-32 of these (u32),
//! CRC-32 of the body (u32), body: a Backup in postcard's form
//! ```
//!
//! Numbers are little-endian. All but the body is the same in each version, so that an old program can
//! tell a new backup from a damaged one. A CRC-32 finds each error of up to 32 bits in a row; it is not meant
//! to find what somebody changed on purpose.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::NAME;
use super::frame::{self, Found};
use super::record::{Octets, Record};
use super::{OpenError, State};
use crate::atomic::{self, Rights};

/// What a backup begins with. A program that takes it for text, or has seven bits, breaks it.
const MAGIC: [u8; 8] = *b"denwa\xea\r\n";

/// The version of the body.
const VERSION: u32 = 2;

/// The one before. It ends where the certificate would be.
const WITHOUT_CERTIFICATE: u32 = 1;

/// Up to the body.
const HEADER: usize = MAGIC.len() + 4 + 8 + 4 + 4;

/// The most octets of a backup, and of a journal in it: 64 MiB. That of 10,000 phones has about 12.
pub const MAX_BACKUP: usize = 64 << 20;

/// What there is to keep of an exchange.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// When it was made, in milliseconds since 1970.
    pub made: u64,
    /// The version of the program that made it.
    pub by: Box<str>,
    /// The file of the configuration.
    pub config: Octets,
    /// What [`copy`] gave of the journal; `None` if there was none.
    pub journal: Option<Octets>,
    /// The file of the certificate that the exchange has made, and of its key; `None` if it has made none. Friends and
    /// phones know the exchange by it, so that another one would be a stranger.
    pub tls: Option<Octets>,
}

/// Why something is no backup that can be used. `Display` says it without the name of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupError {
    /// It is something else.
    Foreign,
    /// It ends too early.
    Truncated {
        /// How many octets there are.
        length: usize,
    },
    /// It is not what was written, or there is more behind it.
    Damaged,
    /// It is of a version that this program does not know.
    Version(u32),
}

impl std::error::Error for BackupError {}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::Foreign => f.write_str("is no backup of denwa"),
            BackupError::Truncated { length } => {
                write!(f, "is only the beginning of a backup: its {length} bytes are not all of it")
            }
            BackupError::Damaged => f.write_str("is damaged: its checksum is wrong"),
            BackupError::Version(version) => write!(
                f,
                "is of version {version}, and this denwa knows {VERSION}: restore it with the newer denwa that \
                 made it"
            ),
        }
    }
}

impl Backup {
    /// As a file.
    pub fn write(&self) -> Vec<u8> {
        // Into a vector, such a type is always written.
        let body = postcard::to_allocvec(self).unwrap_or_default();
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(body.len() as u64).to_le_bytes());
        file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
        file.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        file.extend_from_slice(&body);
        file
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It is not what [`Backup::write`] has written, to the octet.
    pub fn read(file: &[u8]) -> Result<Backup, BackupError> {
        let truncated = BackupError::Truncated { length: file.len() };
        if !Backup::begins(file) {
            return Err(BackupError::Foreign);
        }
        let Some((header, body)) = file.split_first_chunk::<HEADER>() else {
            return Err(truncated);
        };
        let [.., v0, v1, v2, v3, l0, l1, l2, l3, l4, l5, l6, l7, h0, h1, h2, h3, b0, b1, b2, b3] = *header;
        if crc32fast::hash(&header[..HEADER - 8]) != u32::from_le_bytes([h0, h1, h2, h3]) {
            return Err(BackupError::Damaged);
        }
        // How `None` is written.
        let end: &[u8] = match u32::from_le_bytes([v0, v1, v2, v3]) {
            VERSION => &[],
            WITHOUT_CERTIFICATE => &[0],
            version => return Err(BackupError::Version(version)),
        };
        if (body.len() as u64) < u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]) {
            return Err(truncated);
        }
        if crc32fast::hash(body) != u32::from_le_bytes([b0, b1, b2, b3]) {
            return Err(BackupError::Damaged);
        }
        match postcard::take_from_bytes(&[body, end].concat()) {
            Ok((backup, [])) => Ok(backup),
            _ => Err(BackupError::Damaged),
        }
    }

    /// Whether a file can be the beginning of a backup; nothing is one too.
    pub fn begins(file: &[u8]) -> bool {
        let length = file.len().min(MAGIC.len());
        file[..length] == MAGIC[..length]
    }
}

/// What is worth keeping of the journal of a state folder, to which an exchange may append meanwhile, and what
/// that comes to: all but its calls, which are over when somebody restores it. `None` if there is no journal.
///
/// # Errors
///
/// It cannot be read, is none or of a version that we do not know, or has more than [`MAX_BACKUP`] octets of
/// this.
pub fn copy(folder: &Path) -> Result<Option<(Vec<u8>, State)>, OpenError> {
    let path = folder.join(NAME);
    let mut octets = frame::header().to_vec();
    let mut state = State::default();
    let mut is_too_long = false;
    let keep = |record: Record| {
        is_too_long |= octets.len() > MAX_BACKUP;
        if !record.is_of_call() && !is_too_long {
            // What was read is not too long to be written.
            frame::write(&mut octets, &record);
        }
        state.apply(record);
    };
    // Whoever owns the folder may have put a pipe there.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let unreadable = |error| OpenError::Unreadable { path: path.clone(), error };
    match opened.and_then(|file| frame::read(file, keep)) {
        Ok(Found::Records { .. }) if is_too_long => Err(unreadable(too_long())),
        Ok(Found::Records { .. }) => {
            frame::write(&mut octets, &Record::Numbered(state.numbered));
            Ok(Some((octets, state)))
        }
        Ok(Found::Version(version)) => Err(OpenError::Version { path, version }),
        Ok(Found::Unknown) => Err(OpenError::Unknown { path }),
        Ok(Found::Foreign) => Err(unreadable(io::Error::other("it is no journal of denwa"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

/// All of a file.
///
/// # Errors
///
/// Those of reading, and that it has more than [`MAX_BACKUP`] octets.
pub fn read_all(file: impl Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    file.take(MAX_BACKUP as u64 + 1).read_to_end(&mut octets)?;
    match octets.len() {
        ..=MAX_BACKUP => Ok(octets),
        _ => Err(too_long()),
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {} MiB", MAX_BACKUP >> 20))
}

/// What a journal comes to, and where its last whole record ends.
///
/// # Errors
///
/// It is none, or of this other version.
pub fn replay(octets: &[u8]) -> Result<(usize, State), Option<u32>> {
    let mut state = State::default();
    match frame::read(octets, |record| state.apply(record)) {
        Ok(Found::Records { end, .. }) => Ok((end.try_into().unwrap_or(octets.len()), state)),
        Ok(Found::Version(version)) => Err(Some(version)),
        // Only a later version can have written it.
        Ok(Found::Unknown) => Err(Some(frame::VERSION + 1)),
        // Memory can always be read.
        Ok(Found::Foreign) | Err(_) => Err(None),
    }
}

/// What a file is called whose place was taken by one from a backup.
pub fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before-restore");
    name.into()
}

/// Puts a file, or none, into a folder that no exchange uses: the journal, say. One that is there is called
/// as [`before`] says then, and whatever had that name is gone. Links are not followed: the folder may
/// be another user's.
///
/// # Errors
///
/// Those of the file system.
pub fn put(folder: &Path, name: &str, file: Option<&[u8]>, rights: Rights) -> io::Result<()> {
    let place = folder.join(name);
    atomic::set_aside(&place, &before(&place))?;
    match file {
        Some(octets) => atomic::put(&place, octets, rights),
        None => match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(folder)?.sync_all(),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record::{Kept, Secret};
    use super::*;
    use crate::time::Instant;

    fn journal_of(records: &[Record]) -> Vec<u8> {
        let mut journal = frame::header().to_vec();
        assert!(records.iter().all(|record| frame::write(&mut journal, record)));
        journal
    }

    fn journal() -> Vec<u8> {
        journal_of(&[Record::Secret(Secret([7; 32])), Record::Unbound(3), Record::Numbered(0)])
    }

    fn backup() -> Backup {
        Backup {
            made: 1_790_000_000_000,
            by: "0.1.0".into(),
            config: b"ext.101 = a-long-password\n"[..].into(),
            journal: Some(journal().as_slice().into()),
            tls: Some(b"a certificate and its key"[..].into()),
        }
    }

    /// A file of this version, whatever is in it.
    fn file_of(version: u32, body: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&version.to_le_bytes());
        file.extend_from_slice(&(body.len() as u64).to_le_bytes());
        file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
        file.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        file.extend_from_slice(body);
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let bare = Backup { journal: None, tls: None, config: Octets::default(), ..backup() };
        for backup in [backup(), bare] {
            assert!(Backup::read(&backup.write()) == Ok(backup));
        }
    }

    #[test]
    fn one_of_before_there_were_certificates_is_read() {
        let Backup { made, by, config, journal, .. } = backup();
        let old = postcard::to_allocvec(&(made, by, config, journal)).unwrap();
        assert!(Backup::read(&file_of(1, &old)) == Ok(Backup { tls: None, ..backup() }));
        assert!(Backup::read(&file_of(2, &old)) == Err(BackupError::Damaged));
        for wrong in [&old[..old.len() - 1], &[&old[..], &[0]].concat()] {
            assert!(Backup::read(&file_of(1, wrong)) == Err(BackupError::Damaged));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let file = backup().write();
        for length in 0..file.len() {
            assert!(Backup::read(&file[..length]) == Err(BackupError::Truncated { length }), "{length}");
        }
        let longer = [&file[..], b"\0"].concat();
        assert!(Backup::read(&longer) == Err(BackupError::Damaged));
    }

    #[test]
    fn every_wrong_octet_is_refused() {
        let file = backup().write();
        for at in 0..file.len() {
            for change in 1..=u8::MAX {
                let mut damaged = file.clone();
                damaged[at] ^= change;
                let expected = if at < MAGIC.len() { BackupError::Foreign } else { BackupError::Damaged };
                assert!(Backup::read(&damaged) == Err(expected), "{at} {change}");
            }
        }
    }

    #[test]
    fn a_newer_one_and_other_files_are_told_apart() {
        let mut newer = backup().write();
        newer[8] += 1;
        let checksum = crc32fast::hash(&newer[..HEADER - 8]);
        newer[HEADER - 8..HEADER - 4].copy_from_slice(&checksum.to_le_bytes());
        assert!(Backup::read(&newer) == Err(BackupError::Version(VERSION + 1)));
        for foreign in [&b"ext.101 = x\n"[..], &journal(), b"x", &[0; 1000]] {
            assert!(Backup::read(foreign) == Err(BackupError::Foreign));
            assert!(!Backup::begins(foreign));
        }
    }

    #[test]
    fn random_bodies_are_no_backups() {
        let mut random = 1u64;
        let mut octet = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        };
        for length in 0..3_000u64 {
            let body: Vec<u8> = (0..length % 300).map(|_| octet()).collect();
            for version in [WITHOUT_CERTIFICATE, VERSION] {
                assert!(Backup::read(&file_of(version, &body)) == Err(BackupError::Damaged), "{body:?}");
            }
        }
    }

    #[test]
    fn of_a_journal_is_copied_what_is_whole_and_no_call() {
        let folder = std::env::temp_dir().join(format!("denwa-{}-copy", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let copied = || copy(&folder).map(|found| found.map(|(octets, _)| octets));
        assert_eq!(copied().unwrap(), None);
        let call = |id| Kept { id, at: Instant(5), form: Octets::default() };
        let records = [
            Record::Secret(Secret([7; 32])),
            Record::Call(call(8)),
            Record::Invite(8, call(1)),
            Record::Locks(call(8)),
            Record::CallOver(8),
            Record::Unbound(3),
            Record::InviteGone(1),
            Record::CallGone(7),
        ];
        let expected = [&records[..1], &records[5..6], &[Record::Numbered(8)]].concat();
        for torn in 0..20 {
            fs::write(folder.join(NAME), [journal_of(&records), vec![9; torn]].concat()).unwrap();
            assert_eq!(copied().unwrap(), Some(journal_of(&expected)));
        }
        fs::write(folder.join(NAME), b"something else").unwrap();
        assert!(matches!(copied(), Err(OpenError::Unreadable { .. })));
        let mut newer = journal();
        newer[8] += 1;
        fs::write(folder.join(NAME), newer).unwrap();
        assert!(matches!(copied(), Err(OpenError::Version { .. })));

        put(&folder, NAME, Some(&journal()), Rights::PRIVATE).unwrap();
        assert_eq!(fs::read(folder.join(NAME)).unwrap(), journal());
        put(&folder, NAME, None, Rights::PRIVATE).unwrap();
        assert_eq!(copied().unwrap(), None);
        assert_eq!(fs::read(folder.join("journal.before-restore")).unwrap(), journal());
        fs::remove_dir_all(&folder).unwrap();
    }
}

//! What survives a crash: records, appended to the file `journal` of the state folder before anybody is
//! told what they say.
//!
//! ```text
//! let (journal, state) = Journal::open(…)?;    // what was recorded, and where to go on
//! journal.add(&record);                        // any number of records of one batch
//! journal.turn(now, |each| …);                 // one write; now the answers may leave
//! ```
//!
//! After `kill -9` all of it is there. After a power cut, at most the last `sync` is missing: by then a
//! thread has put on the disk what was written (file `disk`); nobody waits for it. A refresh is worth less, and
//! would wear out the disk: it waits for others, at most [`HOLD`], and meanwhile the grace of the record
//! before makes up for it.
//!
//! When the file has grown larger than 256 KiB and four times what is alive in it, all that is alive is
//! written to a new one, which takes its place in one step. So is it after any trouble with the disk: as
//! long as that lasts nothing is recorded, and the exchange goes on.
//!
//! | in the folder | |
//! |---|---|
//! | `journal` | the records (file `frame`) |
//! | `journal.new` | the next one, until it is whole |
//! | `journal.damaged` | what stood in the place of a journal and was none, or had whole records behind a damaged one |
//! | `journal.before-restore` | the one whose place was taken by that of a backup |
//! | `lock` | who has the folder: one process at a time |

pub mod backup;
mod disk;
mod frame;
mod lock;
mod record;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use disk::NAME;
pub use frame::{MAX_RECORD, VERSION};
pub use lock::{InUse, Lock, NoLock};
pub use record::{
    Address, Ban, Binding, Clocks, Flow, Kept, Octets, Record, Refresh, Secret, Spent, Term, Transport, Used,
};
pub use state::State;

use crate::atomic;
use crate::time::Instant;
use disk::{DAMAGED, Disk, Done, NEXT};
use frame::{Found, HEADER};
use record::Urgency;

/// Up to this size, in octets, a file is not worth being written anew.
const SMALL: u64 = 256 << 10;

/// Beyond so many times what is alive, it is.
const SLACK: u64 = 4;

/// How long records may wait that nothing depends on: each write, however short, costs the disk several
/// blocks.
pub const HOLD: Duration = Duration::from_secs(90);

/// How soon the journal is tried again after trouble.
const RETRY: Duration = Duration::from_secs(10);

/// How soon it is looked whether the disk has done its work.
const LOOK: Duration = Duration::from_millis(100);

/// A state folder's journal.
pub struct Journal {
    folder: PathBuf,
    /// How long a record may wait to be put on the disk.
    interval: Duration,
    /// What is appended to.
    file: Option<Appended>,
    /// What will take its place; it is appended to both.
    next: Option<Appended>,
    /// How large the journal is with nothing in it but what is alive, as far as that is known.
    alive: u64,
    /// When it is to be written anew, since there is none, or it cannot be relied on.
    anew: Option<Instant>,
    /// Whether what stands in its place has to be put aside before.
    is_in_the_way: bool,
    /// Whether people were told that nothing is recorded.
    has_failed: bool,
    batch: Vec<u8>,
    /// That of the most urgent record in the batch.
    urgency: Urgency,
    /// Since when the batch waits.
    held: Option<Instant>,
    /// Since when there is something in the file that is to be synced.
    unsynced: Option<Instant>,
    disk: Disk,
    /// When the disk was asked for something.
    asked: Instant,
    _lock: Option<Lock>,
}

/// A file, and how long it is.
struct Appended {
    file: Arc<File>,
    length: u64,
}

/// What people should know.
#[derive(Debug)]
pub enum News {
    /// Nothing is recorded from now on.
    Failed(io::Error),
    /// All is recorded again.
    Recovered,
}

/// Why a folder's journal cannot be used, and must not be replaced.
#[derive(Debug)]
pub enum OpenError {
    /// Another process uses the folder.
    InUse(InUse),
    /// The journal is of a version that this program does not know.
    Version {
        /// Where it is.
        path: PathBuf,
        /// Which.
        version: u32,
    },
    /// It has a record that is whole, and that this program does not know.
    Unknown {
        /// Where it is.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system has no room for a thread.
    Thread(io::Error),
}

impl std::error::Error for OpenError {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse(in_use) => in_use.fmt(f),
            OpenError::Version { path, version } => write!(
                f,
                "{} is of version {version}, and this denwa knows {VERSION}: start the newer denwa that wrote it, \
                 or remove the file, and phones have to register anew; it was left as it is",
                path.display()
            ),
            OpenError::Unknown { path } => write!(
                f,
                "{} has records that this denwa does not know: start the newer denwa that wrote them, or remove the \
                 file, and phones have to register anew; it was left as it is",
                path.display()
            ),
            OpenError::Unreadable { path, error } => {
                write!(f, "{} cannot be read: {error}; it was left as it is", path.display())
            }
            OpenError::Thread(error) => write!(f, "a thread cannot be started: {error}"),
        }
    }
}

/// What [`Journal::open`] gives back.
pub struct Opened {
    /// To go on with.
    pub journal: Journal,
    /// What was recorded, carried over to this process.
    pub state: State,
    /// What the clocks of this process say now: the one that only goes forward goes on where the process
    /// before has left it, so moments that it wrote down are moments of this one's as well.
    pub clocks: Clocks,
    /// What was wrong, and what was done about it, in sentences.
    pub notices: Vec<String>,
}

impl Journal {
    /// Takes a state folder, and reads its journal if there is one. `holder` is the process that others
    /// are to stop who want it; `interval` is how long a record may wait to be put on the disk; `wall` is
    /// what the clock on the wall says, in milliseconds since 1970.
    ///
    /// A torn tail is cut off. A file that is no journal, or in which whole records follow a damaged one, is put
    /// aside. Where nothing can be written, that is told by [`Journal::turn`], and tried again.
    ///
    /// # Errors
    ///
    /// Only where going on would destroy what is another's.
    pub fn open(folder: &Path, holder: u32, interval: Duration, wall: u64) -> Result<Opened, OpenError> {
        let lock = match Lock::take(folder, holder) {
            Ok(lock) => Some(lock),
            Err(NoLock::Held(holder)) => {
                return Err(OpenError::InUse(InUse { folder: folder.to_owned(), holder }));
            }
            // Where no file can be made, none can be damaged.
            Err(NoLock::Impossible) => None,
        };
        let path = folder.join(NAME);
        let mut state = State::default();
        let mut notices = Vec::new();
        let found = File::open(&path).and_then(|file| {
            let whole = file.metadata()?.len();
            Ok((frame::read(file, |record| state.apply(record))?, whole))
        });
        let mut is_current = true;
        let mut is_in_the_way = false;
        let mut aside = |what: String| {
            let (notice, is_done) = put_aside(folder, &what);
            notices.push(notice);
            is_in_the_way = !is_done;
        };
        let end = match found {
            Ok((Found::Records { end, is_old }, whole)) if end < whole => {
                is_current = !is_old;
                let (name, rest) = (path.display(), whole - end);
                match is_damaged(&path, end) {
                    Err(error) => return Err(OpenError::Unreadable { path, error }),
                    Ok(true) => {
                        aside(format!(
                            "{name} is damaged at byte {end}; what follows, {rest} bytes, is not used"
                        ));
                        None
                    }
                    Ok(false) => {
                        notices.push(format!(
                            "{name}: the last {rest} bytes are torn, and were cut off; {end} bytes are whole"
                        ));
                        Some(end)
                    }
                }
            }
            Ok((Found::Records { end, is_old }, _)) => {
                is_current = !is_old;
                Some(end)
            }
            Ok((Found::Version(version), _)) => return Err(OpenError::Version { path, version }),
            Ok((Found::Unknown, _)) => return Err(OpenError::Unknown { path }),
            Ok((Found::Foreign, whole)) => {
                aside(format!(
                    "{} ({whole} bytes) is no journal of denwa; phones have to register anew",
                    path.display()
                ));
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(OpenError::Unreadable { path, error }),
        };
        let disk = Disk::start(folder.to_owned()).map_err(OpenError::Thread)?;
        let file = end.and_then(|end| Appended::open(&path, end).ok());
        // Without a secret it holds nothing that counts.
        let is_sound = file.is_some() && state.secret.is_some() && is_current;
        let clocks = state.clocks(wall);
        let mut journal = Journal {
            folder: folder.to_owned(),
            interval,
            file,
            next: None,
            alive: HEADER as u64,
            anew: (!is_sound).then_some(clocks.now),
            is_in_the_way,
            has_failed: false,
            batch: Vec::new(),
            urgency: Urgency::Waits,
            held: None,
            unsynced: None,
            disk,
            asked: clocks.now,
            _lock: lock,
        };
        state.resume(clocks);
        journal.alive += state.bindings.values().map(frame::size).sum::<u64>();
        let forms = state.calls.values().chain(state.invites.values().map(|(_, form)| form));
        journal.alive += forms.map(|form| form.0.len() as u64).sum::<u64>();
        journal.add(&Record::Started(clocks));
        Ok(Opened { journal, state, clocks, notices })
    }

    /// Has everything written anew, since the file may say something else than what is so.
    pub fn write_anew(&mut self, now: Instant) {
        self.anew = Some(now);
    }

    /// How long a record may wait to be put on the disk.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Sets how long a record may wait to be put on the disk.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Whatever the file says, all that is alive is to be written anew: it is known from elsewhere.
    pub fn distrust(&mut self, now: Instant) {
        self.anew = Some(now);
    }

    /// Adds a record to the batch. One that is longer than [`MAX_RECORD`] is not recorded; nothing that
    /// comes by a datagram makes one.
    pub fn add(&mut self, record: &Record) {
        if frame::write(&mut self.batch, record) {
            self.urgency = self.urgency.max(record.urgency());
        }
    }

    /// Writes the batch, if there is one that does not wait, and does what is due. To be called before anybody is told what
    /// the records say, and at [`Journal::deadline`]. `snapshot` gives all records of what is alive, the
    /// effects of the batch included, if they are wanted.
    pub fn turn(&mut self, now: Instant, snapshot: impl FnOnce(&mut dyn FnMut(&Record))) -> Option<News> {
        let written = self.hear(now).and_then(|()| match self.wants_snapshot(now) {
            true => self.write(now).and_then(|()| self.begin_anew(now, snapshot)),
            false if self.holds(now) => Ok(()),
            false => self.write(now),
        });
        if let (Some(since), Some(appended), None) = (self.unsynced, &self.file, self.anew)
            && since + self.interval <= now
            && !self.disk.is_syncing
        {
            self.disk.sync(&appended.file);
            (self.unsynced, self.asked) = (None, now);
        }
        match written {
            Err(error) => {
                self.anew = Some(now + RETRY);
                self.has_failed = true;
                Some(News::Failed(error))
            }
            Ok(()) if self.has_failed && self.anew.is_none() => {
                self.has_failed = false;
                Some(News::Recovered)
            }
            Ok(()) => None,
        }
    }

    /// When [`Journal::turn`] has something to do, if nothing comes before.
    pub fn deadline(&self) -> Option<Instant> {
        let can_sync = self.anew.is_none() && !self.disk.is_syncing;
        let sync = self.unsynced.filter(|_| can_sync).map(|since| since + self.interval);
        let done = self.disk.is_busy().then_some(self.asked + LOOK);
        let anew = self.anew.filter(|_| !self.disk.is_replacing);
        let held = self.held.map(|since| since + HOLD);
        [sync, done, anew, held].into_iter().flatten().min()
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what is left and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn close(mut self, now: Instant) -> io::Result<()> {
        let written = self.write(now);
        self.disk.finish();
        let heard = self.hear(now);
        if let Some(Appended { file, .. }) = self.file {
            file.sync_data()?;
        }
        written.and(heard)
    }

    /// Whether what is in the batch waits.
    fn holds(&mut self, now: Instant) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let until = *self.held.get_or_insert(now) + HOLD;
        self.urgency == Urgency::Waits && now < until && self.batch.len() < MAX_RECORD
    }

    /// Appends the batch to the journal, and to the one that will take its place.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut written = Ok(());
        if let Some(file) = self.file.as_mut().filter(|_| self.anew.is_none()) {
            written = file.append(&self.batch);
        }
        if let Some(next) = &mut self.next
            && let Err(error) = next.append(&self.batch)
        {
            self.next = None;
            written = Err(error);
        }
        self.batch.clear();
        self.held = None;
        if std::mem::take(&mut self.urgency) == Urgency::Synced {
            self.unsynced.get_or_insert(now);
        }
        written
    }

    fn wants_snapshot(&self, now: Instant) -> bool {
        let length = self.file.as_ref().map_or(0, |file| file.length);
        let is_large = length > SMALL && length > SLACK * self.alive;
        !self.disk.is_replacing && self.anew.map_or(is_large, |due| due <= now)
    }

    /// Writes all that is alive to a new file, and has it take the place of the journal.
    fn begin_anew(&mut self, now: Instant, snapshot: impl FnOnce(&mut dyn FnMut(&Record))) -> io::Result<()> {
        if self.is_in_the_way {
            atomic::set_aside(&self.folder.join(NAME), &self.folder.join(DAMAGED))?;
            self.is_in_the_way = false;
        }
        let mut next = Appended::create(&self.folder.join(NEXT))?;
        let mut written = Ok(());
        let mut chunk = frame::header().to_vec();
        snapshot(&mut |record| {
            frame::write(&mut chunk, record);
            if chunk.len() > MAX_RECORD {
                if written.is_ok() {
                    written = next.append(&chunk);
                }
                chunk.clear();
            }
        });
        written.and_then(|()| next.append(&chunk))?;
        self.alive = next.length;
        if self.file.is_none() {
            // There is nothing to go on with meanwhile.
            disk::replace(&self.folder, &next.file)?;
            (self.file, self.anew, self.unsynced) = (Some(next), None, None);
            return Ok(());
        }
        self.disk.replace(&next.file);
        self.asked = now;
        self.next = Some(next);
        Ok(())
    }

    /// Hears what the disk has done.
    fn hear(&mut self, now: Instant) -> io::Result<()> {
        let mut heard = Ok(());
        while let Some(done) = self.disk.done() {
            match done {
                Done::Synced(Ok(())) => {}
                Done::Replaced(Ok(())) => {
                    if let Some(next) = self.next.take() {
                        (self.file, self.anew) = (Some(next), None);
                        // What was appended to both at the end may have been synced in the other one alone.
                        self.unsynced.get_or_insert(now);
                    }
                }
                Done::Synced(Err(error)) => heard = Err(error),
                Done::Replaced(Err(error)) => {
                    self.next = None;
                    heard = Err(error);
                }
            }
        }
        if self.disk.is_busy() {
            self.asked = self.asked.max(now);
        }
        heard
    }
}

impl Appended {
    /// Opens a file to go on at `end`; what is behind it goes.
    fn open(path: &Path, end: u64) -> io::Result<Appended> {
        let file = OpenOptions::new().append(true).open(path)?;
        if file.metadata()?.len() > end {
            file.set_len(end)?;
        }
        Ok(Appended { file: Arc::new(file), length: end })
    }

    /// Makes an empty one that only its owner may read; one that is there goes.
    fn create(path: &Path) -> io::Result<Appended> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Appended { file: Arc::new(file), length: 0 })
    }

    /// Appends all or nothing.
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        let written = (&*self.file).write_all(octets);
        match written {
            Ok(()) => self.length += octets.len() as u64,
            // So that the file is whole, should it be the last one; if that fails, its tail is torn.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }
}

/// Whether whole records follow the place at which a file cannot be read on; else its end is torn.
fn is_damaged(path: &Path, end: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(end))?;
    let mut rest = Vec::new();
    let beyond = frame::WINDOW as u64 + 1;
    file.take(beyond).read_to_end(&mut rest)?;
    // So much was never written at once: it is not the end that is torn.
    Ok(rest.len() > frame::WINDOW || frame::has_record(&rest))
}

/// Puts a file aside that stands in the place of the journal. A sentence about that, and whether it is done.
fn put_aside(folder: &Path, what: &str) -> (String, bool) {
    match atomic::set_aside(&folder.join(NAME), &folder.join(DAMAGED)) {
        Ok(()) => (format!("{what}; the file is kept as {DAMAGED}"), true),
        Err(error) => {
            (format!("{what}; the file will be kept as {DAMAGED}, which cannot be made yet: {error}"), false)
        }
    }
}

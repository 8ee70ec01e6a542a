//! What may take long: a thread that waits for the disk, so that nobody else has to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// The name of the file that is appended to.
pub const NAME: &str = "journal";

/// The name of the one that will replace it.
pub(super) const NEXT: &str = "journal.new";

/// The name that a file gets which is none of ours.
pub(super) const DAMAGED: &str = "journal.damaged";

/// At most one job of each kind is under way.
const JOBS: usize = 2;

/// The thread, and what is asked of it.
pub(super) struct Disk {
    /// `None` when nothing is asked any more.
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    /// Whether a file is being synced.
    pub(super) is_syncing: bool,
    /// Whether a file is being replaced.
    pub(super) is_replacing: bool,
}

/// Something to do.
pub(super) enum Job {
    /// What was written to a file has to be on the disk.
    Sync(Arc<File>),
    /// This file becomes the journal.
    Replace(Arc<File>),
}

/// What was done, and how it ended.
pub(super) enum Done {
    /// See [`Job`].
    Synced(io::Result<()>),
    /// See [`Job`].
    Replaced(io::Result<()>),
}

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no room for one.
    pub(super) fn start(folder: PathBuf) -> io::Result<Disk> {
        let (jobs, to_do) = sync_channel(JOBS);
        let (report, done) = sync_channel(JOBS);
        let work = move || {
            for job in to_do {
                let end = match job {
                    Job::Sync(file) => Done::Synced(file.sync_data()),
                    Job::Replace(file) => Done::Replaced(replace(&folder, &file)),
                };
                if report.send(end).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("denwa-journal".into()).stack_size(64 << 10).spawn(work)?;
        let thread = Some(thread);
        Ok(Disk { jobs: Some(jobs), done, thread, is_syncing: false, is_replacing: false })
    }

    /// One without a thread: what is asked of it is done, and told, by whoever has the other ends.
    #[cfg(test)]
    pub(super) fn by_hand() -> (Disk, Receiver<Job>, SyncSender<Done>) {
        let (jobs, to_do) = sync_channel(JOBS);
        let (report, done) = sync_channel(JOBS);
        let disk = Disk { jobs: Some(jobs), done, thread: None, is_syncing: false, is_replacing: false };
        (disk, to_do, report)
    }

    /// Whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_syncing || self.is_replacing
    }

    /// Has a file synced; nothing if one is.
    pub(super) fn sync(&mut self, file: &Arc<File>) {
        if !self.is_syncing {
            self.is_syncing = self.ask(Job::Sync(file.clone()));
        }
    }

    /// Has the journal replaced by a file that is called [`NEXT`]; nothing if it is being replaced.
    pub(super) fn replace(&mut self, file: &Arc<File>) {
        if !self.is_replacing {
            self.is_replacing = self.ask(Job::Replace(file.clone()));
        }
    }

    fn ask(&self, job: Job) -> bool {
        // There is room: one of each kind at most.
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// What was done since.
    pub(super) fn done(&mut self) -> Option<Done> {
        if !self.is_busy() {
            return None;
        }
        let done = self.done.try_recv().ok()?;
        match &done {
            Done::Synced(_) => self.is_syncing = false,
            Done::Replaced(_) => self.is_replacing = false,
        }
        Some(done)
    }

    /// Waits until all is done that was asked for, and asks for nothing more.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic.
            let _ = thread.join();
        }
    }
}

/// Makes the file that is called [`NEXT`] the journal: after a power cut there is one of the two, whole.
pub(super) fn replace(folder: &Path, file: &File) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(folder.join(NEXT), folder.join(NAME))?;
    // What came meanwhile may have been synced in the other file already.
    file.sync_data()?;
    File::open(folder)?.sync_all()
}

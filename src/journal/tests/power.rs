//! The power is cut: at each moment of a journal's life, with what was not synced there as far as any octet.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, SyncSender};

use super::super::disk::Job;
use super::super::frame::Found;
use super::*;

/// A file as it is on a disk that may lose its power.
#[derive(Default)]
struct OnDisk {
    content: Vec<u8>,
    /// So much of it stays whatever happens.
    synced: usize,
}

/// A journal whose disk is in the test's hands, and all that could be found after a power cut.
struct Life {
    folder: Folder,
    journal: Journal,
    jobs: Receiver<Job>,
    report: SyncSender<Done>,
    now: Instant,
    /// The journals that there were and the one that is written, the oldest first.
    files: Vec<OnDisk>,
    /// Which of them have the name: after a rename that is not synced, either.
    named: Vec<usize>,
    /// What was so after each record.
    states: Vec<State>,
    /// The first of these that may be found.
    promised: usize,
    /// In how many ways the power was cut.
    cuts: usize,
}

impl Life {
    fn begin(name: &str) -> Life {
        let folder = Folder::new(name);
        let mut journal = folder.open().journal;
        let (disk, jobs, report) = Disk::by_hand();
        std::mem::replace(&mut journal.disk, disk).finish();
        let mut state = State::default();
        assert!(journal.turn(Instant(0), snapshot(0..2)).is_none());
        snapshot(0..2)(&mut |record| state.apply(record.clone()));
        let content = fs::read(folder.path(NAME)).unwrap();
        let file = OnDisk { synced: content.len(), content };
        fs::hard_link(folder.path(NAME), folder.path("file-0")).unwrap();
        let (files, named) = (vec![file], vec![0]);
        let (states, now) = (vec![state], Instant(0));
        Life { folder, journal, jobs, report, now, files, named, states, promised: 0, cuts: 0 }
    }

    /// What is so now.
    fn state(&self) -> &State {
        self.states.last().unwrap()
    }

    /// These records are written, or wait.
    fn batch(&mut self, records: &[Record]) {
        for record in records {
            self.journal.add(record);
            let mut state = self.state().clone();
            state.apply(record.clone());
            self.states.push(state);
        }
        self.turn();
    }

    fn turn(&mut self) {
        self.now.0 += 10;
        let alive = self.state().clone();
        let news = self.journal.turn(self.now, |each| {
            each(&Record::Secret(alive.secret.unwrap()));
            each(&Record::Clock(CLOCKS));
            alive.bindings.into_values().for_each(|binding| each(&Record::Bound(Box::new(binding))));
            each(&Record::Numbered(alive.numbered));
            alive.bans.into_values().for_each(|ban| each(&Record::Banned(ban)));
            let kept = |id, form| Kept { id, at: Instant(0), form };
            alive.calls.into_iter().for_each(|(id, form)| each(&Record::Call(kept(id, form))));
            alive.over.into_iter().for_each(|id| each(&Record::CallOver(id)));
            alive.locks.into_iter().for_each(|(id, form)| each(&Record::Locks(kept(id, form))));
            alive
                .invites
                .into_iter()
                .for_each(|(id, (call, form))| each(&Record::Invite(call, kept(id, form))));
        });
        assert!(news.is_none(), "{news:?}");
        let newest = fs::metadata(self.path(self.files.len() - 1)).unwrap().ino();
        if fs::metadata(self.folder.path(NEXT)).is_ok_and(|next| next.ino() != newest) {
            fs::hard_link(self.folder.path(NEXT), self.path(self.files.len())).unwrap();
            self.files.push(OnDisk::default());
        }
        // Each file has become longer by what was appended to it.
        for at in 0..self.files.len() {
            let content = fs::read(self.path(at)).unwrap();
            assert!(content.starts_with(&self.files[at].content), "what is written stays");
            self.files[at].content = content;
        }
        self.cut();
    }

    fn path(&self, file: usize) -> PathBuf {
        self.folder.path(&format!("file-{file}"))
    }

    /// The disk does what it is asked to sync: what had been written by then counts as promised.
    fn sync(&mut self) {
        self.now = self.now + SECOND;
        self.turn();
        let Ok(Job::Sync(_)) = self.jobs.try_recv() else { panic!("nothing is to be synced") };
        let (at, written) = (self.named[0], self.states.len() - 1);
        assert_eq!(self.named.len(), 1);
        self.synced(at);
        self.promised = written;
        self.report.send(Done::Synced(Ok(()))).unwrap();
        self.turn();
    }

    fn synced(&mut self, file: usize) {
        self.files[file].synced = self.files[file].content.len();
        self.cut();
    }

    /// The journal is written anew, and between all that the disk does for that, more comes.
    fn replace(&mut self, mut more: impl FnMut(&mut Life)) {
        self.journal.write_anew(self.now);
        self.turn();
        let Ok(Job::Replace(_)) = self.jobs.try_recv() else { panic!("nothing is to be replaced") };
        let (old, new) = (self.files.len() - 2, self.files.len() - 1);
        more(self);
        // As `disk::replace` does it.
        self.synced(new);
        more(self);
        fs::rename(self.folder.path(NEXT), self.folder.path(NAME)).unwrap();
        self.named = vec![old, new];
        self.cut();
        more(self);
        self.synced(new);
        more(self);
        self.named = vec![new];
        self.cut();
        more(self);
        self.report.send(Done::Replaced(Ok(()))).unwrap();
        self.turn();
        more(self);
    }

    /// The power is cut now: whatever is found loads, and is what was so between what was promised and now.
    fn cut(&mut self) {
        for &file in &self.named {
            let OnDisk { content, synced } = &self.files[file];
            for length in *synced..=content.len() {
                let mut found = State::default();
                let whole = frame::read(&content[..length], |record| found.apply(record)).unwrap();
                assert!(matches!(whole, Found::Records { is_old: false, .. }), "{whole:?} at {length}");
                self.is_one_of_them(&found, length);
                // Some file systems have the length, but not yet the octets.
                let mut zeros = State::default();
                let tail = content[..length].chain(std::io::repeat(0).take((content.len() - length) as u64));
                frame::read(tail, |record| zeros.apply(record)).unwrap();
                self.is_one_of_them(&zeros, length);
                self.cuts += 1;
            }
            self.goes_on(content, *synced);
        }
    }

    fn is_one_of_them(&self, found: &State, length: usize) {
        let may_be = &self.states[self.promised..];
        let is_same = |state: &&State| {
            (&state.secret, &state.bindings, &state.calls, &state.over, &state.locks)
                == (&found.secret, &found.bindings, &found.calls, &found.over, &found.locks)
                && (&state.invites, state.numbered, &state.bans)
                    == (&found.invites, found.numbered, &found.bans)
        };
        assert!(may_be.iter().any(|state| is_same(&state)), "at {length}: {found:#?}");
    }

    /// The next process finds a torn file, and half of one that was to take its place; and one after it finds
    /// what that process has added.
    fn goes_on(&self, content: &[u8], synced: usize) {
        let folder = Folder::new("power-next");
        let length = synced + (content.len() - synced) * 2 / 3;
        fs::write(folder.path(NAME), &content[..length]).unwrap();
        fs::write(folder.path(NEXT), &content[..length / 2]).unwrap();
        let Opened { mut journal, state, .. } = folder.open();
        journal.add(&bound(77));
        assert!(journal.turn(Instant(0), none).is_none());
        journal.close(Instant(1)).unwrap();
        let Opened { state: after, notices, .. } = folder.open();
        assert!(notices.is_empty(), "{notices:?}");
        let mut expected = ids(&state);
        expected.push(77);
        assert_eq!(ids(&after), expected);
    }
}

fn kept(id: u64, form: &str) -> Kept {
    Kept { id, at: Instant(0), form: form.as_bytes().into() }
}

#[test]
fn a_power_cut_at_any_octet_of_a_life_loses_what_was_not_promised_and_no_more() {
    let mut life = Life::begin("power");
    life.batch(&[bound(2)]);
    life.batch(&[Record::Numbered(1), Record::Call(kept(1, "a call that rings"))]);
    life.batch(&[Record::Invite(1, kept(7, "its INVITE"))]);
    life.sync();
    life.batch(&[Record::Call(kept(1, "a call that was answered")), Record::Locks(kept(1, "who speaks"))]);
    life.batch(&[bound(3), Record::Unbound(0)]);
    life.sync();
    life.batch(&[Record::InviteGone(7), Record::CallOver(1)]);
    let mut id = 10;
    life.replace(|life| {
        life.batch(&[bound(id), Record::Call(kept(id, "another call"))]);
        id += 1;
    });
    life.sync();
    life.batch(&[Record::CallGone(1), Record::Unbound(2)]);
    let ban = Ban { source: 3, failures: Some(30), at: Instant(0), until: Instant(9_999_999) };
    life.batch(&[Record::Banned(ban)]);
    life.replace(|life| life.batch(&[Record::Unbound(10), bound(10)]));
    life.batch(&[Record::Heard(3, false), Record::CallGone(10)]);
    life.sync();
    println!("{} records, {} power cuts", life.states.len() - 1, life.cuts);
    assert!(life.cuts > 3_000);
}

#[test]
fn what_came_while_it_was_written_anew_is_synced_afterwards() {
    let mut life = Life::begin("power-late");
    life.batch(&[bound(2)]);
    life.sync();
    life.replace(|_| {});
    // Nothing has come since, but the last of what came may have been synced in the old one alone.
    assert_eq!(life.journal.deadline(), Some(life.now + SECOND));
}

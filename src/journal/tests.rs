//! What a folder with a journal goes through.

mod forms;
mod power;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const WALL: u64 = 1_790_000_000_000;
const CLOCKS: Clocks = Clocks { now: Instant(0), wall: WALL };
const SECOND: Duration = Duration::from_secs(1);

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("denwa-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn open(&self) -> Opened {
        self.try_open().unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_open(&self) -> Result<Opened, OpenError> {
        Journal::open(&self.0, 4711, SECOND, WALL)
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bound(id: u64) -> Record {
    let remote = SocketAddr::from(([192, 0, 2, 1], 5060)).into();
    Record::Bound(Box::new(Binding {
        id,
        number: "101".into(),
        uri: (&b"sip:101@192.0.2.1:5060;transport=udp"[..]).into(),
        params: Octets::default(),
        device: Some(((&b"\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\""[..]).into(), 1)),
        path: Octets::default(),
        q: 1000,
        flow: Flow { transport: Transport::Udp, local: remote, remote },
        behind_nat: false,
        call_id: (&b"3848276298220188511@192.0.2.1"[..]).into(),
        term: Term::new(1, Instant(0), 3600 * SECOND, 1800 * SECOND),
    }))
}

fn refreshed(id: u64, cseq: u32) -> Record {
    let term = Term::new(cseq, Instant(1_000_000), 3600 * SECOND, 1800 * SECOND);
    Record::Refreshed(Refresh { id, term })
}

/// An exchange with so many bindings.
fn snapshot(bindings: std::ops::Range<u64>) -> impl FnOnce(&mut dyn FnMut(&Record)) {
    move |each| {
        each(&Record::Secret(Secret([7; 32])));
        each(&Record::Clock(CLOCKS));
        bindings.for_each(|id| each(&bound(id)));
    }
}

fn none(_: &mut dyn FnMut(&Record)) {
    panic!("nobody wants a snapshot");
}

/// A folder with a journal of five bindings, of which three are left.
fn used(name: &str) -> Folder {
    let folder = Folder::new(name);
    let mut journal = folder.open().journal;
    assert!(journal.turn(Instant(0), snapshot(0..2)).is_none());
    for record in [bound(2), bound(3), Record::Unbound(1), bound(4), Record::Unbound(3)] {
        journal.add(&record);
        assert!(journal.turn(Instant(1), none).is_none());
    }
    journal.close(Instant(2)).unwrap();
    folder
}

fn ids(state: &State) -> Vec<u64> {
    state.bindings.keys().copied().collect()
}

#[test]
fn what_is_written_is_there_for_the_next_one() {
    let folder = used("next");
    for _ in 0..3 {
        let Opened { journal, state, notices, .. } = folder.open();
        assert_eq!((ids(&state), state.secret), (vec![0, 2, 4], Some(Secret([7; 32]))));
        assert!(notices.is_empty());
        journal.close(Instant(0)).unwrap();
    }
    assert_eq!(folder.files(), ["journal", "lock"]);
    for name in folder.files() {
        let mode = fs::metadata(folder.path(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn cut_off_at_any_octet_it_loads() {
    let folder = used("cut");
    let whole = fs::read(folder.path(NAME)).unwrap();
    let mut numbers = Vec::new();
    for length in 0..=whole.len() {
        fs::write(folder.path(NAME), &whole[..length]).unwrap();
        let Opened { mut journal, state, notices, .. } = folder.open();
        numbers.push(state.bindings.len());
        let said: usize = notices
            .iter()
            .filter_map(|notice| notice.split("the last ").nth(1)?.split(' ').next()?.parse::<usize>().ok())
            .sum();
        assert!(said < whole.len() && notices.len() <= 1, "{notices:?}");
        // It goes on from there, and the next one finds that too.
        journal.add(&bound(77));
        assert!(journal.turn(Instant(0), snapshot(77..78)).is_none());
        journal.close(Instant(1)).unwrap();
        let Opened { state: after, notices, .. } = folder.open();
        assert!(after.bindings.contains_key(&77) && notices.is_empty(), "{length}: {notices:?}");
        if state.secret.is_some() {
            assert_eq!(after.bindings.len(), state.bindings.len() + 1, "{length}");
        }
    }
    numbers.dedup();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 3, 4, 3], "as many as there were at some time");
}

#[test]
fn one_that_was_not_finished_does_not_count() {
    let folder = used("unfinished");
    let half = fs::read(folder.path(NAME)).unwrap();
    fs::write(folder.path(NEXT), &half[..half.len() / 2]).unwrap();
    let Opened { mut journal, state, .. } = folder.open();
    assert_eq!(ids(&state), [0, 2, 4]);
    // As after trouble: it is written anew, over what is left of the last time.
    journal.anew = Some(Instant(0));
    assert!(journal.turn(Instant(0), snapshot(5..7)).is_none());
    assert_eq!(ids(&reopened(journal, &folder)), [5, 6]);
    assert_eq!(folder.files(), ["journal", "lock"]);
}

#[test]
fn what_is_no_journal_is_put_aside() {
    let folder = Folder::new("foreign");
    for octets in [&b""[..], b"\x7fELF", &[0; 5_000], b"denwa, but not quite"] {
        fs::write(folder.path(NAME), octets).unwrap();
        let Opened { mut journal, state, notices, .. } = folder.open();
        assert_eq!(state.bindings.len(), 0);
        assert!(notices[0].contains("is no journal of denwa"), "{notices:?}");
        assert_eq!(fs::read(folder.path(DAMAGED)).unwrap(), octets);
        assert!(journal.turn(Instant(0), snapshot(0..1)).is_none());
        assert_eq!(ids(&reopened(journal, &folder)), [0]);
    }
}

#[test]
fn one_that_is_damaged_in_the_middle_is_kept_and_what_is_before_is_used() {
    let folder = used("damaged");
    let whole = fs::read(folder.path(NAME)).unwrap();
    let mut numbers = Vec::new();
    for at in HEADER..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(folder.path(NAME), &damaged).unwrap();
        let _ = fs::remove_file(folder.path(DAMAGED));
        let Opened { mut journal, state, notices, .. } = folder.open();
        numbers.push(state.bindings.len());
        match &notices[..] {
            [notice] if notice.contains("is damaged at byte ") => {
                assert!(notice.contains("the file is kept as journal.damaged"), "{notice}");
                assert_eq!(fs::read(folder.path(NAME)).unwrap(), damaged);
                assert_eq!(fs::read(folder.path(DAMAGED)).unwrap(), damaged);
            }
            // Nothing follows, and that cannot be told from a torn end.
            [notice] if notice.contains(" are torn, and were cut off") => {
                assert!(!folder.path(DAMAGED).exists());
                numbers.pop();
            }
            other => panic!("{at}: {other:?}"),
        }
        assert!(journal.turn(Instant(0), snapshot(70..72)).is_none());
        assert_eq!(ids(&reopened(journal, &folder)).contains(&70), folder.path(DAMAGED).exists(), "{at}");
    }
    numbers.dedup();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 3]);
}

#[test]
fn what_cannot_be_put_aside_is_not_replaced() {
    let folder = Folder::new("stuck");
    // Nothing can take the place of a folder that is not empty.
    fs::create_dir_all(folder.path(DAMAGED).join("x")).unwrap();
    fs::write(folder.path(NAME), b"mine").unwrap();
    let Opened { mut journal, notices, .. } = folder.open();
    assert!(notices[0].contains("which cannot be made yet"), "{notices:?}");
    assert!(matches!(journal.turn(Instant(0), snapshot(0..1)), Some(News::Failed(_))));
    assert_eq!(fs::read(folder.path(NAME)).unwrap(), b"mine");
    fs::remove_dir_all(folder.path(DAMAGED)).unwrap();
    assert!(matches!(journal.turn(Instant(20_000), snapshot(0..1)), Some(News::Recovered)));
    assert_eq!(fs::read(folder.path(DAMAGED)).unwrap(), b"mine");
    assert_eq!(ids(&reopened(journal, &folder)), [0]);
}

#[test]
fn an_unknown_version_is_left_untouched() {
    let folder = used("version");
    let mut octets = fs::read(folder.path(NAME)).unwrap();
    octets[8..12].copy_from_slice(&9_u32.to_le_bytes());
    fs::write(folder.path(NAME), &octets).unwrap();
    let error = folder.try_open().err().unwrap().to_string();
    assert!(error.contains("is of version 9, and this denwa knows 2"), "{error}");
    assert_eq!(fs::read(folder.path(NAME)).unwrap(), octets);
}

#[test]
fn the_second_is_refused_and_told_who_is_first() {
    let folder = Folder::new("second");
    let first = folder.open();
    let error = folder.try_open().err().unwrap().to_string();
    assert!(error.contains("denwa runs already as process 4711 (state folder "), "{error}");
    drop(first);
    folder.open();
}

/// The state that the next one finds.
fn reopened(journal: Journal, folder: &Folder) -> State {
    journal.close(Instant(0)).unwrap();
    folder.open().state
}

#[test]
fn it_is_written_anew_when_it_is_large_and_mostly_dead() {
    let folder = Folder::new("anew");
    const ROUNDS: u32 = 80_000;
    let mut journal = folder.open().journal;
    assert!(journal.turn(Instant(0), snapshot(0..10)).is_none());
    let (mut largest, mut snapshots) = (0, 0);
    for round in 1..=ROUNDS.into() {
        let Record::Refreshed(refresh) = refreshed(round % 10, round as u32) else { panic!() };
        journal.add(&Record::Extended(refresh));
        let taken = std::cell::Cell::new(false);
        let news = journal.turn(Instant(round), |each| {
            taken.set(true);
            snapshot(0..10)(each);
            (0..10).for_each(|id| each(&refreshed(id, round as u32)));
        });
        assert!(news.is_none());
        snapshots += usize::from(taken.get());
        largest = largest.max(fs::metadata(folder.path(NAME)).unwrap().len());
        if journal.disk.is_replacing {
            // It would take its time, and all goes on meanwhile.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    println!("{snapshots} snapshots, at most {largest} bytes");
    assert!(snapshots >= 3 && largest < 2 * SMALL, "{snapshots} {largest}");
    let state = reopened(journal, &folder);
    assert_eq!(ids(&state), (0..10).collect::<Vec<_>>());
    let newest = state.bindings.values().map(|binding| binding.term.cseq).max();
    assert_eq!(newest, Some(ROUNDS), "what came during a replacement is there as well");
    assert_eq!(folder.files(), ["journal", "lock"]);
}

#[test]
fn trouble_is_told_and_ends() {
    let folder = Folder::new("trouble");
    // Nothing can be created by that name.
    fs::create_dir_all(folder.path(NEXT).join("x")).unwrap();
    let mut journal = folder.open().journal;
    assert!(matches!(journal.turn(Instant(0), snapshot(0..3)), Some(News::Failed(_))));
    journal.add(&bound(3));
    assert!(journal.turn(Instant(1), none).is_none());
    assert_eq!(journal.deadline(), Some(Instant(10_000)));
    assert!(matches!(journal.turn(Instant(10_000), snapshot(0..4)), Some(News::Failed(_))));
    fs::remove_dir_all(folder.path(NEXT)).unwrap();
    assert!(journal.turn(Instant(10_001), none).is_none());
    assert!(matches!(journal.turn(Instant(20_000), snapshot(0..4)), Some(News::Recovered)));
    assert_eq!(ids(&reopened(journal, &folder)), [0, 1, 2, 3]);
}

#[test]
fn what_cannot_be_appended_is_in_the_next_snapshot() {
    let folder = used("append");
    let mut journal = folder.open().journal;
    assert!(journal.turn(Instant(0), none).is_none());
    // As when the disk is full, or was mounted anew: nothing can be written by this descriptor.
    let length = journal.file.as_ref().map(|file| file.length).unwrap();
    let file = std::sync::Arc::new(File::open(folder.path(NAME)).unwrap());
    journal.file = Some(Appended { file, length });
    journal.add(&bound(5));
    assert!(matches!(journal.turn(Instant(1), none), Some(News::Failed(_))));
    let before = fs::read(folder.path(NAME)).unwrap();
    journal.add(&bound(6));
    assert!(journal.turn(Instant(2), none).is_none());
    assert!(journal.turn(Instant(10_001), snapshot(0..7)).is_none());
    journal.add(&bound(7));
    assert!(journal.turn(Instant(10_002), none).is_none());
    assert!(
        fs::read(folder.path(NAME)).unwrap().starts_with(&before),
        "what is there stays until it is whole"
    );
    wait(&mut journal, |journal| !journal.disk.is_busy());
    assert_eq!(ids(&reopened(journal, &folder)), (0..8).collect::<Vec<_>>());
}

#[test]
fn only_news_are_synced_and_refreshes_wait() {
    let folder = used("sync");
    let mut journal = folder.open().journal;
    assert!(journal.turn(Instant(0), none).is_none());
    assert_eq!(journal.deadline(), Some(Instant(1_000)), "that it has started");
    assert!(journal.turn(Instant(1_000), none).is_none());
    assert!(journal.disk.is_syncing);
    wait(&mut journal, |journal| !journal.disk.is_busy());
    assert_eq!(journal.deadline(), None);
    let length = || fs::metadata(folder.path(NAME)).unwrap().len();
    let before = length();
    journal.add(&refreshed(2, 2));
    assert!(journal.turn(Instant(2_000), none).is_none());
    assert_eq!((journal.deadline(), length()), (Some(Instant(92_000)), before), "it waits");
    let Record::Refreshed(refresh) = refreshed(2, 3) else { panic!() };
    journal.add(&Record::Extended(refresh));
    assert!(journal.turn(Instant(2_100), none).is_none());
    assert!(length() > before && journal.deadline().is_none(), "both are written, and not synced");
    journal.add(&refreshed(2, 4));
    let before = length();
    assert!(journal.turn(Instant(2_200), none).is_none());
    assert!(journal.turn(Instant(92_199), none).is_none());
    assert_eq!(length(), before);
    assert!(journal.turn(Instant(92_200), none).is_none());
    assert!(length() > before && journal.deadline().is_none());
    journal.add(&Record::Unbound(2));
    assert!(journal.turn(Instant(93_000), none).is_none());
    assert_eq!(journal.deadline(), Some(Instant(94_000)));
    assert!(!journal.disk.is_syncing);
}

fn wait(journal: &mut Journal, is_over: impl Fn(&Journal) -> bool) {
    for _ in 0..1_000 {
        if is_over(journal) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
        assert!(!matches!(journal.turn(Instant(10_100), none), Some(News::Failed(_))));
    }
    panic!("the disk does not end");
}

#[test]
fn a_folder_that_is_not_there_is_trouble_and_no_more() {
    let Opened { mut journal, state, .. } =
        Journal::open(Path::new("/proc/nothing"), 1, SECOND, WALL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(state.bindings.len(), 0);
    assert!(matches!(journal.turn(Instant(0), snapshot(0..1)), Some(News::Failed(_))));
    journal.close(Instant(1)).unwrap();
}

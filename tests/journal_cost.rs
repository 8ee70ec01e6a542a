//! What it costs that registrations survive: processor time for each, and the time until all are back. For
//! figures that mean something:
//!
//! ```text
//! cargo test --release --test journal_cost -- --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use denwa::config::{Config, Extension, Number, Password};
use denwa::journal::{
    Binding, Clocks, Flow, Journal, Octets, Opened, Record, Refresh, Secret, State, Term, Transport,
};
use denwa::switch::{Instant as Moment, Switch};
use rustix::time::{ClockId, clock_gettime};

const SECOND: Duration = Duration::from_secs(1);
const CLOCKS: Clocks = Clocks { now: Moment(0), wall: 1_790_000_000_000 };

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn open(&self) -> Opened {
        Journal::open(&self.0, 1, SECOND, CLOCKS.wall).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn number(id: u64) -> String {
    format!("{}", 1_000 + id % 1_000)
}

fn bound(id: u64) -> Record {
    let at = |port: u64| SocketAddr::from(([198, 51, 100, 7], port as u16)).into();
    Record::Bound(Box::new(Binding {
        id,
        number: number(id).into(),
        uri: format!("sip:{}@198.51.100.7:{};transport=udp", number(id), 1024 + id).as_bytes().into(),
        params: (&b";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\";reg-id=1"[..]).into(),
        device: Some((format!("<urn:uuid:00000000-0000-1000-8000-{id:012}>").as_bytes().into(), 1)),
        path: Octets::default(),
        q: 1000,
        flow: Flow { transport: Transport::Udp, local: at(5060), remote: at(1024 + id) },
        behind_nat: false,
        call_id: format!("{id:x}-385a8374-2b6e-4e3a@198.51.100.7").as_bytes().into(),
        term: Term::new(1, Moment(0), 3600 * SECOND, 1800 * SECOND),
    }))
}

fn refreshed(id: u64, cseq: u64) -> Record {
    Record::Extended(Refresh {
        id,
        term: Term::new(cseq as u32, Moment(1_000_000 + cseq), 3600 * SECOND, 1800 * SECOND),
    })
}

/// The processor time of this thread.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time of one of so many records, which are written in batches.
fn cost(journal: &mut Journal, batch: u64, count: u64, record: impl Fn(u64) -> Record) -> Duration {
    // Made before: in the exchange they are made by who would otherwise do nothing with them.
    let records: Vec<Record> = (0..count).map(record).collect();
    let begin = used();
    for (at, records) in records.chunks(batch as usize).enumerate() {
        records.iter().for_each(|record| journal.add(record));
        let news = journal.turn(Moment(at as u64), |each| {
            each(&Record::Secret(Secret([7; 32])));
            (0..50).for_each(|id| each(&bound(id)));
        });
        assert!(news.is_none(), "{news:?}");
    }
    (used() - begin) / count as u32
}

#[test]
fn what_a_record_costs() {
    for batch in [1, 8, 64] {
        let folder = Folder::new(&format!("cost-{batch}"));
        let mut journal = folder.open().journal;
        let refresh = cost(&mut journal, batch, 50_000, |n| refreshed(n % 50, n));
        let new = cost(&mut journal, batch, 20_000, |n| bound(n % 50));
        println!(
            "in batches of {batch}: {refresh:?} for a refresh that is written, {new:?} for a new binding"
        );
        // A hundred times what it is.
        assert!(refresh < Duration::from_micros(500) && new < Duration::from_millis(1));
        journal.close(Moment(0)).unwrap();
    }
}

#[test]
fn ten_thousand_phones_are_back_soon() {
    const PHONES: u64 = 10_000;
    let folder = Folder::new("replay");
    let mut journal = folder.open().journal;
    let news = journal.turn(Moment(0), |each| {
        each(&Record::Secret(Secret([7; 32])));
        each(&Record::Clock(CLOCKS));
        (0..PHONES).for_each(|id| each(&bound(id)));
    });
    assert!(news.is_none());
    (0..PHONES).for_each(|id| journal.add(&refreshed(id, 2)));
    assert!(journal.turn(Moment(1_000_002), |_| {}).is_none());
    journal.close(Moment(1_000_002)).unwrap();

    let mut config = Config::default();
    for id in 0..1_000 {
        let mut extension = Extension::new(Password::new("a-long-password"));
        extension.max_contacts = 32;
        config.extensions.insert(Number::new(&number(id)).unwrap(), extension);
    }
    let begin = Instant::now();
    let Opened { journal, state, clocks, notices } = folder.open();
    let read = begin.elapsed();
    let restored = state.bindings.clone();
    let begin = begin + (begin.elapsed() - read);
    let switch = Switch::restore(config, [8; 32], state, clocks, &[]);
    let all = begin.elapsed();
    let size = fs::metadata(folder.0.join("journal")).unwrap().len();
    println!("{PHONES} bindings, {} KiB: read after {read:?}, with timers and all after {all:?}", size >> 10);
    assert!(notices.is_empty());
    let mut held = State::default();
    switch.snapshot(&mut |record| held.apply(record.clone()));
    assert_eq!(held.bindings, restored);
    assert_eq!(held.bindings.len() as u64, PHONES);
    assert!(all < 40 * Duration::from_millis(50), "{all:?}");
    drop(journal);
}

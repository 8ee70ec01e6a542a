//! What it costs that registrations and calls survive: processor time for each, and the time until all are
//! back. For figures that mean something:
//!
//! ```text
//! cargo test --release --test journal_cost -- --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used)]

mod call;
#[path = "../credentials/mod.rs"]
mod credentials;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use denwa::config::{Config, Extension, Number, Password, PortRange, Rate};
use denwa::journal::{
    Binding, Clocks, Flow, Journal, Octets, Opened, Record, Refresh, Secret, State, Term, Transport,
};
use denwa::switch::{Instant as Moment, Switch};
use rustix::time::{ClockId, clock_gettime};

use call::{Town, address};

const SECOND: Duration = Duration::from_secs(1);
const CLOCKS: Clocks = Clocks { now: Moment(0), wall: 1_790_000_000_000 };

const PASSWORD: &str = "a-long-password";

/// From here on each phone has an extension of its own.
const ALONE: u64 = 9_000;

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

/// The extension of a phone: ten have one together.
fn number(id: u64) -> String {
    let number = if id < ALONE { 1_000 + id % (ALONE / 10) } else { id };
    number.to_string()
}

/// An exchange that lets phones do what they like.
fn config() -> Config {
    let plenty = Rate(1_000_000);
    let mut config = Config {
        ban: None,
        rate_stranger: plenty,
        rate_strangers: plenty,
        rate_phone: plenty,
        media_ports: PortRange { first: 20_000, last: 29_999 },
        ..Config::default()
    };
    for id in (0..ALONE / 10).chain(ALONE..10_000) {
        let mut extension = Extension::new(Password::new(PASSWORD));
        extension.max_contacts = 32;
        (extension.max_calls, extension.max_calls_hour) = (u16::MAX, u32::MAX);
        config.extensions.insert(Number::new(&number(id)).unwrap(), extension);
    }
    config
}

fn bound(id: u64) -> Record {
    let local = SocketAddr::from(([192, 0, 2, 1], 5060)).into();
    Record::Bound(Box::new(Binding {
        id,
        number: number(id).into(),
        uri: format!("sip:{}@{};transport=udp", number(id), address(id)).as_bytes().into(),
        params: (&b";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\";reg-id=1"[..]).into(),
        device: Some((format!("<urn:uuid:00000000-0000-1000-8000-{id:012}>").as_bytes().into(), 1)),
        path: Octets::default(),
        q: 1000,
        flow: Flow { transport: Transport::Udp, local, remote: address(id).into() },
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
    write(journal, records.chunks(batch as usize)) / count as u32
}

/// The processor time of these batches.
fn write<'a>(journal: &mut Journal, batches: impl Iterator<Item = &'a [Record]>) -> Duration {
    let begin = used();
    for (at, records) in batches.enumerate() {
        records.iter().for_each(|record| journal.add(record));
        let news = journal.turn(Moment(at as u64), |each| {
            each(&Record::Secret(Secret([7; 32])));
            (0..50).for_each(|id| each(&bound(id)));
        });
        assert!(news.is_none(), "{news:?}");
    }
    used() - begin
}

/// A town with all phones of an extension of their own, which are a thousand.
fn town() -> Town {
    let mut state = State::default();
    (ALONE..10_000).for_each(|id| state.apply(bound(id)));
    state.resume(CLOCKS);
    Town::new(Switch::restore(config(), [8; 32], state, CLOCKS, &[]), CLOCKS.now)
}

#[test]
fn what_a_call_costs() {
    const ROUNDS: u64 = 400;
    /// Calls whose records are written together.
    const TOGETHER: u64 = 10;
    let mut town = town();
    town.forget();
    town.batches.clear();
    let talk = town.call(ALONE, ALONE + 500);
    town.hang_up(&talk);
    town.forget();
    let one: Vec<Record> = town.batches.concat();
    let mut names: Vec<String> = Vec::new();
    for record in &one {
        let text = format!("{record:?}");
        names.push(text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned());
    }
    let folder = Folder::new("call");
    let mut journal = folder.open().journal;
    let length = || fs::metadata(folder.0.join("journal")).map_or(0, |file| file.len());
    write(&mut journal, std::iter::once(&one[..1]));
    let before = length();
    write(&mut journal, std::iter::once(&one[..]));
    println!("{} records of a call, {} bytes: {}", one.len(), length() - before, names.join(" "));

    // Each input alone, and as they come in batches under load; written while they are fresh, as the exchange does.
    let (mut played, mut alone, mut batched) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        town.batches.clear();
        let begin = used();
        for n in (0..TOGETHER).map(|n| round * TOGETHER + n) {
            let talk = town.call(ALONE + n % 500, ALONE + 500 + n % 500);
            town.hang_up(&talk);
        }
        played += used() - begin;
        match round % 2 {
            0 => alone += write(&mut journal, town.batches.iter().map(Vec::as_slice)),
            _ => batched += write(&mut journal, town.batches.concat().chunks(64)),
        }
        if round % 50 == 49 {
            town.forget();
        }
    }
    let calls = (ROUNDS * TOGETHER) as u32;
    let (played, alone, batched) = (played / calls, alone / (calls / 2), batched / (calls / 2));
    println!(
        "{alone:?} for a call whose records are written one by one, {batched:?} in batches; all of a call with \
         phones and proofs {played:?}"
    );
    assert!(batched < Duration::from_millis(1));
    journal.close(Moment(0)).unwrap();
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
fn ten_thousand_phones_and_five_hundred_calls_are_back_soon() {
    const PHONES: u64 = 10_000;
    const CALLS: u64 = 500;
    let mut town = town();
    (0..CALLS).for_each(|n| drop(town.call(ALONE + n, ALONE + CALLS + n)));
    // Nobody waits for anything any more.
    town.forget();
    let folder = Folder::new("replay");
    let mut journal = folder.open().journal;
    let now = Moment(1_000_002);
    let news = journal.turn(now, |each| {
        town.switch.snapshot(each);
        (0..ALONE).for_each(|id| each(&bound(id)));
    });
    assert!(news.is_none());
    (0..PHONES).for_each(|id| journal.add(&refreshed(id, 2)));
    assert!(journal.turn(now, |_| {}).is_none());
    journal.close(now).unwrap();

    let config = config();
    let (begin, before) = (Instant::now(), used());
    let Opened { journal, state, clocks, notices } = folder.open();
    let (read, mut busy) = (begin.elapsed(), used() - before);
    let restored = (state.bindings.clone(), state.calls.clone());
    let (begin, before) = (begin + (begin.elapsed() - read), used());
    let switch = Switch::restore(config, [8; 32], state, clocks, &[]);
    let all = begin.elapsed();
    busy += used() - before;
    let size = fs::metadata(folder.0.join("journal")).unwrap().len();
    println!(
        "{PHONES} bindings and {CALLS} calls, {} KiB: read after {read:?}, with timers and all after {all:?}, of \
         which {busy:?} are processor time",
        size >> 10
    );
    assert!(notices.is_empty());
    let mut held = State::default();
    switch.snapshot(&mut |record| held.apply(record.clone()));
    assert_eq!((&held.bindings, &held.calls), (&restored.0, &restored.1));
    assert_eq!((held.bindings.len() as u64, held.calls.len() as u64), (PHONES, CALLS));
    assert!(all < 40 * Duration::from_millis(50), "{all:?}");
    drop(journal);
}

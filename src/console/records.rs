//! Call records: a line in a table for each call that has ended.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use super::Log;
use super::csv::{HEADER, Row};
use super::rotation::Rotation;
use super::words::Things;
use crate::config::{CallRecords, Config, LogLevel};
use crate::switch::{CallRecord, Event};

/// How the file is called in the state folder; older ones are `calls.csv.1` and so on.
const NAME: &str = "calls.csv";

/// How many records may wait for the disk. Those beyond are lost: no call waits for its record.
const WAITING: usize = 1_024;

/// Writes call records, by a thread of its own. Dropping it waits until all is written.
///
/// A file has a header and lines of RFC 4180, in UTF-8 and with times in UTC. What is in it survives a crash
/// of denwa; of a power cut the system decides, as with any log.
pub struct Records {
    writer: Option<Writer>,
    /// How much is kept now; `None` for nothing.
    most: Option<CallRecords>,
    is_full: bool,
}

struct Writer {
    queue: SyncSender<Entry>,
    /// How many did not fit the queue, and are not told of yet.
    left_out: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// A record, and how much is kept when it comes.
struct Entry {
    record: Box<CallRecord>,
    most: CallRecords,
}

impl Records {
    /// Records in the state folder, as `config` wants them. Trouble with the disk is told to `log`: when it
    /// begins, and with how many records are missing when it has ended.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(config: &Config, log: Log) -> io::Result<Records> {
        let (queue, entries) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let (path, counted) = (config.state.join(NAME), left_out.clone());
        let work = move || write(&entries, path, &counted, log);
        let thread = thread::Builder::new().name("denwa-records".into()).stack_size(64 << 10).spawn(work)?;
        let writer = Some(Writer { queue, left_out, thread });
        Ok(Records { writer, most: config.call_records, is_full: false })
    }

    /// No records, for want of a folder.
    pub fn off() -> Records {
        Records { writer: None, most: None, is_full: false }
    }

    /// Takes note of what happened to the exchange, another configuration of it included; never waits.
    /// Returns what people should know, once for each time that too many records wait.
    pub fn event(&mut self, event: &Event) -> Option<&'static str> {
        match event {
            Event::Reloaded(config) => self.most = config.call_records,
            Event::CallEnded(record) => return self.ended(record),
            _ => {}
        }
        None
    }

    fn ended(&mut self, record: &CallRecord) -> Option<&'static str> {
        let (Some(writer), Some(most)) = (&self.writer, self.most) else { return None };
        let entry = Entry { record: Box::new(record.clone()), most };
        let is_full = match writer.queue.try_send(entry) {
            Ok(()) => false,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                writer.left_out.fetch_add(1, Ordering::Relaxed);
                true
            }
        };
        let was_full = std::mem::replace(&mut self.is_full, is_full);
        (is_full && !was_full)
            .then_some("the disk is too slow for call records: calls leave none until it is not")
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        if let Some(Writer { queue, thread, .. }) = self.writer.take() {
            drop(queue);
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// What the thread does.
fn write(entries: &Receiver<Entry>, path: PathBuf, left_out: &AtomicU64, mut log: Log) {
    let mut rotation = Rotation::new(path, HEADER);
    let mut missing = 0;
    for Entry { record, most } in entries {
        match rotation.append(&Row(&record).to_string(), most) {
            Ok(()) => {
                missing += left_out.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    let calls = Things(std::mem::take(&mut missing), "call");
                    log.say(LogLevel::Warn, &format!("call records are written again; {calls} left none"));
                }
            }
            Err(error) => {
                if missing == 0 {
                    let path = rotation.path().display();
                    let sentence =
                        format!("{path} cannot be written: {error}; until it can, calls leave no record");
                    log.say(LogLevel::Error, &sentence);
                }
                missing += 1;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::tests::Shared;
    use super::*;
    use crate::config::Number;
    use crate::media::Counters;
    use crate::switch::{CallParties, Cause};

    fn ended(call: u64) -> Event {
        let number = |text| Number::new(text).unwrap();
        Event::CallEnded(CallRecord {
            parties: CallParties { call, from: number("101"), to: number("102"), by: None },
            started: Duration::from_secs(1_795_391_506),
            duration: Duration::from_secs(12),
            talked: None,
            cause: Cause::Cancelled,
            source: "192.0.2.31".parse().unwrap(),
            exchanges: Vec::new(),
            caller_media: Counters::default(),
            callee_media: Counters::default(),
        })
    }

    /// A configuration whose state folder is named for the test, and not there yet.
    fn config(test: &str) -> (Config, PathBuf) {
        let state = std::env::temp_dir().join(format!("denwa-records-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        (Config { state: state.clone(), ..Config::default() }, state)
    }

    #[test]
    fn each_call_that_has_ended_is_a_line() {
        let (config, state) = config("lines");
        fs::create_dir(&state).unwrap();
        let written = Shared::default();
        for calls in [1..=2, 3..=3] {
            let mut records = Records::start(&config, Log::to(&config, written.clone())).unwrap();
            for call in calls {
                assert_eq!(records.event(&Event::Notice("something else".into())), None);
                assert_eq!(records.event(&ended(call)), None);
            }
        }
        let text = fs::read_to_string(state.join(NAME)).unwrap();
        let ends: Vec<_> = text.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
        assert_eq!(ends, ["call", "1", "2", "3"]);
        assert!(written.lines().is_empty());

        // Without them, and then with them again.
        let off = Config { call_records: None, ..config.clone() };
        let mut records = Records::start(&off, Log::to(&off, written)).unwrap();
        records.event(&ended(4));
        records.event(&Event::Reloaded(config.into()));
        records.event(&ended(5));
        records.event(&Event::Reloaded(off.into()));
        records.event(&ended(6));
        drop(records);
        let now = fs::read_to_string(state.join(NAME)).unwrap();
        assert!(now.starts_with(&text) && now.ends_with(",5\r\n") && now.lines().count() == 5, "{now}");
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn trouble_is_told_when_it_begins_and_when_it_has_ended() {
        let (config, state) = config("trouble");
        let written = Shared::default();
        let mut records = Records::start(&config, Log::to(&config, written.clone())).unwrap();
        let until = |lines: usize| {
            while written.lines().len() < lines {
                thread::sleep(Duration::from_millis(1));
            }
        };
        (1..=3).for_each(|call| assert_eq!(records.event(&ended(call)), None));
        until(1);
        // The folder comes back when all three are lost.
        thread::sleep(Duration::from_millis(200));
        fs::create_dir(&state).unwrap();
        records.event(&ended(4));
        until(2);
        records.event(&ended(5));
        drop(records);
        let said: Vec<_> = written.lines().iter().map(|line| line[20..].to_owned()).collect();
        assert_eq!(said.len(), 2);
        assert!(
            said[0].starts_with("error ") && said[0].contains("calls.csv cannot be written: No such file")
        );
        assert_eq!(said[1], "warn  call records are written again; 3 calls left none");
        assert_eq!(fs::read_to_string(state.join(NAME)).unwrap().lines().count(), 3);
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn no_call_waits_for_a_disk_that_does_not_answer() {
        let (queue, entries) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        // Nobody takes what waits.
        let thread = thread::spawn(|| ());
        let writer = Writer { queue, left_out: left_out.clone(), thread };
        let mut handle =
            Records { writer: Some(writer), most: Config::default().call_records, is_full: false };
        let said: Vec<_> = (0..WAITING as u64 + 10).filter_map(|call| handle.event(&ended(call))).collect();
        assert_eq!(said.len(), 1, "once");
        // And then somebody does.
        let (config, state) = config("slow");
        fs::create_dir(&state).unwrap();
        drop(handle);
        let written = Shared::default();
        write(&entries, state.join(NAME), &left_out, Log::to(&config, written.clone()));
        assert!(written.lines()[0].ends_with("10 calls left none"));
        assert_eq!(fs::read_to_string(state.join(NAME)).unwrap().lines().count(), WAITING + 1);
        fs::remove_dir_all(state).unwrap();
    }
}

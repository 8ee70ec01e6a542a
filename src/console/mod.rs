//! What people read: the log, call records, what a configuration means in words, and what the operator's commands
//! show.

mod addresses;
mod ceiling;
mod certificate;
pub mod control;
mod csv;
mod exchanges;
mod line;
mod news;
mod qr;
mod records;
mod rotation;
mod summary;
mod tail;
mod utc;
mod words;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use addresses::own_addresses;
pub use certificate::certificate;
pub use line::{Names, line};
pub use qr::Code;
pub use records::Records;
pub use summary::Summary;
pub use tail::Tail;
pub use utc::Utc;
pub use words::Things;

use crate::config::{Config, LogLevel};
use crate::switch::Event;
use ceiling::{Ceiling, LeftOut};
use line::Service;

/// The log: one short line for each thing that happened, with the time in UTC.
///
/// ```text
/// 2026-11-22 23:51:46 info  101 Kitchen registered from 203.0.113.7:5060 (udp) for 60 min
/// ```
///
/// It has a ceiling: at most 300 lines a minute, 60 errors besides, and 3,000 messages at `debug`. What is
/// beyond is counted, and told with the first line of a later minute.
pub struct Log {
    level: LogLevel,
    names: Names,
    ceiling: Ceiling,
    tail: Tail,
    to: Box<dyn Write + Send>,
    clock: Box<dyn Fn() -> Duration + Send>,
}

impl Log {
    /// A log on standard error, as `config` wants it.
    pub fn new(config: &Config) -> Log {
        Log::to(config, std::io::stderr())
    }

    /// A log that is written to `to`, one `write` a line.
    pub fn to(config: &Config, to: impl Write + Send + 'static) -> Log {
        Log::with_clock(config, to, || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The same by a clock that tells the time since 1970.
    pub fn with_clock(
        config: &Config,
        to: impl Write + Send + 'static,
        clock: impl Fn() -> Duration + Send + 'static,
    ) -> Log {
        Log {
            level: config.log,
            names: Names::of(config),
            ceiling: Ceiling::default(),
            tail: Tail::default(),
            to: Box::new(to),
            clock: Box::new(clock),
        }
    }

    /// Another log on standard error, for another thread: its lines are among the last of this one.
    pub fn beside(&self, config: &Config) -> Log {
        Log { tail: self.tail(), ..Log::new(config) }
    }

    /// Its last lines, also those that will come.
    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Whether something of this level is written, or would be lost.
    pub fn says(&self, level: LogLevel) -> bool {
        level <= self.level
    }

    /// Writes that the exchange runs, and on what.
    pub fn started(&mut self, config: &Config, file: &Path) {
        for remark in config.remarks() {
            self.say(LogLevel::Warn, &remark);
        }
        let (version, file) = (crate::VERSION, file.display());
        let sentence = format!("denwa {version} runs {file}: {}", Service(config));
        self.say(LogLevel::Info, &sentence);
    }

    /// Writes what happened to the exchange. Another configuration of its holds for the log from then on.
    pub fn event(&mut self, event: &Event) {
        if let Event::Reloaded(config) = event {
            self.reload(config);
            for remark in config.remarks() {
                self.say(LogLevel::Warn, &remark);
            }
        }
        let (level, sentence) = line(event, &self.names);
        self.say(level, &sentence);
    }

    /// Says as much, and calls extensions so, as another configuration wants it.
    pub fn reload(&mut self, config: &Config) {
        (self.level, self.names) = (config.log, Names::of(config));
    }

    /// Writes one sentence, which must hold nothing unprintable, unless the ceiling is reached.
    pub fn say(&mut self, level: LogLevel, sentence: &str) {
        if !self.says(level) {
            return;
        }
        let now = (self.clock)();
        if let Some(LeftOut { lines, errors }) = self.ceiling.turn(now) {
            let lines = Things(lines, "line");
            let (level, among) = match errors {
                0 => (LogLevel::Warn, String::new()),
                errors => (LogLevel::Error, format!(", among them {}", Things(errors, "error"))),
            };
            self.write(
                now,
                level,
                &format!("{lines} of the log left out{among}: more than it takes a minute"),
            );
        }
        if self.ceiling.admits(level) {
            self.write(now, level, sentence);
        }
    }

    fn write(&mut self, now: Duration, level: LogLevel, sentence: &str) {
        let now = Utc(now.as_secs());
        let level = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        let line = format!("{now} {level:5} {sentence}\n");
        // Where the log cannot be written, there is nobody to be told, and calls go on.
        let _ = self.to.write_all(line.as_bytes());
        self.tail.push(line.trim_end());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        pub(super) fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    /// A log, what it writes, and the seconds since 1970 that its clock shows.
    fn log(level: LogLevel) -> (Log, Shared, Arc<AtomicU64>) {
        let (written, seconds) = (Shared::default(), Arc::new(AtomicU64::new(1_795_391_506)));
        let config = Config { log: level, ..Config::default() };
        let shown = seconds.clone();
        let clock = move || Duration::from_secs(shown.load(Ordering::Relaxed));
        (Log::with_clock(&config, written.clone(), clock), written, seconds)
    }

    #[test]
    fn says_what_the_level_wants() {
        let (mut log, written, _) = log(LogLevel::Warn);
        log.say(LogLevel::Info, "a phone registered");
        log.say(LogLevel::Error, "broken");
        log.event(&Event::Notice("look".into()));
        assert_eq!(written.lines(), ["2026-11-22 23:51:46 error broken", "2026-11-22 23:51:46 warn  look"]);
    }

    #[test]
    fn another_configuration_holds_at_once() {
        let (mut log, written, _) = log(LogLevel::Warn);
        log.say(LogLevel::Info, "not said");
        let config = Config::parse("x", b"ext.101 = correct-horse\next.101.name = Kitchen\nallow = ::1 ::/0");
        log.event(&Event::Reloaded(Box::new(config.unwrap())));
        let said: Vec<String> = written.lines().iter().map(|line| line[20..].to_owned()).collect();
        assert_eq!(
            said,
            [
                "warn  allow: ::1/128 is inside ::/0 and adds nothing",
                "info  goes on with another configuration: 1 extension, SIP on udp:5060 tcp:5060"
            ]
        );
    }

    #[test]
    fn the_time_is_the_systems() {
        let written = Shared::default();
        Log::to(&Config::default(), written.clone()).say(LogLevel::Info, "now");
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let line = written.lines().remove(0);
        assert!((seconds - 2..=seconds).any(|second| line == format!("{} info  now", Utc(second))), "{line}");
    }

    #[test]
    fn so_many_lines_a_minute_and_then_how_many_there_were_more() {
        for (kinds, most) in [([LogLevel::Info, LogLevel::Warn], 300), ([LogLevel::Debug; 2], 3_000)] {
            let (mut log, written, seconds) = log(kinds[0]);
            for n in 0..10_000 {
                log.say(kinds[n % 2], "busy");
            }
            assert_eq!(written.lines().len(), most);
            // Until the minute is over, nothing more of the kind.
            seconds.fetch_add(59, Ordering::Relaxed);
            log.say(kinds[1], "busy");
            assert_eq!(written.lines().len(), most);
            seconds.fetch_add(1, Ordering::Relaxed);
            log.say(LogLevel::Info, "quiet");
            let end = written.lines().split_off(most);
            let left_out = 10_001 - most;
            let count = words::Count(left_out as u64);
            assert_eq!(
                end,
                [
                    format!(
                        "2026-11-22 23:52:46 warn  {count} lines of the log left out: more than it takes a \
                         minute"
                    ),
                    "2026-11-22 23:52:46 info  quiet".to_owned()
                ]
            );
            // And that is told once.
            seconds.fetch_add(60, Ordering::Relaxed);
            log.say(LogLevel::Info, "quiet");
            assert_eq!(written.lines().len(), most + 3);
        }
    }

    #[test]
    fn messages_keep_nothing_else_out() {
        let (mut log, written, _) = log(LogLevel::Debug);
        for _ in 0..10_000 {
            log.say(LogLevel::Debug, "message");
        }
        log.say(LogLevel::Info, "a call has ended");
        assert!(written.lines()[3_000].ends_with("info  a call has ended"));
    }

    #[test]
    fn errors_are_kept_out_by_nothing_but_errors() {
        let (mut log, written, seconds) = log(LogLevel::Info);
        for _ in 0..1_000 {
            log.say(LogLevel::Info, "busy");
            log.say(LogLevel::Error, "broken");
        }
        let lines = written.lines();
        assert_eq!(lines.len(), 360);
        assert_eq!(lines.iter().filter(|line| line.ends_with("error broken")).count(), 60);
        seconds.fetch_add(61, Ordering::Relaxed);
        log.say(LogLevel::Info, "quiet");
        assert_eq!(
            written.lines()[360],
            "2026-11-22 23:52:47 error 1,640 lines of the log left out, among them 940 errors: more than it \
             takes a minute"
        );
    }

    #[test]
    fn what_a_lower_level_would_say_does_not_count() {
        let (mut log, written, seconds) = log(LogLevel::Error);
        for _ in 0..1_000 {
            log.say(LogLevel::Info, "busy");
        }
        seconds.fetch_add(61, Ordering::Relaxed);
        log.say(LogLevel::Error, "broken");
        assert_eq!(written.lines().len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_the_log() {
        let (mut log, written, seconds) = log(LogLevel::Info);
        for _ in 0..1_000 {
            log.say(LogLevel::Info, "busy");
        }
        seconds.fetch_sub(1_000_000, Ordering::Relaxed);
        log.say(LogLevel::Info, "earlier");
        assert_eq!(written.lines().len(), 302);
    }
}

//! What people read: the log, and what a configuration means in words.

mod addresses;
mod line;
mod summary;
mod utc;
mod words;

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub use addresses::own_addresses;
pub use line::{Names, line};
pub use summary::Summary;

use crate::config::{Config, LogLevel};
use crate::switch::Event;
use utc::Utc;
use words::Things;

/// The log: one short line for each thing that happened, with the time in UTC.
///
/// ```text
/// 2026-11-22 23:51:46 info  101 Kitchen registered from 203.0.113.7:5060 (udp) for 60 min
/// ```
pub struct Log {
    level: LogLevel,
    names: Names,
    to: Box<dyn Write + Send>,
}

impl Log {
    /// A log on standard error, as `config` wants it.
    pub fn new(config: &Config) -> Log {
        Log::to(config, std::io::stderr())
    }

    /// A log that is written to `to`, one `write` a line.
    pub fn to(config: &Config, to: impl Write + Send + 'static) -> Log {
        Log { level: config.log, names: Names::of(config), to: Box::new(to) }
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
        let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        let extensions = Things(config.extensions.len() as u64, "extension");
        let (version, file, listen) = (env!("CARGO_PKG_VERSION"), file.display(), listen.join(" "));
        let sentence = format!("denwa {version} runs {file}: {extensions}, SIP on {listen}");
        self.say(LogLevel::Info, &sentence);
    }

    /// Writes what happened to the exchange.
    pub fn event(&mut self, event: &Event) {
        let (level, sentence) = line(event, &self.names);
        self.say(level, &sentence);
    }

    /// Writes one sentence, which must hold nothing unprintable.
    pub fn say(&mut self, level: LogLevel, sentence: &str) {
        if !self.says(level) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Utc(now.map_or(0, |time| time.as_secs()));
        let level = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        let line = format!("{now} {level:5} {sentence}\n");
        // Where the log cannot be written, there is nobody to be told, and calls go on.
        let _ = self.to.write_all(line.as_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn says_what_the_level_wants() {
        let written = Shared::default();
        let config = Config { log: LogLevel::Warn, ..Config::default() };
        let mut log = Log::to(&config, written.clone());
        log.say(LogLevel::Info, "a phone registered");
        log.say(LogLevel::Error, "broken");
        log.event(&Event::Notice("look".into()));

        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_at(20)).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0].1, "error broken");
        assert_eq!(lines[1].1, "warn  look");
        assert!(lines[0].0.starts_with("20"), "{text}");
    }
}

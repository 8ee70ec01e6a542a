//! How much an extension uses the exchange: calls at once, and calls an hour. A phone that was taken
//! over is stopped here before it costs much.

use std::collections::BTreeMap;

use super::recent::{HOUR, Recent};
use crate::config::{Config, Number};
use crate::journal::{self, Record};
use crate::time::Instant;

/// What each extension has used; at most one entry for each that there is.
#[derive(Default)]
pub(super) struct Usage(BTreeMap<Number, Used>);

/// What one extension has used.
#[derive(Default)]
struct Used {
    /// Its calls that have not ended.
    calls: u16,
    /// Those that it began.
    begun: Recent<HOUR>,
}

impl Used {
    /// A call begins.
    fn count(&mut self, now: Instant) {
        self.calls = self.calls.saturating_add(1);
        self.begun.add(now, 1);
    }
}

impl Usage {
    /// Counts a call that an extension begins.
    ///
    /// # Errors
    ///
    /// What it has too much of, in words that name the key; then nothing is counted.
    pub(super) fn begin(&mut self, config: &Config, now: Instant, number: &Number) -> Result<(), String> {
        let Some(extension) = config.extensions.get(number) else { return Ok(()) };
        let used = self.0.entry(number.clone()).or_default();
        if used.calls >= extension.max_calls {
            return Err(format!("more than {} calls at once (ext.{number}.max-calls)", extension.max_calls));
        }
        if used.begun.within(now) >= extension.max_calls_hour {
            let most = extension.max_calls_hour;
            return Err(format!("more than {most} calls an hour (ext.{number}.max-calls-hour)"));
        }
        used.count(now);
        Ok(())
    }

    /// Counts a call that is made because an extension asks for it by REFER, which it is not in itself.
    ///
    /// # Errors
    ///
    /// As [`Usage::begin`].
    pub(super) fn refers(&mut self, config: &Config, now: Instant, number: &Number) -> Result<(), String> {
        let Some(extension) = config.extensions.get(number) else { return Ok(()) };
        let used = self.0.entry(number.clone()).or_default();
        if used.begun.within(now) >= extension.max_calls_hour {
            let most = extension.max_calls_hour;
            return Err(format!("more than {most} calls an hour (ext.{number}.max-calls-hour)"));
        }
        used.begun.add(now, 1);
        Ok(())
    }

    /// Counts a call that nobody may be refused, however many there are.
    pub(super) fn begin_in_any_case(&mut self, now: Instant, number: &Number) {
        let used = self.0.entry(number.clone()).or_default();
        used.count(now);
    }

    /// A call that an extension began goes on, in the next process.
    pub(super) fn resume(&mut self, number: &Number) {
        let used = self.0.entry(number.clone()).or_default();
        used.calls = used.calls.saturating_add(1);
    }

    /// What an extension has used, to be put on record.
    pub(super) fn record(&self, number: &Number) -> Option<Record> {
        let used = self.0.get(number)?;
        Some(Record::Used(journal::Used {
            number: number.as_str().into(),
            hour: used.begun.span,
            begun: used.begun.counts,
        }))
    }

    /// Gives the records of all that was used.
    pub(super) fn snapshot(&self, each: &mut dyn FnMut(&Record)) {
        let used = self.0.iter().filter(|(_, used)| used.begun.counts != [0, 0]).map(|(number, _)| number);
        used.filter_map(|number| self.record(number)).for_each(|record| each(&record));
    }

    /// What was put on record.
    pub(super) fn restore(&mut self, config: &Config, kept: journal::Used) {
        let number = Number::new(&kept.number).filter(|number| config.extensions.contains_key(number));
        if let Some(number) = number {
            let used = self.0.entry(number).or_default();
            used.begun = Recent { span: kept.hour, counts: kept.begun };
        }
    }

    /// Extensions that a configuration does not have are forgotten; so is what is on record of them.
    pub(super) fn reload(&mut self, config: &Config) -> impl Iterator<Item = Record> + use<> {
        let gone = |number: &Number| !config.extensions.contains_key(number);
        let forgotten: Vec<Number> = self.0.keys().filter(|number| gone(number)).cloned().collect();
        self.0.retain(|number, _| !gone(number));
        forgotten.into_iter().map(|number| {
            Record::Used(journal::Used { number: number.as_str().into(), hour: 0, begun: [0, 0] })
        })
    }

    /// A call that an extension began has ended.
    pub(super) fn end(&mut self, number: &Number) {
        if let Some(used) = self.0.get_mut(number) {
            used.calls = used.calls.saturating_sub(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config(text: &str) -> Config {
        let mut config = Config::parse("x", b"ext.101 = secret-one\next.102 = secret-two").unwrap();
        for extension in config.extensions.values_mut() {
            (extension.max_calls, extension.max_calls_hour) = match text {
                "at once" => (2, 1000),
                _ => (1000, 6),
            };
        }
        config
    }

    #[test]
    fn so_many_calls_at_once() {
        let (config, mut usage) = (config("at once"), Usage::default());
        let [one, two] = ["101", "102"].map(|number| Number::new(number).unwrap());
        let now = Instant::default();
        assert_eq!(usage.begin(&config, now, &one), Ok(()));
        assert_eq!(usage.begin(&config, now, &one), Ok(()));
        let refused = usage.begin(&config, now, &one).unwrap_err();
        assert_eq!(refused, "more than 2 calls at once (ext.101.max-calls)");
        assert_eq!(usage.begin(&config, now, &two), Ok(()), "each extension has its own");
        usage.end(&one);
        assert_eq!(usage.begin(&config, now, &one), Ok(()));
    }

    #[test]
    fn so_many_calls_an_hour_whenever_the_hour_begins() {
        let (config, mut usage) = (config("an hour"), Usage::default());
        let number = Number::new("101").unwrap();
        let mut call = |minute: u64| {
            let now = Instant::default() + Duration::from_secs(minute * 60);
            usage.begin(&config, now, &number).is_ok()
        };
        assert!((0..6).all(|_| call(50)));
        assert!(!call(50) && !call(59) && !call(61));
        // A third of the hour before counts a third.
        assert!((0..4).all(|_| call(100)));
        assert!(!call(100));
        assert!((0..6).all(|_| call(300)));
        assert!(!call(300));
    }
}

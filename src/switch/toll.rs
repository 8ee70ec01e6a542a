//! What providers' lines cost: how much each may be used, so that whoever takes over a phone cannot make its owner poor.
//!
//! What was used is on record, so that nobody begins anew by having the exchange restarted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Switch;
use super::call::{Call, Leg, Phase};
use super::recent::{DAY, HOUR, Recent};
use crate::config::{Config, Label, Number, Trunk};
use crate::journal::{self, Record};
use crate::media::Side;
use crate::time::Instant;

/// What of each trunk was used lately; at most one entry for each that there was since the start.
#[derive(Default)]
pub(super) struct Toll(BTreeMap<Label, Spent>);

/// What of one was.
#[derive(Default)]
struct Spent {
    /// Calls that went out.
    calls: Recent<HOUR>,
    /// Seconds that were talked in those that are over.
    seconds: Recent<DAY>,
}

impl Toll {
    /// What was put on record.
    pub(super) fn restore(&mut self, config: &Config, kept: journal::Spent) {
        if let Some(label) = Label::new(&kept.trunk).filter(|label| config.neighbours.contains_key(label)) {
            let calls = Recent { span: kept.hour, counts: kept.calls };
            let seconds = Recent { span: kept.day, counts: kept.seconds };
            self.0.insert(label, Spent { calls, seconds });
        }
    }

    /// Gives the records of all that was used.
    pub(super) fn snapshot(&self, each: &mut dyn FnMut(&Record)) {
        self.0.keys().filter_map(|label| self.record(label)).for_each(|record| each(&record));
    }

    /// What of a trunk was used, to be put on record.
    fn record(&self, label: &Label) -> Option<Record> {
        let Spent { calls, seconds } = self.0.get(label)?;
        Some(Record::Spent(journal::Spent {
            trunk: label.as_str().into(),
            hour: calls.span,
            calls: calls.counts,
            day: seconds.span,
            seconds: seconds.counts,
        }))
    }
}

impl Switch {
    /// Whether a call may go out by a trunk, and how long it may last then.
    ///
    /// # Errors
    ///
    /// What there is too much of, in words that name the key.
    pub(super) fn may_spend(&self, id: u64, label: &Label) -> Result<Option<Duration>, String> {
        let Some(trunk) = self.config.trunk(label) else { return Ok(None) };
        let now = self.io.now;
        let spent = self.toll.0.get(label);
        if spent.is_some_and(|spent| spent.calls.within(now) >= trunk.max_calls_hour) {
            return Err(format!(
                "{label}: {} calls in an hour ({label}.max-calls-hour)",
                trunk.max_calls_hour
            ));
        }
        let caller = self.calls.get(&id).and_then(who_asked);
        let same = |call: &&Call| {
            let is_on = call.id != id && call.phase != Phase::Over;
            is_on && who_asked(call) == caller && call.neighbours.contains(label)
        };
        if let Some(caller) = caller
            && self.calls.values().filter(same).count() >= usize::from(trunk.max_calls_extension)
        {
            let most = trunk.max_calls_extension;
            return Err(format!("{label}: {most} calls of {caller} at once ({label}.max-calls-extension)"));
        }
        let left = left_today(
            trunk,
            spent
                .map_or(0, |spent| spent.seconds.within(now))
                .saturating_add(self.seconds_promised(id, label)),
        );
        if left.is_zero() {
            let most = trunk.max_minutes_day;
            return Err(format!("{label}: {most} minutes in a day ({label}.max-minutes-day)"));
        }
        Ok(Some(left.min(Duration::from_secs(u64::from(trunk.max_minutes) * 60))))
    }

    /// A call goes out by a neighbour.
    pub(super) fn spend_call(&mut self, label: &Label) {
        if self.config.trunk(label).is_some() {
            self.toll.0.entry(label.clone()).or_default().calls.add(self.io.now, 1);
            self.note_spent(label);
        }
    }

    /// A call is over that may have gone out by a trunk.
    pub(super) fn spend_time(&mut self, id: u64) {
        let now = self.io.now;
        let Some((labels, seconds)) = self.calls.get(&id).and_then(|call| outgoing(call, now)) else {
            return;
        };
        for label in labels {
            if self.config.trunk(&label).is_some() {
                self.toll.0.entry(label.clone()).or_default().seconds.add(now, seconds);
                self.note_spent(&label);
            }
        }
    }

    fn note_spent(&mut self, label: &Label) {
        if let Some(record) = self.toll.record(label) {
            self.io.record(record);
        }
    }

    /// How long calls by a trunk may last that are under way, all in all, but for this one.
    fn seconds_promised(&self, id: u64, label: &Label) -> u32 {
        let live = self.calls.values().filter(|call| call.phase != Phase::Over && call.id != id);
        let lines = |call: &Call| call.neighbours.iter().filter(|of| *of == label).count() as u64;
        let seconds: u64 = live.map(|call| call.limit.map_or(0, |limit| limit.as_secs()) * lines(call)).sum();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

/// The extension that a call is made by: its caller, or who has asked for somebody to be given over.
fn who_asked(call: &Call) -> Option<&Number> {
    call.legs.first().and_then(Leg::extension).or(call.transfer.as_ref().map(|transfer| &transfer.by))
}

/// By which exchanges a call went out that was answered there, and how long it has lasted, in seconds begun. Two are
/// those of a call that was given over.
fn outgoing(call: &Call, now: Instant) -> Option<(Vec<Label>, u32)> {
    let (since, dialog) = call.talked?;
    let sides = [Side::A, Side::B].into_iter().filter_map(|side| call.leg(dialog, side));
    let called = sides.filter(|leg| leg.persona.as_ref().is_some_and(|persona| persona.is_called));
    let labels = called.filter_map(|leg| leg.neighbour().cloned()).collect();
    let lasted = (now - since).as_millis().div_ceil(1_000);
    Some((labels, u32::try_from(lasted).unwrap_or(u32::MAX)))
}

/// What is left of the minutes of a day.
fn left_today(trunk: &Trunk, seconds: u32) -> Duration {
    Duration::from_secs((u64::from(trunk.max_minutes_day) * 60).saturating_sub(seconds.into()))
}

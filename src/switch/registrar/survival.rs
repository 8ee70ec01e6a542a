//! What is written down of bindings, and how they come back.

use std::time::Duration;

use super::super::flow::Standing;
use super::{Binding, BindingId, MAX_BINDINGS, Registrar};
use crate::config::{Config, Number};
use crate::journal::{self, Record, Refresh, Term};
use crate::time::Instant;

/// What is on record of how long a binding holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noted {
    /// When it was put there.
    at: Instant,
    expires: Instant,
    grace: Duration,
}

impl Noted {
    /// Whether a binding that ends then is made up for by one half, or the whole (1), of the grace.
    fn covers(&self, binding: &Binding, part: u32) -> bool {
        let until = self.expires + self.grace / part;
        (self.expires..until).contains(&binding.expires) && self.grace == binding.grace
    }
}

impl Binding {
    /// What is to be put on record, now that a REGISTER was served: all of it if there is anything new but
    /// the time; the time if half of that on record is over, and at once if it would else be lost by a crash;
    /// else nothing.
    pub(super) fn note(&mut self, now: Instant, number: &Number, is_news: bool) -> Option<Record> {
        if now - self.noted.at >= journal::HOLD {
            self.sure = self.noted;
        }
        let noted = Noted { at: now, expires: self.expires, grace: self.grace };
        let refresh = Refresh { id: self.id, term: self.term(now) };
        if is_news {
            (self.noted, self.sure) = (noted, noted);
            Some(self.record(now, number))
        } else if !self.sure.covers(self, 1) {
            (self.noted, self.sure) = (noted, noted);
            Some(Record::Extended(refresh))
        } else if !self.noted.covers(self, 2) {
            self.noted = noted;
            Some(Record::Refreshed(refresh))
        } else {
            None
        }
    }

    fn record(&self, now: Instant, number: &Number) -> Record {
        Record::Bound(Box::new(journal::Binding {
            id: self.id,
            number: number.as_str().into(),
            uri: (&*self.uri).into(),
            params: (&*self.params).into(),
            device: self.device.as_ref().map(|(instance, reg_id)| ((&**instance).into(), *reg_id)),
            path: (&*self.path).into(),
            q: self.q,
            flow: self.flow.kept(),
            behind_nat: self.behind_nat,
            call_id: (&*self.call_id).into(),
            term: self.term(now),
        }))
    }

    fn term(&self, now: Instant) -> Term {
        Term::new(self.cseq, now, self.expires - now, self.grace)
    }

    /// The binding that was written down. Streams have ended but those that `standing` knows by their ends, and
    /// where we do not listen any more nobody can be called.
    fn restored(config: &Config, kept: journal::Binding, standing: &Standing) -> Binding {
        let flow = standing.flow(kept.flow);
        let connected = match flow.is_reliable() {
            true => !flow.is_dead(),
            false => config.listens(flow.transport, flow.local),
        };
        let expires = kept.term.expires();
        let noted = Noted { at: kept.term.at, expires, grace: kept.term.grace() };
        Binding {
            id: kept.id,
            uri: kept.uri.0,
            params: kept.params.0,
            device: kept.device.map(|(instance, reg_id)| (instance.0, reg_id)),
            path: kept.path.0,
            q: kept.q,
            flow,
            connected,
            behind_nat: kept.behind_nat,
            expires,
            grace: kept.term.grace(),
            noted,
            sure: noted,
            call_id: kept.call_id.0,
            cseq: kept.term.cseq,
            wake: Instant(u64::MAX),
            ping: None,
            unanswered: 0,
            round_trip: None,
            agent: Box::default(),
            since: kept.term.at,
        }
    }
}

impl Registrar {
    /// What must survive of what has changed.
    pub(in super::super) fn records(&mut self) -> std::vec::Drain<'_, Record> {
        self.records.drain(..)
    }

    /// Takes in what was written down of an exchange before, in the order in which it came: what still
    /// holds, belongs to an extension that there is, and finds room.
    pub(in super::super) fn restore(
        &mut self,
        config: &Config,
        now: Instant,
        kept: impl Iterator<Item = journal::Binding>,
        standing: &Standing,
    ) {
        for kept in kept {
            self.made = self.made.max(kept.id);
            let number = Number::new(&kept.number).filter(|number| config.extensions.contains_key(number));
            let binding = Binding::restored(config, kept, standing);
            let has_room = self.numbers.len() < MAX_BINDINGS;
            let Some(number) = number.filter(|_| has_room && binding.expires > now) else {
                self.records.push(Record::Unbound(binding.id));
                continue;
            };
            self.came(binding.flow);
            if binding.flow.is_reliable() && binding.connected {
                self.streams.entry(binding.flow.stream.0).or_default().push(binding.id);
            }
            self.numbers.insert(binding.id, number.clone());
            self.by_number.entry(number).or_default().push(binding);
        }
    }

    /// Gives the records of all that there is.
    pub(in super::super) fn snapshot(&self, now: Instant, each: &mut dyn FnMut(&Record)) {
        for (number, list) in &self.by_number {
            for binding in list.iter().filter(|binding| binding.expires > now) {
                each(&binding.record(now, number));
            }
        }
    }

    /// When each binding wants its timer, if it is not armed for that already.
    pub(in super::super) fn all_wakes(
        &mut self,
        config: &Config,
        now: Instant,
    ) -> Vec<(Duration, BindingId)> {
        let numbers: Vec<Number> = self.by_number.keys().cloned().collect();
        numbers.iter().flat_map(|number| self.wakes(config, now, number.as_str())).collect()
    }
}

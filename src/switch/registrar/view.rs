//! What is shown of bindings.

use super::super::view::Alive;
use super::{Binding, Registrar};
use crate::config::Number;
use crate::time::Instant;

impl Binding {
    /// Whether the phone is there, as far as is known.
    pub(in super::super) fn alive(&self) -> Alive {
        match (self.connected, self.flow.is_reliable()) {
            (false, _) => Alive::Disconnected,
            (true, true) => Alive::Yes,
            // The last one may still be on its way; the one before it was not answered.
            (true, false) if self.unanswered > 0 => Alive::Silent,
            (true, false) if self.round_trip.is_some() => Alive::Yes,
            (true, false) => Alive::NotAsked,
        }
    }
}

impl Registrar {
    /// The bindings of an extension that have not run out, alive or not.
    pub(in super::super) fn all<'r>(
        &'r self,
        number: &str,
        now: Instant,
    ) -> impl Iterator<Item = &'r Binding> + use<'r> {
        self.by_number.get(number).into_iter().flatten().filter(move |binding| binding.expires > now)
    }

    /// How many extensions have a phone that can be called, and how many such phones there are.
    pub(in super::super) fn count_alive(&self, now: Instant) -> (u64, u64) {
        let alive =
            self.by_number.values().map(|list| list.iter().filter(|b| b.is_alive(now)).count() as u64);
        alive
            .filter(|count| *count > 0)
            .fold((0, 0), |(numbers, phones), count| (numbers + 1, phones + count))
    }

    /// Whose phone is on a flow.
    pub(in super::super) fn owner_on(&self, flow: &super::Flow) -> Option<&Number> {
        if !self.flows.contains_key(flow) {
            return None;
        }
        self.by_number.iter().find(|(_, list)| list.iter().any(|b| b.flow == *flow)).map(|(number, _)| number)
    }
}

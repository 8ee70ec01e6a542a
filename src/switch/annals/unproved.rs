//! Who was asked for a password and gave none: every phone is asked once, and only those that never answer are
//! worth a word.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Entry, Incident, What};
use crate::guard::Prefix;
use crate::time::Instant;

/// Of how many it is remembered; the oldest makes room.
const MAX: usize = 64;

/// How many of them may share an address: whoever tries many numbers takes nobody's place but its own.
const MAX_OF_SOURCE: usize = 4;

/// How long an answer may take, and how often it may be asked, before that is worth a word.
const PATIENCE: (Duration, u64) = (Duration::from_secs(3), 3);

/// Extensions that were asked for their password and have not proved themselves since.
#[derive(Default)]
pub(in super::super) struct Unproved(Vec<Asked>);

/// One that was asked.
struct Asked {
    remote: SocketAddr,
    number: String,
    agent: String,
    first: Instant,
    last: Instant,
    count: u64,
}

impl Asked {
    fn is(&self, source: IpAddr, number: &str) -> bool {
        self.remote.ip() == source && self.number == number
    }
}

impl Unproved {
    /// An extension was asked for its password. `agent` is only made if it is not known yet.
    pub(in super::super) fn asked(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        number: &str,
        agent: impl FnOnce() -> String,
    ) {
        let source = remote.ip();
        if let Some(asked) = self.0.iter_mut().find(|asked| asked.is(source, number)) {
            (asked.remote, asked.last) = (remote, now);
            asked.count += 1;
            return;
        }
        let mut of_source = self.0.iter().enumerate().filter(|(_, asked)| asked.remote.ip() == source);
        let oldest = of_source.next().map(|(at, _)| at);
        let is_too_many = of_source.count() + 1 >= MAX_OF_SOURCE;
        match oldest.filter(|_| is_too_many) {
            Some(oldest) => drop(self.0.remove(oldest)),
            None if self.0.len() >= MAX => drop(self.0.remove(0)),
            None => {}
        }
        let (number, agent) = (number.into(), agent());
        self.0.push(Asked { remote, number, agent, first: now, last: now, count: 1 });
    }

    /// It gave a password, right or wrong.
    pub(in super::super) fn answered(&mut self, source: IpAddr, number: &str) {
        if let Some(at) = self.0.iter().position(|asked| asked.is(source, number)) {
            self.0.remove(at);
        }
    }

    /// Those who had time enough.
    pub(super) fn entries(&self, now: Instant) -> Vec<Entry> {
        let (time, times) = PATIENCE;
        let late = self.0.iter().filter(|asked| now - asked.last >= time || asked.count >= times);
        let entry = |asked: &Asked| Entry {
            first: asked.first,
            last: asked.last,
            source: Some(Prefix::of(asked.remote.ip())),
            incident: Incident {
                count: asked.count,
                from: asked.remote.to_string(),
                user_agent: asked.agent.clone(),
                ..Incident::new(
                    What::NotProved,
                    &asked.number,
                    &format!("it was asked for its password and gave none (ext.{}.digest)", asked.number),
                )
            },
        };
        late.map(entry).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(unproved: &mut Unproved, now: u64, remote: &str, number: &str) {
        unproved.asked(Instant(now), remote.parse().unwrap(), number, || "a phone".into());
    }

    fn late(unproved: &Unproved, now: u64) -> Vec<(String, u64)> {
        let entries = unproved.entries(Instant(now));
        entries.into_iter().map(|entry| (entry.incident.number, entry.incident.count)).collect()
    }

    #[test]
    fn only_who_gives_none_is_worth_a_word() {
        let mut unproved = Unproved::default();
        ask(&mut unproved, 0, "10.0.0.1:5060", "101");
        ask(&mut unproved, 0, "10.0.0.1:5060", "102");
        assert_eq!(late(&unproved, 2_999), []);
        unproved.answered("10.0.0.1".parse().unwrap(), "101");
        assert_eq!(late(&unproved, 3_000), [("102".into(), 1)]);
        for now in [10_000, 10_001] {
            ask(&mut unproved, now, "10.0.0.1:5061", "102");
        }
        assert_eq!(late(&unproved, 10_001), [("102".into(), 3)]);
    }

    #[test]
    fn who_asks_for_many_takes_nobodys_place() {
        let mut unproved = Unproved::default();
        ask(&mut unproved, 0, "10.0.0.1:5060", "101");
        for n in 0..1_000 {
            ask(&mut unproved, 1, "10.0.0.2:5060", &n.to_string());
        }
        assert_eq!(unproved.0.len(), 1 + MAX_OF_SOURCE);
        assert_eq!(late(&unproved, 60_000)[0], ("101".into(), 1));
        for n in 0..200 {
            ask(&mut unproved, 1, &format!("10.0.1.{n}:5060"), "101");
        }
        assert_eq!(unproved.0.len(), MAX);
    }
}

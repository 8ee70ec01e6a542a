//! What a journal's records come to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::record::{Ban, Binding, Clocks, Kept, Octets, Record, Refresh, Secret, Spent, Term, Used};
use crate::time::Instant;

/// Before this moment, in milliseconds since 1970, a wall clock was not set: 2025 began.
const SENSIBLE: u64 = 1_735_689_600_000;

/// How long who was registered when the machine was stopped stays so when it runs again: time for phones to come
/// back by themselves.
const RETURN: Duration = Duration::from_secs(120);

/// Everything that survives, as of the last record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What the lasting secrets are made of, once there was an exchange.
    pub secret: Option<Secret>,
    /// All bindings, by their number.
    pub bindings: BTreeMap<u64, Binding>,
    /// All calls, by their number, in a form that the switch reads.
    pub calls: BTreeMap<u64, Octets>,
    /// Those of them that have ended, and people know.
    pub over: BTreeSet<u64>,
    /// Who speaks in calls, where that is not who their descriptions say.
    pub locks: BTreeMap<u64, Octets>,
    /// INVITEs that are under way in them, or were lately, and in which.
    pub invites: BTreeMap<u64, (u64, Octets)>,
    /// How many calls there have been.
    pub numbered: u64,
    /// What extensions have used of their limits.
    pub used: BTreeMap<Box<str>, Used>,
    /// What of trunks was used of theirs.
    pub spent: BTreeMap<Box<str>, Spent>,
    /// Who is not heard, by source and by whether the operator said so.
    pub bans: BTreeMap<(u64, bool), Ban>,
    /// Whether the machine was about to be stopped.
    parked: bool,
    /// What the clocks said when that was last written.
    clocks: Option<Clocks>,
    /// The last moment of which anything was written.
    last: Instant,
}

impl State {
    /// Takes a record in.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Secret(secret) => self.secret = Some(secret),
            Record::Started(clocks) => self.resume(clocks),
            Record::Clock(clocks) => {
                self.last = self.last.max(clocks.now);
                self.clocks = Some(clocks);
            }
            Record::Bound(binding) => {
                self.last = self.last.max(binding.term.at);
                self.bindings.insert(binding.id, *binding);
            }
            Record::Refreshed(Refresh { id, term }) | Record::Extended(Refresh { id, term }) => {
                self.last = self.last.max(term.at);
                if let Some(binding) = self.bindings.get_mut(&id) {
                    binding.term = term;
                }
            }
            Record::Unbound(id) => {
                self.bindings.remove(&id);
            }
            Record::Call(Kept { id, at, form }) => {
                self.last = self.last.max(at);
                self.numbered = self.numbered.max(id);
                self.calls.insert(id, form);
            }
            Record::CallOver(id) => {
                self.over.insert(id);
            }
            Record::CallGone(id) => {
                self.numbered = self.numbered.max(id);
                self.calls.remove(&id);
                self.over.remove(&id);
                self.locks.remove(&id);
                self.invites.retain(|_, (call, _)| *call != id);
            }
            Record::Locks(Kept { id, at, form }) => {
                self.last = self.last.max(at);
                self.locks.insert(id, form);
            }
            Record::Invite(call, Kept { id, at, form }) => {
                self.last = self.last.max(at);
                self.invites.insert(id, (call, form));
            }
            Record::InviteGone(id) => {
                self.invites.remove(&id);
            }
            Record::Numbered(calls) => self.numbered = self.numbered.max(calls),
            Record::Banned(ban) => {
                self.last = self.last.max(ban.at);
                self.bans.insert((ban.source, ban.failures.is_none()), ban);
            }
            Record::Parked(parked) => self.parked = parked,
            Record::Heard(source, by_operator) => {
                self.bans.remove(&(source, by_operator));
            }
            Record::Used(used) if used.begun == [0, 0] => {
                self.used.remove(&used.number);
            }
            Record::Spent(spent) => {
                self.spent.insert(spent.trunk.clone(), spent);
            }
            Record::Used(used) => {
                self.used.insert(used.number.clone(), used);
            }
        }
    }

    /// What the clocks of the next process say when the one on the wall says this: the one that only goes
    /// forward goes on.
    pub fn clocks(&self, wall: u64) -> Clocks {
        Clocks { now: self.last + self.asleep(wall), wall }
    }

    /// Carries everything over to a process whose clocks say this: bindings have the time that is left of
    /// theirs, with the grace that is granted now and not again; those that ran out are gone. If the machine was
    /// stopped on purpose ([`Record::Parked`]), those that were there then have two minutes at least.
    ///
    /// How much time has passed is told by the wall clock. If that cannot be believed, as when it was not
    /// set yet or went backwards, no time has passed since the last record: rather does a phone ring in
    /// vain than not at all.
    pub fn resume(&mut self, clocks: Clocks) {
        let asleep = self.asleep(clocks.wall);
        let (last, now) = (self.last, clocks.now);
        let at_least = if std::mem::take(&mut self.parked) { RETURN } else { Duration::ZERO };
        self.bindings.retain(|_, Binding { term, .. }| {
            let before = last - term.at;
            let left = (term.expires() - term.at) + term.grace();
            let is_there = before < left;
            let left =
                left.saturating_sub(before + asleep).max(if is_there { at_least } else { Duration::ZERO });
            *term = Term::new(term.cseq, now, left, Duration::ZERO);
            !left.is_zero()
        });
        self.bans.retain(|_, ban| ban.until > now);
        (self.clocks, self.last) = (Some(clocks), now);
    }

    /// How much time has passed since the last record, now that the wall clock says this.
    fn asleep(&self, wall: u64) -> Duration {
        let Some(told) = self.clocks.filter(|told| told.wall >= SENSIBLE) else {
            return Duration::ZERO;
        };
        let last = told.wall.saturating_add((self.last - told.now).as_millis() as u64);
        Duration::from_millis(wall.saturating_sub(last))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record::{Flow, Octets, Transport};
    use super::*;

    const WALL: u64 = 1_790_000_000_000;

    fn binding(id: u64, at: u64, left: u64, grace: u64) -> Record {
        let address = std::net::SocketAddr::from(([192, 0, 2, 1], 5060)).into();
        let ms = Duration::from_millis;
        Record::Bound(Box::new(Binding {
            id,
            number: "101".into(),
            uri: (&b"sip:101@192.0.2.1"[..]).into(),
            params: Octets::default(),
            device: None,
            path: Octets::default(),
            q: 1000,
            flow: Flow { transport: Transport::Udp, local: address, remote: address },
            behind_nat: false,
            call_id: (&b"x"[..]).into(),
            term: Term::new(1, Instant(at), ms(left), ms(grace)),
        }))
    }

    fn clocks(now: u64, wall: u64) -> Clocks {
        Clocks { now: Instant(now), wall }
    }

    /// When bindings end in the next process, which starts at 5 s of its clock.
    fn resumed(records: &[Record], wall: u64) -> Vec<(u64, u64)> {
        let mut state = State::default();
        records.iter().for_each(|record| state.apply(record.clone()));
        state.resume(clocks(5_000, wall));
        state.bindings.values().map(|binding| (binding.id, binding.term.expires().0)).collect()
    }

    #[test]
    fn a_binding_has_the_time_that_is_left_and_one_grace() {
        let records = [Record::Clock(clocks(0, WALL)), binding(1, 10_000, 60_000, 30_000)];
        assert_eq!(resumed(&records, WALL + 10_000), [(1, 95_000)]);
        assert_eq!(resumed(&records, WALL + 99_000), [(1, 6_000)]);
        assert_eq!(resumed(&records, WALL + 100_000), []);
        // The next process grants nothing more.
        let mut again = records.to_vec();
        again.push(Record::Started(clocks(7_000, WALL + 20_000)));
        assert_eq!(resumed(&again, WALL + 20_000), [(1, 85_000)]);
        assert_eq!(resumed(&again, WALL + 99_000), [(1, 6_000)]);
        assert_eq!(resumed(&again, WALL + 100_000), []);
    }

    #[test]
    fn a_wall_clock_that_cannot_be_right_is_not_believed() {
        let at_1970 = [Record::Clock(clocks(0, 7_000)), binding(1, 10_000, 60_000, 0)];
        assert_eq!(resumed(&at_1970, WALL), [(1, 65_000)]);
        assert_eq!(resumed(&at_1970, 8_000), [(1, 65_000)]);
        let backwards = [Record::Clock(clocks(0, WALL)), binding(1, 10_000, 60_000, 0)];
        assert_eq!(resumed(&backwards, 7_000), [(1, 65_000)]);
        // Since then, 20 s of the forward clock have passed.
        let later = [backwards.as_slice(), &[binding(2, 30_000, 60_000, 0)]].concat();
        assert_eq!(resumed(&later, 7_000), [(1, 45_000), (2, 65_000)]);
        // It was set in between: what counts is what it said last.
        let set = [
            Record::Clock(clocks(0, 7_000)),
            binding(1, 10_000, 60_000, 0),
            Record::Clock(clocks(20_000, WALL)),
        ];
        assert_eq!(resumed(&set, WALL + 30_000), [(1, 25_000)]);
    }

    #[test]
    fn refreshes_and_ends_are_of_what_is_there() {
        let term = |left| Term::new(2, Instant(20_000), Duration::from_millis(left), Duration::ZERO);
        let records = [
            Record::Clock(clocks(0, WALL)),
            binding(1, 10_000, 60_000, 0),
            binding(2, 10_000, 60_000, 0),
            Record::Unbound(1),
            Record::Refreshed(Refresh { id: 1, term: term(9_000) }),
            Record::Refreshed(Refresh { id: 2, term: term(9_000) }),
            Record::Unbound(3),
        ];
        assert_eq!(resumed(&records, WALL + 20_000), [(2, 14_000)]);
    }
}

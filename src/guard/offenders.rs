//! Who has the wrong password too often.

use super::prefix::{Source, SourceMap};
use crate::config::Ban;
use crate::time::Instant;

/// The most sources whose failures are counted, banned ones included.
///
/// At the bound the one whose last failure is the oldest goes, one that is not banned first. Who has more
/// networks than this to fail from can have its own bans forgotten, and still gets no more tries than
/// the budgets of strangers have; that of others who are banned buys it nothing.
const MAX: usize = 1_024;

/// Failed authentications by source. Only such failures come here whose sender is known to receive
/// at its address, so nobody can have somebody else banned.
pub(super) struct Offenders {
    ban: Option<Ban>,
    known: SourceMap<Offender>,
    /// When the last ban ends: as long as nobody is banned, nobody has to be looked up.
    last: Instant,
}

struct Offender {
    /// The first failure that counts.
    first: Instant,
    last: Instant,
    failures: u32,
    banned_until: Option<Instant>,
}

impl Offender {
    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }
}

impl Offenders {
    pub(super) fn new(ban: Option<Ban>) -> Offenders {
        // Twice as much as is needed: so the map never grows, however often its entries change.
        Offenders {
            ban,
            known: SourceMap::with_capacity_and_hasher(2 * MAX, Default::default()),
            last: Instant(0),
        }
    }

    /// Whether a source is not heard.
    pub(super) fn is_banned(&self, source: Source, now: Instant) -> bool {
        now < self.last && self.known.get(&source).is_some_and(|offender| offender.is_banned(now))
    }

    /// Counts a failure. `Some`: with it the source is banned.
    ///
    /// A failure counts for the time of a ban from the first one on; then counting begins anew.
    pub(super) fn failed(&mut self, source: Source, now: Instant) -> Option<Ban> {
        let ban = self.ban?;
        if self.known.len() >= MAX && !self.known.contains_key(&source) {
            self.forget_one(now);
        }
        let none = Offender { first: now, last: now, failures: 0, banned_until: None };
        let offender = self.known.entry(source).or_insert(none);
        if offender.is_banned(now) {
            return None;
        }
        if offender.banned_until.is_some() || now - offender.first >= ban.time {
            *offender = Offender { first: now, last: now, failures: 0, banned_until: None };
        }
        offender.failures = offender.failures.saturating_add(1);
        offender.last = now;
        if offender.failures < ban.failures {
            return None;
        }
        let until = now + ban.time;
        offender.banned_until = Some(until);
        self.last = self.last.max(until);
        Some(ban)
    }

    /// Somebody there proved who they are: what failed before was a mistake.
    pub(super) fn authenticated(&mut self, source: Source, now: Instant) {
        if self.known.get(&source).is_some_and(|offender| !offender.is_banned(now)) {
            self.known.remove(&source);
        }
    }

    /// A phone is there: it is heard.
    pub(super) fn pardon(&mut self, source: Source) {
        self.known.remove(&source);
    }

    fn forget_one(&mut self, now: Instant) {
        let oldest = self
            .known
            .iter()
            .min_by_key(|(source, offender)| (offender.is_banned(now), offender.last, source.prefix));
        if let Some((&source, _)) = oldest {
            self.known.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::prefix::Key;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    const BAN: Ban = Ban { failures: 3, time: Duration::from_secs(60) };

    fn source(n: u32) -> Source {
        Key::new((3, 4)).source(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
    }

    fn ban(offenders: &mut Offenders, n: u32, now: u64) {
        let bans = (0..3).filter_map(|_| offenders.failed(source(n), Instant(now))).count();
        assert_eq!(bans, 1);
    }

    #[test]
    fn so_many_failures_are_a_ban_for_a_while() {
        let mut offenders = Offenders::new(Some(BAN));
        assert_eq!(offenders.failed(source(1), Instant(0)), None);
        assert_eq!(offenders.failed(source(1), Instant(10)), None);
        assert!(!offenders.is_banned(source(1), Instant(10)));
        assert_eq!(offenders.failed(source(1), Instant(20)), Some(BAN));
        assert!(
            offenders.is_banned(source(1), Instant(60_019)) && !offenders.is_banned(source(2), Instant(20))
        );
        assert_eq!(offenders.failed(source(1), Instant(30)), None, "it is told once");
        assert!(!offenders.is_banned(source(1), Instant(60_020)));
        // And then it has as many tries as before.
        assert_eq!(offenders.failed(source(1), Instant(60_020)), None);
        assert_eq!(offenders.failed(source(1), Instant(60_020)), None);
        assert_eq!(offenders.failed(source(1), Instant(60_020)), Some(BAN));
    }

    #[test]
    fn failures_are_forgotten() {
        let mut offenders = Offenders::new(Some(BAN));
        for round in 0..10 {
            assert_eq!(offenders.failed(source(1), Instant(round * 60_000)), None);
            assert_eq!(offenders.failed(source(1), Instant(round * 60_000 + 59_999)), None);
        }
        offenders.authenticated(source(1), Instant(600_000));
        assert_eq!(offenders.failed(source(1), Instant(600_000)), None);
        assert_eq!(offenders.failed(source(1), Instant(600_000)), None);
    }

    #[test]
    fn right_credentials_end_no_ban_but_a_binding_does() {
        let mut offenders = Offenders::new(Some(BAN));
        ban(&mut offenders, 1, 0);
        offenders.authenticated(source(1), Instant(1));
        assert!(offenders.is_banned(source(1), Instant(1)));
        offenders.pardon(source(1));
        assert!(!offenders.is_banned(source(1), Instant(1)));
    }

    #[test]
    fn never_is_never() {
        let mut offenders = Offenders::new(None);
        for _ in 0..10_000 {
            assert_eq!(offenders.failed(source(1), Instant(0)), None);
        }
        assert!(offenders.known.is_empty());
    }

    #[test]
    fn when_there_is_no_room_the_oldest_that_is_not_banned_goes() {
        let mut offenders = Offenders::new(Some(BAN));
        let room = offenders.known.capacity();
        ban(&mut offenders, 0, 0);
        for n in 1..50_000 {
            offenders.failed(source(n), Instant(u64::from(n) / 1_000));
            assert!(offenders.known.len() <= MAX);
        }
        assert!(offenders.is_banned(source(0), Instant(50)));
        assert!(
            offenders.known.contains_key(&source(49_999)) && offenders.known.contains_key(&source(49_000))
        );
        assert!(!offenders.known.contains_key(&source(48_000)));
        for n in 0..MAX as u32 {
            ban(&mut offenders, 100_000 + n, 100);
        }
        assert!(!offenders.is_banned(source(0), Instant(100)), "all are banned, and this is the oldest");
        assert!(offenders.is_banned(source(100_000), Instant(100)));
        assert!(offenders.known.capacity() <= room, "the map never grew");
    }
}

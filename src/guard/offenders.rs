//! Who has the wrong password too often.

use super::prefix::{Prefix, Source};
use super::table::{Place, Table};
use crate::config::Ban;
use crate::time::Instant;

/// Failed authentications by source. Only such failures come here whose sender is known to receive
/// at its address, so nobody can have somebody else banned.
///
/// The table has 1,024 places in 40 KiB. Where the eight of a set are taken, the source whose last failure
/// is the oldest goes, one that is not banned first. Who has so many networks to fail from can have
/// failures and bans forgotten, and still gets no more tries than the budgets of strangers give.
pub(super) struct Offenders {
    ban: Option<Ban>,
    known: Table<Offender, 8, 128>,
    /// When the last ban ends: as long as nobody is banned, nobody has to be looked up.
    last: Instant,
}

#[derive(Clone, Copy, Default)]
struct Offender {
    /// The first failure that counts.
    first: Instant,
    last: Instant,
    failures: u32,
    /// Past for who is not banned.
    banned_until: Instant,
}

impl Offenders {
    pub(super) fn new(ban: Option<Ban>) -> Offenders {
        Offenders { ban, known: Table::new(Offender::default()), last: Instant(0) }
    }

    /// Goes by another rule. Whoever is banned stays so for the time that was said, unless nobody is to be.
    pub(super) fn reload(&mut self, ban: Option<Ban>) {
        self.ban = ban;
        if ban.is_none() {
            self.last = Instant(0);
        }
    }

    /// Whether a source is not heard.
    pub(super) fn is_banned(&self, source: Source, now: Instant) -> bool {
        now < self.last && self.known.get(source).is_some_and(|offender| now < offender.banned_until)
    }

    /// Counts a failure. `Some`: with it the source is banned.
    ///
    /// A failure counts for the time of a ban from the first one on; then counting begins anew.
    pub(super) fn failed(&mut self, source: Source, now: Instant) -> Option<Ban> {
        let ban = self.ban?;
        let offender = match self.known.place(source, |known| (now < known.banned_until, known.last)) {
            Place::Own(offender) => offender,
            Place::Taken(offender) => {
                *offender = Offender::default();
                offender
            }
        };
        if now < offender.banned_until {
            return None;
        }
        let served = offender.failures >= ban.failures;
        if offender.failures == 0 || served || now - offender.first >= ban.time {
            *offender = Offender { first: now, ..Offender::default() };
        }
        offender.failures += 1;
        offender.last = now;
        if offender.failures < ban.failures {
            return None;
        }
        offender.banned_until = now + ban.time;
        self.last = self.last.max(offender.banned_until);
        Some(ban)
    }

    /// A source that is banned already, after so many failures. Where nobody is banned any more, nor is this one.
    pub(super) fn restore(&mut self, source: Source, now: Instant, failures: u32, until: Instant) {
        if self.ban.is_none() {
            return;
        }
        let (Place::Own(offender) | Place::Taken(offender)) =
            self.known.place(source, |known| (now < known.banned_until, known.last));
        *offender = Offender { first: now, last: now, failures, banned_until: until };
        self.last = self.last.max(until);
    }

    /// Those that are banned, by how many failures and until when.
    pub(super) fn banned(&self, now: Instant) -> impl Iterator<Item = (Prefix, u32, Instant)> {
        let banned = self.known.iter().filter(move |(_, offender)| now < offender.banned_until);
        banned.map(|(source, offender)| (source, offender.failures, offender.banned_until))
    }

    /// The operator pardons a source, or all. Which of them were banned.
    pub(super) fn lift(&mut self, source: Option<Source>, now: Instant) -> Vec<Prefix> {
        let lifted = self.banned(now).map(|(banned, ..)| banned);
        let lifted = lifted.filter(|banned| source.is_none_or(|source| source.prefix == *banned)).collect();
        match source {
            Some(source) => self.pardon(source),
            None => *self = Offenders::new(self.ban),
        }
        lifted
    }

    /// Somebody there proved who they are: what failed before was a mistake.
    pub(super) fn authenticated(&mut self, source: Source, now: Instant) {
        if !self.is_banned(source, now) {
            self.pardon(source);
        }
    }

    /// A phone is there: it is heard.
    pub(super) fn pardon(&mut self, source: Source) {
        if let Some(offender) = self.known.get_mut(source) {
            *offender = Offender::default();
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
    fn the_operator_pardons_one_or_all() {
        let mut offenders = Offenders::new(Some(BAN));
        for n in 1..4 {
            ban(&mut offenders, n, 0);
        }
        offenders.failed(source(4), Instant(0));
        assert_eq!(offenders.banned(Instant(1)).count(), 3);
        assert_eq!(offenders.lift(Some(source(2)), Instant(1)), [source(2).prefix]);
        assert!(!offenders.is_banned(source(2), Instant(1)));
        assert_eq!(offenders.lift(Some(source(4)), Instant(1)), []);
        assert_eq!(offenders.lift(None, Instant(1)).len(), 2);
        assert!(!offenders.is_banned(source(1), Instant(1)) && offenders.banned(Instant(1)).next().is_none());
    }

    #[test]
    fn never_is_never() {
        let mut offenders = Offenders::new(None);
        for _ in 0..10_000 {
            assert_eq!(offenders.failed(source(1), Instant(0)), None);
        }
        assert!(!offenders.is_banned(source(1), Instant(1)));
    }

    #[test]
    fn when_there_is_no_room_the_oldest_that_is_not_banned_goes() {
        let mut offenders = Offenders::new(Some(BAN));
        ban(&mut offenders, 0, 0);
        for n in 1..50_000 {
            offenders.failed(source(n), Instant(u64::from(n) / 1_000));
        }
        assert!(offenders.is_banned(source(0), Instant(50)));
        assert!(
            offenders.known.get(source(49_999)).is_some() && offenders.known.get(source(30_000)).is_none()
        );
        for n in 50_000..70_000 {
            ban(&mut offenders, n, 100);
        }
        assert!(!offenders.is_banned(source(0), Instant(100)), "all are banned, and this is the oldest");
        assert!(offenders.is_banned(source(69_999), Instant(100)));
    }

    #[test]
    fn the_table_is_as_large_as_is_said() {
        let offenders = Offenders::new(None);
        assert_eq!(offenders.known.iter().count(), 1_024);
        assert_eq!(1_024 * (size_of::<Offender>() + size_of::<Prefix>()), 40 << 10);
    }
}

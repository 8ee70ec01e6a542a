//! Whom the operator has banned.

use std::time::Duration;

use super::prefix::Prefix;
use crate::time::Instant;

/// The most of them. At the bound, one more is refused: the operator knows what is no longer needed.
pub const MAX_EDICTS: usize = 256;

/// Sources that are not heard because the operator said so, whoever is there. As long as there are none,
/// looking costs nothing.
#[derive(Default)]
pub(super) struct Edicts(Vec<(Prefix, Instant)>);

impl Edicts {
    /// Whether a source is not heard.
    pub(super) fn has(&self, source: Prefix, now: Instant) -> bool {
        self.0.iter().any(|(banned, until)| *banned == source && now < *until)
    }

    /// Bans a source from now on, for a while that takes the place of what was said before. False: there
    /// are too many.
    pub(super) fn ban(&mut self, source: Prefix, now: Instant, time: Duration) -> bool {
        self.0.retain(|(banned, until)| *banned != source && now < *until);
        let has_room = self.0.len() < MAX_EDICTS;
        if has_room {
            self.0.push((source, now + time));
        }
        has_room
    }

    /// Takes back what was said about a source, or about all. Whom it concerned.
    pub(super) fn lift(&mut self, source: Option<Prefix>, now: Instant) -> Vec<Prefix> {
        let lifted = self.0.extract_if(.., |(banned, _)| source.is_none_or(|source| *banned == source));
        lifted.filter(|(_, until)| now < *until).map(|(banned, _)| banned).collect()
    }

    /// Those that hold, and until when.
    pub(super) fn all(&self, now: Instant) -> impl Iterator<Item = (Prefix, Instant)> {
        self.0.iter().copied().filter(move |(_, until)| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn prefix(n: u32) -> Prefix {
        Prefix::of(Ipv4Addr::from_bits(0x0a00_0000 + n).into())
    }

    #[test]
    fn an_edict_holds_for_its_time_or_until_it_is_lifted() {
        let mut edicts = Edicts::default();
        let minute = Duration::from_secs(60);
        assert!(edicts.ban(prefix(1), Instant(0), minute));
        assert!(edicts.ban(prefix(2), Instant(0), 2 * minute));
        assert!(edicts.has(prefix(1), Instant(59_999)) && !edicts.has(prefix(1), Instant(60_000)));
        assert!(!edicts.has(prefix(3), Instant(0)));
        // The last word counts.
        assert!(edicts.ban(prefix(2), Instant(10), minute));
        assert!(!edicts.has(prefix(2), Instant(60_010)));
        assert_eq!(edicts.lift(Some(prefix(2)), Instant(20)), [prefix(2)]);
        assert_eq!(edicts.lift(Some(prefix(2)), Instant(20)), []);
        assert_eq!(edicts.lift(None, Instant(60_000)), [], "it was over");
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut edicts = Edicts::default();
        let minute = Duration::from_secs(60);
        for n in 0..MAX_EDICTS {
            assert!(edicts.ban(prefix(n as u32), Instant(0), minute));
        }
        assert!(!edicts.ban(prefix(9_999), Instant(0), minute));
        assert!(edicts.ban(prefix(7), Instant(0), minute), "it is there already");
        assert!(edicts.ban(prefix(9_999), Instant(60_000), minute), "the others are over");
    }
}

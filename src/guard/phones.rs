//! The sources where phones are registered.

use std::time::Duration;

use super::bucket::{Bucket, Budget};
use super::prefix::{Source, SourceMap};
use super::reason::Reason;
use super::strangers;
use crate::config::Config;
use crate::time::Instant;

/// How many seconds of its rate a source of phones may send at once.
const BURST: u32 = 2;

/// Every source that has a live binding, with its own budget. There are at most as many as bindings.
pub(super) struct Phones {
    known: SourceMap<Site>,
    budget: Budget,
    first: u32,
}

struct Site {
    bindings: u32,
    packets: Bucket,
}

impl Phones {
    pub(super) fn new(config: &Config) -> Phones {
        Phones { known: SourceMap::default(), budget: budget(config), first: first(config) }
    }

    /// Goes by other budgets.
    pub(super) fn reload(&mut self, config: &Config) {
        (self.budget, self.first) = (budget(config), first(config));
    }

    /// Takes a packet out of the budget of a source; `None` if no phone is there.
    ///
    /// # Errors
    ///
    /// The budget is used up.
    pub(super) fn packet(&mut self, source: Source, now: Instant) -> Option<Result<(), Reason>> {
        let phones = self.known.get_mut(&source)?;
        Some(if self.budget.take(&mut phones.packets, now) { Ok(()) } else { Err(Reason::Phone) })
    }

    /// Whether a phone is there.
    pub(super) fn has(&self, source: Source) -> bool {
        self.known.contains_key(&source)
    }

    /// A binding came. The first of a source brings no more tokens than a stranger may have, so that
    /// whoever comes and goes all the time gains nothing worth it; they fill up at a phone's rate.
    pub(super) fn bound(&mut self, source: Source, now: Instant) {
        let packets = self.budget.with(self.first, now);
        self.known.entry(source).or_insert(Site { bindings: 0, packets }).bindings += 1;
    }

    /// A binding went.
    pub(super) fn unbound(&mut self, source: Source) {
        if let Some(phones) = self.known.get_mut(&source) {
            phones.bindings -= 1;
            if phones.bindings == 0 {
                self.known.remove(&source);
            }
        }
    }
}

fn budget(config: &Config) -> Budget {
    let rate = config.rate_phone.0;
    Budget::new(rate, Duration::from_secs(1), rate.saturating_mul(BURST))
}

/// How many tokens the first phone of a source brings.
fn first(config: &Config) -> u32 {
    config.rate_stranger.0.saturating_mul(strangers::BURST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::prefix::Key;
    use std::net::{IpAddr, Ipv4Addr};

    fn source(n: u32) -> Source {
        Key::new((3, 4)).source(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
    }

    fn passed(phones: &mut Phones, now: u64) -> usize {
        (0..10_000).take_while(|_| phones.packet(source(1), Instant(now)) == Some(Ok(()))).count()
    }

    #[test]
    fn a_source_is_known_as_long_as_one_of_its_phones_is() {
        let mut phones = Phones::new(&Config::default());
        phones.bound(source(1), Instant(0));
        phones.bound(source(1), Instant(0));
        phones.unbound(source(1));
        phones.unbound(source(2));
        assert!(phones.has(source(1)) && !phones.has(source(2)));
        phones.unbound(source(1));
        assert!(!phones.has(source(1)));
        assert_eq!(phones.packet(source(1), Instant(0)), None);
        assert!(phones.known.is_empty());
    }

    #[test]
    fn it_has_a_budget_of_its_own() {
        let mut phones = Phones::new(&Config::default());
        phones.bound(source(1), Instant(0));
        assert_eq!(passed(&mut phones, 0), 50, "it begins with no more than a stranger may have");
        assert_eq!(passed(&mut phones, 1_000), 500);
        assert_eq!(passed(&mut phones, 10_000), 1_000);
        assert_eq!(phones.packet(source(1), Instant(10_000)), Some(Err(Reason::Phone)));
    }
}

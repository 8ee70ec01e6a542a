//! What those who are refused say of themselves.

use super::Refusal;
use super::prefix::Prefix;

/// Of how many sources it is kept.
const MAX: usize = 32;

/// What some sources said in the requests that were refused last.
///
/// Of [`MAX`] sources at most. Where these places are taken, each refusal of somebody else wears one
/// down, and takes the place of one that is worn out: whoever is refused more often than one time in
/// 33 has a place in the end (the counters of Misra and Gries).
#[derive(Default)]
pub(super) struct Details(Vec<Detail>);

/// The last refused request of a source.
pub(super) struct Detail {
    source: Prefix,
    weight: u32,
    pub(super) refusal: Refusal,
}

impl Details {
    /// Keeps what a refused request said, if its source is worth a place.
    pub(super) fn note(&mut self, source: Prefix, refusal: Refusal) {
        if let Some(detail) = self.0.iter_mut().find(|detail| detail.source == source) {
            detail.weight = detail.weight.saturating_add(1);
            detail.refusal = refusal;
        } else if self.0.len() < MAX {
            self.0.push(Detail { source, weight: 1, refusal });
        } else if let Some(weakest) = self.0.iter_mut().min_by_key(|detail| detail.weight) {
            if weakest.weight <= 1 {
                *weakest = Detail { source, weight: 1, refusal };
            } else {
                weakest.weight -= 1;
            }
        }
    }

    /// What a source said last, if that was kept.
    pub(super) fn take(&mut self, source: Prefix) -> Option<Refusal> {
        let at = self.0.iter().position(|detail| detail.source == source)?;
        Some(self.0.swap_remove(at).refusal)
    }

    /// The same, without forgetting it.
    pub(super) fn get(&self, source: Prefix) -> Option<&Refusal> {
        self.0.iter().find(|detail| detail.source == source).map(|detail| &detail.refusal)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn note(details: &mut Details, n: u32, number: &str) {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
        let refusal = Refusal {
            remote: (address, 5060).into(),
            method: "REGISTER".into(),
            number: number.into(),
            agent: String::new(),
            why: String::new(),
            answered: false,
            known: false,
        };
        details.note(prefix(n), refusal);
    }

    fn prefix(n: u32) -> Prefix {
        Prefix::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
    }

    #[test]
    fn the_last_word_counts() {
        let mut details = Details::default();
        note(&mut details, 1, "100");
        note(&mut details, 1, "101");
        assert_eq!(details.take(prefix(1)).unwrap().number, "101");
        assert!(details.take(prefix(1)).is_none());
    }

    #[test]
    fn who_comes_often_is_kept_and_who_comes_once_is_not() {
        let mut details = Details::default();
        for n in 0..10_000 {
            note(&mut details, 1_000 + n, "x");
            if n % 20 == 0 {
                note(&mut details, 1, "101");
            }
            assert!(details.0.len() <= MAX);
        }
        assert_eq!(details.take(prefix(1)).unwrap().number, "101");
        assert!(details.take(prefix(1_000)).is_none());
    }
}

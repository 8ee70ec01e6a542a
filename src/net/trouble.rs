//! What may go wrong in here and is none of the machine's business. People are told once a minute of
//! each kind, and otherwise how often.

use std::time::Duration;

use crate::switch::Instant;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There are as many connections as there may be.
    Full,
    /// The system has no room for one more.
    Exhausted,
    /// Datagrams could not be sent.
    Unsent,
    /// A connection began with something else than what is spoken there.
    Foreign,
    /// What must survive could not be written down.
    Unrecorded,
}

impl Trouble {
    const ALL: [Trouble; 5] =
        [Trouble::Full, Trouble::Exhausted, Trouble::Unsent, Trouble::Foreign, Trouble::Unrecorded];

    /// What happened, behind a number.
    fn again(self) -> &'static str {
        match self {
            Trouble::Full => "more connections were refused: as many are open as there may be",
            Trouble::Exhausted => "more connections could not be accepted: the system had no room for them",
            Trouble::Unsent => "more times datagrams could not be sent",
            Trouble::Foreign => "more connections began with something else than what is spoken there",
            Trouble::Unrecorded => "more times the state folder could not be written",
        }
    }
}

/// For how long nothing more is told of the same kind.
const MINUTE: Duration = Duration::from_secs(60);

/// When each kind was last told, and how often it came since.
#[derive(Debug, Default)]
pub(super) struct Troubles([(Option<Instant>, u64); Trouble::ALL.len()]);

impl Troubles {
    /// Counts a trouble. Whether it is to be told now.
    pub(super) fn count(&mut self, now: Instant, trouble: Trouble) -> bool {
        let (told, more) = &mut self.0[trouble as usize];
        let is_news = told.is_none_or(|told| now - told >= MINUTE);
        match is_news {
            true => *told = Some(now),
            false => *more += 1,
        }
        is_news
    }

    /// What was only counted until its minute was over, as sentences.
    pub(super) fn counted(&mut self, now: Instant) -> impl Iterator<Item = String> {
        self.0.iter_mut().zip(Trouble::ALL).filter_map(move |((told, more), trouble)| {
            let over = *more > 0 && told.is_some_and(|told| now - told >= MINUTE);
            over.then(|| {
                let sentence = format!("{more} {} (in {} s)", trouble.again(), MINUTE.as_secs());
                (*told, *more) = (Some(now), 0);
                sentence
            })
        })
    }

    /// When [`Troubles::counted`] will have something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter(|(_, more)| *more > 0).filter_map(|(told, _)| Some((*told)? + MINUTE)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_and_one_count_a_minute() {
        let mut troubles = Troubles::default();
        let at = |seconds: u64| Instant(1_000 * seconds);
        assert!(troubles.count(at(5), Trouble::Foreign));
        assert_eq!(troubles.deadline(), None);
        for second in 5..64 {
            assert!(!troubles.count(at(second), Trouble::Foreign));
        }
        // Another kind is told all the same.
        assert!(troubles.count(at(64), Trouble::Full));
        assert_eq!(troubles.counted(at(64)).next(), None);
        assert_eq!(troubles.deadline(), Some(at(65)));
        let counted: Vec<String> = troubles.counted(at(65)).collect();
        assert_eq!(
            counted,
            ["59 more connections began with something else than what is spoken there (in 60 s)"]
        );
        // The count was a sentence as well.
        assert_eq!(troubles.deadline(), None);
        assert!(!troubles.count(at(66), Trouble::Foreign));
        assert_eq!(troubles.deadline(), Some(at(125)));
    }
}

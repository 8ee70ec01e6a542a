//! What was answered, for as long as it holds (RFC 2308), and a while longer if nobody answers (RFC 8767).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::DnsError;
use super::record::{Answer, Content, Question};

/// The most answers that are kept: with 32 records of 300 octets each, which nobody has, that is 5 MB. Beyond
/// that, the one goes that would go first.
pub(super) const MAX_ENTRIES: usize = 512;

/// How long an answer holds at least and at most, whatever it says.
const POSITIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(86_400));

/// The same for the answer that there is none.
const NEGATIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How long nothing is asked again after nobody could answer.
const FAILURE: Duration = Duration::from_secs(5);

/// For how long after its time an answer is used if nobody gives a new one.
const STALE: Duration = Duration::from_secs(3600);

/// How long nothing is asked again when an answer is used after its time (RFC 8767 §5).
const STALE_HOLDS: Duration = Duration::from_secs(30);

/// Answers, by what was asked.
#[derive(Default)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
}

struct Entry {
    known: Result<Answer, DnsError>,
    /// When it is to be asked again.
    until: Instant,
    /// When it is of no use, even if nobody answers.
    end: Instant,
}

impl Cache {
    /// What is known, with the time that is left of it.
    pub(super) fn get(&self, question: &Question, now: Instant) -> Option<Result<Answer, DnsError>> {
        let entry = self.entries.get(question).filter(|entry| now < entry.until)?;
        Some(entry.known.clone().map(|answer| Answer { ttl: entry.until - now, ..answer }))
    }

    /// Keeps what was found out, and returns what is to be made of it: an older answer, where nobody gives a
    /// new one.
    pub(super) fn put(
        &mut self,
        question: &Question,
        found: Result<Answer, DnsError>,
        now: Instant,
    ) -> Result<Answer, DnsError> {
        let is_failure = found.as_ref().is_err_and(|error| error.reason.is_failure());
        if is_failure
            && let Some(old) = self.entries.get_mut(question)
            && now < old.end
            && let Ok(answer) = &old.known
        {
            old.until = old.end.min(now + STALE_HOLDS);
            return Ok(Answer { ttl: old.until - now, ..answer.clone() });
        }
        let (lasts, beyond) = match &found {
            Ok(answer) => {
                let (least, most) = match answer.content {
                    Content::Records(_) | Content::Alias(_) => POSITIVE,
                    Content::NoRecords | Content::NoSuchName => NEGATIVE,
                };
                (answer.ttl.clamp(least, most), STALE)
            }
            Err(_) => (FAILURE, Duration::ZERO),
        };
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(question) {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(first) = first.map(|(question, _)| question.clone()) {
                self.entries.remove(&first);
            }
        }
        let until = now + lasts;
        let entry = Entry { known: found.clone(), until, end: until + beyond };
        self.entries.insert(question.clone(), entry);
        found.map(|answer| Answer { ttl: lasts, ..answer })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dns::record::Kind;
    use crate::dns::{Name, Reason};

    fn question(name: &str) -> Question {
        Question { name: Name::new(name).unwrap(), kind: Kind::A }
    }

    fn answer(content: Content, seconds: u64) -> Result<Answer, DnsError> {
        Ok(Answer { content, aliases: 0, ttl: Duration::from_secs(seconds), server: None })
    }

    fn failure(reason: Reason) -> Result<Answer, DnsError> {
        Err(DnsError { name: Name::new("a.example").unwrap(), reason, asked: Vec::new() })
    }

    fn alias() -> Content {
        Content::Alias(Name::new("b.example").unwrap())
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says_within_bounds() {
        let (start, a) = (Instant::now(), question("a.example"));
        let lasts = |content, said| {
            let mut cache = Cache::default();
            let ttl = cache.put(&a, answer(content, said), start).unwrap().ttl;
            assert_eq!(cache.get(&a, start + ttl / 2).unwrap().unwrap().ttl, ttl / 2);
            assert!(cache.get(&a, start + ttl).is_none());
            ttl.as_secs()
        };
        assert_eq!([0, 100, 1_000_000].map(|said| lasts(alias(), said)), [5, 100, 86_400]);
        assert_eq!([0, 100, 1_000_000].map(|said| lasts(Content::NoSuchName, said)), [5, 100, 300]);
    }

    #[test]
    fn an_old_answer_serves_for_an_hour_while_nobody_gives_a_new_one() {
        let (start, a) = (Instant::now(), question("a.example"));
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut cache = Cache::default();
        cache.put(&a, answer(alias(), 60), start).unwrap();
        assert!(cache.get(&a, after(60)).is_none(), "it is asked again");
        let old = cache.put(&a, failure(Reason::NoAnswer), after(70)).unwrap();
        assert_eq!((old.content, old.ttl.as_secs()), (alias(), 30));
        assert!(cache.get(&a, after(99)).is_some() && cache.get(&a, after(100)).is_none());
        let old = cache.put(&a, failure(Reason::Failed(2)), after(3_650)).unwrap();
        assert_eq!(old.ttl.as_secs(), 10, "not beyond the hour");
        let gone = cache.put(&a, failure(Reason::NoAnswer), after(3_660)).unwrap_err();
        assert_eq!(gone.reason, Reason::NoAnswer);
        assert!(cache.get(&a, after(3_664)).unwrap().is_err() && cache.get(&a, after(3_665)).is_none());
    }

    #[test]
    fn who_says_that_it_is_gone_is_believed() {
        let (start, a) = (Instant::now(), question("a.example"));
        let mut cache = Cache::default();
        cache.put(&a, answer(alias(), 60), start).unwrap();
        let later = start + Duration::from_secs(60);
        let found = cache.put(&a, answer(Content::NoSuchName, 10), later).unwrap();
        assert_eq!(found.content, Content::NoSuchName);
        let found = cache.put(&a, failure(Reason::AliasLoop), later + Duration::from_secs(10));
        assert_eq!(found.unwrap_err().reason, Reason::AliasLoop);
    }

    #[test]
    fn when_it_is_full_the_one_goes_that_would_go_first() {
        let start = Instant::now();
        let mut cache = Cache::default();
        for number in 0..MAX_ENTRIES as u64 {
            let lasts = if number == 77 { 50 } else { 100 + number };
            cache.put(&question(&format!("n{number}.example")), answer(alias(), lasts), start).unwrap();
        }
        cache.put(&question("one-more.example"), answer(alias(), 60), start).unwrap();
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        assert!(cache.get(&question("n77.example"), start).is_none());
        assert!(cache.get(&question("n0.example"), start).is_some());
        assert!(cache.get(&question("one-more.example"), start).is_some());
    }
}

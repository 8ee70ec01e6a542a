//! What people are told, and how little of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::details::Details;
use super::prefix::{Prefix, Source};
use super::reason::{Reason, Words};
use super::tally::{Count, NAMED, Tally, Vain};
use super::{News, Refusal, Summary};
use crate::time::Instant;

/// How long is counted before it is told.
const PERIOD: Duration = Duration::from_secs(60);
/// The most refusals, and the most bans, that are told at once in any 60 s.
const AT_ONCE: usize = 10;
/// How many of the refusals may be of one source: a scan that comes across extensions leaves room for
/// the mistakes of their owners.
const AT_ONCE_OF_SOURCE: usize = 3;

/// Counts, and tells.
///
/// In 60 s there are at most ten refusals and ten bans that are told at once, one line for each of the
/// five busiest sources, and one for all others. If nothing came in vain, nothing is said.
pub(super) struct Herald {
    words: Words,
    tally: Tally,
    details: Details,
    /// When the first of what is counted came; `None`: nothing is.
    since: Option<Instant>,
    /// The refusals that were told in the last 60 s, at most [`AT_ONCE`], the oldest first.
    refused: VecDeque<(Instant, Prefix, String)>,
    /// The bans that were.
    banned: VecDeque<Instant>,
    /// What is to be told now: whoever asks after each input finds few.
    news: VecDeque<News>,
}

impl Herald {
    pub(super) fn new(words: Words) -> Herald {
        Herald {
            words,
            tally: Tally::new(),
            details: Details::default(),
            since: None,
            refused: VecDeque::new(),
            banned: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Goes by other words. What was counted is told in those that it was counted by.
    pub(super) fn reload(&mut self, now: Instant, words: Words) {
        if let Some(since) = self.since.take() {
            self.close(now - since);
        }
        self.words = words;
    }

    /// Counts something that was in vain.
    pub(super) fn count(&mut self, now: Instant, source: Source, vain: Vain, reason: Reason) {
        self.since.get_or_insert(now);
        self.tally.count(source, vain, reason);
    }

    /// A request was refused: it is told now if it may be the mistake of an owner, else counted.
    pub(super) fn refused(&mut self, now: Instant, source: Source, refusal: Refusal) {
        if refusal.known && self.may_tell(now, source.prefix, &refusal.number) {
            self.news.push_back(News::Refused(refusal));
        } else {
            self.count(now, source, Vain::Request, Reason::Refused);
            self.details.note(source.prefix, refusal);
        }
    }

    /// A source is banned. If too many are, the summary says it of those who go on.
    pub(super) fn banned(&mut self, now: Instant, ban: News) {
        while self.banned.front().is_some_and(|&told| now - told >= PERIOD) {
            self.banned.pop_front();
        }
        if self.banned.len() < AT_ONCE {
            self.banned.push_back(now);
            self.news.push_back(ban);
        }
    }

    /// The next thing to tell.
    pub(super) fn next(&mut self, now: Instant) -> Option<News> {
        if let Some(since) = self.since.take_if(|since| now - *since >= PERIOD) {
            self.close(now - since);
        }
        self.news.pop_front()
    }

    /// When there will be something to tell.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.news.is_empty() { Some(self.since? + PERIOD) } else { Some(Instant(0)) }
    }

    /// Once in 60 s for a source and number, [`AT_ONCE_OF_SOURCE`] times for a source, and [`AT_ONCE`]
    /// times over all.
    fn may_tell(&mut self, now: Instant, source: Prefix, number: &str) -> bool {
        while self.refused.front().is_some_and(|(told, ..)| now - *told >= PERIOD) {
            self.refused.pop_front();
        }
        let of_source = || self.refused.iter().filter(|(_, s, _)| *s == source);
        let again = of_source().any(|(_, _, n)| n == number);
        let may = !again && of_source().count() < AT_ONCE_OF_SOURCE && self.refused.len() < AT_ONCE;
        if may {
            self.refused.push_back((now, source, number.into()));
        }
        may
    }

    /// The period is over.
    fn close(&mut self, period: Duration) {
        let report = self.tally.close();
        for (source, count) in report.named {
            let said = self.details.take(source);
            let summary = self.summary(source, count, period, said);
            self.news.push_back(News::Summary(summary));
        }
        if report.packets > 0 {
            let (sources, packets) = (report.sources, report.packets);
            self.news.push_back(News::Others { sources, packets, period });
        }
        self.details.clear();
    }

    /// What would be told of the busiest if the period were over now.
    pub(super) fn so_far(&self, now: Instant) -> Vec<Summary> {
        let Some(since) = self.since else { return Vec::new() };
        let busiest = self.tally.busiest().into_iter().take(NAMED);
        busiest
            .map(|(source, count)| {
                self.summary(source, count, now - since, self.details.get(source).cloned())
            })
            .collect()
    }

    fn summary(&self, source: Prefix, count: Count, period: Duration, said: Option<Refusal>) -> Summary {
        let (why, agent, number) = match said {
            Some(said) if count.reason == Reason::Refused => (said.why, said.agent, said.number),
            Some(said) => (self.words.say(count.reason), said.agent, said.number),
            None => (self.words.say(count.reason), String::new(), String::new()),
        };
        let Count { dropped, refused, connections, .. } = count;
        Summary { source, period, dropped, refused, connections, why, agent, number }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::guard::prefix::Key;
    use std::net::IpAddr;

    fn herald() -> Herald {
        Herald::new(Words::new(&Config::default()))
    }

    fn source(address: &str) -> Source {
        Key::new((3, 4)).source(address.parse().unwrap())
    }

    fn refuse(herald: &mut Herald, now: u64, address: &str, number: &str, known: bool) {
        let address: IpAddr = address.parse().unwrap();
        let refusal = Refusal {
            remote: (address, 5060).into(),
            method: "REGISTER".into(),
            number: number.into(),
            agent: "friendly-scanner".into(),
            why: "no such domain (domain)".into(),
            answered: true,
            known,
        };
        herald.refused(Instant(now), Key::new((3, 4)).source(address), refusal);
    }

    fn told(herald: &mut Herald, now: u64) -> Vec<News> {
        std::iter::from_fn(|| herald.next(Instant(now))).collect()
    }

    #[test]
    fn the_mistake_of_an_owner_is_told_at_once_and_once() {
        let mut herald = herald();
        for now in 0..100 {
            refuse(&mut herald, now, "10.0.0.1", "101", true);
        }
        refuse(&mut herald, 100, "10.0.0.1", "102", true);
        let news = told(&mut herald, 100);
        let numbers = news.iter().map(|news| match news {
            News::Refused(refusal) => refusal.number.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(numbers.collect::<Vec<_>>(), ["101", "102"]);
        // The second one came at 1 ms.
        assert_eq!(herald.deadline(), Some(Instant(60_001)));
        match told(&mut herald, 60_001).as_slice() {
            [News::Summary(summary)] => assert_eq!(summary.refused, 99),
            other => panic!("{other:?}"),
        }
        refuse(&mut herald, 60_002, "10.0.0.1", "101", true);
        assert_eq!(told(&mut herald, 60_002).len(), 1);
    }

    #[test]
    fn what_was_told_at_once_is_not_told_again() {
        let mut herald = herald();
        refuse(&mut herald, 0, "10.0.0.1", "101", true);
        assert_eq!(herald.deadline(), Some(Instant(0)));
        assert_eq!(told(&mut herald, 0).len(), 1);
        assert_eq!(herald.deadline(), None);
        assert_eq!(told(&mut herald, 1_000_000), []);
    }

    #[test]
    fn ten_at_once_are_enough() {
        let mut herald = herald();
        for n in 0..100 {
            refuse(&mut herald, 0, &format!("10.0.0.{n}"), "101", true);
        }
        assert_eq!(told(&mut herald, 0).len(), 10);
        let news = told(&mut herald, 60_000);
        assert_eq!(news.len(), 6);
        let period = Duration::from_secs(60);
        assert_eq!(news[5], News::Others { sources: 85, packets: 85, period });
        for n in 0..100 {
            let ban = News::Banned {
                source: source("10.0.0.1").prefix,
                failures: 10,
                time: PERIOD,
                number: n.to_string(),
            };
            herald.banned(Instant(60_000), ban);
        }
        assert_eq!(told(&mut herald, 60_000).len(), 10);
    }

    #[test]
    fn who_finds_many_extensions_is_not_told_of_instead_of_their_owners() {
        let mut herald = herald();
        for n in 100..200 {
            refuse(&mut herald, 0, "203.0.113.7", &n.to_string(), true);
        }
        refuse(&mut herald, 0, "10.0.0.1", "101", true);
        let of_owner =
            |news: &News| matches!(news, News::Refused(r) if r.remote.ip().to_string() == "10.0.0.1");
        let news = told(&mut herald, 0);
        assert!(news.len() == 4 && news.iter().any(of_owner), "{news:?}");
    }

    #[test]
    fn a_summary_has_the_most_telling() {
        let mut herald = herald();
        let (scanner, flood) = (source("203.0.113.7"), source("2001:db8::7"));
        for n in 0..90 {
            refuse(&mut herald, 1_000, "203.0.113.7", &n.to_string(), false);
            herald.count(Instant(1_000), flood, Vain::Packet, Reason::Stranger);
        }
        herald.count(Instant(1_000), scanner, Vain::Packet, Reason::Stranger);
        refuse(&mut herald, 1_000, "2001:db8::8", "900", false);
        assert_eq!(told(&mut herald, 60_999), []);
        let period = Duration::from_secs(61);
        let summaries = [
            News::Summary(Summary {
                source: flood.prefix,
                period,
                dropped: 90,
                refused: 1,
                connections: 0,
                why: "more than 10 packets a second (rate.stranger)".into(),
                agent: "friendly-scanner".into(),
                number: "900".into(),
            }),
            News::Summary(Summary {
                source: scanner.prefix,
                period,
                dropped: 1,
                refused: 90,
                connections: 0,
                why: "no such domain (domain)".into(),
                agent: "friendly-scanner".into(),
                number: "89".into(),
            }),
        ];
        assert_eq!(told(&mut herald, 62_000), summaries);
        assert_eq!(herald.deadline(), None);
    }
}

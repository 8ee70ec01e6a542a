//! What the guard tells, one sentence each.

use std::fmt;

use super::words::{Foreign, Things, Time};
use crate::config::LogLevel;
use crate::guard::{News, Refusal, Summary};

/// How much of a number is shown: more than any is long, but for those that are dialled to find out
/// which prefix leads outside.
const NUMBER: usize = 32;

/// News as a sentence, and how much they matter: strangers are everyday.
pub(super) fn sentence(news: &News) -> (LogLevel, String) {
    let said = match news {
        News::Refused(refusal) => refused(refusal),
        News::Summary(summary) => in_vain(summary),
        News::Others { sources, packets, period } => {
            let (sources, packets) = (Things(*sources, "other source"), Things(*packets, "packet"));
            format!("{sources} sent {packets} in {} in vain", Time(*period))
        }
        News::Banned { source, failures, time, number } => {
            let (time, failures) = (Time(*time), Things(u64::from(*failures), "wrong password"));
            let last = About(", the last for ", number, NUMBER);
            format!("{source} is not heard for {time}: {failures}{last} (ban)")
        }
    };
    (LogLevel::Info, said)
}

/// `refused REGISTER of 101 from 203.0.113.7:5060: wrong password (ext.101); friendly-scanner`.
fn refused(refusal: &Refusal) -> String {
    let done = if refusal.answered { "refused" } else { "did not answer" };
    let method = Foreign { text: &refusal.method, most: 32 };
    let (number, agent) = (About(" of ", &refusal.number, 64), About("; ", &refusal.agent, 64));
    let why = Foreign { text: &refusal.why, most: 200 };
    format!("{done} {method}{number} from {}: {why}{agent}", refusal.remote)
}

/// `198.51.100.9 sent 41,234 packets in 60 s in vain: more than 10 packets a second (rate.stranger);
/// friendly-scanner, last for 900972598887766`.
fn in_vain(summary: &Summary) -> String {
    let Summary { source, connections, .. } = summary;
    let what = match (summary.dropped.saturating_add(summary.refused), *connections) {
        (0, connections) => format!("opened {}", Things(connections, "connection")),
        (packets, 0) => format!("sent {}", Things(packets, "packet")),
        (packets, connections) => {
            format!("sent {} and opened {}", Things(packets, "packet"), Things(connections, "connection"))
        }
    };
    let why = Foreign { text: &summary.why, most: 200 };
    let agent = About("; ", &summary.agent, 64);
    let before = if summary.agent.is_empty() { "; last for " } else { ", last for " };
    let number = About(before, &summary.number, NUMBER);
    format!("{source} {what} in {} in vain: {why}{agent}{number}", Time(summary.period))
}

/// Words, and what somebody said, shown up to so many characters; nothing where nothing was said.
struct About<'a>(&'a str, &'a str, usize);

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About(words, text, most) = *self;
        match text {
            "" => Ok(()),
            text => write!(f, "{words}{}", Foreign { text, most }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::guard::Prefix;
    use std::time::Duration;

    fn said(news: &News) -> String {
        let (level, said) = sentence(news);
        assert_eq!(level, LogLevel::Info);
        said
    }

    fn refusal(number: &str, agent: &str) -> Refusal {
        Refusal {
            remote: "198.51.100.9:5071".parse().unwrap(),
            method: "INVITE".into(),
            number: number.into(),
            agent: agent.into(),
            why: "used host 192.0.2.1 instead of pbx.example.net (domain)".into(),
            answered: false,
            known: false,
        }
    }

    fn connections(source: &str) -> Summary {
        Summary {
            source: Prefix::of(source.parse().unwrap()),
            period: Duration::from_secs(60),
            dropped: 0,
            refused: 0,
            connections: 22,
            why: "more than 8 connections without authentication".into(),
            agent: String::new(),
            number: String::new(),
        }
    }

    fn flood(source: &str) -> Summary {
        Summary {
            dropped: 41_200,
            refused: 34,
            connections: 0,
            why: "more than 10 packets a second (rate.stranger)".into(),
            agent: "friendly-scanner".into(),
            number: "900972598887766".into(),
            ..connections(source)
        }
    }

    #[test]
    fn a_scan_is_one_line() {
        let flood = flood("198.51.100.9");
        assert_eq!(
            said(&News::Summary(flood.clone())),
            "198.51.100.9 sent 41,234 packets in 1 min in vain: more than 10 packets a second \
             (rate.stranger); friendly-scanner, last for 900972598887766"
        );
        let ending = |agent: &str, number: &str| {
            let summary = Summary { agent: agent.into(), number: number.into(), ..flood.clone() };
            said(&News::Summary(summary)).split_once("(rate.stranger)").unwrap().1.to_owned()
        };
        assert_eq!(ending("", ""), "");
        assert_eq!(ending("", "101"), "; last for 101");
        assert_eq!(ending("sipcli", ""), "; sipcli");
        assert_eq!(ending("", &"9".repeat(40)), format!("; last for {}...", "9".repeat(32)));
        let others = News::Others { sources: 96, packets: 2_016, period: Duration::from_secs(75) };
        assert_eq!(said(&others), "96 other sources sent 2,016 packets in 1 min 15 s in vain");
    }

    #[test]
    fn connections_are_named_as_such() {
        let summary = connections("2001:db8:0:7::9");
        assert_eq!(
            said(&News::Summary(summary.clone())),
            "2001:db8:0:7::/64 opened 22 connections in 1 min in vain: more than 8 connections without \
             authentication"
        );
        let both = said(&News::Summary(Summary { refused: 1, ..summary }));
        assert!(
            both.starts_with("2001:db8:0:7::/64 sent 1 packet and opened 22 connections in 1 min"),
            "{both}"
        );
    }

    #[test]
    fn one_refusal_is_told_with_who_sent_it() {
        assert_eq!(
            said(&News::Refused(refusal("102", "Yealink SIP-T46S"))),
            "did not answer INVITE of 102 from 198.51.100.9:5071: used host 192.0.2.1 instead of \
             pbx.example.net (domain); Yealink SIP-T46S"
        );
        let answered = Refusal { answered: true, ..refusal("", "") };
        assert!(said(&News::Refused(answered)).starts_with("refused INVITE from 198.51.100.9:5071: used"));
    }

    #[test]
    fn a_ban_says_for_how_long_and_why() {
        let ban = |number: &str| News::Banned {
            source: Prefix::of("198.51.100.9".parse().unwrap()),
            failures: 10,
            time: Duration::from_secs(3600),
            number: number.into(),
        };
        let start = "198.51.100.9 is not heard for 60 min: 10 wrong passwords";
        assert_eq!(said(&ban("101")), format!("{start}, the last for 101 (ban)"));
        assert_eq!(said(&ban("")), format!("{start} (ban)"));
    }

    #[test]
    fn whatever_they_say_it_stays_short_and_printable() {
        let nasty = "\u{1b}[2J\r\n電".repeat(100);
        let refusal = Refusal { method: nasty.clone(), why: nasty.clone(), ..refusal(&nasty, &nasty) };
        let (why, agent, number) = (nasty.clone(), nasty.clone(), nasty.clone());
        let summary = Summary { why, agent, number, ..connections("198.51.100.9") };
        let ban = News::Banned { source: summary.source, failures: 1, time: Duration::ZERO, number: nasty };
        for news in [News::Refused(refusal), News::Summary(summary), ban] {
            let said = said(&news);
            assert!(said.len() < 500 && said.bytes().all(|b| (b' '..=b'~').contains(&b)), "{said}");
        }
    }
}

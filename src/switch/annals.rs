//! What went wrong lately, for whoever asks why: requests that were refused or not answered, calls that
//! failed, who was not heard.
//!
//! What happened again is counted, not repeated. Three memories are kept apart, so that nobody pushes out of
//! one what stands in another:
//!
//! | memory | of whom | entries |
//! |---|---|---|
//! | [`Place::House`] | where phones are registered, and the calls of phones | 256 |
//! | [`Place::Claims`] | others who name an extension of ours | 128 |
//! | [`Place::Noise`] | strangers | 64 |
//!
//! In a full one the number with the most entries gives one up: of those that came least often the oldest. So
//! a scan of one extension hides nothing about another, and an entry that comes again and again, as of a phone
//! with a wrong password, outlives the single tries of a thousand addresses. An entry takes less than 1 KiB.

mod calls;
mod unproved;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Flow, Gone, Switch};
use crate::config::Number;
use crate::guard::{News, Prefix, Refusal, Summary};
use crate::time::Instant;
use unproved::Unproved;

/// How many entries each memory has.
const ROOM: [usize; 3] = [256, 128, 64];

/// Which memory an incident belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// That of our own phones and calls.
    House,
    /// That of who claims to be one of them.
    Claims,
    /// That of everybody else.
    Noise,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// When it happened first, in seconds since 1970.
    pub first_unix: u64,
    /// When it happened last.
    pub last_unix: u64,
    /// How often.
    pub count: u64,
    /// What happened.
    pub what: What,
    /// The call that it was, the last one if there were several.
    pub call: Option<u64>,
    /// Whom it concerns first: who called, whom somebody claimed to be, or what was dialled; at most 64
    /// characters of printable ASCII, may be empty.
    pub number: String,
    /// The other one of a call; may be empty.
    pub other: String,
    /// Where it came from, an address and port or a network; may be empty.
    pub from: String,
    /// What sent it, by its own word; at most 64 characters of printable ASCII, may be empty.
    pub user_agent: String,
    /// Why, at most 200 bytes.
    pub reason: String,
    /// The key of the configuration that governs it, if there is one.
    pub key: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A request with this method was refused.
    Refused(String),
    /// A request with this method was not answered; without one it was none.
    NotAnswered(String),
    /// Packets were not even read, or connections not accepted.
    NotRead,
    /// A source is not heard for a while.
    Banned,
    /// A phone was asked for its password and gave none.
    NotProved,
    /// A phone is not registered any more.
    Unregistered,
    /// A call came to nothing: the status that the caller got (RFC 3261 §21).
    CallFailed(u16),
    /// A call was ended by the exchange, or the operator.
    CallEnded,
    /// In a call a side was not heard, or strangers spoke.
    BadSound,
}

impl Incident {
    /// Something that happened to a number for a reason, in which the key may stand in parentheses at the
    /// end, or in backticks.
    fn new(what: What, number: &str, reason: &str) -> Incident {
        let (reason, key) = split_key(reason);
        Incident {
            first_unix: 0,
            last_unix: 0,
            count: 1,
            what,
            call: None,
            number: number.into(),
            other: String::new(),
            from: String::new(),
            user_agent: String::new(),
            reason: reason.into(),
            key: key.map(Into::into),
        }
    }

    /// That packets of a source were not read.
    pub(super) fn not_read(summary: &Summary) -> Incident {
        Incident {
            count: summary.dropped.saturating_add(summary.connections),
            from: summary.source.to_string(),
            user_agent: summary.agent.clone(),
            ..Incident::new(What::NotRead, &summary.number, &summary.why)
        }
    }

    /// Whether it concerns a number.
    fn concerns(&self, number: &str) -> bool {
        self.number == number || self.other == number
    }

    /// Whether it is what happened before.
    fn repeats(&self, before: &Incident) -> bool {
        self.what == before.what
            && self.number == before.number
            && self.other == before.other
            && self.reason == before.reason
            && self.key == before.key
    }
}

/// An incident in a memory.
struct Entry {
    first: Instant,
    last: Instant,
    source: Option<Prefix>,
    incident: Incident,
}

/// The memories.
#[derive(Default)]
pub(super) struct Annals {
    /// By [`Place`]; each in the order of what happened last.
    memories: [Vec<Entry>; 3],
    pub(super) unproved: Unproved,
    /// The same of numbers that do not exist: nobody reads it, but it takes the same time to be kept, so that
    /// the time of an answer does not tell which of them do.
    pub(super) unknown: Unproved,
}

impl Annals {
    /// Puts an incident down, which came from a source if from anywhere.
    pub(super) fn note(&mut self, now: Instant, place: Place, source: Option<Prefix>, incident: Incident) {
        let (memory, room) = (&mut self.memories[place as usize], ROOM[place as usize]);
        let again = |entry: &Entry| entry.source == source && incident.repeats(&entry.incident);
        let entry = match memory.iter().position(again) {
            Some(at) => {
                let before = memory.remove(at);
                let count = before.incident.count.saturating_add(incident.count);
                Entry { last: now, incident: Incident { count, ..incident }, ..before }
            }
            None => {
                if memory.len() >= room {
                    let loser = loser(memory);
                    memory.remove(loser);
                }
                Entry { first: now, last: now, source, incident }
            }
        };
        memory.push(entry);
    }

    /// What is kept that concerns a number or came from an address, or all; the newest last. `unix` tells
    /// seconds since 1970.
    pub(super) fn about(
        &self,
        now: Instant,
        whom: Option<&str>,
        unix: impl Fn(Instant) -> u64,
    ) -> Vec<Incident> {
        let address = whom.and_then(|whom| whom.parse::<IpAddr>().ok()).map(Prefix::of);
        let is_wanted = |entry: &&Entry| match (whom, address) {
            (None, _) => true,
            (_, Some(address)) => entry.source == Some(address),
            (Some(number), None) => entry.incident.concerns(number),
        };
        let unproved = self.unproved.entries(now);
        let kept = self.memories.iter().flatten().chain(&unproved).filter(is_wanted);
        let mut kept: Vec<&Entry> = kept.collect();
        kept.sort_by_key(|entry| entry.last);
        let shown = |entry: &Entry| Incident {
            first_unix: unix(entry.first),
            last_unix: unix(entry.last),
            ..entry.incident.clone()
        };
        kept.into_iter().map(shown).collect()
    }

    /// The reasons of all that was kept of the last `period` and how often each was one, the most frequent
    /// first.
    pub(super) fn reasons(&self, now: Instant, period: std::time::Duration) -> Vec<(String, u64)> {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in self.memories.iter().flatten().filter(|entry| now - entry.last <= period) {
            if !matches!(entry.incident.what, What::CallFailed(_) | What::CallEnded | What::BadSound) {
                *reasons.entry(&entry.incident.reason).or_default() += entry.incident.count;
            }
        }
        let mut reasons: Vec<(String, u64)> =
            reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// Who has to go where there is no room.
fn loser(memory: &[Entry]) -> usize {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in memory {
        *numbers.entry(&entry.incident.number).or_default() += 1;
    }
    let most = numbers.iter().max_by_key(|(_, entries)| **entries).map(|(number, _)| *number);
    let of_most = memory.iter().enumerate().filter(|(_, entry)| Some(&*entry.incident.number) == most);
    of_most.min_by_key(|(_, entry)| (entry.incident.count, entry.last)).map_or(0, |(at, _)| at)
}

/// A reason without the key that it names, and the key.
fn split_key(reason: &str) -> (&str, Option<&str>) {
    let is_key = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_*#+, ".contains(&b))
    };
    if let Some((before, key)) = reason.strip_suffix(')').and_then(|text| text.rsplit_once(" (")) {
        let key = key.split(" or ").next().unwrap_or(key);
        if is_key(key) {
            return (before, Some(key));
        }
    }
    match reason.split('`').nth(1) {
        Some(key) if is_key(key) => (reason, Some(key)),
        _ => (reason, None),
    }
}

impl Switch {
    /// What went wrong lately that concerns a number or an address, or all of it; the newest last.
    pub fn why(&self, whom: Option<&str>) -> Vec<Incident> {
        let mut incidents = self.annals.about(self.io.now, whom, |at| self.seconds_of(at));
        let source = whom.map(|whom| whom.parse::<IpAddr>().ok().map(|ip| Prefix::of(ip).to_string()));
        let is_wanted = |incident: &Incident| match (whom, &source) {
            (Some(number), Some(None)) => incident.concerns(number),
            (_, Some(Some(source))) => incident.from == *source,
            _ => true,
        };
        incidents.extend(self.not_read().into_iter().filter(is_wanted));
        incidents
    }

    /// A moment in seconds since 1970.
    pub(super) fn seconds_of(&self, at: Instant) -> u64 {
        self.milliseconds_of(at) / 1_000
    }

    /// A binding is gone though its phone did not say so.
    pub(super) fn note_gone(&mut self, number: &Number, flow: &Flow, cause: Gone) {
        let reason = match cause {
            Gone::Removed => return,
            Gone::Expired => "the phone did not register again in time".into(),
            Gone::Replaced => format!("a newer registration took its place (ext.{number}.max-contacts)"),
            Gone::ExtensionRemoved => format!("the configuration does not have it any more (ext.{number})"),
        };
        let incident = Incident {
            from: flow.remote.to_string(),
            ..Incident::new(What::Unregistered, number.as_str(), &reason)
        };
        self.annals.note(self.io.now, Place::House, Some(Prefix::of(flow.source())), incident);
    }

    /// Puts a request down that was refused or not answered; `caller` is whom it says to be from.
    pub(super) fn note_refusal(&mut self, refusal: &Refusal, caller: &str) {
        let source = refusal.remote.ip();
        let method = refusal.method.clone();
        let what = if refusal.answered { What::Refused(method) } else { What::NotAnswered(method) };
        // Who calls comes first, and what was dialled then.
        let other = if caller == refusal.number { "" } else { &refusal.number };
        let number = if other.is_empty() { &refusal.number } else { caller };
        let incident = Incident {
            other: other.into(),
            from: refusal.remote.to_string(),
            user_agent: refusal.agent.clone(),
            ..Incident::new(what, number, &refusal.why)
        };
        let place = match refusal.known {
            _ if self.guard.is_phone(source) => Place::House,
            true => Place::Claims,
            false => Place::Noise,
        };
        self.annals.note(self.io.now, place, Some(Prefix::of(source)), incident);
    }

    /// Puts down what the guard tells of those who are not heard.
    pub(super) fn note_news(&mut self, news: &News) {
        let now = self.io.now;
        match news {
            // Put down when it was refused, or of nobody in particular.
            News::Refused(_) | News::Others { .. } => {}
            News::Summary(summary) => {
                let incident = Incident::not_read(summary);
                if incident.count > 0 {
                    self.annals.note(now, Place::Noise, Some(summary.source), incident);
                }
            }
            News::Banned { source, failures, number, .. } => {
                let known = self.config.extensions.contains_key(number.as_str());
                let place = if known { Place::Claims } else { Place::Noise };
                let incident = Incident {
                    from: source.to_string(),
                    ..Incident::new(What::Banned, number, &format!("{failures} wrong passwords (ban)"))
                };
                self.annals.note(now, place, Some(*source), incident);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn source(n: u32) -> Option<Prefix> {
        Some(Prefix::of(Ipv4Addr::from_bits(0x0a00_0000 + n).into()))
    }

    fn wrong(number: &str) -> Incident {
        Incident::new(What::Refused("REGISTER".into()), number, &format!("wrong password (ext.{number})"))
    }

    fn about(annals: &Annals, whom: Option<&str>) -> Vec<(String, u64, u64)> {
        let incidents = annals.about(Instant(1_000_000), whom, |at| at.0 / 1_000);
        incidents.into_iter().map(|i| (i.number, i.count, i.last_unix)).collect()
    }

    #[test]
    fn what_comes_again_is_counted_and_the_newest_is_last() {
        let mut annals = Annals::default();
        for (second, number) in [(1, "101"), (2, "102"), (3, "101"), (4, "101")] {
            annals.note(Instant(second * 1_000), Place::Claims, source(1), wrong(number));
        }
        annals.note(Instant(5_000), Place::Claims, source(2), wrong("101"));
        let all = [("102".into(), 1, 2), ("101".into(), 3, 4), ("101".into(), 1, 5)];
        assert_eq!(about(&annals, None), all);
        assert_eq!(about(&annals, Some("101")), all[1..]);
        assert_eq!(about(&annals, Some("10.0.0.2")), all[2..]);
        assert_eq!(about(&annals, Some("103")), []);
        let first = &annals.about(Instant(9_000), Some("101"), |at| at.0)[0];
        assert_eq!((first.first_unix, first.key.as_deref()), (1_000, Some("ext.101")));
        assert_eq!(first.reason, "wrong password");
        let hour = std::time::Duration::from_secs(3_600);
        assert_eq!(annals.reasons(Instant(9_000), hour), [("wrong password".into(), 5)]);
        assert_eq!(annals.reasons(Instant(9_000_000), hour), []);
    }

    #[test]
    fn a_scan_pushes_nothing_of_an_owner_out() {
        let mut annals = Annals::default();
        annals.note(Instant(0), Place::House, source(0), wrong("102"));
        annals.note(Instant(0), Place::Claims, source(0), wrong("103"));
        // A phone with a wrong password, which tries again.
        annals.note(Instant(0), Place::Claims, source(0), wrong("101"));
        annals.note(Instant(1), Place::Claims, source(0), wrong("101"));
        for n in 1..10_000 {
            annals.note(Instant(n.into()), Place::Claims, source(n), wrong("101"));
            annals.note(Instant(n.into()), Place::Noise, source(n), wrong(&format!("9{n}")));
        }
        assert_eq!(annals.memories.each_ref().map(Vec::len), [1, 128, 64]);
        assert_eq!(about(&annals, Some("102")).len(), 1);
        assert_eq!(about(&annals, Some("103")).len(), 1);
        assert!(about(&annals, Some("101")).iter().any(|(_, count, _)| *count == 2));
    }

    #[test]
    fn the_key_is_found_in_the_reason() {
        for (said, reason, key) in [
            ("wrong password (ext.101)", "wrong password", Some("ext.101")),
            (
                "used host x instead of y (domain, stealth)",
                "used host x instead of y",
                Some("domain, stealth"),
            ),
            ("no calls (ext.110 or group.110 takes them)", "no calls", Some("ext.110")),
            (
                "not in `listen.NAME.allow` for udp:60",
                "not in `listen.NAME.allow` for udp:60",
                Some("listen.NAME.allow"),
            ),
            ("it is not SIP", "it is not SIP", None),
            ("(", "(", None),
            ("a ()", "a ()", None),
        ] {
            assert_eq!(split_key(said), (reason, key), "{said}");
        }
    }
}

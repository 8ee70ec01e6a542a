//! One event, one sentence.

use std::collections::BTreeMap;
use std::fmt;

use super::news;
use super::words::{Count, Foreign, StartLine, Things, Time};
use crate::config::{Config, LogLevel, Number};
use crate::media::Counters;
use crate::switch::{CallParties, CallRecord, Cause, Event, Flow, Gone};

/// The names of the extensions.
pub struct Names(BTreeMap<Number, Box<str>>);

impl Names {
    /// Those that `config` gives.
    pub fn of(config: &Config) -> Names {
        let named = config.extensions.iter().filter_map(|(number, extension)| {
            let name = extension.name.as_deref()?;
            Some((number.clone(), name.into()))
        });
        Names(named.collect())
    }

    /// `101 Kitchen`, or `101` where there is no name.
    fn with<'a>(&'a self, number: &'a Number) -> Named<'a> {
        Named { number, name: self.0.get(number).map(AsRef::as_ref) }
    }
}

struct Named<'a> {
    number: &'a Number,
    name: Option<&'a str>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{} {name}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

/// What happened, as a sentence of at most a few hundred characters, and how much it matters.
/// Whatever came from the network is printable ASCII in it.
pub fn line(event: &Event, names: &Names) -> (LogLevel, String) {
    match event {
        Event::Registered { extension, flow, expires, agent } => {
            let (who, at, time) = (names.with(extension), At(flow), Time(*expires));
            let agent = match agent.as_str() {
                "" => String::new(),
                text => format!(", {}", Foreign { text, most: 64 }),
            };
            let said = format!("{who} registered from {at} for {time}{agent}");
            (LogLevel::Info, said)
        }
        Event::Unregistered { extension, flow, cause } => {
            let (who, at) = (names.with(extension), At(flow));
            let said = match cause {
                Gone::Removed => format!("{who} unregistered from {at}"),
                Gone::Expired => {
                    format!("{who} is gone from {at}: the phone did not register again in time")
                }
                Gone::Replaced => {
                    format!("{who} is gone from {at}: a newer registration took its place")
                }
                Gone::ExtensionRemoved => {
                    format!("{who} is gone from {at}: there is no such extension any more")
                }
            };
            (LogLevel::Info, said)
        }
        Event::Guard(news) => news::sentence(news),
        Event::CallStarted(parties) => (LogLevel::Info, format!("{} ringing", Call(parties))),
        Event::CallAnswered(parties) => {
            let by = match &parties.by {
                Some(by) if *by != parties.to => format!(" by {}", names.with(by)),
                _ => String::new(),
            };
            (LogLevel::Info, format!("{} answered{by}", Call(parties)))
        }
        Event::CallEnded(record) => (level(record.cause), ended(record)),
        Event::Message { came, flow, first_line } => {
            let way = if *came { "from" } else { "to" };
            let said = format!("{way} {}: {}", At(flow), StartLine(first_line));
            (LogLevel::Debug, said)
        }
        Event::Reloaded(config) => {
            let said = format!("goes on with another configuration: {}", Service(config));
            (LogLevel::Info, said)
        }
        // Not for the log: who traces is told by another way.
        Event::Traced { came, flow, .. } => {
            let way = if *came { "from" } else { "to" };
            (LogLevel::Debug, format!("a message {way} {} is traced", At(flow)))
        }
        Event::Notice(text) => (LogLevel::Warn, Foreign { text, most: 300 }.to_string()),
        Event::Remark(text) => (LogLevel::Info, Foreign { text, most: 300 }.to_string()),
    }
}

/// What an exchange serves: `2 extensions, SIP on udp:5060 tcp:5060`.
pub(super) struct Service<'a>(pub(super) &'a Config);

impl fmt::Display for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listen: Vec<String> = self.0.listen.iter().map(ToString::to_string).collect();
        let extensions = Things(self.0.extensions.len() as u64, "extension");
        write!(f, "{extensions}, SIP on {}", listen.join(" "))
    }
}

/// `203.0.113.7:5060 (udp)`.
struct At<'a>(&'a Flow);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.remote, self.0.transport)
    }
}

/// `call 17: 101 → 102`.
struct Call<'a>(&'a CallParties);

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallParties { call, from, to, .. } = self.0;
        write!(f, "call {call}: {from} → {to}")
    }
}

/// The call record in words.
fn ended(record: &CallRecord) -> String {
    let (call, why) = (Call(&record.parties), Why(record.cause));
    let Some(talked) = record.talked else {
        let waited = Time(record.duration);
        return format!("{call} not answered, ended after {waited}: {why}");
    };
    let talked = Time(talked);
    let heard = Heard {
        caller: &record.parties.from,
        callee: record.parties.by.as_ref().unwrap_or(&record.parties.to),
        from_caller: &record.caller_media,
        from_callee: &record.callee_media,
    };
    format!("{call} ended after {talked}: {why}; {heard}")
}

/// What each side was heard to say.
struct Heard<'a> {
    caller: &'a Number,
    callee: &'a Number,
    from_caller: &'a Counters,
    from_callee: &'a Counters,
}

impl fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (caller, callee) = (self.caller, self.callee);
        let lost = |counters: &Counters| Count(counters.lost);
        match (self.from_caller.packets, self.from_callee.packets) {
            (0, 0) => f.write_str("heard nothing from either side")?,
            (packets, 0) => write!(
                f,
                "heard {} from {caller} ({} lost), nothing from {callee}",
                Things(packets, "packet"),
                lost(self.from_caller)
            )?,
            (0, packets) => write!(
                f,
                "heard nothing from {caller}, {} from {callee} ({} lost)",
                Things(packets, "packet"),
                lost(self.from_callee)
            )?,
            (packets, callee_packets) => write!(
                f,
                "heard {} from {caller} ({} lost), {} from {callee} ({} lost)",
                Things(packets, "packet"),
                lost(self.from_caller),
                Count(callee_packets),
                lost(self.from_callee)
            )?,
        }
        match self.from_caller.strangers + self.from_callee.strangers {
            0 => Ok(()),
            strangers => write!(f, "; dropped {} of strangers", Things(strangers, "packet")),
        }
    }
}

/// Why a call ended, in words.
pub(super) struct Why(pub(super) Cause);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Cause::CallerHungUp => "caller hung up",
            Cause::CalleeHungUp => "callee hung up",
            Cause::Cancelled => "caller gave up",
            Cause::Refused(404) => "there is no such number (404)",
            Cause::Refused(408) => "nobody answered (408)",
            Cause::Refused(480) => "nobody answered (480)",
            Cause::Refused(486) => "busy (486)",
            Cause::Refused(488) => "the phones have no codec in common (488)",
            Cause::Refused(503) => "the exchange is full (503)",
            Cause::Refused(603) => "declined (603)",
            Cause::Refused(status) => return write!(f, "refused ({status})"),
            Cause::Unregistered => "no phone is registered (480)",
            Cause::NoWayOut => "no other exchange could take it (503)",
            Cause::CallLimit => "the longest call is reached (call-limit)",
            Cause::MediaTimeout => "no sound came any more (media-timeout)",
            Cause::MediaFailed => "the relay could not open its ports (media-ports)",
            Cause::SignallingTimeout => "a phone stopped answering",
            Cause::Replaced => "another call took its place",
            Cause::MachineStops => "the server is being stopped (spot)",
            Cause::Restarted => "it rang when the exchange was started again",
            Cause::Operator => "the operator ended it",
            Cause::ExtensionRemoved => "an extension of it was removed",
        })
    }
}

/// What needs a look, and what is everyday.
fn level(cause: Cause) -> LogLevel {
    match cause {
        Cause::CallLimit
        | Cause::MediaTimeout
        | Cause::MediaFailed
        | Cause::SignallingTimeout
        | Cause::NoWayOut
        | Cause::Refused(500..=599) => LogLevel::Warn,
        _ => LogLevel::Info,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::switch::{StreamId, Transport};

    fn number(text: &str) -> Number {
        Number::new(text).unwrap()
    }

    fn flow(transport: Transport, remote: &str) -> Flow {
        let local = "192.0.2.1:5060".parse().unwrap();
        Flow { transport, local, remote: remote.parse().unwrap(), stream: StreamId(0) }
    }

    fn said(event: Event) -> String {
        let config = Config::parse("x", b"ext.101 = a\next.101.name = Kitchen\next.102 = b").unwrap();
        line(&event, &Names::of(&config)).1
    }

    fn parties(to: &str, by: Option<&str>) -> CallParties {
        CallParties { call: 17, from: number("101"), to: number(to), by: by.map(number) }
    }

    fn counters(packets: u64, lost: u64) -> Counters {
        Counters { packets, bytes: packets * 172, lost, ..Counters::default() }
    }

    fn record(cause: Cause, talked: Option<u64>) -> CallRecord {
        CallRecord {
            parties: parties("102", talked.map(|_| "102")),
            started: Duration::from_secs(1_795_391_506),
            duration: Duration::from_secs(12),
            talked: talked.map(Duration::from_secs),
            cause,
            source: "192.0.2.31".parse().unwrap(),
            exchanges: Vec::new(),
            caller_media: Counters::default(),
            callee_media: Counters::default(),
        }
    }

    #[test]
    fn phones_come_and_go() {
        let registered = |agent: &str| Event::Registered {
            extension: number("101"),
            flow: flow(Transport::Udp, "203.0.113.7:5060"),
            expires: Duration::from_secs(3600),
            agent: agent.into(),
        };
        assert_eq!(
            said(registered("Grandstream GXP1620")),
            "101 Kitchen registered from 203.0.113.7:5060 (udp) for 60 min, Grandstream GXP1620"
        );
        assert_eq!(said(registered("")), "101 Kitchen registered from 203.0.113.7:5060 (udp) for 60 min");
        let gone = |cause| Event::Unregistered {
            extension: number("102"),
            flow: flow(Transport::Tcp, "[2001:db8::7]:49152"),
            cause,
        };
        assert_eq!(said(gone(Gone::Removed)), "102 unregistered from [2001:db8::7]:49152 (tcp)");
        assert_eq!(
            said(gone(Gone::Expired)),
            "102 is gone from [2001:db8::7]:49152 (tcp): the phone did not register again in time"
        );
        assert_eq!(
            said(gone(Gone::Replaced)),
            "102 is gone from [2001:db8::7]:49152 (tcp): a newer registration took its place"
        );
    }

    #[test]
    fn a_call_rings_is_answered_and_ends() {
        assert_eq!(said(Event::CallStarted(parties("102", None))), "call 17: 101 → 102 ringing");
        assert_eq!(said(Event::CallAnswered(parties("102", Some("102")))), "call 17: 101 → 102 answered");
        assert_eq!(
            said(Event::CallAnswered(parties("600", Some("101")))),
            "call 17: 101 → 600 answered by 101 Kitchen"
        );
        let ended = CallRecord {
            caller_media: counters(4150, 0),
            callee_media: counters(4148, 2),
            ..record(Cause::CallerHungUp, Some(83))
        };
        assert_eq!(
            said(Event::CallEnded(ended.clone())),
            "call 17: 101 → 102 ended after 1 min 23 s: caller hung up; heard 4,150 packets from 101 (0 \
             lost), 4,148 from 102 (2 lost)"
        );
        let strange = CallRecord {
            parties: parties("600", Some("102")),
            caller_media: Counters { strangers: 1, ..Counters::default() },
            ..ended
        };
        assert_eq!(
            said(Event::CallEnded(strange)),
            "call 17: 101 → 600 ended after 1 min 23 s: caller hung up; heard nothing from 101, 4,148 \
             packets from 102 (2 lost); dropped 1 packet of strangers"
        );
    }

    #[test]
    fn a_call_that_nobody_heard() {
        assert_eq!(
            said(Event::CallEnded(record(Cause::MediaTimeout, Some(61)))),
            "call 17: 101 → 102 ended after 1 min 1 s: no sound came any more (media-timeout); heard \
             nothing from either side"
        );
        assert_eq!(
            said(Event::CallEnded(record(Cause::Refused(486), None))),
            "call 17: 101 → 102 not answered, ended after 12 s: busy (486)"
        );
        assert_eq!(
            said(Event::CallEnded(record(Cause::Refused(415), None))),
            "call 17: 101 → 102 not answered, ended after 12 s: refused (415)"
        );
    }

    #[test]
    fn what_strangers_send_is_harmless_and_short() {
        let message = Event::Message {
            came: true,
            flow: flow(Transport::Udp, "203.0.113.7:5060"),
            first_line: "BYE sip:a SIP/2.0".into(),
        };
        assert_eq!(said(message), "from 203.0.113.7:5060 (udp): BYE sip:a SIP/2.0");
        assert_eq!(said(Event::Notice("a\nb".into())), "a?b");
        assert!(said(Event::Notice("x".repeat(10_000))).len() < 400);
    }

    #[test]
    fn what_needs_a_look_is_a_warning() {
        assert_eq!(level(Cause::MediaTimeout), LogLevel::Warn);
        assert_eq!(level(Cause::Refused(503)), LogLevel::Warn);
        assert_eq!(level(Cause::Refused(486)), LogLevel::Info);
        assert_eq!(level(Cause::CalleeHungUp), LogLevel::Info);
    }
}

//! What an operator may see of the exchange, and nothing that is secret. Made when somebody asks: it costs
//! nothing otherwise. Times are in the units that their names end in.

pub use super::view_neighbours::{HostView, NeighbourView, RegistrationView, WayView};

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::call::{Call, Leg, Party, Phase, index};
use super::registrar::Binding;
use super::{CallParties, Flow, Switch};
use crate::config::{Config, Number};
use crate::media::{Measured, Side};
use crate::sip::printable;
use crate::time::Instant;

/// How many extensions or calls are shown at a time: whoever asks for all of them asks again, and meanwhile
/// packets have their turn.
pub const PAGE: usize = 128;

/// An extension and its phones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtensionView {
    /// Its number.
    pub extension: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its phones, those gone silent included; none if it is not registered.
    pub phones: Vec<PhoneView>,
}

/// A phone: a binding of an extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhoneView {
    /// Where it sends from.
    pub address: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// What it calls itself, at most 64 characters of printable ASCII; `None` if it did not say.
    pub user_agent: Option<String>,
    /// For how long it has been registered from there.
    pub registered_s: u64,
    /// How long that holds if it does not register again.
    pub expires_in_s: u64,
    /// Whether it is there.
    pub alive: Alive,
    /// How long it took to answer, the last time that it was asked (OPTIONS, on UDP alone).
    pub round_trip_ms: Option<u64>,
    /// Whether its contact names another address than the one that it sends from.
    pub behind_nat: bool,
}

/// Whether a phone is there, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alive {
    /// It answered the last OPTIONS, or its connection stands.
    Yes,
    /// It was not asked since it registered.
    NotAsked,
    /// It did not answer the last OPTIONS.
    Silent,
    /// Its connection is closed: it cannot be called until it comes back.
    Disconnected,
}

/// A call that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallView {
    /// Its number, which the log uses too.
    pub call: u64,
    /// The caller's extension.
    pub from: String,
    /// What was dialled.
    pub to: String,
    /// Who answered; `None` while it rings, and for the echo test.
    pub answered_by: Option<String>,
    /// How far it is.
    pub state: CallState,
    /// The time since the INVITE.
    pub lasted_s: u64,
    /// The time since the answer.
    pub talked_s: Option<u64>,
    /// What SIP calls it, at most 80 characters of printable ASCII.
    pub call_id: String,
    /// The caller's leg; then those that ring, or the one that answered.
    pub legs: Vec<LegView>,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Nobody has answered.
    Ringing,
    /// Somebody has.
    Up,
    /// It ends as soon as it may.
    Ending,
}

/// One end of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegView {
    /// Whose phone it is; `None` for what answers inside denwa, as the echo test.
    pub extension: Option<String>,
    /// Where the phone is.
    pub address: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// What comes from it, one for each line of the session description that is alive.
    pub streams: Vec<StreamView>,
}

/// What comes from one end of a call in one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamView {
    /// Which line of the session description, from 0 on.
    pub line: u8,
    /// The codec that was agreed on, or `?` if nobody said its name.
    pub codec: String,
    /// The relay's address for this end.
    pub relay: SocketAddr,
    /// What was measured; `None` if the relay did not say.
    pub measured: Option<MeasuredView>,
}

/// What the relay measured of what comes from one end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredView {
    /// Where it really comes from.
    pub source: Option<SocketAddr>,
    /// Packets that came.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that are missing.
    pub lost: u64,
    /// The same in hundredths of all that should have come.
    pub loss_percent: f32,
    /// Packets of strangers, dropped.
    pub strangers: u64,
    /// How unevenly they come (RFC 3550 §6.4.1); `None` if that is not known.
    pub jitter_ms: Option<f32>,
    /// From here to the phone and back, by RTCP; `None` if the phone sends none.
    pub round_trip_ms: Option<f32>,
    /// How long ago the last one came.
    pub heard_ms: Option<u64>,
    /// The payload type of the last one.
    pub payload_type: Option<u8>,
}

impl From<&Measured> for MeasuredView {
    fn from(measured: &Measured) -> MeasuredView {
        let Measured { counters, .. } = measured;
        let known = |microseconds: u32| (microseconds > 0).then(|| microseconds as f32 / 1_000.0);
        let expected = counters.packets.saturating_add(counters.lost).max(1);
        MeasuredView {
            source: measured.source,
            packets: counters.packets,
            bytes: counters.bytes,
            lost: counters.lost,
            loss_percent: (counters.lost as f64 * 100.0 / expected as f64) as f32,
            strangers: counters.strangers,
            jitter_ms: known(measured.jitter),
            round_trip_ms: known(measured.round_trip),
            heard_ms: measured.heard.map(|time| time.as_millis() as u64),
            payload_type: measured.payload_type,
        }
    }
}

/// How many of everything there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CountsView {
    /// Extensions of the configuration.
    pub extensions: u64,
    /// Those of them with a phone that can be called.
    pub registered: u64,
    /// Phones that can be called.
    pub phones: u64,
    /// Calls that have not ended.
    pub calls: u64,
    /// How many audio calls the media ports are enough for.
    pub calls_limit: u64,
    /// How long ago the first packet came from a public address that is not this machine's; `None`: never
    /// since the exchange was started.
    pub outside_s: Option<u64>,
}

/// A source that is not heard for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BanView {
    /// An IPv4 address, or an IPv6 /64.
    pub source: String,
    /// How many wrong passwords it took; `None`: the operator banned it.
    pub wrong_passwords: Option<u32>,
    /// How long that still holds.
    pub left_s: u64,
}

/// A reason why something was in vain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedView {
    /// In words.
    pub reason: String,
    /// How many requests and packets it was the reason of.
    pub count: u64,
}

impl Switch {
    /// The configuration that it works by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many of everything there are.
    pub fn counts(&self) -> CountsView {
        let now = self.io.now;
        let (registered, phones) = self.registrar.count_alive(now);
        CountsView {
            extensions: self.config.extensions.len() as u64,
            registered,
            phones,
            calls: self.live as u64,
            calls_limit: (self.config.media_ports.pairs() / 2) as u64,
            outside_s: self.outside.map(|since| (now - since).as_secs()),
        }
    }

    /// The extensions behind the number `after`, or from the first on, and their phones: at most [`PAGE`], in
    /// the order of their numbers. The second value is where to go on.
    pub fn phones(&self, after: Option<&str>) -> (Vec<ExtensionView>, Option<String>) {
        let now = self.io.now;
        let from = match after {
            Some(after) => std::ops::Bound::Excluded(after),
            None => std::ops::Bound::Unbounded,
        };
        let mut rest = self.config.extensions.range::<str, _>((from, std::ops::Bound::Unbounded));
        let page: Vec<ExtensionView> = rest
            .by_ref()
            .take(PAGE)
            .map(|(number, extension)| ExtensionView {
                extension: number.as_str().into(),
                name: extension.name.clone(),
                phones: self.registrar.all(number.as_str(), now).map(|binding| binding.view(now)).collect(),
            })
            .collect();
        let next = page.last().filter(|_| rest.next().is_some()).map(|last| last.extension.clone());
        (page, next)
    }

    /// The calls behind the number `after` that have not ended: at most [`PAGE`], in the order of their
    /// numbers. The second value is where to go on. What is measured is for the relay to say.
    pub fn live_calls(&self, after: u64) -> (Vec<CallView>, Option<u64>) {
        let live = self.calls.values().filter(|call| call.phase != Phase::Over).map(|call| call.id);
        let (ids, next) = page(live, after);
        let calls = ids.iter().filter_map(|id| self.calls.get(id));
        (calls.map(|call| self.call_view(call)).collect(), next)
    }

    /// The live calls that an extension takes part in, or the one with a number; all if neither is given.
    pub fn calls_of(&self, whose: &Whose) -> Vec<CallParties> {
        let concerned = |call: &&Call| {
            call.phase != Phase::Over
                && match whose {
                    Whose::Everybody => true,
                    Whose::Call(id) => call.id == *id,
                    Whose::Extension(number) => call.concerns(number),
                }
        };
        let mut calls: Vec<CallParties> = self.calls.values().filter(concerned).map(Call::parties).collect();
        calls.sort_unstable_by_key(|parties| parties.call);
        calls
    }

    /// What SIP calls a call, as long as it is remembered.
    pub fn call_id(&self, call: u64) -> Option<&[u8]> {
        self.calls.get(&call).map(|call| &*call.call_id)
    }

    /// The call, one of them if there are several, that SIP calls so.
    pub fn call_by_id(&self, call_id: &[u8]) -> Option<u64> {
        self.calls.values().filter(|call| *call.call_id == *call_id).map(|call| call.id).max()
    }

    /// Whose phone is registered on a flow.
    pub fn owner_on(&self, flow: &Flow) -> Option<&str> {
        self.registrar.owner_on(flow).map(Number::as_str)
    }

    /// A moment in milliseconds since 1970.
    pub fn milliseconds_of(&self, at: Instant) -> u64 {
        (i128::from(at.0) + self.io.wall).max(0) as u64
    }

    fn call_view(&self, call: &Call) -> CallView {
        let now = self.io.now;
        let (state, talked) = match call.phase {
            _ if call.ending.is_some() => (CallState::Ending, None),
            Phase::Up { since, .. } => (CallState::Up, Some((now - since).as_secs())),
            Phase::Ringing | Phase::Over => (CallState::Ringing, None),
        };
        let dialog = match call.phase {
            Phase::Up { dialog, .. } => Some(dialog),
            // The newest that has agreed on something: early media.
            _ => call.dialogs.iter().rposition(|d| d.negotiation.agreed.is_some()),
        };
        let callee = dialog.and_then(|at| call.dialogs.get(at)).map(|d| d.leg);
        let shown = |at: &usize| match call.phase {
            Phase::Up { .. } => *at == 0 || Some(*at) == callee,
            _ => true,
        };
        let legs = (0..call.legs.len()).filter(shown).filter_map(|at| {
            let side = if at == 0 { Side::A } else { Side::B };
            let speaks = at == 0 || Some(at) == callee;
            let dialog = dialog.filter(|_| speaks);
            call.legs.get(at).map(|leg| self.leg_view(call, leg, side, dialog))
        });
        CallView {
            call: call.id,
            from: call.from.as_str().into(),
            to: call.to.as_str().into(),
            answered_by: call.by.as_ref().map(|by| by.as_str().into()),
            state,
            lasted_s: (now - call.started).as_secs(),
            talked_s: talked,
            call_id: printable(&call.call_id, 80),
            legs: legs.collect(),
        }
    }

    fn leg_view(&self, call: &Call, leg: &Leg, side: Side, dialog: Option<usize>) -> LegView {
        let flow = self.flow_of(leg);
        let agreed = dialog.and_then(|at| call.dialogs.get(at)).and_then(|d| d.negotiation.agreed.as_ref());
        let streams = agreed.filter(|_| leg.party != Party::Inside).map(|agreed| {
            call.ports().iter().enumerate().filter_map(|(at, ports)| {
                let (a, b) = (*ports)?;
                let line = agreed[index(side)].get(at).filter(|line| line.alive)?;
                let other = agreed[1 - index(side)].get(at).filter(|line| line.alive)?;
                let port = if side == Side::A { a } else { b };
                Some(StreamView {
                    line: at as u8,
                    codec: line.codec.common(&other.codec).name(),
                    relay: SocketAddr::new(flow.local.ip(), port),
                    measured: None,
                })
            })
        });
        LegView {
            extension: leg.name().map(Into::into),
            address: flow.remote,
            transport: flow.transport.to_string(),
            streams: streams.into_iter().flatten().collect(),
        }
    }
}

/// The first [`PAGE`] of numbers in any order that come behind `after`, and the last of them if there are
/// more.
fn page(numbers: impl Iterator<Item = u64>, after: u64) -> (BTreeSet<u64>, Option<u64>) {
    let mut page = BTreeSet::new();
    let mut has_more = false;
    for number in numbers.filter(|number| *number > after) {
        page.insert(number);
        if page.len() > PAGE {
            page.pop_last();
            has_more = true;
        }
    }
    let next = page.last().copied().filter(|_| has_more);
    (page, next)
}

/// Whose calls or messages are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// Those of all.
    Everybody,
    /// Those of an extension, as caller or callee.
    Extension(String),
    /// One call.
    Call(u64),
}

impl Call {
    /// Whether a number has to do with this call: it called, was dialled, or rings.
    pub(super) fn concerns(&self, number: &str) -> bool {
        let is = |other: &Number| other.as_str() == number;
        is(&self.from)
            || is(&self.to)
            || match &self.by {
                Some(by) => is(by),
                None => self.legs.iter().filter_map(Leg::extension).any(is),
            }
    }
}

impl Binding {
    fn view(&self, now: Instant) -> PhoneView {
        PhoneView {
            address: self.flow.remote,
            transport: self.flow.transport.to_string(),
            user_agent: Some(printable(&self.agent, 64)).filter(|agent| !agent.is_empty()),
            registered_s: (now - self.since).as_secs(),
            expires_in_s: self.time_left(now).as_secs(),
            alive: self.alive(),
            round_trip_ms: self.round_trip.map(|time| time.as_millis() as u64),
            behind_nat: self.behind_nat,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::journal::{Clocks, State};
    use crate::switch::{Event, Output};

    #[test]
    fn long_lists_come_in_pages_and_whole() {
        for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 7] {
            // In no order.
            let numbers = (0..count as u64).map(|n| 1 + n * 7 % count as u64);
            let (mut all, mut after, mut pages) = (Vec::new(), 0, 0);
            loop {
                let (page, next) = page(numbers.clone(), after);
                all.extend(page);
                pages += 1;
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            let expected: BTreeSet<u64> = numbers.collect();
            assert!(all.iter().eq(&expected), "{count}: {all:?}");
            assert_eq!(pages, expected.len().div_ceil(PAGE).max(1));
        }
    }

    #[test]
    fn all_extensions_are_shown_in_the_order_of_their_numbers() {
        let text: String =
            (1_000..1_000 + 3 * PAGE).map(|n| format!("ext.{n} = a-long-password\n")).collect();
        let switch = Switch::new(Config::parse("x", text.as_bytes()).unwrap(), [1; 32]);
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = switch.phones(after.as_deref());
            assert_eq!(page.len(), PAGE);
            all.extend(page.into_iter().map(|extension| extension.extension));
            match next {
                Some(_) => after = next,
                None => break,
            }
        }
        assert_eq!(all, (1_000..1_000 + 3 * PAGE).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(switch.phones(Some("zzz")), (Vec::new(), None));
    }

    /// Somebody sends something to 198.51.100.1.
    fn hear(switch: &mut Switch, remote: &str, now: u64) {
        let (local, remote) = ("198.51.100.1:5060".parse().unwrap(), remote.parse().unwrap());
        let transport = crate::switch::Transport::Udp;
        let flow = Flow { transport, local, remote, stream: crate::switch::StreamId(0) };
        switch.handle(Instant(now), crate::switch::Input::Packet { flow, bytes: b"hello" });
    }

    #[test]
    fn nobody_outside_is_nobody() {
        let mut switch = Switch::new(Config::default(), [1; 32]);
        let counts = switch.counts();
        assert_eq!((counts.outside_s, counts.calls_limit), (None, 250));
        let mut hears = |remote: &str, now| {
            hear(&mut switch, remote, now);
            switch.counts().outside_s
        };
        assert_eq!(hears("192.168.1.7:5060", 1_000), None);
        assert_eq!(hears("198.51.100.1:7000", 2_000), None, "that is ourselves");
        assert_eq!(hears("203.0.113.7:5060", 3_000), Some(0));
        assert_eq!(hears("203.0.113.7:5060", 13_000), Some(10));
    }

    #[test]
    fn whom_nobody_outside_reaches_is_told_so() {
        for (remote, is_unreached) in [("192.168.1.7:5060", true), ("203.0.113.7:5060", false)] {
            let clocks = Clocks { now: Instant(0), wall: 0 };
            let mut switch = Switch::restore(Config::default(), [1; 32], State::default(), clocks, &[]);
            hear(&mut switch, remote, 1_000);
            let told = |switch: &mut Switch| {
                let outputs: Vec<Output> = std::iter::from_fn(|| switch.poll()).collect();
                outputs.iter().any(|output| {
                    matches!(output, Output::Event(Event::Notice(text)) if text.starts_with("nothing from outside"))
                })
            };
            assert!(!told(&mut switch));
            switch.handle(Instant(301_000), crate::switch::Input::Tick);
            assert_eq!(told(&mut switch), is_unreached, "{remote}");
        }
    }
}

//! Other exchanges, as they are now: where they are, whether they answer, how many calls there are with each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::flow::{Flow, StreamId};
use super::trunk::{Registrant, Registration, Standing};
use crate::config::{Config, Label, Neighbour, Target};
use crate::guard::Networks;
use crate::time::Instant;

/// The most ways to one host: what its name leads to beyond is not tried.
pub const MAX_WAYS: usize = 8;

/// How often each way is asked whether somebody is there. It also keeps a NAT's mapping open.
pub(super) const PROBE: Duration = Duration::from_secs(25);

/// How soon a connection that could not be opened is tried again, at first; each failure doubles it.
const RECONNECT: Duration = Duration::from_secs(1);

/// Identifies a host of a neighbour for as long as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// All of them: as many as the configuration has.
#[derive(Default)]
pub(super) struct Neighbours {
    pub(super) by_label: BTreeMap<Label, State>,
    made: u32,
    /// The SHA-256 of the certificates that others have proved to have, by connection: those of all, for whoever is a
    /// stranger now may be a friend by another configuration. As many as there are connections.
    certificates: BTreeMap<StreamId, [u8; 32]>,
}

/// One of them.
pub(super) struct State {
    pub(super) hosts: Vec<Host>,
    /// From where it speaks besides.
    allow: Networks,
    /// Calls with it that have not ended.
    pub(super) calls: u16,
}

/// One host of a neighbour.
pub(super) struct Host {
    pub(super) id: HostId,
    pub(super) target: Target,
    pub(super) ways: Vec<Way>,
    /// When it is looked for again.
    pub(super) stale: Instant,
    /// Why it was not found, or not reached.
    pub(super) trouble: Option<String>,
    /// Connections in a row that could not be opened.
    pub(super) failures: u32,
    /// How many ways there have been.
    pub(super) made: u8,
    /// Its timer runs.
    pub(super) is_watched: bool,
    /// With whom a trunk registers.
    pub(super) registration: Registration,
}

/// One way to a host.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// What it is called as long as it is there; of a host, no two at a time are called the same.
    pub(super) id: u8,
    pub(super) flow: Flow,
    pub(super) health: Health,
    /// Something else that it was asked was not answered in time.
    pub(super) is_doubted: bool,
    /// When it was asked, if it has not answered yet.
    pub(super) asked: Option<Instant>,
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// That is not known yet.
    Unknown,
    /// An answer came, so long after the question.
    Up(Duration),
    /// None came.
    Down,
}

impl Neighbours {
    /// Goes over to those of a configuration. What is known of the others is forgotten; it returns their addresses.
    pub(super) fn reload(&mut self, config: &Config) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        let mut old = std::mem::take(&mut self.by_label);
        for (label, neighbour) in &config.neighbours {
            let mut before = old.remove(label);
            let mut hosts = Vec::with_capacity(neighbour.hosts.len());
            for target in &neighbour.hosts {
                let same = |host: &Host| host.target == *target;
                let known = before
                    .as_mut()
                    .and_then(|state| state.hosts.iter().position(same).map(|at| state.hosts.remove(at)));
                hosts.push(known.unwrap_or_else(|| {
                    self.made += 1;
                    Host {
                        id: HostId(self.made),
                        target: target.clone(),
                        ways: Vec::new(),
                        stale: Instant::default(),
                        trouble: None,
                        failures: 0,
                        made: 0,
                        is_watched: false,
                        registration: Registration::default(),
                    }
                }));
            }
            let calls = before.as_ref().map_or(0, |state| state.calls);
            gone.extend(before.iter().flat_map(State::addresses));
            let state = State { hosts, allow: Networks::new(&neighbour.allow), calls };
            self.by_label.insert(label.clone(), state);
        }
        gone.extend(old.values().flat_map(State::addresses));
        gone
    }

    /// Forgets registrations that were made as somebody else, or are not wanted any more; the hosts of those.
    pub(super) fn new_accounts(&mut self, config: &Config) -> Vec<HostId> {
        let mut changed = Vec::new();
        for (label, state) in &mut self.by_label {
            let who = config.neighbours.get(label).and_then(Registrant::of);
            for host in &mut state.hosts {
                if host.registration.registrant != who {
                    host.registration = Registration::of(who.clone());
                    changed.push(host.id);
                }
            }
        }
        changed
    }

    /// Whether a source is one of theirs.
    pub(super) fn knows(&self, source: IpAddr) -> bool {
        self.by_label.values().any(|state| state.speaks_from(source))
    }

    /// The other side of a connection has proved to have a certificate.
    pub(super) fn certified(&mut self, stream: StreamId, sha256: [u8; 32]) {
        self.certificates.insert(stream, sha256);
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, stream: StreamId) {
        self.certificates.remove(&stream);
    }

    /// Whose connection it is by the certificate that was proved on it, wherever it comes from. Of several with the same
    /// one, that which is to be expected there.
    pub(super) fn proved<'a>(&self, config: &'a Config, flow: &Flow) -> Option<&'a Label> {
        let sha256 = self.certificates.get(&flow.stream)?;
        let is_theirs = |neighbour: &Neighbour| neighbour.pin.as_ref() == Some(sha256);
        let theirs =
            config.neighbours.iter().filter(|(_, neighbour)| is_theirs(neighbour)).map(|(label, _)| label);
        let is_expected =
            |label: &&Label| self.by_label.get(*label).is_some_and(|state| state.speaks_from(flow.source()));
        theirs.min_by_key(|label| !is_expected(label))
    }

    /// Those that speak by a flow: those that are called by it, else those that its source may be of.
    pub(super) fn at(&self, flow: &Flow) -> (Vec<&Label>, bool) {
        let exact = |state: &State| state.ways().any(|way| way.flow.remote == flow.remote);
        let called: Vec<&Label> =
            self.by_label.iter().filter(|(_, state)| exact(state)).map(|(label, _)| label).collect();
        if !called.is_empty() {
            return (called, true);
        }
        let near = self.by_label.iter().filter(|(_, state)| state.speaks_from(flow.source()));
        (near.map(|(label, _)| label).collect(), false)
    }

    /// The ways to a neighbour by which calls are tried: those that do not answer are left out.
    pub(super) fn ways(&self, label: &Label) -> Vec<(Target, Flow)> {
        let is_line = label.as_str().starts_with("trunk.");
        self.ways_where(label, |host, way| {
            // A provider that serves us, or that we do not register at, may have its reasons not to answer who only
            // asks.
            let serves = match host.registration.standing {
                Standing::Registered(_) => true,
                _ => is_line && host.registration.registrant.is_none(),
            };
            serves || way.health != Health::Down
        })
    }

    /// The one to be tried first of all ways, whether or not it answers.
    pub(super) fn any_way(&self, label: &Label) -> Option<Flow> {
        self.ways_where(label, |_, _| true).into_iter().next().map(|(_, flow)| flow)
    }

    fn ways_where(&self, label: &Label, tried: impl Fn(&Host, &Way) -> bool) -> Vec<(Target, Flow)> {
        let hosts = self.by_label.get(label).into_iter().flat_map(|state| &state.hosts);
        let mut ways: Vec<(bool, Target, Flow)> = hosts
            .flat_map(|host| host.ways.iter().map(move |way| (host, way)))
            .filter(|(host, way)| !way.flow.is_dead() && tried(host, way))
            .map(|(host, way)| {
                let answers = matches!(way.health, Health::Up(_)) && !way.is_doubted;
                (answers, host.target.clone(), way.flow)
            })
            .collect();
        // What is known to answer comes first; otherwise the order is that of the file and of the names.
        ways.sort_by_key(|(answers, ..)| !answers);
        ways.into_iter().map(|(_, target, flow)| (target, flow)).collect()
    }

    /// Nothing was heard by a way in time: others are tried before it, until it answers again.
    pub(super) fn doubt(&mut self, flow: &Flow) {
        let ways = self.hosts_mut().flat_map(|host| &mut host.ways);
        ways.filter(|way| way.flow == *flow).for_each(|way| way.is_doubted = true);
    }

    /// All hosts are looked for again, the next time that they are asked whether they are there.
    pub(super) fn renamed(&mut self) {
        self.hosts_mut().for_each(|host| host.stale = Instant::default());
    }

    pub(super) fn hosts_mut(&mut self) -> impl Iterator<Item = &mut Host> {
        self.by_label.values_mut().flat_map(|state| &mut state.hosts)
    }

    /// The flow by which a leg's exchange is spoken with now: another connection, if its own is gone; one that we have
    /// opened ourselves, if it was theirs.
    pub(super) fn flow_now(&self, label: &Label, flow: Flow) -> Flow {
        let same = |way: &&Way| {
            (way.flow.transport, way.flow.remote) == (flow.transport, flow.remote) && !way.flow.is_dead()
        };
        let ours = |way: &&Way| {
            (way.flow.transport, way.flow.source()) == (flow.transport, flow.source())
                && flow.is_dead()
                && !way.flow.is_dead()
        };
        let Some(state) = self.by_label.get(label).filter(|_| flow.is_reliable()) else { return flow };
        state.ways().find(same).or_else(|| state.ways().find(ours)).map_or(flow, |way| way.flow)
    }

    /// Why a neighbour cannot be reached.
    pub(super) fn trouble(&self, label: &Label) -> String {
        let hosts = self.by_label.get(label).into_iter().flat_map(|state| &state.hosts);
        let why = |host: &Host| match &host.trouble {
            Some(trouble) => trouble.clone(),
            None if host.ways.is_empty() => format!("{} is being looked up", host.target),
            None => format!("{} does not answer", host.target),
        };
        format!("{label}: {}", hosts.map(why).collect::<Vec<_>>().join("; "))
    }

    /// Counts a call, if there may be one more, or it is not to be refused.
    pub(super) fn begin(&mut self, config: &Config, label: &Label, in_any_case: bool) -> bool {
        let most = config.neighbours.get(label).map_or(0, |neighbour| neighbour.max_calls);
        match self.by_label.get_mut(label) {
            Some(state) if state.calls < most || in_any_case => {
                state.calls = state.calls.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// Counts a call that goes on.
    pub(super) fn resume(&mut self, label: &Label) {
        if let Some(state) = self.by_label.get_mut(label) {
            state.calls = state.calls.saturating_add(1);
        }
    }

    /// A call is over.
    pub(super) fn ended(&mut self, label: &Label) {
        if let Some(state) = self.by_label.get_mut(label) {
            state.calls = state.calls.saturating_sub(1);
        }
    }

    /// How many calls there are with a neighbour.
    pub(super) fn calls(&self, label: &Label) -> u16 {
        self.by_label.get(label).map_or(0, |state| state.calls)
    }

    /// Our registration at a host.
    pub(super) fn registration(&mut self, id: HostId) -> Option<(&Label, &Target, &mut Registration)> {
        self.host(id).map(|(label, host)| (label, &host.target, &mut host.registration))
    }

    /// Where a neighbour is, and how each way is: target, ways, why it was not found, our registration.
    pub(super) fn view(
        &self,
        label: &Label,
    ) -> impl Iterator<Item = (&Target, &[Way], Option<&str>, &Standing)> {
        let hosts = self.by_label.get(label).into_iter().flat_map(|state| &state.hosts);
        hosts.map(|host| {
            (&host.target, host.ways.as_slice(), host.trouble.as_deref(), &host.registration.standing)
        })
    }

    /// A host, and whose it is.
    pub(super) fn host(&mut self, id: HostId) -> Option<(&Label, &mut Host)> {
        self.by_label.iter_mut().find_map(|(label, state)| {
            state.hosts.iter_mut().find(|host| host.id == id).map(|host| (label, host))
        })
    }
}

impl Host {
    /// How soon a connection is tried again that failed, or did not last.
    pub(super) fn again(&mut self) -> Duration {
        let again = (RECONNECT * 2u32.pow(self.failures.min(8))).min(PROBE);
        self.failures = self.failures.saturating_add(1);
        again
    }
}

impl State {
    fn ways(&self) -> impl Iterator<Item = &Way> {
        self.hosts.iter().flat_map(|host| &host.ways)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ways().map(|way| way.flow.source())
    }

    fn speaks_from(&self, source: IpAddr) -> bool {
        self.addresses().any(|address| address == source)
            || (!self.allow.is_empty() && self.allow.contains(source))
    }
}

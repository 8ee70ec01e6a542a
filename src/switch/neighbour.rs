//! Other exchanges, as they are now: where they are, whether they answer, how many calls there are with each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Switch;
use super::call::Phase;
use super::event::{Event, Output};
use super::flow::{Flow, StreamId, Transport};
use super::forward::{face, via};
use super::io::Timer;
use super::transaction::Owner;
use super::trunk::{Registrant, Registration, Standing};
use crate::config::{Config, Label, Neighbour, Network, Target, TargetHost};
use crate::guard::{Lesson, Networks};
use crate::sip::Method;
use crate::sip::originate::{Originate, OwnMethod};
use crate::time::Instant;

/// The most ways to one host: what its name leads to beyond is not tried.
pub const MAX_WAYS: usize = 8;

/// How often each way is asked whether somebody is there. It also keeps a NAT's mapping open.
const PROBE: Duration = Duration::from_secs(25);

/// How soon a connection that could not be opened is tried again, at first; each failure doubles it.
const RECONNECT: Duration = Duration::from_secs(1);

/// How soon a host that could not be found is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Identifies a host of a neighbour for as long as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// All of them: as many as the configuration has.
#[derive(Default)]
pub(super) struct Neighbours {
    by_label: BTreeMap<Label, State>,
    made: u32,
}

/// One of them.
struct State {
    hosts: Vec<Host>,
    /// From where it speaks besides.
    allow: Networks,
    /// Calls with it that have not ended.
    calls: u16,
}

/// One host of a neighbour.
struct Host {
    id: HostId,
    target: Target,
    ways: Vec<Way>,
    /// When it is looked for again.
    stale: Instant,
    /// Why it was not found, or not reached.
    trouble: Option<String>,
    /// Connections in a row that could not be opened.
    failures: u32,
    /// How many ways there have been.
    made: u8,
    /// Its timer runs.
    is_watched: bool,
    /// With whom a trunk registers.
    registration: Registration,
}

/// One way to a host.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// What it is called as long as it is there; of a host, no two at a time are called the same.
    id: u8,
    pub(super) flow: Flow,
    pub(super) health: Health,
    /// When it was asked, if it has not answered yet.
    asked: Option<Instant>,
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
    fn reload(&mut self, config: &Config) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        let mut old = std::mem::take(&mut self.by_label);
        for (label, neighbour) in &config.neighbours {
            let mut before = old.remove(label);
            let mut hosts = Vec::new();
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
            let state = State { hosts, allow: Networks::new(&allowed(neighbour)), calls };
            self.by_label.insert(label.clone(), state);
        }
        gone.extend(old.values().flat_map(State::addresses));
        gone
    }

    /// Forgets registrations that were made as somebody else, or are not wanted any more; the hosts of those.
    fn new_accounts(&mut self, config: &Config) -> Vec<HostId> {
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
        self.ways_where(label, |host, way| {
            // A provider that serves us may have its reasons not to answer who only asks.
            let serves = matches!(host.registration.standing, Standing::Registered(_));
            serves || way.health != Health::Down
        })
    }

    /// The one to be tried first of all ways, whether or not it answers.
    pub(super) fn any_way(&self, label: &Label) -> Option<Flow> {
        self.ways_where(label, |_, _| true).into_iter().next().map(|(_, flow)| flow)
    }

    fn ways_where(&self, label: &Label, tried: impl Fn(&Host, &Way) -> bool) -> Vec<(Target, Flow)> {
        let hosts = self.by_label.get(label).into_iter().flat_map(|state| &state.hosts);
        let mut ways: Vec<(Health, Target, Flow)> = hosts
            .flat_map(|host| host.ways.iter().map(move |way| (host, way)))
            .filter(|(host, way)| !way.flow.is_dead() && tried(host, way))
            .map(|(host, way)| (way.health, host.target.clone(), way.flow))
            .collect();
        // What is known to answer comes first; otherwise the order is that of the file and of the names.
        ways.sort_by_key(|(health, ..)| !matches!(health, Health::Up(_)));
        ways.into_iter().map(|(_, target, flow)| (target, flow)).collect()
    }

    /// The flow by which a leg's exchange is spoken with now: another connection, if its own is gone.
    pub(super) fn flow_now(&self, label: &Label, flow: Flow) -> Flow {
        let same = |way: &&Way| {
            (way.flow.transport, way.flow.remote) == (flow.transport, flow.remote) && !way.flow.is_dead()
        };
        match flow.is_reliable() {
            true => self.by_label.get(label).and_then(|s| s.ways().find(same)).map_or(flow, |way| way.flow),
            false => flow,
        }
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

    fn host(&mut self, id: HostId) -> Option<(&Label, &mut Host)> {
        self.by_label.iter_mut().find_map(|(label, state)| {
            state.hosts.iter_mut().find(|host| host.id == id).map(|host| (label, host))
        })
    }
}

impl Host {
    /// How soon a connection is tried again that failed, or did not last.
    fn again(&mut self) -> Duration {
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

fn allowed(neighbour: &Neighbour) -> Vec<Network> {
    neighbour.allow.clone()
}

impl Switch {
    /// Goes over to the neighbours of the configuration, and looks for those that are new.
    pub(super) fn meet_neighbours(&mut self) {
        let live = self.calls.values().filter(|call| call.phase != Phase::Over);
        let mut counted: BTreeMap<Label, u16> = BTreeMap::new();
        for label in live.flat_map(|call| &call.neighbours) {
            *counted.entry(label.clone()).or_default() += 1;
        }
        for address in self.neighbours.reload(&self.config) {
            self.io.teach(Lesson::Unbound(address));
        }
        for (label, state) in &mut self.neighbours.by_label {
            state.calls = counted.get(label).copied().unwrap_or(0);
        }
        for id in self.neighbours.new_accounts(&self.config) {
            self.register_with(id);
        }
        let hosts = self.neighbours.by_label.values_mut().flat_map(|state| &mut state.hosts);
        let mut new = Vec::new();
        for host in hosts.filter(|host| !host.is_watched) {
            host.is_watched = true;
            new.push(host.id);
        }
        for id in new {
            self.look_for(id);
            self.io.arm(PROBE, Timer::Neighbour(id));
        }
    }

    fn look_for(&mut self, id: HostId) {
        let Some((_, host)) = self.neighbours.host(id) else { return };
        host.stale = self.io.now + LOOK_AGAIN;
        let target = host.target.clone();
        self.io.locate(Output::Locate { host: id, target });
    }

    /// A host was found, or not.
    pub(super) fn located(&mut self, id: HostId, found: Result<(Vec<Flow>, Duration), String>) {
        let now = self.io.now;
        let Some((label, host)) = self.neighbours.host(id) else { return };
        let label = label.clone();
        match found {
            Ok((flows, valid)) => {
                let before = std::mem::take(&mut host.ways);
                host.trouble = None;
                host.stale = now + valid;
                for flow in flows.into_iter().take(MAX_WAYS) {
                    let same = |way: &&Way| {
                        (way.flow.transport, way.flow.remote) == (flow.transport, flow.remote)
                            && (way.flow.is_reliable() || way.flow.local == flow.local)
                    };
                    match before.iter().find(same) {
                        Some(known) => host.ways.push(known.clone()),
                        None => {
                            host.made = host.made.wrapping_add(1);
                            host.ways.push(Way { id: host.made, flow, health: Health::Unknown, asked: None });
                        }
                    }
                }
                let now: Vec<IpAddr> = host.ways.iter().map(|way| way.flow.source()).collect();
                for way in before {
                    self.io.teach(Lesson::Unbound(way.flow.source()));
                }
                for address in now {
                    self.io.teach(Lesson::Bound(address));
                }
                self.connect(id);
                self.probe(id);
                self.register_with(id);
            }
            Err(why) => {
                host.stale = now + LOOK_AGAIN;
                // What was found before may still be true.
                let is_news = host.ways.is_empty() && host.trouble.as_ref() != Some(&why);
                host.trouble = Some(why.clone());
                if is_news {
                    self.io.tell(Event::Notice(format!("{label} cannot be found: {why}")));
                }
            }
        }
    }

    /// The time has come to ask whether a host is there, and perhaps where.
    pub(super) fn neighbour_due(&mut self, id: HostId) {
        let now = self.io.now;
        let Some((_, host)) = self.neighbours.host(id) else { return };
        let is_stale = now >= host.stale;
        self.io.arm(PROBE, Timer::Neighbour(id));
        if is_stale {
            self.look_for(id);
        }
        self.connect(id);
        self.probe(id);
    }

    /// Opens the connections to a host that are not there.
    pub(super) fn connect(&mut self, id: HostId) {
        let now = self.io.now;
        let Some((label, host)) = self.neighbours.host(id) else { return };
        let pin = self.config.neighbours.get(label).and_then(|neighbour| neighbour.pin);
        let name = match &host.target.host {
            TargetHost::Ip(ip) => ip.to_string(),
            TargetHost::Name(name) => name.clone(),
        };
        let mut wanted = Vec::new();
        for way in &mut host.ways {
            if way.flow.is_dead() && way.asked.is_none() {
                way.asked = Some(now);
                wanted.push(Output::Connect {
                    ticket: ticket(id, way.id),
                    transport: way.flow.transport,
                    remote: way.flow.remote,
                    name: name.clone(),
                    pin,
                });
            }
        }
        wanted.into_iter().for_each(|output| self.io.locate(output));
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, ticket: u64, flow: Flow) {
        let (id, at) = of_ticket(ticket);
        let way =
            self.neighbours.host(id).and_then(|(_, host)| host.ways.iter_mut().find(|way| way.id == at));
        let Some(way) = way.filter(|way| way.flow.remote == flow.remote && way.flow.is_dead()) else {
            return self.io.close(flow.stream);
        };
        (way.flow, way.asked) = (flow, None);
        if let Some((_, host)) = self.neighbours.host(id) {
            host.trouble = None;
            // The provider knows us by a connection that is gone.
            host.registration.renew(self.io.now);
        }
        self.probe(id);
        self.register_with(id);
    }

    /// A connection does not stand, for this reason.
    pub(super) fn not_connected(&mut self, ticket: u64, why: &str) {
        let (id, at) = of_ticket(ticket);
        let Some((label, host)) = self.neighbours.host(id) else { return };
        let (label, target) = (label.clone(), host.target.to_string());
        let Some(way) = host.ways.iter_mut().find(|way| way.id == at && way.flow.is_dead()) else { return };
        (way.asked, way.health) = (None, Health::Down);
        let trouble = format!("{}: {why}", way.flow.remote);
        // Soon at first: exchanges that know each other may be started one after the other.
        let again = host.again();
        self.io.arm(again, Timer::Connect(id));
        if host.trouble.replace(trouble.clone()).as_ref() != Some(&trouble) {
            self.io.tell(Event::Notice(format!("{label} cannot be reached at {target}: {trouble}")));
        }
    }

    /// A connection is gone. If it was one to another exchange, it is opened again.
    pub(super) fn neighbour_hung_up(&mut self, stream: StreamId) {
        let is_it = |way: &&mut Way| way.flow.is_reliable() && way.flow.stream == stream;
        let hosts = self.neighbours.by_label.values_mut().flat_map(|state| &mut state.hosts);
        for host in hosts {
            let Some(way) = host.ways.iter_mut().find(is_it) else { continue };
            way.flow.stream = StreamId(0);
            (way.asked, way.health) = (None, Health::Unknown);
            // Whoever closes each connection at once is not to be asked all day.
            let again = host.again();
            let id = host.id;
            return self.io.arm(again, Timer::Connect(id));
        }
    }

    /// Asks by each way whether somebody is there (RFC 3261 §11).
    fn probe(&mut self, id: HostId) {
        let now = self.io.now;
        let Some((_, host)) = self.neighbours.host(id) else { return };
        let target = host.target.clone();
        let mut asked = Vec::new();
        for way in &mut host.ways {
            if way.asked.is_none() && !way.flow.is_dead() {
                way.asked = Some(now);
                asked.push((way.id, way.flow));
            }
        }
        for (at, flow) in asked {
            let client = self.next_client();
            let branch = self.branch_text(client, 0);
            let [tag, call_id] = [self.secret.fresh(), self.secret.fresh()];
            let text = |tag: &[u8]| String::from_utf8_lossy(tag).into_owned();
            let uri = format!("sip:{target}");
            let bytes = Originate {
                method: OwnMethod::Options,
                uri: uri.as_bytes(),
                via: via(&self.config, &flow, &branch).as_bytes(),
                routes: &[],
                from: format!("<sip:{}>;tag={}", face(&self.config, &flow), text(&tag)).as_bytes(),
                to: format!("<{uri}>").as_bytes(),
                call_id: &call_id,
                cseq: 1,
                headers: &[],
            }
            .print();
            let owner = Owner::Probe(id, at);
            self.clients.start(&mut self.io, client, Method::Options, flow, bytes, owner);
        }
    }

    /// A probe was answered, or nobody will.
    pub(super) fn probed(&mut self, id: HostId, at: u8, is_answered: bool) {
        let now = self.io.now;
        let Some((label, host)) = self.neighbours.host(id) else { return };
        let is_up = |host: &Host| host.ways.iter().any(|way| matches!(way.health, Health::Up(_)));
        let (label, was_up, target) = (label.clone(), is_up(host), host.target.to_string());
        let is_first = host.ways.iter().all(|way| way.health == Health::Unknown);
        if is_answered {
            host.failures = 0;
        }
        let Some(way) = host.ways.iter_mut().find(|way| way.id == at) else { return };
        let Some(asked) = way.asked.take() else { return };
        way.health = if is_answered { Health::Up(now - asked) } else { Health::Down };
        let (remote, is_up) = (way.flow.remote, is_up(host));
        if is_up && !was_up {
            let took = (now - asked).as_millis();
            self.io.tell(Event::Notice(format!("{label} answers at {remote} ({target}), in {took} ms")));
        } else if !is_up && (was_up || is_first) {
            self.io.tell(Event::Notice(format!("{label} does not answer at {target}")));
        }
    }
}

/// What a connection is called that is being opened.
fn ticket(id: HostId, way: u8) -> u64 {
    u64::from(id.0) << 8 | u64::from(way)
}

fn of_ticket(ticket: u64) -> (HostId, u8) {
    (HostId((ticket >> 8) as u32), (ticket & 0xff) as u8)
}

/// Whether a way is by datagrams, where nobody tells that nobody is there.
pub(super) fn may_be_silent(flow: &Flow) -> bool {
    flow.transport == Transport::Udp
}

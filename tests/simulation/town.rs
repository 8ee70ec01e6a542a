//! A town: the exchange, its phones, what lies between them, and a clock that jumps from one event to
//! the next. After each step the laws are checked.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use denwa::config::Config;
use denwa::guard::News;
use denwa::journal::{Clocks, HOLD, Record, State};
use denwa::media;
use denwa::switch::{Event, Input, Instant, Output, StreamId, Switch, Transport};

use crate::laws::Laws;
use crate::network::{Delivery, Network, Weather};
use crate::phone::{Action, Call, Manners, Phone, Spec};
use crate::relay::Relay;
use crate::rng::Rng;
use crate::sip::Message;
use crate::stranger::{Hospitality, Visit};

/// Where the exchange is: as the phones know it, and where it really listens.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub public: SocketAddr,
    pub local: SocketAddr,
}

/// Something that is done to the town.
#[derive(Clone, Debug)]
pub enum Deed {
    Act(Action),
    Behave(Manners),
    /// The phone loses power and all memory. Over TCP the exchange learns of it, or not.
    Crash {
        noticed: bool,
    },
    Start,
    /// Its TCP connection breaks.
    Cut,
    /// Its NAT gives it another port.
    Rebind,
    /// The relay refuses the next session.
    FailRelay,
    /// The exchange is killed, and started again so much later, while the whole town sleeps. Of the journal
    /// there is all, or what was written until a second ago.
    Restart {
        asleep: Duration,
        power_cut: bool,
    },
    /// The exchange goes on with another configuration.
    Reload(Box<Config>),
    /// The cloud says after how long it will stop the machine, or that it will not.
    Notice(Option<Duration>),
}

/// What becomes of the ladder of messages.
enum Trace {
    Off,
    Kept(Vec<String>),
    Printed,
}

/// After how many inputs what is on record is held against what the exchange holds; also before a crash.
const CHECKED: u32 = 8;

/// What the clock on the wall says when the town's begins, in milliseconds since 1970.
const WALL: u64 = 1_790_000_000_000;

pub struct Town {
    pub now: Instant,
    pub phones: Vec<Phone>,
    pub relay: Relay,
    pub weather: Weather,
    /// What people were told.
    pub events: Vec<Event>,
    /// When, at the latest.
    told: Vec<Instant>,
    /// Broken laws; the first one stops the town.
    pub violations: Vec<String>,
    pub steps: u64,
    /// Connections that the exchange closed.
    pub closed: Vec<StreamId>,
    opened: HashSet<StreamId>,
    pub network: Network,
    pub laws: Laws,
    /// What strangers may expect.
    pub hospitality: Hospitality,
    /// What the exchange has put on record, and when.
    journal: Vec<(Instant, Record)>,
    /// What that comes to.
    kept: State,
    /// Inputs since it was last held against what the exchange holds.
    unchecked: u32,
    /// Bindings that survived a restart.
    pub survivors: u64,
    config: Config,
    stealth: bool,
    visits: BTreeMap<(Instant, u64), Visit>,
    /// Where the exchange is.
    pub places: Vec<Place>,
    switch: Switch,
    rng: Rng,
    script: BTreeMap<(Instant, u64), (usize, Deed)>,
    count: u64,
    trace: Trace,
    restless: (Instant, u32),
}

impl Town {
    /// A town around an exchange, which is in these places.
    pub fn new(seed: u64, config: Config, weather: Weather, places: &[Place]) -> Town {
        let mut rng = Rng::new(seed);
        let mut secret = [0; 32];
        secret.fill_with(|| rng.next() as u8);
        let addresses = places.iter().map(|place| (place.public.ip(), place.local.ip())).collect();
        let mut town = Town {
            now: Instant(1000),
            phones: Vec::new(),
            relay: Relay::new(config.media_ports, addresses),
            weather,
            events: Vec::new(),
            told: Vec::new(),
            violations: Vec::new(),
            steps: 0,
            closed: Vec::new(),
            opened: HashSet::new(),
            network: Network::new(weather, rng.fork()),
            laws: Laws::default(),
            hospitality: Hospitality::default(),
            journal: Vec::new(),
            kept: State::default(),
            unchecked: 0,
            survivors: 0,
            stealth: config.stealth,
            visits: BTreeMap::new(),
            switch: Switch::new(config.clone(), secret),
            config,
            places: places.to_vec(),
            rng,
            script: BTreeMap::new(),
            count: 0,
            trace: Trace::Off,
            restless: (Instant(0), 0),
        };
        town.switch.snapshot(&mut |record| town.journal.push((town.now, record.clone())));
        town.replay();
        town.feed(Input::Clock(WALL + town.now.0));
        town
    }

    /// Keeps a ladder of everything that happens.
    pub fn keep_trace(&mut self) {
        self.trace = Trace::Kept(Vec::new());
    }

    /// Prints the ladder as it grows.
    pub fn print_trace(&mut self) {
        self.trace = Trace::Printed;
    }

    pub fn trace(&self) -> &[String] {
        match &self.trace {
            Trace::Kept(lines) => lines,
            Trace::Off | Trace::Printed => &[],
        }
    }

    /// Puts up a phone; it is on, and not registered.
    pub fn add(&mut self, spec: Spec) -> usize {
        let id = self.phones.len();
        let place = self.places.iter().find(|place| place.public == spec.server);
        let server = place.map_or(spec.server, |place| place.local);
        self.network.add(spec.transport, spec.address, spec.nat, server);
        let mut phone = Phone::new(id, spec, self.rng.fork());
        phone.undisturbed = self.weather.loss == 0;
        self.phones.push(phone);
        id
    }

    /// Does something now.
    pub fn act(&mut self, phone: usize, action: Action) {
        self.perform(phone, Deed::Act(action));
    }

    /// Does something later.
    pub fn plan(&mut self, after: Duration, phone: usize, deed: Deed) {
        self.count += 1;
        self.script.insert((self.now + after, self.count), (phone, deed));
    }

    /// A stranger comes later.
    pub fn plan_visit(&mut self, after: Duration, visit: Visit) {
        self.count += 1;
        self.visits.insert((self.now + after, self.count), visit);
    }

    /// Lets so much time pass, or until a law is broken.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.violations.is_empty() && self.step(until) {}
    }

    /// How many extensions have a phone that can be called.
    pub fn registered(&self) -> u64 {
        self.switch.counts().registered
    }

    /// How many calls the exchange holds.
    pub fn live_calls(&self) -> usize {
        self.switch.calls()
    }

    /// One event. False if nothing happens until then.
    fn step(&mut self, until: Instant) -> bool {
        let phones = self.phones.iter().filter_map(Phone::deadline).min();
        let script = self.script.keys().next().map(|(at, _)| *at);
        let visit = self.visits.keys().next().map(|(at, _)| *at);
        let due = [visit, script, self.network.next(), phones, self.relay.next(), self.switch.deadline()];
        let next = due.into_iter().flatten().min().filter(|next| *next <= until);
        let Some(next) = next else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        self.steps += 1;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        if is_due(visit) {
            if let Some((_, visit)) = self.visits.pop_first() {
                self.receive(visit);
            }
        } else if is_due(script) {
            if let Some((_, (phone, deed))) = self.script.pop_first() {
                self.perform(phone, deed);
            }
        } else if is_due(self.network.next()) {
            if let Some(delivery) = self.network.arrived(self.now) {
                self.deliver(delivery);
            }
        } else if is_due(phones) {
            for id in 0..self.phones.len() {
                if self.phones[id].deadline().is_some_and(|at| at <= self.now) {
                    self.phones[id].tick(self.now);
                    self.collect(id);
                }
            }
        } else if is_due(self.switch.deadline()) {
            self.feed(Input::Tick);
            self.check_restless();
        }
        self.relay_reports();
        self.check_laws();
        true
    }

    fn perform(&mut self, id: usize, deed: Deed) {
        let now = self.now;
        self.note(|town| format!("{} {deed:?}", town.label(id)));
        let alive = self.phones[id].alive;
        match deed {
            Deed::Act(action) if alive => {
                if action == Action::UnregisterAll {
                    self.forget_bindings(&self.phones[id].spec.number.clone());
                }
                self.phones[id].act(now, action);
            }
            Deed::Act(_) => {}
            Deed::Behave(manners) => self.phones[id].spec.manners = manners,
            Deed::Crash { noticed } if alive => {
                self.disturb(id);
                self.phones[id].crash();
                if noticed {
                    self.network.cut(now, id);
                }
            }
            Deed::Crash { .. } => {}
            Deed::Start if !alive => {
                self.network.cut(now, id);
                self.phones[id].start(now);
            }
            Deed::Start => {}
            Deed::Cut => {
                self.disturb(id);
                self.network.cut(now, id);
            }
            Deed::Rebind => {
                self.disturb(id);
                self.network.rebind(id);
            }
            Deed::FailRelay => self.relay.fail_next = true,
            Deed::Restart { asleep, power_cut } => self.restart(asleep, power_cut),
            Deed::Reload(config) => self.reload(*config),
            Deed::Notice(after) => self.feed(Input::MachineStops(after)),
        }
        self.collect(id);
        self.relay_reports();
    }

    /// A phone takes back the bindings of all phones of its number, and they do not know.
    fn forget_bindings(&mut self, number: &str) {
        for phone in self.phones.iter_mut().filter(|phone| phone.spec.number == number) {
            phone.registration.until = None;
            phone.registration.since = None;
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::ToServer(flow, bytes) => {
                self.note(|town| format!("{} ──▶ denwa  {}", town.who(&flow), summary(&bytes)));
                if let Ok(message) = Message::read(&bytes) {
                    self.laws.on_arrival(self.now, flow, &message);
                }
                if flow.transport == Transport::Tcp && self.opened.insert(flow.stream) {
                    self.feed(Input::Opened(flow));
                }
                self.feed(Input::Packet { flow, bytes: &bytes });
            }
            Delivery::ToPhone(id, bytes) => {
                let (now, alive) = (self.now, self.phones[id].alive);
                let deaf = if alive { "" } else { " (off)" };
                self.note(|town| format!("{} ◀── denwa  {}{deaf}", town.label(id), summary(&bytes)));
                if alive {
                    self.phones[id].receive(now, &bytes);
                    self.collect(id);
                }
            }
            Delivery::ServerSeesClosed(stream) => {
                self.note(|_| format!("denwa sees {stream:?} closed"));
                self.network.told_closed(stream);
                self.feed(Input::Closed(stream));
            }
            Delivery::PhoneSeesClosed(id) => {
                self.note(|town| format!("{} sees its connection closed", town.label(id)));
                if self.phones[id].alive {
                    self.disturb(id);
                    self.phones[id].disconnected(self.now);
                }
            }
        }
    }

    /// A stranger's datagram comes.
    fn receive(&mut self, visit: Visit) {
        let (flow, bytes) = (visit.flow, visit.bytes.clone());
        self.note(|_| format!("stranger {} ──▶ denwa  {}", flow.remote, summary(&bytes)));
        self.hospitality.comes(visit);
        self.feed(Input::Packet { flow, bytes: &bytes });
        self.hospitality.goes();
    }

    /// Something comes to the exchange from its operator.
    pub fn input(&mut self, input: Input<'_>) {
        self.note(|_| format!("operator ══ denwa  {input:?}"));
        self.feed(input);
    }

    /// Hands the switch an input and does all it wants.
    fn feed(&mut self, input: Input<'_>) {
        self.switch.handle(self.now, input);
        let mut stage = 0;
        while let Some(output) = self.switch.poll() {
            let at = match &output {
                Output::Record(_) => 0,
                Output::Media(_) => 1,
                Output::Send(..) | Output::Close(_) | Output::Locate { .. } | Output::Connect { .. } => 2,
                Output::Event(_) => 3,
            };
            if at < stage {
                self.violations.push(format!("an output out of order: {output:?}"));
            }
            stage = at;
            self.carry_out(output);
        }
        // What is missing on record is still missing a moment later.
        self.unchecked += 1;
        if self.unchecked >= CHECKED {
            self.check_kept();
        }
    }

    /// The exchange is killed, and the next one goes on with what is on record.
    fn restart(&mut self, asleep: Duration, power_cut: bool) {
        self.check_kept();
        for phone in self.network.server_dies(self.now) {
            self.disturb(phone);
        }
        self.relay.die();
        self.hospitality.forget();
        self.laws.restarted();
        if power_cut {
            // Whoever registered within the last second has to do so again, and whoever left may be rung.
            (0..self.phones.len()).for_each(|phone| self.disturb(phone));
            let synced =
                self.journal.iter().filter(|(at, _)| *at + Duration::from_secs(1) <= self.now).count();
            self.journal.truncate(synced.max(1));
            self.replay();
            self.phones.iter_mut().for_each(|phone| phone.forgives = true);
            self.laws.forgotten(Instant(self.now.0.saturating_sub(1000)));
            // It may tell the same again, and the next calls get the numbers of those that nobody remembers.
            let (numbered, since) = (self.kept.numbered, Instant(self.now.0.saturating_sub(1000)));
            let mut told = std::mem::take(&mut self.told).into_iter();
            let mut stays = |event: &Event| {
                let recent = told.next().is_none_or(|at| at >= since);
                call_of(event).is_none_or(|call| call <= numbered && !recent)
            };
            self.events.retain(|event| stays(event));
            self.told = vec![since; self.events.len()];
        } else {
            // What waits to be written is lost, and with it nothing.
            let waits = |(at, record): &(Instant, Record)| {
                *at + HOLD > self.now && matches!(record, Record::Refreshed(_) | Record::Clock(_))
            };
            while self.journal.last().is_some_and(waits) {
                self.journal.pop();
            }
            self.replay();
            self.check_kept();
        }
        self.now = self.now + asleep;
        let clocks = Clocks { now: self.now, wall: WALL + self.now.0 };
        let mut seed = [0; 32];
        seed.fill_with(|| self.rng.next() as u8);
        self.keep(Record::Started(clocks));
        self.survivors += self.kept.bindings.len() as u64;
        self.switch = Switch::restore(self.config.clone(), seed, self.kept.clone(), clocks, &[]);
        self.feed(Input::Tick);
        if !power_cut {
            self.violations.extend(self.relay.check_locks());
        }
    }

    /// The exchange goes on with another configuration. Phones of extensions that are removed do not know.
    fn reload(&mut self, config: Config) {
        for id in 0..self.phones.len() {
            let number = self.phones[id].spec.number.clone();
            if !config.extensions.contains_key(number.as_str()) {
                self.disturb(id);
                self.forget_bindings(&number);
                self.laws.removed(&number);
            }
            let spec = &self.phones[id].spec;
            let place = self.places.iter().find(|place| place.public == spec.server);
            if place.is_some_and(|place| !config.listens(spec.transport, place.local)) {
                self.disturb(id);
            }
        }
        self.relay.ranges.push(config.media_ports);
        (self.config, self.stealth) = (config.clone(), config.stealth);
        self.feed(Input::Reload(Box::new(config)));
    }

    /// What the exchange goes by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is on record comes to this.
    fn replay(&mut self) {
        self.kept = State::default();
        self.journal.iter().for_each(|(_, record)| self.kept.apply(record.clone()));
    }

    /// Puts something on record.
    fn keep(&mut self, record: Record) {
        self.journal.push((self.now, record.clone()));
        self.kept.apply(record);
    }

    /// What is on record comes to what the exchange holds: each binding as it is, but for how long it holds,
    /// which may be longer, though not beyond the grace.
    fn check_kept(&mut self) {
        self.unchecked = 0;
        let mut held = State::default();
        self.switch.snapshot(&mut |record| held.apply(record.clone()));
        if held.secret != self.kept.secret {
            self.violations.push("the secret is not on record".into());
        }
        for (id, binding) in &held.bindings {
            let Some(kept) = self.kept.bindings.get(id) else {
                self.violations.push(format!("not on record: {binding:?}"));
                continue;
            };
            let (early, late) = (kept.term.expires(), kept.term.expires() + kept.term.grace());
            let expires = binding.term.expires();
            if expires != early && !(early..late).contains(&expires) {
                self.violations.push(format!("it ends at {expires:?}, on record is {kept:?}"));
            }
            let same = denwa::journal::Binding { term: kept.term, ..binding.clone() };
            if same != *kept {
                self.violations.push(format!("held is {binding:?}, on record is {kept:?}"));
            }
        }
        let kept = &self.kept;
        if (&held.calls, &held.over, &held.locks, &held.invites, &held.used)
            != (&kept.calls, &kept.over, &kept.locks, &kept.invites, &kept.used)
        {
            let what = |state: &State| {
                format!("{:?} {:?} {:?} {:?}", state.calls, state.over, state.invites, state.used)
            };
            self.violations.push(format!("held is {}, on record {}", what(&held), what(kept)));
        }
        let holds = |state: &State| {
            let bans = state.bans.values().filter(|ban| ban.until > self.now);
            bans.map(|ban| (ban.source, ban.failures, ban.until)).collect::<Vec<_>>()
        };
        if holds(&held) != holds(kept) {
            self.violations.push(format!("banned are {:?}, on record {:?}", held.bans, kept.bans));
        }
        let dead = |id: &u64| !held.bindings.contains_key(id);
        let undead = self.kept.bindings.iter().find(|(id, kept)| dead(id) && kept.term.expires() > self.now);
        if let Some((_, kept)) = undead {
            self.violations.push(format!("gone, and still on record: {kept:?}"));
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Record(record) => {
                self.note(|_| format!("denwa ══ journal  {record:?}"));
                self.keep(record);
            }
            Output::Media(command) => {
                self.note(|_| format!("denwa ══ relay  {}", media_summary(&command)));
                if let Err(error) = self.relay.apply(self.now, command) {
                    self.violations.push(format!("the relay is told nonsense: {error}"));
                }
            }
            Output::Send(flow, bytes) => {
                self.note(|town| format!("denwa ──▶ {}  {}", town.who(&flow), summary(&bytes)));
                if self.network.is_known(&flow) {
                    let broken = self.laws.on_send(self.now, &self.network, &self.phones, &flow, &bytes);
                    self.violations.extend(broken);
                    self.network.server_sends(self.now, &flow, bytes);
                } else {
                    let broken = self.hospitality.on_send(self.now, self.stealth, &flow, &bytes);
                    self.violations.extend(broken);
                }
            }
            // There are no others in this town.
            Output::Locate { host, .. } => self.note(|_| format!("denwa looks for {host:?}")),
            Output::Close(stream) => {
                self.note(|_| format!("denwa closes {stream:?}"));
                self.closed.push(stream);
                self.network.close(self.now, stream);
            }
            // Nobody here is called.
            Output::Connect { ticket, .. } => self.note(|_| format!("denwa wants connection {ticket}")),
            Output::Event(event) => {
                self.note(|_| format!("denwa says {event:?}"));
                if let Event::Guard(News::Banned { source, .. }) = &event {
                    self.laws.banned(*source);
                }
                self.events.push(event);
                self.told.push(self.now);
            }
        }
    }

    /// Whether nothing was lost and nothing happened to anybody.
    fn is_undisturbed(&self) -> bool {
        self.phones.iter().all(|phone| phone.undisturbed)
    }

    /// Something happens to a phone that excuses what it does not hear, and what others do not
    /// hear of it.
    fn disturb(&mut self, id: usize) {
        self.laws.disturb(id);
        for phone in &mut self.phones {
            phone.undisturbed = false;
        }
    }

    /// Takes from a phone what it wants to send, and what it complains of.
    fn collect(&mut self, id: usize) {
        for bytes in std::mem::take(&mut self.phones[id].outbox) {
            self.network.phone_sends(self.now, id, bytes);
        }
        for (stamp, message) in std::mem::take(&mut self.phones[id].stamped) {
            self.laws.on_stamp(id, stamp, message);
        }
        let complaints = std::mem::take(&mut self.phones[id].complaints);
        let label = self.label(id);
        self.violations.extend(complaints.into_iter().map(|text| format!("{label} complains: {text}")));
    }

    fn relay_reports(&mut self) {
        let Town { relay, phones, now, .. } = self;
        let events = relay.listen(*now, |local| phones.iter().any(|phone| speaks_to(phone, local)));
        for event in events {
            self.note(|_| format!("relay ══ denwa  {event:?}"));
            let unfounded = matches!(event, media::Event::Silent { .. }) && self.is_undisturbed();
            if unfounded {
                self.violations.push(format!("sound is expected where none was promised: {event:?}"));
            }
            self.feed(Input::Media(event));
        }
    }

    fn check_laws(&mut self) {
        if let Some(broken) = self.laws.check(self.now, &self.phones, &self.relay) {
            self.violations.push(broken);
        }
    }

    /// A switch that wants to be woken without end at one moment hangs its process.
    fn check_restless(&mut self) {
        if self.restless.0 != self.now {
            self.restless = (self.now, 0);
        }
        self.restless.1 += 1;
        if self.restless.1 > 100 && self.switch.deadline().is_some_and(|at| at <= self.now) {
            self.violations.push("the switch wants to be woken now, again and again".into());
        }
    }

    /// When all is quiet, nothing is left.
    pub fn check_quiet(&mut self) {
        self.check_kept();
        if self.violations.is_empty() {
            let (calls, sessions) = (self.live_calls(), self.relay.open());
            let ports = self.switch.ports_in_use();
            if calls + sessions + ports > 0 {
                let text = format!(
                    "all is quiet, and {calls} calls, {sessions} relay sessions, {ports} ports are left"
                );
                self.violations.push(text);
            }
            let broken = self.laws.check_quiet(&self.phones, &self.network);
            self.violations.extend(broken);
            self.violations.extend(check_records(&self.events));
        }
    }

    fn note(&mut self, line: impl FnOnce(&Town) -> String) {
        if matches!(self.trace, Trace::Off) {
            return;
        }
        let text = format!("{:>10.3}  {}", self.now.0 as f64 / 1000.0, line(self));
        match &mut self.trace {
            Trace::Off => {}
            Trace::Kept(lines) => lines.push(text),
            Trace::Printed => println!("{text}"),
        }
    }

    fn label(&self, id: usize) -> String {
        let phone = &self.phones[id];
        format!("#{id}({})", phone.spec.number)
    }

    fn who(&self, flow: &denwa::switch::Flow) -> String {
        match self.network.phone_at(flow) {
            Some(id) => self.label(id),
            None => format!("nobody at {}", flow.remote),
        }
    }
}

/// Which call an event is about.
fn call_of(event: &Event) -> Option<u64> {
    match event {
        Event::CallStarted(parties) | Event::CallAnswered(parties) => Some(parties.call),
        Event::CallEnded(record) => Some(record.parties.call),
        _ => None,
    }
}

/// Each call that was told of is ended once, and is what it was told to be.
fn check_records(events: &[Event]) -> Option<String> {
    let mut ended = BTreeMap::new();
    for event in events {
        if let Event::CallEnded(record) = event
            && ended.insert(record.parties.call, record).is_some()
        {
            return Some(format!("ended twice: {record:?}"));
        }
    }
    events.iter().find_map(|event| match event {
        Event::CallStarted(parties) if !ended.contains_key(&parties.call) => {
            Some(format!("never ended: {parties:?}"))
        }
        Event::CallAnswered(parties) => match ended.get(&parties.call) {
            Some(record) if record.talked.is_some() => None,
            record => Some(format!("{parties:?} was answered, but the record says {record:?}")),
        },
        _ => None,
    })
}

/// Whether a phone sends sound to this address.
fn speaks_to(phone: &Phone, local: SocketAddr) -> bool {
    phone.alive && !phone.mute && phone.active_calls().any(|call| is_sending(call, local))
}

fn is_sending(call: &Call, to: SocketAddr) -> bool {
    use crate::phone::Stage;
    let talking = matches!(call.stage, Stage::Up | Stage::Accepted);
    let (Some(local), Some(remote)) = (&call.media.local, &call.media.remote) else {
        return false;
    };
    talking
        && local
            .media
            .iter()
            .zip(&remote.media)
            .any(|(ours, theirs)| theirs.rtp == to && ours.rtp.port() != 0 && ours.direction.flags().0)
}

fn summary(bytes: &[u8]) -> String {
    match Message::read(bytes) {
        Ok(message) => message.summary(),
        Err(error) => format!("({error}) {}", String::from_utf8_lossy(bytes).escape_debug()),
    }
}

fn media_summary(command: &media::Command) -> String {
    match command {
        media::Command::Close { session } => format!("close {session:?}"),
        media::Command::Lock { session, lock } => format!("{lock:?} of {session:?}"),
        media::Command::Set { session, streams } => {
            let ends = |stream: &Option<media::Stream>| match stream {
                None => "off".to_owned(),
                Some(stream) => {
                    let far = match &stream.b {
                        media::Far::Echo => "echo".to_owned(),
                        media::Far::End(end) => end_summary(end),
                    };
                    format!("{} | {far}", end_summary(&stream.a))
                }
            };
            let streams: Vec<String> = streams.iter().map(ends).collect();
            format!("set {session:?} {}", streams.join(" ; "))
        }
    }
}

fn end_summary(end: &media::End) -> String {
    let remote = end.remote.map_or("?".into(), |remote| remote.rtp.to_string());
    let silence = if end.silence.is_some() { " promised" } else { "" };
    format!("{}→{remote} {:?} w{}{silence}", end.local, end.admit, end.window)
}

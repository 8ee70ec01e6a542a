//! Reaching other exchanges: where they are, connections to them, and whether they are there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Switch;
use super::call::{Leg, Phase};
use super::event::{Event, Output};
use super::flow::{Flow, StreamId};
use super::forward::{face, via};
use super::io::Timer;
use super::neighbour::{Health, Host, HostId, MAX_WAYS, PROBE, Way};
use super::registrar::Moved;
use super::transaction::Owner;
use crate::config::{Label, TargetHost};
use crate::guard::Lesson;
use crate::sip::Method;
use crate::sip::originate::{Originate, OwnMethod};

/// How soon a host that could not be found is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

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
        let mut new = Vec::new();
        for host in self.neighbours.hosts_mut().filter(|host| !host.is_watched) {
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
                let room = Vec::with_capacity(flows.len().min(MAX_WAYS));
                let before = std::mem::replace(&mut host.ways, room);
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
                            let (health, asked) = (Health::Unknown, None);
                            host.ways.push(Way { id: host.made, flow, health, is_doubted: false, asked });
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
            return self.close(flow.stream);
        };
        (way.flow, way.asked) = (flow, None);
        let mut cut = Vec::new();
        if let Some((label, host)) = self.neighbours.host(id) {
            host.trouble = None;
            // The provider knows us by a connection that is gone.
            host.registration.renew(self.io.now);
            let legs = self.calls.values().flat_map(|call| &call.legs);
            let legs =
                legs.filter(|leg| leg.neighbour() == Some(label) && leg.flow.source() == flow.source());
            cut.extend(legs.map(|leg| leg.flow).filter(Flow::is_dead));
        }
        // What is under way with that exchange on connections that have ended goes on here.
        for from in cut {
            self.moved(Moved { from, to: flow, has_ended: true });
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
        for host in self.neighbours.hosts_mut() {
            let Some(way) = host.ways.iter_mut().find(is_it) else { continue };
            way.flow.stream = StreamId(0);
            (way.asked, way.health) = (None, Health::Unknown);
            // Whoever closes each connection at once is not to be asked all day.
            let again = host.again();
            self.io.arm(again, Timer::Connect(host.id));
            break;
        }
        let is_cut =
            |leg: &Leg| leg.neighbour().is_some() && leg.flow.is_reliable() && leg.flow.stream == stream;
        let mut cut = None;
        for id in self.calls.ids() {
            if self.calls.get(&id).is_some_and(|call| call.legs.iter().any(is_cut))
                && let Some(call) = self.calls.get_mut(&id)
            {
                for leg in call.legs.iter_mut().filter(|leg| is_cut(leg)) {
                    cut = leg.neighbour().cloned().map(|label| (label, leg.flow));
                    leg.flow.stream = StreamId(0);
                }
            }
        }
        // What is under way in those calls goes on by another connection, or waits with them for one.
        if let Some((label, from)) = cut {
            let to = self.neighbours.flow_now(&label, Flow { stream: StreamId(0), ..from });
            self.moved(Moved { from, to, has_ended: true });
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
        way.is_doubted &= !is_answered;
        let (remote, is_up) = (way.flow.remote, is_up(host));
        if is_up && !was_up {
            let took = (now - asked).as_millis();
            self.io.tell(Event::Remark(format!("{label} answers at {remote} ({target}), in {took} ms")));
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

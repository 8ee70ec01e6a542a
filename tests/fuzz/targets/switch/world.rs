//! The exchange between its peers, two of them other exchanges and one a provider, and the laws that hold after each thing that happens to it:
//!
//! - whatever is sent is well-formed, and goes where something came from before, or to another exchange;
//! - a response goes only where its request came from, and nothing answers a response;
//! - no request ever reaches an address where nobody proved to be a phone;
//! - a stranger's datagram is answered at once or never, with no more bytes than it has; a challenge may
//!   have half as many more, four times a minute;
//!   (but see [`has_token`]);
//! - with `stealth`, who does not know our names gets nothing;
//! - what the relay is told makes sense, and where no call lives no port is in use;
//! - what people read is one printable line, and holds no password;
//! - when all timers have run out nothing is left, and the next two phones can talk.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use denwa::config::{
    Ban, Config, DigestOffer, ExpiresRange, Extension, LogLevel, NatMedia, NoAnswer, Number,
};
use denwa::config::{Password, PortRange, Rate, TargetHost};
use denwa::console::{Names, line};
use denwa::sip::{Host, Message, Name, Via, check_request, check_response};
use denwa::switch::{Event, Flow, Input, Instant, Output, StreamId, Switch, Transport};

use super::super::cost;
use super::peer::{DOMAIN, PASSWORDS, Peer, Request, password};
use crate::relay::Relay;

/// How many packets are remembered, of those that came and those that went.
const MEMORY: usize = 32;
/// How often one source's challenge may be longer than its request: at once, and each minute.
const CREDITS: u64 = 4;
/// The most packets that one input makes the exchange send.
const MOST_SENT: usize = 400;

pub const V4: &str = "203.0.113.5:5060";
pub const V6: &str = "[2001:db8::5]:5060";

pub struct World {
    pub now: Instant,
    pub peers: Vec<Peer>,
    /// Who sent or got which packet, the newest first.
    pub packets: VecDeque<(usize, Vec<u8>)>,
    pub relay: Relay,
    /// The packet that took longest, if it was too long.
    pub slow: Option<String>,
    config: Config,
    names: Names,
    switch: Switch,
    streams: u64,
    /// Flows by which something came.
    known: HashSet<Flow>,
    /// Where requests came from, by branch and method.
    asked: HashMap<(Vec<u8>, Vec<u8>), Vec<Flow>>,
    /// Branches of requests that a phone answered as if their Via were another: that is passed on.
    misnamed: HashSet<Vec<u8>>,
    /// Longer answers, by who got them.
    exceeded: HashMap<IpAddr, u64>,
    /// Strangers who have got hold of a token.
    listeners: HashSet<IpAddr>,
    /// What the network answers to what was wanted of it.
    due: Vec<Input<'static>>,
    /// Calls that were told of and have not ended, and those that have.
    calls: HashSet<u64>,
    ended: HashSet<u64>,
}

/// What a packet made the exchange send.
type Sent = Vec<(Flow, Vec<u8>)>;

impl World {
    pub fn new(choice: u8) -> World {
        let config = configuration(choice);
        let mut switch = Switch::new(config.clone(), [choice; 32]);
        switch.handle(Instant(1000), Input::Clock(1_790_000_000_000));
        let phone = |number, transport, local, remote| Peer::new(number, transport, local, remote, true);
        let neighbour = phone;
        let stranger = |transport, local, remote| Peer::new("101", transport, local, remote, false);
        let (udp, tcp) = (Transport::Udp, Transport::Tcp);
        let addresses = [V4, V6].map(|at| at.parse::<std::net::SocketAddr>().unwrap().ip());
        let mut world = World {
            now: Instant(1000),
            peers: vec![
                phone("101", udp, V4, "192.0.2.11:5060"),
                phone("102", udp, V4, "192.0.2.12:5060"),
                phone("103", udp, V6, "[2001:db8::13]:5060"),
                phone("104", tcp, V4, "203.0.113.70:20001"),
                phone("101", udp, V4, "203.0.113.70:20002"),
                stranger(udp, V4, "198.51.100.66:5060"),
                stranger(udp, V6, "[2001:db8:66::66]:7000"),
                stranger(tcp, V4, "198.51.100.67:20003"),
                neighbour("tokyo", udp, V4, "192.0.2.50:5060"),
                neighbour("kobe", tcp, V6, "[2001:db8::51]:5060"),
                neighbour("line", udp, V6, "[2001:db8::60]:5060"),
            ],
            packets: VecDeque::new(),
            relay: Relay::new(config.media_ports, addresses.map(|ip| (ip, ip)).to_vec()),
            slow: None,
            names: Names::of(&config),
            config,
            switch,
            streams: 0,
            known: HashSet::new(),
            asked: HashMap::new(),
            misnamed: HashSet::new(),
            exceeded: HashMap::new(),
            listeners: HashSet::new(),
            due: Vec::new(),
            calls: HashSet::new(),
            ended: HashSet::new(),
        };
        world.input(Input::Tick);
        world
    }

    /// The digest realm.
    pub fn realm(&self) -> &'static str {
        if self.config.domain.is_some() { DOMAIN } else { "denwa" }
    }

    /// A peer's packet arrives.
    pub fn packet(&mut self, peer: usize, bytes: &[u8]) {
        self.connect(peer);
        let flow = self.peers[peer].flow;
        self.arrive(flow, bytes);
        self.remember(peer, bytes);
        let start = cost::now();
        self.switch.handle(self.now, Input::Packet { flow, bytes });
        let outputs: Vec<Output> = std::iter::from_fn(|| self.switch.poll()).collect();
        let taken = cost::now() - start;
        if taken > cost::limit(bytes.len()) {
            self.slow = Some(format!("{} bytes took {taken:?}: {}", bytes.len(), bytes.escape_ascii()));
        }
        let sent = self.carry_out(outputs);
        if self.peers[peer].password.is_none() {
            if has_token(bytes) {
                self.listeners.insert(flow.source());
            }
            self.check_stranger(flow, bytes, &sent);
        }
        self.answer();
    }

    /// The network answers.
    fn answer(&mut self) {
        while let Some(input) = self.due.pop() {
            self.input(input);
        }
    }

    /// Where another exchange is found.
    fn found(&mut self, at: SocketAddr, transport: Transport) -> Result<(Vec<Flow>, Duration), String> {
        let local = if at.is_ipv4() { V4 } else { V6 }.parse().map_err(|_| String::new())?;
        let flow = Flow { transport, local, remote: at, stream: StreamId::default() };
        self.known.insert(flow);
        Ok((vec![flow], Duration::from_secs(600)))
    }

    /// A connection that the exchange wants stands, if somebody is there.
    fn connected(&mut self, ticket: u64, at: SocketAddr) -> Input<'static> {
        let is_there = |peer: &&mut Peer| peer.flow.remote.ip() == at.ip() && peer.flow.stream == StreamId(0);
        let Some(peer) = self.peers.iter_mut().find(is_there) else {
            return Input::NotConnected { ticket, why: "nobody is there".into() };
        };
        self.streams += 1;
        peer.flow.stream = StreamId(self.streams);
        peer.flow.remote = at;
        self.known.insert(peer.flow);
        Input::Connected { ticket, flow: peer.flow }
    }

    /// Something else happens.
    pub fn input(&mut self, input: Input<'_>) {
        self.switch.handle(self.now, input);
        let outputs: Vec<Output> = std::iter::from_fn(|| self.switch.poll()).collect();
        let sent = self.carry_out(outputs);
        for (flow, bytes) in sent {
            let late = self.is_stranger(&flow) && flow.transport == Transport::Udp;
            let excused = self.listeners.contains(&flow.source());
            assert!(!late || excused, "sent to a stranger without being asked: {}", bytes.escape_ascii());
        }
        self.answer();
    }

    /// Opens a peer's connection, if it has none.
    fn connect(&mut self, peer: usize) {
        let flow = &mut self.peers[peer].flow;
        if flow.transport == Transport::Udp || flow.stream != StreamId(0) {
            return;
        }
        self.streams += 1;
        flow.stream = StreamId(self.streams);
        flow.remote.set_port(20_000 + self.streams as u16);
        let flow = *flow;
        self.input(Input::Opened(flow));
    }

    /// A peer's connection breaks.
    pub fn disconnect(&mut self, peer: usize) {
        let stream = std::mem::take(&mut self.peers[peer].flow.stream);
        if stream != StreamId(0) {
            self.input(Input::Closed(stream));
        }
    }

    /// Time passes, and what is due happens.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut restless = (self.now, 0);
        loop {
            let due = [self.switch.deadline(), self.relay.next()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.input(Input::Tick);
            for event in self.relay.listen(self.now, |_| false) {
                self.input(Input::Media(event));
            }
            restless = if restless.0 == self.now { (self.now, restless.1 + 1) } else { (self.now, 0) };
            assert!(restless.1 < 100, "the switch wants to be woken now, again and again");
        }
        self.now = end;
    }

    fn remember(&mut self, peer: usize, bytes: &[u8]) {
        self.packets.truncate(MEMORY - 1);
        self.packets.push_front((peer, bytes.to_vec()));
    }

    /// Notes what came, and where answers to it may go.
    fn arrive(&mut self, flow: Flow, bytes: &[u8]) {
        let mut ways = vec![flow];
        if let Ok(message) = Message::parse(bytes)
            && let (Some(via), Some(_)) = (message.via(), message.method())
        {
            // Without rport to the port of sent-by, where that is the sender (RFC 3261 §18.2.2).
            if flow.transport == Transport::Udp && !via.wants_rport() && via.host == Host::Ip(flow.source()) {
                let mut other = flow;
                other.remote.set_port(via.port.unwrap_or(5060));
                ways.push(other);
            }
            let key = (via.branch().to_vec(), message.method_name().to_vec());
            self.asked.entry(key).or_default().extend(&ways);
        }
        if let Ok(message) = Message::parse(bytes)
            && message.status().is_some()
        {
            let asked = message.list(Name::Via).nth(1).and_then(Via::parse);
            let branch = asked.map(|via| via.branch()).unwrap_or_default().to_vec();
            if !self.asked.keys().any(|(asked, _)| *asked == branch) {
                self.misnamed.insert(branch);
            }
        }
        self.known.extend(ways);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) -> Sent {
        let mut sent = Vec::new();
        let mut stage = 0;
        for output in outputs {
            let at = match &output {
                Output::Record(_) => 0,
                Output::Media(_) => 1,
                Output::Send(..) | Output::Close(_) | Output::Locate { .. } | Output::Connect { .. } => 2,
                Output::Event(_) => 3,
            };
            assert!(at >= stage, "an output out of order: {output:?}");
            stage = at;
            match output {
                Output::Record(_) => {}
                Output::Media(command) => self.relay.apply(self.now, command).unwrap(),
                Output::Send(flow, bytes) => {
                    self.check_sent(&flow, &bytes);
                    sent.push((flow, bytes));
                }
                Output::Locate { host, target } => {
                    let TargetHost::Ip(ip) = target.host else { unreachable!("{target:?}") };
                    let at = SocketAddr::new(ip, target.port.unwrap_or(5060));
                    let found = self.found(at, target.transport.unwrap_or(Transport::Udp));
                    self.due.push(Input::Located(host, found));
                }
                Output::Close(stream) => self.closed(stream),
                Output::Connect { ticket, remote, .. } => {
                    let answer = self.connected(ticket, remote);
                    self.due.push(answer);
                }
                Output::Event(event) => self.check_event(&event),
            }
        }
        assert!(sent.len() <= MOST_SENT, "{} packets for one", sent.len());
        for (flow, bytes) in &sent {
            if let Some(peer) = self.peers.iter().position(|peer| peer.flow == *flow) {
                self.peers[peer].receive(bytes.clone());
                self.remember(peer, bytes);
            }
        }
        if self.switch.calls() == 0 {
            assert_eq!((self.switch.ports_in_use(), self.relay.open()), (0, 0), "ports without a call");
        }
        sent
    }

    fn closed(&mut self, stream: StreamId) {
        for peer in self.peers.iter_mut().filter(|peer| peer.flow.stream == stream) {
            peer.flow.stream = StreamId(0);
        }
    }

    /// Whether nobody at this address ever was a phone.
    fn is_stranger(&self, flow: &Flow) -> bool {
        self.peers.iter().any(|peer| peer.flow.source() == flow.source() && peer.password.is_none())
    }

    fn check_sent(&self, flow: &Flow, bytes: &[u8]) {
        let text = bytes.escape_ascii();
        assert!(self.known.contains(flow), "sent to {flow:?}, from where nothing came: {text}");
        assert!(bytes.len() <= 65_507, "{} bytes fit into no datagram", bytes.len());
        let message = Message::parse(bytes).unwrap_or_else(|error| panic!("{error:?}: {text}"));
        assert_eq!(message.bytes().len(), bytes.len(), "something is behind the message: {text}");
        if message.method().is_some() {
            assert_eq!(check_request(&message), Ok(()), "{text}");
            assert!(!self.is_stranger(flow), "a stranger is asked something: {text}");
        } else {
            let method = message.cseq().map(|cseq| cseq.method_name).unwrap_or_default();
            let branch = message.via().map(|via| via.branch()).unwrap_or_default();
            let came_from = self.asked.get(&(branch.to_vec(), method.to_vec()));
            // What is refused for its CSeq or Via has neither to be found by.
            let refused = message.status() == Some(400) || message.status() == Some(505);
            // Behind a quote that does not end, what is added belongs to the quote.
            let quoted = branch.iter().any(|b| b"\"<".contains(b));
            if !refused && !quoted && !self.misnamed.contains(branch) {
                // Where its connection has ended, to the next one of the same address.
                let has_ended = |from: &Flow| self.peers.iter().all(|peer| peer.flow.stream != from.stream);
                let has_moved = |from: &Flow| {
                    let is_there = (from.transport, from.source()) == (flow.transport, flow.source());
                    from.is_reliable() && is_there && has_ended(from)
                };
                assert!(
                    came_from.is_some_and(|flows| flows.iter().any(|from| from == flow || has_moved(from))),
                    "a response to {flow:?}, but its request came from {came_from:?}: {text}"
                );
                assert!(check_response(&message), "{text}");
            }
        }
        assert!(find(bytes, PASSWORDS).is_none(), "a password is sent: {text}");
    }

    /// What a stranger's packet is answered with.
    fn check_stranger(&mut self, flow: Flow, bytes: &[u8], sent: &Sent) {
        let text = bytes.escape_ascii();
        let to_it: Vec<_> = sent.iter().filter(|(to, _)| to.source() == flow.source()).collect();
        let is_response = Message::parse(bytes).is_ok_and(|message| message.status().is_some());
        assert!(to_it.is_empty() || !is_response, "a response is answered: {text}");
        let ours = [DOMAIN, "203.0.113.5", "2001:db8::5"];
        let lower = bytes.to_ascii_lowercase();
        let knows_us = ours.iter().any(|name| find(&lower, name.as_bytes()).is_some());
        if self.config.stealth && !knows_us {
            assert!(to_it.is_empty(), "a stranger who knows nothing is answered: {text}");
        }
        if flow.transport != Transport::Udp || self.listeners.contains(&flow.source()) {
            return;
        }
        assert!(to_it.len() <= 1, "{} answers for {text}", to_it.len());
        let Some((_, answer)) = to_it.first().filter(|(_, answer)| answer.len() > bytes.len()) else {
            return;
        };
        let shown = answer.escape_ascii();
        let status = Message::parse(answer).ok().and_then(|message| message.status());
        assert!(matches!(status, Some(401 | 407)), "longer than {text}: {shown}");
        assert!(answer.len() <= bytes.len() * 3 / 2, "half as long again as {text}: {shown}");
        let exceeded = self.exceeded.entry(flow.source()).or_default();
        *exceeded += 1;
        let most = CREDITS + (self.now.0 * CREDITS).div_ceil(60_000);
        assert!(*exceeded <= most, "{exceeded} longer answers, and {most} are allowed: {shown}");
    }

    fn check_event(&mut self, event: &Event) {
        let (_, text) = line(event, &self.names);
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(text.len() <= 1000, "{} bytes: {text}", text.len());
        assert!(find(text.as_bytes(), PASSWORDS).is_none(), "a password is told: {text}");
        match event {
            Event::CallStarted(parties) | Event::CallAnswered(parties) => {
                assert!(!self.ended.contains(&parties.call), "{text}");
                self.calls.insert(parties.call);
            }
            Event::CallEnded(record) => {
                self.calls.remove(&record.parties.call);
                assert!(self.ended.insert(record.parties.call), "ended twice: {text}");
            }
            _ => {}
        }
    }

    /// All phones fall silent, other exchanges are known no more, all timers run out; then two phones talk.
    pub fn end(&mut self) {
        let mut alone = self.config.clone();
        alone.neighbours.clear();
        alone.routes.clear();
        self.input(Input::Reload(Box::new(alone)));
        for peer in 0..self.peers.len() {
            self.disconnect(peer);
        }
        // Bindings and bans take ten minutes, calls five.
        self.pass(Duration::from_secs(1800));
        assert_eq!((self.switch.calls(), self.switch.ports_in_use(), self.relay.open()), (0, 0, 0));
        assert!(self.calls.is_empty(), "never ended: {:?}", self.calls);
        assert!(self.switch.is_empty(), "something is kept for ever");
        assert_eq!(self.switch.deadline(), None, "something is waited for");
        self.talk();
    }

    /// Two phones that nobody has seen before.
    fn talk(&mut self) {
        let pair = ["192.0.2.101:5060", "192.0.2.102:5060"];
        self.peers.clear();
        for (number, remote) in ["101", "102"].into_iter().zip(pair) {
            self.peers.push(Peer::new(number, Transport::Udp, V4, remote, true));
        }
        self.register(0, 60);
        self.register(1, 60);
        self.expect(0, 200);
        self.expect(1, 200);
        self.call(0, "102", 0);
        let Some(invite) = self.peers[1].inbox.front().cloned() else { panic!("102 does not ring") };
        let sdp = self.peers[1].sdp(0);
        let headers = "Contact: <sip:102@192.0.2.102>\r\nContent-Type: application/sdp\r\n";
        let answer = self.peers[1].response(&invite, 200, headers, &sdp).expect("an INVITE");
        self.packet(1, &answer);
        self.expect(0, 200);
        let answer = self.peers[0].inbox[0].clone();
        for method in ["ACK", "BYE"] {
            let request = self.peers[0].inside(&answer, method, "", b"").expect("a dialog");
            self.packet(0, &request);
        }
        assert!(self.peers[1].inbox[0].starts_with(b"BYE "), "102 is not told that it is over");
        assert_eq!((self.switch.calls(), self.switch.ports_in_use()), (0, 0));
    }

    fn expect(&self, peer: usize, status: u16) {
        let newest = self.peers[peer].inbox.front().map(Vec::as_slice).unwrap_or_default();
        let got = Message::parse(newest).ok().and_then(|message| message.status());
        assert_eq!(got, Some(status), "{}", newest.escape_ascii());
    }

    /// A phone registers, with credentials if it is asked for them.
    pub fn register(&mut self, peer: usize, expires: u32) {
        let (number, host) = (self.peers[peer].number, self.peers[peer].host());
        let transport = if self.peers[peer].flow.transport == Transport::Tcp { ";transport=tcp" } else { "" };
        let headers = format!(
            "Contact: <sip:{number}@{host}{transport}>\r\nExpires: {expires}\r\n\
             User-Agent: A phone with a name of some length, as they have, 1.0.2.3\r\n"
        );
        let to = format!("<sip:{number}@{DOMAIN}>");
        self.ask(peer, &Request { method: "REGISTER", uri: format!("sip:{DOMAIN}"), to, headers, body: b"" });
    }

    /// A phone calls a number, with a session description of a kind; from 6 on without.
    pub fn call(&mut self, peer: usize, number: &str, kind: u8) {
        let sdp = if kind < 6 { self.peers[peer].sdp(kind) } else { Vec::new() };
        let (own, host) = (self.peers[peer].number, self.peers[peer].host());
        let content = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let headers = format!("Contact: <sip:{own}@{host}>\r\nSupported: 100rel, replaces\r\n{content}");
        let (uri, to) = (format!("sip:{number}@{DOMAIN}"), format!("<sip:{number}@{DOMAIN}>"));
        self.ask(peer, &Request { method: "INVITE", uri, to, headers, body: &sdp });
    }

    /// Sends a request, and once more with credentials if it is challenged.
    pub fn ask(&mut self, peer: usize, request: &Request<'_>) {
        for _ in 0..2 {
            let bytes = self.peers[peer].request(request);
            let realm = self.realm();
            let bytes = self.peers[peer].authorized(&bytes, realm);
            self.peers[peer].inbox.push_front(Vec::new());
            self.packet(peer, &bytes);
            if !self.peers[peer].is_challenged() {
                return;
            }
        }
    }
}

const NUMBERS: [&str; 4] = ["101", "102", "103", "104"];

/// A configuration for each byte.
fn configuration(choice: u8) -> Config {
    let is = |bit: u8| choice & 1 << bit != 0;
    let number = |text: &str| Number::new(text).unwrap();
    let mut config = Config {
        domain: (!is(0)).then(|| DOMAIN.into()),
        stealth: !is(0) && is(1),
        keep_alive: Duration::from_secs(if is(2) { 25 } else { 0 }),
        log: if is(3) { LogLevel::Debug } else { LogLevel::Info },
        media_ports: PortRange { first: 40_000, last: if is(4) { 40_007 } else { 40_199 } },
        rate_stranger: Rate(if is(5) { 10 } else { 1_000 }),
        ban: is(6).then_some(Ban { failures: 3, time: Duration::from_secs(600) }),
        call_limit: Duration::from_secs(300),
        register_expires: ExpiresRange { min: Duration::from_secs(30), max: Duration::from_secs(600) },
        echo: Some(number("114")),
        ..Config::default()
    };
    for text in NUMBERS {
        let mut extension = Extension::new(Password::new(&password(text)));
        match text {
            "101" if is(7) => extension.max_calls = 1,
            "102" if is(7) => extension.digest = DigestOffer::Md5,
            "103" => {
                extension.no_answer = Some(NoAnswer { after: Duration::from_secs(10), to: number("102") });
                extension.busy = Some(number("600"));
            }
            "104" => {
                extension.nat_media = NatMedia::Learn;
                extension.offline = Some(number("114"));
            }
            _ => {}
        }
        config.extensions.insert(number(text), extension);
    }
    config.groups.insert(number("600"), ["101", "102", "104"].map(number).to_vec());
    let abroad = Config::parse("denwa.conf", abroad().as_bytes()).unwrap();
    (config.neighbours, config.routes) = (abroad.neighbours, abroad.routes);
    config
}

/// Other exchanges, and what is dialled for them.
fn abroad() -> String {
    format!(
        "ext.101 = {}\next.102 = {0}\npeer.tokyo = sip:192.0.2.50\npeer.tokyo.prefix = 8023\npeer.tokyo.user = tokyo\n\
         peer.tokyo.password = {}\npeer.tokyo.hop = yes\npeer.tokyo.trunks = isp\n\
         peer.kobe = sip:[2001:db8::51];transport=tcp\npeer.kobe.prefix = 8024\n\
         trunk.isp = sip:line@[2001:db8::60]\ntrunk.isp.password = {}\ntrunk.isp.numbers = 101 102\n\
         trunk.isp.max-calls-hour = 3\nroute.0 = trunk.isp\n",
        password("101"),
        password("tokyo"),
        password("line")
    )
}

/// Whether a message has what may be a token out of our Record-Route. Whoever has listened to a call and
/// sends its token can speak in its dialog from any address, as a phone can that moves to another network;
/// what the other phone answers to that is as long as it is.
fn has_token(bytes: &[u8]) -> bool {
    let is_base32 = |b: &u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(b);
    bytes.split(|b| *b == b'@').any(|part| part.iter().rev().take_while(|b| is_base32(b)).count() >= 23)
}

pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window[0] == part[0] && window == part)
}

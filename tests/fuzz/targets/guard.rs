//! The guard against a simple model of what it promises: lists know no exception, phones are not
//! banned, strangers get no more than their budgets, who fails too often is not heard, connections
//! are counted, and people are told little.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use denwa::config::{Access, Ban, Config, Listen, Network, Rate, Transport};
use denwa::console::{Names, line};
use denwa::guard::{Guard, Lesson, News, Opening, Prefix, Refusal, Standing};
use denwa::switch::{Event, Instant};

use super::cost;
use super::rest::Rest;

/// The most things that happen; what follows is not read.
const MOST_DEEDS: usize = 2_000;
/// How long a connection may take to authenticate.
const PATIENCE: Duration = Duration::from_secs(32);
/// The most connections without authentication: of a stranger, of a source of phones, of all.
const MOST_STREAMS: [usize; 3] = [8, 64, 1_024];
/// The most that people are told in any minute.
const MOST_NEWS: usize = 26;
/// How many seconds of its rate a stranger may send at once.
const BURST: u64 = 5;

/// A configuration, and what happens.
pub fn run(bytes: &[u8]) {
    // Each thing that happens costs what a packet costs, however few bytes say it.
    cost::bounded(bytes.len().min(MOST_DEEDS * 3) * 64, || play(bytes));
}

fn play(bytes: &[u8]) {
    let mut rest = Rest(bytes);
    let mut model = Model::new(&mut rest);
    for _ in 0..MOST_DEEDS {
        if rest.is_empty() {
            break;
        }
        model.do_next(&mut rest);
        model.drain();
    }
    model.end();
}

struct Model {
    config: Config,
    names: Names,
    guard: Guard,
    now: Instant,
    /// How many bindings each source has.
    bound: BTreeMap<Prefix, u32>,
    /// When each source that failed did so, since it last had the right password.
    failed: BTreeMap<Prefix, Vec<Instant>>,
    banned: BTreeMap<Prefix, Instant>,
    /// How many packets of strangers passed, by source and in all.
    passed: HashMap<Prefix, u64>,
    passed_in_all: u64,
    /// Connections without authentication: whose, and since when.
    streams: BTreeMap<u64, (Prefix, Instant)>,
    made: u64,
    told: VecDeque<Instant>,
}

impl Model {
    fn new(rest: &mut Rest<'_>) -> Model {
        let listen = Listen { transport: Transport::Udp, address: None, port: 60 };
        let config = Config {
            access: access(rest),
            gates: vec![(listen, access(rest))],
            rate_stranger: Rate(rest.pick(&[10, 1, 1_000_000, 3])),
            rate_strangers: Rate(rest.pick(&[500, 1, 1_000_000, 20])),
            rate_phone: Rate(1_000_000),
            ban: match rest.byte() % 3 {
                0 => None,
                failures => Some(Ban { failures: 3 * u32::from(failures), time: Duration::from_secs(300) }),
            },
            ..Config::default()
        };
        let mut key = [0; 16];
        key.fill_with(|| rest.byte());
        let [high, low] = [0, 8].map(|at| u64::from_le_bytes(key[at..at + 8].try_into().unwrap()));
        Model {
            guard: Guard::new(&config, (high, low)),
            names: Names::of(&config),
            config,
            now: Instant(1000),
            bound: BTreeMap::new(),
            failed: BTreeMap::new(),
            banned: BTreeMap::new(),
            passed: HashMap::new(),
            passed_in_all: 0,
            streams: BTreeMap::new(),
            made: 0,
            told: VecDeque::new(),
        }
    }

    fn do_next(&mut self, rest: &mut Rest<'_>) {
        let deed = rest.byte();
        let address = source(rest.byte());
        match deed % 10 {
            0 | 1 => self.packet(address, deed),
            2 => self.open(address, deed),
            3 => {
                let stream = self.some_stream(rest);
                self.guard.closed(stream);
                self.streams.remove(&stream);
            }
            4 => {
                self.guard.learn(self.now, Lesson::Bound(address));
                *self.bound.entry(Prefix::of(address)).or_default() += 1;
                self.failed.remove(&Prefix::of(address));
                self.banned.remove(&Prefix::of(address));
            }
            5 => self.unbind(address),
            6 => self.fail(address),
            7 => {
                let stream = if rest.yes() { self.some_stream(rest) } else { 0 };
                self.guard.learn(self.now, Lesson::Authenticated { source: address, stream });
                self.streams.remove(&stream);
                self.failed.remove(&Prefix::of(address));
            }
            8 => {
                let words = String::from_utf8_lossy(rest.take(usize::from(deed / 10))).into_owned();
                let refusal = Refusal {
                    remote: SocketAddr::new(address, 5060),
                    method: "REGISTER".into(),
                    number: words.clone(),
                    agent: words.clone(),
                    why: words,
                    answered: deed & 16 != 0,
                    known: deed & 32 != 0,
                };
                self.guard.learn(self.now, Lesson::Refused(refusal));
                self.guard.learn(self.now, Lesson::Exceeded(address));
            }
            _ => self.now = self.now + Duration::from_millis(PAUSES[usize::from(rest.byte()) % PAUSES.len()]),
        }
    }

    /// Whether the lists let it pass, bit by bit.
    fn is_admitted(&self, transport: Transport, port: u16, address: IpAddr) -> bool {
        let at_gate = |listen: &Listen| listen.transport == transport && listen.port == port;
        let gates = self.config.gates.iter().filter(|(listen, _)| at_gate(listen)).map(|(_, access)| access);
        gates.chain([&self.config.access]).all(|access| {
            let has = |list: &[Network]| list.iter().any(|network| is_in(network, address));
            !has(&access.deny) && (access.allow.is_empty() || has(&access.allow))
        })
    }

    fn is_banned(&self, source: Prefix) -> bool {
        self.banned.get(&source).is_some_and(|until| self.now < *until)
    }

    /// Checks what becomes of a packet or a connection, `Ok` for one that passed.
    fn check(&mut self, admitted: bool, source: Prefix, standing: Option<Standing>) {
        let is_phone = self.bound.contains_key(&source);
        match standing {
            Some(Standing::Phone) => assert!(admitted && is_phone),
            Some(Standing::Stranger { .. }) => {
                assert!(admitted && !is_phone && !self.is_banned(source));
                self.pass(source);
            }
            // What a phone's own budget refuses would take a million packets, or one that has just come
            // and found a stranger's budget.
            None => assert!(!admitted || !is_phone || self.config.rate_stranger.0 < 1_000_000),
        }
    }

    /// A stranger's packet passed: no more than the budgets have.
    fn pass(&mut self, source: Prefix) {
        let passed = self.passed.entry(source).or_default();
        *passed += 1;
        self.passed_in_all += 1;
        let (one, all) = (u64::from(self.config.rate_stranger.0), u64::from(self.config.rate_strangers.0));
        let elapsed = self.now.0 - 1000;
        assert!(*passed <= one * BURST + one * elapsed / 1000, "{passed} packets of one stranger");
        assert!(self.passed_in_all <= all + all * elapsed / 1000, "too many packets of strangers");
    }

    fn packet(&mut self, address: IpAddr, deed: u8) {
        let transport = if deed & 64 == 0 { Transport::Udp } else { Transport::Tcp };
        let port = if deed & 128 == 0 { 5060 } else { 60 };
        let local = SocketAddr::new(local(address), port);
        let standing = self.guard.packet(self.now, transport, local, SocketAddr::new(address, 5060));
        let admitted = self.is_admitted(transport, port, address);
        self.check(admitted, Prefix::of(address), standing);
    }

    fn open(&mut self, address: IpAddr, deed: u8) {
        self.made += 1;
        let (stream, source) = (self.made, Prefix::of(address));
        let port = if deed & 128 == 0 { 5060 } else { 60 };
        let local = SocketAddr::new(local(address), port);
        let opening =
            self.guard.opened(self.now, stream, Transport::Tcp, local, SocketAddr::new(address, 5060));
        let is_phone = self.bound.contains_key(&source);
        let admitted = self.is_admitted(Transport::Tcp, port, address);
        match opening {
            Opening::Refused => return,
            Opening::Admitted => {}
            Opening::InsteadOf(oldest) => {
                assert!(self.streams.remove(&oldest).is_some(), "{oldest} is not open");
                assert_eq!(self.streams.len() + 1, MOST_STREAMS[2], "there is room");
            }
        }
        assert!(admitted && (is_phone || !self.is_banned(source)));
        if !is_phone {
            self.pass(source);
        }
        self.streams.insert(stream, (source, self.now));
        let of_source = self.streams.values().filter(|(whose, _)| *whose == source).count();
        assert!(of_source <= MOST_STREAMS[usize::from(is_phone)], "{of_source} of one source");
        assert!(self.streams.len() <= MOST_STREAMS[2]);
    }

    fn unbind(&mut self, address: IpAddr) {
        let source = Prefix::of(address);
        // The exchange takes back only what it has given.
        let Some(count) = self.bound.get_mut(&source) else { return };
        *count -= 1;
        if *count == 0 {
            self.bound.remove(&source);
        }
        self.guard.learn(self.now, Lesson::Unbound(address));
    }

    fn fail(&mut self, address: IpAddr) {
        let source = Prefix::of(address);
        self.guard.learn(self.now, Lesson::Failed { source: address, number: "101".into() });
        let Some(ban) = self.config.ban.filter(|_| !self.bound.contains_key(&source)) else { return };
        if self.is_banned(source) {
            return;
        }
        if self.banned.remove(&source).is_some() {
            self.failed.remove(&source);
        }
        let failed = self.failed.entry(source).or_default();
        if failed.first().is_some_and(|first| self.now - *first >= ban.time) {
            failed.clear();
        }
        failed.push(self.now);
        if failed.len() >= ban.failures as usize {
            self.banned.insert(source, self.now + ban.time);
        }
    }

    fn some_stream(&self, rest: &mut Rest<'_>) -> u64 {
        let which = usize::from(rest.word());
        let open: Vec<u64> = self.streams.keys().copied().collect();
        if open.is_empty() { 999_999 } else { open[which % open.len()] }
    }

    /// Does what the guard wants done, as the exchange does after each input.
    fn drain(&mut self) {
        let mut gone = BTreeSet::new();
        while let Some(stream) = self.guard.overdue(self.now) {
            let (source, since) = self.streams.remove(&stream).expect("a connection that is open");
            assert!(self.now - since >= PATIENCE || self.is_banned(source), "{stream} has time left");
            assert!(gone.insert(stream));
        }
        while let Some(news) = self.guard.news(self.now) {
            self.told.push_back(self.now);
            self.told.retain(|told| self.now - *told < Duration::from_secs(60));
            assert!(self.told.len() <= MOST_NEWS, "{} lines in a minute", self.told.len());
            if let News::Banned { source, .. } = &news {
                assert!(self.is_banned(*source), "{source} is not banned");
            }
            let (_, text) = line(&Event::Guard(news), &self.names);
            assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        }
        let late = self.streams.values().find(|(_, since)| self.now - *since >= PATIENCE);
        assert!(late.is_none(), "a connection without authentication stays: {late:?}");
        assert!(
            self.guard.deadline().is_none_or(|due| due > self.now),
            "it wants to be asked again and again"
        );
    }

    /// When nothing comes any more, there is soon nothing to say.
    fn end(&mut self) {
        for _ in 0..MOST_DEEDS {
            let Some(due) = self.guard.deadline() else { break };
            assert!(due - self.now <= Duration::from_secs(60), "{due:?} is far");
            self.now = due;
            self.drain();
        }
        assert_eq!(self.guard.deadline(), None);
        assert!(self.streams.is_empty());
    }
}

const PAUSES: [u64; 10] = [1, 10, 100, 500, 1_000, 5_000, 32_000, 60_000, 299_999, 300_000];

/// Up to three networks that may speak, and three that may not.
fn access(rest: &mut Rest<'_>) -> Access {
    let mut list = || -> Vec<Network> {
        let count = rest.byte() % 4;
        (0..count).map(|_| network(source(rest.byte()), rest.byte())).collect()
    };
    Access { allow: list(), deny: list() }
}

/// The network of so many bits around an address.
fn network(address: IpAddr, length: u8) -> Network {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let length = length % 33;
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Network { address: Ipv4Addr::from_bits(v4.to_bits() & mask).into(), length }
        }
        IpAddr::V6(v6) => {
            let length = length % 129;
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Network { address: Ipv6Addr::from_bits(v6.to_bits() & mask).into(), length }
        }
    }
}

fn is_in(network: &Network, address: IpAddr) -> bool {
    let bits = |address: IpAddr| -> Vec<u8> {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1)).collect()
    };
    let (ours, theirs) = (bits(network.address), bits(address.to_canonical()));
    let length = usize::from(network.length);
    ours.len() == theirs.len() && ours[..length] == theirs[..length]
}

/// An address for each byte: IPv4, IPv6, several of one /64, and the ends of the ranges.
fn source(which: u8) -> IpAddr {
    let n = u16::from(which % 32);
    match which / 32 {
        0 | 1 => Ipv4Addr::new(10, 0, n as u8 % 4, which).into(),
        2 | 3 => Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1).into(),
        4 => Ipv6Addr::new(0x2001, 0xdb8, 0, n % 4, 0, 0, n, 7).into(),
        5 => Ipv4Addr::new(10, 0, n as u8 % 4, which).to_ipv6_mapped().into(),
        6 => Ipv4Addr::from_bits(u32::from(n).wrapping_sub(16)).into(),
        _ => Ipv6Addr::from_bits(u128::from(n).wrapping_shl(64).wrapping_add(u128::from(n))).into(),
    }
}

/// An address of ours that it reaches.
fn local(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 5).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5).into(),
    }
}

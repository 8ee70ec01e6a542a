//! Between the phones and the exchange: delay, loss, duplicates, reordering, NAT, connections that
//! break. All of it from a seed.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use denwa::switch::{Flow, Instant, StreamId, Transport};

use crate::rng::Rng;

/// How a datagram fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The shortest and longest way, in milliseconds.
    pub delay: (u64, u64),
    /// Lost, in percent.
    pub loss: u64,
    /// Delivered twice, in percent.
    pub twice: u64,
}

impl Weather {
    /// Nothing is lost and nothing overtakes.
    pub const PERFECT: Weather = Weather { delay: (10, 10), loss: 0, twice: 0 };
    /// A home connection in the evening.
    pub const MILD: Weather = Weather { delay: (5, 60), loss: 2, twice: 1 };
    /// A train.
    pub const BAD: Weather = Weather { delay: (20, 500), loss: 15, twice: 5 };
}

/// Something that arrives.
pub enum Delivery {
    ToServer(Flow, Vec<u8>),
    ToPhone(usize, Vec<u8>),
    /// The exchange learns that a connection is gone.
    ServerSeesClosed(StreamId),
    /// A phone learns that its connection is gone.
    PhoneSeesClosed(usize),
}

/// One phone's way to the exchange.
struct Link {
    transport: Transport,
    address: SocketAddr,
    nat: Option<IpAddr>,
    /// The source port that others see.
    port: u16,
    /// The exchange's own address: what `advertise` hides, if the phone knows it by another.
    server: SocketAddr,
    stream: Option<StreamId>,
    /// When the last message of each direction of the stream arrives: nothing overtakes there.
    arrivals: [Instant; 2],
}

pub struct Network {
    pub weather: Weather,
    rng: Rng,
    links: Vec<Link>,
    queue: BTreeMap<(Instant, u64), Delivery>,
    /// Flows over which something reached the exchange.
    known: HashSet<Flow>,
    closed: HashSet<StreamId>,
    count: u64,
}

impl Network {
    pub fn new(weather: Weather, rng: Rng) -> Network {
        Network {
            weather,
            rng,
            links: Vec::new(),
            queue: BTreeMap::new(),
            known: HashSet::new(),
            closed: HashSet::new(),
            count: 0,
        }
    }

    /// Connects the next phone.
    pub fn add(
        &mut self,
        transport: Transport,
        address: SocketAddr,
        nat: Option<IpAddr>,
        server: SocketAddr,
    ) {
        let outside = nat.is_some() || transport == Transport::Tcp;
        let port = if outside { self.fresh_port() } else { address.port() };
        let arrivals = [Instant(0); 2];
        self.links.push(Link { transport, address, nat, port, server, stream: None, arrivals });
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Takes what has arrived by now, one at a time.
    pub fn arrived(&mut self, now: Instant) -> Option<Delivery> {
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        let delivery = entry.remove();
        if let Delivery::ToServer(flow, _) = &delivery {
            self.known.insert(*flow);
        }
        Some(delivery)
    }

    /// How a phone appears to the exchange now.
    pub fn flow_of(&self, phone: usize) -> Flow {
        let link = &self.links[phone];
        let ip = link.nat.unwrap_or(link.address.ip());
        Flow {
            transport: link.transport,
            local: link.server,
            remote: SocketAddr::new(ip, link.port),
            stream: link.stream.unwrap_or_default(),
        }
    }

    /// Whose flow this is now.
    pub fn phone_at(&self, flow: &Flow) -> Option<usize> {
        (0..self.links.len()).find(|phone| self.flow_of(*phone) == *flow)
    }

    /// Whether something came by this flow before, so that sending to it is allowed.
    pub fn is_known(&self, flow: &Flow) -> bool {
        self.known.contains(flow)
    }

    /// Whether the exchange was told that this connection is gone.
    pub fn is_closed(&self, flow: &Flow) -> bool {
        self.closed.contains(&flow.stream)
    }

    /// The exchange has been told.
    pub fn told_closed(&mut self, stream: StreamId) {
        self.closed.insert(stream);
    }

    pub fn phone_sends(&mut self, now: Instant, phone: usize, bytes: Vec<u8>) {
        if self.links[phone].transport == Transport::Tcp && self.links[phone].stream.is_none() {
            self.count += 1;
            let (stream, port) = (StreamId(self.count), self.fresh_port());
            self.links[phone].stream = Some(stream);
            self.links[phone].port = port;
        }
        let flow = self.flow_of(phone);
        self.carry(now, phone, 0, bytes, |bytes| Delivery::ToServer(flow, bytes));
    }

    /// What the exchange sends. A way that no longer exists swallows it.
    pub fn server_sends(&mut self, now: Instant, flow: &Flow, bytes: Vec<u8>) {
        if let Some(phone) = self.phone_at(flow) {
            self.carry(now, phone, 1, bytes, |bytes| Delivery::ToPhone(phone, bytes));
        }
    }

    /// A phone's connection breaks: what is on its way is lost, and both sides learn of it.
    pub fn cut(&mut self, now: Instant, phone: usize) {
        let Some(stream) = self.links[phone].stream.take() else {
            return;
        };
        self.queue.retain(|_, delivery| match delivery {
            Delivery::ToServer(flow, _) => flow.stream != stream,
            Delivery::ToPhone(to, _) => *to != phone,
            _ => true,
        });
        let soon = self.delay();
        self.post(now + soon, Delivery::ServerSeesClosed(stream));
        self.post(now + soon, Delivery::PhoneSeesClosed(phone));
    }

    /// The exchange's process ends, and with it all connections. Returns whose. Datagrams wait for the next.
    pub fn server_dies(&mut self, now: Instant) -> Vec<usize> {
        self.queue.retain(|_, delivery| match delivery {
            Delivery::ToServer(flow, _) => flow.transport == Transport::Udp,
            Delivery::ServerSeesClosed(_) => false,
            _ => true,
        });
        let mut cut = Vec::new();
        for phone in 0..self.links.len() {
            if let Some(stream) = self.links[phone].stream.take() {
                self.closed.insert(stream);
                let after = (now + self.delay()).max(self.links[phone].arrivals[1]);
                self.post(after, Delivery::PhoneSeesClosed(phone));
                cut.push(phone);
            }
        }
        cut
    }

    /// The exchange closes a connection, after what it sent on it.
    pub fn close(&mut self, now: Instant, stream: StreamId) {
        if let Some(phone) = self.links.iter().position(|link| link.stream == Some(stream)) {
            self.links[phone].stream = None;
            let after = (now + self.delay()).max(self.links[phone].arrivals[1]);
            self.post(after, Delivery::PhoneSeesClosed(phone));
        }
        self.closed.insert(stream);
    }

    /// A NAT forgets the phone: from now on it appears at another port, and the old one is dead.
    pub fn rebind(&mut self, phone: usize) {
        if self.links[phone].nat.is_some() && self.links[phone].transport == Transport::Udp {
            self.links[phone].port = self.fresh_port();
        }
    }

    fn carry(
        &mut self,
        now: Instant,
        phone: usize,
        direction: usize,
        bytes: Vec<u8>,
        wrap: impl Fn(Vec<u8>) -> Delivery,
    ) {
        let delay = self.delay();
        if self.links[phone].transport == Transport::Tcp {
            let at = (now + delay).max(self.links[phone].arrivals[direction]);
            self.links[phone].arrivals[direction] = at;
            return self.post(at, wrap(bytes));
        }
        if self.rng.percent(self.weather.loss) {
            return;
        }
        if self.rng.percent(self.weather.twice) {
            let later = self.delay();
            self.post(now + later, wrap(bytes.clone()));
        }
        self.post(now + delay, wrap(bytes));
    }

    fn post(&mut self, at: Instant, delivery: Delivery) {
        self.count += 1;
        self.queue.insert((at, self.count), delivery);
    }

    fn delay(&mut self) -> Duration {
        let (low, high) = self.weather.delay;
        Duration::from_millis(self.rng.between(low, high))
    }

    fn fresh_port(&mut self) -> u16 {
        self.count += 1;
        20_000 + (self.count % 40_000) as u16
    }
}

//! Junk for the SIP port, as the Internet sends it to whoever listens there, only faster: noise,
//! scanners' requests, responses that nobody asked for, ACK and CANCEL. It comes from ever new addresses
//! of 127/8 and of an IPv6 /32, and a part of it from one address of each.

use crate::phones::DOMAIN;
use crate::sys::{self, BATCH, Inbox, Parcel, realtime, roomy_socket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;

/// Of the IPv6 sources, the bits that stay the same: the documentation's prefix.
const PREFIX: u128 = 0x2001_0db8 << 96;
/// How many different datagrams there are, but for their branch and Call-ID.
const KINDS: usize = 512;
/// One of so many comes from the one source.
const FROM_ONE: u64 = 5;
/// Datagrams sent at once. A network card hands over as many with one interrupt.
const AT_ONCE: u64 = 32;
/// What stands where the serial number of a request is written.
const SERIAL: &[u8; 8] = b"########";

/// Many strangers, who send so many packets a second.
pub(crate) struct Flood {
    lanes: Vec<Lane>,
    junk: Vec<Junk>,
    random: Random,
    inbox: Inbox,
    rate: u64,
    begun: u64,
    drained: u64,
    outcome: Outcome,
}

/// One socket of the strangers.
struct Lane {
    socket: UdpSocket,
    to: SocketAddr,
}

/// One datagram, and where its serial number stands.
struct Junk {
    bytes: Vec<u8>,
    serials: Vec<usize>,
}

/// What became of a flood.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// Datagrams that the kernel took.
    pub(crate) sent: u64,
    /// How many bytes these were.
    pub(crate) sent_bytes: u64,
    /// Datagrams that came back.
    pub(crate) answers: u64,
    /// How many bytes these were.
    pub(crate) answer_bytes: u64,
    /// For how long, in ns.
    pub(crate) time: u64,
}

impl Outcome {
    /// Datagrams a second.
    pub(crate) fn rate(&self) -> f64 {
        self.sent as f64 * 1e9 / self.time.max(1) as f64
    }

    /// Both together.
    pub(crate) fn plus(self, other: Outcome) -> Outcome {
        Outcome {
            sent: self.sent + other.sent,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            answers: self.answers + other.answers,
            answer_bytes: self.answer_bytes + other.answer_bytes,
            time: self.time + other.time,
        }
    }
}

/// Puts the IPv6 sources on loopback. Takes the right to; without, floods are of IPv4 only.
pub(crate) fn prepare_sources() -> bool {
    let route = ["-6", "route", "add", "local", "2001:db8::/32", "dev", "lo"];
    Command::new("ip").args(route).status().is_ok_and(|status| status.success())
}

impl Flood {
    /// Strangers that send to these addresses, in turn.
    pub(crate) fn new(targets: &[SocketAddr], rate: u64) -> Result<Flood, String> {
        let lane = |&to: &SocketAddr| -> std::io::Result<Lane> {
            let any: IpAddr =
                if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            let socket = roomy_socket(SocketAddr::new(any, 0))?;
            socket.set_nonblocking(true)?;
            sys::any_source(&socket, to.is_ipv6())?;
            Ok(Lane { socket, to })
        };
        let lanes: std::io::Result<Vec<Lane>> = targets.iter().map(lane).collect();
        let mut random = Random(0x5eed);
        Ok(Flood {
            lanes: lanes.map_err(|e| format!("flood: {e}"))?,
            junk: (0..KINDS).map(|i| Junk::new(i, &mut random)).collect(),
            random,
            inbox: Inbox::default(),
            rate,
            begun: 0,
            drained: 0,
            outcome: Outcome::default(),
        })
    }

    /// Begins to count, and to owe packets.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        self.drain()?;
        self.outcome = Outcome::default();
        self.begun = realtime();
        self.drained = self.begun;
        Ok(())
    }

    /// Sends what is due, at most a few dozen, and takes what came back.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let now = realtime();
        let due = (now - self.begun).saturating_mul(self.rate) / 1_000_000_000;
        // A full batch or nothing: a system call for each packet would be the bench's limit.
        if due >= self.outcome.sent + AT_ONCE {
            self.send(AT_ONCE as usize)?;
        }
        if now - self.drained > 1_000_000 {
            self.drained = now;
            self.drain()?;
        }
        Ok(())
    }

    /// Sends so many packets at once, at most [`BATCH`]; returns how many the kernel took.
    pub(crate) fn send(&mut self, count: usize) -> Result<usize, String> {
        let serial = self.outcome.sent;
        let mut sources = [IpAddr::V4(Ipv4Addr::LOCALHOST); BATCH];
        let count = count.min(BATCH);
        let lane = &self.lanes[(serial / AT_ONCE) as usize % self.lanes.len()];
        // A stride that visits all of them, so that neighbours are of different kinds.
        let kind = |i: usize| (serial as usize + i) * 197 % KINDS;
        for (i, source) in sources[..count].iter_mut().enumerate() {
            *source = self.random.source(lane.to.is_ipv6());
            self.junk[kind(i)].number(serial + i as u64);
        }
        let parcel = |(i, from): (usize, &IpAddr)| Parcel {
            bytes: &self.junk[kind(i)].bytes,
            from: Some(*from),
            to: lane.to,
        };
        let sent = sys::send(&lane.socket, sources[..count].iter().enumerate().map(parcel));
        let sent = sent.map_err(|e| format!("flood to {}: {e}", lane.to))?;
        self.outcome.sent += sent as u64;
        self.outcome.sent_bytes += (0..sent).map(|i| self.junk[kind(i)].bytes.len() as u64).sum::<u64>();
        Ok(sent)
    }

    /// Takes what came back.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        for lane in &self.lanes {
            loop {
                let count = self.inbox.receive(&lane.socket).map_err(|e| format!("flood: {e}"))?;
                self.outcome.answers += count as u64;
                for i in 0..count {
                    self.outcome.answer_bytes += self.inbox.datagram(i).len() as u64;
                }
                if count < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What became of it so far.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What became of it since it began.
    pub(crate) fn end(&mut self) -> Result<Outcome, String> {
        self.outcome.time = realtime() - self.begun;
        self.drain()?;
        Ok(self.outcome)
    }
}

impl Junk {
    /// One of each hundred of these kinds is what scanners send most.
    fn new(i: usize, random: &mut Random) -> Junk {
        // Who scans does not know the domain, but for a few.
        let host = if i.is_multiple_of(8) { DOMAIN } else { "203.0.113.80" };
        let extension = 100 + i % 900;
        let bytes = match i % 20 {
            0..=4 => random.noise(),
            5..=8 => request("OPTIONS", &format!("sip:100@{host}"), "friendly-scanner", i),
            9..=11 => request("REGISTER", &format!("sip:{extension}@{host}"), "pplsip", i),
            12..=14 => request("INVITE", &format!("sip:9011972{extension}@{host}"), "sipcli/v1.8", i),
            15..=16 => response(i),
            17..=18 => request("ACK", &format!("sip:{extension}@{host}"), "VaxSIPUserAgent/3.5", i),
            _ => request("CANCEL", &format!("sip:{extension}@{host}"), "sundayddr", i),
        };
        let serials = bytes.windows(SERIAL.len()).enumerate().filter(|(_, bytes)| bytes == SERIAL);
        Junk { serials: serials.map(|(at, _)| at).collect(), bytes }
    }

    /// Writes the serial number, so that none is a repetition of another.
    fn number(&mut self, serial: u64) {
        for &at in &self.serials {
            for (i, byte) in self.bytes[at..at + SERIAL.len()].iter_mut().enumerate() {
                *byte = b"0123456789abcdef"[(serial >> (4 * i)) as usize & 15];
            }
        }
    }
}

fn request(method: &str, uri: &str, agent: &str, i: usize) -> Vec<u8> {
    let rport = if i.is_multiple_of(3) { "" } else { ";rport" };
    let serial = "########";
    let contact = "sip:100@203.0.113.66:5060";
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bK{serial}{rport}\r\n\
         Max-Forwards: 70\r\nFrom: <{uri}>;tag={serial}\r\nTo: <{uri}>\r\nCall-ID: {serial}@203.0.113.66\r\n\
         CSeq: 1 {method}\r\nContact: <{contact}>\r\nUser-Agent: {agent}\r\nAccept: application/sdp\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn response(i: usize) -> Vec<u8> {
    let status = ["200 OK", "180 Ringing", "401 Unauthorized", "486 Busy Here"][i / 20 % 4];
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 203.0.113.80:5060;branch=z9hG4bK########\r\n\
         From: <sip:100@{DOMAIN}>;tag=1\r\nTo: <sip:101@{DOMAIN}>;tag=2\r\nCall-ID: ########\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:101@203.0.113.66>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Numbers that look random and are the same in each run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = 20 + self.next() as usize % 580;
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Where the next packet comes from. Never 127.0.0.0/16 or ::1, where the phones are.
    pub(crate) fn source(&mut self, is_ipv6: bool) -> IpAddr {
        let one = self.next().is_multiple_of(FROM_ONE);
        let (a, b) = (self.next(), self.next());
        if is_ipv6 {
            let rest = if one { 0xbad } else { (u128::from(a) << 64 | u128::from(b)) >> 32 };
            Ipv6Addr::from(PREFIX | rest).into()
        } else if one {
            Ipv4Addr::new(127, 66, 66, 66).into()
        } else {
            Ipv4Addr::new(127, 1 + (a % 254) as u8, (a >> 8) as u8, 1 + ((a >> 16) % 254) as u8).into()
        }
    }
}

/// What the kernel says of the sockets of a UDP port.
#[derive(Clone, Copy, Default)]
pub(crate) struct Port {
    /// How many bytes of memory are taken by what waits in them.
    pub(crate) waiting: u64,
    /// How many datagrams found no room, since they were opened.
    pub(crate) dropped: u64,
}

impl Port {
    /// As it is now.
    pub(crate) fn read(port: u16) -> Port {
        let port = format!(":{port:04X}");
        let mut sum = Port::default();
        for table in ["/proc/net/udp", "/proc/net/udp6"] {
            for line in std::fs::read_to_string(table).unwrap_or_default().lines() {
                // sl, local, remote, state, tx:rx, … drops
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                if fields.get(1).is_some_and(|local| local.ends_with(&port)) {
                    let waiting = fields.get(4).and_then(|queues| queues.split_once(':'));
                    sum.waiting += waiting.and_then(|(_, n)| u64::from_str_radix(n, 16).ok()).unwrap_or(0);
                    sum.dropped += fields.last().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
                }
            }
        }
        sum
    }
}

/// What the kernel dropped before it came to any socket: the processors' queues were full.
pub(crate) fn dropped_in_queues() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let second = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok();
    text.lines().filter_map(second).sum()
}

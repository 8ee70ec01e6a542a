//! Strangers: scanners, floods, noise. Some know the domain, none knows a password. They write by
//! hand, worse than any phone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use denwa::config::Transport;
use denwa::switch::{Flow, Instant, StreamId};

use crate::rng::Rng;

/// How many answers a minute may be longer than what was asked.
const CREDITS: f64 = 4.0;

/// One datagram of a stranger.
#[derive(Clone, Debug)]
pub struct Visit {
    pub flow: Flow,
    pub bytes: Vec<u8>,
    /// Whether it uses the domain.
    pub knows: bool,
}

/// What strangers got.
#[derive(Debug, Default)]
pub struct Census {
    pub visits: u64,
    pub answered: u64,
    pub longer: u64,
}

/// What must be so for strangers, whatever they send.
#[derive(Default)]
pub struct Hospitality {
    /// The one that is being dealt with.
    now: Option<Visit>,
    answers: u32,
    /// Credits that each source has used, and since when it is known.
    longer: HashMap<IpAddr, (Instant, f64)>,
    pub census: Census,
}

impl Hospitality {
    /// A visit begins.
    pub fn comes(&mut self, visit: Visit) {
        self.census.visits += 1;
        self.answers = 0;
        self.now = Some(visit);
    }

    /// A stranger of a story sends this next, and is heard or not.
    pub fn expects(&mut self, flow: Flow, bytes: &[u8], knows: bool) {
        self.comes(Visit { flow, bytes: bytes.to_vec(), knows });
    }

    /// It is over.
    pub fn goes(&mut self) {
        self.now = None;
    }

    /// The exchange is another one, whose budgets are whole.
    pub fn forget(&mut self) {
        self.longer.clear();
    }

    /// The exchange sends to somebody who is no phone: what is wrong with that.
    pub fn on_send(&mut self, now: Instant, stealth: bool, flow: &Flow, bytes: &[u8]) -> Option<String> {
        let text = || String::from_utf8_lossy(bytes);
        let Some(visit) = self.now.as_ref().filter(|visit| visit.flow == *flow) else {
            return Some(format!("sent to {}, who did not ask now:\n{}", flow.remote, text()));
        };
        self.answers += 1;
        self.census.answered += 1;
        if self.answers > 1 {
            return Some(format!("a stranger's datagram is answered {} times:\n{}", self.answers, text()));
        }
        if stealth && !visit.knows {
            return Some(format!("a stranger who does not know the domain is answered:\n{}", text()));
        }
        let status = bytes.get(8..11).map(|digits| String::from_utf8_lossy(digits).into_owned());
        let asked = visit.bytes.starts_with(b"OPTIONS");
        if !status.is_some_and(|status| status.starts_with(['4', '5']) || asked && status == "200") {
            return Some(format!("a stranger is told:\n{}", text()));
        }
        let (asked, answered) = (visit.bytes.len(), bytes.len());
        if answered <= asked || flow.transport == Transport::Tcp {
            return None;
        }
        self.census.longer += 1;
        let (since, used) = self.longer.entry(source(flow.remote.ip())).or_insert((now, 0.0));
        *used += 1.0;
        let minutes = (now.0 - since.0) as f64 / 60_000.0;
        let shares_with_phones = flow.remote.ip().to_string().starts_with("203.0.113.7");
        if answered * 2 > asked * 3 || *used > CREDITS * (minutes + 1.0) && !shares_with_phones {
            return Some(format!("{answered} bytes for {asked}, the {used}th time:\n{}", text()));
        }
        None
    }
}

/// What counts as one source.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

/// A datagram of a scanner to one of these places.
pub fn visit(rng: &mut Rng, domain: &str, places: &[SocketAddr]) -> Visit {
    let local = rng.pick(places);
    let ip: IpAddr = match (local.is_ipv6(), rng.below(100)) {
        (true, _) => {
            Ipv6Addr::new(0x2001, 0xdb8, 0xbad, rng.below(4) as u16, 0, 0, 0, rng.below(1000) as u16).into()
        }
        // Behind the same NAT as phones.
        (false, 0..10) => [203, 0, 113, 70].into(),
        (false, _) => [203, 0, 113, 128 + rng.below(8) as u8].into(),
    };
    let remote = SocketAddr::new(ip, 50_000 + rng.below(1000) as u16);
    let flow = Flow { transport: Transport::Udp, local, remote, stream: StreamId(0) };
    let knows = rng.percent(40);
    let bytes = match rng.below(100) {
        0..10 => (0..rng.between(1, 300)).map(|_| rng.next() as u8).collect(),
        10..20 => response(rng, &remote),
        _ => request(rng, if knows { domain } else { "192.0.2.1" }, &remote).into_bytes(),
    };
    let knows = knows && bytes.windows(domain.len()).any(|window| window == domain.as_bytes());
    Visit { flow, bytes, knows }
}

fn request(rng: &mut Rng, host: &str, remote: &SocketAddr) -> String {
    let methods = [
        "REGISTER",
        "INVITE",
        "OPTIONS",
        "ACK",
        "BYE",
        "CANCEL",
        "SUBSCRIBE",
        "PUBLISH",
        "MESSAGE",
        "NOSUCH",
    ];
    let method = rng.pick(&methods);
    let number = rng.pick(&["101", "102", "105", "999", "00972592", "114", "admin"]);
    let uri = match rng.percent(50) || method == "INVITE" {
        true => format!("sip:{number}@{host}"),
        false => format!("sip:{host}"),
    };
    let (a, b) = (rng.next(), rng.next());
    let to_tag = if rng.percent(20) { ";tag=a" } else { "" };
    let mut more = String::new();
    if rng.percent(50) {
        more += &format!("Contact: <sip:{number}@{remote}>\r\n");
    }
    if rng.percent(50) {
        more += "User-Agent: friendly-scanner\r\n";
    }
    if rng.percent(20) {
        // As long as the request of a phone, and longer.
        more += &format!("Subject: {}\r\n", "x".repeat(rng.between(100, 900) as usize));
    }
    if rng.percent(15) {
        let name = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        more += &format!(
            "{name}: Digest username=\"{number}\", realm=\"{host}\", nonce=\"{a:x}\", uri=\"{uri}\", \
             response=\"{b:032x}\", algorithm=MD5\r\n"
        );
    }
    if rng.percent(10) {
        more += &format!("Route: <sip:{a:x}@{host};lr>\r\n");
    }
    if rng.percent(5) {
        more += "Content-Length: 77\r\n";
    }
    let rport = if rng.percent(70) { ";rport" } else { "" };
    let max = if rng.percent(70) { "Max-Forwards: 70\r\n" } else { "" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bK{a:x}{rport}\r\n{max}\
         From: <sip:{number}@{host}>;tag={b:x}\r\nTo: <sip:{number}@{host}>{to_tag}\r\nCall-ID: {a:x}\r\n\
         CSeq: 1 {method}\r\n{more}\r\n"
    )
}

/// One that nobody asked for.
fn response(rng: &mut Rng, remote: &SocketAddr) -> Vec<u8> {
    let branch: String = (0..26).map(|_| rng.pick(&['a', 'b', 'q', '2', '7'])).collect();
    let status = rng.pick(&["100 Trying", "180 Ringing", "200 OK", "487 Gone"]);
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bK{branch}\r\nFrom: <sip:101@x>;tag=1\r\n\
         To: <sip:102@x>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

//! What a whole exchange does with the torture messages: from a stranger, from a phone that knows its
//! password, over UDP and TCP. Whatever comes, these hold:
//!
//! - a response is never answered with a response;
//! - every answer is well-formed, and belongs to its request;
//! - a stranger gets one answer at most, and it is not much longer than the question;
//! - what is forwarded has lost no header and no byte of its body.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use denwa::config::{Config, Extension, Number, Password};
use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};
use denwa::sip::{Message, Name};
use denwa::switch::{Flow, Input, Instant, Output, StreamId, Switch, Transport};

use crate::strict::{self, find};
use crate::{Case, Expected, Random, all, corpus, mutation};

const DOMAIN: &str = "pbx.example.net";

/// How many bytes longer than a stranger's request its answer may be: a reason, a tag, the address in Via,
/// and a challenge, which cannot do without a nonce, or the list of methods.
const MOST_MORE: usize = 200;

/// An exchange with the extensions 101 and 102, and what a phone has to remember.
pub(crate) struct Exchange {
    switch: Switch,
    now: Instant,
    nonce: String,
    uses: u32,
    /// The last requests, the newest last: what looks like another request may be a retransmission
    /// of one of them, and a CANCEL has a second answer.
    asked: VecDeque<Vec<u8>>,
}

/// What was sent where.
pub(crate) type Sent = Vec<(Flow, Vec<u8>)>;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Forwarded,
    Answered(u16),
    Nothing,
}

impl Exchange {
    pub(crate) fn new() -> Exchange {
        let extension = |password: &str| Extension::new(Password::new(password));
        let config = Config {
            domain: Some(DOMAIN.into()),
            keep_alive: Duration::ZERO,
            extensions: [("101", "one"), ("102", "two")]
                .map(|(number, password)| (Number::new(number).unwrap(), extension(password)))
                .into(),
            ..Config::default()
        };
        let switch = Switch::new(config, [7; 32]);
        Exchange { switch, now: Instant(1_000), nonce: String::new(), uses: 0, asked: VecDeque::new() }
    }

    /// One at which both extensions have a phone; 101's is at the given flow.
    pub(crate) fn with_phones(caller: Flow) -> Exchange {
        let mut exchange = Exchange::new();
        exchange.register("102", "two", callee());
        exchange.register("101", "one", caller);
        exchange
    }

    /// Registers a phone. The nonce is kept for what the same phone says next.
    pub(crate) fn register(&mut self, number: &str, password: &str, flow: Flow) {
        for attempt in 0..2 {
            let request = format!(
                "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {remote};branch=z9hG4bKr{now};rport\r\n\
                 From: <sip:{number}@{DOMAIN}>;tag=r\r\n\
                 To: <sip:{number}@{DOMAIN}>\r\n\
                 Call-ID: r{number}\r\n\
                 CSeq: {now} REGISTER\r\n\
                 Max-Forwards: 70\r\n\
                 Contact: <sip:{number}@{remote}>\r\n\
                 Expires: 3600\r\n\
                 User-Agent: A phone with a name of some length, as they have, 1.0.2.3\r\n\
                 Content-Length: 0\r\n\r\n",
                remote = flow.remote,
                now = self.now.0,
            );
            let request = match attempt {
                0 => request.into_bytes(),
                _ => self.authorized(request.as_bytes(), number, password),
            };
            let sent = self.packet(flow, &request);
            let [(_, answer)] = sent.as_slice() else { panic!("no answer") };
            let answer = strict::read(answer, &request).unwrap();
            if attempt == 1 {
                assert_eq!(answer.status, 200, "{answer:?}");
                return;
            }
            assert_eq!(answer.status, 401);
            let challenge = String::from_utf8_lossy(answer.values("WWW-Authenticate").next().unwrap());
            let (_, nonce) = challenge.split_once("nonce=\"").unwrap();
            self.nonce = nonce.split('"').next().unwrap().into();
            self.uses = 0;
        }
    }

    /// The same request with credentials for the last nonce behind its start line.
    pub(crate) fn authorized(&mut self, request: &[u8], number: &str, password: &str) -> Vec<u8> {
        let start = request.iter().take_while(|b| b"\r\n".contains(b)).count();
        let Some(end) = request[start..].iter().position(|&b| b == b'\n').map(|at| start + at + 1) else {
            return request.to_vec();
        };
        let method = request[start..end].split(|&b| b == b' ').next().unwrap();
        self.uses += 1;
        let count = format!("{:08x}", self.uses);
        let ha1 = Ha1::new(number.as_bytes(), DOMAIN.as_bytes(), password.as_bytes());
        let qop = Qop::Auth { nc: self.uses, nc_raw: count.as_bytes(), cnonce: b"c" };
        let uri = format!("sip:{DOMAIN}");
        let response =
            respond(Algorithm::Md5, &ha1, method, uri.as_bytes(), self.nonce.as_bytes(), &qop).unwrap();
        let header = if method == b"REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        let line = format!(
            "{header}: Digest username=\"{number}\",realm=\"{DOMAIN}\",nonce=\"{}\",uri=\"{uri}\",\
             qop=auth,nc={count},cnonce=\"c\",response=\"{response}\"\r\n",
            self.nonce
        );
        [&request[..end], line.as_bytes(), &request[end..]].concat()
    }

    /// Hands over a packet; what is sent because of it, after the laws were checked.
    pub(crate) fn packet(&mut self, flow: Flow, bytes: &[u8]) -> Sent {
        self.pass(Duration::from_millis(10)); // so that what follows is because of the packet alone
        self.switch.handle(self.now, Input::Packet { flow, bytes });
        let sent = self.drain();
        self.asked.push_back(bytes.to_vec());
        if self.asked.len() > 2_000 {
            self.asked.pop_front();
        }
        self.check_answers(flow, bytes, &sent);
        check_forwarded(flow, bytes, &sent);
        sent
    }

    fn drain(&mut self) -> Sent {
        let mut sent = Vec::new();
        while let Some(output) = self.switch.poll() {
            if let Output::Send(flow, bytes) = output {
                sent.push((flow, bytes));
            }
        }
        sent
    }

    fn check_answers(&self, flow: Flow, bytes: &[u8], sent: &Sent) {
        for (_, answer) in sent.iter().filter(|(to, answer)| *to == flow && is_response(answer)) {
            assert!(!is_response(bytes), "answered a response: {}", bytes.escape_ascii());
            let read = strict::read(answer, bytes).or_else(|why| {
                self.asked.iter().find_map(|asked| strict::read(answer, asked).ok()).ok_or(why)
            });
            if let Err(why) = read {
                panic!("{why}:\n{}\nanswered with\n{}", bytes.escape_ascii(), answer.escape_ascii());
            }
            if flow == stranger() {
                assert!(
                    answer.len() <= bytes.len() + MOST_MORE,
                    "{} bytes for {}",
                    answer.len(),
                    bytes.escape_ascii()
                );
            }
        }
        let answers = sent.iter().filter(|(to, _)| *to == flow).count();
        assert!(flow != stranger() || answers <= 1, "{answers} answers for {}", bytes.escape_ascii());
    }

    /// Lets time pass, and what is due happen.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.switch.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.switch.handle(self.now, Input::Tick);
            self.drain();
        }
        self.now = end;
    }
}

fn udp(local: &str, remote: &str) -> Flow {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Flow {
        transport: Transport::Udp,
        local: address(local),
        remote: address(remote),
        stream: StreamId::default(),
    }
}

pub(crate) fn stranger() -> Flow {
    udp("203.0.113.5:5060", "198.51.100.66:5060")
}

pub(crate) fn caller() -> Flow {
    udp("203.0.113.5:5060", "192.0.2.11:5060")
}

/// 101 again, on the addresses of RFC 5118's examples.
fn caller_by_ipv6() -> Flow {
    udp("[2001:db8::10]:5060", "[2001:db8::9:1]:5060")
}

pub(crate) fn callee() -> Flow {
    udp("203.0.113.5:5060", "192.0.2.12:5060")
}

pub(crate) fn is_response(bytes: &[u8]) -> bool {
    let start = bytes.iter().take_while(|b| b"\r\n".contains(b)).count();
    bytes[start..].get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

/// Every header line of a request is in what is forwarded, but for those that a proxy has to change.
fn check_forwarded(flow: Flow, bytes: &[u8], sent: &Sent) {
    let Ok(before) = Message::parse(bytes) else { return };
    for (_, bytes) in sent.iter().filter(|(to, _)| *to != flow) {
        let after = Message::parse(bytes).unwrap();
        if before.method().is_none()
            || before.method() != after.method()
            || before.call_id() != after.call_id()
        {
            continue;
        }
        for header in before.headers() {
            let changed = [
                Name::Via,
                Name::MaxForwards,
                Name::Route,
                Name::Contact,
                Name::ProxyAuthorization,
                Name::PAssertedIdentity,
                Name::PPreferredIdentity,
                Name::RemotePartyId,
                Name::ContentLength,
            ];
            let line = &before.bytes()[header.line()];
            let kept = changed.contains(&header.name) || find(after.bytes(), line).is_some();
            assert!(kept, "{} is lost from\n{}", line.escape_ascii(), after.bytes().escape_ascii());
        }
        let vias: Vec<_> = after.list(Name::Via).skip(2).collect();
        assert_eq!(vias, before.list(Name::Via).skip(1).collect::<Vec<_>>());
        assert!(before.has_sdp() || before.body() == after.body(), "the body is another");
    }
}

/// How a phone answers what was forwarded to it.
fn answer_of(request: &[u8], status: u16) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    let mut answer = format!("SIP/2.0 {status} As it likes\r\n").into_bytes();
    let mut line = |name: &str, value: &[u8], tag: &str| {
        let value: Vec<u8> = value.iter().map(|&b| if b"\r\n".contains(&b) { b' ' } else { b }).collect();
        answer.extend([name.as_bytes(), b": ", &value, tag.as_bytes(), b"\r\n"].concat());
    };
    request.list(Name::Via).for_each(|via| line("Via", via, ""));
    request.values(Name::RecordRoute).for_each(|route| line("Record-Route", route, ""));
    line("From", request.first(Name::From).unwrap(), "");
    line("To", request.first(Name::To).unwrap(), if request.to_tag().is_empty() { ";tag=phone" } else { "" });
    line("Call-ID", request.call_id(), "");
    line("CSeq", request.first(Name::CSeq).unwrap(), "");
    line("Contact", b"<sip:102@192.0.2.12>", "");
    line("Content-Length", b"0", "");
    answer.extend_from_slice(b"\r\n");
    answer
}

/// What an exchange does with a request of 101's.
pub(crate) fn outcome(exchange: &mut Exchange, flow: Flow, request: &[u8]) -> Outcome {
    let sent = exchange.packet(flow, request);
    if sent.iter().any(|(to, bytes)| *to == callee() && !is_response(bytes)) {
        return Outcome::Forwarded;
    }
    let answers = sent.iter().filter(|(to, bytes)| *to == flow && is_response(bytes));
    let status = answers.filter_map(|(_, bytes)| Message::parse(bytes).unwrap().status()).find(|s| *s > 100);
    status.map_or(Outcome::Nothing, Outcome::Answered)
}

/// What is to become of a message of 101's; several where the RFC leaves a choice.
fn expected(case: &Case) -> Vec<Outcome> {
    use Outcome::*;
    match (case.section, case.expected) {
        // Numbers that nobody has.
        ("3.1.1.2" | "3.1.1.3" | "3.1.1.9", _) => vec![Answered(404)],
        // For the exchange itself, which knows no such method.
        ("3.1.1.5", _) => vec![Answered(405), Answered(501)],
        // Responses to what was never asked.
        ("3.1.1.12" | "3.1.1.13", _) => vec![Nothing],
        // Addresses that are not the exchange's: understood, and refused for that.
        ("4.3" | "4.10", _) => vec![Answered(200), Answered(403), Answered(404)],
        ("3.3.4", _) => vec![Answered(400), Answered(403), Answered(404)],
        (_, Expected::Served) if case.bytes.starts_with(b"REGISTER") => vec![Answered(200)],
        (_, Expected::Served) => vec![Forwarded],
        (_, Expected::Refused(status)) => vec![Answered(status)],
        (_, Expected::Lenient(status)) => vec![Forwarded, Answered(status)],
        // With our credentials in front of them, the other scheme's do no harm.
        ("3.3.7", _) => vec![Answered(200)],
        (_, Expected::Later(status)) => vec![Answered(status)],
        (_, Expected::Dropped) => vec![Nothing],
    }
}

#[test]
fn a_known_phone_gets_what_the_rfcs_want() {
    let mut wrong = Vec::new();
    for case in all() {
        let flow = if case.section.starts_with('4') { caller_by_ipv6() } else { caller() };
        let mut exchange = Exchange::with_phones(flow);
        let bytes = match case.expected {
            Expected::Dropped => case.bytes.clone(),
            _ if is_response(&case.bytes) => case.bytes.clone(),
            _ => exchange.authorized(&case.bytes, "101", "one"),
        };
        let (expected, outcome) = (expected(&case), outcome(&mut exchange, flow, &bytes));
        if !expected.contains(&outcome) {
            wrong.push(format!("{} {}: {outcome:?}, not {expected:?}", case.section, case.title));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stranger_learns_little() {
    for case in all() {
        let mut exchange = Exchange::with_phones(caller());
        match outcome(&mut exchange, stranger(), &case.bytes) {
            Outcome::Forwarded => panic!("{} {} was forwarded", case.section, case.title),
            Outcome::Answered(status) => {
                assert!(status >= 400, "{} {}: {status}", case.section, case.title);
            }
            Outcome::Nothing => {}
        }
    }
}

#[test]
fn an_unknown_scheme_of_credentials_is_challenged() {
    let request = crate::case("3.3.7");
    assert_eq!(outcome(&mut Exchange::new(), caller(), &request), Outcome::Answered(401));
}

#[test]
fn what_is_required_and_not_supported_is_named() {
    let mut exchange = Exchange::with_phones(caller());
    let request = exchange.authorized(&crate::case("3.3.5"), "101", "one");
    let sent = exchange.packet(caller(), &request);
    let answer = strict::read(&sent[0].1, &request).unwrap();
    assert_eq!((sent.len(), answer.status), (1, 420));
    let unsupported = String::from_utf8_lossy(answer.one("Unsupported").unwrap());
    assert!(unsupported.contains("noProxiesSupportThis"), "{unsupported}");
    assert!(unsupported.contains("norDoAnyProxiesSupportThis"), "{unsupported}");
}

/// Collections beside the project, from a stranger and from a phone.
#[test]
fn collected_messages_break_nothing() {
    let torture = corpus::messages("torture", "dat");
    for (name, bytes) in torture.iter().chain(&corpus::messages("realworld", "sip")) {
        let mut exchange = Exchange::with_phones(caller());
        assert_ne!(outcome(&mut exchange, stranger(), bytes), Outcome::Forwarded, "{name}");
        exchange.packet(caller(), bytes);
        let authorized = exchange.authorized(bytes, "101", "one");
        exchange.packet(caller(), &authorized);
        exchange.pass(Duration::from_secs(300));
    }
}

#[test]
fn an_exchange_survives_mutations() {
    let seeds = mutation::seeds();
    for seed in 1..=4 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut exchange = Exchange::with_phones(caller());
        let mut ringing: Vec<Vec<u8>> = Vec::new();
        let mut forwarded = 0;
        for round in 0..6_000 {
            let stream = Flow {
                transport: Transport::Tcp,
                stream: StreamId(1 + random.below(5) as u64),
                ..stranger()
            };
            let mut bytes = match random.below(4) {
                0 => seeds[random.below(seeds.len())].clone(),
                1 if !ringing.is_empty() => {
                    let status = [100, 180, 183, 200, 302, 401, 486, 487, 500, 603][random.below(10)];
                    answer_of(&ringing[random.below(ringing.len())], status)
                }
                _ => mutation::mutate(&seeds, &mut random),
            };
            let flow = match random.below(4) {
                0 => stranger(),
                1 => stream,
                _ if is_response(&bytes) => callee(),
                _ => {
                    bytes = exchange.authorized(&bytes, "101", "one");
                    caller()
                }
            };
            for (to, sent) in exchange.packet(flow, &bytes) {
                if to == callee() && !is_response(&sent) {
                    forwarded += 1;
                    ringing.truncate(49);
                    ringing.insert(0, sent);
                }
            }
            exchange.pass(Duration::from_millis([0, 1, 400, 3_000][random.below(4)]));
            if round % 200 == 199 {
                exchange.register("102", "two", callee());
                exchange.register("101", "one", caller());
            }
        }
        assert!(forwarded > 50, "{forwarded}: something must be under way");
        // Bindings live for an hour, calls for eight: then there is nothing left to wait for.
        exchange.pass(Duration::from_secs(10 * 3600));
        assert_eq!(exchange.switch.deadline(), None, "something is kept for ever");
    }
}

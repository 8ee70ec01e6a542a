//! What strangers, broken phones and full tables do to an exchange: nothing.
//!
//! Each test says one kind of bad input to a [`Switch`] directly, and then looks whether a good
//! phone is still served and nothing was left behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use denwa::config::{Config, PortRange, Rate};
use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};
use denwa::switch::{Flow, Input, Instant, Output, StreamId, Switch, Transport};

const CONFIG: &str = "domain = pbx.test\next.101 = kitchen-secret\next.102 = study-secret\necho = 114\n";

/// What is sent of one status.
fn of_status(sent: &[(Flow, String)], status: u16) -> usize {
    statuses(sent).into_iter().filter(|s| *s == status).count()
}

/// An exchange and its clock.
struct Exchange {
    switch: Switch,
    now: u64,
    closed: Vec<StreamId>,
    serial: u32,
}

/// A phone that says just what it is told.
#[derive(Clone, Copy)]
struct Phone {
    number: &'static str,
    password: &'static str,
    flow: Flow,
}

fn udp(remote: &str) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: remote.parse().unwrap(),
        stream: StreamId(0),
    }
}

const CALLER: (&str, &str, &str) = ("101", "kitchen-secret", "192.0.2.101:5060");
const CALLEE: (&str, &str, &str) = ("102", "study-secret", "192.0.2.102:5060");

fn phone((number, password, remote): (&'static str, &'static str, &str)) -> Phone {
    Phone { number, password, flow: udp(remote) }
}

impl Phone {
    fn host(&self) -> SocketAddr {
        self.flow.remote
    }
}

impl Exchange {
    fn new() -> Exchange {
        Exchange::with(Config::parse("test", CONFIG.as_bytes()).unwrap())
    }

    fn with(config: Config) -> Exchange {
        let mut exchange = Exchange::empty(config);
        exchange.register(phone(CALLER));
        exchange.register(phone(CALLEE));
        exchange
    }

    /// One where nobody is registered, and where stealth and budgets are not what is tested.
    fn empty(mut config: Config) -> Exchange {
        config.stealth = false;
        let plenty = Rate(1_000_000);
        (config.rate_stranger, config.rate_strangers, config.rate_phone) = (plenty, plenty, plenty);
        for extension in config.extensions.values_mut() {
            (extension.max_calls, extension.max_calls_hour) = (u16::MAX, u32::MAX);
        }
        Exchange { switch: Switch::new(config, [7; 32]), now: 1000, closed: Vec::new(), serial: 0 }
    }

    /// Dials, and says who was rung by what, if somebody was, and all that was sent.
    fn dial(
        &mut self,
        number: &str,
        more: &str,
        body: &str,
    ) -> (Option<String>, Vec<(Flow, String)>, String) {
        let uri = format!("sip:{number}@pbx.test");
        let more = format!("Content-Type: application/sdp\r\n{more}");
        let invite = self.request(phone(CALLER), "INVITE", &uri, &more, body);
        let (sent, invite) = self.ask(phone(CALLER), &invite);
        let rung = sent.iter().find(|(flow, m)| *flow == phone(CALLEE).flow && m.starts_with("INVITE"));
        (rung.map(|(_, m)| m.clone()), sent, invite)
    }

    /// Says something on a flow and returns what was sent because of it.
    fn say(&mut self, flow: Flow, bytes: &[u8]) -> Vec<(Flow, String)> {
        self.switch.handle(Instant(self.now), Input::Packet { flow, bytes });
        self.drain()
    }

    fn wait(&mut self, seconds: u64) -> Vec<(Flow, String)> {
        let end = self.now + seconds * 1000;
        let mut sent = Vec::new();
        while let Some(due) = self.switch.deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            self.switch.handle(Instant(self.now), Input::Tick);
            sent.extend(self.drain());
        }
        self.now = end;
        sent
    }

    fn drain(&mut self) -> Vec<(Flow, String)> {
        let mut sent = Vec::new();
        let mut closes = Vec::new();
        while let Some(output) = self.switch.poll() {
            match output {
                Output::Send(flow, bytes) => sent.push((flow, String::from_utf8_lossy(&bytes).into_owned())),
                Output::Close(stream) => self.closed.push(stream),
                Output::Media(denwa::media::Command::Close { session }) => closes.push(session),
                Output::Record(_)
                | Output::Media(_)
                | Output::Locate { .. }
                | Output::Connect { .. }
                | Output::Event(_) => {}
            }
        }
        for session in closes {
            let (a, b) = Default::default();
            let event = denwa::media::Event::Closed { session, a, b };
            self.switch.handle(Instant(self.now), Input::Media(event));
            while self.switch.poll().is_some() {}
        }
        sent
    }

    /// A request with all that it must have; `more` are whole header lines.
    fn request(&mut self, phone: Phone, method: &str, uri: &str, more: &str, body: &str) -> String {
        self.serial += 1;
        let (serial, number, host) = (self.serial, phone.number, phone.host());
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{serial};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{number}@pbx.test>;tag=f{serial}\r\nTo: <{uri}>\r\nCall-ID: call{serial}@{host}\r\n\
             CSeq: {serial} {method}\r\nContact: <sip:{number}@{host}>\r\n{AGENT}{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Sends a request, answers its challenge, and returns what came of it and the request that passed.
    fn ask(&mut self, phone: Phone, request: &str) -> (Vec<(Flow, String)>, String) {
        let answers = self.say(phone.flow, request.as_bytes());
        let Some(challenge) = answers
            .iter()
            .map(|(_, a)| a)
            .find(|a| first_line(a).contains("Unauth") || first_line(a).contains("Proxy Auth"))
        else {
            return (answers, request.to_owned());
        };
        let nonce = between(challenge, "nonce=\"", "\"");
        let again = with_credentials(request, phone, nonce, 1);
        if request.starts_with("INVITE") {
            let ack = request.replacen("INVITE", "ACK", 1).replace(" INVITE\r\n", " ACK\r\n");
            assert!(self.say(phone.flow, ack.as_bytes()).is_empty(), "the ACK of a challenge is nobody's");
        }
        (self.say(phone.flow, again.as_bytes()), again)
    }

    fn register(&mut self, phone: Phone) {
        let request = self.request(phone, "REGISTER", "sip:pbx.test", "", "");
        let request =
            request.replacen("To: <sip:pbx.test>", &format!("To: <sip:{}@pbx.test>", phone.number), 1);
        let (answers, _) = self.ask(phone, &request);
        assert_eq!(first_line(&answers[0].1), "SIP/2.0 200 OK");
    }

    /// The caller rings the callee with an offer; the INVITE that arrives there, if one does, and the
    /// statuses that the caller got.
    fn ring(&mut self, offer: &str) -> (Option<String>, Vec<u16>) {
        let caller = phone(CALLER);
        let invite =
            self.request(caller, "INVITE", "sip:102@pbx.test", "Content-Type: application/sdp\r\n", offer);
        let (sent, _) = self.ask(caller, &invite);
        let rung = sent.iter().find(|(flow, m)| *flow == phone(CALLEE).flow && m.starts_with("INVITE"));
        (rung.map(|(_, invite)| invite.clone()), statuses(&sent))
    }

    /// The callee takes the call; the 2xx as the caller got it.
    fn take(&mut self, rung: &str) -> String {
        let ok = answer(rung, 200, "callee", "<sip:102@192.0.2.102:5060>", &sdp("192.0.2.102", 4002));
        let passed = self.say(phone(CALLEE).flow, ok.as_bytes());
        assert_eq!((statuses(&passed), passed[0].0), (vec![200], phone(CALLER).flow));
        passed[0].1.clone()
    }

    /// A good call is set up, and everything is free again when it has ended.
    fn still_works(&mut self) {
        let before = self.switch.ports_in_use();
        let (caller, callee) = (phone(CALLER), phone(CALLEE));
        let (rung, _) = self.ring(&sdp("192.0.2.101", 4000));
        let ok = self.take(&rung.unwrap());
        let sent = self.say(caller.flow, in_dialog(&ok, caller, "ACK").as_bytes());
        assert!(sent[0].1.starts_with("ACK ") && sent[0].0 == callee.flow);
        let sent = self.say(caller.flow, in_dialog(&ok, caller, "BYE").as_bytes());
        let bye = sent.iter().find(|(flow, m)| *flow == callee.flow && m.starts_with("BYE "));
        let ok = answer(&bye.unwrap().1, 200, "callee", "", "");
        self.say(callee.flow, ok.as_bytes());
        assert_eq!((self.switch.calls(), self.switch.ports_in_use()), (0, before));
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap() + start.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|l| l.starts_with(&format!("{name}: "))).unwrap_or_default();
    line.split_once(": ").map_or("", |(_, value)| value)
}

fn with_credentials(request: &str, phone: Phone, nonce: &str, count: u32) -> String {
    let method = request.split(' ').next().unwrap();
    let uri = request.split(' ').nth(1).unwrap();
    let ha1 = Ha1::new(phone.number.as_bytes(), b"pbx.test", phone.password.as_bytes());
    let nc = format!("{count:08x}");
    let qop = Qop::Auth { nc: count, nc_raw: nc.as_bytes(), cnonce: b"c" };
    let response =
        respond(Algorithm::Md5, &ha1, method.as_bytes(), uri.as_bytes(), nonce.as_bytes(), &qop).unwrap();
    let name = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
    let line = format!(
        "{name}: Digest username=\"{}\",realm=\"pbx.test\",nonce=\"{nonce}\",uri=\"{uri}\",response=\"{response}\",\
         algorithm=MD5,qop=auth,nc={nc},cnonce=\"c\"\r\nMax-Forwards:",
        phone.number
    );
    let branch = format!("branch=z9hG4bKa{count}");
    request.replacen("Max-Forwards:", &line, 1).replacen("branch=z9hG4bK", &branch, 1)
}

fn sdp(host: &str, port: u16) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n")
}

fn answer(request: &str, status: u16, tag: &str, contact: &str, body: &str) -> String {
    let mut response = format!("SIP/2.0 {status} X\r\n");
    for line in request.lines().take_while(|l| !l.is_empty()) {
        match line.split(':').next().unwrap() {
            "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => response += &format!("{line}\r\n"),
            "To" if line.contains(";tag=") => response += &format!("{line}\r\n"),
            "To" => response += &format!("{line};tag={tag}\r\n"),
            _ => {}
        }
    }
    if !contact.is_empty() {
        response += &format!("Contact: {contact}\r\n");
    }
    if !body.is_empty() {
        response += "Content-Type: application/sdp\r\n";
    }
    response + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A caller's request in the dialog that a 2xx made.
fn in_dialog(ok: &str, caller: Phone, method: &str) -> String {
    let cseq: u32 = header(ok, "CSeq").split(' ').next().unwrap().parse().unwrap();
    let cseq = if method == "ACK" { cseq } else { cseq + 1 };
    format!(
        "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{method}{cseq};rport\r\nMax-Forwards: 70\r\nRoute: {}\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{AGENT}Content-Length: 0\r\n\r\n",
        between(header(ok, "Contact"), "<", ">"),
        caller.host(),
        header(ok, "Record-Route"),
        header(ok, "From"),
        header(ok, "To"),
        header(ok, "Call-ID"),
    )
}

/// As real phones have it, and long enough that a stranger's request can be answered.
const AGENT: &str =
    "User-Agent: Tester/1.0 (what strangers are answered is never longer than what they ask)\r\n";

/// The statuses of all answers.
fn statuses(answers: &[(Flow, String)]) -> Vec<u16> {
    answers
        .iter()
        .filter(|(_, m)| m.starts_with("SIP/2.0 "))
        .map(|(_, m)| m[8..11].parse().unwrap())
        .collect()
}

const STRANGER: &str = "203.0.113.66:5070";

fn stranger() -> Phone {
    Phone { number: "101", password: "guess", flow: udp(STRANGER) }
}

#[test]
fn the_helpers_make_a_good_call() {
    Exchange::new().still_works();
}

#[test]
fn content_length_beyond_the_datagram() {
    let mut exchange = Exchange::new();
    let request = exchange.request(stranger(), "OPTIONS", "sip:pbx.test", "", "");
    let request = request.replace("Content-Length: 0", "Content-Length: 9999");
    assert_eq!(statuses(&exchange.say(stranger().flow, request.as_bytes())), [400]);
    exchange.still_works();
}

#[test]
fn a_bad_length_on_a_stream_ends_it() {
    let mut exchange = Exchange::new();
    let flow = Flow { transport: Transport::Tcp, stream: StreamId(9), ..udp(STRANGER) };
    let request = exchange.request(stranger(), "OPTIONS", "sip:pbx.test", "", "");
    let request = request.replace("Content-Length: 0", "Content-Length: -1");
    assert_eq!(statuses(&exchange.say(flow, request.as_bytes())), [400]);
    assert_eq!(exchange.closed, [StreamId(9)]);
}

#[test]
fn a_phone_whose_stream_lost_its_framing_is_not_called_there() {
    let mut exchange = Exchange::new();
    let flow = Flow { transport: Transport::Tcp, stream: StreamId(9), ..phone(CALLEE).flow };
    let callee = Phone { flow, ..phone(CALLEE) };
    exchange.switch.handle(Instant(exchange.now), Input::Opened(flow));
    exchange.register(callee);
    let broken = exchange.request(callee, "OPTIONS", "sip:pbx.test", "", "").replace("th: 0", "th: x");
    assert_eq!(statuses(&exchange.say(flow, broken.as_bytes())), [400]);
    assert_eq!(exchange.closed, [StreamId(9)]);
    // Whoever is told to close a connection does not tell of its end.
    let (_, sent, _) = exchange.dial("102", "", &sdp("192.0.2.101", 4000));
    assert!(sent.iter().all(|(to, _)| *to != flow), "{sent:?}");
}

#[test]
fn messages_of_64_kilobytes_three_thousand_headers_and_lines_of_60_kilobytes() {
    let mut exchange = Exchange::new();
    for more in [
        format!("X-Long: {}\r\n", "x".repeat(60_000)),
        "X-Many: y\r\n".repeat(3_000),
        format!("Subject: {}\r\n", " ,;\"<>".repeat(10_000)),
    ] {
        let request = exchange.request(stranger(), "INVITE", "sip:102@pbx.test", &more, "");
        let answers = exchange.say(stranger().flow, request.as_bytes());
        assert!(answers.iter().all(|(flow, a)| *flow == stranger().flow && a.len() <= request.len()));
        assert!(statuses(&answers).iter().all(|s| matches!(s, 400 | 407 | 513)), "{:?}", statuses(&answers));
    }
    let body = "x".repeat(64_500);
    let message =
        exchange.request(phone(CALLER), "MESSAGE", "sip:102@pbx.test", "Content-Type: text/plain\r\n", &body);
    let (sent, _) = exchange.ask(phone(CALLER), &message);
    for (flow, m) in &sent {
        assert!(*flow != phone(CALLEE).flow || m.ends_with(&body), "a body is forwarded whole or not at all");
    }
    exchange.still_works();
}

#[test]
fn duplicated_single_headers_are_refused() {
    let mut exchange = Exchange::new();
    for line in [
        "CSeq: 1 INVITE",
        "Call-ID: other",
        "From: <sip:a@b>;tag=1",
        "To: <sip:a@b>",
        "Max-Forwards: 5",
        "l: 0",
    ] {
        let request =
            exchange.request(phone(CALLER), "INVITE", "sip:102@pbx.test", &format!("{line}\r\n"), "");
        assert_eq!(statuses(&exchange.say(phone(CALLER).flow, request.as_bytes())), [400], "{line}");
    }
    exchange.still_works();
}

#[test]
fn wrong_passwords_and_replayed_nonces_get_no_further() {
    let mut exchange = Exchange::new();
    let request = exchange.request(stranger(), "INVITE", "sip:102@pbx.test", "", "");
    let (answers, _) = exchange.ask(stranger(), &request);
    assert_eq!(statuses(&answers), [407]);

    // What a phone once said is of no use to anybody else, nor a second time.
    let invite = exchange.request(phone(CALLER), "MESSAGE", "sip:102@pbx.test", "", "");
    let (sent, good) = exchange.ask(phone(CALLER), &invite);
    assert!(sent.iter().any(|(flow, _)| *flow == phone(CALLEE).flow));
    let stolen = good.replacen("branch=z9hG4bKa1", "branch=z9hG4bKstolen", 1);
    for flow in [stranger().flow, phone(CALLER).flow] {
        let answers = exchange.say(flow, stolen.as_bytes());
        assert_eq!(statuses(&answers), [407], "from {}", flow.remote);
        assert!(answers[0].1.contains("stale=true"));
    }
    exchange.still_works();
}

#[test]
fn forged_routes_and_tokens_lead_nowhere() {
    let mut exchange = Exchange::new();
    let caller = phone(CALLER);
    let (rung, _) = exchange.ring(&sdp("192.0.2.101", 4000));
    let passed = exchange.take(&rung.unwrap());
    exchange.say(caller.flow, in_dialog(&passed, caller, "ACK").as_bytes());
    let bye = in_dialog(&passed, stranger(), "BYE");
    let token = between(header(&passed, "Record-Route"), "sip:", "@").to_owned();
    assert!(token.len() <= 24, "{token}");
    let first = if token.starts_with('b') { "c" } else { "b" };
    let forged = format!("{first}{}", &token[1..]);
    for (what, changed) in [
        ("another token", bye.replace(&token, &forged)),
        ("no route", bye.lines().filter(|l| !l.starts_with("Route:")).map(|l| format!("{l}\r\n")).collect()),
        ("another Call-ID", bye.replace("Call-ID: ", "Call-ID: x")),
        ("another tag", bye.replace(";tag=callee", ";tag=other")),
        ("another From tag", bye.replace(";tag=f", ";tag=g")),
    ] {
        let answers = exchange.say(stranger().flow, changed.as_bytes());
        assert_eq!(statuses(&answers), [481], "{what}");
        assert_eq!(answers.len(), 1, "{what} reaches nobody");
    }
    // A token is no ticket for a new call either.
    let fresh = exchange.request(
        stranger(),
        "INVITE",
        "sip:102@pbx.test",
        &format!("Route: {}\r\n", header(&passed, "Record-Route")),
        "",
    );
    let answers = exchange.say(stranger().flow, fresh.as_bytes());
    assert_eq!((statuses(&answers), answers.len()), (vec![407], 1));
    assert_eq!(exchange.switch.calls(), 1, "the call goes on");
}

#[test]
fn many_routes_that_look_like_ours_are_no_work() {
    // Each of them would be held against a Call-ID that is as long as all of them together.
    let mut exchange = Exchange::new();
    let route = format!("<sip:{}@localhost>", "a".repeat(23));
    let time = |exchange: &mut Exchange, routes: usize, method: &str| {
        let more = format!("Route: {}\r\n", vec![route.as_str(); routes].join(","));
        let request = exchange.request(stranger(), method, "sip:102@192.0.2.99", &more, "");
        let request = request.replace("Call-ID: ", &format!("Call-ID: {}", "c".repeat(25_000)));
        (0..20)
            .map(|_| {
                let began = std::time::Instant::now();
                exchange.say(stranger().flow, request.as_bytes());
                began.elapsed()
            })
            .min()
            .unwrap()
    };
    let (few, many) = (time(&mut exchange, 1, "ACK"), time(&mut exchange, 800, "ACK"));
    assert!(many < std::time::Duration::from_millis(1).max(few * 20), "{few:?}, {many:?}");
    exchange.still_works();
}

#[test]
fn nobody_answers_what_was_not_asked() {
    let mut exchange = Exchange::new();
    for response in [
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKforged\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n",
        "SIP/2.0 401 No\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n",
        "SIP/2.0 200 OK\r\n\r\n",
    ] {
        assert!(exchange.say(stranger().flow, response.as_bytes()).is_empty());
    }
    exchange.still_works();
}

#[test]
fn a_request_that_comes_back_is_a_loop() {
    let mut exchange = Exchange::new();
    let message = exchange.request(phone(CALLER), "MESSAGE", "sip:102@pbx.test", "", "");
    let (sent, _) = exchange.ask(phone(CALLER), &message);
    let forwarded = sent.iter().find(|(flow, _)| *flow == phone(CALLEE).flow).unwrap().1.clone();
    // The callee sends it back as it was dialled, with its own Via on top.
    let back = forwarded.replacen(forwarded.split(' ').nth(1).unwrap(), "sip:102@pbx.test", 1).replacen(
        "Via:",
        "Via: SIP/2.0/UDP 192.0.2.102:5060;branch=z9hG4bKback;rport\r\nVia:",
        1,
    );
    assert_eq!(statuses(&exchange.say(phone(CALLEE).flow, back.as_bytes())), [482]);
    let used_up =
        message.replace("Max-Forwards: 70", "Max-Forwards: 0").replace("branch=z9hG4bK", "branch=z9hG4bKmf");
    assert_eq!(statuses(&exchange.say(phone(CALLER).flow, used_up.as_bytes())), [483]);
}

#[test]
fn odd_session_descriptions() {
    let thousands = format!("{}{}", sdp("192.0.2.101", 4000), "a=x:y\r\n".repeat(4_000));
    let many_media = format!("{}{}", sdp("192.0.2.101", 4000), "m=audio 4000 RTP/AVP 0\r\n".repeat(1_000));
    for (what, body, rings) in [
        (
            "without media",
            "v=0\r\no=- 1 1 IN IP4 192.0.2.101\r\ns=-\r\nc=IN IP4 192.0.2.101\r\nt=0 0\r\n".to_owned(),
            true,
        ),
        ("port 0", sdp("192.0.2.101", 0), true),
        ("thousands of lines", thousands, true),
        ("thousands of media", many_media, false),
        ("private", sdp("10.0.0.1", 4000), true),
        ("multicast", sdp("239.1.1.1", 4000), true),
        ("unspecified", sdp("0.0.0.0", 4000), true),
        ("a name", sdp("phone.example", 4000), true),
        ("loopback", sdp("127.0.0.1", 4000), true),
        ("nonsense", "hello".to_owned(), false),
        ("a port that is none", sdp("192.0.2.101", 4000).replace("4000", "70000"), false),
    ] {
        let mut exchange = Exchange::new();
        let (rung, statuses) = exchange.ring(&body);
        assert_eq!(rung.is_some(), rings, "{what}");
        match rung {
            None => assert_eq!(statuses.last(), Some(&488), "{what}"),
            Some(rung) => {
                for leaked in ["10.0.0.1", "239.1.1.1", "127.0.0.1"] {
                    assert!(
                        !rung.contains(&format!("c=IN IP4 {leaked}")),
                        "{what}: a phone would send there"
                    );
                }
                exchange.take(&rung);
            }
        }
        exchange.switch.handle(Instant(exchange.now), Input::HangUp("end of test"));
        exchange.drain();
        exchange.wait(120);
        assert_eq!((exchange.switch.calls(), exchange.switch.ports_in_use()), (0, 0), "{what}");
    }
}

#[test]
fn when_the_ports_run_out_calls_are_refused_and_nothing_leaks() {
    let mut config = Config::parse("test", CONFIG.as_bytes()).unwrap();
    config.media_ports = PortRange { first: 40000, last: 40005 };
    let mut exchange = Exchange::with(config);
    let (caller, callee) = (phone(CALLER), phone(CALLEE));
    let mut refused = 0;
    for _ in 0..3 {
        let invite = exchange.request(
            caller,
            "INVITE",
            "sip:102@pbx.test",
            "Content-Type: application/sdp\r\n",
            &sdp("192.0.2.101", 4000),
        );
        let (sent, _) = exchange.ask(caller, &invite);
        if let Some((_, answer)) = sent.iter().find(|(_, m)| m.starts_with("SIP/2.0 503")) {
            assert!(answer.contains("\r\nRetry-After: "));
            assert!(sent.iter().all(|(flow, _)| *flow != callee.flow));
            refused += 1;
        }
    }
    assert_eq!((refused, exchange.switch.ports_in_use()), (2, 2), "three pairs are one call and no half");
    exchange.switch.handle(Instant(exchange.now), Input::HangUp("end of test"));
    exchange.drain();
    assert_eq!(exchange.switch.ports_in_use(), 0);
    exchange.wait(200);
    exchange.register(caller);
    exchange.register(callee);
    exchange.still_works();
}

#[test]
fn full_tables_refuse_the_new_and_keep_the_old() {
    let mut exchange = Exchange::new();
    let (caller, callee) = (phone(CALLER), phone(CALLEE));
    // Calls that ring and never end, until no more are taken.
    let mut refused = false;
    for _ in 0..40_000 {
        let invite = exchange.request(caller, "INVITE", "sip:102@pbx.test", "", "");
        let (sent, _) = exchange.ask(caller, &invite);
        exchange.now += 1;
        if statuses(&sent).contains(&503) {
            refused = true;
            break;
        }
    }
    assert!(refused, "there is a bound");
    let live = exchange.switch.calls();
    assert!(live <= denwa::switch::MAX_CALLS);
    // Old ones go on: the callee still reaches us, and all end in time.
    exchange.register(callee);
    exchange.wait(600);
    assert_eq!(exchange.switch.calls(), 0, "timer C and the client timers end what nobody answers");
    exchange.register(caller);
    exchange.register(callee);
    exchange.still_works();
}

#[test]
fn strangers_fill_no_table() {
    let mut exchange = Exchange::new();
    let deadline = exchange.switch.deadline();
    for n in 0..20_000u32 {
        let flow = udp(&format!("203.0.{}.{}:5060", n >> 8 & 0xff, n & 0xff));
        let who = Phone { flow, ..stranger() };
        for (method, uri) in [
            ("REGISTER", "sip:pbx.test"),
            ("INVITE", "sip:900@pbx.test"),
            ("SUBSCRIBE", "sip:102@pbx.test"),
            ("OPTIONS", "sip:pbx.test"),
        ] {
            let request = exchange.request(who, method, uri, "", "");
            let answers = exchange.say(flow, request.as_bytes());
            assert!(answers.iter().all(|(to, _)| *to == flow));
        }
    }
    // Nothing was armed for any of them: what a stranger is told leaves no state behind.
    assert_eq!(exchange.switch.deadline(), deadline);
    exchange.still_works();
}

#[test]
fn what_has_ended_leaves_no_timer_for_the_rest_of_its_limit() {
    for keep_alive in ["0s", "25s"] {
        let config = format!("{CONFIG}keep-alive = {keep_alive}\n");
        let mut exchange = Exchange::with(Config::parse("test", config.as_bytes()).unwrap());
        exchange.still_works();
        for phone in [phone(CALLER), phone(CALLEE)] {
            let uri = format!("sip:{}@pbx.test", phone.number);
            let request = exchange.request(phone, "REGISTER", &uri, "Expires: 0\r\n", "");
            let contact = header(&request, "Contact").to_owned();
            let (sent, _) =
                exchange.ask(phone, &request.replace(&format!("Contact: {contact}"), "Contact: *"));
            assert_eq!(statuses(&sent), [200]);
        }
        exchange.wait(300);
        assert_eq!(exchange.switch.deadline(), None);
    }
}

#[test]
fn the_echo_test_gives_up_on_who_never_acknowledges() {
    let mut exchange = Exchange::new();
    let (_, sent, _) = exchange.dial("114", "", &sdp("192.0.2.101", 4000));
    let ok = sent.iter().find(|(_, m)| m.starts_with("SIP/2.0 200")).unwrap().1.clone();
    exchange.say(phone(CALLER).flow, in_dialog(&ok, phone(CALLER), "ACK").as_bytes());
    for n in 1..=5 {
        let again = in_dialog(&ok, phone(CALLER), "INVITE");
        let cseq = header(&again, "CSeq").to_owned();
        let again = again
            .replace(&format!("CSeq: {cseq}"), &format!("CSeq: {} INVITE", 100 + n))
            .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}"));
        assert_eq!(statuses(&exchange.say(phone(CALLER).flow, again.as_bytes())), [200]);
    }
    let repeated = of_status(&exchange.wait(60), 200);
    assert!((8..=11).contains(&repeated), "{repeated} repetitions of the last one");
    assert_eq!(of_status(&exchange.wait(600), 200), 0);
}

#[test]
fn a_change_is_cancelled_before_it_rings() {
    let mut exchange = Exchange::new();
    let (rung, ..) = exchange.dial("102", "", &sdp("192.0.2.101", 4000));
    let ok = answer(&rung.unwrap(), 200, "callee", "<sip:102@192.0.2.102:5060>", &sdp("192.0.2.102", 4002));
    let passed = exchange.say(phone(CALLEE).flow, ok.as_bytes());
    let ok = passed[0].1.clone();
    exchange.say(phone(CALLER).flow, in_dialog(&ok, phone(CALLER), "ACK").as_bytes());
    let again = in_dialog(&ok, phone(CALLER), "INVITE");
    let sent = exchange.say(phone(CALLER).flow, again.as_bytes());
    assert_eq!(statuses(&sent), [100], "it will not be sent again and again");
    let onward = sent.iter().find(|(_, m)| m.starts_with("INVITE")).unwrap().1.clone();
    let cancel = again.replacen("INVITE", "CANCEL", 1).replace(" INVITE\r\n", " CANCEL\r\n");
    assert_eq!(statuses(&exchange.say(phone(CALLER).flow, cancel.as_bytes())), [200]);
    let trying = answer(&onward, 100, "callee", "", "");
    let sent = exchange.say(phone(CALLEE).flow, trying.as_bytes());
    assert!(sent.iter().any(|(to, m)| *to == phone(CALLEE).flow && m.starts_with("CANCEL ")), "{sent:?}");
    let ended = answer(&onward, 487, "callee", "", "");
    assert_eq!(of_status(&exchange.say(phone(CALLEE).flow, ended.as_bytes()), 487), 1);
}

#[test]
fn nobody_makes_the_relay_send_to_itself() {
    let mut exchange = Exchange::new();
    let (rung, ..) = exchange.dial("102", "", &sdp("192.0.2.1", 40_000));
    let ok = answer(&rung.unwrap(), 200, "callee", "<sip:102@192.0.2.102:5060>", &sdp("192.0.2.102", 4002));
    let (flow, now) = (phone(CALLEE).flow, Instant(exchange.now));
    exchange.switch.handle(now, Input::Packet { flow, bytes: ok.as_bytes() });
    let mut told = 0;
    while let Some(output) = exchange.switch.poll() {
        if let Output::Media(denwa::media::Command::Set { streams, .. }) = output {
            told += 1;
            let caller = &streams[0].as_ref().unwrap().a;
            assert_eq!(caller.remote, None, "it waits for the caller to speak");
            assert_eq!(caller.admit, denwa::media::Admit::Address("192.0.2.101".parse().unwrap()));
        }
    }
    assert_eq!(told, 1, "and is told once");
}

#[test]
fn a_request_forks_no_further_than_it_may() {
    let config = format!("{CONFIG}ext.103 = attic-secret\ngroup.600 = 102 103\n");
    let mut exchange = Exchange::with(Config::parse("test", config.as_bytes()).unwrap());
    exchange.register(phone(("103", "attic-secret", "192.0.2.103:5060")));
    let body = sdp("192.0.2.101", 4000);
    for (said, told) in [
        ("", &["30", "30"][..]),
        ("Max-Breadth: 9\r\n", &["4", "4"]),
        ("Max-Breadth: 1\r\n", &["1"]),
        ("Max-Breadth: 4000000000\r\n", &["30", "30"]),
    ] {
        let (_, sent, _) = exchange.dial("600", said, &body);
        let rung: Vec<&str> = sent
            .iter()
            .filter(|(_, m)| m.starts_with("INVITE"))
            .map(|(_, m)| header(m, "Max-Breadth"))
            .collect();
        assert_eq!(rung, told, "{said}");
    }
    let (rung, sent, _) = exchange.dial("600", "Max-Breadth: 0\r\n", &body);
    assert!(rung.is_none());
    assert_eq!(statuses(&sent).last(), Some(&440));
}

#[test]
fn a_request_full_of_headers_is_cancelled_like_any_other() {
    for (headers, rings) in [(100, true), (125, false)] {
        let mut exchange = Exchange::new();
        let many = "X-Many: y\r\n".repeat(headers);
        let body = sdp("192.0.2.101", 4000);
        let invite = exchange.request(phone(CALLER), "INVITE", "sip:102@pbx.test", "", &body);
        // What identifies the call stands behind all others.
        let invite = invite.replacen("From:", &format!("{many}From:"), 1);
        let (sent, invite) = exchange.ask(phone(CALLER), &invite);
        let rung = sent.iter().find(|(_, m)| m.starts_with("INVITE"));
        assert_eq!(rung.is_some(), rings, "{headers} more");
        let Some((flow, rung)) = rung else { continue };
        exchange.say(*flow, answer(rung, 180, "callee", "", "").as_bytes());
        let cancel = invite.replacen("INVITE", "CANCEL", 1).replace(" INVITE\r\n", " CANCEL\r\n");
        let sent = exchange.say(phone(CALLER).flow, cancel.as_bytes());
        let cancel = &sent.iter().find(|(_, m)| m.starts_with("CANCEL")).unwrap().1;
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            assert!(!header(cancel, name).is_empty(), "{name}");
        }
    }
}

#[test]
fn a_phone_that_is_puzzled_by_two_algorithms_is_asked_for_one() {
    let mut exchange = Exchange::new();
    let puzzled = Phone { flow: udp("192.0.2.77:5060"), ..phone(CALLEE) };
    let more = format!("Supported: {}\r\n", "replaces,".repeat(40));
    let mut algorithms = Vec::new();
    for _ in 0..3 {
        let request = exchange.request(puzzled, "INVITE", "sip:101@pbx.test", &more, "");
        let answers = exchange.say(puzzled.flow, request.as_bytes());
        algorithms.push(answers[0].1.matches("algorithm=").count());
    }
    assert_eq!(algorithms, [2, 2, 1], "it never answered");
    // Nobody else is treated differently for it.
    let other = Phone { flow: udp("192.0.2.78:5060"), ..puzzled };
    let request = exchange.request(other, "INVITE", "sip:101@pbx.test", &more, "");
    assert_eq!(exchange.say(other.flow, request.as_bytes())[0].1.matches("algorithm=").count(), 2);
    // And who registered with MD5 is not puzzled again.
    exchange.register(other);
    let request = exchange.request(other, "INVITE", "sip:101@pbx.test", &more, "");
    assert_eq!(exchange.say(other.flow, request.as_bytes())[0].1.matches("algorithm=").count(), 1);
}

#[test]
fn a_scan_does_not_make_us_forget_which_phones_want_md5() {
    let mut exchange = Exchange::new();
    let caller = phone(CALLER);
    let room = format!("Subject: {}\r\n", "x".repeat(300));
    let offers = |exchange: &mut Exchange, who: Phone, number: &str| {
        let request = exchange.request(who, "REGISTER", "sip:pbx.test", &room, "");
        let request = request.replacen("To: <sip:pbx.test>", &format!("To: <sip:{number}@pbx.test>"), 1);
        let answers = exchange.say(who.flow, request.as_bytes());
        answers[0].1.matches("WWW-Authenticate").count()
    };
    // It registered by MD5.
    assert_eq!(offers(&mut exchange, caller, "101"), 1);
    for number in 1000..6000 {
        assert_eq!(offers(&mut exchange, stranger(), &number.to_string()), 2);
    }
    assert_eq!(offers(&mut exchange, caller, "101"), 1);
}

#[test]
fn a_domain_may_be_an_ipv6_address() {
    let config = Config::parse("test", b"domain = [2001:db8::9]\next.101 = kitchen-secret\n").unwrap();
    let mut exchange = Exchange::empty(config);
    let ours = exchange.request(stranger(), "OPTIONS", "sip:[2001:db8::9]", "", "");
    assert_eq!(statuses(&exchange.say(stranger().flow, ours.as_bytes())), [200]);
    let other =
        exchange.request(stranger(), "OPTIONS", "sip:[2001:db8::8]", &"Subject: long\r\n".repeat(8), "");
    assert_eq!(statuses(&exchange.say(stranger().flow, other.as_bytes())), [407]);
}

/// What the program says of a file, and whether it takes it.
fn check(name: &str, text: &str) -> (bool, String) {
    let path = std::env::temp_dir().join(format!("denwa-{}-{name}.conf", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_denwa")).arg("check").arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn malformed_networks_are_told_all_at_once() {
    let wrong = [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "2001:db8::/129",
        "2001:db8::1/64",
        "::ffff:192.0.2.0/120",
        "192.0.2",
        "256.0.0.1",
        "1.2.3.4/",
        "/0",
        "10.0.0.0/255.0.0.0",
        "pbx.example.net",
        "[2001:db8::/32]",
        "99999999999999999999/8",
    ];
    let keys = ["allow", "deny", "ext.101.allow", "listen.lan.allow", "listen.lan.deny"];
    let mut text = String::from("ext.101 = kitchen-secret\nlisten.lan = udp:5080\n");
    for key in keys {
        for word in wrong {
            text += &format!("{key} = 192.0.2.1 {word} ::/0\n");
        }
    }
    let (taken, said) = check("malformed", &text);
    assert!(!taken);
    let mut lines = said.lines();
    for (number, line) in (1..).zip(text.lines()).skip(2) {
        let (key, words) = line.split_once(" = ").unwrap();
        let word = words.split(' ').nth(1).unwrap();
        let told = lines.next().unwrap();
        assert!(told.contains(&format!(".conf:{number}: {key}: ")) && told.contains(word), "{line}: {told}");
    }
    let count = keys.len() * wrong.len();
    assert!(lines.next().unwrap().starts_with(&format!("{count} mistakes in ")));
    assert_eq!(lines.next(), None);
}

#[test]
fn overlapping_and_zero_length_networks_are_taken_and_told() {
    let text = "ext.101 = kitchen-secret\nallow = 0.0.0.0/0 10.0.0.0/8 10.1.0.0/16 10.1.0.0/16\n\
        allow = 2001:db8::/32\ndeny = 2001:db8::/31 192.0.2.0/24\next.101.allow = 192.0.2.128/25\n";
    let (taken, said) = check("overlapping", text);
    assert!(taken, "{said}");
    let remarks: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  Look: ")).collect();
    assert_eq!(
        remarks,
        [
            "allow: 10.0.0.0/8 is inside 0.0.0.0/0 and adds nothing",
            "allow: 10.1.0.0/16 is inside 0.0.0.0/0 and adds nothing",
            "allow: 10.1.0.0/16 is inside 0.0.0.0/0 and adds nothing",
            "allow: 2001:db8::/32 is inside 2001:db8::/31 of `deny`, so nobody there is heard",
            "ext.101.allow: `allow` and `deny` let nobody of 192.0.2.128/25 be heard",
        ]
    );

    let (taken, said) = check("nobody", "ext.101 = kitchen-secret\ndeny = 0.0.0.0/0 ::/0\n");
    assert!(taken && said.contains("nobody is heard"), "{said}");
}

#[test]
fn more_networks_than_there_may_be_are_one_mistake() {
    let list: String = (0..1001).map(|i| format!(" 10.{}.{}.0/24", i / 256, i % 256)).collect();
    let (taken, said) = check("many", &format!("ext.101 = kitchen-secret\ndeny ={list}\n"));
    assert!(!taken);
    assert!(said.contains(".conf:2: deny: too many networks; 1000 in the whole file are the most"), "{said}");
    assert!(said.trim_end().lines().count() == 2, "{said}");
}

#[test]
fn nobody_learns_which_extensions_exist() {
    // Equal seeds give equal nonces, so whatever differs comes of the number alone.
    let ask = |number: &'static str| {
        let mut exchange = Exchange::empty(Config::parse("test", CONFIG.as_bytes()).unwrap());
        let guesser = Phone { number, password: "guessed", flow: udp(STRANGER) };
        let mut answers = Vec::new();
        for (method, uri) in [
            ("REGISTER", "sip:pbx.test".to_owned()),
            ("INVITE", "sip:102@pbx.test".to_owned()),
            ("MESSAGE", format!("sip:{number}@pbx.test")),
            ("OPTIONS", format!("sip:{number}@pbx.test")),
            ("SUBSCRIBE", format!("sip:{number}@pbx.test")),
            ("BYE", format!("sip:{number}@pbx.test")),
        ] {
            // Once, and so often that a phone would be asked in another way.
            for _ in 0..4 {
                let mut request = exchange.request(guesser, method, &uri, "", "");
                if method == "REGISTER" {
                    request = request.replace("To: <sip:pbx.test>", &format!("To: <sip:{number}@pbx.test>"));
                }
                let first = exchange.say(guesser.flow, request.as_bytes());
                let challenge = first.iter().find(|(_, answer)| answer.contains("nonce=\""));
                let nonce = challenge.map(|(_, answer)| between(answer, "nonce=\"", "\"").to_owned());
                answers.extend(first);
                for nonce in nonce.iter().map(String::as_str).chain(["made-up"]) {
                    let again = with_credentials(&request, guesser, nonce, 1);
                    answers.extend(exchange.say(guesser.flow, again.as_bytes()));
                }
                exchange.now += 1000;
            }
        }
        answers.into_iter().map(|(_, answer)| answer.replace(number, "NUMBER")).collect::<Vec<_>>()
    };
    let (known, unknown) = (ask("101"), ask("199"));
    assert!(known.len() > 40, "{} answers", known.len());
    for (known, unknown) in known.iter().zip(&unknown) {
        assert_eq!(known, unknown);
    }
    assert_eq!(known.len(), unknown.len());
}

#[test]
fn there_are_only_so_many_bindings() {
    const CONTACTS: usize = 32;
    let numbers: Vec<String> = (1000..2025).map(|number| number.to_string()).collect();
    let mut text = String::from("domain = pbx.test\n");
    for number in &numbers {
        text += &format!("ext.{number} = kitchen-secret\next.{number}.max-contacts = {CONTACTS}\n");
    }
    let mut exchange = Exchange::empty(Config::parse("test", text.as_bytes()).unwrap());
    let mut register = |number: &str, contacts: std::ops::Range<usize>| {
        let number: &'static str = Box::leak(number.to_owned().into_boxed_str());
        let phone = Phone { number, password: "kitchen-secret", flow: udp("192.0.2.77:5060") };
        let more: String =
            contacts.map(|n| format!("Contact: <sip:{number}@192.0.2.77:{}>\r\n", 10_000 + n)).collect();
        let request = exchange.request(phone, "REGISTER", "sip:pbx.test", &more, "");
        let request = request
            .replace("To: <sip:pbx.test>", &format!("To: <sip:{number}@pbx.test>"))
            .replace(&format!("Contact: <sip:{number}@192.0.2.77:5060>\r\n"), "");
        statuses(&exchange.ask(phone, &request).0)
    };
    let (last, rest) = numbers.split_last().unwrap();
    for number in rest {
        assert_eq!(register(number, 0..CONTACTS), [200], "{number}");
    }
    assert_eq!(register(last, 0..1), [503], "the table is full");
    assert_eq!(register(&numbers[0], 0..CONTACTS), [200], "what is there can be refreshed");
}

#[test]
fn who_names_no_contact_is_reached_where_he_is_registered() {
    let mut exchange = Exchange::new();
    let (caller, callee) = (phone(CALLER), phone(CALLEE));
    let without = |message: &str| -> String {
        message.split_inclusive("\r\n").filter(|line| !line.starts_with("Contact:")).collect()
    };
    let more = "Content-Type: application/sdp\r\n";
    let invite = exchange.request(caller, "INVITE", "sip:102@pbx.test", more, &sdp("192.0.2.101", 4000));
    let (sent, _) = exchange.ask(caller, &without(&invite));
    let rung = sent.iter().find(|(flow, m)| *flow == callee.flow && m.starts_with("INVITE")).unwrap();
    let ok = answer(&rung.1, 200, "callee", "sip:102@192.0.2.102:5060", &sdp("192.0.2.102", 4000));
    let passed = exchange.say(callee.flow, without(&ok).as_bytes());
    assert_eq!(statuses(&passed), [200]);
    exchange.switch.handle(Instant(exchange.now), Input::HangUp("end of test"));
    // Both are hung up on once the ACK is late.
    let byes = exchange.wait(40);
    let byes = byes.iter().filter(|(_, m)| m.starts_with("BYE")).map(|(flow, m)| (*flow, first_line(m)));
    let byes: std::collections::BTreeSet<_> = byes.map(|(flow, line)| (flow.remote, line)).collect();
    assert_eq!(
        byes,
        [
            (caller.flow.remote, "BYE sip:101@192.0.2.101:5060 SIP/2.0"),
            (callee.flow.remote, "BYE sip:102@192.0.2.102:5060 SIP/2.0")
        ]
        .into()
    );
    exchange.wait(200);

    let bad = invite.replace("Contact: <sip:101@", "Contact: <sip:10\u{1}1@[");
    let (sent, _) = exchange.ask(caller, &bad);
    assert_eq!(statuses(&sent), [400]);
    exchange.still_works();
}

#[test]
fn credentials_with_any_field_wrong_missing_or_twice_open_nothing() {
    let mut exchange = Exchange::empty(Config::parse("test", CONFIG.as_bytes()).unwrap());
    let caller = phone(CALLER);
    let register = |exchange: &mut Exchange| {
        let request = exchange.request(caller, "REGISTER", "sip:pbx.test", "", "");
        let request = request.replace("To: <sip:pbx.test>", "To: <sip:101@pbx.test>");
        let challenge = exchange.say(caller.flow, request.as_bytes());
        with_credentials(&request, caller, between(&challenge[0].1, "nonce=\"", "\""), 1)
    };
    let line = |request: &str| -> String {
        request.lines().find(|line| line.starts_with("Authorization:")).unwrap().to_owned()
    };
    let right = register(&mut exchange);
    let count = line(&right).split(',').count();
    assert_eq!(count, 9, "username, realm, nonce, uri, response, algorithm, qop, nc, cnonce");
    let mut tried = 0;
    for field in 0..count {
        for change in ["wrong", "empty", "missing", "twice", "other twice"] {
            let request = register(&mut exchange);
            let whole = line(&request);
            let mut fields: Vec<String> =
                whole.trim_start_matches("Authorization: Digest ").split(',').map(str::to_owned).collect();
            let (name, value) = fields[field].split_once('=').unwrap();
            let (name, quoted) = (name.to_owned(), value.starts_with('"'));
            let with = |value: &str| match quoted {
                true => format!("{name}=\"{value}\""),
                false => format!("{name}={value}"),
            };
            match change {
                "wrong" => fields[field] = with("deadbeef"),
                "empty" => fields[field] = with(""),
                "missing" => drop(fields.remove(field)),
                "twice" => fields.push(fields[field].clone()),
                _ => fields.push(with("deadbeef")),
            }
            // MD5 is what is meant where no algorithm is named (RFC 7616 §3.3).
            if (change, name.as_str()) == ("missing", "algorithm") {
                continue;
            }
            let changed = request.replace(&whole, &format!("Authorization: Digest {}", fields.join(",")));
            let answers = statuses(&exchange.say(caller.flow, changed.as_bytes()));
            assert!(answers == [401] || answers == [400], "{change} {name}: {answers:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 44);
    // The whole header twice: the one for our realm is judged, wherever it stands.
    let request = register(&mut exchange);
    let whole = line(&request);
    let wrong = whole.replace("response=\"", "response=\"0");
    let doubled = request.replace(&whole, &format!("{wrong}\r\n{whole}"));
    assert_eq!(statuses(&exchange.say(caller.flow, doubled.as_bytes())), [401]);
    let request = register(&mut exchange);
    assert_eq!(statuses(&exchange.say(caller.flow, request.as_bytes())), [200], "and it still opens");
}

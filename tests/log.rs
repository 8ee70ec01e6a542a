//! What the log never holds, however much it is asked to say: passwords, and what can be made of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use denwa::config::{Config, LogLevel};
use denwa::console::Log;
use denwa::media;
use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};
use denwa::switch::{Flow, Input, Instant, Output, StreamId, Switch, Transport};

const REALM: &str = "pbx.test";
const PASSWORDS: [(&str, &str); 2] = [("101", "kitchen-secret-1"), ("102", "study-secret-22")];
const WRONG: &str = "a-wrong-secret-333";

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An exchange with its log, and all secrets that went through it.
struct Exchange {
    switch: Switch,
    log: Log,
    written: Shared,
    now: u64,
    serial: u32,
    secrets: Vec<String>,
}

fn flow(number: &str) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: format!("192.0.2.{number}:5060").parse().unwrap(),
        stream: StreamId(0),
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap() + start.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

/// The headers of a message that begin so, each with its line end.
fn headers(message: &str, names: &[&str]) -> String {
    let wanted =
        message.split_inclusive("\r\n").filter(|line| names.iter().any(|name| line.starts_with(name)));
    wanted.collect()
}

fn sdp(host: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n")
}

/// What comes in is long enough that it may be answered.
const AGENT: &str =
    "User-Agent: Tester/1.0 (what strangers are answered is never longer than what they ask)\r\n";

impl Exchange {
    fn new(level: LogLevel) -> Exchange {
        let [(a, first), (b, second)] = PASSWORDS;
        let text = format!("domain = {REALM}\next.{a} = {first}\next.{b} = {second}\necho = 114\n");
        let config = Config { log: level, ..Config::parse("x", text.as_bytes()).unwrap() };
        let written = Shared::default();
        Exchange {
            log: Log::to(&config, written.clone()),
            written,
            switch: Switch::new(config, [7; 32]),
            now: 1_000,
            serial: 0,
            secrets: vec![first.into(), second.into(), WRONG.into()],
        }
    }

    /// Feeds something and returns what is sent because of it.
    fn feed(&mut self, input: Input<'_>) -> Vec<(Flow, String)> {
        self.now += 100;
        self.switch.handle(Instant(self.now), input);
        let mut sent = Vec::new();
        while let Some(output) = self.switch.poll() {
            match output {
                Output::Send(flow, bytes) => sent.push((flow, String::from_utf8(bytes).unwrap())),
                Output::Event(event) => self.log.event(&event),
                Output::Record(_)
                | Output::Close(_)
                | Output::Locate { .. }
                | Output::Connect { .. }
                | Output::Media(_) => {}
            }
        }
        sent
    }

    fn say(&mut self, flow: Flow, text: &str) -> Vec<(Flow, String)> {
        self.feed(Input::Packet { flow, bytes: text.as_bytes() })
    }

    /// Sends a request; when it is challenged, again with credentials of this password.
    fn ask(
        &mut self,
        number: &str,
        password: &str,
        method: &str,
        uri: &str,
        body: &str,
    ) -> Vec<(Flow, String)> {
        self.serial += 1;
        let (n, host) = (self.serial, flow(number).remote);
        let to = if method == "REGISTER" { format!("sip:{number}@{REALM}") } else { uri.to_owned() };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let request = |credentials: &str, attempt: u32| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{n}-{attempt};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{number}@{REALM}>;tag=f{n}\r\nTo: <{to}>\r\n\
                 Call-ID: call{n}@{host}\r\nCSeq: {attempt} {method}\r\nContact: <sip:{number}@{host}>\r\n\
                 {AGENT}{credentials}{kind}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let challenged = self.say(flow(number), &request("", 1));
        let challenge = &challenged.iter().find(|(_, m)| m.contains("nonce=")).unwrap().1;
        let nonce = between(challenge, "nonce=\"", "\"").to_owned();
        let name = if challenge.contains("Proxy-") { "Proxy-Authorization" } else { "Authorization" };
        let ha1 = Ha1::new(number.as_bytes(), REALM.as_bytes(), password.as_bytes());
        let qop = Qop::Auth { nc: 1, nc_raw: b"00000001", cnonce: b"0a4f113b" };
        let (algorithm, label) = match challenge.contains("SHA-256") {
            true => (Algorithm::Sha256, "SHA-256"),
            false => (Algorithm::Md5, "MD5"),
        };
        let response =
            respond(algorithm, &ha1, method.as_bytes(), uri.as_bytes(), nonce.as_bytes(), &qop).unwrap();
        let credentials = format!(
            "{name}: Digest username=\"{number}\",realm=\"{REALM}\",nonce=\"{nonce}\",uri=\"{uri}\",\
             response=\"{response}\",algorithm={label},qop=auth,nc=00000001,cnonce=\"0a4f113b\"\r\n"
        );
        self.secrets.extend([nonce, response, hash_of(number, password)]);
        if method == "INVITE" {
            self.say(flow(number), &request("", 1).replace("INVITE", "ACK"));
        }
        let sent = self.say(flow(number), &request(&credentials, 2));
        // Some make a mess of it, and some put it where it does not belong.
        self.say(flow("66"), &credentials);
        self.say(flow("66"), &request(&credentials, 3).replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"));
        self.say(flow("66"), &credentials.replace("Digest ", "Digest sip:"));
        sent
    }
}

/// H(A1) by MD5 in hex, which is as good as the password.
fn hash_of(number: &str, password: &str) -> String {
    use md5::Digest;
    let hash = md5::Md5::digest(format!("{number}:{REALM}:{password}"));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Registrations good and bad, a call with all that belongs to it, and nonsense.
fn a_busy_hour(level: LogLevel) -> (String, Vec<String>) {
    let mut exchange = Exchange::new(level);
    let registrar = format!("sip:{REALM}");
    for (number, password) in PASSWORDS {
        let refused = exchange.ask(number, WRONG, "REGISTER", &registrar, "");
        assert!(!refused.iter().any(|(_, m)| m.starts_with("SIP/2.0 200")), "{refused:?}");
        let taken = exchange.ask(number, password, "REGISTER", &registrar, "");
        assert!(taken.iter().any(|(_, m)| m.starts_with("SIP/2.0 200")), "{taken:?}");
    }

    let [(caller, password), (callee, _)] = PASSWORDS;
    let sent =
        exchange.ask(caller, password, "INVITE", &format!("sip:{callee}@{REALM}"), &sdp("192.0.2.101"));
    let rung = &sent.iter().find(|(to, m)| *to == flow(callee) && m.starts_with("INVITE")).unwrap().1;
    let body = sdp("192.0.2.102");
    let kept = headers(rung, &["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"]);
    let ok = format!(
        "SIP/2.0 200 OK\r\n{}Contact: <sip:102@192.0.2.102:5060>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        kept.replace(&headers(&kept, &["To"]), &headers(&kept, &["To"]).replace("\r\n", ";tag=callee\r\n")),
        body.len()
    );
    let sent = exchange.say(flow(callee), &ok);
    let ok = &sent.iter().find(|(_, m)| m.starts_with("SIP/2.0 200")).unwrap().1;
    let (target, route) = (between(ok, "Contact: <", ">"), between(ok, "Record-Route: ", "\r\n"));
    for (cseq, method) in [(2, "ACK"), (3, "BYE")] {
        let request = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.101;branch=z9hG4bKd{cseq};rport\r\n\
             Max-Forwards: 70\r\nRoute: {route}\r\n{}CSeq: {cseq} {method}\r\n{AGENT}Content-Length: 0\r\n\r\n",
            headers(ok, &["From", "To", "Call-ID"]),
        );
        let sent = exchange.say(flow(caller), &request);
        assert!(sent.iter().any(|(to, m)| *to == flow(callee) && m.starts_with(method)), "{sent:?}");
    }
    for session in 0..3 {
        let (a, b) = Default::default();
        let event = media::Event::Closed { session: media::SessionId(session), a, b };
        exchange.feed(Input::Media(event));
    }

    // A password in a URI, for those who dial as they browse.
    let careless = format!("INVITE sip:{caller}:{password}@{REALM} SIP/2.0\r\nVia: x\r\n\r\n");
    exchange.say(flow("66"), &careless);
    exchange.say(flow("66"), &careless.replace(caller, &"1".repeat(130)));
    for _ in 0..700 {
        exchange.now += 1_000;
        exchange.feed(Input::Tick);
    }
    // What was counted is told by now.
    exchange.now += Duration::from_secs(3_600).as_millis() as u64;
    exchange.feed(Input::Tick);
    let text = String::from_utf8(exchange.written.0.lock().unwrap().clone()).unwrap();
    (text, exchange.secrets)
}

#[test]
fn passwords_and_digests_are_never_in_it() {
    let (text, secrets) = a_busy_hour(LogLevel::Debug);
    assert!(secrets.len() > 15);
    // All of it is there, and was looked at.
    for part in [
        "debug from 192.0.2.101:5060 (udp): REGISTER sip:pbx.test SIP/2.0",
        "debug to 192.0.2.101:5060 (udp): SIP/2.0 401 ",
        "info  101 registered from 192.0.2.101:5060",
        "info  call 1: 101 → 102 answered",
        "info  call 1: 101 → 102 ended",
        "debug from 192.0.2.66:5060 (udp): INVITE sip:101:***@pbx.test SIP/2.0",
        "wrong password",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let lower = text.to_ascii_lowercase();
    for secret in secrets.iter().map(String::as_str).chain(["response=", "nonce=", "cnonce", "digest "]) {
        assert!(!lower.contains(&secret.to_ascii_lowercase()), "{secret} is in\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() < 600, "{line}");
        assert!(line.chars().all(|c| (' '..='~').contains(&c) || c == '→'), "{line}");
    }
}

#[test]
fn less_is_said_at_higher_levels_and_nothing_else() {
    let lines = |level| a_busy_hour(level).0.lines().map(|line| line[20..].to_owned()).collect::<Vec<_>>();
    let (info, debug) = (lines(LogLevel::Info), lines(LogLevel::Debug));
    assert!(!info.is_empty() && info.len() < debug.len());
    let said: Vec<_> = debug.into_iter().filter(|line| !line.starts_with("debug")).collect();
    assert_eq!(info, said);
}

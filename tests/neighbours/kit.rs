//! An exchange, its phones, and others that say just what they are told.

use std::net::SocketAddr;
use std::time::Duration;

use denwa::config::{Config, Rate, TargetHost};
use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};
use denwa::switch::{CallRecord, Event, Flow, Input, Instant, Output, StreamId, Switch, Transport};

/// Where the exchange is.
const HERE: &str = "192.0.2.1:5060";

/// What was sent, and to whom.
pub type Sent = Vec<(SocketAddr, String)>;

/// An exchange and its clock.
pub struct World {
    pub switch: Switch,
    now: u64,
    /// What people were told.
    pub told: Vec<String>,
    /// The calls that have ended.
    pub records: Vec<CallRecord>,
    serial: u32,
    /// Who answers when asked whether they are there.
    pub alive: Vec<SocketAddr>,
    /// How long the exchange has worked.
    pub spent: Duration,
    /// With whom TLS is spoken; with all others UDP.
    tls: Vec<SocketAddr>,
    /// The connections that are to be opened.
    wanted: Vec<(u64, Flow)>,
}

impl World {
    /// With an exchange on this configuration, which has found those that it knows by address, and where `phones`
    /// (numbers) are registered, each at 198.51.100.NUMBER.
    pub fn new(text: &str, phones: &[u8]) -> (World, Sent) {
        World::with_tls(text, phones, &[])
    }

    /// The same where TLS is spoken with some: each is called by one connection.
    pub fn with_tls(text: &str, phones: &[u8], tls: &[SocketAddr]) -> (World, Sent) {
        let extensions: Vec<String> = phones.iter().map(|n| format!("ext.{n} = secret-{n}")).collect();
        let text = format!("domain = pbx.test\nstealth = no\n{}\n{text}", extensions.join("\n"));
        let mut config = Config::parse("test", text.as_bytes()).unwrap_or_else(|m| panic!("{m}"));
        let plenty = Rate(1_000_000);
        (config.rate_stranger, config.rate_strangers, config.rate_phone) = (plenty, plenty, plenty);
        let switch = Switch::new(config, [7; 32]);
        let mut world = World {
            switch,
            now: 1000,
            told: Vec::new(),
            records: Vec::new(),
            serial: 0,
            alive: Vec::new(),
            spent: Duration::ZERO,
            tls: tls.to_vec(),
            wanted: Vec::new(),
        };
        let mut sent = world.tick();
        for phone in phones {
            let request = world.request(*phone, "REGISTER", "sip:pbx.test", "", "");
            let to = format!("To: <sip:{phone}@pbx.test>");
            world.ask(*phone, &request.replacen("To: <sip:pbx.test>", &to, 1));
        }
        sent.retain(|(to, _)| to.ip().to_string() != "198.51.100.1");
        (world, sent)
    }

    /// Where a phone is.
    pub fn at(phone: u8) -> SocketAddr {
        format!("198.51.100.{phone}:5060").parse().unwrap()
    }

    /// The exchange is killed, and a new one goes on from what was on record, a moment later.
    pub fn restart(&mut self) -> Sent {
        self.now += 1;
        let mut state = denwa::journal::State::default();
        self.switch.snapshot(&mut |record| state.apply(record.clone()));
        let config = self.switch.config().clone();
        let clocks = denwa::journal::Clocks { now: Instant(self.now), wall: 0 };
        self.switch = Switch::restore(config, [9; 32], state, clocks, &[]);
        self.tick()
    }

    /// Somebody says something.
    pub fn say(&mut self, from: SocketAddr, text: &str) -> Sent {
        let flow = flow(from, &self.tls);
        let begin = std::time::Instant::now();
        self.switch.handle(Instant(self.now), Input::Packet { flow, bytes: text.as_bytes() });
        let outputs: Vec<Output> = std::iter::from_fn(|| self.switch.poll()).collect();
        self.spent += begin.elapsed();
        self.carry_out(outputs)
    }

    /// Somebody with whom TLS is spoken proves to have a certificate.
    pub fn certify(&mut self, from: SocketAddr, sha256: [u8; 32]) -> Sent {
        let flow = flow(from, &self.tls);
        self.input(Input::Certified { flow, sha256 })
    }

    /// The connection of somebody with whom TLS is spoken ends.
    pub fn hang_up(&mut self, from: SocketAddr) -> Sent {
        let stream = flow(from, &self.tls).stream;
        self.input(Input::Closed(stream))
    }

    /// The connections that the exchange wants to open stand.
    pub fn connect(&mut self) -> Sent {
        let mut sent = Vec::new();
        for (ticket, flow) in std::mem::take(&mut self.wanted) {
            self.serial += 1;
            let flow = Flow { stream: StreamId(1_000 + u64::from(self.serial)), ..flow };
            sent.extend(self.input(Input::Connected { ticket, flow }));
        }
        sent
    }

    /// Something else happens.
    pub fn input(&mut self, input: Input<'_>) -> Sent {
        self.switch.handle(Instant(self.now), input);
        self.drain()
    }

    fn tick(&mut self) -> Sent {
        self.switch.handle(Instant(self.now), Input::Tick);
        self.drain()
    }

    /// Time goes by.
    pub fn wait(&mut self, time: Duration) -> Sent {
        let end = self.now + time.as_millis() as u64;
        let mut sent = Vec::new();
        while let Some(due) = self.switch.deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            sent.extend(self.tick());
        }
        self.now = end;
        sent
    }

    fn drain(&mut self) -> Sent {
        self.carry_out(Vec::new())
    }

    fn carry_out(&mut self, outputs: Vec<Output>) -> Sent {
        let mut outputs = std::collections::VecDeque::from(outputs);
        let mut sent = Vec::new();
        loop {
            let mut inputs = Vec::new();
            let mut answered = Vec::new();
            while let Some(output) = outputs.pop_front().or_else(|| self.switch.poll()) {
                match output {
                    Output::Send(flow, bytes) => {
                        let text = String::from_utf8(bytes).unwrap();
                        if text.starts_with("OPTIONS") && self.alive.contains(&flow.remote) {
                            answered.push((flow, answer(&text, 200, "there", "", "")));
                        }
                        sent.push((flow.remote, text));
                    }
                    Output::Locate { host, target } => {
                        let found = match target.host {
                            TargetHost::Name(name) => Err(format!("{name}: no such name")),
                            TargetHost::Ip(ip) => {
                                let remote = SocketAddr::new(ip, target.port.unwrap_or(5060));
                                let transport = target.transport.unwrap_or(Transport::Udp);
                                let way = Flow { transport, ..flow(remote, &[]) };
                                Ok((vec![way], Duration::from_secs(86_400)))
                            }
                        };
                        inputs.push(Input::Located(host, found));
                    }
                    Output::Media(denwa::media::Command::Close { session }) => {
                        let (a, b) = Default::default();
                        inputs.push(Input::Media(denwa::media::Event::Closed { session, a, b }));
                    }
                    Output::Event(Event::Notice(sentence) | Event::Remark(sentence)) => {
                        self.told.push(sentence)
                    }
                    Output::Event(Event::CallEnded(record)) => self.records.push(record),
                    Output::Connect { ticket, transport, remote, .. } => {
                        self.wanted.push((ticket, Flow { transport, ..flow(remote, &[]) }));
                    }
                    Output::Event(_) | Output::Record(_) | Output::Media(_) | Output::Close(_) => {}
                }
            }
            if inputs.is_empty() && answered.is_empty() {
                return sent;
            }
            for input in inputs {
                self.switch.handle(Instant(self.now), input);
            }
            for (flow, text) in answered {
                self.switch.handle(Instant(self.now), Input::Packet { flow, bytes: text.as_bytes() });
            }
        }
    }

    /// A request of a phone, outside dialogs.
    pub fn request(&mut self, phone: u8, method: &str, uri: &str, more: &str, body: &str) -> String {
        self.serial += 1;
        let (serial, at) = (self.serial, World::at(phone));
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{serial};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{phone}@pbx.test>;tag=f{serial}\r\nTo: <{uri}>\r\nCall-ID: inside{serial}\r\n\
             CSeq: {serial} {method}\r\nContact: <sip:{phone}@{at}>\r\nUser-Agent: A Long Name So That A Challenge \
             Fits Into What Came Before It, Which Most Phones Have Anyway And More Of It\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// A phone sends a request, and once more with its password.
    pub fn ask(&mut self, phone: u8, request: &str) -> Sent {
        let answers = self.say(World::at(phone), request);
        let challenge = answers.iter().map(|(_, a)| a).find(|a| status(a) == 401 || status(a) == 407);
        let Some(challenge) = challenge else { return answers };
        let again = prove(request, challenge, &phone.to_string(), &format!("secret-{phone}"));
        self.say(World::at(phone), &again)
    }

    /// A phone dials. What comes of it, and the INVITE as the phone knows it.
    pub fn dial(&mut self, phone: u8, number: &str) -> (Sent, String) {
        let sdp = sdp(World::at(phone), 4000);
        let more = "Content-Type: application/sdp\r\n";
        let invite = self.request(phone, "INVITE", &format!("sip:{number}@pbx.test"), more, &sdp);
        (self.ask(phone, &invite), invite)
    }

    /// Nothing is left of any call.
    pub fn is_at_rest(&mut self) {
        assert_eq!((self.switch.calls(), self.switch.ports_in_use()), (0, 0));
    }
}

/// The way to somebody.
fn flow(remote: SocketAddr, tls: &[SocketAddr]) -> Flow {
    let connection = tls.iter().position(|one| *one == remote);
    Flow {
        transport: if connection.is_some() { Transport::Tls } else { Transport::Udp },
        local: if remote.is_ipv6() { "[2001:db8::1]:5060" } else { HERE }.parse().unwrap(),
        remote,
        stream: StreamId(connection.map_or(0, |at| at as u64 + 1)),
    }
}

/// A request with the credentials that a challenge asks for.
pub fn prove(request: &str, challenge: &str, user: &str, password: &str) -> String {
    let (method, uri) = (word(request, 0), word(request, 1));
    let (realm, nonce) = (between(challenge, "realm=\"", "\""), between(challenge, "nonce=\"", "\""));
    let ha1 = Ha1::new(user.as_bytes(), realm.as_bytes(), password.as_bytes());
    let qop = Qop::Auth { nc: 1, nc_raw: b"00000001", cnonce: b"c" };
    let response =
        respond(Algorithm::Md5, &ha1, method.as_bytes(), uri.as_bytes(), nonce.as_bytes(), &qop).unwrap();
    let name = if status(challenge) == 401 { "Authorization" } else { "Proxy-Authorization" };
    let line = format!(
        "{name}: Digest username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\",response=\"{response}\",\
         algorithm=MD5,qop=auth,nc=00000001,cnonce=\"c\"\r\nMax-Forwards:"
    );
    request.replacen("Max-Forwards:", &line, 1).replacen("branch=z9hG4bK", "branch=z9hG4bKa", 1)
}

/// The response to a request; To gets `tag` if it has none.
pub fn answer(request: &str, status: u16, tag: &str, more: &str, body: &str) -> String {
    let head: Vec<&str> = request.split("\r\n\r\n").next().unwrap().split("\r\n").skip(1).collect();
    let keep = ["Via:", "v:", "Record-Route:", "From:", "f:", "Call-ID:", "i:", "CSeq:"];
    let mut lines: Vec<String> =
        head.iter().filter(|l| keep.iter().any(|k| l.starts_with(k))).map(|l| l.to_string()).collect();
    let to = header(request, "To");
    lines.push(if to.contains(";tag=") { format!("To: {to}") } else { format!("To: {to};tag={tag}") });
    if !body.is_empty() {
        lines.push("Content-Type: application/sdp".into());
    }
    format!(
        "SIP/2.0 {status} Whatever\r\n{}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        lines.join("\r\n"),
        body.len()
    )
}

/// A request inside the dialog that a 2xx made, by whoever got it.
pub fn in_dialog(ok: &str, method: &str, cseq: u32, from: SocketAddr) -> String {
    let uri = between(header(ok, "Contact"), "<", ">");
    let routes: Vec<&str> = ok.lines().filter_map(|l| l.strip_prefix("Record-Route: ")).collect();
    let routes: String = routes.iter().rev().map(|r| format!("Route: {r}\r\n")).collect();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{method}{cseq};rport\r\n{routes}\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@{from}>\r\n\
         Content-Length: 0\r\n\r\n",
        header(ok, "From"),
        header(ok, "To"),
        header(ok, "Call-ID"),
    )
}

/// A request inside a dialog by whoever was called, from the INVITE that it got and the tag that it gave.
pub fn back_in_dialog(invite: &str, tag: &str, method: &str, cseq: u32, from: SocketAddr) -> String {
    let uri = between(header(invite, "Contact"), "<", ">");
    let routes: String = invite
        .lines()
        .filter_map(|l| l.strip_prefix("Record-Route: "))
        .map(|r| format!("Route: {r}\r\n"))
        .collect();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKback{method}{cseq};rport\r\n{routes}\
         Max-Forwards: 70\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n",
        header(invite, "To"),
        header(invite, "From"),
        header(invite, "Call-ID"),
    )
}

/// The one message to somebody, however often it is sent.
pub fn one<'a>(sent: &'a Sent, to: SocketAddr, start: &str) -> &'a str {
    let mut found: Vec<&String> =
        sent.iter().filter(|(at, m)| *at == to && m.starts_with(start)).map(|(_, m)| m).collect();
    found.dedup();
    assert_eq!(found.len(), 1, "{start} to {to} in {sent:#?}");
    found[0]
}

pub fn none(sent: &Sent, to: SocketAddr, start: &str) {
    let found = sent.iter().find(|(at, m)| *at == to && m.starts_with(start));
    assert_eq!(found, None);
}

pub fn sdp(at: SocketAddr, port: u16) -> String {
    let (family, ip) = (if at.is_ipv6() { "IP6" } else { "IP4" }, at.ip());
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=sendrecv\r\n"
    )
}

pub fn status(message: &str) -> u16 {
    message.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).and_then(|s| s.parse().ok()).unwrap_or(0)
}

pub fn word(text: &str, at: usize) -> &str {
    text.split(' ').nth(at).unwrap()
}

pub fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap_or_else(|| panic!("no {start} in {text}")) + start.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

/// A header's value, by its long name or its compact one.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let compact = match name {
        "From" => "f: ",
        "To" => "t: ",
        "Call-ID" => "i: ",
        "Contact" => "m: ",
        _ => "\0",
    };
    let long = format!("{name}: ");
    let line = message.lines().find(|l| l.starts_with(&long) || l.starts_with(compact)).unwrap_or_default();
    line.split_once(": ").map_or("", |(_, value)| value)
}

pub fn count(message: &str, name: &str) -> usize {
    message.lines().filter(|l| l.starts_with(&format!("{name}: "))).count()
}

pub fn cseq(message: &str) -> u32 {
    word(header(message, "CSeq"), 0).parse().unwrap()
}

//! Somebody who sends: where from, whom it claims to be, and how it writes its messages.

use std::collections::VecDeque;
use std::net::SocketAddr;

use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};
use denwa::sip::{Message, Name};
use denwa::switch::{Flow, StreamId, Transport};

pub const DOMAIN: &str = "pbx.example.net";

/// How many messages a peer remembers of what it was sent.
const MEMORY: usize = 8;

/// A phone, or a stranger.
pub struct Peer {
    pub flow: Flow,
    /// Its extension; a stranger's claim.
    pub number: &'static str,
    /// `None`: a stranger.
    pub password: Option<String>,
    /// What it was sent, the newest first.
    pub inbox: VecDeque<Vec<u8>>,
    /// The last INVITE that it sent.
    pub invite: Vec<u8>,
    /// The nonce and the algorithm of the last challenge, and how often it was answered.
    challenge: Option<(Vec<u8>, Algorithm)>,
    uses: u32,
    count: u32,
}

/// What a request is about; the rest is the peer's own.
pub struct Request<'a> {
    pub method: &'a str,
    pub uri: String,
    pub to: String,
    /// Whole lines.
    pub headers: String,
    pub body: &'a [u8],
}

impl Peer {
    pub fn new(number: &'static str, transport: Transport, local: &str, remote: &str, phone: bool) -> Peer {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Peer {
            flow: Flow { transport, local, remote, stream: StreamId::default() },
            number,
            password: phone.then(|| password(number)),
            inbox: VecDeque::new(),
            invite: Vec::new(),
            challenge: None,
            uses: 0,
            count: 0,
        }
    }

    /// Takes what was sent to it.
    pub fn receive(&mut self, bytes: Vec<u8>) {
        self.inbox.truncate(MEMORY - 1);
        self.inbox.push_front(bytes);
    }

    /// Takes a challenge, if the newest message is one.
    pub fn is_challenged(&mut self) -> bool {
        let Some(message) = self.inbox.front().and_then(|bytes| Message::parse(bytes).ok()) else {
            return false;
        };
        let text = message.bytes();
        let nonce = super::world::find(text, b"nonce=\"").map(|at| &text[at + 7..]);
        let nonce = nonce.and_then(|text| text.split(|b| *b == b'"').next());
        let (Some(401 | 407), Some(nonce), Some(_)) = (message.status(), nonce, &self.password) else {
            return false;
        };
        let strong = super::world::find(text, b"SHA-256").is_some();
        let algorithm = if strong { Algorithm::Sha256 } else { Algorithm::Md5 };
        self.challenge = Some((nonce.to_vec(), algorithm));
        self.uses = 0;
        true
    }

    /// The same request with credentials behind its first line, if the peer has a password and was
    /// challenged.
    pub fn authorized(&mut self, request: &[u8], realm: &str) -> Vec<u8> {
        let (Some(password), Some((nonce, algorithm))) = (&self.password, &self.challenge) else {
            return request.to_vec();
        };
        let Some(end) = request.iter().position(|&b| b == b'\n').map(|at| at + 1) else {
            return request.to_vec();
        };
        let method = request[..end].split(|&b| b == b' ').next().unwrap();
        self.uses += 1;
        let count = format!("{:08x}", self.uses);
        let ha1 = Ha1::new(self.number.as_bytes(), realm.as_bytes(), password.as_bytes());
        let qop = Qop::Auth { nc: self.uses, nc_raw: count.as_bytes(), cnonce: b"c" };
        let response = respond(*algorithm, &ha1, method, b"sip:x", nonce, &qop).unwrap();
        let name = if method == b"REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        let algorithm = if *algorithm == Algorithm::Md5 { "MD5" } else { "SHA-256" };
        let (number, nonce) = (self.number, String::from_utf8_lossy(nonce));
        let line = format!(
            "{name}: Digest username=\"{number}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"sip:x\",\
             algorithm={algorithm},qop=auth,nc={count},cnonce=\"c\",response=\"{response}\"\r\n"
        );
        [&request[..end], line.as_bytes(), &request[end..]].concat()
    }

    /// The address that it writes into its messages.
    pub fn host(&self) -> SocketAddr {
        self.flow.remote
    }

    fn via(&mut self) -> String {
        self.count += 1;
        let (transport, host) = (self.flow.transport.to_string().to_ascii_uppercase(), self.host());
        format!("Via: SIP/2.0/{transport} {host};branch=z9hG4bK{}x{};rport\r\n", self.number, self.count)
    }

    /// A request outside of dialogs.
    pub fn request(&mut self, request: &Request<'_>) -> Vec<u8> {
        let via = self.via();
        let Request { method, uri, to, headers, body } = request;
        let (number, count, host) = (self.number, self.count, self.host());
        let head = format!(
            "{method} {uri} SIP/2.0\r\n{via}Max-Forwards: 70\r\nFrom: <sip:{number}@{DOMAIN}>;tag=f{count}\r\n\
             To: {to}\r\nCall-ID: {count}@{host}\r\nCSeq: {count} {method}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.as_bytes(), body].concat();
        if *method == "INVITE" {
            self.invite.clone_from(&bytes);
        }
        bytes
    }

    /// A response to one of the requests that it was sent; `None` if that is none.
    pub fn response(&self, request: &[u8], status: u16, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
        let request = Message::parse(request).ok().filter(|message| message.method().is_some())?;
        let mut out = format!("SIP/2.0 {status} As it likes\r\n").into_bytes();
        let mut line = |name: &str, value: &[u8], tag: &str| {
            out.extend([name.as_bytes(), b": ", value, tag.as_bytes(), b"\r\n"].concat());
        };
        request.list(Name::Via).for_each(|via| line("Via", via, ""));
        request.values(Name::RecordRoute).for_each(|route| line("Record-Route", route, ""));
        let tag = match request.to_tag().is_empty() && status > 100 {
            true => format!(";tag=t{}", self.number),
            false => String::new(),
        };
        line("From", request.first(Name::From)?, "");
        line("To", request.first(Name::To)?, &tag);
        line("Call-ID", request.call_id(), "");
        line("CSeq", request.first(Name::CSeq)?, "");
        out.extend_from_slice(headers.as_bytes());
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
        Some(out)
    }

    /// A request inside the dialog that a message speaks of: a response to its own INVITE, or an
    /// INVITE that it was sent.
    pub fn inside(&mut self, of: &[u8], method: &str, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
        let of = Message::parse(of).ok()?;
        let (from, to) = (of.first(Name::From)?, of.first(Name::To)?);
        let contact = of.first(Name::Contact).and_then(denwa::sip::NameAddr::parse).map(|c| c.uri);
        let mut routes: Vec<&[u8]> = of.list(Name::RecordRoute).collect();
        let (local, remote, tag) = match of.status() {
            Some(_) => (from, to, String::new()),
            None if of.to_tag().is_empty() => (to, from, format!(";tag=t{}", self.number)),
            None => (to, from, String::new()),
        };
        if of.status().is_some() {
            routes.reverse();
        }
        let via = self.via();
        let cseq = match method {
            "ACK" => of.cseq()?.number,
            _ => 1000 + self.count,
        };
        let mut out = [method.as_bytes(), b" ", contact.unwrap_or(b"sip:x"), b" SIP/2.0\r\n"].concat();
        out.extend_from_slice(via.as_bytes());
        for route in routes {
            out.extend([b"Route: ", route, b"\r\n"].concat());
        }
        out.extend([b"From: ", local, tag.as_bytes(), b"\r\nTo: ", remote, b"\r\n"].concat());
        out.extend([b"Call-ID: ", of.call_id(), b"\r\n"].concat());
        let length = body.len();
        let rest =
            format!("CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{headers}Content-Length: {length}\r\n\r\n");
        out.extend_from_slice(rest.as_bytes());
        out.extend_from_slice(body);
        Some(out)
    }

    /// The CANCEL of its last INVITE.
    pub fn cancel(&self) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.invite);
        let head = text.split("\r\n\r\n").next().unwrap_or_default().replace("INVITE", "CANCEL");
        let keep = |line: &&str| !line.starts_with("Content-") && !line.starts_with("Proxy-Auth");
        let lines: Vec<&str> = head.split("\r\n").filter(keep).collect();
        format!("{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    /// A session description of this peer's.
    pub fn sdp(&self, kind: u8) -> Vec<u8> {
        let (ip, port) = (self.flow.remote.ip(), 30_000 + u16::from(kind) * 4);
        let family = if ip.is_ipv6() { "IP6" } else { "IP4" };
        let session =
            format!("v=0\r\no=- {port} {kind} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n");
        let media = match kind % 6 {
            0 | 1 => format!("m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"),
            2 => format!("m=audio {port} RTP/AVP 0\r\na=sendonly\r\nm=video {} RTP/AVP 31\r\n", port + 2),
            3 => format!("m=audio {port} RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n"),
            4 => format!("m=image {port} udptl t38\r\nm=audio 0 RTP/AVP 0\r\n"),
            _ => format!("m=audio {port} RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=rtcp-mux\r\n"),
        };
        (session + &media).into_bytes()
    }
}

/// How all passwords begin.
pub const PASSWORDS: &[u8] = b"correct-horse-battery-";

/// The password of an extension.
pub fn password(number: &str) -> String {
    format!("{}{number}", String::from_utf8_lossy(PASSWORDS))
}

//! A telephone with one line, by UDP.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::credentials::credentials;
use crate::program::{Program, SOON};

pub(crate) const PASSWORD: &str = "a-long-password";

pub(crate) struct Phone {
    pub(crate) socket: UdpSocket,
    pub(crate) rtp: UdpSocket,
    server: SocketAddr,
    pub(crate) number: &'static str,
    password: &'static str,
    pub(crate) domain: &'static str,
    sent: u32,
    port: u16,
}

/// The sound that a phone offers, encrypted, so that there is a key.
const CRYPTO: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0LWtleS1vZi10aGUtc291bmQ=";

impl Phone {
    pub(crate) fn new(number: &'static str, program: &Program) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let port = socket.local_addr().unwrap().port();
        Phone { socket, rtp, server: program.at, number, password: PASSWORD, domain: "denwa", sent: 0, port }
    }

    pub(crate) fn with_password(self, password: &'static str) -> Phone {
        Phone { password, ..self }
    }

    pub(crate) fn with_domain(self, domain: &'static str) -> Phone {
        Phone { domain, ..self }
    }

    /// What comes next, unless it is OPTIONS, which is answered; `None` if nothing comes in time.
    pub(crate) fn hear(&self) -> Option<String> {
        let mut buffer = [0; 4_000];
        loop {
            let length = self.socket.recv(&mut buffer).ok()?;
            let heard = String::from_utf8_lossy(&buffer[..length]).into_owned();
            match heard.starts_with("OPTIONS ") {
                true => self.answer(&heard, "200 OK", ""),
                false => return Some(heard),
            }
        }
    }

    /// Waits for OPTIONS, and answers.
    pub(crate) fn is_asked_whether_it_is_there(&self) {
        let mut buffer = [0; 4_000];
        let length = self.socket.recv(&mut buffer).unwrap();
        let heard = String::from_utf8_lossy(&buffer[..length]);
        assert!(heard.starts_with("OPTIONS "), "{heard}");
        self.answer(&heard, "200 OK", "");
    }

    /// Answers a request.
    pub(crate) fn answer(&self, request: &str, status: &str, rest: &str) {
        let copied = ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines = request.split_inclusive("\r\n");
        let lines = lines.filter(|line| copied.iter().any(|name| line.starts_with(name)));
        let tagged = |line: &str| match line.starts_with("To:") && !line.contains("tag=") {
            true => line.replace("\r\n", ";tag=answered\r\n"),
            false => line.to_owned(),
        };
        let (number, at) = (self.number, self.socket.local_addr().unwrap());
        let rest = match rest {
            "" => "Content-Length: 0\r\n\r\n".to_owned(),
            body => format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        };
        let lines: String = lines.map(tagged).collect();
        let response = format!("SIP/2.0 {status}\r\n{lines}Contact: <sip:{number}@{at}>\r\n{rest}");
        self.socket.send_to(response.as_bytes(), self.server).unwrap();
    }

    /// A session description.
    pub(crate) fn offer(&self) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 8 101\r\n{CRYPTO}\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
    }

    /// Sends a request, and again with credentials; returns the answer to that which is no `100 Trying`, if
    /// there is one.
    pub(crate) fn ask(&mut self, method: &str, to: &str, headers: &str, body: &str) -> Option<String> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let (at, number, domain) = (self.socket.local_addr().unwrap(), self.number, self.domain);
        let uri = if method == "REGISTER" { format!("sip:{domain}") } else { format!("sip:{to}@{domain}") };
        let mut proof = String::new();
        loop {
            self.sent += 1;
            let sequence = self.sent;
            let request = format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{number}-{sequence}-{call};rport\r\n\
                 From: <sip:{number}@{domain}>;tag={number}\r\nTo: <sip:{to}@{domain}>\r\nCall-ID: {call}-{port}\r\n\
                 CSeq: {sequence} {method}\r\nContact: <sip:{number}:s3cr3t@{at}>\r\nMax-Forwards: 70\r\n\
                 User-Agent: a telephone {much}\r\n{headers}{proof}Content-Length: {length}\r\n\r\n{body}",
                port = self.port,
                much = "that has a long name ".repeat(8),
                length = body.len(),
            );
            self.socket.send_to(request.as_bytes(), self.server).unwrap();
            let mine = format!("CSeq: {sequence} {method}\r\n");
            let answer = loop {
                let heard = self.hear()?;
                if heard.contains(&mine) && !heard.starts_with("SIP/2.0 1") {
                    break heard;
                }
            };
            let is_challenge = ["SIP/2.0 401", "SIP/2.0 407"].iter().any(|code| answer.starts_with(code));
            if !is_challenge || !proof.is_empty() {
                return Some(answer);
            }
            proof = credentials(number, self.password, &answer, method, &uri);
        }
    }

    /// Registers, and says what came back.
    pub(crate) fn registers(&mut self) -> Option<String> {
        self.ask("REGISTER", self.number, "Expires: 600\r\n", "")
    }

    pub(crate) fn register(&mut self) {
        let answer = self.registers().unwrap();
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }

    /// Calls a number with an offer of sound, and says what came back; a 2xx is acknowledged.
    pub(crate) fn call(&mut self, to: &str) -> String {
        let offer = self.offer();
        let answer = self.ask("INVITE", to, "Content-Type: application/sdp\r\n", &offer).unwrap();
        if answer.starts_with("SIP/2.0 200") {
            self.acknowledge(&answer);
        }
        answer
    }

    fn acknowledge(&self, answer: &str) {
        let line = |name: &str| {
            let line = answer.split("\r\n").find(|line| line.starts_with(name)).unwrap_or_default();
            line.get(name.len()..).unwrap_or_default().trim().to_owned()
        };
        let target = line("Contact:").split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned();
        let route = match line("Record-Route:") {
            route if route.is_empty() => String::new(),
            route => format!("Route: {route}\r\n"),
        };
        let sequence = line("CSeq:").replace(" INVITE", "");
        let ack = format!(
            "ACK {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-ack-{sequence};rport\r\n{route}From: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {sequence} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            at = self.socket.local_addr().unwrap(),
            from = line("From:"),
            to = line("To:"),
            call_id = line("Call-ID:"),
        );
        self.socket.send_to(ack.as_bytes(), self.server).unwrap();
    }

    /// Sends so many packets of sound to where an answer wants them, and hears what comes back.
    pub(crate) fn talk(&self, answer: &str, packets: u16) {
        let (_, port) = answer.split_once("m=audio ").unwrap();
        let port: u16 = port.split_once(' ').unwrap().0.parse().unwrap();
        for n in 0..packets {
            let mut packet = [0; 172];
            packet[..2].copy_from_slice(&[0x80, 8]);
            packet[2..4].copy_from_slice(&n.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(n) * 160).to_be_bytes());
            self.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

//! A telephone that calls and is called, by UDP or TCP, and that speaks.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::credentials::credentials;
use crate::program::{Program, SOON};

pub(crate) const PASSWORD: &str = "a-long-password";

/// By what it speaks SIP.
enum Line {
    Udp(UdpSocket),
    /// With what has come and is no whole message yet.
    Tcp(TcpStream, Vec<u8>),
}

pub(crate) struct Phone {
    number: &'static str,
    server: SocketAddr,
    line: Line,
    sound: UdpSocket,
    /// The address that it writes into its session descriptions.
    writes: Ipv4Addr,
    registration: Dialog,
}

/// A dialog as one of its phones sees it, or what will become one.
#[derive(Clone)]
pub(crate) struct Dialog {
    /// From in its own requests.
    own: String,
    /// To in its own requests.
    other: String,
    call_id: String,
    target: String,
    /// A header line, or nothing.
    route: String,
    /// The CSeq number of its last request.
    sequence: u32,
}

impl Dialog {
    /// One with a number that has not begun.
    fn new(own: &str, other: &str, target: String) -> Dialog {
        static MADE: AtomicU32 = AtomicU32::new(1);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        Dialog {
            own: format!("<sip:{own}@denwa>;tag=own{made}"),
            other: format!("<sip:{other}@denwa>"),
            call_id: format!("call-{made}"),
            target,
            route: String::new(),
            sequence: 0,
        }
    }

    /// What a 2xx makes of it.
    fn confirmed(&mut self, answer: &str) {
        self.other = header(answer, "To").to_owned();
        self.learn(answer);
    }

    /// The one that a request opens, for who answers it with this To.
    fn answered(request: &str, to: &str) -> Dialog {
        let mut dialog = Dialog {
            own: to.to_owned(),
            other: header(request, "From").to_owned(),
            call_id: header(request, "Call-ID").to_owned(),
            target: String::new(),
            route: String::new(),
            sequence: 0,
        };
        dialog.learn(request);
        dialog
    }

    /// Where the other one is.
    fn learn(&mut self, message: &str) {
        let (_, contact) = header(message, "Contact").split_once('<').unwrap();
        self.target = contact.split_once('>').unwrap().0.to_owned();
        self.route = match header(message, "Record-Route") {
            "" => String::new(),
            route => format!("Route: {route}\r\n"),
        };
    }
}

/// The value of a header, or nothing.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find_map(|(title, value)| (title == name).then_some(value)).unwrap_or_default()
}

/// Where a session description wants sound.
pub(crate) fn audio(message: &str) -> SocketAddr {
    let value = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let port = value("m=audio ").split(' ').next().unwrap();
    SocketAddr::new(value("c=IN IP4 ").parse().unwrap(), port.parse().unwrap())
}

impl Phone {
    pub(crate) fn udp(number: &'static str, program: &Program) -> Phone {
        Phone::at(Ipv4Addr::LOCALHOST, number, program)
    }

    /// One at an address.
    pub(crate) fn at(own: Ipv4Addr, number: &'static str, program: &Program) -> Phone {
        let line = UdpSocket::bind((own, 0)).unwrap();
        line.set_read_timeout(Some(SOON)).unwrap();
        Phone::new(own, number, program, Line::Udp(line))
    }

    pub(crate) fn tcp(number: &'static str, program: &Program) -> Phone {
        Phone::new(Ipv4Addr::LOCALHOST, number, program, Phone::connection(program.at))
    }

    fn new(own: Ipv4Addr, number: &'static str, program: &Program, line: Line) -> Phone {
        let sound = UdpSocket::bind((own, 0)).unwrap();
        sound.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let registration = Dialog::new(number, number, "sip:denwa".to_owned());
        Phone { number, server: program.at, line, sound, writes: own, registration }
    }

    /// The same one, which writes another address into its session descriptions.
    pub(crate) fn that_writes(self, writes: Ipv4Addr) -> Phone {
        Phone { writes, ..self }
    }

    fn connection(server: SocketAddr) -> Line {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Line::Tcp(stream, Vec::new())
    }

    /// Connects anew: what was there is lost.
    pub(crate) fn reconnect(&mut self) {
        drop(self.connect_besides());
    }

    /// Goes on by another connection; returns the one of before, which stands.
    pub(crate) fn connect_besides(&mut self) -> Option<TcpStream> {
        match std::mem::replace(&mut self.line, Phone::connection(self.server)) {
            Line::Tcp(stream, _) => Some(stream),
            Line::Udp(_) => None,
        }
    }

    /// Sends a message.
    fn say(&mut self, message: &str) {
        match &mut self.line {
            Line::Udp(socket) => drop(socket.send_to(message.as_bytes(), self.server).unwrap()),
            Line::Tcp(stream, _) => stream.write_all(message.as_bytes()).unwrap(),
        }
    }

    /// The next message.
    fn hear(&mut self) -> String {
        let mut buffer = [0; 4_000];
        match &mut self.line {
            Line::Udp(socket) => {
                let length = socket.recv(&mut buffer).expect("nothing is heard");
                String::from_utf8_lossy(&buffer[..length]).into_owned()
            }
            Line::Tcp(stream, rest) => loop {
                let text = String::from_utf8_lossy(rest).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length: usize = header(&text, "Content-Length").parse().unwrap();
                    if body.len() >= length {
                        let whole = head.len() + 4 + length;
                        rest.drain(..whole);
                        return text[..whole].to_owned();
                    }
                }
                let length = stream.read(&mut buffer).expect("nothing is heard");
                assert!(length > 0, "{} has lost its connection", self.number);
                rest.extend_from_slice(&buffer[..length]);
            },
        }
    }

    /// The next message that begins so; others, repetitions perhaps, are let pass.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let until = Instant::now() + SOON;
        let mut before = Vec::new();
        while Instant::now() < until {
            let heard = self.hear();
            if heard.starts_with(start) {
                return heard;
            }
            before.push(heard);
        }
        panic!("{} does not hear {start}, but {before:#?}", self.number);
    }

    fn contact(&self) -> String {
        match &self.line {
            Line::Udp(socket) => format!("<sip:{}@{}>", self.number, socket.local_addr().unwrap()),
            Line::Tcp(stream, _) => {
                format!("<sip:{}@{};transport=tcp>", self.number, stream.local_addr().unwrap())
            }
        }
    }

    /// Sends a request in a dialog: a new one, or an ACK to the last.
    fn request(&mut self, dialog: &mut Dialog, method: &str, headers: &str, body: &str) {
        if method != "ACK" {
            dialog.sequence += 1;
        }
        let (transport, at) = match &self.line {
            Line::Udp(socket) => ("UDP", socket.local_addr().unwrap()),
            Line::Tcp(stream, _) => ("TCP", stream.local_addr().unwrap()),
        };
        let Dialog { own, other, call_id, target, route, sequence } = &*dialog;
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let request = format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {at};branch=z9hG4bK-{method}-{sequence}-{call_id};rport\r\n\
             {route}From: {own}\r\nTo: {other}\r\nCall-ID: {call_id}\r\nCSeq: {sequence} {method}\r\n\
             Contact: {contact}{instance}\r\nMax-Forwards: 70\r\nUser-Agent: a telephone {much}\r\n{headers}{kind}\
             Content-Length: {length}\r\n\r\n{body}",
            contact = self.contact(),
            // By which a phone is the same one wherever it connects from (RFC 5626 §4.1).
            instance = match method {
                "REGISTER" =>
                    format!(";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{:0>12}>\"", self.number),
                _ => String::new(),
            },
            much = "that has a long name ".repeat(8),
            length = body.len(),
        );
        self.say(&request);
    }

    /// Sends a request, and again with credentials if they are asked for; returns when it is under way.
    fn ask(&mut self, dialog: &mut Dialog, method: &str, headers: &str, body: &str) {
        self.request(dialog, method, headers, body);
        let challenge = self.expect("SIP/2.0 40");
        if method == "INVITE" {
            self.acknowledge(dialog, &challenge);
        }
        let credentials = credentials(self.number, PASSWORD, &challenge, method, &dialog.target);
        self.request(dialog, method, &format!("{headers}{credentials}"), body);
    }

    pub(crate) fn register(&mut self) {
        self.asks_to_register();
        self.expect("SIP/2.0 200");
    }

    /// Registers, and has not heard yet that it is.
    pub(crate) fn asks_to_register(&mut self) {
        let mut registration = self.registration.clone();
        self.ask(&mut registration, "REGISTER", "Expires: 600\r\n", "");
        self.registration = registration;
    }

    /// A session description; its direction is a word such as `sendrecv`.
    fn description(&self, direction: &str) -> String {
        let (ip, port) = (self.writes, self.sound.local_addr().unwrap().port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a={direction}\r\n"
        )
    }

    /// Begins to call a number.
    pub(crate) fn dial(&mut self, number: &str) -> Dialog {
        let mut dialog = Dialog::new(self.number, number, format!("sip:{number}@denwa"));
        let offer = self.description("sendrecv");
        self.ask(&mut dialog, "INVITE", "", &offer);
        dialog
    }

    /// Waits until its call is answered, and acknowledges that; says where sound is to be sent.
    pub(crate) fn is_answered(&mut self, dialog: &mut Dialog) -> SocketAddr {
        let answer = self.expect("SIP/2.0 200");
        dialog.confirmed(&answer);
        self.request(dialog, "ACK", "", "");
        audio(&answer)
    }

    /// Answers a request; with which To, tag and all.
    pub(crate) fn answer(&mut self, request: &str, status: &str, body: &str) -> String {
        let to = match header(request, "To") {
            to if to.contains(";tag=") => to.to_owned(),
            to => format!("{to};tag=other"),
        };
        let copied = ["Via", "Record-Route", "From", "Call-ID", "CSeq"];
        let lines: String = request
            .split_inclusive("\r\n")
            .filter(|line| copied.iter().any(|name| line.starts_with(&format!("{name}: "))))
            .collect();
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let answer = format!(
            "SIP/2.0 {status}\r\n{lines}To: {to}\r\nContact: {}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.contact(),
            body.len()
        );
        self.say(&answer);
        to
    }

    /// Takes a call; says where sound is to be sent.
    pub(crate) fn accepts(&mut self, invite: &str) -> (Dialog, SocketAddr) {
        let answer = self.description("sendrecv");
        let to = self.answer(invite, "200 OK", &answer);
        (Dialog::answered(invite, &to), audio(invite))
    }

    /// Says once more in a dialog what is to be heard, and in which direction; the other one agrees.
    pub(crate) fn changes(&mut self, dialog: &mut Dialog, direction: &str, other: &mut Phone, agreed: &str) {
        let offer = self.description(direction);
        self.request(dialog, "INVITE", "", &offer);
        let invite = other.expect("INVITE ");
        assert!(invite.contains(&format!("a={direction}\r\n")), "{invite}");
        let answer = other.description(agreed);
        other.answer(&invite, "200 OK", &answer);
        let answer = self.expect("SIP/2.0 200");
        assert!(answer.contains(&format!("a={agreed}\r\n")), "{answer}");
        self.request(dialog, "ACK", "", "");
        other.expect("ACK ");
    }

    /// Hangs up; denwa answers for itself.
    pub(crate) fn hangs_up(&mut self, dialog: &mut Dialog) {
        self.request(dialog, "BYE", "", "");
        self.is_heard("BYE");
    }

    /// Hangs up, and the other one hears of it.
    pub(crate) fn hangs_up_to(&mut self, dialog: &mut Dialog, other: &mut Phone) {
        self.request(dialog, "BYE", "", "");
        let bye = other.expect("BYE ");
        other.answer(&bye, "200 OK", "");
        self.is_heard("BYE");
    }

    /// Waits for the 200 to a request.
    fn is_heard(&mut self, method: &str) {
        let answer = self.expect("SIP/2.0 200");
        assert!(header(&answer, "CSeq").ends_with(method), "{answer}");
    }

    /// Waits for a final response that refuses its INVITE.
    pub(crate) fn is_refused(&mut self, dialog: &Dialog, status: &str) {
        let answer = self.expect(&format!("SIP/2.0 {status}"));
        self.acknowledge(dialog, &answer);
    }

    /// Acknowledges a refusal, as RFC 3261 §17.1.1.3 says.
    fn acknowledge(&mut self, dialog: &Dialog, refusal: &str) {
        let Dialog { own, call_id, target, sequence, .. } = dialog;
        let (via, to) = (header(refusal, "Via"), header(refusal, "To"));
        self.say(&format!(
            "ACK {target} SIP/2.0\r\nVia: {via}\r\nFrom: {own}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {sequence} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ));
    }

    /// Where its sound comes from.
    pub(crate) fn mouth(&self) -> SocketAddr {
        self.sound.local_addr().unwrap()
    }

    /// Sends a packet of sound with this SSRC and number.
    pub(crate) fn speaks(&self, relay: SocketAddr, ssrc: u32, number: u16) {
        speak(&self.sound, relay, ssrc, number);
    }

    /// All packets of sound that have come, and for 5 ms: whence, by whom, which number.
    pub(crate) fn listens(&self) -> Vec<(SocketAddr, u32, u16)> {
        let mut heard = Vec::new();
        let mut buffer = [0; 300];
        while let Ok((length, from)) = self.sound.recv_from(&mut buffer) {
            assert_eq!(length, 172);
            let ssrc = u32::from_be_bytes(buffer[8..12].try_into().unwrap());
            heard.push((from, ssrc, u16::from_be_bytes(buffer[2..4].try_into().unwrap())));
        }
        heard
    }
}

/// Sends a packet with 20 ms of sound.
pub(crate) fn speak(from: &UdpSocket, to: SocketAddr, ssrc: u32, number: u16) {
    let mut packet = [0xd5; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    from.send_to(&packet, to).unwrap();
}

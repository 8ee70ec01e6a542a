//! Phones that call each other by a switch, as fast as it can be.

use std::net::SocketAddr;

use denwa::journal::Record;
use denwa::media;
use denwa::switch::{Flow, Input, Instant, Output, StreamId, Switch, Transport};

use crate::credentials::credentials;
use crate::{PASSWORD, number};

/// A switch with phones, and what it puts on record.
pub(crate) struct Town {
    pub(crate) switch: Switch,
    now: Instant,
    serial: u64,
    /// Of each input, the records that it made; those that made none are not here.
    pub(crate) batches: Vec<Vec<Record>>,
}

/// A call that is up.
pub(crate) struct Talk {
    /// Which phones.
    caller: u64,
    callee: u64,
    /// The 2xx, as the caller got it.
    ok: String,
}

/// Where a phone is.
pub(crate) fn address(id: u64) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 1_024 + id as u16))
}

fn flow(id: u64) -> Flow {
    let local = SocketAddr::from(([192, 0, 2, 1], 5060));
    Flow { transport: Transport::Udp, local, remote: address(id), stream: StreamId(0) }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find_map(|(title, value)| (title == name).then_some(value)).unwrap()
}

/// A session description as a desk phone writes it.
fn description(id: u64) -> String {
    format!(
        "v=0\r\no=- 3986 3986 IN IP4 198.51.100.7\r\ns=call\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
         m=audio {} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n",
        20_000 + id
    )
}

const SDP: &str = "Content-Type: application/sdp\r\n";

impl Town {
    pub(crate) fn new(switch: Switch, now: Instant) -> Town {
        Town { switch, now, serial: 0, batches: Vec::new() }
    }

    /// A phone says something; what everybody is told then.
    fn say(&mut self, id: u64, text: &str) -> Vec<String> {
        self.handle(Input::Packet { flow: flow(id), bytes: text.as_bytes() })
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<String> {
        self.now.0 += 1;
        self.switch.handle(self.now, input);
        let (mut sent, mut records, mut closed) = (Vec::new(), Vec::new(), None);
        while let Some(output) = self.switch.poll() {
            match output {
                Output::Record(record) => records.push(record),
                Output::Send(_, bytes) => sent.push(String::from_utf8_lossy(&bytes).into_owned()),
                Output::Media(media::Command::Close { session }) => closed = Some(session),
                Output::Media(_)
                | Output::Close(_)
                | Output::Locate { .. }
                | Output::Connect { .. }
                | Output::Event(_) => {}
            }
        }
        if !records.is_empty() {
            self.batches.push(records);
        }
        if let Some(session) = closed {
            let (a, b) = Default::default();
            self.handle(Input::Media(media::Event::Closed { session, a, b }));
        }
        sent
    }

    /// Answers a request.
    fn answer(&mut self, id: u64, request: &str, status: &str, more: &str, body: &str) -> Vec<String> {
        let copied = ["Via: ", "Record-Route: ", "From: ", "To: ", "Call-ID: ", "CSeq: "];
        let lines = request.split_inclusive("\r\n");
        let lines = lines.filter(|line| copied.iter().any(|name| line.starts_with(name)));
        let tagged = |line: &str| match line.starts_with("To: ") && !line.contains(";tag=") {
            true => line.replace("\r\n", ";tag=callee-8f2e9a4c\r\n"),
            false => line.to_owned(),
        };
        let lines: String = lines.map(tagged).collect();
        let (number, at, length) = (number(id), address(id), body.len());
        let answer = format!(
            "SIP/2.0 {status}\r\n{lines}Contact: <sip:{number}@{at}>\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        );
        self.say(id, &answer)
    }

    /// A phone calls another one, which rings and answers.
    pub(crate) fn call(&mut self, caller: u64, callee: u64) -> Talk {
        self.serial += 1;
        let (serial, from, to, at) = (self.serial, number(caller), number(callee), address(caller));
        let (uri, offer) = (format!("sip:{to}@192.0.2.1"), description(caller));
        let invite = |sequence: u32, more: &str| {
            format!(
                "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{serial}-{sequence};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{from}@192.0.2.1>;tag=caller-{serial}\r\nTo: <{uri}>\r\n\
                 Call-ID: {serial:032x}@198.51.100.7\r\nCSeq: {sequence} INVITE\r\nContact: <sip:{from}@{at}>\r\n\
                 User-Agent: a telephone\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY\r\n\
                 Supported: replaces, timer\r\n{more}{SDP}Content-Length: {}\r\n\r\n{offer}",
                offer.len()
            )
        };
        let challenge = self.say(caller, &invite(1, "")).remove(0);
        let proof = credentials(&from, PASSWORD, &challenge, "INVITE", &uri);
        let sent = self.say(caller, &invite(2, &proof));
        let rung =
            sent.iter().find(|message| message.starts_with("INVITE ")).unwrap_or_else(|| panic!("{sent:?}"));
        self.answer(callee, rung, "180 Ringing", "", "");
        let sent = self.answer(callee, rung, "200 OK", SDP, &description(callee));
        let ok = sent.into_iter().find(|message| message.starts_with("SIP/2.0 200")).unwrap();
        let talk = Talk { caller, callee, ok };
        let sent = self.in_dialog(&talk, "ACK", 2);
        assert!(sent[0].starts_with("ACK "), "{sent:?}");
        talk
    }

    /// The caller hangs up.
    pub(crate) fn hang_up(&mut self, talk: &Talk) {
        let sent = self.in_dialog(talk, "BYE", 3);
        let bye = sent.iter().find(|message| message.starts_with("BYE ")).unwrap();
        let sent = self.answer(talk.callee, bye, "200 OK", "", "");
        assert!(sent[0].starts_with("SIP/2.0 200"), "{sent:?}");
    }

    /// Time passes, until all transactions are over.
    pub(crate) fn forget(&mut self) {
        let until = Instant(self.now.0 + 60_000);
        while let Some(due) = self.switch.deadline().filter(|due| *due < until) {
            self.now = self.now.max(due);
            self.handle(Input::Tick);
        }
    }

    fn in_dialog(&mut self, talk: &Talk, method: &str, sequence: u32) -> Vec<String> {
        let Talk { caller, ok, .. } = talk;
        let (_, contact) = header(ok, "Contact").split_once('<').unwrap();
        let target = contact.split_once('>').unwrap().0;
        let request = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{method}-{serial};rport\r\n\
             Max-Forwards: 70\r\nRoute: {route}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n",
            at = address(*caller),
            serial = header(ok, "Call-ID"),
            route = header(ok, "Record-Route"),
            from = header(ok, "From"),
            to = header(ok, "To"),
            call_id = header(ok, "Call-ID"),
        );
        self.say(*caller, &request)
    }
}

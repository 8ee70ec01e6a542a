//! One who asks and takes the time: REGISTER after REGISTER, each a request of its own.

use crate::message::Message;
use crate::phones::DOMAIN;
use crate::sys::{Inbox, roomy_socket};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A server that is silent for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Who asks.
pub(crate) struct Probe {
    socket: UdpSocket,
    address: SocketAddr,
    inbox: Inbox,
    serial: u64,
    text: String,
}

/// When a request left and when it was answered, if it was.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    pub(crate) sent: Instant,
    pub(crate) answered: Option<Instant>,
}

impl Probe {
    /// One at `address` who asks `server`.
    pub(crate) fn new(server: SocketAddr, address: SocketAddr) -> Result<Probe, String> {
        let open = || {
            let socket = roomy_socket(address)?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = open().map_err(|e| format!("probe: {e}"))?;
        Ok(Probe { socket, address, inbox: Inbox::default(), serial: 0, text: String::new() })
    }

    /// Asks once and waits for the answer; gives what `read` reads in it, and how long it took in ns.
    pub(crate) fn ask<T>(
        &mut self,
        name: &str,
        credentials: Option<&str>,
        read: impl FnOnce(&Message<'_>) -> Result<T, String>,
    ) -> Result<(u64, T), String> {
        self.write(name, credentials);
        let begun = Instant::now();
        self.socket.send(self.text.as_bytes()).map_err(|e| format!("probe: {e}"))?;
        loop {
            let received = self.inbox.receive(&self.socket).map_err(|e| format!("probe: {e}"))?;
            let time = begun.elapsed();
            for i in 0..received {
                let message = Message::read(self.inbox.datagram(i))?;
                if message.get("Call-ID")?.parse() == Ok(self.serial) && message.status != Some(100) {
                    return Ok((time.as_nanos() as u64, read(&message)?));
                }
            }
            if time > PATIENCE {
                return Err(format!("no answer to REGISTER for {name} in {PATIENCE:?}"));
            }
        }
    }

    /// Asks once each `pace` for `time`, whatever comes back, and waits a little longer. After a quarter of it, calls
    /// `strike`.
    pub(crate) fn ask_through(
        &mut self,
        name: &str,
        pace: Duration,
        time: Duration,
        strike: impl FnOnce(),
    ) -> Result<Vec<Question>, String> {
        let mut questions: Vec<Question> = Vec::new();
        let mut numbers: HashMap<u64, usize> = HashMap::new();
        let mut strike = Some(strike);
        let begun = Instant::now();
        while begun.elapsed() < time + PATIENCE / 4 {
            let now = begun.elapsed();
            if now > time / 4
                && let Some(strike) = strike.take()
            {
                strike();
            }
            if now < time && now >= pace * questions.len() as u32 {
                self.write(name, None);
                numbers.insert(self.serial, questions.len());
                // Whether it came there is seen by the answer.
                let _ = self.socket.send(self.text.as_bytes());
                questions.push(Question { sent: Instant::now(), answered: None });
            }
            let received = self.inbox.receive(&self.socket).map_err(|e| format!("probe: {e}"))?;
            let came = Instant::now();
            for i in 0..received {
                let message = Message::read(self.inbox.datagram(i))?;
                let serial: Option<u64> = message.get("Call-ID")?.parse().ok();
                let question = serial.and_then(|serial| questions.get_mut(*numbers.get(&serial)?));
                if let Some(question) = question {
                    question.answered.get_or_insert(came);
                }
            }
        }
        Ok(questions)
    }

    /// Writes the next request. It is as long for any name of the same length, and longer than its answer,
    /// so that a stranger may be answered.
    fn write(&mut self, name: &str, credentials: Option<&str>) {
        self.serial += 1;
        let (serial, at) = (self.serial, self.address);
        self.text.clear();
        let _ = write!(
            self.text,
            "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {at};branch=z9hG4bKprobe{serial:08};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{name}@{DOMAIN}>;tag=p{serial:08}\r\n\
             To: <sip:{name}@{DOMAIN}>\r\n\
             Call-ID: {serial:08}\r\n\
             CSeq: 1 REGISTER\r\n\
             Contact: <sip:{name}@{at}>\r\n\
             Expires: 3600\r\n\
             User-Agent: somebody who wants to know which extensions there are\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK\r\n\
             Supported: replaces, timer, path, gruu, outbound\r\n"
        );
        if let Some(credentials) = credentials {
            let _ = write!(self.text, "Authorization: {credentials}\r\n");
        }
        self.text.push_str("Content-Length: 0\r\n\r\n");
    }
}

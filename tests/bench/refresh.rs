//! Phones that register again and again, at a steady pace and as RFC 3261 says: with a challenge each time,
//! and with repetitions (§17.1.2.2, Timer E) where no answer comes.

use crate::message::{Challenge, Message};
use crate::phones::{DOMAIN, password, user};
use crate::sys::{BATCH, Inbox, Outbox, realtime, roomy_socket};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};

/// The first wait for an answer, in ns; doubled each time (RFC 3261 §17.1.1.1).
const T1: u64 = 500_000_000;
/// When a phone gives up and counts as not answered: it has repeated its request twice by then.
const PATIENCE: u64 = 7 * T1;
/// More than it takes until the first phone is known, and the others no strangers any more.
const SETTLING: u64 = 60_000_000_000;

/// Some phones on one socket.
pub(crate) struct Refresh {
    server: SocketAddr,
    socket: UdpSocket,
    address: SocketAddr,
    inbox: Inbox,
    outbox: Outbox,
    first_user: usize,
    phones: Vec<Phone>,
    /// When a phone asks again, if its request is still the one of this CSeq.
    timers: BinaryHeap<Reverse<(u64, usize, u32)>>,
    rate: u64,
    begun: u64,
    next: u64,
    outcome: Outcome,
}

#[derive(Default)]
struct Phone {
    cseq: u32,
    stage: Stage,
    /// The request that waits for its answer.
    request: String,
    /// When that was sent first, in ns.
    asked: u64,
    /// How long it waits next.
    wait: u64,
    repeated: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Stage {
    #[default]
    Idle,
    Asked,
    Answered,
}

/// Whether a challenge says that the proof was right, but for an old nonce (RFC 7616 §3.3).
fn is_stale(challenge: &Message<'_>) -> bool {
    challenge.all("WWW-Authenticate").any(|value| value.to_ascii_lowercase().contains("stale=true"))
}

/// What became of all registrations.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    /// How many were tried to the end, one way or the other.
    pub(crate) tried: u64,
    /// How many were granted.
    pub(crate) granted: u64,
    /// Of these, how many without any repetition.
    pub(crate) at_once: u64,
}

impl Outcome {
    /// Granted ones, with and without repetitions, in %.
    pub(crate) fn shares(&self) -> [f64; 2] {
        [self.granted, self.at_once].map(|n| n as f64 * 100.0 / self.tried.max(1) as f64)
    }

    /// Both together.
    pub(crate) fn plus(self, other: &Outcome) -> Outcome {
        Outcome {
            tried: self.tried + other.tried,
            granted: self.granted + other.granted,
            at_once: self.at_once + other.at_once,
        }
    }
}

impl Refresh {
    /// The phones of `count` users from `first_user` on, which together register `rate` times a second.
    /// That must leave each phone more time than it has patience.
    pub(crate) fn new(
        server: SocketAddr,
        at: SocketAddr,
        first_user: usize,
        count: usize,
        rate: u64,
    ) -> Result<Refresh, String> {
        let socket = roomy_socket(at).map_err(|e| format!("phones: {e}"))?;
        socket.set_nonblocking(true).map_err(|e| format!("phones: {e}"))?;
        Ok(Refresh {
            server,
            address: at,
            socket,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            first_user,
            phones: (0..count).map(|_| Phone::default()).collect(),
            timers: BinaryHeap::new(),
            rate,
            begun: 0,
            next: 0,
            outcome: Outcome::default(),
        })
    }

    /// Registers all of them, and returns when they are.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let begun = realtime();
        for phone in 0..self.phones.len() {
            loop {
                self.begin_one(phone, realtime());
                while self.phones[phone].stage != Stage::Idle {
                    self.serve(realtime())?;
                }
                if self.outcome.granted > 0 {
                    break;
                }
                if realtime() > begun + SETTLING {
                    return Err(format!("{} could not register", user(self.first_user + phone)));
                }
            }
            self.outcome = Outcome::default();
            // So that it does not look like a flood itself.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Begins to count, and to owe registrations.
    pub(crate) fn begin(&mut self) {
        self.begun = realtime();
        self.next = 0;
        self.outcome = Outcome::default();
    }

    /// Does what is due.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let now = realtime();
        if (now - self.begun) * self.rate / 1_000_000_000 > self.next {
            let phone = self.next as usize % self.phones.len();
            self.next += 1;
            if self.phones[phone].stage == Stage::Idle {
                self.begin_one(phone, now);
            }
        }
        self.serve(now)
    }

    /// Lets those that are under way come to an end, with something else to do meanwhile; what became of
    /// all of them.
    pub(crate) fn end(&mut self, aside: &mut dyn FnMut() -> Result<(), String>) -> Result<Outcome, String> {
        while self.phones.iter().any(|phone| phone.stage != Stage::Idle) {
            aside()?;
            self.serve(realtime())?;
        }
        Ok(std::mem::take(&mut self.outcome))
    }

    fn serve(&mut self, now: u64) -> Result<(), String> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let received = inbox.receive(&self.socket).map_err(|e| format!("receiving: {e}"))?;
        for i in 0..received.min(BATCH) {
            self.handle(&Message::read(inbox.datagram(i))?, now)?;
        }
        self.inbox = inbox;
        while let Some(&Reverse((due, phone, cseq))) = self.timers.peek() {
            if due > now {
                break;
            }
            self.timers.pop();
            self.overdue(phone, cseq, now);
        }
        self.outbox.flush(&self.socket).map_err(|e| format!("sending from {}: {e}", self.address))
    }

    fn begin_one(&mut self, i: usize, now: u64) {
        self.phones[i].repeated = false;
        self.phones[i].stage = Stage::Asked;
        self.ask(i, None, now);
    }

    fn handle(&mut self, message: &Message<'_>, now: u64) -> Result<(), String> {
        let id = message.get("Call-ID")?;
        let i: usize = id.strip_prefix("again").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let Some(phone) = self.phones.get_mut(i) else {
            return Err(format!("a Call-ID that is not ours: {id}"));
        };
        let cseq: u32 = message.get("CSeq")?.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if cseq != phone.cseq || phone.stage == Stage::Idle {
            return Ok(()); // a repetition, or too late
        }
        match (phone.stage, message.status) {
            (_, Some(100)) => {}
            // A process that has taken over does not know the nonces of the one before, and asks once more.
            (stage, Some(401)) if stage == Stage::Asked || is_stale(message) => {
                let challenge = Challenge::find(message, "WWW-Authenticate")?;
                let number = self.first_user + i;
                let uri = format!("sip:{DOMAIN}");
                let credentials = challenge.answer(&user(number), &password(number), "REGISTER", &uri);
                phone.stage = Stage::Answered;
                self.ask(i, Some(&credentials), now);
            }
            (Stage::Answered, Some(200)) => {
                phone.stage = Stage::Idle;
                self.outcome.tried += 1;
                self.outcome.granted += 1;
                self.outcome.at_once += u64::from(!phone.repeated);
            }
            _ => return Err(format!("REGISTER was answered: {}", message.start)),
        }
        Ok(())
    }

    /// Sends a new request.
    fn ask(&mut self, i: usize, credentials: Option<&str>, now: u64) {
        let (name, at) = (user(self.first_user + i), self.address);
        let phone = &mut self.phones[i];
        phone.cseq += 1;
        let cseq = phone.cseq;
        let credentials = credentials.map(|c| format!("Authorization: {c}\r\n")).unwrap_or_default();
        phone.request = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {at};branch=z9hG4bKagain{i}-{cseq};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{name}@{DOMAIN}>;tag=r{cseq}\r\n\
             To: <sip:{name}@{DOMAIN}>\r\n\
             Call-ID: again{i}\r\n\
             CSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{name}@{at}>\r\n\
             Expires: 3600\r\n\
             User-Agent: a phone of the bench\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK\r\n\
             Supported: replaces, timer, path\r\n\
             {credentials}Content-Length: 0\r\n\r\n"
        );
        (phone.asked, phone.wait) = (now, T1);
        self.send(i, now);
    }

    fn send(&mut self, i: usize, now: u64) {
        let phone = &mut self.phones[i];
        self.outbox.put(self.server, |out| out.extend_from_slice(phone.request.as_bytes()));
        self.timers.push(Reverse((now + phone.wait, i, phone.cseq)));
        phone.wait *= 2;
    }

    /// No answer came in time: asks again, or gives up.
    fn overdue(&mut self, i: usize, cseq: u32, now: u64) {
        let phone = &mut self.phones[i];
        if phone.cseq != cseq || phone.stage == Stage::Idle {
            return;
        }
        phone.repeated = true;
        if now >= phone.asked + PATIENCE {
            phone.stage = Stage::Idle;
            self.outcome.tried += 1;
        } else {
            self.send(i, now);
        }
    }
}

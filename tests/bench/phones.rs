//! The phones of a whole town in one thread: they register, call each other and hang up, as fast
//! as the server answers. Each answer is checked; the first wrong one ends the row with its text,
//! since a server that fails fast must not look quick.

use crate::message::{Challenge, Message, audio, routes, tag, uri, write_sdp};
use crate::sys::{Inbox, Outbox, roomy_socket, wait_readable};
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The domain that all phones register at.
pub(crate) const DOMAIN: &str = "bench.test";
/// Messages or calls in flight at once: enough that the server never waits for the bench.
const WINDOW: usize = 64;
/// A server that is silent for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long the phones listen without sleeping.
const AWAKE: Duration = Duration::from_millis(5);

/// The name of user `i`.
pub(crate) fn user(i: usize) -> String {
    format!("{}", 1000 + i)
}

/// The password of user `i`.
pub(crate) fn password(i: usize) -> String {
    format!("secret-{i}-of-the-bench")
}

/// All phones that face one server: the lower half of the users call, the upper half answer.
pub(crate) struct Phones {
    server: SocketAddr,
    callers: Line,
    callees: Line,
    inbox: Inbox,
    users: Vec<User>,
    calls: Vec<Call>,
    /// Where the calls' sound comes from and goes to, in turn: the callers' and the callees'.
    media: (Vec<SocketAddr>, Vec<SocketAddr>),
    next_user: usize,
    serial: u64,
}

/// One socket, shared by half of the phones: a Request-URI tells them apart.
struct Line {
    socket: UdpSocket,
    address: SocketAddr,
    outbox: Outbox,
}

#[derive(Default)]
struct User {
    cseq: u32,
    stage: Registering,
}

#[derive(Clone, Copy, Default, PartialEq, Debug)]
enum Registering {
    #[default]
    Idle,
    Asked,
    Answered,
}

/// Both ends of one call.
#[derive(Default)]
struct Call {
    serial: u64,
    caller: usize,
    callee: usize,
    stage: Stage,
    /// What the caller sends after the answer: To with its tag, target, and the Route lines.
    to: String,
    target: String,
    route: String,
    relay: Option<Relay>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    #[default]
    Idle,
    /// The INVITE without credentials is out.
    Asked,
    /// The INVITE with credentials is out.
    Invited,
    /// The callee has sent 180 and 200.
    Rung,
    /// The caller has the 200 and has sent its ACK.
    Answered,
    /// The callee has the ACK.
    Up,
    /// The caller has sent BYE.
    Ending,
}

/// Where the server relays a call's sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    /// Where the caller sends.
    pub(crate) for_caller: SocketAddr,
    /// Where the callee sends.
    pub(crate) for_callee: SocketAddr,
}

/// Which work is being driven.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Register,
    /// Calls that end as soon as they are up.
    Call,
    /// Calls that stay.
    Establish,
    HangUp,
}

impl Phones {
    /// Phones number 0 to `users` - 1, on two sockets.
    pub(crate) fn new(
        server: SocketAddr,
        callers: SocketAddr,
        callees: SocketAddr,
        users: usize,
        media: (Vec<SocketAddr>, Vec<SocketAddr>),
    ) -> Result<Phones, String> {
        let line = |address| {
            let socket = roomy_socket(address).map_err(|e| format!("phones: {e}"))?;
            Ok::<_, String>(Line { socket, address, outbox: Outbox::default() })
        };
        Ok(Phones {
            server,
            callers: line(callers)?,
            callees: line(callees)?,
            inbox: Inbox::default(),
            users: (0..users).map(|_| User::default()).collect(),
            calls: Vec::new(),
            media,
            next_user: 0,
            serial: 0,
        })
    }

    /// `count` registrations, each challenged: REGISTER, 401, REGISTER with credentials, 200.
    pub(crate) fn register(&mut self, count: usize) -> Result<(), String> {
        let window = WINDOW.min(self.users.len());
        self.drive(Work::Register, count, window)
    }

    /// `count` whole calls, INVITE to the 200 of BYE.
    pub(crate) fn call(&mut self, count: usize) -> Result<(), String> {
        if !self.calls.is_empty() {
            return Err("calls are up already".into());
        }
        self.calls.resize_with(WINDOW, Call::default);
        let outcome = self.drive(Work::Call, count, WINDOW);
        self.calls.clear();
        outcome
    }

    /// Brings up calls until `total` are up; they stay.
    pub(crate) fn establish(&mut self, total: usize) -> Result<(), String> {
        let first = self.calls.len();
        if total <= first {
            return Ok(());
        }
        self.calls.resize_with(total, Call::default);
        self.next_user = first;
        self.drive(Work::Establish, total - first, WINDOW)
    }

    /// Ends all calls that are up.
    pub(crate) fn hang_up(&mut self) -> Result<(), String> {
        self.next_user = 0;
        let outcome = self.drive(Work::HangUp, self.calls.len(), WINDOW);
        self.calls.clear();
        outcome
    }

    /// Where the server relays the calls that are up, in the order of their beginning.
    pub(crate) fn relays(&self) -> Vec<Relay> {
        self.calls.iter().filter_map(|c| c.relay).collect()
    }

    /// Keeps `window` units of work in flight until `count` are done.
    fn drive(&mut self, work: Work, count: usize, window: usize) -> Result<(), String> {
        let (mut begun, mut done) = (0, 0);
        let mut heard = Instant::now();
        let mut free: Vec<usize> = (0..window).rev().collect();
        while done < count {
            while begun < count && begun - done < window {
                self.begin(work, &mut free);
                begun += 1;
            }
            self.flush()?;
            let finished = self.listen(work, &mut free)?;
            match finished {
                Some(n) => {
                    done += n;
                    heard = Instant::now();
                }
                None if heard.elapsed() > PATIENCE => return Err(self.stuck(work, count - done)),
                // Whoever sleeps has to be woken, and that would be the server's work: in life a
                // network card does not sleep.
                None if heard.elapsed() < AWAKE => std::hint::spin_loop(),
                None => wait_readable([&self.callers.socket, &self.callees.socket], 100),
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), String> {
        for line in [&mut self.callers, &mut self.callees] {
            line.outbox.flush(&line.socket).map_err(|e| format!("sending from {}: {e}", line.address))?;
        }
        Ok(())
    }

    /// Takes one batch from each socket. `None` if there was nothing, else how many units of work
    /// were finished by it.
    fn listen(&mut self, work: Work, free: &mut Vec<usize>) -> Result<Option<usize>, String> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut outcome = Ok(None);
        'lines: for line in [0, 1] {
            let socket = if line == 0 { &self.callers.socket } else { &self.callees.socket };
            let received = match inbox.receive(socket) {
                Ok(received) => received,
                Err(e) => {
                    outcome = Err(format!("receiving: {e}"));
                    break;
                }
            };
            for i in 0..received {
                match Message::read(inbox.datagram(i)).and_then(|m| self.handle(work, line == 0, &m, free)) {
                    Ok(finished) => {
                        let before = outcome.ok().flatten().unwrap_or(0);
                        outcome = Ok(Some(before + usize::from(finished)));
                    }
                    Err(e) => {
                        let text = String::from_utf8_lossy(inbox.datagram(i)).into_owned();
                        outcome = Err(format!("{e}\n--- the message was:\n{text}---"));
                        break 'lines;
                    }
                }
            }
        }
        self.inbox = inbox;
        outcome
    }

    fn stuck(&self, work: Work, left: usize) -> String {
        let stages: Vec<String> = match work {
            Work::Register => self
                .users
                .iter()
                .map(|u| u.stage)
                .filter(|s| *s != Registering::Idle)
                .map(|s| format!("{s:?}"))
                .collect(),
            _ => self
                .calls
                .iter()
                .map(|c| c.stage)
                .filter(|s| *s != Stage::Idle && *s != Stage::Up)
                .map(|s| format!("{s:?}"))
                .collect(),
        };
        format!("no answer for {} s; {left} left, in flight: {}", PATIENCE.as_secs(), stages.join(" "))
    }

    fn begin(&mut self, work: Work, free: &mut Vec<usize>) {
        match work {
            Work::Register => {
                let i = self.next_user % self.users.len();
                self.next_user = i + 1;
                self.users[i].stage = Registering::Asked;
                self.send_register(i, None);
            }
            Work::Call => {
                if let Some(slot) = free.pop() {
                    self.begin_call(slot);
                }
            }
            Work::Establish => {
                let slot = self.next_user;
                self.next_user += 1;
                self.begin_call(slot);
            }
            Work::HangUp => {
                let slot = self.next_user;
                self.next_user += 1;
                self.send_bye(slot);
            }
        }
    }

    fn begin_call(&mut self, slot: usize) {
        self.serial += 1;
        let half = self.users.len() / 2;
        let caller = self.serial as usize % half;
        self.calls[slot] = Call {
            serial: self.serial,
            caller,
            callee: half + caller,
            stage: Stage::Asked,
            ..Call::default()
        };
        self.send_invite(slot, None);
    }

    /// One message. `true` if it finished a unit of work.
    fn handle(
        &mut self,
        work: Work,
        on_callers: bool,
        message: &Message<'_>,
        free: &mut Vec<usize>,
    ) -> Result<bool, String> {
        if message.status.is_none() && message.method == "OPTIONS" {
            self.answer(on_callers, message, "200 OK", None)?;
            return Ok(false);
        }
        if message.method == "REGISTER" {
            return self.on_register_answer(message);
        }
        let id = message.get("Call-ID")?;
        let (slot, serial) = call_id(id).ok_or_else(|| format!("a Call-ID that is not ours: {id}"))?;
        let known = self.calls.get(slot).is_some_and(|c| c.serial == serial);
        if !known {
            // The past: a repetition that crossed the end of its call. BYE is the last thing that
            // a call waits for, so only repetitions can come later.
            return Ok(false);
        }
        match (on_callers, message.status) {
            (true, Some(status)) => self.on_caller(work, slot, status, message, free),
            (false, None) => self.on_callee(work, slot, message),
            _ => Err(format!("sent to the wrong phone: {}", message.start)),
        }
    }

    fn on_register_answer(&mut self, message: &Message<'_>) -> Result<bool, String> {
        let id = message.get("Call-ID")?;
        let i: usize = id.strip_prefix('r').and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let Some(user) = self.users.get(i) else {
            return Err(format!("a Call-ID that is not ours: {id}"));
        };
        let cseq: u32 = message.get("CSeq")?.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if cseq < user.cseq {
            return Ok(false); // a repetition
        }
        match (user.stage, message.status) {
            (_, Some(100)) => Ok(false),
            (Registering::Asked, Some(401)) => {
                let challenge = Challenge::find(message, "WWW-Authenticate")?;
                let credentials = challenge.answer(
                    &crate::phones::user(i),
                    &password(i),
                    "REGISTER",
                    &format!("sip:{DOMAIN}"),
                );
                self.users[i].stage = Registering::Answered;
                self.send_register(i, Some(&credentials));
                Ok(false)
            }
            (Registering::Answered, Some(200)) => {
                let ours = format!("sip:{}@{}", crate::phones::user(i), self.line_of(i).address);
                if !message.all("Contact").any(|c| c.contains(&ours)) {
                    return Err(format!("a 200 to REGISTER without the Contact {ours}"));
                }
                self.users[i].stage = Registering::Idle;
                Ok(true)
            }
            (stage, _) => Err(format!("REGISTER ({stage:?}) was answered: {}", message.start)),
        }
    }

    fn on_caller(
        &mut self,
        work: Work,
        slot: usize,
        status: u16,
        message: &Message<'_>,
        free: &mut Vec<usize>,
    ) -> Result<bool, String> {
        let stage = self.calls[slot].stage;
        match (message.method, stage, status) {
            (_, _, 100) => Ok(false),
            ("INVITE", Stage::Asked, 407) => {
                let call = &self.calls[slot];
                let uri = format!("sip:{}@{DOMAIN}", user(call.callee));
                let challenge = Challenge::find(message, "Proxy-Authenticate")?;
                let credentials =
                    challenge.answer(&user(call.caller), &password(call.caller), "INVITE", &uri);
                self.send_ack_of_challenge(slot, message)?;
                self.calls[slot].stage = Stage::Invited;
                self.send_invite(slot, Some(&credentials));
                Ok(false)
            }
            ("INVITE", Stage::Rung, 180) => Ok(false),
            ("INVITE", Stage::Rung, 200) => {
                self.take_answer(slot, message)?;
                self.send_ack(slot);
                self.calls[slot].stage = Stage::Answered;
                Ok(false)
            }
            // Repetitions, and a 180 that was overtaken by its 200.
            ("INVITE", Stage::Invited | Stage::Rung | Stage::Answered, 407) => {
                self.send_ack_of_challenge(slot, message).map(|()| false)
            }
            ("INVITE", Stage::Answered | Stage::Up | Stage::Ending, 180) => Ok(false),
            ("INVITE", Stage::Answered | Stage::Up | Stage::Ending, 200) => {
                self.send_ack(slot);
                Ok(false)
            }
            ("BYE", Stage::Ending, 200) => {
                self.calls[slot].stage = Stage::Idle;
                if work == Work::Call {
                    free.push(slot);
                }
                Ok(true)
            }
            _ => Err(format!("{} ({stage:?}) was answered: {}", message.method, message.start)),
        }
    }

    /// What the caller learns from the 200: the dialog, and where to send its sound.
    fn take_answer(&mut self, slot: usize, message: &Message<'_>) -> Result<(), String> {
        let phone = self.phone_media(slot).1;
        let relay = audio(message.body).ok_or("a 200 to INVITE without audio")?;
        if relay == phone {
            return Err("the 200 bears the callee's own media address: nothing is relayed".into());
        }
        let call = &mut self.calls[slot];
        match &mut call.relay {
            Some(known) => known.for_caller = relay,
            None => return Err("a 200 to INVITE before the callee was asked".into()),
        }
        call.to = message.get("To")?.to_owned();
        call.target = uri(message.get("Contact")?).ok_or("a Contact without <>")?.to_owned();
        call.route.clear();
        for route in routes(message).iter().rev() {
            let _ = write!(call.route, "Route: {route}\r\n");
        }
        if call.route.is_empty() {
            return Err("a 200 to INVITE without Record-Route: the server is not in the dialog".into());
        }
        Ok(())
    }

    fn on_callee(&mut self, work: Work, slot: usize, message: &Message<'_>) -> Result<bool, String> {
        let stage = self.calls[slot].stage;
        match (message.method, stage) {
            ("INVITE", Stage::Invited) => {
                let (from, phone) = self.phone_media(slot);
                let relay = audio(message.body).ok_or("an INVITE without audio")?;
                if relay == from {
                    return Err("the INVITE bears the caller's own media address: nothing is relayed".into());
                }
                let mut sdp = String::with_capacity(256);
                write_sdp(&mut sdp, phone);
                self.answer(false, message, "180 Ringing", None)?;
                self.answer(false, message, "200 OK", Some(&sdp))?;
                let call = &mut self.calls[slot];
                call.relay = Some(Relay { for_caller: relay, for_callee: relay });
                call.stage = Stage::Rung;
                Ok(false)
            }
            ("INVITE", _) => Ok(false), // a repetition: the answer is on its way
            ("ACK", Stage::Answered) => {
                self.calls[slot].stage = Stage::Up;
                if work == Work::Call {
                    self.send_bye(slot);
                }
                Ok(work == Work::Establish)
            }
            ("ACK", Stage::Up | Stage::Ending) => Ok(false), // a repetition
            ("BYE", Stage::Ending) => self.answer(false, message, "200 OK", None).map(|()| false),
            _ => Err(format!("the callee ({stage:?}) was sent: {}", message.start)),
        }
    }

    /// The media addresses of a call's caller and callee.
    fn phone_media(&self, slot: usize) -> (SocketAddr, SocketAddr) {
        let (callers, callees) = &self.media;
        (callers[slot % callers.len()], callees[slot % callees.len()])
    }

    fn line_of(&self, user: usize) -> &Line {
        if user < self.users.len() / 2 { &self.callers } else { &self.callees }
    }

    fn send_register(&mut self, i: usize, credentials: Option<&str>) {
        self.users[i].cseq += 1;
        let cseq = self.users[i].cseq;
        let (server, name) = (self.server, user(i));
        let line = if i < self.users.len() / 2 { &mut self.callers } else { &mut self.callees };
        let at = line.address;
        let mut text = String::with_capacity(900);
        let _ = write!(
            text,
            "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {at};branch=z9hG4bKr{i}-{cseq};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{name}@{DOMAIN}>;tag=r{cseq}\r\n\
             To: <sip:{name}@{DOMAIN}>\r\n\
             Call-ID: r{i}\r\n\
             CSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{name}@{at}>\r\n\
             Expires: 3600\r\n\
             User-Agent: a phone of the bench\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK\r\n\
             Supported: replaces, timer, path\r\n"
        );
        if let Some(credentials) = credentials {
            let _ = write!(text, "Authorization: {credentials}\r\n");
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        line.outbox.put(server, |out| out.extend_from_slice(text.as_bytes()));
    }

    fn send_invite(&mut self, slot: usize, credentials: Option<&str>) {
        let media = self.phone_media(slot).0;
        let call = &self.calls[slot];
        let (serial, from, to) = (call.serial, user(call.caller), user(call.callee));
        let cseq = if credentials.is_some() { 2 } else { 1 };
        let at = self.callers.address;
        let mut sdp = String::with_capacity(256);
        write_sdp(&mut sdp, media);
        let mut text = String::with_capacity(1400);
        let _ = write!(
            text,
            "INVITE sip:{to}@{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {at};branch=z9hG4bKk{slot}-{serial}-{cseq};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{from}@{DOMAIN}>;tag=a{serial}\r\n\
             To: <sip:{to}@{DOMAIN}>\r\n\
             Call-ID: k{slot}-{serial}\r\n\
             CSeq: {cseq} INVITE\r\n\
             Contact: <sip:{from}@{at}>\r\n\
             User-Agent: a phone of the bench\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK\r\n\
             Supported: replaces, timer\r\n"
        );
        if let Some(credentials) = credentials {
            let _ = write!(text, "Proxy-Authorization: {credentials}\r\n");
        }
        let _ = write!(text, "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
        self.callers.outbox.put(self.server, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// The ACK of a 407 (RFC 3261 §17.1.1.3): same branch, same hop.
    fn send_ack_of_challenge(&mut self, slot: usize, message: &Message<'_>) -> Result<(), String> {
        let call = &self.calls[slot];
        let (serial, from, callee) = (call.serial, user(call.caller), user(call.callee));
        let to = message.get("To")?;
        if tag(to).is_none() {
            return Err("a 407 without a To tag".into());
        }
        let at = self.callers.address;
        self.callers.outbox.put(self.server, |out| {
            out.extend_from_slice(
                format!(
                    "ACK sip:{callee}@{DOMAIN} SIP/2.0\r\n\
                     Via: SIP/2.0/UDP {at};branch=z9hG4bKk{slot}-{serial}-1;rport\r\n\
                     Max-Forwards: 70\r\n\
                     From: <sip:{from}@{DOMAIN}>;tag=a{serial}\r\n\
                     To: {to}\r\n\
                     Call-ID: k{slot}-{serial}\r\n\
                     CSeq: 1 ACK\r\n\
                     Content-Length: 0\r\n\r\n"
                )
                .as_bytes(),
            );
        });
        Ok(())
    }

    fn send_ack(&mut self, slot: usize) {
        self.send_in_dialog(slot, "ACK", 2, "a");
    }

    fn send_bye(&mut self, slot: usize) {
        self.send_in_dialog(slot, "BYE", 3, "b");
        self.calls[slot].stage = Stage::Ending;
    }

    fn send_in_dialog(&mut self, slot: usize, method: &str, cseq: u32, branch: &str) {
        let call = &self.calls[slot];
        let (serial, from) = (call.serial, user(call.caller));
        let Call { to, target, route, .. } = call;
        let at = self.callers.address;
        self.callers.outbox.put(self.server, |out| {
            out.extend_from_slice(
                format!(
                    "{method} {target} SIP/2.0\r\n\
                     Via: SIP/2.0/UDP {at};branch=z9hG4bKk{slot}-{serial}-{branch};rport\r\n\
                     Max-Forwards: 70\r\n\
                     {route}\
                     From: <sip:{from}@{DOMAIN}>;tag=a{serial}\r\n\
                     To: {to}\r\n\
                     Call-ID: k{slot}-{serial}\r\n\
                     CSeq: {cseq} {method}\r\n\
                     User-Agent: a phone of the bench\r\n\
                     Content-Length: 0\r\n\r\n"
                )
                .as_bytes(),
            );
        });
    }

    /// Answers a request as RFC 3261 §8.2.6 says.
    fn answer(
        &mut self,
        on_callers: bool,
        request: &Message<'_>,
        status: &str,
        sdp: Option<&str>,
    ) -> Result<(), String> {
        let line = if on_callers { &mut self.callers } else { &mut self.callees };
        let mut text = String::with_capacity(1400);
        let _ = write!(text, "SIP/2.0 {status}\r\n");
        for via in request.all("Via") {
            let _ = write!(text, "Via: {via}\r\n");
        }
        for route in request.all("Record-Route") {
            let _ = write!(text, "Record-Route: {route}\r\n");
        }
        let to = request.get("To")?;
        let own_tag = if tag(to).is_some() { "" } else { ";tag=b1" };
        let called = uri(to).unwrap_or_default();
        let name = called.trim_start_matches("sip:").split('@').next().unwrap_or_default();
        let _ = write!(
            text,
            "From: {}\r\nTo: {to}{own_tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{name}@{}>\r\n\
             User-Agent: a phone of the bench\r\n",
            request.get("From")?,
            request.get("Call-ID")?,
            request.get("CSeq")?,
            line.address,
        );
        let body = sdp.unwrap_or_default();
        if sdp.is_some() {
            text.push_str("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK\r\n");
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        line.outbox.put(self.server, |out| out.extend_from_slice(text.as_bytes()));
        Ok(())
    }
}

/// Slot and serial number of one of our calls.
fn call_id(id: &str) -> Option<(usize, u64)> {
    let (slot, serial) = id.strip_prefix('k')?.split_once('-')?;
    Some((slot.parse().ok()?, serial.parse().ok()?))
}

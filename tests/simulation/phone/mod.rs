//! A telephone: an event-driven machine in virtual time, as RFC 3261 wants it to be.
//!
//! It judges what it is sent ([`Phone::complaints`]) and keeps beliefs about its registration and its
//! calls, which the town's laws compare with what the others believe.

mod call;
mod callee;
mod caller;
mod dialog;
mod inside;
mod negotiation;
mod registration;
mod spec;
mod transaction;
mod transfer;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use denwa::switch::{Instant, Transport};

pub use self::call::{Call, CallKey, Outcome, Stage};
pub use self::registration::Registration;
pub use self::spec::{Action, Forking, Manners, Reaction, Ringing, Spec};
use self::transaction::{Client, Server, ServerKey, Task};
use crate::digest::Credentials;
use crate::rng::Rng;
use crate::sip::{Message, host_port_of, uri_of, uri_param};

/// Something to do later. One that has become pointless does nothing.
#[derive(Clone, Debug, PartialEq)]
enum Timer {
    ClientResend(String),
    ClientGiveUp(String),
    ClientForget(String),
    ServerResend(ServerKey),
    ServerForget(ServerKey),
    /// Refresh the registration.
    Refresh,
    /// The bell, or whatever the manners want instead.
    Ring(CallKey),
    /// The user reacts.
    React(CallKey),
    /// Repeat the 2xx with this CSeq number until its ACK comes.
    SuccessResend(CallKey, u32),
    SuccessGiveUp(CallKey, u32),
    /// Repeat the reliable provisional response with this RSeq until its PRACK comes.
    ReliableResend(CallKey, u32),
    ReliableGiveUp(CallKey, u32),
    /// After a 491.
    Reoffer(CallKey),
    /// The INVITE was cancelled, and its final answer should be here.
    CancelGiveUp(CallKey),
}

pub struct Phone {
    pub id: usize,
    pub spec: Spec,
    /// Whether it has power.
    pub alive: bool,
    /// Whether its sound gets lost on the way, with nobody the wiser.
    pub mute: bool,
    pub registration: Registration,
    /// All calls since it was switched on, oldest first.
    pub calls: Vec<Call>,
    /// Texts of MESSAGE requests that came.
    pub texts: Vec<String>,
    /// The final statuses of its MESSAGE and other requests outside of calls.
    pub answers: Vec<(String, u16)>,
    /// Each request that came, by method.
    pub heard: BTreeMap<String, u32>,
    /// What it wants to send.
    pub outbox: Vec<Vec<u8>>,
    /// What it sent since the town last looked, for the laws.
    pub stamped: Vec<(String, Message)>,
    /// Laws that the exchange broke in its sight.
    pub complaints: Vec<String>,
    /// Whether the network loses nothing and nothing happened to the phone that would excuse silence.
    pub undisturbed: bool,
    /// A power cut has taken the exchange's memory of the last second: it may say another thing than before.
    pub forgives: bool,
    /// Each Contact that it ever gave, even before a crash: others may still use it.
    contacts: Vec<String>,
    credentials: Credentials,
    rng: Rng,
    now: Instant,
    clients: Vec<(String, Client)>,
    servers: Vec<Server>,
    timers: BTreeMap<(Instant, u64), Timer>,
    count: u64,
}

impl Phone {
    pub fn new(id: usize, spec: Spec, rng: Rng) -> Phone {
        Phone {
            id,
            alive: true,
            mute: false,
            registration: Registration::default(),
            calls: Vec::new(),
            texts: Vec::new(),
            answers: Vec::new(),
            heard: BTreeMap::new(),
            outbox: Vec::new(),
            stamped: Vec::new(),
            complaints: Vec::new(),
            undisturbed: true,
            forgives: false,
            contacts: Vec::new(),
            credentials: Credentials::new(&spec.number, &spec.password, &spec.algorithms),
            rng,
            now: Instant(0),
            clients: Vec::new(),
            servers: Vec::new(),
            timers: BTreeMap::new(),
            count: 0,
            spec,
        }
    }

    /// Something came from the network.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if bytes.iter().all(|byte| b"\r\n".contains(byte)) {
            return;
        }
        match Message::read(bytes) {
            Err(error) => {
                let text = String::from_utf8_lossy(bytes);
                self.complain(format!("a malformed message, {error}:\n{text}"));
            }
            Ok(message) if message.is_request() => self.on_request(message),
            Ok(message) => self.on_response(message),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            self.on_timer(timer);
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// The user does something.
    pub fn act(&mut self, now: Instant, action: Action) {
        self.now = now;
        match action {
            Action::Register => self.register(),
            Action::Unregister => self.unregister(),
            Action::UnregisterAll => self.unregister_all(),
            Action::Call(number) => self.dial(&number),
            Action::Answer => self.react_now(Reaction::Answer),
            Action::Refuse(status) => self.react_now(Reaction::Refuse(status)),
            Action::HangUp => self.hang_up(),
            Action::Hold => self.reoffer_newest(inside::Offer::Hold),
            Action::Resume => self.reoffer_newest(inside::Offer::Resume),
            Action::Refresh => self.reoffer_newest(inside::Offer::Theirs),
            Action::Move => self.reoffer_newest(inside::Offer::Move),
            Action::Video => self.reoffer_newest(inside::Offer::Video),
            Action::Fax => self.reoffer_newest(inside::Offer::Fax),
            Action::Voice => self.reoffer_newest(inside::Offer::Voice),
            Action::Update => self.reoffer_newest(inside::Offer::Update),
            Action::Info => self.send_info(),
            Action::Message(number) => self.send_message(&number),
            Action::Ask(method) => self.ask(&method),
            Action::BlindTransfer(number) => self.transfer_blind(&number),
            Action::AttendedTransfer => self.transfer_attended(),
            Action::Ping => self.outbox.push(b"\r\n\r\n".to_vec()),
        }
    }

    /// Power is cut: everything is forgotten but what is in its settings.
    pub fn crash(&mut self) {
        self.alive = false;
        self.undisturbed = false;
        self.registration = Registration::default();
        self.calls.clear();
        self.clients.clear();
        self.servers.clear();
        self.timers.clear();
        self.outbox.clear();
        self.credentials.forget();
    }

    /// Power is back.
    pub fn start(&mut self, now: Instant) {
        self.alive = true;
        self.now = now;
        self.register();
    }

    /// Its connection broke: it opens another one, soon.
    pub fn disconnected(&mut self, now: Instant) {
        self.now = now;
        self.undisturbed = false;
        let soon = Duration::from_millis(self.rng.between(200, 3000));
        self.set_timer(soon, Timer::Refresh);
    }

    /// Calls that are not over.
    pub fn active_calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.stage != Stage::Over)
    }

    /// Whether it waits for an answer or has one to give, in this call.
    pub fn is_negotiating(&self, call: &Call) -> bool {
        let asks =
            |(_, client): &(String, Client)| client.request.call_id() == call.call_id && client.is_pending();
        let owes = |server: &Server| server.request.call_id() == call.call_id && server.is_pending();
        call.is_negotiating() || self.clients.iter().any(asks) || self.servers.iter().any(owes)
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::ClientResend(key) => self.client_resend(&key),
            Timer::ClientGiveUp(key) => self.client_give_up(&key),
            Timer::ClientForget(key) => self.client_forget(&key),
            Timer::ServerResend(key) => self.server_resend(&key),
            Timer::ServerForget(key) => self.server_forget(&key),
            Timer::Refresh => self.refresh(),
            Timer::Ring(call) => self.ring(call),
            Timer::React(call) => self.react(call, self.spec.manners.reaction.clone()),
            Timer::SuccessResend(call, seq) => self.success_resend(call, seq),
            Timer::SuccessGiveUp(call, seq) => self.success_give_up(call, seq),
            Timer::ReliableResend(call, rseq) => self.reliable_resend(call, rseq),
            Timer::ReliableGiveUp(call, rseq) => self.reliable_give_up(call, rseq),
            Timer::Reoffer(call) => self.reoffer_again(call),
            Timer::CancelGiveUp(call) => self.cancel_give_up(call),
        }
    }

    fn on_request(&mut self, request: Message) {
        let method = request.method().to_owned();
        *self.heard.entry(method.clone()).or_default() += 1;
        if method == "ACK" {
            if !self.acknowledge_refusal(&request) {
                self.on_ack(&request);
            }
            return;
        }
        let Some(key) = self.start_server(request.clone()) else {
            return;
        };
        match method.as_str() {
            "CANCEL" => self.on_cancel(&key, &request),
            _ if request.to_tag().is_some() => self.on_request_inside(&key, &request),
            "INVITE" => self.on_invite(&key, &request),
            _ => self.on_request_outside(&key, &request),
        }
    }

    /// A request outside of dialogs that starts none.
    fn on_request_outside(&mut self, key: &ServerKey, request: &Message) {
        self.check_target(request);
        let status = match request.method() {
            "MESSAGE" => {
                self.texts.push(request.body_text().to_owned());
                200
            }
            "OPTIONS" => 200,
            _ => 405,
        };
        let response = self.respond(request, status);
        self.reply(key, response);
    }

    /// A request outside of dialogs has to ask for a Contact that this phone registered, or gave in
    /// a call that somebody transfers.
    fn check_target(&mut self, request: &Message) {
        if !self.contacts.iter().any(|contact| contact == request.uri()) {
            let known = self.contacts.join(", ");
            self.complain(format!("not for us, we are {known}: {}", request.summary()));
        }
    }

    fn on_provisional(&mut self, request: &Message, task: Task, response: &Message) {
        if let Task::Invite(call) = task {
            self.on_invite_progress(call, request, response);
        }
    }

    fn on_final(&mut self, request: &Message, task: Task, attempts: u32, response: &Message) {
        match task {
            Task::Register => self.on_register_answer(request, attempts, response),
            Task::Invite(call) => self.on_invite_answer(call, request, attempts, response),
            Task::Reinvite(call) => self.on_reinvite_answer(call, request, response),
            Task::Update(call) => self.on_update_answer(call, response),
            Task::Refer(call) => self.on_refer_answer(call, response),
            Task::Prack(call) => self.on_prack_answer(call, response),
            Task::Bye(_) => {}
            Task::Other => {
                if response.status() == 407 {
                    let retry = self.retry_with_credentials(request, attempts, response);
                    if let Some((retry, attempts)) = retry {
                        self.start_client(retry, Task::Other, attempts);
                        return;
                    }
                }
                self.answers.push((request.method().to_owned(), response.status()));
            }
        }
    }

    fn on_repeated_success(&mut self, request: &Message, task: Task, response: &Message) {
        match task {
            Task::Invite(call) => self.on_invite_answer(call, request, 0, response),
            Task::Reinvite(call) => self.acknowledge_again(call, response),
            _ => {}
        }
    }

    fn send_message(&mut self, number: &str) {
        let text = format!("text {} of {}", self.count, self.spec.number);
        let message = self.outside("MESSAGE", &format!("sip:{number}@{}", self.spec.domain));
        let mut message = message.with_body("text/plain", text.into_bytes());
        self.authorize(&mut message, 407);
        self.start_client(message, Task::Other, 0);
    }

    fn ask(&mut self, method: &str) {
        let own = format!("sip:{}@{}", self.spec.number, self.spec.domain);
        let contact = self.registration.contact.clone();
        let event = if method == "SUBSCRIBE" { "message-summary" } else { "presence" };
        let mut request = self
            .outside(method, &own)
            .with("Contact", format!("<{contact}>"))
            .with("Event", event)
            .with("Expires", "600");
        if method == "OPTIONS" {
            let Message { start, .. } = Message::request("OPTIONS", &format!("sip:{}", self.spec.domain));
            request.start = start;
        }
        self.authorize(&mut request, 407);
        self.start_client(request, Task::Other, 0);
    }

    /// Loses count of how often the nonce was used.
    pub fn rewind_nonce(&mut self) {
        self.credentials.rewind();
    }

    /// The request again, with credentials and the next CSeq number, unless that is pointless.
    fn retry_with_credentials(
        &mut self,
        request: &Message,
        attempts: u32,
        refusal: &Message,
    ) -> Option<(Message, u32)> {
        let stale = self.credentials.challenged(refusal)?.stale;
        let tried = request.get("Authorization").or(request.get("Proxy-Authorization")).is_some();
        if attempts >= 3 || (tried && attempts > 0 && !stale) {
            return None;
        }
        let mut retry = request.clone();
        for name in ["Via", "Authorization", "Proxy-Authorization", "X-Sim"] {
            retry.remove(name);
        }
        let (sequence, method) = request.cseq();
        retry.set("CSeq", format!("{} {method}", sequence + 1));
        self.add_credentials(&mut retry, refusal.status());
        Some((retry, attempts + 1))
    }

    /// Adds credentials for a nonce that is known from before, if the phone does that.
    fn authorize(&mut self, request: &mut Message, challenge: u16) {
        if self.spec.keeps_nonce {
            self.add_credentials(request, challenge);
        }
    }

    fn add_credentials(&mut self, request: &mut Message, challenge: u16) {
        let name = if challenge == 401 { "Authorization" } else { "Proxy-Authorization" };
        if let Some(value) = self.credentials.authorize(request.method(), request.uri()) {
            request.set(name, value);
        }
    }

    /// A request outside of dialogs, without Via.
    fn outside(&mut self, method: &str, uri: &str) -> Message {
        let number = self.spec.shows.as_ref().unwrap_or(&self.spec.number);
        let own = format!("<sip:{number}@{}>", self.spec.domain);
        let mut request = Message::request(method, uri);
        if self.spec.preloads_route {
            request = request.with("Route", format!("<sip:{};lr>", self.spec.server));
        }
        request
            .with("Max-Forwards", "70")
            .with("From", format!("{own};tag={}", self.rng.token(8)))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", self.new_call_id())
            .with("CSeq", format!("{} {method}", self.rng.between(1, 9000)))
            .with("User-Agent", self.agent())
    }

    /// A response to what has no dialog: the To tag is made up.
    fn respond(&mut self, request: &Message, status: u16) -> Message {
        let mut response = Message::response(request, status, reason(status));
        if request.to_tag().is_none() {
            let to = request.get("To").unwrap_or_default().to_owned();
            response.set("To", format!("{to};tag={}", self.rng.token(8)));
        }
        response
    }

    /// Marks a message, so that the laws can tell who wrote it and what it said.
    fn stamp(&mut self, message: &mut Message) {
        self.count += 1;
        let stamp = format!("{}.{}", self.id, self.count);
        message.set("X-Sim", stamp.clone());
        self.stamped.push((stamp, message.clone()));
    }

    fn send(&mut self, message: Message) {
        self.outbox.push(message.write(self.spec.hand));
    }

    fn set_timer(&mut self, after: Duration, timer: Timer) {
        self.count += 1;
        self.timers.insert((self.now + after, self.count), timer);
    }

    fn is_datagram(&self) -> bool {
        self.spec.transport == Transport::Udp
    }

    fn via(&self, branch: &str) -> String {
        let transport = if self.is_datagram() { "UDP" } else { "TCP" };
        let rport = if self.spec.rport { ";rport" } else { "" };
        format!("SIP/2.0/{transport} {};branch={branch}{rport}", self.spec.address)
    }

    fn contact_uri(&self, user: &str) -> String {
        let transport = if self.is_datagram() { "" } else { ";transport=tcp" };
        format!("sip:{user}@{}{transport}", self.spec.address)
    }

    /// A Contact for one dialog.
    fn fresh_contact(&mut self) -> String {
        let token = self.rng.token(4);
        let contact = self.contact_uri(&format!("{}.{token}", self.spec.number));
        self.contacts.push(contact.clone());
        contact
    }

    fn new_call_id(&mut self) -> String {
        format!("{}@{}", self.rng.token(12), self.spec.address.ip())
    }

    fn agent(&self) -> String {
        format!("Simulated/{}", self.id)
    }

    /// A URI that the exchange wrote for us has to lead back to it, over addresses that we speak.
    fn check_ours(&mut self, what: &str, value: &str) {
        let (host, server) = (host_port_of(uri_of(value)).to_owned(), self.spec.server);
        let bare = server.ip().to_string();
        let bracketed = format!("[{bare}]");
        let hosts = [server.to_string(), self.spec.domain.clone(), bare, bracketed];
        if !hosts.contains(&host) {
            self.complain(format!("{what} {value} does not lead to {server}"));
        }
    }

    /// A Contact has to be one that this phone could reach, or the exchange's own: where family,
    /// transport or a NAT stand between, it is masked.
    fn check_contact(&mut self, message: &Message) {
        let uri = uri_of(message.get("Contact").unwrap_or_default()).to_owned();
        let host = host_port_of(&uri);
        let server = self.spec.server;
        if host == self.spec.domain || host == server.to_string() {
            return;
        }
        let tcp = uri_param(&uri, "transport").is_some_and(|name| name.eq_ignore_ascii_case("tcp"));
        let reachable = host.parse::<SocketAddr>().is_ok_and(|address| {
            let private = matches!(address.ip(), IpAddr::V4(ip) if ip.is_private());
            address.is_ipv6() == server.is_ipv6() && !private
        });
        if !reachable || tcp == self.is_datagram() {
            self.complain(format!("Contact {uri} is out of reach: {}", message.summary()));
        }
    }

    fn complain(&mut self, text: String) {
        self.complaints.push(text);
    }

    /// For what only loss, a crash or a broken path may excuse.
    fn complain_if_undisturbed(&mut self, text: String) {
        if self.undisturbed {
            self.complaints.push(text);
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        302 => "Moved Temporarily",
        405 => "Method Not Allowed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        603 => "Decline",
        _ => "Answer",
    }
}

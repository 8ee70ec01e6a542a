//! The phone's transactions (RFC 3261 §17, RFC 6026), all four in their plainest form.

use std::time::Duration;

use super::{CallKey, Phone, Timer};
use crate::sip::{Message, param};

pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, D, F, H, J, L and M.
pub const LONG: Duration = Duration::from_secs(32);

/// What a client transaction is for, and so who gets its response.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Register,
    Invite(CallKey),
    Reinvite(CallKey),
    Update(CallKey),
    Bye(CallKey),
    Prack(CallKey),
    Refer(CallKey),
    /// CANCEL, INFO, NOTIFY, MESSAGE, OPTIONS: nothing in the phone waits for the answer.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ClientState {
    Trying,
    Proceeding,
    /// With which final status.
    Completed(u16),
}

pub struct Client {
    pub request: Message,
    pub task: Task,
    /// How often credentials were tried.
    pub attempts: u32,
    state: ClientState,
    interval: Duration,
    ack: Option<Message>,
}

impl Client {
    pub fn is_pending(&self) -> bool {
        !matches!(self.state, ClientState::Completed(_))
    }

    /// Whether a provisional response came, so that CANCEL may be sent (RFC 3261 §9.1).
    pub fn is_proceeding(&self) -> bool {
        self.state == ClientState::Proceeding
    }
}

/// Who sent a request: its branch and sent-by (RFC 3261 §17.2.3), and whether it is an INVITE or its
/// ACK, or another method, of which each is a transaction of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerKey {
    branch: String,
    sent_by: String,
    method: String,
}

impl ServerKey {
    pub fn of(request: &Message) -> ServerKey {
        let via = request.all("Via").first().copied().unwrap_or_default().to_owned();
        let sent_by = via.split([' ', ';']).nth(1).unwrap_or_default().to_owned();
        let method = if request.method() == "ACK" { "INVITE" } else { request.method() };
        ServerKey { branch: request.branch().into(), sent_by, method: method.into() }
    }

    /// The transaction of another method on the same branch: what a CANCEL is for.
    pub fn of_method(&self, method: &str) -> ServerKey {
        ServerKey { method: method.into(), ..self.clone() }
    }
}

pub struct Server {
    pub key: ServerKey,
    pub request: Message,
    pub last: Option<Message>,
    acknowledged: bool,
    interval: Duration,
}

impl Server {
    pub fn is_pending(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.status() < 200)
    }

    /// Whether it is an INVITE that was refused, and the ACK is not here yet.
    fn awaits_ack(&self) -> bool {
        let refused = self.last.as_ref().is_some_and(|last| last.status() >= 300);
        self.key.method == "INVITE" && refused && !self.acknowledged
    }
}

impl Phone {
    /// Starts a client transaction; the request gets its Via here. Returns the transaction's key.
    pub(super) fn start_client(&mut self, request: Message, task: Task, attempts: u32) -> String {
        let branch = format!("z9hG4bK{}", self.rng.token(10));
        self.start_client_on(&branch, request, task, attempts)
    }

    /// The same on a given branch: a CANCEL has that of its INVITE (RFC 3261 §9.1).
    pub(super) fn start_client_on(
        &mut self,
        branch: &str,
        mut request: Message,
        task: Task,
        attempts: u32,
    ) -> String {
        request.headers.insert(0, ("Via".into(), self.via(branch)));
        self.stamp(&mut request);
        let key = client_key(&request);
        let client = Client {
            request: request.clone(),
            task,
            attempts,
            state: ClientState::Trying,
            interval: T1,
            ack: None,
        };
        self.clients.push((key.clone(), client));
        self.send(request);
        if self.is_datagram() {
            self.set_timer(T1, Timer::ClientResend(key.clone()));
        }
        self.set_timer(LONG, Timer::ClientGiveUp(key.clone()));
        key
    }

    pub(super) fn client(&mut self, key: &str) -> Option<&mut Client> {
        self.clients.iter_mut().find(|(k, _)| k == key).map(|(_, client)| client)
    }

    pub(super) fn client_resend(&mut self, key: &str) {
        let Some(client) = self.client(key) else {
            return;
        };
        let invite = client.request.method() == "INVITE";
        client.interval = match client.state {
            ClientState::Trying if invite => client.interval * 2,
            ClientState::Trying => (client.interval * 2).min(T2),
            ClientState::Proceeding if !invite => T2,
            _ => return,
        };
        let (again, request) = (client.interval, client.request.clone());
        self.send(request);
        self.set_timer(again, Timer::ClientResend(key.into()));
    }

    /// Timers B and F.
    pub(super) fn client_give_up(&mut self, key: &str) {
        let Some(client) = self.client(key) else {
            return;
        };
        let invite = client.request.method() == "INVITE";
        let over = match client.state {
            ClientState::Trying => true,
            ClientState::Proceeding => !invite,
            ClientState::Completed(_) => false,
        };
        if over {
            client.state = ClientState::Completed(408);
            let (request, task) = (client.request.clone(), client.task.clone());
            self.complain_if_undisturbed(format!("no answer to {}", request.summary()));
            let timeout = Message::response(&request, 408, "Timeout");
            self.clients.retain(|(k, _)| k != key);
            self.on_final(&request, task, 0, &timeout);
        }
    }

    pub(super) fn client_forget(&mut self, key: &str) {
        self.clients.retain(|(k, _)| k != key);
    }

    pub(super) fn on_response(&mut self, response: Message) {
        if response.all("Via").len() != 1 {
            self.complain(format!("a response with more than our Via: {}", response.summary()));
        }
        self.check_received(&response);
        let key = client_key(&response);
        let forgives = self.forgives;
        let Some(client) = self.client(&key) else {
            return;
        };
        for name in ["Call-ID", "CSeq", "From"] {
            if client.request.get(name) != response.get(name) {
                let expected = client.request.get(name).unwrap_or_default().to_owned();
                self.complain(format!("{name} of {} is not {expected}", response.summary()));
                return;
            }
        }
        let (status, invite) = (response.status(), response.method() == "INVITE");
        match client.state {
            ClientState::Trying | ClientState::Proceeding if status < 200 => {
                client.state = ClientState::Proceeding;
                let (task, request) = (client.task.clone(), client.request.clone());
                self.on_provisional(&request, task, &response);
            }
            ClientState::Trying | ClientState::Proceeding => {
                client.state = ClientState::Completed(status);
                let (task, attempts) = (client.task.clone(), client.attempts);
                let request = client.request.clone();
                if invite && status >= 300 {
                    let ack = ack_of_refusal(&request, &response);
                    client.ack = Some(ack.clone());
                    self.send(ack);
                }
                let keep = if invite { LONG } else { T4 };
                self.set_timer(keep, Timer::ClientForget(key));
                self.on_final(&request, task, attempts, &response);
            }
            ClientState::Completed(earlier) if invite && status >= 200 => {
                let both_good = earlier < 300 && status < 300;
                if !both_good && earlier != status && !forgives {
                    let text = format!("after {earlier} now {}", response.summary());
                    self.complain(format!("two final answers to an INVITE: {text}"));
                } else if both_good {
                    let (task, request) = (client.task.clone(), client.request.clone());
                    self.on_repeated_success(&request, task, &response);
                } else if let Some(ack) = client.ack.clone() {
                    self.send(ack);
                }
            }
            ClientState::Completed(_) => {}
        }
    }

    /// Takes a request that may begin a server transaction. `None` if it was seen before.
    pub(super) fn start_server(&mut self, request: Message) -> Option<ServerKey> {
        let key = ServerKey::of(&request);
        if let Some(known) = self.servers.iter().find(|server| server.key == key) {
            if let Some(last) = known.last.clone() {
                self.send(last);
            }
            return None;
        }
        let server = Server { key: key.clone(), request, last: None, acknowledged: false, interval: T1 };
        self.servers.push(server);
        Some(key)
    }

    pub(super) fn server(&mut self, key: &ServerKey) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.key == *key)
    }

    /// Answers; the transaction repeats the answer as its method wants it.
    pub(super) fn reply(&mut self, key: &ServerKey, mut response: Message) {
        self.stamp(&mut response);
        let datagram = self.is_datagram();
        let Some(server) = self.server(key) else {
            return;
        };
        server.last = Some(response.clone());
        let refusal = server.awaits_ack();
        self.send(response.clone());
        if response.status() >= 200 {
            if refusal && datagram {
                self.set_timer(T1, Timer::ServerResend(key.clone()));
            }
            self.set_timer(LONG, Timer::ServerForget(key.clone()));
        }
    }

    pub(super) fn server_resend(&mut self, key: &ServerKey) {
        let Some(server) = self.server(key) else {
            return;
        };
        if !server.awaits_ack() {
            return;
        }
        server.interval = (server.interval * 2).min(T2);
        let again = server.interval;
        if let Some(last) = server.last.clone() {
            self.send(last);
        }
        self.set_timer(again, Timer::ServerResend(key.clone()));
    }

    pub(super) fn server_forget(&mut self, key: &ServerKey) {
        let unacknowledged = self.server(key).is_some_and(|server| server.awaits_ack());
        if unacknowledged {
            self.complain_if_undisturbed("a refused INVITE was never acknowledged".into());
        }
        self.servers.retain(|server| server.key != *key);
    }

    /// The ACK of a refusal; false if it belongs to none.
    pub(super) fn acknowledge_refusal(&mut self, ack: &Message) -> bool {
        let key = ServerKey::of(ack);
        let Some(server) = self.server(&key) else {
            return false;
        };
        server.acknowledged = true;
        true
    }

    /// RFC 3581: whoever asks with `rport` is told how he is seen.
    fn check_received(&mut self, response: &Message) {
        let via = response.all("Via").first().copied().unwrap_or_default().to_owned();
        if self.spec.rport && param(&via, "rport").is_none_or(str::is_empty) {
            self.complain(format!("rport was asked for and not answered: {via}"));
        }
    }
}

/// What tells a client transaction from others: its branch and its method (RFC 3261 §17.1.3).
fn client_key(message: &Message) -> String {
    format!("{} {}", message.method(), message.branch())
}

/// RFC 3261 §17.1.1.3.
fn ack_of_refusal(request: &Message, response: &Message) -> Message {
    let mut ack = Message::request("ACK", request.uri());
    for (name, value) in &request.headers {
        match name.as_str() {
            "Via" | "From" | "Call-ID" | "Route" | "Max-Forwards" => {
                ack = ack.with(name, value.clone());
            }
            _ => {}
        }
    }
    let number = request.cseq().0;
    ack.with("To", response.get("To").unwrap_or_default()).with("CSeq", format!("{number} ACK"))
}

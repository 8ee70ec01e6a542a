//! Transactions (RFC 3261 §17, RFC 6026): four small machines, and the tables that run them.
//!
//! Each machine is a pure function in a file of its own, laid out like the RFC's figure; it names
//! [`Action`]s, and the tables here carry them out.

mod client;
mod invite_client;
mod invite_server;
mod server;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use super::flow::Flow;
use super::io::{Io, Timer};
use super::timer::{T1, T1_64, T2, T4};
use crate::sip::{Edit, Message, Method, Name};

/// The most transactions of each kind, finished ones included. At the bound, new requests are
/// answered 503; finished ones make room first.
pub(super) const MAX_TRANSACTIONS: usize = 65_536;

/// The most finished transactions of each side that are kept for retransmissions; beyond, the oldest
/// is forgotten early (a retransmitted request is then handled anew, a repeated response dropped).
pub(super) const MAX_FINISHED: usize = 16_384;

/// What a machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Send what is kept: a client's request or ACK, a server's last response.
    Transmit,
    /// Give the response to whoever sent the request.
    PassUp,
    /// Make the ACK of a final response other than 2xx, keep it instead of the request, send it.
    Acknowledge,
    /// Tell whoever sent the request that nothing came.
    TimedOut,
    /// Arm a timer.
    Start(Kind),
}

/// The timers, by the RFC's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
    /// Not the RFC's letter, but its rule: a cancelled INVITE ends after 64·T1 (§9.1).
    Cancelled,
}

/// Identifies a server transaction.
pub(super) type ServerKey = u128;

/// Identifies a client transaction; carried in its Via branch.
pub(super) type ClientId = u64;

/// Who is told of a client transaction's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A branch of a fork.
    Fork(u64, u16),
    /// Nobody: CANCEL, BYE of denwa's own.
    Nobody,
}

/// A map whose keys are already hashes, or counters that no outsider chooses.
pub(super) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// The hasher of [`Table`].
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All server transactions.
pub(super) struct Servers {
    table: Table<ServerKey, Server>,
    finished: VecDeque<ServerKey>,
}

/// A server transaction.
struct Server {
    machine: ServerMachine,
    reply: Flow,
    /// The last response; empty before the first.
    last: Vec<u8>,
    /// The next interval of timer G.
    interval: Duration,
    /// The fork that the request became, if any: what a CANCEL ends.
    fork: Option<u64>,
}

#[derive(Clone, Copy)]
enum ServerMachine {
    Invite(invite_server::State),
    Other(server::State),
}

/// What a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The transaction is new.
    New,
    /// It was here before, and has been dealt with.
    Again,
}

impl Servers {
    pub(super) fn new() -> Servers {
        Servers { table: Table::default(), finished: VecDeque::new() }
    }

    /// Whether there is room for one more, if need be in the place of a finished one.
    pub(super) fn has_room(&mut self) -> bool {
        if self.table.len() >= MAX_TRANSACTIONS {
            self.forget_oldest();
        }
        self.table.len() < MAX_TRANSACTIONS
    }

    /// Looks a request up; deals with it if it came again.
    pub(super) fn request(&mut self, io: &mut Io, key: ServerKey) -> Seen {
        if !self.table.contains_key(&key) {
            return Seen::New;
        }
        self.step(io, key, invite_server::Event::Request, server::Event::Request);
        Seen::Again
    }

    /// Opens a transaction for a request that [`Servers::request`] said is new.
    pub(super) fn open(&mut self, key: ServerKey, method: Method, reply: Flow) {
        if self.table.len() >= MAX_TRANSACTIONS {
            self.forget_oldest();
        }
        let machine = match method {
            Method::Invite => ServerMachine::Invite(invite_server::State::Proceeding),
            _ => ServerMachine::Other(server::State::Trying),
        };
        self.table.insert(key, Server { machine, reply, last: Vec::new(), interval: T1, fork: None });
    }

    /// Remembers which fork a request became.
    pub(super) fn set_fork(&mut self, key: ServerKey, fork: u64) {
        if let Some(server) = self.table.get_mut(&key) {
            server.fork = Some(fork);
        }
    }

    /// Which fork a request became; `Some(None)` if it became none, `None` if it is not here.
    pub(super) fn fork(&self, key: ServerKey) -> Option<Option<u64>> {
        self.table.get(&key).map(|server| server.fork)
    }

    /// Whether a request still waits for its final response.
    pub(super) fn is_open(&self, key: ServerKey) -> bool {
        self.table.get(&key).is_some_and(|server| match server.machine {
            ServerMachine::Invite(state) => state == invite_server::State::Proceeding,
            ServerMachine::Other(state) => {
                matches!(state, server::State::Trying | server::State::Proceeding)
            }
        })
    }

    /// Sends a response in a transaction; one that its state does not allow is dropped.
    pub(super) fn respond(&mut self, io: &mut Io, key: ServerKey, status: u16, bytes: Vec<u8>) {
        let Some(server) = self.table.get_mut(&key) else { return };
        let takes = match server.machine {
            ServerMachine::Invite(invite_server::State::Proceeding) => true,
            ServerMachine::Invite(invite_server::State::Accepted) => (200..300).contains(&status),
            ServerMachine::Other(server::State::Trying | server::State::Proceeding) => true,
            _ => false,
        };
        if !takes {
            return;
        }
        server.last = bytes;
        let (invite, other) = match status {
            100..200 => (invite_server::Event::Provisional, server::Event::Provisional),
            200..300 => (invite_server::Event::Success, server::Event::Final),
            _ => (invite_server::Event::Failure, server::Event::Final),
        };
        self.step(io, key, invite, other);
        if status >= 200 {
            self.finished.push_back(key);
            if self.finished.len() > MAX_FINISHED
                && let Some(oldest) = self.finished.pop_front().filter(|key| self.is_finished(key))
            {
                self.table.remove(&oldest);
            }
        }
    }

    /// The ACK of a final response other than 2xx. False: it belongs to no transaction here.
    pub(super) fn ack(&mut self, io: &mut Io, key: ServerKey) -> bool {
        let waits = self.table.get(&key).is_some_and(|server| {
            use invite_server::State::{Completed, Confirmed};
            matches!(server.machine, ServerMachine::Invite(Completed | Confirmed))
        });
        if waits {
            self.step(io, key, invite_server::Event::Ack, server::Event::Request);
        }
        waits
    }

    /// A timer has come.
    pub(super) fn timer(&mut self, io: &mut Io, key: ServerKey, kind: Kind) {
        use invite_server::Event;
        let invite = match kind {
            Kind::G => Event::TimerG,
            Kind::H => Event::TimerH,
            Kind::I => Event::TimerI,
            _ => Event::TimerL,
        };
        self.step(io, key, invite, server::Event::TimerJ);
    }

    fn step(&mut self, io: &mut Io, key: ServerKey, invite: invite_server::Event, other: server::Event) {
        let Some(server) = self.table.get_mut(&key) else { return };
        let reliable = server.reply.is_reliable();
        let actions = match &mut server.machine {
            ServerMachine::Invite(state) => {
                let (next, actions) = invite_server::step(*state, invite, reliable);
                *state = next;
                actions
            }
            ServerMachine::Other(state) => {
                let (next, actions) = server::step(*state, other, reliable);
                *state = next;
                actions
            }
        };
        for action in actions {
            match action {
                Action::Transmit if !server.last.is_empty() => io.send(server.reply, server.last.clone()),
                Action::Start(kind) => {
                    let after = match kind {
                        Kind::G => {
                            let interval = server.interval;
                            server.interval = (interval * 2).min(T2);
                            interval
                        }
                        Kind::I => T4,
                        _ => T1_64,
                    };
                    io.arm(after, Timer::Server(key, *kind));
                }
                _ => {}
            }
        }
        if let ServerMachine::Invite(invite_server::State::Accepted) = server.machine {
            // Retransmissions of a 2xx come from the callee (RFC 6026 §7.1): nothing is kept.
            server.last = Vec::new();
        }
        let gone = match server.machine {
            ServerMachine::Invite(state) => state == invite_server::State::Terminated,
            ServerMachine::Other(state) => state == server::State::Terminated,
        };
        if gone {
            self.table.remove(&key);
        }
    }

    fn is_finished(&self, key: &ServerKey) -> bool {
        self.table.get(key).is_some_and(|server| match server.machine {
            ServerMachine::Invite(state) => state != invite_server::State::Proceeding,
            ServerMachine::Other(state) => state == server::State::Completed,
        })
    }

    fn forget_oldest(&mut self) {
        while let Some(key) = self.finished.pop_front() {
            if self.is_finished(&key) {
                self.table.remove(&key);
                return;
            }
        }
    }
}

/// All client transactions.
pub(super) struct Clients {
    table: Table<(ClientId, bool), Client>,
    /// Those that had their final response, the oldest first.
    finished: VecDeque<(ClientId, bool)>,
}

/// A client transaction.
struct Client {
    machine: ClientMachine,
    flow: Flow,
    owner: Owner,
    /// The request; later its ACK; nothing once neither is needed.
    request: Vec<u8>,
    /// The next interval of timers A and E.
    interval: Duration,
    cancelled: bool,
}

impl Client {
    /// Whether all that may still come is what came before.
    fn is_finished(&self) -> bool {
        match self.machine {
            ClientMachine::Invite(state) => {
                use invite_client::State::{Accepted, Completed};
                matches!(state, Accepted | Completed)
            }
            ClientMachine::Other(state) => state == client::State::Completed,
        }
    }
}

#[derive(Clone, Copy)]
enum ClientMachine {
    Invite(invite_client::State),
    Other(client::State),
}

impl Client {
    /// Whether no final response came.
    fn is_pending(&self) -> bool {
        match self.machine {
            ClientMachine::Invite(state) => {
                matches!(state, invite_client::State::Calling | invite_client::State::Proceeding)
            }
            ClientMachine::Other(state) => {
                matches!(state, client::State::Trying | client::State::Proceeding)
            }
        }
    }
}

impl Clients {
    pub(super) fn new() -> Clients {
        Clients { table: Table::default(), finished: VecDeque::new() }
    }

    /// Whether there is room for one more. Finished ones take little: [`MAX_FINISHED`] at most.
    pub(super) fn has_room(&self) -> bool {
        self.table.len() < MAX_TRANSACTIONS
    }

    /// Sends a request in a new transaction.
    pub(super) fn start(
        &mut self,
        io: &mut Io,
        id: ClientId,
        method: Method,
        flow: Flow,
        request: Vec<u8>,
        owner: Owner,
    ) {
        let machine = match method {
            Method::Invite => ClientMachine::Invite(invite_client::State::Calling),
            _ => ClientMachine::Other(client::State::Trying),
        };
        io.send(flow, request.clone());
        let (again, timeout) = match method {
            Method::Invite => (Kind::A, Kind::B),
            _ => (Kind::E, Kind::F),
        };
        let cancel = method == Method::Cancel;
        if !flow.is_reliable() {
            io.arm(T1, Timer::Client(id, cancel, again));
        }
        io.arm(T1_64, Timer::Client(id, cancel, timeout));
        let client = Client { machine, flow, owner, request, interval: T1 * 2, cancelled: false };
        self.table.insert((id, cancel), client);
    }

    /// A phone is at another flow now: what it was asked on the old one and did not answer is asked
    /// again there. On a stream that broke nothing else would, and a BYE must not be lost so.
    pub(super) fn moved(&mut self, io: &mut Io, old: Flow, new: Flow) {
        let waits = |client: &Client| client.flow == old && client.is_pending();
        let mut waiting: Vec<(ClientId, bool)> =
            self.table.iter().filter(|(_, client)| waits(client)).map(|(key, _)| *key).collect();
        waiting.sort_unstable();
        for key in waiting.into_iter().filter(|_| old.transport == new.transport) {
            if let Some(client) = self.table.get_mut(&key) {
                client.flow = new;
                io.send(new, client.request.clone());
            }
        }
    }

    /// A response whose branch is ours. `Some`: it goes up to the owner.
    pub(super) fn response(&mut self, io: &mut Io, id: ClientId, message: &Message<'_>) -> Option<Owner> {
        let cancel = message.cseq()?.method == Method::Cancel;
        let (invite, other) = match message.status()? {
            100..200 => (invite_client::Event::Provisional, client::Event::Provisional),
            200..300 => (invite_client::Event::Success, client::Event::Final),
            _ => (invite_client::Event::Failure, client::Event::Final),
        };
        self.step(io, id, cancel, invite, other, Some(message)).filter(|told| !told.1).map(|told| told.0)
    }

    /// A timer has come. `Some`: the owner is told that nothing came.
    pub(super) fn timer(&mut self, io: &mut Io, id: ClientId, cancel: bool, kind: Kind) -> Option<Owner> {
        if kind == Kind::Cancelled {
            // Still no final response: as if timer B had come.
            return self.table.remove(&(id, cancel)).and_then(|client| match client.machine {
                ClientMachine::Invite(invite_client::State::Proceeding) => Some(client.owner),
                _ => {
                    self.table.insert((id, cancel), client);
                    None
                }
            });
        }
        let invite = match kind {
            Kind::A => invite_client::Event::TimerA,
            Kind::B => invite_client::Event::TimerB,
            Kind::D => invite_client::Event::TimerD,
            _ => invite_client::Event::TimerM,
        };
        let other = match kind {
            Kind::E => client::Event::TimerE,
            Kind::F => client::Event::TimerF,
            _ => client::Event::TimerK,
        };
        self.step(io, id, cancel, invite, other, None).filter(|told| told.1).map(|told| told.0)
    }

    /// Cancels an INVITE that was provisionally answered (RFC 3261 §9.1). `headers` are whole lines.
    pub(super) fn cancel(&mut self, io: &mut Io, id: ClientId, headers: &[u8]) {
        let Some(client) = self.table.get_mut(&(id, false)) else { return };
        let proceeding = ClientMachine::Invite(invite_client::State::Proceeding);
        if !matches!((client.machine, proceeding), (ClientMachine::Invite(a), ClientMachine::Invite(b)) if a == b)
            || client.cancelled
        {
            return;
        }
        client.cancelled = true;
        io.arm(T1_64, Timer::Client(id, false, Kind::Cancelled));
        let flow = client.flow;
        let Ok(invite) = Message::parse(&client.request) else { return };
        let cancel = hop_request(&invite, "CANCEL", invite.first(Name::To).unwrap_or_default(), headers);
        self.start(io, id, Method::Cancel, flow, cancel, Owner::Nobody);
    }

    /// `Some((owner, timed_out))` where the owner is to be told.
    fn step(
        &mut self,
        io: &mut Io,
        id: ClientId,
        cancel: bool,
        invite: invite_client::Event,
        other: client::Event,
        response: Option<&Message<'_>>,
    ) -> Option<(Owner, bool)> {
        let client = self.table.get_mut(&(id, cancel))?;
        let reliable = client.flow.is_reliable();
        let was_finished = client.is_finished();
        let actions = match &mut client.machine {
            ClientMachine::Invite(state) => {
                let (next, actions) = invite_client::step(*state, invite, reliable);
                *state = next;
                actions
            }
            ClientMachine::Other(state) => {
                let (next, actions) = client::step(*state, other, reliable);
                *state = next;
                actions
            }
        };
        let mut told = None;
        for action in actions {
            match action {
                Action::Transmit => io.send(client.flow, client.request.clone()),
                Action::PassUp => told = Some((client.owner, false)),
                Action::TimedOut => told = Some((client.owner, true)),
                Action::Acknowledge => {
                    if let (Ok(invite), Some(response)) = (Message::parse(&client.request), response) {
                        let to = response.first(Name::To).unwrap_or_default();
                        client.request = hop_request(&invite, "ACK", to, b"");
                        io.send(client.flow, client.request.clone());
                    }
                }
                Action::Start(kind) => {
                    let after = match kind {
                        Kind::A => {
                            let interval = client.interval;
                            client.interval = interval * 2;
                            interval
                        }
                        Kind::E => {
                            let interval = client.interval.min(T2);
                            client.interval = interval * 2;
                            interval
                        }
                        Kind::K => T4,
                        _ => T1_64,
                    };
                    io.arm(after, Timer::Client(id, cancel, *kind));
                }
            }
        }
        let gone = match client.machine {
            ClientMachine::Invite(state) => {
                if state == invite_client::State::Accepted {
                    client.request = Vec::new();
                }
                state == invite_client::State::Terminated
            }
            ClientMachine::Other(state) => {
                if state == client::State::Completed {
                    client.request = Vec::new();
                }
                state == client::State::Terminated
            }
        };
        if gone {
            self.table.remove(&(id, cancel));
        } else if client.is_finished() && !was_finished {
            self.finished.push_back((id, cancel));
            if self.finished.len() > MAX_FINISHED
                && let Some(oldest) = self.finished.pop_front()
                && self.table.get(&oldest).is_some_and(Client::is_finished)
            {
                self.table.remove(&oldest);
            }
        }
        told
    }
}

/// The ACK or CANCEL of an INVITE that denwa sent: the same Request-URI, topmost Via, From,
/// Call-ID, CSeq number and Route (RFC 3261 §9.1, §17.1.1.3).
fn hop_request(invite: &Message<'_>, method: &str, to: &[u8], headers: &[u8]) -> Vec<u8> {
    let mut edit = Edit::new(invite);
    let number = invite.first(Name::CSeq).unwrap_or_default();
    let digits = number.iter().take_while(|b| b.is_ascii_digit()).count();
    edit.replace(invite.span(invite.method_name()), &[method.as_bytes()]);
    let mut vias = 0;
    for header in invite.headers() {
        match header.name {
            Name::Via => {
                vias += 1;
                if vias > 1 {
                    edit.remove(header.line());
                }
            }
            Name::To => edit.replace(invite.span(invite.value(header)), &[to]),
            Name::CSeq => {
                let method_at = invite.span(&invite.value(header)[digits..]);
                edit.replace(method_at, &[b" ", method.as_bytes()]);
            }
            Name::From | Name::CallId | Name::Route | Name::MaxForwards => {}
            _ => edit.remove(header.line()),
        }
    }
    // The blank line, with what there is to add in front of it, and no body.
    let end = invite.bytes().len();
    let after_headers = invite.headers().last().map_or(end, |h| h.line().end);
    edit.replace(after_headers..end, &[headers, b"Content-Length: 0\r\n\r\n"]);
    edit.finish()
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn neighbours_do_not_meet_in_a_table() {
        let spread = BuildHasherDefault::<Spread>::default();
        let hashes: std::collections::BTreeSet<u64> = (0..1000u64)
            .flat_map(|id| [(id, false), (id, true)])
            .map(|key| spread.hash_one(key) & 0xffff)
            .collect();
        assert!(hashes.len() > 1900, "{} of 2000 low halves differ", hashes.len());
    }
}

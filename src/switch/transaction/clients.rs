//! The client transactions: what denwa sent, and who waits for the answer.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, ClientId, Kind, MAX_FINISHED, MAX_TRANSACTIONS, Owner, client, invite_client};
use crate::sip::{Edit, Message, Method, Name};
use crate::switch::flow::Flow;
use crate::switch::fork::BranchState;
use crate::switch::io::{Io, Timer};
use crate::switch::table::Table;
use crate::switch::timer::{T1, T1_64, T2, T4};

/// All client transactions.
pub(in crate::switch) struct Clients {
    table: Table<(ClientId, bool), Client>,
    /// Those that had their final response, the oldest first.
    finished: VecDeque<(ClientId, bool)>,
}

/// A client transaction.
struct Client {
    /// What was asked; a response that names another method is none to it (RFC 3261 §17.1.3).
    method: Method,
    machine: ClientMachine,
    flow: Flow,
    owner: Owner,
    /// The request; later its ACK; nothing once neither is needed.
    request: Vec<u8>,
    /// The next interval of timers A and E.
    interval: Duration,
    cancelled: bool,
    /// Of the request only its skeleton is left: it cannot be sent again.
    is_skeleton: bool,
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
    /// Whether any request waits for its final response.
    pub(in crate::switch) fn has_pending(&self) -> bool {
        self.table.values().any(Client::is_pending)
    }

    pub(in crate::switch) fn new() -> Clients {
        Clients { table: Table::default(), finished: VecDeque::new() }
    }

    /// Whether there is none.
    pub(in crate::switch) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether there is room for one more. Finished ones take little: [`MAX_FINISHED`] at most.
    pub(in crate::switch) fn has_room(&self) -> bool {
        self.table.len() < MAX_TRANSACTIONS
    }

    /// Sends a request in a new transaction.
    pub(in crate::switch) fn start(
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
        let client = Client {
            method,
            machine,
            flow,
            owner,
            request,
            interval: T1 * 2,
            cancelled: false,
            is_skeleton: false,
        };
        self.table.insert((id, cancel), client);
    }

    /// An INVITE that the process before has sent, and of which `request` is left, is answered to this one: at
    /// all, finally, or once more.
    pub(in crate::switch) fn restore(
        &mut self,
        io: &mut Io,
        id: ClientId,
        flow: Flow,
        request: Vec<u8>,
        owner: Owner,
        progress: BranchState,
    ) {
        let (state, timer) = match progress {
            BranchState::Trying => (invite_client::State::Calling, Some(Kind::B)),
            BranchState::Ringing | BranchState::Unwanted(_) => (invite_client::State::Proceeding, None),
            BranchState::Done => (invite_client::State::Accepted, Some(Kind::M)),
        };
        if let Some(kind) = timer {
            io.arm(T1_64, Timer::Client(id, false, kind));
        }
        let (method, machine) = (Method::Invite, ClientMachine::Invite(state));
        let client = Client {
            method,
            machine,
            flow,
            owner,
            request,
            interval: T1,
            cancelled: false,
            is_skeleton: true,
        };
        self.table.insert((id, false), client);
    }

    /// A phone is at another flow now: what it was asked on the old one and did not answer is asked
    /// again there. On a stream that broke nothing else would, and a BYE must not be lost so.
    pub(in crate::switch) fn moved(&mut self, io: &mut Io, old: Flow, new: Flow) {
        let waits = |client: &Client| client.flow == old && client.is_pending();
        let mut waiting: Vec<(ClientId, bool)> =
            self.table.iter().filter(|(_, client)| waits(client)).map(|(key, _)| *key).collect();
        waiting.sort_unstable();
        for key in waiting.into_iter().filter(|_| old.transport == new.transport) {
            if let Some(client) = self.table.get_mut(&key) {
                client.flow = new;
                if !client.is_skeleton {
                    io.send(new, client.request.clone());
                }
            }
        }
    }

    /// A response whose branch is ours. `Some`: it goes up to the owner.
    pub(in crate::switch) fn response(
        &mut self,
        io: &mut Io,
        id: ClientId,
        message: &Message<'_>,
    ) -> Option<Owner> {
        let method = message.cseq()?.method;
        let cancel = method == Method::Cancel;
        if self.table.get(&(id, cancel)).is_some_and(|client| client.method != method) {
            return None;
        }
        let (invite, other) = match message.status()? {
            100..200 => (invite_client::Event::Provisional, client::Event::Provisional),
            200..300 => (invite_client::Event::Success, client::Event::Final),
            _ => (invite_client::Event::Failure, client::Event::Final),
        };
        self.step(io, id, cancel, invite, other, Some(message)).filter(|told| !told.1).map(|told| told.0)
    }

    /// A timer has come. `Some`: the owner is told that nothing came.
    pub(in crate::switch) fn timer(
        &mut self,
        io: &mut Io,
        id: ClientId,
        cancel: bool,
        kind: Kind,
    ) -> Option<Owner> {
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
    pub(in crate::switch) fn cancel(&mut self, io: &mut Io, id: ClientId, headers: &[u8]) {
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
                let value = invite.value(header);
                let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
                let (_, after_number) = value.split_at(digits);
                edit.replace(invite.span(after_number), &[b" ", method.as_bytes()]);
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A journal of another making may hold one; [`crate::sip::check`] refuses it from the network.
    #[test]
    fn an_invite_with_a_cseq_that_is_no_number_is_acknowledged_as_it_is() {
        let bytes =
            b"INVITE sip:102@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCSeq: 17 INVITE\r\nCSeq:\r\nCSeq: x\r\n\r\n";
        let invite = Message::parse(bytes).unwrap();
        let ack = hop_request(&invite, "ACK", b"<sip:102@h>", b"");
        let text = String::from_utf8(ack).unwrap();
        assert!(text.starts_with("ACK sip:102@h SIP/2.0\r\n"), "{text}");
        assert!(text.contains("\r\nCSeq: 17 ACK\r\nCSeq: ACK\r\nCSeq:  ACK\r\n"), "{text}");
    }
}

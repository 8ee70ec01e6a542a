//! The server transactions: what came, and what was answered.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, Kind, MAX_FINISHED, MAX_TRANSACTIONS, ServerKey, invite_server, server};
use crate::sip::Method;
use crate::switch::flow::Flow;
use crate::switch::io::{Io, Timer};
use crate::switch::table::Table;
use crate::switch::timer::{T1, T1_64, T2, T4};

/// All server transactions.
pub(in crate::switch) struct Servers {
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
pub(in crate::switch) enum Seen {
    /// The transaction is new.
    New,
    /// It was here before, and has been dealt with.
    Again,
}

impl Servers {
    pub(in crate::switch) fn new() -> Servers {
        Servers { table: Table::default(), finished: VecDeque::new() }
    }

    /// Whether there is none.
    pub(in crate::switch) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether any request waits for its final response.
    pub(in crate::switch) fn has_pending(&self) -> bool {
        self.table.keys().any(|key| self.is_open(*key))
    }

    /// Whether there is room for one more, if need be in the place of a finished one.
    pub(in crate::switch) fn has_room(&mut self) -> bool {
        if self.table.len() >= MAX_TRANSACTIONS {
            self.forget_oldest();
        }
        self.table.len() < MAX_TRANSACTIONS
    }

    /// Looks a request up; deals with it if it came again.
    pub(in crate::switch) fn request(&mut self, io: &mut Io, key: ServerKey) -> Seen {
        if !self.table.contains_key(&key) {
            return Seen::New;
        }
        self.step(io, key, invite_server::Event::Request, server::Event::Request);
        Seen::Again
    }

    /// Opens a transaction for a request that [`Servers::request`] said is new.
    pub(in crate::switch) fn open(&mut self, key: ServerKey, method: Method, reply: Flow) {
        if self.table.len() >= MAX_TRANSACTIONS {
            self.forget_oldest();
        }
        let machine = match method {
            Method::Invite => ServerMachine::Invite(invite_server::State::Proceeding),
            _ => ServerMachine::Other(server::State::Trying),
        };
        self.table.insert(key, Server { machine, reply, last: Vec::new(), interval: T1, fork: None });
    }

    /// Opens a transaction for an INVITE that came to the process before and became this fork; one that was
    /// answered by a 2xx if `is_accepted`.
    pub(in crate::switch) fn restore(
        &mut self,
        io: &mut Io,
        key: ServerKey,
        reply: Flow,
        fork: u64,
        is_accepted: bool,
    ) {
        let state = match is_accepted {
            true => invite_server::State::Accepted,
            false => invite_server::State::Proceeding,
        };
        if is_accepted {
            io.arm(T1_64, Timer::Server(key, Kind::L));
        }
        let (machine, last, fork) = (ServerMachine::Invite(state), Vec::new(), Some(fork));
        self.table.insert(key, Server { machine, reply, last, interval: T1, fork });
    }

    /// Remembers which fork a request became.
    pub(in crate::switch) fn set_fork(&mut self, key: ServerKey, fork: u64) {
        if let Some(server) = self.table.get_mut(&key) {
            server.fork = Some(fork);
        }
    }

    /// Which fork a request became; `Some(None)` if it became none, `None` if it is not here.
    pub(in crate::switch) fn fork(&self, key: ServerKey) -> Option<Option<u64>> {
        self.table.get(&key).map(|server| server.fork)
    }

    /// Whether a request still waits for its final response.
    pub(in crate::switch) fn is_open(&self, key: ServerKey) -> bool {
        self.table.get(&key).is_some_and(|server| match server.machine {
            ServerMachine::Invite(state) => state == invite_server::State::Proceeding,
            ServerMachine::Other(state) => {
                matches!(state, server::State::Trying | server::State::Proceeding)
            }
        })
    }

    /// Sends a response in a transaction; one that its state does not allow is dropped.
    pub(in crate::switch) fn respond(&mut self, io: &mut Io, key: ServerKey, status: u16, bytes: Vec<u8>) {
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

    /// Somebody whose stream has ended is at another one now, `new`: what was asked on the old one from the same
    /// address is answered there (RFC 3261 §18.2.2), and what was answered and may not have been heard is answered
    /// again. Returns the forks for which that is so.
    pub(in crate::switch) fn moved(
        &mut self,
        io: &mut Io,
        is_old: &dyn Fn(&Flow) -> bool,
        new: Flow,
    ) -> Vec<u64> {
        let mut forks = Vec::new();
        let is_from_there = |old: &Flow| (old.transport, old.source()) == (new.transport, new.source());
        let asked =
            self.table.iter().filter(|(_, server)| is_old(&server.reply) && is_from_there(&server.reply));
        let mut asked: Vec<ServerKey> = asked.map(|(key, _)| *key).collect();
        asked.sort_unstable();
        for key in asked {
            if let Some(server) = self.table.get_mut(&key) {
                server.reply = new;
                forks.extend(server.fork);
                if matches!(server.machine, ServerMachine::Invite(invite_server::State::Completed)) {
                    io.send(new, server.last.clone());
                }
            }
        }
        forks
    }

    /// The ACK of a final response other than 2xx. False: it belongs to no transaction here.
    pub(in crate::switch) fn ack(&mut self, io: &mut Io, key: ServerKey) -> bool {
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
    pub(in crate::switch) fn timer(&mut self, io: &mut Io, key: ServerKey, kind: Kind) {
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

//! The exchange itself: a state machine that owns no socket, reads no clock and spawns nothing.
//!
//! ```text
//! switch.handle(now, input);                       // one input: a packet, a tick, a command
//! while let Some(output) = switch.poll() { … }     // drain it all before the next input
//! switch.deadline();                               // when it wants to be woken
//! ```
//!
//! What a packet passes, file by file: `admission` asks the guard, `request` sorts it, `transaction` absorbs what was here before,
//! `auth` asks who speaks, and `register`, or a `fork` with its branches, takes it. The fork of an
//! INVITE makes a `call`, with a leg for each phone; requests inside its dialogs find it by the
//! `token` that denwa wrote into Record-Route, and `dialog` sends them on. `negotiation` and
//! `relaying` follow offers and answers and tell the relay; `hangup` ends what has to end. `reload`
//! goes over to another configuration; `survival` is about the next process, which goes on where this one ends.
//!
//! A leg may lead to another exchange: `reach` finds those, `route` says which numbers are theirs, `ring_neighbour` calls
//! them, and a `persona` is what a call is named there. `proof` answers when they ask who we are, `trunk` registers
//! with providers, and `toll` knows what their lines may cost. What a phone asks of another exchange's caller by REFER,
//! `transfer` does; what denwa says of its own in a dialog, `own` writes.

mod admission;
mod annals;
mod answer;
mod auth;
mod call;
mod codec;
mod date;
mod dialog;
mod echo;
mod emergency;
mod event;
mod flow;
mod fork;
mod form;
mod forward;
mod hangup;
mod invite;
mod io;
mod ledger;
mod negotiation;
mod neighbour;
mod operate;
mod own;
mod persona;
mod proof;
mod reach;
mod recent;
mod register;
mod registrar;
mod relaying;
mod reload;
mod request;
mod ring;
mod ring_neighbour;
mod route;
mod secret;
mod stateless;
mod stopping;
mod survival;
mod table;
mod timer;
mod token;
mod toll;
mod transaction;
mod transfer;
mod trunk;
mod usage;
pub mod view;
mod view_neighbours;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

pub use crate::time::Instant;
pub use annals::{Incident, What};
pub use event::{CallParties, CallRecord, Cause, Event, Gone, Input, Operation, Output};
pub use flow::{Flow, StreamId, Transport};
pub use neighbour::{HostId, MAX_WAYS};
pub use route::explain as explain_route;

use crate::config::{Config, LogLevel};
use crate::guard::Guard;
use crate::media::PortAllocator;
use io::{Io, Timer};
use ledger::Ledger;
use transaction::{Clients, Servers};

/// The most calls at once, ended ones that are still remembered included. At the bound, INVITE is
/// answered 503.
pub const MAX_CALLS: usize = 16_384;

/// The exchange.
pub struct Switch {
    config: Config,
    secret: secret::Secret,
    guard: Guard,
    io: Io,
    servers: Servers,
    clients: Clients,
    auth: auth::Authenticator,
    registrar: registrar::Registrar,
    neighbours: neighbour::Neighbours,
    forks: Ledger<fork::Fork>,
    /// Forks that are kept for repeated 2xx alone, the oldest first; as many as transactions.
    over: VecDeque<u64>,
    calls: Ledger<call::Call>,
    /// Ended calls, the oldest first.
    ended: VecDeque<u64>,
    /// Calls that have not ended.
    live: usize,
    ports: PortAllocator,
    /// BYEs of our own to other exchanges that are not answered; as many as transactions at most.
    farewells: BTreeMap<transaction::ClientId, proof::Farewell>,
    usage: usage::Usage,
    /// What of providers' lines was used.
    toll: toll::Toll,
    /// Addresses of ours that packets came to, those of bindings and calls from before a restart included.
    addresses: BTreeSet<IpAddr>,
    /// What went wrong lately.
    annals: annals::Annals,
    /// When the first packet came from outside: from a public address that is not ours.
    outside: Option<Instant>,
    /// Whether the machine will be stopped.
    stopping: stopping::Stopping,
    /// The last `Date` line, and the second that it is for.
    date: (u64, Vec<u8>),
    made: u64,
    calls_made: u64,
    clients_made: u64,
}

impl Switch {
    /// An exchange on a configuration, with no past. `seed` is 32 random bytes: all its secrets and
    /// identifiers come from them, so equal seeds and inputs give equal outputs.
    pub fn new(config: Config, seed: [u8; 32]) -> Switch {
        let mut switch = Switch::with_secret(config, secret::Secret::new(seed, seed));
        switch.meet_neighbours();
        switch
    }

    fn with_secret(config: Config, secret: secret::Secret) -> Switch {
        Switch {
            io: Io::new(config.log >= LogLevel::Debug),
            ports: PortAllocator::new(config.media_ports),
            farewells: BTreeMap::new(),
            usage: usage::Usage::default(),
            toll: toll::Toll::default(),
            auth: auth::Authenticator::new(&config),
            guard: Guard::new(&config, secret.table_keys()),
            config,
            secret,
            servers: Servers::new(),
            clients: Clients::new(),
            registrar: registrar::Registrar::new(),
            neighbours: neighbour::Neighbours::default(),
            forks: Ledger::default(),
            over: VecDeque::new(),
            calls: Ledger::default(),
            ended: VecDeque::new(),
            live: 0,
            addresses: BTreeSet::new(),
            annals: annals::Annals::default(),
            outside: None,
            stopping: stopping::Stopping::default(),
            date: (0, Vec::new()),
            made: 0,
            calls_made: 0,
            clients_made: 0,
        }
    }

    /// Takes one input. `now` must not go backwards; where it does, it counts as standing still.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.io.now = self.io.now.max(now);
        match input {
            Input::Packet { flow, bytes } => self.packet(flow, bytes),
            Input::Opened(flow) => self.opened(flow),
            Input::Certified { flow, sha256 } => self.certified(flow, sha256),
            Input::Closed(stream) => self.closed(stream),
            Input::Media(event) => self.media_event(event),
            Input::Clock(unix) => self.clock(unix),
            Input::Renamed => self.neighbours.renamed(),
            Input::Tick => {}
            Input::HangUp(why) => self.hang_up_all(why),
            Input::Reload(config) => self.reload(*config),
            Input::Operator(operation) => self.operate(operation),
            Input::Advertised(addresses) => self.is_advertised(addresses),
            Input::Located(host, found) => self.located(host, found),
            Input::MachineStops(after) => self.machine_stops(after),
            // Nobody has asked for one so far.
            Input::Connected { ticket, flow } => self.connected(ticket, flow),
            Input::NotConnected { ticket, why } => self.not_connected(ticket, &why),
        }
        while let Some(timer) = self.io.due() {
            self.timer(timer);
        }
        self.consult();
    }

    /// The next thing to do; drain until `None` after each [`Switch::handle`].
    pub fn poll(&mut self) -> Option<Output> {
        self.io.poll()
    }

    /// When the switch wants [`Input::Tick`], if nothing else comes first.
    pub fn deadline(&self) -> Option<Instant> {
        self.io.deadline().into_iter().chain(self.guard.deadline()).min()
    }

    /// The time, as it was told last.
    pub fn now(&self) -> Instant {
        self.io.now
    }

    /// How many calls have not ended.
    pub fn calls(&self) -> usize {
        self.live
    }

    /// Whether nothing is under way that [`Switch::snapshot`] does not tell of: no call rings, and whoever asks,
    /// here or there, was answered.
    pub fn is_settled(&self) -> bool {
        let rings = |call: &call::Call| match call.phase {
            call::Phase::Ringing | call::Phase::Up { acknowledged: false, .. } => true,
            call::Phase::Up { .. } | call::Phase::Over => false,
        };
        !self.servers.has_pending() && !self.clients.has_pending() && !self.calls.values().any(rings)
    }

    /// Whether nothing is kept of anybody: no transaction, no call, no binding. What only helps to judge,
    /// as the nonces that were used, does not count.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
            && self.clients.is_empty()
            && self.forks.is_empty()
            && self.calls.is_empty()
            && self.registrar.is_empty()
    }

    /// How many pairs of media ports are given out.
    pub fn ports_in_use(&self) -> usize {
        self.ports.in_use()
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Server(key, kind) => self.servers.timer(&mut self.io, key, kind),
            Timer::Client(id, cancel, kind) => {
                if let Some(owner) = self.clients.timer(&mut self.io, id, cancel, kind) {
                    self.client_timed_out(owner);
                }
            }
            Timer::TimerC(fork) => self.timer_c(fork),
            Timer::NoAnswer(fork, stage) => self.no_answer(fork, stage),
            Timer::CallLimit(call) => self.call_limit(call),
            Timer::ForgetCall(call) => self.forget_call(call),
            Timer::ForgetFork(fork) => {
                self.forks.remove(&fork);
            }
            Timer::Unacknowledged(call) => self.unacknowledged(call),
            Timer::Insist(call) => self.insist_again(call),
            Timer::AskOutside(call) => self.ask_outside(call),
            Timer::Neighbour(host) => self.neighbour_due(host),
            Timer::Connect(host) => self.connect(host),
            Timer::Register(host) => self.registration_due(host),
            Timer::Hurry(fork, branch) => self.hurry(fork, branch),
            Timer::Binding(binding) => self.binding_timer(binding),
            Timer::Stopping => self.stop_nears(),
            Timer::Unreached => self.is_unreached(),
        }
    }

    fn hang_up_all(&mut self, why: &'static str) {
        if self.live > 0 {
            self.io.tell(Event::Notice(format!("{} calls are ended: {why}", self.live)));
        }
        for call in self.calls.ids() {
            self.end_call(call, Cause::Operator);
        }
    }
}

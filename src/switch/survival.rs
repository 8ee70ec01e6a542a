//! The next process: what it must know, and how it goes on with that.
//!
//! | what | what becomes of it |
//! |---|---|
//! | a binding | is there; a phone on a stream is called when it has come back |
//! | a call that was answered | goes on, on the same ports; so does an INVITE that is under way in it |
//! | a call that rang | ends: its phones are cancelled, its caller gets 503 |
//! | a call that was being hung up | is hung up to both phones, whatever they have heard |
//! | any other transaction | is forgotten: whoever still waits for an answer sends his request again |

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use super::Switch;
use super::admission::UNREACHED;
use super::call::{Call, Phase};
use super::event::{Cause, Event};
use super::flow::{Flow, Standing};
use super::fork::{ELSEWHERE, Fork, Kind, NO_REASON};
use super::form;
use super::io::Timer;
use super::ledger::Note;
use super::secret;
use super::timer::T1_64;
use super::transaction::Owner;
use crate::config::Config;
use crate::guard::{Decision, Prefix};
use crate::journal::{Ban, Clocks, Kept, Octets, Record, Secret, State};
use crate::media::{self, SessionId, Side};
use crate::sip::Message;

/// How many numbers of client transactions a millisecond has. As long as fewer are made, which is far above
/// what a machine can do, none is made by two processes one after the other.
const CLIENTS_A_MILLISECOND: u64 = 256;

/// Room for the form of a call or an INVITE as most phones make them, in octets.
const USUAL_FORM: usize = 2_048;

impl Switch {
    /// An exchange that goes on where another one ended, as far as `state` tells, which was carried over to
    /// these `clocks` ([`State::resume`]). `seed` is 32 random bytes of its own: the secrets that last are
    /// those of the other one.
    ///
    /// `streams` are connections that the other one has handed over, and that stand.
    ///
    /// Phones on UDP can be called at once if we still listen where they were registered; those on TCP too if
    /// their connection stands, else when they have come back. Bindings and calls of extensions that there are
    /// no more are gone.
    pub fn restore(config: Config, seed: [u8; 32], state: State, clocks: Clocks, streams: &[Flow]) -> Switch {
        let lasting = state.secret.map_or(seed, |Secret(lasting)| lasting);
        let mut switch = Switch::with_secret(config, secret::Secret::new(lasting, seed));
        switch.io.now = clocks.now;
        switch.io.wall = i128::from(clocks.wall) - i128::from(clocks.now.0);
        switch.clients_made = clocks.now.0.wrapping_mul(CLIENTS_A_MILLISECOND);
        let standing = Standing::new(streams);
        for binding in state.bindings.values() {
            switch.is_reached_at(SocketAddr::from(binding.flow.local).ip());
        }
        switch.registrar.restore(&switch.config, clocks.now, state.bindings.into_values(), &standing);
        for (after, binding) in switch.registrar.all_wakes(&switch.config, clocks.now) {
            switch.io.arm(after, Timer::Binding(binding));
        }
        for used in state.used.into_values() {
            switch.usage.restore(&switch.config, used);
        }
        switch.calls_made = state.numbered;
        for (id, Octets(form)) in state.calls {
            switch.calls.recall(id, &form);
            switch.restore_call(&standing, id, &form);
        }
        for (id, (call, Octets(form))) in state.invites {
            switch.forks.recall(id, &form);
            switch.restore_invite(&standing, id, call, &form);
        }
        for (id, Octets(form)) in state.locks {
            if let Some(call) = switch.calls.get_mut(&id) {
                call.locks = form::read_locks(&form);
            }
        }
        for id in switch.calls.ids() {
            switch.resume(id, state.over.contains(&id));
        }
        switch.end_removed();
        switch.io.arm(UNREACHED, Timer::Unreached);
        switch.consult();
        for Ban { source, failures, until, .. } in state.bans.into_values() {
            let source = Prefix::from_bits(source);
            switch.guard.restore(clocks.now, Decision { source, failures, until: Some(until) });
        }
        for flow in streams {
            let proved = switch.registrar.knows(flow);
            switch.guard.inherit(clocks.now, flow.stream.0, flow.source(), proved);
        }
        switch
    }

    /// Gives all records from which [`Switch::restore`] makes what is alive now.
    pub fn snapshot(&self, each: &mut dyn FnMut(&Record)) {
        each(&Record::Secret(Secret(self.secret.lasting())));
        each(&Record::Clock(self.clocks()));
        if self.is_parked() {
            each(&Record::Parked(true));
        }
        self.registrar.snapshot(self.io.now, each);
        each(&Record::Numbered(self.calls_made));
        self.usage.snapshot(each);
        for decision in self.guard.all_decisions(self.io.now) {
            each(&self.decision(decision));
        }
        for id in self.calls.ids().into_iter().filter(|id| self.calls.is_noted(*id)) {
            let mut bytes = Vec::new();
            if self.write_call(id, &mut bytes) {
                each(&Record::Call(self.kept(id, &bytes)));
            }
            if self.calls.get(&id).is_some_and(Call::is_told) {
                each(&Record::CallOver(id));
            }
            if let Some(record) = self.locks(id) {
                each(&record);
            }
        }
        for id in self.forks.ids().into_iter().filter(|id| self.forks.is_noted(*id)) {
            let mut bytes = Vec::new();
            if let Some(call) = self.write_invite(id, &mut bytes) {
                each(&Record::Invite(call, self.kept(id, &bytes)));
            }
        }
    }

    /// The wall clock was told, or set.
    pub(super) fn clock(&mut self, unix: u64) {
        self.io.wall = i128::from(unix) - i128::from(self.io.now.0);
        self.io.record(Record::Clock(self.clocks()));
    }

    fn clocks(&self) -> Clocks {
        let wall = i128::from(self.io.now.0) + self.io.wall;
        Clocks { now: self.io.now, wall: u64::try_from(wall).unwrap_or(0) }
    }

    /// Puts on record what has changed of calls, and of INVITEs in them.
    pub(super) fn record_calls(&mut self) {
        let forks = self.forks.touched();
        for id in &forks {
            if let Some(Kind::Call(call)) = self.forks.get(id).map(|fork| fork.kind) {
                self.calls.touch(call);
            }
        }
        let calls = self.calls.touched();
        if calls.is_empty() && forks.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(USUAL_FORM);
        for id in calls {
            bytes.clear();
            let has_form = self.write_call(id, &mut bytes);
            match self.calls.note(id, has_form.then_some(&bytes)) {
                Some(Note::Changed) => self.io.record(Record::Call(self.kept(id, &bytes))),
                Some(Note::Gone) => self.io.record(Record::CallGone(id)),
                None => {}
            }
            if self.calls.get(&id).is_some_and(Call::is_told) && self.calls.note_over(id) {
                self.io.record(Record::CallOver(id));
            }
        }
        for id in forks {
            bytes.clear();
            let call = self.write_invite(id, &mut bytes);
            match (self.forks.note(id, call.map(|_| bytes.as_slice())), call) {
                (Some(Note::Changed), Some(call)) => {
                    self.io.record(Record::Invite(call, self.kept(id, &bytes)));
                }
                (Some(_), _) => self.io.record(Record::InviteGone(id)),
                (None, _) => {}
            }
        }
    }

    /// Puts on record who speaks in a call.
    pub(super) fn record_locks(&mut self, id: u64) {
        if let Some(record) = self.locks(id).filter(|_| self.calls.is_noted(id)) {
            self.io.record(record);
        }
    }

    fn locks(&self, id: u64) -> Option<Record> {
        let mut bytes = Vec::new();
        form::write_locks(&self.calls.get(&id)?.locks, &mut bytes);
        (!bytes.is_empty()).then(|| Record::Locks(self.kept(id, &bytes)))
    }

    /// What the guard has decided, to be put on record.
    pub(super) fn decision(&self, Decision { source, failures, until }: Decision) -> Record {
        let source = source.to_bits();
        match until {
            Some(until) => Record::Banned(Ban { source, failures, at: self.io.now, until }),
            None => Record::Heard(source, failures.is_none()),
        }
    }

    fn kept(&self, id: u64, bytes: &[u8]) -> Kept {
        Kept { id, at: self.io.now, form: bytes.into() }
    }

    /// Writes the form of a call that survives: one that has not ended, or in which something is under way
    /// that a phone may not have heard of. False if it does not.
    fn write_call(&self, id: u64, out: &mut Vec<u8>) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let is_settled = || call.hangups == 0 && self.forks.get(&call.fork).is_none_or(Fork::is_settled);
        if call.is_told() && is_settled() {
            return false;
        }
        form::write_call(call, out);
        out.len() <= form::MAX_FORM
    }

    /// Writes the form of an INVITE of a call that survives; the call.
    fn write_invite(&self, id: u64, out: &mut Vec<u8>) -> Option<u64> {
        let fork = self.forks.get(&id)?;
        let (Kind::Call(call) | Kind::InDialog { call, .. }) = fork.kind else { return None };
        let survives = self.calls.is_noted(call) && form::write_invite(fork, out);
        (survives && out.len() <= form::MAX_FORM).then_some(call)
    }

    /// Takes a call in that was put on record.
    fn restore_call(&mut self, standing: &Standing, id: u64, form: &[u8]) {
        let Some(call) = form::read_call(&self.config, standing, id, form) else {
            let sentence = "did not survive: another version of denwa has written it down";
            return self.io.tell(Event::Notice(format!("call {id} {sentence}")));
        };
        for leg in &call.legs {
            self.is_reached_at(leg.flow.local.ip());
        }
        for (a, b) in call.ports.iter().flatten() {
            self.ports.claim(*a);
            self.ports.claim(*b);
        }
        self.live += 1;
        self.usage.resume(&call.from);
        self.calls.insert(id, call);
    }

    /// Takes an INVITE in that was put on record, and opens its transactions.
    fn restore_invite(&mut self, standing: &Standing, id: u64, call: u64, form: &[u8]) {
        self.made = self.made.max(id);
        let fork = form::read_invite(standing, id, call, form).filter(|_| self.calls.contains_key(&call));
        let Some(mut fork) = fork else { return };
        let Ok(request) = Message::parse(&fork.request) else { return };
        fork.server = self.server_key(&fork.reply, &request, b"INVITE");
        let is_success = (200..300).contains(&fork.status);
        self.servers.restore(&mut self.io, fork.server, fork.reply, id, is_success);
        for (at, branch) in fork.branches.iter_mut().enumerate() {
            let Some(leg) = self.calls.get(&call).and_then(|call| call.legs.get(branch.leg)) else {
                continue;
            };
            branch.flow = self.flow_of(leg);
            let (owner, request) = (Owner::Fork(id, at as u16), branch.skeleton.to_vec());
            self.clients.restore(&mut self.io, branch.client, branch.flow, request, owner, branch.state);
        }
        if let (Kind::Call(_), Some(call)) = (fork.kind, self.calls.get_mut(&call)) {
            call.fork = id;
        }
        let refused = (fork.status >= 300).then_some(fork.status);
        if is_success {
            fork.request = Vec::new();
        }
        fork.answered = is_success;
        self.extend_patience(&mut fork);
        self.io.arm_for(fork.patience, Timer::TimerC(id));
        self.forks.insert(id, fork);
        self.with_fork(id, |switch, fork| {
            // Who asked may not have heard it.
            if let Some(status) = refused {
                switch.answer_fork(fork, status, b"");
            }
        });
    }

    /// Goes on with a call that was taken in.
    fn resume(&mut self, id: u64, is_over: bool) {
        let now = self.io.now;
        let Some(call) = self.calls.get(&id) else { return };
        let main = call.fork;
        // Whether the ACK has come is known where denwa itself waits for it. Elsewhere it may have, and nothing
        // is lost if it is waited for.
        let awaited = call.inside.as_ref().map(|inside| inside.insisted.is_some());
        let Phase::Up { since, dialog, .. } = call.phase else {
            return self.resume_ringing(id, main, is_over);
        };
        // Whom the answer cancelled, before it was heard.
        self.with_fork(main, |switch, fork| switch.cancel_branches(fork, ELSEWHERE));
        if is_over {
            self.bye(id, dialog, Side::A, &[]);
            self.bye(id, dialog, Side::B, &[]);
            self.retire(id);
            return;
        }
        match awaited.unwrap_or(since + T1_64 > now) {
            true => {
                self.io.arm(Duration::ZERO, Timer::Insist(id));
                self.io.arm_for(since + T1_64, Timer::Unacknowledged(id));
            }
            false => self.acknowledged(id),
        }
        self.apply_media(id, dialog);
        let locks = self.calls.get(&id).map(|call| call.locks.clone());
        for lock in locks.into_iter().flatten() {
            self.io.media(media::Command::Lock { session: SessionId(id), lock });
        }
        self.io.arm_for(since + self.config.call_limit, Timer::CallLimit(id));
    }

    /// A call that rang is ended; one that was over already is so without a word.
    fn resume_ringing(&mut self, id: u64, main: u64, is_over: bool) {
        self.with_fork(main, |switch, fork| {
            switch.cancel_branches(fork, NO_REASON);
            switch.answer_fork(fork, 503, b"");
        });
        match is_over {
            true => drop(self.retire(id)),
            false => self.call_over(id, Cause::Restarted),
        }
    }
}

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

use std::collections::BTreeSet;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::Switch;
use super::admission::UNREACHED;
use super::call::{Call, Leg, Phase};
use super::event::{Cause, Event};
use super::flow::{Flow, Standing};
use super::fork::{ELSEWHERE, Fork, Kind, NO_REASON};
use super::form::{self, CallForm, InviteForm};
use super::io::Timer;
use super::ledger::Ledger;
use super::secret;
use super::timer::T1_64;
use super::transaction::Owner;
use crate::config::{Config, Label};
use crate::guard::{Decision, Prefix};
use crate::journal::{Ban, Clocks, Kept, Octets, Record, Secret, State};
use crate::media::{self, SessionId, Side};
use crate::sip::Message;

/// How many numbers of client transactions a millisecond has. As long as fewer are made, which is far above
/// what a machine can do, none is made by two processes one after the other.
const CLIENTS_A_MILLISECOND: u64 = 256;

/// How the form of something differs from what is on record.
enum Change {
    /// Not at all.
    Same,
    /// It is this now, of which that is the digest.
    Now(u64, Octets),
    /// It does not survive, or not any more.
    Gone,
}

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
        switch.meet_neighbours();
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
        for spent in state.spent.into_values() {
            switch.toll.restore(&switch.config, spent);
        }
        switch.calls_made = state.numbered;
        for (id, Octets(form)) in state.calls {
            switch.restore_call(&standing, id, &form, state.over.contains(&id));
        }
        let ports = switch.calls.values().flat_map(|call| call.ports.iter().flatten());
        switch.ports.claim(ports.flat_map(|(a, b)| [*a, *b]));
        for (id, (call, Octets(form))) in state.invites {
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
        self.toll.snapshot(each);
        for decision in self.guard.all_decisions(self.io.now) {
            each(&self.decision(decision));
        }
        for id in self.calls.ids().into_iter().filter(|id| self.calls.is_noted(*id)) {
            if let Some(form) = self.call_form(id).and_then(|form| form::write(&form)) {
                each(&Record::Call(self.kept(id, form)));
            }
            if self.calls.get(&id).is_some_and(Call::is_told) {
                each(&Record::CallOver(id));
            }
            if let Some(record) = self.locks(id) {
                each(&record);
            }
        }
        for id in self.forks.ids().into_iter().filter(|id| self.forks.is_noted(*id)) {
            if let Some((call, form)) = self.invite_form(id)
                && let Some(form) = form::write(&form)
            {
                each(&Record::Invite(call, self.kept(id, form)));
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
            // For how long one that is over survives depends on its INVITE.
            if let Some(Kind::Call(call)) = self.forks.get(id).map(|fork| fork.kind)
                && self.calls.get(&call).is_some_and(Call::is_told)
            {
                self.calls.touch(call);
            }
        }
        for id in self.calls.touched() {
            match change(&self.calls, id, self.call_form(id)) {
                Change::Same => {}
                Change::Now(digest, form) => {
                    self.calls.note(id, digest);
                    self.io.record(Record::Call(self.kept(id, form)));
                }
                Change::Gone if self.calls.note_gone(id) => self.io.record(Record::CallGone(id)),
                Change::Gone => {}
            }
            if self.calls.get(&id).is_some_and(Call::is_told) && self.calls.note_over(id) {
                self.io.record(Record::CallOver(id));
            }
        }
        for id in forks {
            let (call, form) = self.invite_form(id).unzip();
            match (change(&self.forks, id, form), call) {
                (Change::Same, _) => {}
                (Change::Now(digest, form), Some(call)) => {
                    self.forks.note(id, digest);
                    self.io.record(Record::Invite(call, self.kept(id, form)));
                }
                _ if self.forks.note_gone(id) => self.io.record(Record::InviteGone(id)),
                _ => {}
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
        let form = form::write_locks(&self.calls.get(&id)?.locks)?;
        Some(Record::Locks(self.kept(id, form)))
    }

    /// What the guard has decided, to be put on record.
    pub(super) fn decision(&self, Decision { source, failures, until }: Decision) -> Record {
        let source = source.to_bits();
        match until {
            Some(until) => Record::Banned(Ban { source, failures, at: self.io.now, until }),
            None => Record::Heard(source, failures.is_none()),
        }
    }

    fn kept(&self, id: u64, form: Octets) -> Kept {
        Kept { id, at: self.io.now, form }
    }

    /// The form of a call that survives: one that has not ended, or in which something is under way that a phone
    /// may not have heard of.
    fn call_form(&self, id: u64) -> Option<CallForm<'_>> {
        let call = self.calls.get(&id)?;
        let is_settled = || call.hangups == 0 && self.forks.get(&call.fork).is_none_or(Fork::is_settled);
        (!call.is_told() || !is_settled()).then(|| form::of_call(call))
    }

    /// The form of an INVITE of a call that survives; the call.
    fn invite_form(&self, id: u64) -> Option<(u64, InviteForm<'_>)> {
        let fork = self.forks.get(&id)?;
        let (Kind::Call(call) | Kind::InDialog { call, .. }) = fork.kind else { return None };
        let form = self.calls.is_noted(call).then(|| form::of_invite(fork)).flatten()?;
        Some((call, form))
    }

    /// Takes a call in that was put on record. The ports of one that is over may be another's by now.
    fn restore_call(&mut self, standing: &Standing, id: u64, form: &[u8], is_over: bool) {
        let form = form::read_call(form);
        // What cannot be read is gone as soon as it is looked at.
        self.calls.recall(id, form.as_ref().map_or(0, form::digest));
        let call = form.and_then(|form| form::call(form, &self.config, standing, id));
        let Some(call) = call else {
            let sentence = "did not survive: another version of denwa has written it down";
            return self.io.tell(Event::Notice(format!("call {id} {sentence}")));
        };
        for leg in &call.legs {
            self.is_reached_at(leg.flow.local.ip());
        }
        self.live += 1;
        if let Some(extension) = call.legs.first().and_then(Leg::extension) {
            self.usage.resume(extension);
        }
        let mut call = call;
        if is_over {
            call.ports.clear();
        }
        let labels: BTreeSet<Label> = call.legs.iter().filter_map(Leg::neighbour).cloned().collect();
        for label in labels {
            self.neighbours.resume(&label);
            call.neighbours.push(label);
        }
        self.calls.insert(id, call);
    }

    /// Takes an INVITE in that was put on record, and opens its transactions.
    fn restore_invite(&mut self, standing: &Standing, id: u64, call: u64, form: &[u8]) {
        self.made = self.made.max(id);
        let form = form::read_invite(form);
        self.forks.recall(id, form.as_ref().map_or(0, form::digest));
        let Some(form) = form.filter(|_| self.calls.contains_key(&call)) else { return };
        let mut fork = form::invite(form, standing, id, call);
        let Ok(request) = Message::parse(&fork.request) else { return };
        fork.server = self.server_key(&fork.reply, &request, b"INVITE");
        let is_success = (200..300).contains(&fork.status);
        if !fork.own {
            self.servers.restore(&mut self.io, fork.server, fork.reply, id, is_success);
        }
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
            // Who asked may not have heard it, if it was not denwa.
            if let Some(status) = refused.filter(|_| !fork.own) {
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
        // Whoever asked for a transfer has left, and nobody is called any more.
        if self.calls.get(&id).is_some_and(|call| call.is_left(dialog)) {
            self.acknowledged(id);
            return self.end_call(id, Cause::Restarted);
        }
        self.apply_media(id, dialog);
        let locks = self.calls.get(&id).map(|call| call.locks.clone());
        for lock in locks.into_iter().flatten() {
            self.io.media(media::Command::Lock { session: SessionId(id), lock });
        }
        self.io.arm_for(since + self.limit_of(id), Timer::CallLimit(id));
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

/// How the form that an entry has now, if it has one, differs from what is on record.
fn change<V>(ledger: &Ledger<V>, id: u64, form: Option<impl Hash + Serialize>) -> Change {
    let Some(form) = form else { return Change::Gone };
    let digest = form::digest(&form);
    match ledger.is_noted_as(id, digest) {
        true => Change::Same,
        false => form::write(&form).map_or(Change::Gone, |form| Change::Now(digest, form)),
    }
}

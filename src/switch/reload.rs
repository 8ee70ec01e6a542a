//! Another configuration, while calls go on.

use std::net::IpAddr;

use super::Switch;
use super::call::{Leg, Phase};
use super::event::{Cause, Event, Gone};
use super::fork::{BranchState, NO_REASON};
use super::io::Timer;
use crate::config::{Config, Label, LogLevel, Number, Spot};
use crate::media::Side;

impl Switch {
    /// Goes on with another configuration. Whoever is registered, speaks or is banned stays so, except that:
    ///
    /// - the phones and calls of extensions that it does not have are gone;
    /// - phones on UDP that are registered where it does not listen cannot be called, as if they had been
    ///   disconnected; where it listens again, they can.
    ///
    /// What a call has it keeps: its media ports, the way it was forwarded, its place in the hour. A changed
    /// password is asked for at the next request. What is a limit to a call in progress holds within 32 s,
    /// `media-timeout` from its next offer and answer on.
    pub(super) fn reload(&mut self, config: Config) {
        let found = std::mem::take(&mut self.config.advertise);
        let was_found = self.config.advertise_auto;
        self.config = config;
        if self.config.advertise_auto && was_found {
            self.config.advertise = found;
        }
        if self.config.spot == Spot::Off {
            self.machine_stops(None);
        }
        let now = self.io.now;
        self.io.trace_all(self.config.log >= LogLevel::Debug);
        self.ports.change(self.config.media_ports);
        self.auth.reload(&self.config);
        self.guard.reload(now, &self.config);
        for (extension, flow) in self.registrar.reload(&self.config) {
            self.io.tell(Event::Unregistered { extension, flow, cause: Gone::ExtensionRemoved });
        }
        self.meet_neighbours();
        self.end_removed();
        for record in self.usage.reload(&self.config) {
            self.io.record(record);
        }
        for (after, binding) in self.registrar.all_wakes(&self.config, now) {
            self.io.arm(after, Timer::Binding(binding));
        }
        self.io.tell(Event::Reloaded(Box::new(self.config.clone())));
    }

    /// The public addresses were found out, where that is left to us.
    pub(super) fn is_advertised(&mut self, addresses: Vec<IpAddr>) {
        if !self.config.advertise_auto || self.config.advertise == addresses {
            return;
        }
        for address in &addresses {
            self.io.tell(Event::Remark(format!("the public address is {address} now (advertise = auto)")));
        }
        if addresses.is_empty() {
            let sentence = "the public address is gone; the machine's own are told now (advertise = auto)";
            self.io.tell(Event::Notice(sentence.into()));
        }
        self.config.advertise = addresses;
    }

    /// Ends what extensions have to do with that there are no more.
    pub(super) fn end_removed(&mut self) {
        for id in self.calls.ids() {
            let Some(call) = self.calls.get(&id) else { continue };
            let is_removed = |leg: usize| {
                let extension = call.legs.get(leg).and_then(Leg::extension);
                let neighbour = call.legs.get(leg).and_then(Leg::neighbour);
                extension.is_some_and(|number| self.is_removed(number))
                    || neighbour.is_some_and(|label| !self.config.neighbours.contains_key(label))
            };
            match call.phase {
                Phase::Over => {}
                _ if is_removed(0) => {
                    self.end_call(id, Cause::ExtensionRemoved);
                }
                Phase::Up { dialog, .. } if is_removed(call.leg_index(dialog, Side::B)) => {
                    self.end_call(id, Cause::ExtensionRemoved);
                }
                Phase::Up { .. } => {}
                Phase::Ringing => self.silence_removed(id, call.fork),
            }
        }
    }

    /// Phones of extensions that there are no more ring no longer. If no other does, the call is over.
    fn silence_removed(&mut self, id: u64, fork: u64) {
        self.with_fork(fork, |switch, fork| {
            let mut silenced = false;
            fork.next.retain(|onto| switch.config.neighbours.contains_key(&onto.label));
            for branch in &mut fork.branches {
                let leg = switch.calls.get(&id).and_then(|call| call.legs.get(branch.leg));
                let is_gone = |label: &Label| !switch.config.neighbours.contains_key(label);
                if !branch.number.as_ref().is_some_and(|number| switch.is_removed(number))
                    && !leg.and_then(Leg::neighbour).is_some_and(is_gone)
                {
                    continue;
                }
                let before = branch.state;
                if matches!(before, BranchState::Trying | BranchState::Ringing) {
                    branch.state = BranchState::Unwanted(NO_REASON);
                    silenced = true;
                }
                if before == BranchState::Ringing {
                    switch.clients.cancel(&mut switch.io, branch.client, NO_REASON);
                }
            }
            if silenced && fork.is_done() && !fork.answered {
                switch.answer_fork(fork, 480, b"");
                switch.call_over(id, Cause::ExtensionRemoved);
            }
        });
    }

    fn is_removed(&self, number: &Number) -> bool {
        !self.config.extensions.contains_key(number)
    }
}

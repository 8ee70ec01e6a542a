//! Calls that leave for other exchanges: by which way, under what name, and what is tried next.

use std::time::Duration;

use super::Switch;
use super::call::{Leg, Party};
use super::emergency::emergency;
use super::event::Cause;
use super::fork::{BranchState, Fork, Kind, NO_REASON, Onto};
use super::forward::escape;
use super::forward::{face, named};
use super::io::Timer;
use super::persona::Persona;
use super::ring::is_private;
use crate::config::{Kind as NeighbourKind, Label};
use crate::sip::Message;

/// How long a way that may be silent has to answer anything at all, where there is another one.
const HURRY: Duration = Duration::from_secs(1);

/// How long the last way may be silent: by UDP it was asked four times by then (RFC 3261 §17.1.1.2).
const PATIENCE: Duration = Duration::from_secs(6);

/// From of a caller who wants to be nobody (RFC 3323 §4.1.1.3).
const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// How many hops an INVITE to a peer may still take: exchanges that route it on to each other must come to an end
/// (RFC 3261 §16.3, step 3).
pub(super) const MAX_HOPS: u32 = 10;

impl Switch {
    /// Calls the first of these exchanges that can be reached. False: nobody rings.
    pub(super) fn ring_neighbours(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        to: Vec<(Label, String)>,
        pop: usize,
    ) -> bool {
        fork.next.clear();
        let mut troubles = Vec::new();
        for (label, number) in to {
            let ways = self.neighbours.ways(&label);
            if ways.is_empty() {
                troubles.push(self.neighbours.trouble(&label));
            }
            let onto = |(target, flow)| Onto { label: label.clone(), target, flow, number: number.clone() };
            fork.next.extend(ways.into_iter().map(onto));
        }
        self.ring_next(fork, id, request, pop, troubles)
    }

    /// Tries the next way. Where none is left, the caller is told so at once.
    fn ring_next(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        pop: usize,
        mut troubles: Vec<String>,
    ) -> bool {
        while let Some(onto) = fork.next.pop_front() {
            if !fork.fits(&onto.flow) {
                continue;
            }
            let is_counted = self.calls.get(&id).is_some_and(|call| call.neighbours.contains(&onto.label));
            // Whoever is in need is refused by no limit.
            let is_emergency = emergency(&onto.number).is_some();
            if !is_counted && !self.neighbours.begin(&self.config, &onto.label, is_emergency) {
                troubles.push(format!("{}: too many calls at once ({0}.max-calls)", onto.label));
                fork.next.retain(|next| next.label != onto.label);
                continue;
            }
            let limit = match self.may_spend(id, &onto.label) {
                _ if is_emergency => None,
                Ok(limit) => limit,
                Err(why) => {
                    if !is_counted {
                        self.neighbours.ended(&onto.label);
                    }
                    troubles.push(why);
                    fork.next.retain(|next| next.label != onto.label);
                    continue;
                }
            };
            if let Some(call) = self.calls.get_mut(&id) {
                call.limit = limit;
                if !is_counted {
                    call.neighbours.push(onto.label.clone());
                }
            }
            if !is_counted {
                self.spend_call(&onto.label);
            }
            let branch = fork.branches.len();
            self.ring_onto(fork, id, request, &onto, pop);
            if fork.branches.len() == branch {
                continue;
            }
            let patience = if fork.next.is_empty() { PATIENCE } else { HURRY };
            self.io.arm(patience, Timer::Hurry(fork.id, branch as u16));
            return true;
        }
        let why = troubles.join("; ");
        if !why.is_empty() {
            self.refused(&fork.reply.clone(), request, &self.dialled(request), &why, true);
        }
        if fork.best.is_none() {
            let text: String = why.chars().filter(|c| !matches!(c, '"' | '\\')).take(200).collect();
            let reason = format!("Reason: SIP;cause=503;text=\"{text}\"\r\n");
            self.answer_fork(fork, 503, reason.as_bytes());
            self.call_over(id, Cause::NoWayOut);
        }
        false
    }

    fn ring_onto(&mut self, fork: &mut Fork, id: u64, request: &Message<'_>, onto: &Onto, pop: usize) {
        let Some(persona) = self.persona_for(id, request, onto) else { return };
        let leg = Leg {
            party: Party::Neighbour(onto.label.clone()),
            persona: Some(Box::new(persona)),
            binding: None,
            flow: onto.flow,
            behind_nat: false,
            learn: false,
        };
        let uri = format!("sip:{}@{}", escape(&onto.number), onto.target);
        let share = fork.share(1);
        self.ring_one(fork, id, request, leg, uri.as_bytes(), b"", None, share, pop);
    }

    /// Who we are in a call that leaves by a way.
    fn persona_for(&mut self, id: u64, request: &Message<'_>, onto: &Onto) -> Option<Persona> {
        let call_id = self.secret.fresh();
        let call = self.calls.get(&id)?;
        let host = onto.target.host_port();
        let ours = match &self.config.neighbours.get(&onto.label)?.kind {
            NeighbourKind::Peer(_) if self.dialled(request).starts_with("184") => ANONYMOUS.to_vec(),
            _ if is_private(request) => ANONYMOUS.to_vec(),
            NeighbourKind::Trunk(trunk) => {
                let number = trunk.caller_id.as_ref().map_or(trunk.user.as_str(), |number| number.as_str());
                named(None, number, &host)
            }
            NeighbourKind::Peer(_) => {
                let name = call.name_of_caller(&self.config);
                let caller = call.from.as_str();
                // Who is routed on is called back behind the 0 that routes on.
                let is_routed_on = call.legs.first().and_then(Leg::neighbour).is_some_and(|from| {
                    self.config.trunk(from).is_none() && caller.bytes().all(|b| b.is_ascii_digit())
                });
                let caller = if is_routed_on { format!("0{caller}") } else { caller.to_owned() };
                named(name.as_deref(), &caller, &face(&self.config, &onto.flow).to_string())
            }
        };
        Some(Persona {
            call_id: call_id.as_slice().into(),
            ours: ours.into(),
            theirs: named(None, &onto.number, &host).into(),
            ahead: 0,
            invite: (0, 0),
            highest: 0,
            tag: None,
            turn: 0,
            is_called: true,
        })
    }

    /// All ways that were tried have failed. Whether another one rings now: only where the failure is that of the way,
    /// not the answer of whoever was called.
    pub(super) fn another_way(&mut self, fork: &mut Fork, id: u64) -> bool {
        let is_the_ways = fork.best.as_ref().is_none_or(|best| {
            best.unfit.is_some() || matches!(best.status, 401 | 407 | 408 | 430 | 500..=599)
        });
        if fork.next.is_empty() || !is_the_ways || fork.answered {
            return false;
        }
        let bytes = fork.request.clone();
        let Ok(request) = Message::parse(&bytes) else { return false };
        let pop = self.own_routes(&request).count;
        let best = fork.best.take();
        let rings = self.ring_next(fork, id, &request, pop, Vec::new());
        if !rings && fork.best.as_ref().is_none_or(|made_up| made_up.unfit.is_some()) {
            fork.best = best.or(fork.best.take());
        }
        rings
    }

    /// A way has had its time. If nothing at all has come from there, another one is tried, or the caller told that there
    /// is none, and what may still come is not wanted.
    pub(super) fn hurry(&mut self, fork: u64, branch: u16) {
        self.with_fork(fork, |switch, fork| {
            let Kind::Call(call) = fork.kind else { return };
            let Some(silent) = fork.branches.get_mut(usize::from(branch)) else { return };
            // One that asked for a password has said something.
            if silent.state != BranchState::Trying || silent.proofs > 0 || fork.answered {
                return;
            }
            silent.state = BranchState::Unwanted(NO_REASON);
            let (leg, flow) = (silent.leg, silent.flow);
            switch.neighbours.doubt(&flow);
            if switch.another_way(fork, call) || !fork.is_done() {
                return;
            }
            if fork.best.is_some() {
                return switch.stage_failed(fork, call);
            }
            let bytes = fork.request.clone();
            let Ok(request) = Message::parse(&bytes) else { return };
            let leg = switch.calls.get(&call).and_then(|call| call.legs.get(leg));
            let label = leg.and_then(Leg::neighbour);
            let trouble = label.map(|label| format!("{label} does not answer")).into_iter().collect();
            switch.ring_next(fork, call, &request, 0, trouble);
        });
    }
}

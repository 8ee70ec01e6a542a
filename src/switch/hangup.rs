//! How calls end: by their parties, by denwa, and what is left of them for a while.

use std::time::Duration;

use super::Switch;
use super::call::{Leg, MAX_DIALOGS, Phase};
use super::event::{Cause, Event};
use super::fork::{Fork, NO_REASON};
use super::forward::{all_routes, contact_uri, routed, routes_behind, via};
use super::io::Timer;
use super::own::Own;
use super::stopping::{REASON, REASON_LINE, RETRY_AFTER};
use super::timer::T1_64;
use super::token::Token;
use crate::media::Side;
use crate::sip::originate::{Originate, OwnMethod};
use crate::sip::{Message, Name};

/// How far ahead of what a side used denwa's own BYE counts: so that a request of that side which
/// is still on its way does not outrun it.
const CSEQ_AHEAD: u32 = 1000;

/// How long a call with a REFER is remembered: NOTIFYs about the transfer come after its BYE.
const REFERRED: Duration = Duration::from_secs(180);

/// The most ended calls that are remembered; beyond, the oldest is forgotten early, and what was
/// still under way in it is answered 481.
const MAX_ENDED: usize = 1024;

/// What a BYE says of why it is sent (RFC 3326), where a phone may show it, or its owner wonder.
fn reason(cause: Cause) -> &'static [(&'static str, &'static [u8])] {
    match cause {
        Cause::MachineStops => REASON,
        _ => &[],
    }
}

impl Switch {
    /// A call has ended. What is still under way in its dialogs finds it for a while.
    pub(super) fn call_over(&mut self, id: u64, cause: Cause) {
        let (now, wall) = (self.io.now, self.io.unix_time());
        let Some(call) = self.calls.get(&id).filter(|call| call.phase != Phase::Over) else { return };
        let cause = match cause {
            Cause::Refused(480) if !self.could_ring(call) => Cause::Unregistered,
            Cause::CallerHungUp | Cause::CalleeHungUp if call.replaced => Cause::Replaced,
            cause => cause,
        };
        let record = call.record(now, wall, cause);
        let heir = call.heir;
        self.note_call(id, cause);
        self.spend_time(id);
        let reports = self.retire(id);
        match self.calls.get_mut(&id).filter(|_| reports) {
            Some(call) => call.record = Some(record),
            None => self.io.tell(Event::CallEnded(record)),
        }
        // Nobody is left who could be given over to whoever rings.
        if let Some(heir) = heir.filter(|heir| self.is_ringing(*heir)) {
            self.end_call(heir, cause);
        }
    }

    /// Ends a call without a word to anybody. Whether the relay will report.
    pub(super) fn retire(&mut self, id: u64) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        if let Some(extension) = call.legs.first().and_then(Leg::extension) {
            self.usage.end(extension);
        }
        for label in call.neighbours.drain(..) {
            self.neighbours.ended(&label);
        }
        call.phase = Phase::Over;
        let linger = if call.referred { REFERRED } else { T1_64 };
        let reports = self.release_media(id);
        self.io.arm(linger, Timer::ForgetCall(id));
        self.ended.push_back(id);
        self.live -= 1;
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget_call(oldest);
        }
        reports
    }

    /// Forgets an ended call.
    pub(super) fn forget_call(&mut self, id: u64) {
        if self.calls.get(&id).is_some_and(|call| call.phase == Phase::Over)
            && let Some(call) = self.calls.remove(&id)
            && let Some(record) = call.record
        {
            self.io.tell(Event::CallEnded(record));
        }
        while self.ended.front().is_some_and(|id| !self.calls.contains_key(id)) {
            self.ended.pop_front();
        }
    }

    /// Ends a call from here: a limit, silence, the operator.
    pub(super) fn end_call(&mut self, id: u64, cause: Cause) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.phase {
            Phase::Over => {}
            Phase::Ringing => {
                let fork = call.fork;
                self.with_fork(fork, |switch, fork| {
                    let is_stop = cause == Cause::MachineStops;
                    let (reason, retry) =
                        if is_stop { (REASON_LINE, RETRY_AFTER) } else { (NO_REASON, NO_REASON) };
                    switch.cancel_branches(fork, reason);
                    switch.answer_fork(fork, 503, retry);
                });
                self.call_over(id, cause);
            }
            // A BYE before the caller's ACK could overtake the 2xx (RFC 3261 §15).
            Phase::Up { acknowledged: false, .. } => call.ending = call.ending.or(Some(cause)),
            Phase::Up { dialog, .. } => {
                for side in [Side::A, Side::B] {
                    self.bye(id, dialog, side, reason(cause));
                }
                self.call_over(id, cause);
            }
        }
    }

    /// A call may have lasted long enough.
    pub(super) fn call_limit(&mut self, id: u64) {
        let Some(Phase::Up { since, .. }) = self.calls.get(&id).map(|call| call.phase) else { return };
        let end = since + self.limit_of(id);
        if self.io.now < end {
            return self.io.arm_for(end, Timer::CallLimit(id));
        }
        self.end_call(id, Cause::CallLimit);
    }

    /// How long a call may last at most.
    pub(super) fn limit_of(&self, id: u64) -> Duration {
        let limit = self.calls.get(&id).and_then(|call| call.limit);
        limit.map_or(self.config.call_limit, |limit| limit.min(self.config.call_limit))
    }

    /// The caller acknowledged the answer, or will not any more.
    pub(super) fn acknowledged(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Phase::Up { acknowledged, .. } = &mut call.phase else { return };
        *acknowledged = true;
        if let Some(cause) = call.ending.take() {
            self.end_call(id, cause);
        }
    }

    /// 64·T1 after the answer.
    pub(super) fn unacknowledged(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        if let Phase::Up { acknowledged: false, .. } = call.phase {
            // The callee ends a call that nobody acknowledges (RFC 3261 §13.3.1.4); where denwa
            // itself is the callee, or had ended it already, so does denwa.
            let inside = call.inside.is_some();
            let cause = call.ending.or(inside.then_some(Cause::SignallingTimeout));
            self.acknowledged(id);
            if let Some(cause) = cause {
                self.end_call(id, cause);
            }
        }
    }

    /// Sends BYE to one side of a dialog, in the name of the other (RFC 3261 §15.1.1), with these headers besides.
    pub(super) fn bye(&mut self, id: u64, dialog: usize, to: Side, headers: &[(&str, &[u8])]) {
        let Some(call) = self.calls.get(&id) else { return };
        let cseq = call.cseq_for(dialog, to).saturating_add(CSEQ_AHEAD);
        let label = call.leg(dialog, to).and_then(Leg::neighbour).cloned();
        let bye = self.own_request(id, dialog, to, OwnMethod::Bye, cseq, headers, ("", b""));
        let Some(Own { client, flow, bytes }) = bye else { return };
        self.say_goodbye(client, label, flow, bytes, id);
        self.hangs_up(id);
    }

    /// A BYE is on its way in a call: until it is answered, the call is on record.
    pub(super) fn hangs_up(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.hangups = call.hangups.saturating_add(1);
        }
    }

    /// A BYE was answered, or nobody will.
    pub(super) fn hung_up(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.hangups = call.hangups.saturating_sub(1);
        }
    }

    /// A 2xx that nobody wants any more: acknowledged, and ended at once.
    pub(super) fn end_loser(&mut self, fork: &mut Fork, id: u64, leg: usize, response: &Message<'_>) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(callee) = call.legs.get(leg) else { return };
        let label = callee.neighbour().cloned();
        let token =
            Token { call: id, leg: leg as u8, contact: false }.seal(&self.secret, call.call_id_of(leg));
        let flow = self.flow_of(callee);
        let target: Box<[u8]> = contact_uri(response).map_or_else(|| self.target_of(callee), Into::into);
        let routes = match callee.persona {
            Some(_) => all_routes(response),
            None => routes_behind(response, &token),
        };
        let (target, routes) = routed(&target, routes);
        let cseq = response.cseq().map_or(0, |c| c.number);
        let client = self.next_client();
        let branch = self.branch_text(client, 0);
        let via = via(&self.config, &flow, &branch);
        let routes: &[&[u8]] = if routes.is_empty() { &[] } else { &[&routes] };
        let ack = Originate {
            method: OwnMethod::Ack,
            uri: &target,
            via: via.as_bytes(),
            routes,
            from: response.first(Name::From).unwrap_or_default(),
            to: response.first(Name::To).unwrap_or_default(),
            call_id: response.call_id(),
            cseq,
            headers: &[],
        };
        self.io.send(flow, ack.print());
        if fork.losers.iter().any(|tag| **tag == *response.to_tag()) || fork.losers.len() >= MAX_DIALOGS {
            return;
        }
        fork.losers.push(response.to_tag().into());
        let client = self.next_client();
        let branch = self.branch_text(client, 0);
        let via = super::forward::via(&self.config, &flow, &branch);
        let bye = Originate {
            method: OwnMethod::Bye,
            via: via.as_bytes(),
            cseq: cseq.saturating_add(CSEQ_AHEAD),
            ..ack
        };
        let bye = bye.print();
        self.say_goodbye(client, label, flow, bye, 0);
    }
}

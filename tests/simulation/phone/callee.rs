//! Being called: INVITE to a phone, until it is answered, refused or cancelled (RFC 3261 §13.3).

use std::time::Duration;

use super::call::{Call, CallKey, Outcome, Role, Stage, Unacknowledged, Unconfirmed};
use super::dialog::Dialog;
use super::transaction::{LONG, ServerKey, T1, T2};
use super::{Forking, Phone, Reaction, Ringing, Timer};
use crate::sip::{Message, uri_of, user_of};

/// How long a phone thinks before it rings.
const BELL: Duration = Duration::from_millis(40);

impl Phone {
    pub(super) fn on_invite(&mut self, key: &ServerKey, invite: &Message) {
        self.check_target(invite);
        self.check_contact(invite);
        if self.is_merged(key, invite) {
            return self.refuse(key, invite, 482);
        }
        let tag = self.rng.token(8);
        let contact = self.fresh_contact();
        let Some(dialog) = Dialog::of_callee(invite, &tag, &contact) else {
            return;
        };
        if let Some(fault) = dialog.fault_in_route_set() {
            self.complain(format!("{fault} in {}", invite.summary()));
        }
        for way in dialog.ways() {
            self.check_ours("the way", &way);
        }
        let replaced = match invite.get("Replaces").map(|value| self.find_replaced(value)) {
            Some(None) => return self.refuse(key, invite, 481),
            Some(found) => found,
            None => None,
        };
        if replaced.is_none() && self.active_calls().count() >= self.spec.lines {
            return self.refuse(key, invite, 486);
        }
        let mut media = self.new_negotiation();
        if invite.has_sdp()
            && let Err(error) = media.take_offer(&invite.body)
        {
            self.complain(format!("{error} in {}", invite.summary()));
            return self.refuse(key, invite, 488);
        }
        let call_key = self.new_key();
        let mut call = Call::new(call_key, Role::Callee, invite.clone(), media);
        call.number = user_of(uri_of(invite.get("From").unwrap_or_default())).to_owned();
        call.dialog = Some(dialog);
        call.server = Some(key.clone());
        self.calls.push(call);
        match replaced {
            Some(old) => {
                self.react(call_key, Reaction::Answer);
                self.bye(old, Outcome::Replaced);
            }
            None => {
                let after = self.spec.manners.after;
                self.set_timer(BELL.min(after), Timer::Ring(call_key));
                if self.spec.manners.reaction != Reaction::Ring {
                    self.set_timer(after, Timer::React(call_key));
                }
            }
        }
    }

    /// The same request by another way, while the first is still pending (RFC 3261 §8.2.2.2).
    fn is_merged(&self, key: &ServerKey, invite: &Message) -> bool {
        self.servers.iter().any(|server| {
            let other = &server.request;
            server.key != *key
                && server.is_pending()
                && other.method() == "INVITE"
                && other.call_id() == invite.call_id()
                && other.sender_tag() == invite.sender_tag()
                && other.cseq() == invite.cseq()
        })
    }

    fn refuse(&mut self, key: &ServerKey, invite: &Message, status: u16) {
        let response = self.respond(invite, status);
        self.reply(key, response);
    }

    /// The bell, or what the manners want instead of it.
    pub(super) fn ring(&mut self, key: CallKey) {
        let (ringing, reliable) = (self.spec.manners.ringing, self.spec.reliable);
        let Some(call) = self.call(key) else { return };
        if call.stage != Stage::Calling || call.role != Role::Callee {
            return;
        }
        let trying = Message::response(&call.invite, 100, super::reason(100));
        call.stage = Stage::Ringing;
        let can_confirm = call.invite.lists("Supported", "100rel");
        let reliable = reliable && can_confirm && ringing != Ringing::Quiet;
        let early = ringing == Ringing::EarlyMedia && call.invite.has_sdp();
        let status = match ringing {
            // RFC 3261 §8.2.6.1: whoever takes longer than 200 ms says that it heard.
            Ringing::Quiet => return self.reply_to_invite(key, trying),
            Ringing::Bell => 180,
            Ringing::EarlyMedia => 183,
        };
        let body = match (reliable || early, call.invite.has_sdp()) {
            (false, _) => None,
            (true, true) => call.media.answer(),
            (true, false) => Some(call.media.offer()),
        };
        let Some(mut response) = self.respond_inside(key, status) else {
            return;
        };
        if let Some(body) = body {
            response = response.with_body("application/sdp", body.write());
        }
        if self.spec.forking == Forking::Rings && !reliable {
            let mut other = response.clone();
            let to = invite_to(&other);
            other.set("To", format!("{to};tag={}", self.rng.token(8)));
            let contact = self.fresh_contact();
            other.set("Contact", format!("<{contact}>"));
            self.reply_to_invite(key, other);
        }
        if reliable {
            let rseq = 1 + self.rng.below(1000) as u32;
            response = response.with("Require", "100rel").with("RSeq", rseq.to_string());
            self.stamp(&mut response);
            if let Some(call) = self.call(key) {
                let response = response.clone();
                call.unconfirmed = Some(Unconfirmed { rseq, response, interval: T1, then_answer: false });
                call.answered_reliably = true;
            }
            self.set_timer(T1, Timer::ReliableResend(key, rseq));
            self.set_timer(LONG, Timer::ReliableGiveUp(key, rseq));
        }
        self.reply_to_invite(key, response);
    }

    /// The user reacts to the newest call that rings here.
    pub(super) fn react_now(&mut self, reaction: Reaction) {
        let waiting = |call: &&Call| call.role == Role::Callee && is_waiting(call);
        if let Some(key) = self.calls.iter().rev().find(waiting).map(|call| call.key) {
            self.react(key, reaction);
        }
    }

    pub(super) fn react(&mut self, key: CallKey, reaction: Reaction) {
        let Some(call) = self.call(key) else { return };
        if !is_waiting(call) {
            return;
        }
        match reaction {
            Reaction::Ring => {}
            Reaction::Answer => match &mut call.unconfirmed {
                Some(unconfirmed) => unconfirmed.then_answer = true,
                None => self.answer(key),
            },
            Reaction::Refuse(status) => self.refuse_call(key, status, None),
            Reaction::Redirect(number) => {
                let contact = format!("<sip:{number}@{}>", self.spec.domain);
                self.refuse_call(key, 302, Some(contact));
            }
        }
    }

    fn refuse_call(&mut self, key: CallKey, status: u16, contact: Option<String>) {
        let Some(mut response) = self.respond_inside(key, status) else {
            return;
        };
        response.remove("Contact");
        response.remove("Record-Route");
        if let Some(contact) = contact {
            response = response.with("Contact", contact);
        }
        if let Some(call) = self.call(key) {
            call.end(Outcome::Refused(status));
        }
        self.reply_to_invite(key, response);
    }

    pub(super) fn answer(&mut self, key: CallKey) {
        let Some(call) = self.call(key) else { return };
        let body = match (call.answered_reliably, call.invite.has_sdp()) {
            (true, _) => None,
            (false, true) => call.media.answer(),
            (false, false) => Some(call.media.offer()),
        };
        let sequence = call.invite.cseq().0;
        let Some(mut response) = self.respond_inside(key, 200) else {
            return;
        };
        if let Some(body) = body {
            response = response.with_body("application/sdp", body.write());
        }
        self.stamp(&mut response);
        self.await_ack(key, sequence, response.clone());
        if let Some(call) = self.call(key) {
            call.stage = Stage::Accepted;
        }
        if self.spec.forking == Forking::Answers {
            self.answer_twice(key, &response);
        }
        self.reply_to_invite(key, response);
    }

    /// Somebody else answers the same INVITE: a dialog of its own on the same branch.
    fn answer_twice(&mut self, key: CallKey, response: &Message) {
        let (twin, tag, contact) = (self.new_key(), self.rng.token(8), self.fresh_contact());
        let Some(call) = self.call(key).filter(|_| response.has_sdp()) else { return };
        let (invite, media) = (call.invite.clone(), call.media.clone());
        let mut call = Call::new(twin, Role::Callee, invite.clone(), media);
        call.stage = Stage::Accepted;
        call.dialog = Dialog::of_callee(&invite, &tag, &contact);
        self.calls.push(call);
        let mut other = response.clone();
        other.set("To", format!("{};tag={tag}", invite_to(response)));
        other.set("Contact", format!("<{contact}>"));
        self.stamp(&mut other);
        self.await_ack(twin, invite.cseq().0, other.clone());
        self.send(other);
    }

    /// Repeats a 2xx until its ACK comes (RFC 3261 §13.3.1.4).
    pub(super) fn await_ack(&mut self, key: CallKey, sequence: u32, response: Message) {
        if let Some(call) = self.call(key) {
            call.unacknowledged = Some(Unacknowledged { sequence, response, interval: T1 });
        }
        self.set_timer(T1, Timer::SuccessResend(key, sequence));
        self.set_timer(LONG, Timer::SuccessGiveUp(key, sequence));
    }

    pub(super) fn success_resend(&mut self, key: CallKey, sequence: u32) {
        let Some(call) = self.call(key) else { return };
        let Some(waiting) = &mut call.unacknowledged else {
            return;
        };
        if waiting.sequence == sequence {
            waiting.interval = (waiting.interval * 2).min(T2);
            let (again, response) = (waiting.interval, waiting.response.clone());
            self.send(response);
            self.set_timer(again, Timer::SuccessResend(key, sequence));
        }
    }

    pub(super) fn success_give_up(&mut self, key: CallKey, sequence: u32) {
        let Some(call) = self.call(key) else { return };
        if call.unacknowledged.as_ref().is_some_and(|waiting| waiting.sequence == sequence) {
            self.complain_if_undisturbed("a 2xx never got its ACK".into());
            self.bye(key, Outcome::TimedOut);
        }
    }

    pub(super) fn on_ack(&mut self, ack: &Message) {
        let holds = |call: &Call| call.dialog.as_ref().is_some_and(|dialog| dialog.holds(ack));
        let Some(call) = self.calls.iter_mut().find(|call| holds(call)) else {
            return;
        };
        let key = call.key;
        let due = |waiting: &Unacknowledged| waiting.sequence == ack.cseq().0;
        if !call.unacknowledged.as_ref().is_some_and(due) {
            return;
        }
        call.unacknowledged = None;
        let mut fault = None;
        if call.media.has_offered() {
            fault = match ack.has_sdp() {
                true => call.media.take_answer(&ack.body).err(),
                false => Some("no answer to a late offer".into()),
            };
        }
        if call.stage == Stage::Accepted {
            call.stage = Stage::Up;
            call.answered = true;
        }
        let wants_out = call.wants_out;
        self.check_inside_target(key, ack);
        if let Some(fault) = fault {
            // The loser of a fork is acknowledged by the exchange, which has no answer to give.
            if ack.get("X-Sim").is_some() {
                self.complain(format!("{fault} in {}", ack.summary()));
            }
        }
        if wants_out {
            self.bye(key, Outcome::HungUp);
        }
    }

    pub(super) fn on_cancel(&mut self, key: &ServerKey, cancel: &Message) {
        let invite_key = key.of_method("INVITE");
        let Some(server) = self.server(&invite_key) else {
            self.complain_if_undisturbed(format!("nothing to cancel: {}", cancel.summary()));
            return self.refuse(key, cancel, 481);
        };
        let (pending, invite) = (server.is_pending(), server.request.clone());
        if invite.uri() != cancel.uri() {
            self.complain(format!("{} is not {}", cancel.summary(), invite.uri()));
        }
        let ok = self.respond(cancel, 200);
        self.reply(key, ok);
        if !pending {
            return;
        }
        let owner = |call: &&mut Call| call.server.as_ref() == Some(&invite_key);
        let Some(call) = self.calls.iter_mut().find(owner) else {
            return;
        };
        if call.dialog.is_some() && is_waiting(call) {
            call.reason = cancel.get("Reason").map(str::to_owned);
            call.end(Outcome::Cancelled);
            let key = call.key;
            if let Some(mut response) = self.respond_inside(key, 487) {
                response.remove("Contact");
                response.remove("Record-Route");
                self.reply_to_invite(key, response);
            }
        }
    }

    pub(super) fn reliable_resend(&mut self, key: CallKey, rseq: u32) {
        let Some(call) = self.call(key) else { return };
        let Some(waiting) = &mut call.unconfirmed else {
            return;
        };
        if waiting.rseq == rseq {
            waiting.interval *= 2;
            let (again, response) = (waiting.interval, waiting.response.clone());
            self.send(response);
            self.set_timer(again, Timer::ReliableResend(key, rseq));
        }
    }

    pub(super) fn reliable_give_up(&mut self, key: CallKey, rseq: u32) {
        let Some(call) = self.call(key) else { return };
        if call.unconfirmed.as_ref().is_some_and(|waiting| waiting.rseq == rseq) {
            self.complain_if_undisturbed("a reliable 18x never got its PRACK".into());
            self.refuse_call(key, 504, None);
        }
    }

    /// PRACK (RFC 3262 §3).
    pub(super) fn on_prack(&mut self, key: CallKey, server: &ServerKey, prack: &Message) {
        let Some(call) = self.call(key) else { return };
        let invite_seq = call.invite.cseq().0;
        let matches = |waiting: &Unconfirmed| {
            prack.get("RAck") == Some(format!("{} {invite_seq} INVITE", waiting.rseq).as_str())
        };
        let Some(confirmed) = call.unconfirmed.take_if(|waiting| matches(waiting)) else {
            return self.refuse(server, prack, 481);
        };
        let mut fault = None;
        if call.media.has_offered() {
            fault = match prack.has_sdp() {
                true => call.media.take_answer(&prack.body).err(),
                false => Some("no answer to a late offer".into()),
            };
        }
        if let Some(fault) = fault {
            self.complain(format!("{fault} in {}", prack.summary()));
        }
        self.refuse(server, prack, 200);
        if confirmed.then_answer {
            self.answer(key);
        }
    }

    /// A response to a call's INVITE, with the dialog's tag and what makes the dialog.
    fn respond_inside(&mut self, key: CallKey, status: u16) -> Option<Message> {
        let call = self.call(key)?;
        let dialog = call.dialog.as_ref()?;
        let invite = call.invite.clone();
        let (tag, contact) = (dialog.local_tag.clone(), dialog.contact().to_owned());
        let mut response = Message::response(&invite, status, super::reason(status));
        for (_, value) in invite.headers.iter().filter(|(name, _)| name == "Record-Route") {
            response = response.with("Record-Route", value.clone());
        }
        let to = invite.get("To").unwrap_or_default();
        response.set("To", format!("{to};tag={tag}"));
        Some(response.with("Contact", format!("<{contact}>")).with("User-Agent", self.agent()))
    }

    fn reply_to_invite(&mut self, key: CallKey, response: Message) {
        if let Some(server) = self.call(key).and_then(|call| call.server.clone()) {
            self.reply(&server, response);
        }
    }
}

/// The To of an INVITE, from a response of ours to it.
fn invite_to(response: &Message) -> String {
    let to = response.get("To").unwrap_or_default();
    to.split(";tag=").next().unwrap_or_default().to_owned()
}

fn is_waiting(call: &Call) -> bool {
    matches!(call.stage, Stage::Calling | Stage::Ringing)
}

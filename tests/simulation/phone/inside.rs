//! What happens within a call: hold, re-INVITE, UPDATE, INFO, and its end (RFC 3261 §14, §15; RFC 3311).

use std::time::Duration;

use super::call::{Call, CallKey, Outcome, Role, Stage};
use super::negotiation::Change;
use super::transaction::{ServerKey, Task};
use super::{Phone, Timer, caller};
use crate::sdp::Direction;
use crate::sip::Message;

/// Why the session is negotiated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Hold,
    Resume,
    /// Without an offer: the peer makes one.
    Theirs,
    /// Our Contact and our ports change.
    Move,
    Video,
    Fax,
    Voice,
    /// By UPDATE.
    Update,
}

impl Phone {
    /// Ends the newest call, in whatever state it is.
    pub(super) fn hang_up(&mut self) {
        let newest = self.calls.iter().rev().find(|call| call.stage != Stage::Over);
        if let Some(key) = newest.map(|call| call.key) {
            self.hang_up_call(key);
        }
    }

    pub(super) fn hang_up_call(&mut self, key: CallKey) {
        let Some(call) = self.call(key) else { return };
        match (call.role, call.stage) {
            (_, Stage::Over) => {}
            (_, Stage::Up) => self.bye(key, Outcome::HungUp),
            (_, Stage::Accepted) => call.wants_out = true,
            (Role::Caller, _) => self.cancel(key),
            (Role::Callee, _) => self.react(key, super::Reaction::Refuse(480)),
        }
    }

    /// Sends BYE; for this phone the call is over at once (RFC 3261 §15.1.1).
    pub(super) fn bye(&mut self, key: CallKey, outcome: Outcome) {
        let Some(call) = self.call(key) else { return };
        if call.stage == Stage::Over {
            return;
        }
        call.end(outcome);
        call.media.abandon();
        if let Some(bye) = call.dialog.as_mut().map(|dialog| dialog.request("BYE")) {
            self.start_client(bye, Task::Bye(key), 0);
        }
    }

    pub(super) fn reoffer_newest(&mut self, offer: Offer) {
        let newest = self.calls.iter().rev().find(|call| call.is_up());
        if let Some(key) = newest.map(|call| call.key) {
            self.reoffer(key, offer);
        }
    }

    /// Sends a re-INVITE or UPDATE, if nothing else is being negotiated.
    fn reoffer(&mut self, key: CallKey, offer: Offer) {
        let (moved, now) = (self.fresh_contact(), self.now);
        let Some(at) = self.calls.iter().position(|call| call.key == key) else {
            return;
        };
        if !self.calls[at].is_up() || self.is_negotiating(&self.calls[at]) {
            return;
        }
        let call = &mut self.calls[at];
        match offer {
            Offer::Hold => call.media.wish = Direction::SendOnly,
            Offer::Resume => call.media.wish = Direction::SendRecv,
            _ => {}
        }
        let change = match offer {
            Offer::Move => Change::Ports,
            Offer::Video => Change::Video,
            Offer::Fax => Change::Fax,
            Offer::Voice => Change::Voice,
            _ => Change::Nothing,
        };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        if offer == Offer::Move {
            dialog.give(moved, now);
        }
        let method = if offer == Offer::Update { "UPDATE" } else { "INVITE" };
        let contact = format!("<{}>", dialog.contact());
        let mut request = dialog.request(method).with("Contact", contact);
        if offer != Offer::Theirs {
            request = request.with_body("application/sdp", call.media.offer_change(change).write());
        }
        call.reoffering = Some(offer);
        let update = offer == Offer::Update;
        let task = if update { Task::Update(key) } else { Task::Reinvite(key) };
        self.start_client(request, task, 0);
    }

    /// After a 491, if the call is still there (RFC 3261 §14.1).
    pub(super) fn reoffer_again(&mut self, key: CallKey) {
        let again = self.call(key).and_then(|call| call.refused_offer.take());
        if let Some(offer) = again {
            self.reoffer(key, offer);
        }
    }

    pub(super) fn on_reinvite_answer(&mut self, key: CallKey, request: &Message, response: &Message) {
        if response.status() >= 300 {
            return self.on_offer_refused(key, response);
        }
        self.check_contact(response);
        let Some(call) = self.call(key) else { return };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        dialog.refresh_target(response);
        let sequence = request.cseq().0;
        let mut ack = dialog.ack(sequence);
        let mut fault = None;
        call.reoffering = None;
        if !request.has_sdp() {
            fault = call.media.take_offer(&response.body).err();
            if let Some(answer) = call.media.answer() {
                ack = ack.with_body("application/sdp", answer.write());
            }
        } else if call.stage == Stage::Up {
            fault = caller::accept(&mut call.media, response).err();
        }
        let tag = response.to_tag().unwrap_or_default().to_owned();
        self.send_ack(key, sequence, &tag, ack);
        if let Some(fault) = fault {
            self.complain(format!("{fault} in {}", response.summary()));
        }
    }

    pub(super) fn on_update_answer(&mut self, key: CallKey, response: &Message) {
        if response.status() >= 300 {
            return self.on_offer_refused(key, response);
        }
        self.check_contact(response);
        let Some(call) = self.call(key) else { return };
        call.reoffering = None;
        if call.stage != Stage::Up {
            return;
        }
        if let Some(dialog) = &mut call.dialog {
            dialog.refresh_target(response);
        }
        if let Err(error) = call.media.take_answer(&response.body) {
            self.complain(format!("{error} in {}", response.summary()));
        }
    }

    fn on_offer_refused(&mut self, key: CallKey, response: &Message) {
        let wait = self.rng.between(0, 1900);
        let now = self.now;
        let Some(call) = self.call(key) else { return };
        let offer = call.reoffering.take();
        call.media.abandon();
        if let (Some(Offer::Move), Some(dialog)) = (offer, &mut call.dialog) {
            dialog.take_back(now);
        }
        match response.status() {
            408 | 481 => self.bye(key, Outcome::TimedOut),
            491 if call.reoffers < 3 => {
                call.reoffers += 1;
                call.refused_offer = offer;
                let owner = if call.role == Role::Caller { 2100 } else { 0 };
                self.set_timer(Duration::from_millis(owner + wait), Timer::Reoffer(key));
            }
            _ => {}
        }
    }

    /// A 2xx to a re-INVITE came again: so does its ACK.
    pub(super) fn acknowledge_again(&mut self, key: CallKey, response: &Message) {
        let sequence = response.cseq().0;
        let Some(call) = self.call(key) else { return };
        let sent = call.acks.iter().find(|(s, _, _)| *s == sequence);
        if let Some(ack) = sent.map(|(_, _, ack)| ack.clone()) {
            self.send(ack);
        }
    }

    pub(super) fn send_info(&mut self) {
        let Some(call) = self.calls.iter_mut().rev().find(|call| call.is_up()) else {
            return;
        };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        let info = dialog.request("INFO");
        let body = b"Signal=5\r\nDuration=160\r\n".to_vec();
        self.start_client(info.with_body("application/dtmf-relay", body), Task::Other, 0);
    }

    /// A request with a To tag.
    pub(super) fn on_request_inside(&mut self, server: &ServerKey, request: &Message) {
        let holds = |call: &Call| call.dialog.as_ref().is_some_and(|dialog| dialog.holds(request));
        let found = self.calls.iter().find(|call| holds(call) && call.stage != Stage::Over);
        let Some(key) = found.map(|call| call.key) else {
            return self.answer_plainly(server, request, 481);
        };
        self.check_inside_target(key, request);
        let number = request.cseq().0;
        let Some(dialog) = self.call(key).and_then(|call| call.dialog.as_mut()) else {
            return;
        };
        if dialog.remote_seq.is_some_and(|last| last >= number) {
            return self.answer_plainly(server, request, 500);
        }
        dialog.remote_seq = Some(number);
        match request.method() {
            "BYE" => self.on_bye(key, server, request),
            "INVITE" => self.on_reinvite(key, server, request),
            "UPDATE" => self.on_update(key, server, request),
            "PRACK" => self.on_prack(key, server, request),
            "REFER" => self.on_refer(key, server, request),
            "NOTIFY" => self.on_notify(key, server, request),
            "INFO" | "MESSAGE" | "OPTIONS" => self.answer_plainly(server, request, 200),
            _ => self.answer_plainly(server, request, 405),
        }
    }

    fn on_bye(&mut self, key: CallKey, server: &ServerKey, bye: &Message) {
        let hasty = bye.get("X-Sim").is_none() && self.call(key).is_some_and(|c| c.stage == Stage::Accepted);
        if hasty {
            self.complain_if_undisturbed("the exchange sent BYE without ACK".into());
        }
        let Some(call) = self.call(key) else { return };
        call.reason = bye.get("Reason").map(str::to_owned);
        let early = matches!(call.stage, Stage::Calling | Stage::Ringing);
        let invite = call.server.clone().filter(|_| early).map(|key| (key, call.invite.clone()));
        call.end(Outcome::HungUpByPeer);
        call.media.abandon();
        self.answer_plainly(server, bye, 200);
        if let Some((key, invite)) = invite {
            self.answer_plainly(&key, &invite, 487);
        }
    }

    fn on_reinvite(&mut self, key: CallKey, server: &ServerKey, invite: &Message) {
        let stubborn = self.spec.stubborn;
        let Some(call) = self.call(key) else { return };
        if call.stage == Stage::Accepted || call.unacknowledged.is_some() {
            return self.answer_plainly(server, invite, 500);
        }
        if call.reoffering.is_some() || call.media.is_pending() {
            return self.answer_plainly(server, invite, 491);
        }
        if stubborn {
            return self.answer_plainly(server, invite, 488);
        }
        self.check_contact(invite);
        let (moved, now) = (self.spec.restless.then(|| self.fresh_contact()), self.now);
        let Some(call) = self.call(key) else { return };
        let body = match invite.has_sdp() {
            true => call.media.take_offer(&invite.body).map(|()| call.media.answer()),
            false => Ok(Some(call.media.offer())),
        };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        dialog.refresh_target(invite);
        if let Some(moved) = moved {
            dialog.give(moved, now);
        }
        let contact = format!("<{}>", dialog.contact());
        let status = if body.is_ok() { 200 } else { 488 };
        let mut response = self.respond(invite, status).with("Contact", contact);
        match body {
            Ok(Some(body)) => response = response.with_body("application/sdp", body.write()),
            Ok(None) => {}
            Err(error) => self.complain(format!("{error} in {}", invite.summary())),
        }
        if status == 200 {
            for (_, value) in invite.headers.iter().filter(|(name, _)| name == "Record-Route") {
                response = response.with("Record-Route", value.clone());
            }
            self.stamp(&mut response);
            self.await_ack(key, invite.cseq().0, response.clone());
        }
        self.reply(server, response);
    }

    fn on_update(&mut self, key: CallKey, server: &ServerKey, update: &Message) {
        let stubborn = self.spec.stubborn;
        let Some(call) = self.call(key) else { return };
        if call.is_negotiating() || !call.is_up() {
            return self.answer_plainly(server, update, 491);
        }
        if stubborn {
            return self.answer_plainly(server, update, 488);
        }
        self.check_contact(update);
        let Some(call) = self.call(key) else { return };
        let body = match update.has_sdp() {
            true => call.media.take_offer(&update.body).map(|()| call.media.answer()),
            false => Ok(None),
        };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        dialog.refresh_target(update);
        let contact = format!("<{}>", dialog.contact());
        let mut response = self.respond(update, 200).with("Contact", contact);
        match body {
            Ok(Some(body)) => response = response.with_body("application/sdp", body.write()),
            Ok(None) => {}
            Err(error) => self.complain(format!("{error} in {}", update.summary())),
        }
        self.reply(server, response);
    }

    pub(super) fn answer_plainly(&mut self, server: &ServerKey, request: &Message, status: u16) {
        let response = self.respond(request, status);
        self.reply(server, response);
    }

    /// A request within a dialog has to ask for the Contact that this phone gave in it.
    pub(super) fn check_inside_target(&mut self, key: CallKey, request: &Message) {
        let now = self.now;
        let Some(dialog) = self.call(key).and_then(|call| call.dialog.as_ref()) else {
            return;
        };
        if !dialog.accepts(request.uri(), now) {
            let known = dialog.contact().to_owned();
            self.complain(format!("not our Contact, which is {known}: {}", request.summary()));
        }
    }
}

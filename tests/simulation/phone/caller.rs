//! Calling somebody: INVITE, its answers, giving up (RFC 3261 §13.2, §9.1; RFC 3262).

use super::call::{Call, CallKey, Early, Outcome, Role, Stage};
use super::dialog::Dialog;
use super::negotiation::Negotiation;
use super::transaction::{LONG, Task};
use super::transfer::Transfer;
use super::{Phone, Timer};
use crate::sip::{Message, user_of};

impl Phone {
    pub(super) fn dial(&mut self, number: &str) {
        if self.active_calls().count() < self.spec.lines {
            let uri = format!("sip:{number}@{}", self.spec.domain);
            self.start_call(&uri, Vec::new(), None);
        }
    }

    /// Sends the INVITE of a new call.
    pub(super) fn start_call(&mut self, uri: &str, extra: Vec<(&str, String)>, transfer: Option<Transfer>) {
        let mut media = self.new_negotiation();
        let mut invite = self.outside("INVITE", uri);
        let contact = self.fresh_contact();
        invite = invite
            .with("Contact", format!("<{contact}>"))
            .with("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, REFER, NOTIFY, MESSAGE");
        let supported = if self.spec.reliable { "100rel, replaces" } else { "replaces" };
        invite = invite.with("Supported", supported);
        for (name, value) in extra {
            invite = invite.with(name, value);
        }
        if !self.spec.late_offer {
            invite = invite.with_body("application/sdp", media.offer().write());
        }
        self.authorize(&mut invite, 407);
        let key = self.new_key();
        let mut call = Call::new(key, Role::Caller, invite.clone(), media);
        call.number = user_of(uri).to_owned();
        call.transfer = transfer;
        call.client = self.start_client(invite, Task::Invite(key), 0);
        self.calls.push(call);
    }

    pub(super) fn on_invite_progress(&mut self, key: CallKey, request: &Message, response: &Message) {
        let Some(call) = self.call(key) else { return };
        let wants_out = call.wants_out;
        if response.status() > 100 {
            if call.stage == Stage::Calling {
                call.stage = Stage::Ringing;
            }
            call.progress.push(response.status());
            self.on_early_dialog(key, request, response);
        }
        if wants_out {
            self.cancel(key);
        }
    }

    /// A provisional response with a To tag: an early dialog, and PRACK where it is wanted.
    fn on_early_dialog(&mut self, key: CallKey, request: &Message, response: &Message) {
        let contact = own_contact(request);
        let Some(dialog) = Dialog::of_caller(request, response, &contact) else {
            return;
        };
        if let Some(fault) = dialog.fault_in_route_set() {
            self.complain(format!("{fault} in {}", response.summary()));
        }
        self.check_contact(response);
        let Some(call) = self.call(key) else { return };
        let tag = dialog.remote_tag.clone();
        if !call.early.iter().any(|early| early.dialog.remote_tag == tag) {
            call.early.push(Early { dialog, media: call.media.clone(), rseq: None });
        }
        let Some(early) = call.early.iter_mut().find(|e| e.dialog.remote_tag == tag) else {
            return;
        };
        let Some(rseq) = response.get("RSeq").and_then(|value| value.parse::<u32>().ok()) else {
            return;
        };
        let expected = early.rseq.is_none_or(|last| rseq == last + 1);
        if !response.lists("Require", "100rel") || !expected {
            return;
        }
        early.rseq = Some(rseq);
        let mut prack = early.dialog.request("PRACK");
        prack = prack.with("RAck", format!("{rseq} {} INVITE", request.cseq().0));
        if response.has_sdp() {
            match accept(&mut early.media, response) {
                Ok(Some(answer)) => prack = prack.with_body("application/sdp", answer),
                Ok(None) => {}
                Err(error) => self.complain(format!("{error} in {}", response.summary())),
            }
        }
        self.start_client(prack, Task::Prack(key), 0);
    }

    pub(super) fn on_prack_answer(&mut self, key: CallKey, response: &Message) {
        let pending = self.call(key).is_some_and(|call| call.stage == Stage::Ringing);
        let own = response.get("X-Sim").is_none();
        if response.status() >= 300 && pending && own {
            self.complain_if_undisturbed(format!("PRACK refused: {}", response.summary()));
        }
    }

    pub(super) fn on_invite_answer(
        &mut self,
        key: CallKey,
        request: &Message,
        attempts: u32,
        response: &Message,
    ) {
        let status = response.status();
        if status < 300 {
            return self.on_success(key, request, response);
        }
        let Some(call) = self.call(key) else { return };
        let wants_out = call.wants_out;
        if status == 407
            && !wants_out
            && let Some((retry, attempts)) = self.retry_with_credentials(request, attempts, response)
        {
            let client = self.start_client(retry.clone(), Task::Invite(key), attempts);
            if let Some(call) = self.call(key) {
                call.client = client;
                call.invite = retry;
            }
            return;
        }
        let Some(call) = self.call(key) else { return };
        call.media.abandon();
        call.reason = response.get("Reason").map(str::to_owned);
        call.end(match status {
            487 if wants_out => Outcome::Cancelled,
            408 if response.to_tag().is_none() => Outcome::TimedOut,
            _ if wants_out => Outcome::Cancelled,
            status => Outcome::Refused(status),
        });
        self.tell_transferor(key, status);
    }

    /// A 2xx: the first makes the call; one of another dialog is acknowledged and ended.
    fn on_success(&mut self, key: CallKey, request: &Message, response: &Message) {
        let Some(call) = self.call(key) else { return };
        let sequence = request.cseq().0;
        let tag = response.to_tag().unwrap_or_default().to_owned();
        let sent = call.acks.iter().find(|(s, t, _)| *s == sequence && *t == tag);
        if let Some((_, _, ack)) = sent {
            let ack = ack.clone();
            return self.send(ack);
        }
        let contact = own_contact(request);
        let Some(mut fresh) = Dialog::of_caller(request, response, &contact) else {
            return;
        };
        let known = call.early.iter().position(|early| early.dialog.remote_tag == tag);
        let (mut dialog, mut media) = match known {
            Some(at) => {
                let early = call.early.remove(at);
                fresh.local_seq = early.dialog.local_seq;
                (fresh, early.media)
            }
            None => (fresh, call.media.clone()),
        };
        let mut ack = dialog.ack(sequence);
        let mut faults: Vec<String> = dialog.fault_in_route_set().into_iter().collect();
        if response.has_sdp() {
            match accept(&mut media, response) {
                Ok(Some(answer)) => ack = ack.with_body("application/sdp", answer),
                Ok(None) => {}
                Err(error) => faults.push(error),
            }
        } else if !media.is_settled() {
            faults.push("no description where one has to be".into());
        }
        let routes = dialog.ways();
        let first = call.dialog.is_none();
        let wants_out = call.wants_out;
        let settled = media.is_settled();
        if first {
            call.dialog = Some(dialog.clone());
            call.media = media;
            call.stage = Stage::Up;
            call.answered = true;
        }
        self.send_ack(key, sequence, &tag, ack);
        self.check_contact(response);
        for route in routes {
            self.check_ours("the way", &route);
        }
        for fault in faults {
            self.complain(format!("{fault} in {}", response.summary()));
        }
        if !first {
            let bye = dialog.request("BYE");
            self.start_client(bye, Task::Bye(key), 0);
        } else if wants_out || !settled {
            self.bye(key, Outcome::Cancelled);
        } else {
            self.tell_transferor(key, response.status());
        }
    }

    /// Sends the ACK of a 2xx, and keeps it for when the 2xx comes again.
    pub(super) fn send_ack(&mut self, key: CallKey, sequence: u32, tag: &str, mut ack: Message) {
        let branch = format!("z9hG4bK{}", self.rng.token(10));
        ack.headers.insert(0, ("Via".into(), self.via(&branch)));
        self.stamp(&mut ack);
        if let Some(call) = self.call(key) {
            call.acks.push((sequence, tag.to_owned(), ack.clone()));
        }
        self.send(ack);
    }

    /// Gives up a call that was not answered, now or as soon as RFC 3261 §9.1 allows it.
    pub(super) fn cancel(&mut self, key: CallKey) {
        let hasty = self.spec.hasty;
        let Some(call) = self.call(key) else { return };
        call.wants_out = true;
        if call.cancel_sent {
            return;
        }
        let transaction = call.client.clone();
        let Some(client) = self.client(&transaction) else {
            return;
        };
        let may = client.is_proceeding() || (hasty && client.is_pending());
        if !may {
            return;
        }
        let (invite, branch) = (client.request.clone(), client.request.branch().to_owned());
        let mut cancel = Message::request("CANCEL", invite.uri());
        for (name, value) in &invite.headers {
            if ["Route", "Max-Forwards", "From", "To", "Call-ID"].contains(&name.as_str()) {
                cancel = cancel.with(name, value.clone());
            }
        }
        cancel = cancel.with("CSeq", format!("{} CANCEL", invite.cseq().0));
        if let Some(call) = self.call(key) {
            call.cancel_sent = true;
        }
        self.start_client_on(&branch, cancel, Task::Other, 0);
        self.set_timer(LONG, Timer::CancelGiveUp(key));
    }

    /// RFC 3261 §9.1: a cancelled INVITE without final answer is taken for dead after 64·T1.
    pub(super) fn cancel_give_up(&mut self, key: CallKey) {
        let Some(call) = self.call(key) else { return };
        if matches!(call.stage, Stage::Calling | Stage::Ringing) {
            call.end(Outcome::Cancelled);
            let transaction = call.client.clone();
            self.client_forget(&transaction);
            self.complain_if_undisturbed("a cancelled INVITE never got its final answer".into());
        }
    }

    pub(super) fn call(&mut self, key: CallKey) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.key == key)
    }

    pub(super) fn new_key(&mut self) -> CallKey {
        self.count += 1;
        self.count
    }

    pub(super) fn new_negotiation(&mut self) -> Negotiation {
        self.count += 1;
        let port = 10_000 + (self.count * 8 % 20_000) as u16;
        Negotiation::new(self.spec.address.ip(), port, self.spec.video, self.count)
    }
}

/// Takes a description from a reliable response to INVITE: the answer to our offer, or an offer
/// to a late one of ours, whose answer is returned.
pub(super) fn accept(media: &mut Negotiation, from: &Message) -> Result<Option<Vec<u8>>, String> {
    if media.has_offered() {
        media.take_answer(&from.body)?;
        return Ok(None);
    }
    if media.is_settled() {
        return Ok(None);
    }
    media.take_offer(&from.body)?;
    Ok(media.answer().map(|answer| answer.write()))
}

fn own_contact(invite: &Message) -> String {
    crate::sip::uri_of(invite.get("Contact").unwrap_or_default()).to_owned()
}

//! Transfers of whoever is at another exchange (RFC 3515, RFC 5589 §6, §7). A phone asks the other side of its call to
//! call somebody else; providers refuse that, and friends would have to dial by our plan. So denwa does it: it calls
//! whom the phone has named, by the phone's rights, and gives the outside party over to whoever answers.
//!
//! ```text
//! outside ──── call ──── phone            REFER: 202, and NOTIFY how far it is
//!                        target ◀── heir  INVITE without an offer
//! outside ◀─ INVITE ──── target           the target's offer, for the outside party to answer (RFC 3725 §4.1, Flow I)
//! outside ─────────────▶ target           its answer in the ACK
//! ```
//!
//! From then on the heir is a call like any other. What the outside party calls us stays what it was: see
//! [`Persona::tag`](super::persona::Persona::tag).

use std::time::Duration;

use super::Switch;
use super::call::{Call, Dialog, Leg, Party, Phase, index, other};
use super::dialog::Place;
use super::event::Cause;
use super::flow::Flow;
use super::fork::{Fork, Kind};
use super::form::CSEQ_STEP;
use super::forward::{Onward, contact_uri, escape, named, routed, token_uri};
use super::invite::Goal;
use super::io::Timer;
use super::own::Own;
use super::persona::{Alias, tagged};
use super::request::OwnRoutes;
use super::route::Destination;
use super::token::{MAX_LEGS, Token};
use super::transaction::{Owner, ServerKey};
use crate::config::Number;
use crate::media::Side;
use crate::sip::originate::{Originate, OwnMethod};
use crate::sip::sdp::{Keys, Sdp};
use crate::sip::{Message, Method, Name, NameAddr, reason_phrase, unescape};
use crate::time::Instant;

/// The CSeq number of the INVITE to whoever is called.
const FIRST: u32 = 1;

/// How many CSeq numbers are left to an INVITE that asks for somebody who is outside: it may be asked for passwords.
const RESERVED: u32 = 16;

/// How long an offer waits for whoever is outside to have finished its own (RFC 3261 §14.1), and how often.
const GLARE: Duration = Duration::from_millis(2_100);
const MAX_GLARES: u8 = 4;

/// The Via of a request that denwa asks itself: no answer is sent there.
const NOWHERE: &str = "SIP/2.0/UDP denwa.invalid;branch=z9hG4bK";

/// What a call is made for: to take the outside party of another one over.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// That call, and its dialog.
    of: u64,
    dialog: usize,
    /// On which side of it the phone is that has asked, and whose it is.
    asker: Side,
    pub(super) by: Number,
    /// The CSeq number of its REFER, by which its NOTIFYs are known.
    refer: u32,
    /// What whoever has answered offers, and how often the outside party was busy with an offer of its own.
    offer: Vec<u8>,
    glares: u8,
    /// The ACK of whoever has answered, as often as it may be needed.
    ack: Option<Vec<u8>>,
}

impl Call {
    /// Whether one side of a dialog is nobody any more: a phone has asked for a transfer and hung up.
    pub(super) fn is_left(&self, dialog: usize) -> bool {
        let is_empty = |side| self.leg(dialog, side).is_some_and(|leg| leg.party == Party::Inside);
        self.inside.is_none() && (is_empty(Side::A) || is_empty(Side::B))
    }

    /// Whether a request comes from another exchange, which may have been given over.
    fn was_outside(&self, place: Place) -> bool {
        self.leg(place.dialog, place.from).is_some_and(|leg| leg.persona.is_some())
    }
}

impl Switch {
    /// A phone asks for whoever it talks to at another exchange to be given over. The REFER's transaction is open.
    pub(super) fn transfer(&mut self, server: ServerKey, reply: Flow, request: &Message<'_>, place: Place) {
        let Place { call: of, dialog, from } = place;
        let Some(call) = self.calls.get(&of) else { return };
        let is_up = matches!(call.phase, Phase::Up { dialog: winner, .. } if winner == dialog);
        if !is_up || call.heir.is_some_and(|heir| self.is_ringing(heir)) {
            return self.answer(server, reply, request, 491, b"");
        }
        let Some(asker) = call.leg(dialog, from).and_then(Leg::extension).cloned() else { return };
        let (goal, number, replaces) = match self.goal_of(of, &asker, request) {
            Ok(found) => found,
            Err((status, why)) => {
                let dialled = request
                    .first(Name::ReferTo)
                    .map(|value| crate::sip::printable(value, 64))
                    .unwrap_or_default();
                return self.refuse_transfer(server, reply, request, status, &dialled, why);
            }
        };
        if self.calls.len() >= super::MAX_CALLS || !self.clients.has_room() || self.takes_no_calls() {
            return self.answer(server, reply, request, 503, b"Retry-After: 10\r\n");
        }
        if let Err(why) = self.usage.refers(&self.config, self.io.now, &asker) {
            return self.refuse_transfer(server, reply, request, 403, asker.as_str(), &why);
        }
        if let Some(record) = self.usage.record(&asker) {
            self.io.record(record);
        }
        let contact = self.contact_in(of, dialog, from, &reply);
        self.answer(server, reply, request, 202, format!("Contact: <{contact}>\r\n").as_bytes());

        let refer = request.cseq().map_or(0, |cseq| cseq.number);
        let transfer =
            Transfer { of, dialog, asker: from, by: asker, refer, offer: Vec::new(), glares: 0, ack: None };
        self.notify(&transfer, 100);
        self.call_for(transfer, goal, &number, &replaces);
    }

    fn refuse_transfer(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        status: u16,
        number: &str,
        why: &str,
    ) {
        self.refused(&reply, request, number, why, true);
        let reason = format!("Reason: SIP;cause={status};text=\"{why}\"\r\n");
        self.answer(server, reply, request, status, reason.as_bytes());
    }

    /// Whom a REFER names: what that means by the rights of the phone that asks, the number, and a Replaces value.
    fn goal_of(
        &self,
        of: u64,
        asker: &Number,
        request: &Message<'_>,
    ) -> Result<(Goal, Number, Vec<u8>), (u16, &'static str)> {
        let refer_to = request.first(Name::ReferTo).and_then(NameAddr::parse).ok_or((400, "no Refer-To"))?;
        let (bare, headers) = match refer_to.uri.iter().position(|&b| b == b'?') {
            Some(at) => refer_to.uri.split_at(at),
            None => (refer_to.uri, &b""[..]),
        };
        let replaces = headers.get(1..).unwrap_or_default().split(|&b| b == b'&');
        let replaces = replaces.filter_map(|header| header.strip_prefix(b"Replaces=")).next().map(unescape);
        if let Some(value) = replaces {
            let (call, dialog, side) = self.replaced(&value).ok_or((481, "the other call is over"))?;
            if call == of {
                return Err((400, "a call cannot take its own place"));
            }
            if !self.may_take_over(&Party::Phone(asker.clone()), call, dialog, side) {
                return Err((481, "the other call was not answered yet"));
            }
            let call_there = self.calls.get(&call).ok_or((481, "the other call is over"))?;
            let dialled = if side == Side::A { &call_there.from } else { &call_there.to };
            let number = call_there.leg(dialog, side).and_then(Leg::extension).unwrap_or(dialled).clone();
            return Ok((Goal::Takeover { call, dialog, side }, number, value.to_vec()));
        }
        let number = self.referred(bare, headers).ok_or((404, "no number of ours is named"))?;
        match self.destination(&Party::Phone(asker.clone()), &number) {
            Destination::Unknown => Err((404, "no such number")),
            Destination::Closed(_) => Err((403, "this number is closed")),
            destination => {
                let number = Number::new(&number).ok_or((404, "no such number"))?;
                Ok((Goal::Number(destination), number, Vec::new()))
            }
        }
    }

    /// Calls whom a phone has named, in the name of its party outside.
    fn call_for(&mut self, transfer: Transfer, goal: Goal, number: &Number, replaces: &[u8]) {
        let fresh = [self.secret.fresh(), self.secret.fresh()];
        let Some(call) = self.calls.get(&transfer.of) else { return };
        let outside = other(transfer.asker);
        let (Some(leg), Some(d)) = (call.leg(transfer.dialog, outside), call.dialogs.get(transfer.dialog))
        else {
            return;
        };
        let (leg, end) = (leg.clone(), &d.ends[index(outside)]);
        let host = self.host_for(&leg.flow);
        let caller = if outside == Side::A { call.from.clone() } else { call.to.clone() };
        let shown = call.shown.clone().filter(|_| outside == Side::A);
        let shown = shown.unwrap_or_else(|| named(None, caller.as_str(), &host).into());
        let [call_id, branch] = fresh.each_ref().map(|text| String::from_utf8_lossy(text));
        let uri = format!("sip:{}@{host}", escape(number.as_str()));
        let contact = [b"<", &*end.target, b">"].concat();
        let mut headers: Vec<(&str, &[u8])> = vec![("Contact", &contact), ("Allow", SAID_TO_ALLOW)];
        if !end.routes.is_empty() {
            headers.push(("Record-Route", &end.routes));
        }
        if !replaces.is_empty() {
            headers.push(("Replaces", replaces));
        }
        let invite = Originate {
            method: OwnMethod::Invite,
            uri: uri.as_bytes(),
            via: format!("{NOWHERE}{branch}").as_bytes(),
            routes: &[],
            from: &tagged(&shown, &end.tag),
            to: format!("<{uri}>").as_bytes(),
            call_id: call_id.as_bytes(),
            cseq: FIRST,
            headers: &headers,
        }
        .print();
        let Ok(request) = Message::parse(&invite) else { return };
        let (party, flow, of) = (leg.party.clone(), leg.flow, transfer.of);
        let id = self.open_call(&flow, &request, &party, caller, Some(shown), number.clone());
        if let Some(heir) = self.calls.get_mut(&id) {
            heir.legs = vec![leg];
            heir.neighbours = Vec::new(); // it counts in the call that it is in, so far
            heir.transfer = Some(transfer);
        }
        if let Some(call) = self.calls.get_mut(&of) {
            call.heir = Some(id);
        }
        let fork = self.open_own_fork(flow, &request, Kind::Call(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.fork = fork;
        }
        self.set_off(fork, id, &request, goal, 0);
    }

    /// Somebody is to talk to the outside party of another call, by Replaces: an INVITE in the dialog that it is in.
    /// `place` is its side there.
    pub(super) fn ask_for_outside(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        place: Place,
        pop: usize,
    ) -> bool {
        let Place { call: of, dialog, from: outside } = place;
        let Some(call) = self.calls.get_mut(&of) else { return false };
        let Some(Given { leg, target, .. }) = given(call, dialog, other(outside), self.io.now) else {
            return false;
        };
        let Some(end) = call.dialogs.get(dialog).map(|d| d.ends[index(outside)].clone()) else {
            return false;
        };
        // Whoever talks to it now may have to go on, and must not use the same numbers.
        let at = call.leg_index(dialog, outside);
        if let Some(persona) = call.legs.get_mut(at).and_then(|leg| leg.persona.as_mut()) {
            persona.highest = persona.highest.saturating_add(RESERVED);
        }
        let flow = self.flow_of(&leg);
        let Some(taker) = self.calls.get_mut(&id).filter(|call| call.legs.len() < MAX_LEGS) else {
            return false;
        };
        let index = taker.legs.len();
        taker.legs.push(Leg { flow, ..leg });
        taker.sent(index, Method::Invite, request.cseq().map_or(0, |cseq| cseq.number));
        taker.replaces = Some(of);
        let Some(persona) = taker.legs.get(index).and_then(|leg| leg.persona.as_ref()) else { return false };
        let alias = Alias {
            call_id: persona.call_id.clone(),
            from: tagged(&persona.ours, persona.tag.as_deref().unwrap_or_default()),
            to: tagged(&persona.theirs, &end.tag),
            cseq: persona.invite.1,
            rack: None,
            for_phone: false,
        };
        let mask = Token { call: id, leg: index as u8, contact: true }.seal(&self.secret, &persona.call_id);
        let mask = token_uri(&self.config, &flow, &mask, false);
        let Some(taker) = self.calls.get(&id) else { return false };
        let body = self.sdp_for(taker, 0, index, request);
        let (target, routes) = routed(&target, end.routes.to_vec());
        let onward = Onward {
            uri: Some(&target),
            pop,
            routes: &routes,
            contact: Some(&mask),
            body: body.as_deref(),
            alias: Some(&alias),
            ..Onward::untouched()
        };
        self.branch_out(fork, request, flow, onward, index, None);
        true
    }

    /// The outside party of another call has answered the INVITE of this one: the other call has lost it.
    pub(super) fn outside_came_over(&mut self, id: u64, dialog: usize) {
        let now = self.io.now;
        let Some(taker) = self.calls.get(&id) else { return };
        let persona = taker.leg(dialog, Side::B).and_then(|leg| leg.persona.as_ref());
        let (Some(persona), Some(of)) = (persona.filter(|persona| persona.tag.is_some()), taker.replaces)
        else {
            return;
        };
        let outside = persona.call_id.clone();
        let Some(call) = self.calls.get(&of) else { return };
        let Phase::Up { dialog: before, .. } = call.phase else { return };
        let kept =
            if call.call_id_of(call.leg_index(before, Side::A)) == &*outside { Side::B } else { Side::A };
        let routes = call.dialogs.get(before).map(|d| d.ends[index(other(kept))].routes.clone());
        let Some(given) = given(call, before, kept, now) else { return };
        self.inherits(id, of, &given);
        if let (Some(d), Some(routes)) =
            (self.calls.get_mut(&id).and_then(|taker| taker.dialogs.get_mut(dialog)), routes)
        {
            d.ends[1].routes = routes;
        }
        self.bye(of, before, kept, &[]);
        self.call_over(of, Cause::Replaced);
        self.lets_go(of, before, other(kept));
    }

    /// A call counts from now on where another one did, and may last as long as that one might have.
    fn inherits(&mut self, id: u64, of: u64, given: &Given) {
        if let (Some(at), Some(call)) = (given.counted, self.calls.get_mut(&of)) {
            call.neighbours.swap_remove(at);
        }
        if let Some(heir) = self.calls.get_mut(&id) {
            heir.neighbours.extend(given.counted.and(given.leg.neighbour().cloned()));
            heir.limit = heir.limit.into_iter().chain(given.limit).min();
        }
    }

    /// A call that is over has no part in whoever was outside any more: after a restart, too, nothing is said there in
    /// its name.
    fn lets_go(&mut self, of: u64, dialog: usize, outside: Side) {
        let Some(call) = self.calls.get_mut(&of) else { return };
        let at = call.leg_index(dialog, outside);
        if let Some(leg) = call.legs.get_mut(at) {
            leg.party = Party::Inside;
        }
    }

    /// What denwa asked itself was answered; without a response, by denwa.
    pub(super) fn own_response(&mut self, fork: &Fork, status: u16, response: Option<&Message<'_>>) {
        match (fork.kind, status, response) {
            (_, ..200, _) | (Kind::Alone, ..) => {}
            (Kind::Call(id), 200..300, Some(response)) => match fork.answered {
                false => self.give_over(id, response),
                true => self.acknowledge_again(id),
            },
            (Kind::Call(id), ..) => self.not_found(id, status),
            (Kind::InDialog { call, dialog, .. }, 200..300, Some(response)) => {
                self.acknowledge_outside(call, dialog);
                if !fork.answered {
                    self.acknowledge_target(call, dialog, response);
                }
            }
            (Kind::InDialog { call, .. }, 491, _) if self.may_ask_again(call) => {
                self.io.arm(GLARE, Timer::AskOutside(call));
            }
            (Kind::InDialog { call, dialog, .. }, ..) => self.not_given_over(call, dialog, status),
        }
    }

    fn may_ask_again(&mut self, id: u64) -> bool {
        let transfer = self.calls.get_mut(&id).and_then(|heir| heir.transfer.as_mut());
        transfer.is_some_and(|transfer| {
            transfer.glares += 1;
            transfer.glares <= MAX_GLARES
        })
    }

    /// Somebody has answered: the outside party is his from now on.
    pub(super) fn give_over(&mut self, id: u64, answer: &Message<'_>) {
        let now = self.io.now;
        let Some(transfer) = self.calls.get(&id).and_then(|heir| heir.transfer.clone()) else { return };
        let Transfer { of, dialog, asker, .. } = transfer;
        let Some(Phase::Up { dialog: winner, .. }) = self.calls.get(&id).map(|heir| heir.phase) else {
            return;
        };
        if !self.is_fit(id, winner, answer) {
            return self.not_wanted(id, winner);
        }
        let call = self.calls.get(&of).filter(|call| call.phase != Phase::Over);
        let Some(given) = call.and_then(|call| given(call, dialog, asker, now)) else {
            return self.not_given_over(id, winner, 481);
        };
        self.inherits(id, of, &given);
        let Some(heir) = self.calls.get_mut(&id) else { return };
        heir.legs[0] = given.leg;
        if let Some(transfer) = &mut heir.transfer {
            transfer.offer = answer.body().to_vec();
        }
        if let Some(d) = heir.dialogs.get_mut(winner) {
            d.ends[0].target.clone_from(&given.target);
            // Ours was the first, and those of the outside party may begin anywhere.
            d.ends[1].ahead = FIRST + 1;
        }
        let asks = self.calls.get(&of).is_some_and(|call| !call.is_left(dialog));
        self.notify(&transfer, 200);
        if asks {
            self.bye(of, dialog, asker, &[]);
        }
        self.call_over(of, Cause::Replaced);
        self.lets_go(of, dialog, other(asker));
        self.io.arm_for(now + self.limit_of(id), Timer::CallLimit(id));
        self.ask_outside(id);
    }

    /// Whether the outside party can be offered what whoever has answered offers.
    fn is_fit(&self, id: u64, dialog: usize, answer: &Message<'_>) -> bool {
        let Some(heir) = self.calls.get(&id).filter(|_| answer.has_sdp()) else { return false };
        let Ok(sdp) = Sdp::parse(answer.body()) else { return false };
        let keys = self.keys_between(heir, heir.leg_index(dialog, Side::B), 0);
        keys == Keys::Stay || !sdp.needs_keys()
    }

    /// Whoever has answered is of no use to the outside party, which stays where it is.
    fn not_wanted(&mut self, id: u64, dialog: usize) {
        if let Some(ack) = self.ack_of(id, dialog, Side::B, b"") {
            self.io.send(ack.flow, ack.bytes);
        }
        self.not_found(id, 488);
        if let Some(heir) = self.calls.get_mut(&id) {
            // Nothing is said there in its name.
            heir.legs[0].party = Party::Inside;
        }
        self.acknowledged(id);
        self.end_call(id, Cause::Refused(488));
    }

    /// Asks the outside party to talk to whoever has answered: an INVITE in its dialog, with that one's offer.
    pub(super) fn ask_outside(&mut self, id: u64) {
        let branch = self.secret.fresh();
        let Some(heir) = self.calls.get(&id) else { return };
        let (Phase::Up { dialog, acknowledged: false, .. }, Some(transfer)) = (heir.phase, &heir.transfer)
        else {
            return;
        };
        let (Some(d), Some(target)) = (heir.dialogs.get(dialog), heir.leg(dialog, Side::B)) else { return };
        let flow = self.flow_of(target);
        // It is masked on its way; what answers inside denwa has none.
        let contact = match &*d.ends[1].target {
            b"" => b"<sip:denwa.invalid>".to_vec(),
            target => [b"<", target, b">"].concat(),
        };
        let invite = Originate {
            method: OwnMethod::Invite,
            uri: &d.ends[0].target,
            via: format!("{NOWHERE}{}", String::from_utf8_lossy(&branch)).as_bytes(),
            routes: &[],
            from: &d.ends[1].address,
            to: &d.ends[0].address,
            call_id: &heir.call_id,
            cseq: FIRST,
            headers: &[("Contact", &contact), ("Allow", SAID_TO_ALLOW)],
        }
        .print_with("application/sdp", &transfer.offer);
        let Ok(request) = Message::parse(&invite) else { return };
        let place = Place { call: id, dialog, from: Side::B };
        let kind = Kind::InDialog { call: id, dialog, from: Side::B };
        let fork = self.open_own_fork(flow, &request, kind);
        self.with_fork(fork, |switch, fork| {
            if let Err(why) = switch.take_offer(id, fork, &request) {
                switch.refuse_offer(fork, why);
                return;
            }
            fork.contact = contact_uri(&request).map(Into::into);
            switch.onward_in_dialog(Some(fork), flow, &request, place, &OwnRoutes::default());
        });
    }

    /// The outside party has answered the INVITE in its dialog.
    fn acknowledge_outside(&mut self, id: u64, dialog: usize) {
        if let Some(ack) = self.ack_of(id, dialog, Side::A, b"") {
            self.io.send(ack.flow, ack.bytes);
        }
    }

    /// Whoever was called hears what the outside party has answered.
    fn acknowledge_target(&mut self, id: u64, dialog: usize, answer: &Message<'_>) {
        let Some(heir) = self.calls.get(&id) else { return };
        let body = self.sdp_for(heir, 0, heir.leg_index(dialog, Side::B), answer).unwrap_or_default();
        if let Some(ack) = self.ack_of(id, dialog, Side::B, &body) {
            self.io.send(ack.flow, ack.bytes.clone());
            if let Some(transfer) = self.calls.get_mut(&id).and_then(|heir| heir.transfer.as_mut()) {
                transfer.ack = Some(ack.bytes);
            }
        }
        self.acknowledged(id);
    }

    /// Whoever was called has not heard it.
    fn acknowledge_again(&mut self, id: u64) {
        let Some(heir) = self.calls.get(&id) else { return };
        let (Some(ack), Some((_, dialog))) =
            (heir.transfer.as_ref().and_then(|transfer| transfer.ack.clone()), heir.talked)
        else {
            return;
        };
        if let Some(leg) = heir.leg(dialog, Side::B) {
            self.io.send(self.flow_of(leg), ack);
        }
    }

    /// The ACK of an INVITE of our own to one side of a dialog.
    fn ack_of(&mut self, id: u64, dialog: usize, to: Side, body: &[u8]) -> Option<Own> {
        let leg = self.calls.get(&id)?.leg(dialog, to)?;
        let cseq = leg.persona.as_ref().map_or(FIRST, |persona| persona.invite.1);
        self.own_request(id, dialog, to, OwnMethod::Ack, cseq, &[], ("application/sdp", body))
    }

    /// Nobody has answered. Who has asked still has his call; if he has left it, it is over.
    fn not_found(&mut self, id: u64, status: u16) {
        let Some(transfer) = self.calls.get_mut(&id).and_then(|heir| heir.transfer.take()) else { return };
        let Some(call) = self.calls.get_mut(&transfer.of) else { return };
        call.heir = None;
        match call.is_left(transfer.dialog) {
            true => self.end_call(transfer.of, hung_up(transfer.asker)),
            false => self.notify(&transfer, status),
        }
    }

    /// The outside party does not go on with whoever has answered.
    fn not_given_over(&mut self, id: u64, dialog: usize, status: u16) {
        if let Some(ack) = self.ack_of(id, dialog, Side::B, b"").filter(|_| self.is_unacknowledged(id)) {
            self.io.send(ack.flow, ack.bytes);
        }
        self.acknowledged(id);
        let is_up = matches!(self.calls.get(&id).map(|heir| heir.phase), Some(Phase::Up { .. }));
        if is_up {
            let why = reason_phrase(status);
            let sentence = format!("call {id}: whoever was transferred did not go on: {status} {why}");
            self.io.tell(super::event::Event::Notice(sentence));
            self.end_call(id, Cause::SignallingTimeout);
        }
    }

    fn is_unacknowledged(&self, id: u64) -> bool {
        let phase = self.calls.get(&id).map(|heir| heir.phase);
        matches!(phase, Some(Phase::Up { acknowledged: false, .. }))
    }

    /// A BYE of a phone that has asked for a transfer: whoever is outside waits for the one who is called. False: there
    /// is no such thing.
    pub(super) fn leaves_to_heir(&mut self, place: Place) -> bool {
        let Place { call: of, dialog, from } = place;
        let heir = self.calls.get(&of).and_then(|call| call.heir).filter(|heir| self.is_ringing(*heir));
        let transfer = heir.and_then(|heir| self.calls.get(&heir)).and_then(|heir| heir.transfer.as_ref());
        if transfer.is_none_or(|transfer| transfer.asker != from) {
            return false;
        }
        let Some(call) = self.calls.get_mut(&of) else { return false };
        let at = call.leg_index(dialog, from);
        let Some(leg) = call.legs.get_mut(at) else { return false };
        if let Party::Phone(number) = std::mem::replace(&mut leg.party, Party::Inside)
            && from == Side::A
        {
            self.usage.end(&number);
        }
        self.release_media(of);
        true
    }

    /// The outside party hangs up in the dialog that it was in before it was given over: it means the one it is in now.
    pub(super) fn ends_heir(&mut self, place: Place) {
        let Some(call) = self.calls.get(&place.call) else { return };
        let Some(heir) = call.heir.filter(|_| call.was_outside(place)) else { return };
        self.end_call(heir, Cause::CallerHungUp);
    }

    /// How another request of the outside party in that dialog is answered: it means the one that it is in now, and is
    /// welcome there once it has heard of it.
    pub(super) fn answer_of_heir(&self, place: Place, method: Method) -> Option<u16> {
        let call = self.calls.get(&place.call).filter(|call| call.was_outside(place))?;
        self.calls.get(&call.heir?).filter(|heir| heir.phase != Phase::Over)?;
        Some(if matches!(method, Method::Invite | Method::Update) { 491 } else { 200 })
    }

    /// A request of the outside party while it waits for somebody to answer: the phone that it talked to has left.
    pub(super) fn answer_waiting(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        place: Place,
    ) {
        let method = request.method().unwrap_or(Method::Other);
        if let Some(d) = self.calls.get_mut(&place.call).and_then(|call| call.dialogs.get_mut(place.dialog))
            && let Some(target) = contact_uri(request)
        {
            d.ends[index(place.from)].target = target.into();
        }
        match method {
            Method::Bye => {
                self.answer(server, reply, request, 200, b"");
                self.call_over(place.call, hung_up(place.from));
            }
            Method::Invite | Method::Update => self.answer(server, reply, request, 491, b""),
            _ => self.answer(server, reply, request, 200, b""),
        }
    }

    /// Tells a phone how far its transfer is.
    fn notify(&mut self, transfer: &Transfer, status: u16) {
        let &Transfer { of, dialog, asker, refer, .. } = transfer;
        let Some(call) = self.calls.get(&of).filter(|call| call.phase != Phase::Over) else { return };
        let Some(leg) = call.leg(dialog, asker) else { return };
        let (cseq, flow) = (call.cseq_for(dialog, asker), self.flow_of(leg));
        let contact = format!("<{}>", self.contact_in(of, dialog, asker, &flow));
        let event = format!("refer;id={refer}");
        let state: &[u8] = if status < 200 { b"active;expires=180" } else { b"terminated;reason=noresource" };
        let headers: [(&str, &[u8]); 3] =
            [("Contact", contact.as_bytes()), ("Event", event.as_bytes()), ("Subscription-State", state)];
        let body = format!("SIP/2.0 {status} {}\r\n", reason_phrase(status));
        let body = ("message/sipfrag;version=2.0", body.as_bytes());
        let notify = self.own_request(of, dialog, asker, OwnMethod::Notify, cseq, &headers, body);
        let Some(Own { client, flow, bytes }) = notify else { return };
        self.clients.start(&mut self.io, client, Method::Notify, flow, bytes, Owner::Nobody);
        if let Some(d) = self.calls.get_mut(&of).and_then(|call| call.dialogs.get_mut(dialog)) {
            // What was used before may be known as a little more than it was.
            let they = &mut d.ends[index(asker)];
            they.ahead = they.ahead.saturating_add(CSEQ_STEP + 1);
        }
    }

    /// The URI by which a side of a dialog reaches the other one.
    fn contact_in(&self, id: u64, dialog: usize, reader: Side, flow: &Flow) -> String {
        let Some(call) = self.calls.get(&id) else { return String::new() };
        let leg = call.leg_index(dialog, reader);
        let token =
            Token { call: id, leg: leg as u8, contact: true }.seal(&self.secret, call.call_id_of(leg));
        token_uri(&self.config, flow, &token, false)
    }
}

/// What the outside party is said to take.
const SAID_TO_ALLOW: &[u8] = b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY";

/// What a call hands over.
struct Given {
    /// The outside party, as it knows us.
    leg: Leg,
    target: Box<[u8]>,
    /// Where it stands among those in whose calls the call counts.
    counted: Option<usize>,
    /// How long it may go on.
    limit: Option<Duration>,
}

/// The outside party of a call, of which `kept` is the side that stays.
fn given(call: &Call, dialog: usize, kept: Side, now: Instant) -> Option<Given> {
    let Dialog { ends, .. } = call.dialogs.get(dialog)?;
    let outside = other(kept);
    let mut leg = call.leg(dialog, outside)?.clone();
    let persona = leg.persona.as_mut()?;
    // Whoever goes on with it counts anew, behind what was said so far.
    persona.ahead = 0;
    persona.turn = persona.turn.saturating_add(1);
    persona.tag = persona.tag.take().or_else(|| Some(ends[index(kept)].tag.clone()));
    let target = ends[index(outside)].target.clone();
    let counted = call.neighbours.iter().position(|label| Some(label) == leg.neighbour());
    // What has been talked is talked.
    let talked = call.talked.map_or(Duration::ZERO, |(since, _)| now - since);
    let limit = call.limit.map(|limit| limit.saturating_sub(talked));
    Some(Given { leg, target, counted, limit })
}

/// Who hung up, by side.
fn hung_up(side: Side) -> Cause {
    match side {
        Side::A => Cause::CallerHungUp,
        Side::B => Cause::CalleeHungUp,
    }
}

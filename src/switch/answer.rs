//! What the phones that ring say: a call's way from its first provisional response to its answer.

use super::Switch;
use super::call::{Dialog, DialogEnd, MAX_DIALOGS, Phase};
use super::event::Event;
use super::fork::{BranchState, ELSEWHERE, Fork};
use super::forward::{Backward, all_routes, contact_uri, routes_behind, token_uri};
use super::io::Timer;
use super::negotiation::Negotiation;
use super::persona::timer_for;
use super::registrar::join;
use super::timer::T1_64;
use super::token::Token;
use crate::config::{Label, Number};
use crate::sip::{Message, Name};

impl Switch {
    /// A response to a call's INVITE: as the caller knows it, and as it `came`.
    pub(super) fn call_response(
        &mut self,
        fork: &mut Fork,
        id: u64,
        branch: usize,
        status: u16,
        response: &Message<'_>,
        came: &Message<'_>,
    ) {
        let Some(b) = fork.branches.get_mut(branch) else { return };
        let (leg, state) = (b.leg, b.state);
        match status {
            100..200 => {
                match state {
                    BranchState::Trying => b.state = BranchState::Ringing,
                    BranchState::Unwanted(reason) => {
                        let client = b.client;
                        return self.clients.cancel(&mut self.io, client, reason);
                    }
                    _ => {}
                }
                if status > 100 && !fork.answered {
                    self.extend_patience(fork);
                    self.call_progress(fork, id, leg, status, response, came);
                }
            }
            200..300 => {
                b.state = BranchState::Done;
                let number = b.number.clone();
                self.call_success(fork, id, leg, number, status, response, came);
            }
            _ => {
                b.state = BranchState::Done;
                if matches!(state, BranchState::Unwanted(_)) || fork.answered {
                    return;
                }
                if (300..400).contains(&status) && self.redirected(fork, id, response) {
                    return;
                }
                // Its early dialogs end with it.
                fork.fail(status, response.bytes().to_vec());
                self.branch_failed(fork);
            }
        }
    }

    fn call_progress(
        &mut self,
        fork: &mut Fork,
        id: u64,
        leg: usize,
        status: u16,
        response: &Message<'_>,
        came: &Message<'_>,
    ) {
        let dialog = match response.to_tag() {
            b"" => None,
            _ => match self.dialog_for(id, leg, fork, response, came) {
                None => return,
                dialog => dialog,
            },
        };
        let body = match dialog {
            Some(dialog) => self.sdp_from_callee(fork, id, dialog, response),
            None => self.calls.get(&id).and_then(|call| self.sdp_for(call, leg, 0, response)),
        };
        self.back_to_caller(fork, id, leg, status, response, body);
    }

    #[allow(clippy::too_many_arguments)]
    fn call_success(
        &mut self,
        fork: &mut Fork,
        id: u64,
        leg: usize,
        number: Option<Number>,
        status: u16,
        response: &Message<'_>,
        came: &Message<'_>,
    ) {
        let known = self.calls.get(&id).map(|call| call.phase);
        let dialog = match known {
            Some(Phase::Ringing | Phase::Up { .. }) => self.dialog_for(id, leg, fork, response, came),
            _ => None,
        };
        let wins = match (known, dialog) {
            (Some(Phase::Ringing), Some(_)) => !fork.answered,
            (Some(Phase::Up { dialog: winner, .. }), Some(dialog)) => winner == dialog,
            _ => false,
        };
        let (true, Some(dialog)) = (wins, dialog) else {
            // Somebody else was quicker, or the caller gave up: a phone must not stay off hook.
            // This is where denwa deviates from RFC 3261 §16.7, which forwards every 2xx.
            return self.end_loser(fork, id, leg, came);
        };
        let first = !fork.answered;
        let target: Box<[u8]> = fork.contact.clone().unwrap_or_default();
        if let Some(call) = self.calls.get_mut(&id).filter(|_| first) {
            call.answered(self.io.now, dialog);
            call.by = number;
            if let Some(d) = call.dialogs.get_mut(dialog) {
                d.confirmed = true;
                d.ends[0].target = target;
            }
            // Ways that were tried before are free again.
            // Whoever is to be given over counts in the call that it is in.
            let caller = call.transfer.is_none().then_some(0);
            let talks: Vec<Label> = caller
                .iter()
                .chain([&leg])
                .filter_map(|at| call.legs.get(*at)?.neighbour().cloned())
                .collect();
            let (kept, free) =
                std::mem::take(&mut call.neighbours).into_iter().partition(|l| talks.contains(l));
            call.neighbours = kept;
            let free: Vec<Label> = free;
            free.iter().for_each(|label| self.neighbours.ended(label));
            let replaced = call.replaces.and_then(|id| self.calls.get_mut(&id));
            if let Some(replaced) = replaced {
                replaced.replaced = true;
            }
        }
        // A repeated 2xx says nothing new; what was agreed on since is not undone by it.
        let body = match first {
            true => self.sdp_from_callee(fork, id, dialog, response),
            false => self.calls.get(&id).and_then(|call| self.sdp_for(call, leg, 0, response)),
        };
        if first {
            self.outside_came_over(id, dialog);
        }
        self.back_to_caller(fork, id, leg, status, response, body);
        if first && self.calls.get(&id).is_some_and(|call| call.phase != Phase::Over) {
            self.apply_media(id, dialog);
            self.cancel_branches(fork, ELSEWHERE);
            self.io.arm_for(self.io.now + self.limit_of(id), Timer::CallLimit(id));
            self.io.arm(T1_64, Timer::Unacknowledged(id));
            if let Some(call) = self.calls.get(&id) {
                let parties = call.parties();
                self.io.tell(Event::CallAnswered(parties));
            }
        }
    }

    /// Sends a response of a leg to the caller.
    fn back_to_caller(
        &mut self,
        fork: &mut Fork,
        id: u64,
        leg: usize,
        status: u16,
        response: &Message<'_>,
        body: Option<Vec<u8>>,
    ) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Some(caller), Some(callee)) = (call.legs.first(), call.legs.get(leg)) else { return };
        let theirs =
            Token { call: id, leg: leg as u8, contact: false }.seal(&self.secret, call.call_id_of(leg));
        let ours = Token { call: id, leg: 0, contact: false }.seal(&self.secret, call.call_id_of(0));
        let record_route = token_uri(&self.config, &fork.reply, &ours, true);
        let mask = Token { call: id, leg: 0, contact: true }.seal(&self.secret, call.call_id_of(0));
        let masked = callee.is_masked_for(caller);
        let mask = masked.then(|| token_uri(&self.config, &fork.reply, &mask, false));
        // An agent records no route; what was recorded on the caller's side is not known on the other.
        let ours = match caller.persona {
            Some(_) => String::new(),
            None => format!("Record-Route: <{record_route}>\r\n"),
        };
        let is_aliased = caller.persona.is_some() || callee.persona.is_some();
        let timer = match caller.persona {
            Some(_) if (200..300).contains(&status) => timer_for(&fork.skeleton, response),
            _ => Vec::new(),
        };
        let routes = is_aliased.then(|| [ours.as_bytes(), &recorded(&fork.skeleton), &timer].concat());
        let back = Backward {
            record_route: (!is_aliased).then_some((theirs.as_slice(), record_route.as_str())),
            routes: routes.as_deref(),
            contact: mask.as_deref(),
            body: body.as_deref(),
            stream: fork.reply.is_reliable(),
        };
        self.pass_back(fork, status, response, &back);
    }

    /// The dialog that a response belongs to, made if it is the first with its To tag.
    ///
    /// Its ends are known as the phone in it knows them: where both are, by the response as it `came`.
    fn dialog_for(
        &mut self,
        id: u64,
        leg: usize,
        fork: &Fork,
        response: &Message<'_>,
        came: &Message<'_>,
    ) -> Option<usize> {
        let callee = self.calls.get(&id)?.legs.get(leg)?;
        let target = contact_uri(response).map_or_else(|| self.target_of(callee), Into::into);
        let call = self.calls.get_mut(&id)?;
        let tag = response.to_tag();
        let token =
            Token { call: id, leg: leg as u8, contact: false }.seal(&self.secret, call.call_id_of(leg));
        let is_agent = call.legs.get(leg).is_some_and(|leg| leg.persona.is_some());
        let said = if is_agent { response } else { came };
        let known = call.dialogs.iter().position(|d| d.leg == leg && *d.ends[1].tag == *tag);
        if let Some(at) = known {
            let d = &mut call.dialogs[at];
            if d.confirmed {
                return known;
            }
            if let Some(target) = contact_uri(response) {
                d.ends[1].target = target.into();
            }
            // What was recorded is known for sure from the 2xx on (RFC 3261 §13.2.2.4).
            if response.first(Name::RecordRoute).is_some() {
                d.ends[1].routes =
                    if is_agent { all_routes(came) } else { routes_behind(came, &token) }.into();
            }
            return known;
        }
        if call.dialogs.len() >= MAX_DIALOGS {
            return None;
        }
        let request = Message::parse(&fork.request).ok();
        let first = call.dialogs.first().map(|d| d.ends[0].clone());
        let caller = match (request, first) {
            (Some(request), _) => DialogEnd {
                tag: response.from_tag().into(),
                address: said.first(Name::From).unwrap_or_default().into(),
                target: fork.contact.clone().unwrap_or_default(),
                routes: join(request.list(Name::RecordRoute)).into(),
                cseq: request.cseq().map_or(0, |c| c.number),
                ahead: 0,
                invite: (0, 0),
            },
            (None, Some(first)) => first,
            (None, None) => return None,
        };
        let callee = DialogEnd {
            tag: tag.into(),
            address: said.first(Name::To).unwrap_or_default().into(),
            target,
            routes: if is_agent { all_routes(came) } else { routes_behind(came, &token) }.into(),
            cseq: 0,
            ahead: 0,
            invite: (0, 0),
        };
        call.dialogs.push(Dialog {
            leg,
            ends: [caller, callee],
            confirmed: false,
            negotiation: Negotiation::default(),
        });
        Some(call.dialogs.len() - 1)
    }
}

/// The Record-Route lines of a request.
fn recorded(request: &[u8]) -> Vec<u8> {
    let Ok(request) = Message::parse(request) else { return Vec::new() };
    request.lines(Name::RecordRoute).flat_map(|header| &request.bytes()[header.line()]).copied().collect()
}

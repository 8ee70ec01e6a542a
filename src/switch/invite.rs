//! A call from its INVITE to its answer: whom it rings, what happens if nobody takes it.

use super::Switch;
use super::call::{Call, Dialog, DialogEnd, Leg, MAX_DIALOGS, Phase};
use super::event::{Cause, Event};
use super::flow::Flow;
use super::fork::{BranchState, ELSEWHERE, Fork, Kind, NO_REASON};
use super::forward::{Backward, Onward, contact_uri, identity, routes_behind, token_uri};
use super::io::Timer;
use super::negotiation::Negotiation;
use super::registrar::{Binding, join};
use super::route::Destination;
use super::timer::T1_64;
use super::token::{MAX_LEGS, Token};
use super::transaction::ServerKey;
use crate::config::{NatMedia, Number};
use crate::media::Side;
use crate::sip::{Message, Name, Response, Uri, printable, split, unescape};

/// Where a new call goes.
enum Goal {
    /// To what a number means.
    Number(Destination),
    /// To the very phone that has the dialog named in Replaces (RFC 3891).
    Takeover { call: u64, dialog: usize, side: Side },
}

impl Switch {
    /// An INVITE outside a dialog, from an extension that proved itself. Its transaction is open.
    pub(super) fn invite(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        caller: Number,
        pop: usize,
    ) {
        let dialled = self.dialled(request);
        let goal = match request.first(Name::Replaces).and_then(|value| self.replaced(value)) {
            Some((call, dialog, side)) => Goal::Takeover { call, dialog, side },
            None => Goal::Number(Destination::of(&self.config, &dialled)),
        };
        if let Goal::Number(Destination::Unknown) = goal {
            self.refused(&reply, request, &dialled, "no such number");
            return self.answer(server, reply, request, 404, b"");
        }
        // An answer made now costs the phone nothing; one made later may find the tables full.
        if self.calls.len() >= super::MAX_CALLS || !self.clients.has_room() {
            return self.answer(server, reply, request, 503, b"Retry-After: 10\r\n");
        }
        let trying = Response::new(100, b"", reply.remote).print(request);
        self.servers.respond(&mut self.io, server, 100, trying);

        let number = Number::new(&dialled).unwrap_or_else(|| caller.clone());
        let id = self.open_call(&reply, request, caller, number);
        let fork = self.open_fork(server, reply, request, Kind::Call(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.fork = fork;
        }
        self.with_fork(fork, |switch, fork| {
            if let Err(status) = switch.take_offer(id, fork, request) {
                let retry: &[u8] = if status == 503 { b"Retry-After: 10\r\n" } else { b"" };
                switch.answer_fork(fork, status, retry);
                return switch.call_over(id, Cause::Refused(status));
            }
            fork.contact = contact_uri(request).map(Into::into);
            let rings = match goal {
                Goal::Number(Destination::Echo) => return switch.echo(id, fork, request),
                Goal::Number(destination) => switch.ring(fork, id, request, destination, pop),
                Goal::Takeover { call, dialog, side } => {
                    switch.ring_leg(fork, id, request, (call, dialog, side), pop)
                }
            };
            if let Some(call) = switch.calls.get(&id).filter(|_| rings) {
                let parties = call.parties();
                switch.io.tell(Event::CallStarted(parties));
            } else if switch.is_ringing(id) && !fork.answered {
                switch.branch_failed(fork);
            }
        });
    }

    /// What a request's Request-URI dials: its user, or the owner of the contact that it is.
    pub(super) fn dialled(&self, request: &Message<'_>) -> String {
        let Some(uri) = Uri::parse(request.uri()) else { return String::new() };
        // A masked contact from a Refer-To: whoever is on the other side of that leg.
        if let Some(token) = uri.user.and_then(Token::peek)
            && let Some(call) = self.calls.get(&token.call)
            && uri.user.is_some_and(|user| Token::is_sealed(user, &self.secret, &call.call_id))
        {
            let number = match token.leg {
                0 => call.by.as_ref().or(Some(&call.to)),
                _ => Some(&call.from),
            };
            return number.map_or(String::new(), |n| n.as_str().to_owned());
        }
        if !self.is_ours(&uri.host) {
            let owner = self.registrar.owner_of(&uri, self.io.now);
            return owner.map_or(String::new(), |n| n.as_str().to_owned());
        }
        uri.number().unwrap_or_default()
    }

    /// The dialog and side that the value of Replaces names (RFC 3891 §3): to-tag is the tag of the
    /// phone that is to let go.
    pub(super) fn replaced(&self, value: &[u8]) -> Option<(u64, usize, Side)> {
        let call_id = split(value, b';').next()?;
        let to = crate::sip::find_param(value, "to-tag")?;
        let from = crate::sip::find_param(value, "from-tag")?;
        self.calls.values().filter(|call| *call.call_id == *call_id && call.phase != Phase::Over).find_map(
            |call| {
                let (dialog, side) = call.dialogs.iter().enumerate().find_map(|(at, d)| {
                    let [a, b] = &d.ends;
                    match () {
                        () if *a.tag == *to && *b.tag == *from => Some((at, Side::A)),
                        () if *b.tag == *to && *a.tag == *from => Some((at, Side::B)),
                        () => None,
                    }
                })?;
                call.leg(dialog, side)?.extension.as_ref()?;
                Some((call.id, dialog, side))
            },
        )
    }

    fn open_call(&mut self, reply: &Flow, request: &Message<'_>, from: Number, to: Number) -> u64 {
        self.calls_made += 1;
        self.live += 1;
        let id = self.calls_made;
        let leg = self.leg_of(&from, reply, request);
        self.calls.insert(
            id,
            Call {
                id,
                call_id: request.call_id().into(),
                from,
                to,
                by: None,
                legs: vec![leg],
                dialogs: Vec::new(),
                phase: Phase::Ringing,
                started: self.io.now,
                fork: 0,
                ports: Vec::new(),
                relayed: None,
                record: None,
                ending: None,
                replaced: false,
                referred: false,
                visited: Vec::new(),
                inside: None,
            },
        );
        id
    }

    fn leg_of(&self, number: &Number, flow: &Flow, request: &Message<'_>) -> Leg {
        let binding = self.registrar.on_flow(number.as_str(), flow, self.io.now);
        let contact = contact_uri(request).and_then(Uri::parse);
        let behind_nat = contact.is_none_or(|uri| uri.host != crate::sip::Host::Ip(flow.source()));
        Leg {
            extension: Some(number.clone()),
            binding: binding.map(|b| b.id),
            flow: *flow,
            behind_nat,
            learn: self.learns(number),
        }
    }

    fn learns(&self, number: &Number) -> bool {
        self.config.extensions.get(number).is_some_and(|e| e.nat_media == NatMedia::Learn)
    }

    /// Rings what a destination means, and where nobody is, what it forwards to. False: nobody rings.
    fn ring(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        destination: Destination,
        pop: usize,
    ) -> bool {
        let mut destination = destination;
        loop {
            let (numbers, forwards) = match destination {
                Destination::Extension(number) => (vec![number.clone()], Some(number)),
                Destination::Group(members) => (members, None),
                Destination::Echo => {
                    self.echo(id, fork, request);
                    return fork.answered;
                }
                Destination::Unknown => return false,
            };
            let Some(call) = self.calls.get_mut(&id) else { return false };
            if let Some(number) = &forwards {
                if call.visited.contains(number) {
                    return false;
                }
                call.visited.push(number.clone());
            }
            fork.stages += 1;
            fork.stage = forwards.clone();
            let caller = call.legs.first().and_then(|leg| leg.binding);
            let now = self.io.now;
            let mut phones: Vec<(Number, Binding)> = numbers
                .iter()
                .flat_map(|n| self.registrar.alive(n.as_str(), now).map(|b| (n.clone(), b.clone())))
                .filter(|(_, b)| Some(b.id) != caller)
                .collect();
            // All ring at once; where there are too many, the less preferred are left out.
            phones.sort_by_key(|(_, b)| std::cmp::Reverse(b.q));
            phones.truncate(fork.room());
            let share = fork.share(phones.len());
            for (owner, binding) in &phones {
                self.ring_binding(fork, id, request, binding, owner.clone(), share, pop);
            }
            let extension = forwards.as_ref().and_then(|n| self.config.extensions.get(n));
            if !phones.is_empty() {
                if let Some(no_answer) = extension.and_then(|e| e.no_answer.as_ref()) {
                    fork.stage_ends = now + no_answer.after;
                    self.io.arm_for(fork.stage_ends, Timer::NoAnswer(fork.id, fork.stages));
                }
                return true;
            }
            match extension.and_then(|e| e.offline.as_ref()) {
                Some(next) => destination = Destination::of(&self.config, next.as_str()),
                None => return false,
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn ring_binding(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        binding: &Binding,
        owner: Number,
        share: usize,
        pop: usize,
    ) {
        let leg = Leg {
            extension: Some(owner.clone()),
            binding: Some(binding.id),
            flow: binding.flow,
            behind_nat: binding.behind_nat,
            learn: self.learns(&owner),
        };
        self.ring_one(fork, id, request, leg, binding.target(), &binding.path, owner, share, pop);
    }

    /// Rings the phone that holds one end of a dialog.
    fn ring_leg(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        (call, dialog, side): (u64, usize, Side),
        pop: usize,
    ) -> bool {
        let Some(replaced) = self.calls.get_mut(&call) else { return false };
        let (Some(leg), Some(d)) = (replaced.leg(dialog, side).cloned(), replaced.dialogs.get(dialog)) else {
            return false;
        };
        let end = d.ends[super::call::index(side)].clone();
        replaced.replaced = true;
        let flow = self.flow_of(&leg);
        let owner = leg.extension.clone();
        let leg = Leg { flow, ..leg };
        let Some(owner) = owner else { return false };
        self.ring_one(fork, id, request, leg, &end.target, &end.routes, owner, fork.share(1), pop);
        true
    }

    #[allow(clippy::too_many_arguments)]
    fn ring_one(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        leg: Leg,
        uri: &[u8],
        routes: &[u8],
        owner: Number,
        share: usize,
        pop: usize,
    ) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.legs.len() < MAX_LEGS) else { return };
        let index = call.legs.len();
        call.legs.push(leg.clone());
        let Some(call) = self.calls.get(&id) else { return };
        let caller = &call.legs[0];
        let flow = leg.flow;
        let route = Token { call: id, leg: index as u8, contact: false }.seal(&self.secret, &call.call_id);
        let record_route = token_uri(&self.config, &flow, &route, true);
        let masked = caller.is_masked_for(&leg);
        let mask = Token { call: id, leg: index as u8, contact: true }.seal(&self.secret, &call.call_id);
        let mask = masked.then(|| token_uri(&self.config, &flow, &mask, false));
        let identity = self.identity_of(&call.from, &flow, request);
        let body = self.sdp_for(call, index, Side::B, request);
        let onward = Onward {
            uri: Some(uri),
            pop,
            routes,
            breadth: Some(share),
            record_route: Some(&record_route),
            contact: mask.as_deref(),
            identity: &identity,
            body: body.as_deref(),
            ..Onward::untouched()
        };
        self.branch_out(fork, request, flow, onward, index, Some(owner));
    }

    /// The header lines that tell a phone who calls; none if the caller wants privacy (RFC 3323).
    pub(super) fn identity_of(&self, number: &Number, flow: &Flow, request: &Message<'_>) -> Vec<u8> {
        let private = request
            .values(Name::Privacy)
            .flat_map(|value| split(value, b';'))
            .any(|p| p.eq_ignore_ascii_case(b"id") || p.eq_ignore_ascii_case(b"user"));
        if private {
            return Vec::new();
        }
        let name = self.config.extensions.get(number).and_then(|e| e.name.as_deref());
        let host = match &self.config.domain {
            Some(domain) => domain.clone(),
            None => super::forward::face(&self.config, flow).to_string(),
        };
        identity(name, number.as_str(), &host)
    }

    /// A response to a call's INVITE.
    pub(super) fn call_response(
        &mut self,
        fork: &mut Fork,
        id: u64,
        branch: usize,
        status: u16,
        response: &Message<'_>,
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
                    self.call_progress(fork, id, leg, status, response);
                }
            }
            200..300 => {
                b.state = BranchState::Done;
                let number = b.number.clone();
                self.call_success(fork, id, leg, number, status, response);
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

    fn call_progress(&mut self, fork: &mut Fork, id: u64, leg: usize, status: u16, response: &Message<'_>) {
        let dialog = match response.to_tag() {
            b"" => None,
            _ => match self.dialog_for(id, leg, fork, response) {
                None => return,
                dialog => dialog,
            },
        };
        let body = match dialog {
            Some(dialog) => self.sdp_from_callee(fork, id, dialog, response),
            None => self.calls.get(&id).and_then(|call| self.sdp_for(call, 0, Side::A, response)),
        };
        self.back_to_caller(fork, id, leg, status, response, body);
    }

    fn call_success(
        &mut self,
        fork: &mut Fork,
        id: u64,
        leg: usize,
        number: Option<Number>,
        status: u16,
        response: &Message<'_>,
    ) {
        let known = self.calls.get(&id).map(|call| call.phase);
        let dialog = match known {
            Some(Phase::Ringing | Phase::Up { .. }) => self.dialog_for(id, leg, fork, response),
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
            return self.end_loser(fork, id, leg, response);
        };
        let first = !fork.answered;
        let target: Box<[u8]> = fork.contact.clone().unwrap_or_default();
        if let Some(call) = self.calls.get_mut(&id).filter(|_| first) {
            call.phase = Phase::Up { since: self.io.now, dialog, acknowledged: false };
            call.by = number;
            if let Some(d) = call.dialogs.get_mut(dialog) {
                d.confirmed = true;
                d.ends[0].target = target;
            }
        }
        // A repeated 2xx says nothing new; what was agreed on since is not undone by it.
        let body = match first {
            true => self.sdp_from_callee(fork, id, dialog, response),
            false => self.calls.get(&id).and_then(|call| self.sdp_for(call, 0, Side::A, response)),
        };
        self.back_to_caller(fork, id, leg, status, response, body);
        if first {
            self.apply_media(id, dialog);
            self.cancel_branches(fork, ELSEWHERE);
            self.io.arm_for(self.io.now + self.config.call_limit, Timer::CallLimit(id));
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
        let theirs = Token { call: id, leg: leg as u8, contact: false }.seal(&self.secret, &call.call_id);
        let ours = Token { call: id, leg: 0, contact: false }.seal(&self.secret, &call.call_id);
        let record_route = token_uri(&self.config, &fork.reply, &ours, true);
        let mask = Token { call: id, leg: 0, contact: true }.seal(&self.secret, &call.call_id);
        let masked = callee.is_masked_for(caller);
        let mask = masked.then(|| token_uri(&self.config, &fork.reply, &mask, false));
        let back = Backward {
            record_route: Some((&theirs, &record_route)),
            contact: mask.as_deref(),
            body: body.as_deref(),
            stream: fork.reply.is_reliable(),
        };
        self.pass_back(fork, status, response, &back);
    }

    /// The dialog that a response belongs to, made if it is the first with its To tag.
    fn dialog_for(&mut self, id: u64, leg: usize, fork: &Fork, response: &Message<'_>) -> Option<usize> {
        let call = self.calls.get_mut(&id)?;
        let tag = response.to_tag();
        let token = Token { call: id, leg: leg as u8, contact: false }.seal(&self.secret, &call.call_id);
        let known = call.dialogs.iter().position(|d| d.leg == leg && *d.ends[1].tag == *tag);
        if let Some(at) = known {
            let d = &mut call.dialogs[at];
            if let Some(target) = contact_uri(response).filter(|_| !d.confirmed) {
                d.ends[1].target = target.into();
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
                address: response.first(Name::From).unwrap_or_default().into(),
                target: contact_uri(&request).unwrap_or_default().into(),
                routes: join(request.list(Name::RecordRoute)).into(),
                cseq: request.cseq().map_or(0, |c| c.number),
            },
            (None, Some(first)) => first,
            (None, None) => return None,
        };
        let callee = DialogEnd {
            tag: tag.into(),
            address: response.first(Name::To).unwrap_or_default().into(),
            target: contact_uri(response).unwrap_or_default().into(),
            routes: routes_behind(response, &token).into(),
            cseq: 0,
        };
        call.dialogs.push(Dialog {
            leg,
            ends: [caller, callee],
            confirmed: false,
            negotiation: Negotiation::default(),
        });
        Some(call.dialogs.len() - 1)
    }

    /// 3xx: followed only to numbers of our own (RFC 3261 §16.5). True: somebody else rings now.
    fn redirected(&mut self, fork: &mut Fork, id: u64, response: &Message<'_>) -> bool {
        let uri = contact_uri(response).and_then(Uri::parse);
        let Some(number) = uri.filter(|uri| self.is_ours(&uri.host)).and_then(|uri| uri.number()) else {
            return false;
        };
        self.forward_to(fork, id, &number)
    }

    /// Rings another number with the INVITE of a call. False: nobody rings.
    fn forward_to(&mut self, fork: &mut Fork, id: u64, number: &str) -> bool {
        let bytes = fork.request.clone();
        let Ok(request) = Message::parse(&bytes) else { return false };
        let pop = self.own_routes(&request).count;
        let destination = Destination::of(&self.config, number);
        self.ring(fork, id, &request, destination, pop)
    }

    /// All phones of a stage have refused: forward on busy, or tell the caller.
    pub(super) fn stage_failed(&mut self, fork: &mut Fork, id: u64) {
        let busy = fork.best.as_ref().is_some_and(|best| matches!(best.status, 486 | 600));
        let next =
            fork.stage.take().and_then(|n| self.config.extensions.get(&n)).and_then(|e| e.busy.clone());
        if let Some(next) = next.filter(|_| busy)
            && self.forward_to(fork, id, next.as_str())
        {
            return;
        }
        if fork.answered {
            return;
        }
        let status = self.send_best(fork);
        self.call_over(id, Cause::Refused(status));
    }

    /// The phones of a stage have rung long enough: forward on no answer.
    pub(super) fn no_answer(&mut self, id: u64, stage: u32) {
        self.with_fork(id, |switch, fork| {
            if fork.answered || fork.stages != stage {
                return;
            }
            if switch.io.now < fork.stage_ends {
                return switch.io.arm_for(fork.stage_ends, Timer::NoAnswer(id, stage));
            }
            let Kind::Call(call) = fork.kind else { return };
            let next = fork.stage.take().and_then(|n| switch.config.extensions.get(&n));
            let Some(next) = next.and_then(|e| e.no_answer.as_ref()).map(|n| n.to.clone()) else { return };
            switch.cancel_branches(fork, NO_REASON);
            if !switch.forward_to(fork, call, next.as_str()) {
                fork.fail(480, Vec::new());
                switch.branch_failed(fork);
            }
        });
    }

    /// Tells people that somebody was refused.
    pub(super) fn refused(&mut self, reply: &Flow, request: &Message<'_>, number: &str, why: &'static str) {
        self.io.tell(Event::Refused {
            remote: reply.remote,
            method: printable(request.method_name(), 32),
            number: printable(&unescape(number.as_bytes()), 64),
            why,
        });
    }
}

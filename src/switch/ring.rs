//! Whom a call rings: phones of an extension or group, and where it is forwarded to.

use super::Switch;
use super::call::{Call, Leg, Party};
use super::dialog::Place;
use super::event::{Cause, Event};
use super::flow::Flow;
use super::fork::{Fork, Kind, NO_REASON};
use super::forward::{Onward, asserted, contact_uri, escape, identity, token_uri};
use super::io::Timer;
use super::registrar::Binding;
use super::relaying::NEEDS_TLS;
use super::ring_neighbour::MAX_HOPS;
use super::route::Destination;
use super::token::{MAX_LEGS, Token};
use crate::config::{Config, Number};
use crate::media::Side;
use crate::sip::{Message, Method, Name, NameAddr, Uri, split};

impl Switch {
    /// Rings what a destination means, and where nobody is, what it forwards to. False: nobody rings.
    pub(super) fn ring(
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
                Destination::Neighbours(to) => return self.ring_neighbours(fork, id, request, to, pop),
                Destination::Closed(_) | Destination::Unknown => return false,
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
            let registered = phones.len();
            phones.retain(|(_, b)| fork.fits(&b.flow));
            let unfit = registered - phones.len();
            // All ring at once; where there are too many, the less preferred are left out.
            phones.sort_by_key(|(_, b)| std::cmp::Reverse(b.q));
            phones.truncate(fork.room());
            let share = fork.share(phones.len());
            for (owner, binding) in &phones {
                self.ring_binding(fork, id, request, binding, owner.clone(), share, pop);
            }
            let extension = forwards.as_ref().and_then(|n| self.config.extensions.get(n));
            if !phones.is_empty() {
                if unfit > 0 {
                    let them = if unfit == 1 { "1 phone does".into() } else { format!("{unfit} phones do") };
                    self.io.tell(Event::Notice(format!("call {id}: {them} not ring: {NEEDS_TLS}")));
                }
                if let Some(no_answer) = extension.and_then(|e| e.no_answer.as_ref()) {
                    fork.stage_ends = now + no_answer.after;
                    self.io.arm_for(fork.stage_ends, Timer::NoAnswer(fork.id, fork.stages));
                }
                return true;
            }
            match extension.and_then(|e| e.offline.as_ref()).filter(|_| unfit == 0) {
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
            party: Party::Phone(owner.clone()),
            persona: None,
            binding: Some(binding.id),
            flow: binding.flow,
            behind_nat: binding.behind_nat,
            learn: self.learns(&owner),
        };
        self.ring_one(fork, id, request, leg, binding.target(), &binding.path, Some(owner), share, pop);
    }

    /// Rings the phone that holds one end of a dialog.
    pub(super) fn ring_leg(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        (call, dialog, side): (u64, usize, Side),
        pop: usize,
    ) -> bool {
        let Some(replaced) = self.calls.get(&call) else { return false };
        let (Some(leg), Some(d)) = (replaced.leg(dialog, side).cloned(), replaced.dialogs.get(dialog)) else {
            return false;
        };
        let end = d.ends[super::call::index(side)].clone();
        let flow = self.flow_of(&leg);
        let owner = leg.extension().cloned();
        let leg = Leg { flow, ..leg };
        if !fork.fits(&flow) {
            return false;
        }
        let Some(owner) = owner else {
            return self.ask_for_outside(fork, id, request, Place { call, dialog, from: side }, pop);
        };
        if let Some(taker) = self.calls.get_mut(&id) {
            taker.replaces = Some(call);
        }
        self.ring_one(fork, id, request, leg, &end.target, &end.routes, Some(owner), fork.share(1), pop);
        true
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn ring_one(
        &mut self,
        fork: &mut Fork,
        id: u64,
        request: &Message<'_>,
        leg: Leg,
        uri: &[u8],
        routes: &[u8],
        owner: Option<Number>,
        share: usize,
        pop: usize,
    ) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.legs.len() < MAX_LEGS) else { return };
        let index = call.legs.len();
        call.legs.push(leg.clone());
        call.sent(index, Method::Invite, request.cseq().map_or(0, |cseq| cseq.number));
        let Some(call) = self.calls.get(&id) else { return };
        let caller = &call.legs[0];
        let flow = leg.flow;
        let route =
            Token { call: id, leg: index as u8, contact: false }.seal(&self.secret, call.call_id_of(index));
        let record_route = token_uri(&self.config, &flow, &route, true);
        let masked = caller.is_masked_for(&leg);
        let mask =
            Token { call: id, leg: index as u8, contact: true }.seal(&self.secret, call.call_id_of(index));
        let mask = masked.then(|| token_uri(&self.config, &flow, &mask, false));
        let identity = match &leg.persona {
            Some(persona) if persona.is_anonymous() => Vec::new(),
            Some(persona) => asserted(&persona.ours),
            None => {
                self.identity_of(call.name_of_caller(&self.config).as_deref(), &call.from, &flow, request)
            }
        };
        let callee = format!("<sip:{}@{}>", escape(call.to.as_str()), self.host_for(&flow));
        let alias = call.alias_of_invite(index, request, &callee);
        let hops = leg.persona.is_some().then_some(MAX_HOPS);
        let body = self.sdp_for(call, 0, index, request);
        let onward = Onward {
            uri: Some(uri),
            pop,
            routes,
            breadth: Some(share),
            record_route: Some(record_route.as_str()).filter(|_| leg.persona.is_none()),
            alias: alias.as_ref(),
            hops,
            contact: mask.as_deref(),
            identity: &identity,
            body: body.as_deref(),
            ..Onward::untouched()
        };
        self.branch_out(fork, request, flow, onward, index, owner);
    }

    /// The header lines that tell a phone who calls; none if the caller wants privacy (RFC 3323).
    pub(super) fn identity_of(
        &self,
        name: Option<&str>,
        number: &Number,
        flow: &Flow,
        request: &Message<'_>,
    ) -> Vec<u8> {
        match is_private(request) {
            true => Vec::new(),
            false => identity(name, number.as_str(), &self.host_for(flow)),
        }
    }

    /// What our numbers are at, for whoever is reached by a flow.
    pub(super) fn host_for(&self, flow: &Flow) -> String {
        match &self.config.domain {
            Some(domain) => domain.clone(),
            None => super::forward::face(&self.config, flow).to_string(),
        }
    }

    /// 3xx: followed only to numbers of our own (RFC 3261 §16.5). True: somebody else rings now.
    pub(super) fn redirected(&mut self, fork: &mut Fork, id: u64, response: &Message<'_>) -> bool {
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
        if self.another_way(fork, id) {
            return;
        }
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
}

impl Call {
    /// How the caller is called.
    pub(super) fn name_of_caller(&self, config: &Config) -> Option<String> {
        match (&self.shown, self.legs.first().and_then(Leg::extension)) {
            (Some(shown), _) => {
                let display = std::str::from_utf8(NameAddr::parse(shown)?.display).ok()?;
                let bare =
                    display.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(display);
                Some(bare.replace(['"', '\\'], "")).filter(|name| !name.is_empty())
            }
            (None, Some(number)) => config.extensions.get(number)?.name.clone(),
            (None, None) => None,
        }
    }
}

/// Whether a caller does not want to be known (RFC 3323).
pub(super) fn is_private(request: &Message<'_>) -> bool {
    let values = request.values(Name::Privacy).flat_map(|value| split(value, b';'));
    values.into_iter().any(|p| p.eq_ignore_ascii_case(b"id") || p.eq_ignore_ascii_case(b"user"))
}

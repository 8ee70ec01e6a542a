//! Requests inside a dialog (RFC 3261 §12.2, §16.4): routed by the token, on the other leg's flow.

use super::Switch;
use super::call::{Party, Phase, index, other};
use super::event::Cause;
use super::flow::Flow;
use super::fork::{BranchState, Fork, Kind};
use super::forward::{Backward, Onward, contact_uri, own_uri, routed, token_uri, via};
use super::persona::timer_for;
use super::request::OwnRoutes;
use super::secret::Purpose;
use super::token::Token;
use super::transaction::ServerKey;
use crate::config::Number;
use crate::media::Side;
use crate::sip::{Host, Message, Method, Name, NameAddr, Response, Uri, unescape};

/// Where in which dialog a request belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) call: u64,
    pub(super) dialog: usize,
    pub(super) from: Side,
}

impl Switch {
    /// The dialog that a request belongs to by its token and tags. `None`: it has no token of ours,
    /// a forged one, or tags that are not of that dialog.
    pub(super) fn place(&self, request: &Message<'_>, routes: &OwnRoutes) -> Option<Place> {
        let token = routes.token?;
        let call = self.calls.get(&token.call)?;
        if *call.call_id_of(usize::from(token.leg)) != *request.call_id() {
            return None;
        }
        let (dialog, from) = call.dialog_of(usize::from(token.leg), request.from_tag(), request.to_tag())?;
        Some(Place { call: token.call, dialog, from })
    }

    /// A request inside a dialog. Its transaction is open.
    pub(super) fn in_dialog(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        place: Place,
        routes: &OwnRoutes,
    ) {
        let Place { call: id, dialog, from } = place;
        let method = request.method().unwrap_or(Method::Other);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let number = request.cseq().map_or(0, |c| c.number);
        if let Some(d) = call.dialogs.get_mut(dialog) {
            let end = &mut d.ends[index(from)];
            end.cseq = end.cseq.max(number);
        }
        if call.phase == Phase::Over && !(call.referred && method == Method::Notify) {
            if method == Method::Bye {
                self.ends_heir(place);
            }
            // A BYE that crosses another one is as good as answered.
            let status = match method {
                Method::Bye => 200,
                _ => self.answer_of_heir(place, method).unwrap_or(481),
            };
            return self.answer(server, reply, request, status, b"");
        }
        if call.leg(dialog, from).is_some_and(|leg| leg.party == Party::Inside) {
            // It has left the call to the one that it asked for.
            let status = if method == Method::Bye { 200 } else { 481 };
            return self.answer(server, reply, request, status, b"");
        }
        if method == Method::Refer {
            // A phone that follows it would dial with its own rights for somebody who has none.
            if call.leg(dialog, from).is_some_and(|leg| leg.neighbour().is_some()) {
                return self.answer(server, reply, request, 403, b"");
            }
            call.referred = true;
            if call.leg(dialog, other(from)).is_some_and(|leg| leg.neighbour().is_some()) {
                return self.transfer(server, reply, request, place);
            }
        }
        if method == Method::Bye && self.leaves_to_heir(place) {
            return self.answer(server, reply, request, 200, b"");
        }
        let Some(call) = self.calls.get(&id) else { return };
        if call.is_left(dialog) {
            return self.answer_waiting(server, reply, request, place);
        }
        if call.leg(dialog, other(from)).is_some_and(|leg| leg.party == Party::Inside) {
            return self.inside(server, reply, request, place);
        }

        if method == Method::Invite {
            // Whoever is asked may have to ask a person, and its 100 does not get past the next hop.
            let trying = Response::new(100, b"", reply.remote).print(request);
            self.servers.respond(&mut self.io, server, 100, trying);
        }
        let fork = self.open_fork(server, reply, request, Kind::InDialog { call: id, dialog, from });
        if method == Method::Bye {
            self.hangs_up(id);
        }
        self.with_fork(fork, |switch, fork| {
            // What a PRACK brings may answer the offer of a reliable 18x (RFC 3262 §5).
            let answers = method == Method::Prack && switch.hear_answer(id, dialog, from, request);
            if !answers && let Err(why) = switch.take_offer(id, fork, request) {
                switch.refuse_offer(fork, why);
                return;
            }
            if matches!(method, Method::Invite | Method::Update) {
                fork.contact = contact_uri(request).map(Into::into);
            }
            switch.onward_in_dialog(Some(fork), reply, request, place, routes);
        });
        if method == Method::Bye
            && let Some(Phase::Up { dialog: winner, .. }) = self.calls.get(&id).map(|call| call.phase)
            && winner == dialog
        {
            let cause = if from == Side::A { Cause::CallerHungUp } else { Cause::CalleeHungUp };
            self.call_over(id, cause);
        }
    }

    /// The ACK of a 2xx: not a transaction, but sent on each time it comes (RFC 3261 §13.2.2.4).
    pub(super) fn ack_in_dialog(
        &mut self,
        reply: Flow,
        request: &Message<'_>,
        place: Place,
        routes: &OwnRoutes,
    ) {
        let Place { call: id, dialog, from } = place;
        let Some(call) = self.calls.get(&id).filter(|call| call.phase != Phase::Over) else { return };
        let inside = call.leg(dialog, other(from)).is_some_and(|leg| leg.party == Party::Inside);
        self.hear_answer(id, dialog, from, request);
        if !inside {
            self.onward_in_dialog(None, reply, request, place, routes);
        }
        if from == Side::A {
            self.acknowledged(id);
        }
    }

    /// Sends a request to the other side of its dialog, as a branch of a fork or, an ACK, without.
    pub(super) fn onward_in_dialog(
        &mut self,
        fork: Option<&mut Fork>,
        reply: Flow,
        request: &Message<'_>,
        place: Place,
        routes: &OwnRoutes,
    ) {
        let Place { call: id, dialog, from } = place;
        let to = other(from);
        let Some(call) = self.calls.get(&id) else { return };
        let reader = call.leg_index(dialog, to);
        let (Some(sender), Some(leg), Some(d)) =
            (call.leg(dialog, from), call.leg(dialog, to), call.dialogs.get(dialog))
        else {
            return;
        };
        let flow = self.flow_of(leg);
        // A masked contact, or none that could be reached, becomes what the other side wrote,
        // exactly; all else is left as it is.
        let last_route = routes.strict.then(|| request.list(Name::Route).last()).flatten();
        let real = last_route.and_then(NameAddr::parse).map(|route| route.uri);
        let aim = real.unwrap_or(request.uri());
        let is_mask = Uri::parse(aim).and_then(|uri| uri.user).is_some_and(|user| {
            Token::peek(user).is_some()
                && Token::is_sealed(user, &self.secret, call.call_id_of(call.leg_index(dialog, from)))
        });
        let uri = if is_mask { Some(&*d.ends[index(to)].target) } else { real };
        let mask =
            Token { call: id, leg: reader as u8, contact: true }.seal(&self.secret, call.call_id_of(reader));
        let masked = sender.is_masked_for(leg).then(|| token_uri(&self.config, &flow, &mask, false));
        let body = self.sdp_for(call, call.leg_index(dialog, from), reader, request);
        let refer_to = self.refer_to(request, &flow);
        let alias = call.alias(dialog, to, request);
        let behind = match leg.persona {
            Some(_) => d.ends[index(to)].routes.to_vec(),
            None => Vec::new(),
        };
        let (target, behind) = routed(uri.unwrap_or(request.uri()), behind);
        let onward = Onward {
            uri: Some(&target),
            pop: routes.count,
            drop_last_route: routes.strict,
            contact: masked.as_deref(),
            refer_to: refer_to.as_deref(),
            body: body.as_deref(),
            routes: &behind,
            alias: alias.as_ref(),
            ..Onward::untouched()
        };
        let method = request.method().unwrap_or(Method::Other);
        if let Some(call) = self.calls.get_mut(&id).filter(|_| method != Method::Ack) {
            let number = request.cseq().map_or(0, |cseq| cseq.number);
            call.sent(reader, method, number);
            if let Some(d) = call.dialogs.get_mut(dialog).filter(|_| method == Method::Invite) {
                let they = &mut d.ends[index(to)];
                they.invite = (number, number.saturating_add(they.ahead));
            }
        }
        match fork {
            Some(fork) => self.branch_out(fork, request, flow, onward, reader, None),
            None => {
                // The same branch for the same ACK, so that its retransmission is one.
                let via_in = request.via().map(|v| v.branch()).unwrap_or_default();
                let id = self.secret.mac(Purpose::Key, &[via_in, request.call_id()]) & 0xff_ffff_ffff;
                let branch = self.branch_text(id, 0);
                let via = via(&self.config, &flow, &branch);
                let onward = Onward {
                    via: &via,
                    source: reply.remote,
                    realm: super::auth::Authenticator::realm(&self.config),
                    stream: flow.is_reliable(),
                    ..onward
                };
                self.io.send(flow, onward.apply(request));
            }
        }
    }

    /// Whom a Refer-To names, by the number of ours that one would dial.
    pub(super) fn referred(&self, bare: &[u8], headers: &[u8]) -> Option<String> {
        let uri = Uri::parse(bare)?;
        match self.is_ours(&uri.host) {
            true if uri.user.is_some_and(|user| Token::peek(user).is_none()) => uri.number(),
            _ => match self.registrar.owner_of(&uri, self.io.now) {
                Some(owner) => Some(owner.as_str().to_owned()),
                None => Some(self.replaced_extension(headers)?.as_str().to_owned()),
            },
        }
    }

    /// A Refer-To that names a phone's contact, made to lead through denwa: whoever is referred
    /// may not be able to reach that contact, and its media is to be relayed like any other's. One
    /// that names an address of ours names the one that the reader speaks to: it may know no other
    /// family.
    fn refer_to(&self, request: &Message<'_>, flow: &Flow) -> Option<Vec<u8>> {
        if request.method() != Some(Method::Refer) {
            return None;
        }
        let refer_to = request.first(Name::ReferTo).and_then(NameAddr::parse)?;
        let (bare, headers) = match refer_to.uri.iter().position(|&b| b == b'?') {
            Some(at) => refer_to.uri.split_at(at),
            None => (refer_to.uri, &b""[..]),
        };
        let uri = Uri::parse(bare)?;
        let user = match uri.host {
            Host::Name(_) if self.is_ours(&uri.host) && self.config.domain.is_some() => return None,
            Host::Ip(_) if self.is_ours(&uri.host) => std::str::from_utf8(uri.user?).ok()?,
            _ => match self.registrar.owner_of(&uri, self.io.now) {
                Some(owner) => owner.as_str(),
                None => self.replaced_extension(headers)?.as_str(),
            },
        };
        let mut new = own_uri(&self.config, flow, user).into_bytes();
        new.extend_from_slice(headers);
        Some(new)
    }

    /// Whose phone is to let go by the Replaces among a Refer-To's headers: what it calls itself in
    /// a dialog need not be what it registered.
    fn replaced_extension(&self, headers: &[u8]) -> Option<&Number> {
        let mut headers = headers.get(1..)?.split(|&b| b == b'&');
        let value = headers.find_map(|header| header.strip_prefix(b"Replaces="))?;
        let (call, dialog, side) = self.named(&unescape(value))?;
        self.calls.get(&call)?.leg(dialog, side)?.extension()
    }

    /// A response to a request inside a dialog.
    pub(super) fn dialog_response(
        &mut self,
        fork: &mut Fork,
        id: u64,
        dialog: usize,
        from: Side,
        status: u16,
        response: &Message<'_>,
    ) {
        if let Some(branch) = fork.branches.first_mut() {
            match (status, branch.state) {
                // Cancelled before there was anything to cancel.
                (..200, BranchState::Unwanted(reason)) => {
                    self.clients.cancel(&mut self.io, branch.client, reason);
                }
                (..200, _) => branch.state = BranchState::Ringing,
                _ => branch.state = BranchState::Done,
            }
        }
        if status == 100 {
            return;
        }
        let responder = other(from);
        let mut contact = None;
        let mut body = None;
        self.extend_patience(fork);
        // A repeated 2xx says nothing new; what was agreed on since is not undone by it.
        let news = !fork.answered && self.calls.get(&id).is_some_and(|call| call.phase != Phase::Over);
        let negotiates = matches!(fork.method, Method::Invite | Method::Update | Method::Prack);
        if status < 300 && news && negotiates {
            self.hear(id, dialog, responder, fork.offer.as_ref(), response);
            if let Some(d) = self.calls.get_mut(&id).and_then(|call| call.dialogs.get_mut(dialog))
                && status >= 200
                && matches!(fork.method, Method::Invite | Method::Update)
            {
                // Both sides may have moved (RFC 3261 §12.2.1.2).
                if let Some(target) = contact_uri(response) {
                    d.ends[index(responder)].target = target.into();
                }
                if let Some(target) = fork.contact.clone() {
                    d.ends[index(from)].target = target;
                }
            }
        }
        // What comes when the call is over is still written for its reader, with all streams off.
        if let Some(call) = self.calls.get(&id).filter(|_| status < 300) {
            let reader = call.leg_index(dialog, from);
            if let (Some(writer), Some(leg)) = (call.leg(dialog, responder), call.leg(dialog, from))
                && writer.is_masked_for(leg)
            {
                let mask = Token { call: id, leg: reader as u8, contact: true }
                    .seal(&self.secret, call.call_id_of(reader));
                contact = Some(token_uri(&self.config, &fork.reply, &mask, false));
            }
            body = self.sdp_for(call, call.leg_index(dialog, responder), reader, response);
        }
        // An exchange that refreshes a session is told each time that it does (RFC 4028 §9).
        let asks = self.calls.get(&id).and_then(|call| call.leg(dialog, from));
        let is_refresh =
            matches!(fork.method, Method::Invite | Method::Update) && (200..300).contains(&status);
        let asked = if fork.request.is_empty() { &fork.skeleton[..] } else { &fork.request };
        let timer = asks
            .filter(|leg| leg.persona.is_some() && is_refresh)
            .map(|_| timer_for(asked, response))
            .filter(|timer| !timer.is_empty());
        let back = Backward {
            record_route: None,
            routes: timer.as_deref(),
            contact: contact.as_deref(),
            body: body.as_deref(),
            stream: fork.reply.is_reliable(),
        };
        self.pass_back(fork, status, response, &back);
    }

    /// Answers a request that came in a dialog of a call that ends inside denwa.
    pub(super) fn answer_inside(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        response: Response<'_>,
    ) {
        let bytes = response.print(request);
        let status = response.status;
        debug_assert_eq!(response.source, reply.remote);
        self.servers.respond(&mut self.io, server, status, bytes);
    }
}

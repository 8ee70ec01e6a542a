//! A call from its INVITE to its answer: whom it rings, what happens if nobody takes it.

use super::Switch;
use super::call::{Call, Leg, Party, Phase};
use super::emergency::{self, emergency};
use super::event::{Cause, Event};
use super::flow::Flow;
use super::fork::Kind;
use super::forward::contact_uri;
use super::forward::escape;
use super::persona::Persona;
use super::ring::is_private;
use super::route::Destination;
use super::stopping::RETRY_AFTER;
use super::token::Token;
use super::transaction::ServerKey;
use crate::config::{Kind as NeighbourKind, Label, NatMedia, Number, Peer};
use crate::media::Side;
use crate::sip::{Message, Name, Response, Uri, split};

/// The longest name of a caller at another exchange that is shown, in bytes; a longer one is left out.
const MAX_DISPLAY: usize = 128;

/// Where a new call goes.
pub(super) enum Goal {
    /// To what a number means.
    Number(Destination),
    /// To the very phone that has the dialog named in Replaces (RFC 3891).
    Takeover { call: u64, dialog: usize, side: Side },
}

impl Switch {
    /// An INVITE outside a dialog, from somebody who proved to be who he is. Its transaction is open.
    pub(super) fn invite(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        party: Party,
        pop: usize,
    ) {
        let dialled = match (&party, self.dialled(request)) {
            // Whoever is joined with us means us, by whatever name or address it knows us.
            (Party::Neighbour(_), nobody) if nobody.is_empty() => {
                Uri::parse(request.uri()).and_then(|uri| uri.number()).unwrap_or_default()
            }
            (_, dialled) => dialled,
        };
        let goal = match request.first(Name::Replaces).and_then(|value| self.replaced(value)) {
            Some((call, dialog, side)) if self.may_take_over(&party, call, dialog, side) => {
                Goal::Takeover { call, dialog, side }
            }
            Some(_) => return self.answer(server, reply, request, 481, b""),
            None => Goal::Number(self.destination(&party, &dialled)),
        };
        let (caller, shown) = match &party {
            Party::Neighbour(label) => self.caller_from(label, request),
            Party::Phone(number) => (number.clone(), None),
            Party::Inside => return,
        };
        // The call that is to be replaced is known here, and by another name there (RFC 3891 §3).
        if let Goal::Number(Destination::Neighbours(_)) = &goal
            && request.first(Name::Replaces).is_some()
        {
            return self.answer(server, reply, request, 481, b"");
        }
        if let Goal::Number(Destination::Closed(why)) = &goal {
            self.refused(&reply, request, &dialled, why, true);
            let reason = format!("Reason: SIP;cause=403;text=\"{why}\"\r\n");
            return self.answer_with(server, reply, request, 403, "Closed", reason.as_bytes());
        }
        if let Goal::Number(Destination::Unknown) = goal {
            return match emergency(&dialled) {
                Some(number) => {
                    let why =
                        format!("no emergency calls from here (ext.{number} or group.{number} takes them)");
                    self.refused(&reply, request, &dialled, &why, true);
                    self.answer_with(
                        server,
                        reply,
                        request,
                        403,
                        emergency::REASON,
                        emergency::HEADER.as_bytes(),
                    );
                }
                None => {
                    self.refused(&reply, request, &dialled, "no such number", true);
                    self.answer(server, reply, request, 404, b"");
                }
            };
        }
        // An answer made now costs the phone nothing; one made later may find the tables full.
        if self.calls.len() >= super::MAX_CALLS || !self.clients.has_room() {
            return self.answer(server, reply, request, 503, b"Retry-After: 10\r\n");
        }
        let is_phone = matches!(party, Party::Phone(_));
        if self.takes_no_calls() && !(is_phone && emergency(&dialled).is_some()) {
            self.refused(&reply, request, &dialled, "this server is being stopped (spot)", true);
            return self.answer(server, reply, request, 503, RETRY_AFTER);
        }
        let began = match &party {
            Party::Phone(number) => self.usage.begin(&self.config, self.io.now, number),
            Party::Neighbour(label) if self.neighbours.begin(&self.config, label, false) => Ok(()),
            Party::Neighbour(label) => Err(format!("too many calls at once ({label}.max-calls)")),
            Party::Inside => return,
        };
        match began {
            // Where it is routed, that somebody calls too much is no reason to refuse this call.
            Err(_) if is_phone && emergency(&dialled).is_some() => {
                self.usage.begin_in_any_case(self.io.now, &caller);
            }
            Err(why) => {
                self.refused(&reply, request, caller.as_str(), &why, true);
                let reason = format!("Reason: SIP;cause=403;text=\"{why}\"\r\n");
                return self.answer_with(server, reply, request, 403, "Too Many Calls", reason.as_bytes());
            }
            Ok(()) => {}
        }
        if let Some(record) = self.usage.record(&caller).filter(|_| shown.is_none()) {
            self.io.record(record);
        }
        let trying = Response::new(100, b"", reply.remote).print(request);
        self.servers.respond(&mut self.io, server, 100, trying);

        let number = self.asked_for(&party, &dialled).unwrap_or_else(|| caller.clone());
        let id = self.open_call(&reply, request, &party, caller, shown, number);
        let fork = self.open_fork(server, reply, request, Kind::Call(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.fork = fork;
        }
        self.set_off(fork, id, request, goal, pop);
    }

    /// Calls whoever a call is for.
    pub(super) fn set_off(&mut self, fork: u64, id: u64, request: &Message<'_>, goal: Goal, pop: usize) {
        self.with_fork(fork, |switch, fork| {
            if let Err(why) = switch.take_offer(id, fork, request) {
                let status = switch.refuse_offer(fork, why);
                return switch.call_over(id, Cause::Refused(status));
            }
            let caller = switch.calls.get(&id).and_then(|call| call.legs.first());
            fork.contact =
                contact_uri(request).map(Into::into).or_else(|| caller.map(|leg| switch.target_of(leg)));
            let rings = match goal {
                Goal::Number(Destination::Echo) => return switch.echo(id, fork, request),
                Goal::Number(destination) => switch.ring(fork, id, request, destination, pop),
                Goal::Takeover { call, dialog, side } => {
                    switch.ring_leg(fork, id, request, (call, dialog, side), pop)
                }
            };
            // One that went on to the echo test is answered or over by now, and was told of.
            if let Some(call) = switch.calls.get(&id).filter(|call| rings && call.phase == Phase::Ringing) {
                let parties = call.parties();
                switch.io.tell(Event::CallStarted(parties));
            } else if switch.is_ringing(id) && !fork.answered {
                switch.branch_failed(fork);
            }
        });
    }

    /// Where a dialled number leads; an emergency number that is routed also with 184 or 186 in front.
    pub(super) fn destination(&self, party: &Party, dialled: &str) -> Destination {
        if let Party::Neighbour(label) = party {
            return Destination::asked_by(&self.config, label, dialled);
        }
        match Destination::dialled(&self.config, dialled) {
            Destination::Unknown => Destination::dialled(&self.config, emergency(dialled).unwrap_or(dialled)),
            known => known,
        }
    }

    /// What was dialled, as people know it: a provider asks for a contact that is nobody else's business.
    fn asked_for(&self, party: &Party, dialled: &str) -> Option<Number> {
        let trunk = match party {
            Party::Neighbour(label) => self.config.trunk(label),
            Party::Phone(_) | Party::Inside => None,
        };
        Number::new(trunk.map_or(dialled, |trunk| &trunk.user))
    }

    /// Who calls from another exchange: the number by which it can be called back, if there is one, and From as our
    /// phones are shown it. A caller who wants to be nobody is.
    fn caller_from(&self, label: &Label, request: &Message<'_>) -> (Number, Option<Box<[u8]>>) {
        let prefix = match self.config.neighbours.get(label).map(|neighbour| &neighbour.kind) {
            Some(NeighbourKind::Peer(Peer { prefix: Some(prefix), .. })) => prefix.as_str(),
            _ => "",
        };
        let anonymous = Number(Box::from("anonymous"));
        let host = self.config.domain.as_deref().unwrap_or("denwa.invalid");
        let from = request.from();
        let number = from.and_then(|from| from.sip_uri()).and_then(|uri| uri.number()).unwrap_or_default();
        if is_private(request) || number.eq_ignore_ascii_case("anonymous") {
            let shown = format!("\"Anonymous\" <sip:anonymous@{host}>");
            return (anonymous, Some(shown.into_bytes().into()));
        }
        // Nobody there may pass for somebody here.
        let is_ours = prefix.is_empty() && Destination::of(&self.config, &number) != Destination::Unknown;
        let Some(number) = Number::new(&format!("{prefix}{number}")).filter(|_| !is_ours) else {
            let shown = format!("<sip:anonymous@{host}>");
            return (anonymous, Some(shown.into_bytes().into()));
        };
        let display = from.map_or(&b""[..], |from| from.display);
        let is_shown = display.len() <= MAX_DISPLAY && !display.iter().any(|b| b.is_ascii_control());
        let display = if is_shown { display } else { b"" };
        let blank: &[u8] = if display.is_empty() { b"" } else { b" " };
        let uri = format!("<sip:{}@{host}>", escape(number.as_str()));
        let shown = [display, blank, uri.as_bytes()].concat();
        (number, Some(shown.into()))
    }

    /// What a request's Request-URI dials: its user, or the owner of the contact that it is.
    pub(super) fn dialled(&self, request: &Message<'_>) -> String {
        let Some(uri) = Uri::parse(request.uri()) else { return String::new() };
        // A masked contact from a Refer-To: whoever is on the other side of that leg.
        if let Some(token) = uri.user.and_then(Token::peek)
            && let Some(call) = self.calls.get(&token.call)
            && uri
                .user
                .is_some_and(|user| Token::is_sealed(user, &self.secret, call.call_id_of(token.leg.into())))
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
        self.named(value)
            .filter(|(call, ..)| self.calls.get(call).is_some_and(|call| call.phase != Phase::Over))
    }

    /// The same, whether the call is over or not.
    pub(super) fn named(&self, value: &[u8]) -> Option<(u64, usize, Side)> {
        let call_id = split(value, b';').next()?;
        let to = crate::sip::find_param(value, "to-tag")?;
        let from = crate::sip::find_param(value, "from-tag")?;
        // A call that goes on is meant before one that is over: of both, a spiral may have the same dialog.
        let mut calls: Vec<&Call> = self.calls.values().filter(|call| *call.call_id == *call_id).collect();
        calls.sort_unstable_by_key(|call| (call.phase == Phase::Over, call.id));
        calls.into_iter().find_map(|call| {
            let (dialog, side) = call.dialogs.iter().enumerate().find_map(|(at, d)| {
                let [a, b] = &d.ends;
                match () {
                    () if *a.tag == *to && *b.tag == *from => Some((at, Side::A)),
                    () if *b.tag == *to && *a.tag == *from => Some((at, Side::B)),
                    () => None,
                }
            })?;
            Some((call.id, dialog, side))
        })
    }

    /// Whether somebody may talk to a side of a dialog instead of whoever does. What a phone of ours has at another
    /// exchange is for phones of ours.
    pub(super) fn may_take_over(&self, party: &Party, call: u64, dialog: usize, side: Side) -> bool {
        let Some(call) = self.calls.get(&call) else { return false };
        let is_up =
            matches!(call.phase, Phase::Up { dialog: winner, acknowledged: true, .. } if winner == dialog);
        match call.leg(dialog, side).map(|leg| &leg.party) {
            Some(Party::Phone(_)) => true,
            Some(Party::Neighbour(_)) => is_up && matches!(party, Party::Phone(_)),
            Some(Party::Inside) | None => false,
        }
    }

    pub(super) fn open_call(
        &mut self,
        reply: &Flow,
        request: &Message<'_>,
        party: &Party,
        from: Number,
        shown: Option<Box<[u8]>>,
        to: Number,
    ) -> u64 {
        self.calls_made += 1;
        self.live += 1;
        let id = self.calls_made;
        let leg = match party {
            Party::Neighbour(_) => Leg {
                party: party.clone(),
                persona: Some(Box::new(Persona::of_caller(request))),
                binding: None,
                flow: *reply,
                behind_nat: false,
                learn: false,
            },
            _ => self.leg_of(&from, reply, request),
        };
        let leg_neighbour = leg.neighbour().cloned().into_iter().collect();
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
                locks: Vec::new(),
                record: None,
                ending: None,
                talked: None,
                hangups: 0,
                replaced: false,
                limit: None,
                neighbours: leg_neighbour,
                shown,
                replaces: None,
                transfer: None,
                heir: None,
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
            party: Party::Phone(number.clone()),
            persona: None,
            binding: binding.map(|b| b.id),
            flow: *flow,
            behind_nat,
            learn: self.learns(number),
        }
    }

    pub(super) fn learns(&self, number: &Number) -> bool {
        self.config.extensions.get(number).is_some_and(|e| e.nat_media == NatMedia::Learn)
    }
}

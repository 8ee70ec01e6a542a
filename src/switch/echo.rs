//! The echo test: a leg whose other end is inside denwa, so here denwa is a user agent.

use std::time::Duration;

use super::Switch;
use super::call::{Dialog, DialogEnd, Leg, Party, Phase, index};
use super::dialog::Place;
use super::event::{Cause, Event};
use super::flow::Flow;
use super::fork::{ELSEWHERE, Fork};
use super::forward::{contact_uri, face, token_uri};
use super::io::Timer;
use super::negotiation::{Lines, Negotiation};
use super::registrar::join;
use super::timer::{T1, T1_64, T2};
use super::token::Token;
use super::transaction::ServerKey;
use crate::media::{MAX_STREAMS, Side};
use crate::sip::sdp::{Sdp, echo_answer, echo_offer};
use crate::sip::{Message, Method, Name, Response};
use crate::time::Instant;

/// What denwa keeps of a call that it answered itself.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// The version of the `o=` line: goes up with each body.
    pub(super) version: u64,
    /// The 2xx that is not acknowledged yet, and where it goes.
    pub(super) insisted: Option<(Flow, Vec<u8>)>,
    /// How long until it is sent again.
    interval: Duration,
    /// When it is sent again.
    next: Instant,
    /// When it is given up.
    pub(super) until: Instant,
}

impl Inside {
    /// What was kept by the process before; an answer that was not acknowledged is insisted on until its time
    /// is up.
    pub(super) fn restored(version: u64, insisted: Option<(Flow, Vec<u8>, Instant)>) -> Inside {
        let until = insisted.as_ref().map_or(Instant::default(), |(.., until)| *until);
        let insisted = insisted.map(|(flow, bytes, _)| (flow, bytes));
        Inside { version, insisted, interval: T1, next: Instant::default(), until }
    }
}

impl Switch {
    /// Answers a call's INVITE as the echo test.
    pub(super) fn echo(&mut self, id: u64, fork: &mut Fork, request: &Message<'_>) {
        if let Some(unsupported) = request.first(Name::Require) {
            let mut headers = b"Unsupported: ".to_vec();
            headers.extend(unsupported.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
            headers.extend_from_slice(b"\r\n");
            self.answer_fork(fork, 420, &headers);
            return self.call_over(id, Cause::Refused(420));
        }
        let tag = self.secret.fresh();
        let Some(caller) = self.calls.get(&id).and_then(|call| call.legs.first()).cloned() else { return };
        let target = contact_uri(request).map_or_else(|| self.target_of(&caller), Into::into);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.legs.len();
        call.legs.push(Leg {
            party: Party::Inside,
            persona: None,
            binding: None,
            behind_nat: false,
            learn: false,
            ..caller
        });
        call.inside = Some(Inside::default());
        let mut to = request.first(Name::To).unwrap_or_default().to_vec();
        to.extend_from_slice(b";tag=");
        to.extend_from_slice(&tag);
        call.dialogs.push(Dialog {
            leg,
            ends: [
                DialogEnd {
                    tag: request.from_tag().into(),
                    address: request.first(Name::From).unwrap_or_default().into(),
                    target,
                    routes: join(request.list(Name::RecordRoute)).into(),
                    cseq: request.cseq().map_or(0, |c| c.number),
                    ahead: 0,
                    invite: (0, 0),
                },
                DialogEnd { tag: tag.as_slice().into(), address: to.into(), ..DialogEnd::default() },
            ],
            confirmed: true,
            negotiation: Negotiation::default(),
        });
        let dialog = call.dialogs.len() - 1;
        let place = Place { call: id, dialog, from: Side::A };
        let Some(body) = self.echo_body(place, request) else {
            self.answer_fork(fork, 488, b"");
            return self.call_over(id, Cause::Refused(488));
        };
        let headers = self.inside_headers(place, &fork.reply);
        let response = Response {
            headers: &headers,
            body: ("application/sdp", &body),
            dialog: true,
            ..Response::new(200, &tag, fork.reply.remote)
        };
        let bytes = response.print(request);
        if !fork.own {
            self.servers.respond(&mut self.io, fork.server, 200, bytes.clone());
        }
        (fork.answered, fork.status) = (true, 200);
        // Others may ring, if a phone sent the call here.
        self.cancel_branches(fork, ELSEWHERE);
        let parties = self.calls.get_mut(&id).map(|call| {
            call.answered(self.io.now, dialog);
            call.parties()
        });
        if let Some(parties) = parties {
            self.io.tell(Event::CallAnswered(parties));
        }
        self.apply_media(id, dialog);
        self.io.arm_for(self.io.now + self.config.call_limit, Timer::CallLimit(id));
        self.io.arm(T1_64, Timer::Unacknowledged(id));
        match Message::parse(&bytes) {
            Ok(answer) if fork.own => self.give_over(id, &answer),
            _ => self.insist(id, fork.reply, bytes),
        }
    }

    /// A request inside a dialog with the echo test. Its transaction is open.
    pub(super) fn inside(&mut self, server: ServerKey, reply: Flow, request: &Message<'_>, place: Place) {
        let Some(tag) = self.calls.get(&place.call).and_then(|call| call.dialogs.get(place.dialog)) else {
            return;
        };
        let tag = tag.ends[index(Side::B)].tag.clone();
        let respond = |status| Response::new(status, &tag, reply.remote);
        match request.method().unwrap_or(Method::Other) {
            Method::Bye => {
                self.answer_inside(server, reply, request, respond(200));
                let is_caller = place.from == Side::A;
                let cause = if is_caller { Cause::CallerHungUp } else { Cause::CalleeHungUp };
                self.call_over(place.call, cause);
            }
            method @ (Method::Invite | Method::Update) => {
                if method == Method::Update && !request.has_sdp() {
                    return self.answer_inside(server, reply, request, respond(200));
                }
                if let Some(d) =
                    self.calls.get_mut(&place.call).and_then(|call| call.dialogs.get_mut(place.dialog))
                    && let Some(target) = contact_uri(request)
                {
                    d.ends[index(Side::A)].target = target.into();
                }
                let Some(body) = self.echo_body(place, request) else {
                    return self.answer_inside(server, reply, request, respond(488));
                };
                let headers = self.inside_headers(place, &reply);
                let ok = Response { headers: &headers, body: ("application/sdp", &body), ..respond(200) };
                let bytes = ok.print(request);
                self.answer_inside(server, reply, request, ok);
                if method == Method::Invite {
                    self.insist(place.call, reply, bytes);
                }
            }
            Method::Info | Method::Options | Method::Message | Method::Notify => {
                self.answer_inside(server, reply, request, respond(200));
            }
            _ => self.answer_inside(
                server,
                reply,
                request,
                Response { headers: super::request::ALLOW, ..respond(405) },
            ),
        }
    }

    /// What the echo test says of its media: the answer, or an offer where none came. `None`: 488.
    fn echo_body(&mut self, place: Place, request: &Message<'_>) -> Option<Vec<u8>> {
        let Place { call: id, dialog, .. } = place;
        let sdp = match request.has_sdp() {
            true => Some(Sdp::parse(request.body()).ok()?),
            false => None,
        };
        let port = self.echo_port(id, sdp.as_ref())?;
        let call = self.calls.get_mut(&id)?;
        let address = face(&self.config, &call.legs[0].flow).ip();
        let inside = call.inside.as_mut()?;
        inside.version += 1;
        let body = match &sdp {
            Some(sdp) => echo_answer(sdp, address, port, id, inside.version)?,
            None => echo_offer(address, port, id, inside.version),
        };
        let ours = Lines::of(&Sdp::parse(&body).ok()?);
        match &sdp {
            Some(sdp) => self.agree(id, dialog, Side::A, Lines::of(sdp), ours),
            None => {
                self.calls.get_mut(&id)?.dialogs.get_mut(dialog)?.negotiation.offered = Some((Side::B, ours))
            }
        }
        Some(body)
    }

    /// The port of the line that the echo test takes.
    fn echo_port(&mut self, id: u64, offer: Option<&Sdp<'_>>) -> Option<u16> {
        let line = match offer {
            Some(offer) => crate::sip::sdp::echo_line(offer).filter(|line| *line < MAX_STREAMS)?,
            None => 0,
        };
        let call = self.calls.get_mut(&id).filter(|call| call.phase != Phase::Over)?;
        if call.ports.len() <= line {
            call.ports.resize(line + 1, None);
        }
        if call.ports[line].is_none() {
            let a = self.ports.allocate(self.io.now.0)?;
            // The far end needs no port; the pair keeps the table uniform.
            let Some(b) = self.ports.allocate(self.io.now.0) else {
                self.ports.release(a, self.io.now.0);
                return None;
            };
            call.ports[line] = Some((a, b));
        }
        call.ports[line].map(|(a, _)| a)
    }

    fn inside_headers(&self, place: Place, reply: &Flow) -> Vec<u8> {
        let call_id = self.calls.get(&place.call).map(|call| call.call_id.clone()).unwrap_or_default();
        let token = Token { call: place.call, leg: 0, contact: true }.seal(&self.secret, &call_id);
        let mut headers =
            format!("Contact: <{}>\r\n", token_uri(&self.config, reply, &token, false)).into_bytes();
        headers.extend_from_slice(super::request::ALLOW);
        headers
    }

    /// Sends a 2xx again and again until it is acknowledged (RFC 3261 §13.3.1.4).
    fn insist(&mut self, id: u64, flow: Flow, bytes: Vec<u8>) {
        if let Some(inside) = self.calls.get_mut(&id).and_then(|call| call.inside.as_mut()) {
            inside.insisted = Some((flow, bytes));
            inside.interval = T1;
            inside.next = self.io.now + T1;
            inside.until = self.io.now + T1_64;
            self.io.arm(T1, Timer::Insist(id));
        }
    }

    /// The time to send it again has come.
    pub(super) fn insist_again(&mut self, id: u64) {
        let now = self.io.now;
        let call = self.calls.get_mut(&id).filter(|call| call.phase != Phase::Over);
        let Some(inside) = call.and_then(|call| call.inside.as_mut()) else { return };
        if now < inside.next {
            return; // a newer 2xx has its own timer
        }
        let Some((flow, bytes)) = inside.insisted.clone().filter(|_| now < inside.until) else { return };
        inside.interval = (inside.interval * 2).min(T2);
        inside.next = now + inside.interval;
        let after = inside.interval;
        self.io.send(flow, bytes);
        self.io.arm(after, Timer::Insist(id));
    }

    /// The ACK of a 2xx of the echo test.
    pub(super) fn inside_acknowledged(&mut self, id: u64) {
        if let Some(inside) = self.calls.get_mut(&id).and_then(|call| call.inside.as_mut()) {
            inside.insisted = None;
        }
    }
}

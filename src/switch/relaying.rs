//! Where signalling meets media: ports, rewritten bodies, what the relay is told.

use std::net::IpAddr;

use super::Switch;
use super::call::{Call, Leg, Party, Phase, other};
use super::event::{Cause, Event};
use super::flow::Transport;
use super::fork::{Fork, Kind};
use super::forward::face;
use super::negotiation::{Lines, end};
use super::persona::Persona;
use super::secret::Purpose;
use crate::media::{self, Far, SessionId, Side, Stream};
use crate::sip::sdp::{self, Keys, Origin, Sdp};
use crate::sip::{Host, Message, Method};

/// What people are told of a call that cannot have what it insists on.
pub(super) const NEEDS_TLS: &str = "encrypted sound (SRTP) needs TLS from both phones";

/// Why an offer cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Nobody could use such a body.
    Unreadable,
    /// All ports are in use.
    NoPorts,
    /// It must have keys that somebody on the way could read.
    NeedsKeys,
}

impl Unfit {
    fn status(self) -> u16 {
        match self {
            Unfit::Unreadable | Unfit::NeedsKeys => 488,
            Unfit::NoPorts => 503,
        }
    }

    fn headers(self) -> String {
        match self {
            Unfit::Unreadable => String::new(),
            Unfit::NoPorts => "Retry-After: 10\r\n".to_owned(),
            Unfit::NeedsKeys => format!("Reason: SIP;cause=488;text=\"{NEEDS_TLS}\"\r\n"),
        }
    }
}

impl Switch {
    /// Takes the offer of a fork's request, if it has one, and the ports that it needs. An INVITE
    /// without offer needs those of one stream: the callee's late offer must not find none.
    ///
    /// # Errors
    /// [`Unfit`] says what it is that cannot be had.
    pub(super) fn take_offer(
        &mut self,
        id: u64,
        fork: &mut Fork,
        request: &Message<'_>,
    ) -> Result<(), Unfit> {
        match request.method() {
            // In any other a session description is no offer: OPTIONS tells abilities with one.
            Some(Method::Invite | Method::Update | Method::Prack) => {}
            _ => return Ok(()),
        }
        if !request.has_sdp() {
            return if request.method() == Some(Method::Invite) { self.reserve(id, &[true]) } else { Ok(()) };
        }
        let sdp = Sdp::parse(request.body()).map_err(|_| Unfit::Unreadable)?;
        fork.needs_keys = sdp.needs_keys();
        let ends = match fork.kind {
            Kind::InDialog { dialog, .. } => {
                self.calls.get(&id).map(|call| (call, call.leg_index(dialog, Side::B)))
            }
            // Each of those that are called is judged when it is to ring.
            Kind::Call(_) | Kind::Alone => self.calls.get(&id).map(|call| (call, 0)),
        };
        let keys = ends.map_or(Keys::Go, |(call, leg)| self.keys_between(call, 0, leg));
        if fork.needs_keys && keys == Keys::Go {
            return Err(Unfit::NeedsKeys);
        }
        let lines = Lines::of(&sdp);
        let is_passed_on = |(alive, media): (bool, &sdp::Media<'_>)| alive && !media.is_refused(keys);
        let wanted: Vec<bool> = lines.alive().into_iter().zip(sdp.media()).map(is_passed_on).collect();
        self.reserve(id, &wanted)?;
        fork.offer = Some(lines);
        Ok(())
    }

    /// Makes sure that each line that is alive has its ports.
    fn reserve(&mut self, id: u64, lines: &[bool]) -> Result<(), Unfit> {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase != Phase::Over) else {
            return Ok(());
        };
        if call.ports.len() < lines.len() {
            call.ports.resize(lines.len(), None);
        }
        for (alive, ports) in lines.iter().zip(&mut call.ports) {
            if *alive && ports.is_none() {
                let now = self.io.now.0;
                let a = self.ports.allocate(now).ok_or(Unfit::NoPorts)?;
                let Some(b) = self.ports.allocate(now) else {
                    self.ports.release(a, now);
                    return Err(Unfit::NoPorts);
                };
                *ports = Some((a, b));
            }
        }
        Ok(())
    }

    /// Answers a fork's request whose offer cannot be taken. Returns the status.
    pub(super) fn refuse_offer(&mut self, fork: &mut Fork, why: Unfit) -> u16 {
        if why == Unfit::NeedsKeys
            && let Ok(request) = Message::parse(&fork.request)
        {
            let call = match fork.kind {
                Kind::Call(id) | Kind::InDialog { call: id, .. } => self.calls.get(&id),
                Kind::Alone => None,
            };
            let number = call.map_or_else(String::new, |call| call.to.as_str().to_owned());
            self.refused(&fork.reply, &request, &number, NEEDS_TLS, true);
        }
        self.answer_fork(fork, why.status(), why.headers().as_bytes());
        why.status()
    }

    /// What becomes of keys in a body that goes from one leg to another: they are passed on where TLS hides both.
    pub(super) fn keys_between(&self, call: &Call, writer: usize, reader: usize) -> Keys {
        let is_tls =
            |at: usize| call.legs.get(at).is_some_and(|leg| self.flow_of(leg).transport == Transport::Tls);
        if is_tls(writer) && is_tls(reader) { Keys::Stay } else { Keys::Go }
    }

    /// A message's body, which one leg wrote, as another shall read it; `None` if it has no SDP.
    pub(super) fn sdp_for(
        &self,
        call: &Call,
        writer: usize,
        reader: usize,
        message: &Message<'_>,
    ) -> Option<Vec<u8>> {
        if !message.has_sdp() {
            return None;
        }
        let sdp = Sdp::parse(message.body()).ok()?;
        let address: IpAddr = face(&self.config, &self.flow_of(call.legs.get(reader)?)).ip();
        let lines = Lines::of(&sdp);
        let ports: Vec<Option<u16>> = (0..sdp.media().len())
            .map(|at| {
                let (a, b) = call.ports().get(at).copied().flatten()?;
                lines.get(at).filter(|line| line.alive)?;
                Some(if reader == 0 { a } else { b })
            })
            .collect();
        let persona = |at: usize| call.legs.get(at).and_then(|leg| leg.persona.as_ref());
        // Another exchange is not told where our phones are, nor they where it is.
        let origin = match (persona(reader), persona(writer)) {
            (Some(reader), _) => {
                Origin::Ours { session: self.session_for(reader, message), turn: reader.turn }
            }
            (None, Some(_)) => Origin::Hidden,
            (None, None) => Origin::Stays,
        };
        Some(sdp::relay(&sdp, address, &ports, origin, self.keys_between(call, writer, reader)))
    }

    /// What the session of a dialog with another exchange is called in our descriptions: by the tag that we have there.
    fn session_for(&self, persona: &Persona, message: &Message<'_>) -> u32 {
        let writer = if message.status().is_some() { message.to_tag() } else { message.from_tag() };
        let tag = persona.tag.as_deref().unwrap_or(writer);
        (self.secret.mac(Purpose::Key, &[b"session", &persona.call_id, tag]) >> 33) as u32
    }

    /// What a response from the callee says about media in answer to a call's INVITE, and the
    /// body that the caller gets.
    pub(super) fn sdp_from_callee(
        &mut self,
        fork: &Fork,
        id: u64,
        dialog: usize,
        response: &Message<'_>,
    ) -> Option<Vec<u8>> {
        self.hear(id, dialog, Side::B, fork.offer.as_ref(), response);
        let call = self.calls.get(&id)?;
        self.sdp_for(call, call.dialogs.get(dialog)?.leg, 0, response)
    }

    /// A body from one side of a dialog: the answer to `offer` if the other side made one,
    /// else an offer to be answered in the next request.
    pub(super) fn hear(
        &mut self,
        id: u64,
        dialog: usize,
        from: Side,
        offer: Option<&Lines>,
        message: &Message<'_>,
    ) {
        let Some(sdp) = Some(message).filter(|m| m.has_sdp()).and_then(|m| Sdp::parse(m.body()).ok()) else {
            return;
        };
        let lines = Lines::of(&sdp);
        let Some(offer) = offer else {
            // A line of a late offer that finds no ports, or must have keys, is passed on as refused.
            let _ = self.reserve(id, &lines.alive());
            self.tell_of_late_keys(id, dialog, from, &sdp, message);
            if let Some(d) = self.calls.get_mut(&id).and_then(|call| call.dialogs.get_mut(dialog)) {
                d.negotiation.offered = Some((from, lines));
            }
            return;
        };
        self.agree(id, dialog, other(from), offer.clone(), lines);
    }

    /// Tells of a call that was answered with nothing but encrypted sound, which cannot be had: nobody can refuse an
    /// answer.
    fn tell_of_late_keys(
        &mut self,
        id: u64,
        dialog: usize,
        from: Side,
        sdp: &Sdp<'_>,
        message: &Message<'_>,
    ) {
        if !sdp.needs_keys() || message.status().is_none_or(|status| status < 200) {
            return;
        }
        let Some(call) = self.calls.get(&id) else { return };
        let (writer, reader) = (call.leg_index(dialog, from), call.leg_index(dialog, other(from)));
        if self.keys_between(call, writer, reader) == Keys::Go {
            let who = call.leg(dialog, from).and_then(Leg::name).unwrap_or("?");
            self.io.tell(Event::Notice(format!("call {id}: no sound from {who}: {NEEDS_TLS}")));
        }
    }

    /// An ACK or PRACK that answers what a response offered. False: nothing was offered.
    pub(super) fn hear_answer(&mut self, id: u64, dialog: usize, from: Side, message: &Message<'_>) -> bool {
        let d = self.calls.get_mut(&id).and_then(|call| call.dialogs.get_mut(dialog));
        let Some(d) = d.filter(|_| message.has_sdp()) else { return false };
        let Some((offerer, offer)) = d.negotiation.offered.clone().filter(|(offerer, _)| *offerer != from)
        else {
            return false;
        };
        if let Ok(sdp) = Sdp::parse(message.body()) {
            self.agree(id, dialog, offerer, offer, Lines::of(&sdp));
        }
        true
    }

    pub(super) fn agree(&mut self, id: u64, dialog: usize, offerer: Side, offer: Lines, answer: Lines) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(d) = call.dialogs.get_mut(dialog) else { return };
        let new = d.negotiation.agree(offerer, offer, answer);
        // While it rings, the newest that speaks is heard; then only who answered.
        let speaks = match call.phase {
            Phase::Ringing => true,
            Phase::Up { dialog: winner, .. } => winner == dialog,
            Phase::Over => false,
        };
        if new && speaks {
            self.apply_media(id, dialog);
        }
    }

    /// Tells the relay what a dialog has agreed on.
    pub(super) fn apply_media(&mut self, id: u64, dialog: usize) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(d) = call.dialogs.get(dialog) else { return };
        let Some([a, b]) = &d.negotiation.agreed else { return };
        let (Some(caller), Some(callee)) = (call.legs.first(), call.legs.get(d.leg)) else { return };
        let (caller, callee) = (self.current(caller), self.current(callee));
        let timeout = self.config.media_timeout;
        let timeout = (matches!(call.phase, Phase::Up { .. }) && !timeout.is_zero()).then_some(timeout);
        let window = (dialog as u32) << 16 | d.negotiation.window & 0xffff;
        let own = |ip| self.is_ours(&Host::Ip(ip));
        let stream = |at: usize| {
            let (port_a, port_b) = call.ports().get(at).copied().flatten()?;
            let (line_a, line_b) = (a.get(at).filter(|l| l.alive)?, b.get(at).filter(|l| l.alive)?);
            let far = match callee.party {
                Party::Inside => Far::Echo,
                _ => Far::End(end(&callee, port_b, line_b, line_a, window, timeout, own)),
            };
            Some(Stream { a: end(&caller, port_a, line_a, line_b, window, timeout, own), b: far })
        };
        let streams: Vec<Option<Stream>> = (0..call.ports().len()).map(stream).collect();
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.relayed.as_ref() == Some(&streams)
            || (call.relayed.is_none() && streams.iter().all(Option::is_none))
        {
            return;
        }
        call.relayed = Some(streams.clone());
        self.io.media(media::Command::Set { session: SessionId(id), streams });
    }

    fn current(&self, leg: &super::call::Leg) -> super::call::Leg {
        super::call::Leg { flow: self.flow_of(leg), ..leg.clone() }
    }

    /// Gives a call's ports back and ends its session. Whether the relay will report.
    pub(super) fn release_media(&mut self, id: u64) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let reports = call.relayed.take().is_some();
        if reports {
            self.io.media(media::Command::Close { session: SessionId(id) });
        }
        for (a, b) in call.ports.iter().flatten() {
            self.ports.release(*a, self.io.now.0);
            self.ports.release(*b, self.io.now.0);
        }
        if call.phase != Phase::Over {
            call.ports.clear();
        }
        reports
    }

    /// The relay reports.
    pub(super) fn media_event(&mut self, event: media::Event) {
        match event {
            media::Event::Failed { session, local, reason } => {
                self.io.tell(Event::Notice(format!(
                    "call {}: media port {local} could not be opened: {reason}; the call is ended (see media-ports)",
                    session.0
                )));
                self.end_call(session.0, Cause::MediaFailed);
            }
            media::Event::Silent { session, side } => {
                if let Some(call) = self.calls.get(&session.0).filter(|call| call.phase != Phase::Over) {
                    let leg = match call.phase {
                        Phase::Up { dialog, .. } => call.leg(dialog, side),
                        _ => None,
                    };
                    let who = leg.and_then(Leg::name).unwrap_or("?").to_owned();
                    self.io.tell(Event::Notice(format!(
                        "call {}: no sound from {who} for {} s; the call is ended (see media-timeout; behind NAT, ext.{who}.nat-media = learn may help)",
                        session.0,
                        self.config.media_timeout.as_secs()
                    )));
                }
                self.end_call(session.0, Cause::MediaTimeout);
            }
            media::Event::Locked { session, lock } => {
                if let Some(call) = self.calls.get_mut(&session.0).filter(|call| call.relayed.is_some()) {
                    call.locked(lock);
                    self.record_locks(session.0);
                }
            }
            // The operator asked, not the switch.
            media::Event::Measured(_) => {}
            media::Event::Closed { session, a, b } => {
                let record = self.calls.get_mut(&session.0).and_then(|call| call.record.take());
                if let Some(mut record) = record {
                    record.caller_media = a;
                    record.callee_media = b;
                    self.note_sound(&record);
                    self.io.tell(Event::CallEnded(record));
                }
            }
        }
    }
}

//! What a leg to another exchange is called there: denwa is an agent of its own towards it (a back-to-back user
//! agent, RFC 7092 §3.1.1), since a request that is asked for a password is sent again with another CSeq
//! (RFC 3261 §22.2), and since who calls is told as is agreed with whoever runs it.
//!
//! Inside, a call is one thing with one name: what its phones know. A persona is the map from there to what the
//! other exchange knows, and back. Tags are the same on both sides; with another Call-ID they make another dialog.

use std::net::SocketAddr;

use super::call::{Call, index, other};
use crate::media::Side;
use crate::sip::{Edit, Message, Method, Name, NameAddr, decimal, put_top_via, split};

/// What a leg is called at the other exchange.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Persona {
    /// Its Call-ID.
    pub(super) call_id: Box<[u8]>,
    /// From of what is sent there, without tag.
    pub(super) ours: Box<[u8]>,
    /// To of what is sent there, without tag.
    pub(super) theirs: Box<[u8]>,
    /// How far the CSeq numbers of what is sent there are ahead of those inside.
    pub(super) ahead: u32,
    /// The last INVITE that was sent there: its CSeq number inside and outside.
    pub(super) invite: (u32, u32),
    /// The highest CSeq number that was sent there.
    pub(super) highest: u32,
    /// Our tag, where it is not that of whoever is on the other side: a call that was transferred.
    pub(super) tag: Option<Box<[u8]>>,
    /// How many have taken it over.
    pub(super) turn: u8,
    /// denwa has called there, and not been called: whoever has the line pays for it.
    pub(super) is_called: bool,
}

impl Persona {
    /// That of a caller at another exchange, from the INVITE that came.
    pub(super) fn of_caller(invite: &Message<'_>) -> Persona {
        Persona {
            call_id: invite.call_id().into(),
            ours: bare(invite.first(Name::To).unwrap_or_default()),
            theirs: bare(invite.first(Name::From).unwrap_or_default()),
            ahead: 0,
            invite: (0, 0),
            highest: 0,
            tag: None,
            turn: 0,
            is_called: false,
        }
    }

    /// Whether the caller wants to be nobody there.
    pub(super) fn is_anonymous(&self) -> bool {
        self.ours.ends_with(b"@anonymous.invalid>")
    }

    /// The CSeq number with which a request leaves. Whoever took a call over from somebody else counts from where that
    /// one was.
    fn outside(&self, inside: u32, method: Method) -> u32 {
        match method {
            Method::Ack if inside == self.invite.0 => self.invite.1,
            Method::Ack => inside.saturating_add(self.ahead),
            _ => inside.saturating_add(self.ahead).max(self.highest.saturating_add(1)),
        }
    }
}

/// What stands in a request instead of what phones call it.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) call_id: Box<[u8]>,
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
    /// The number in CSeq.
    pub(super) cseq: u32,
    /// That of the INVITE in RAck.
    pub(super) rack: Option<u32>,
    /// It goes to a phone: what only another exchange could want of it is taken out.
    pub(super) for_phone: bool,
}

/// What a dialog is called on one of its legs.
pub(super) struct Names {
    pub(super) call_id: Box<[u8]>,
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
}

impl Call {
    /// How the first INVITE of a leg is called there; `None`: as it came. `callee` is To for phones, without tag.
    pub(super) fn alias_of_invite(&self, leg: usize, invite: &Message<'_>, callee: &str) -> Option<Alias> {
        let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
        let (call_id, from, to, cseq) = match (&self.legs.get(leg)?.persona, &self.shown) {
            (Some(persona), _) => {
                (&persona.call_id, &persona.ours, persona.theirs.to_vec(), persona.outside(cseq, Method::Ack))
            }
            (None, Some(shown)) => (&self.call_id, shown, callee.as_bytes().to_vec(), cseq),
            (None, None) => return None,
        };
        let for_phone = self.legs.get(leg)?.persona.is_none();
        let from = tagged(from, invite.from_tag());
        Some(Alias { call_id: call_id.clone(), from, to, cseq, rack: None, for_phone })
    }

    /// How a request inside a dialog is called on the leg of a side; `None`: as it came.
    pub(super) fn alias(&self, dialog: usize, to: Side, request: &Message<'_>) -> Option<Alias> {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let method = request.method().unwrap_or(Method::Other);
        let reader = self.leg(dialog, to)?;
        let sender = self.leg(dialog, other(to))?;
        let d = self.dialogs.get(dialog)?;
        match &reader.persona {
            Some(persona) => {
                let Names { call_id, from, to } = self.names(dialog, to)?;
                let acknowledged = rack(request).and_then(|(_, number)| u32::try_from(decimal(number)?).ok());
                let rack = acknowledged.map(|number| match number == persona.invite.0 {
                    true => persona.invite.1,
                    false => number,
                });
                let cseq = persona.outside(number, method);
                Some(Alias { call_id, from, to, cseq, rack, for_phone: false })
            }
            None if sender.persona.is_some() => {
                let (they, we) = (&d.ends[index(to)], &d.ends[index(other(to))]);
                let rack = rack(request).and_then(|(_, number)| u32::try_from(decimal(number)?).ok());
                Some(Alias {
                    call_id: self.call_id.clone(),
                    from: we.address.to_vec(),
                    to: they.address.to_vec(),
                    cseq: they.cseq_here(number, method == Method::Ack),
                    rack: rack.map(|number| they.cseq_here(number, true)),
                    for_phone: true,
                })
            }
            None => None,
        }
    }

    /// Call-ID, From and To of what is sent to a side of a dialog.
    pub(super) fn names(&self, dialog: usize, to: Side) -> Option<Names> {
        let d = self.dialogs.get(dialog)?;
        let (they, we) = (&d.ends[index(to)], &d.ends[index(other(to))]);
        Some(match &self.leg(dialog, to)?.persona {
            Some(persona) => {
                let our_tag = persona.tag.as_deref().unwrap_or(&we.tag);
                let (from, to) = (tagged(&persona.ours, our_tag), tagged(&persona.theirs, &they.tag));
                Names { call_id: persona.call_id.clone(), from, to }
            }
            None => {
                let (from, to) = (we.address.to_vec(), they.address.to_vec());
                Names { call_id: self.call_id.clone(), from, to }
            }
        })
    }

    /// The lowest CSeq number that nothing which was sent to a side of a dialog can have reached.
    pub(super) fn cseq_for(&self, dialog: usize, to: Side) -> u32 {
        let Some(d) = self.dialogs.get(dialog) else { return 0 };
        let used = d.ends[index(other(to))].cseq;
        match self.leg(dialog, to).and_then(|leg| leg.persona.as_ref()) {
            Some(persona) => used.saturating_add(persona.ahead).max(persona.highest),
            None => used.saturating_add(d.ends[index(to)].ahead),
        }
        .saturating_add(1)
    }

    /// A request was sent to a leg, with this CSeq number inside.
    pub(super) fn sent(&mut self, leg: usize, method: Method, inside: u32) {
        if let Some(persona) = self.legs.get_mut(leg).and_then(|leg| leg.persona.as_mut()) {
            let outside = persona.outside(inside, method);
            persona.highest = persona.highest.max(outside);
            if method == Method::Invite {
                persona.invite = (inside, outside);
            }
        }
    }

    /// It is sent again with credentials: the CSeq number that it has now, which none had before.
    pub(super) fn sent_again(&mut self, leg: usize, method: Method, inside: u32) -> Option<u32> {
        let persona = self.legs.get_mut(leg)?.persona.as_mut()?;
        let outside = persona.highest.checked_add(1)?;
        persona.highest = outside;
        persona.ahead = persona.ahead.max(outside.saturating_sub(inside));
        if method == Method::Invite {
            persona.invite = (inside, outside);
        }
        Some(outside)
    }
}

/// A response as whoever sent the request knows it: with the request's Vias behind ours, the first of which says where
/// it came from, and its From, To, Call-ID and CSeq. `request` needs no more than these header fields.
pub(super) fn restore(response: &Message<'_>, request: &Message<'_>, source: SocketAddr) -> Vec<u8> {
    let mut edit = Edit::new(response);
    let mut is_ours = true;
    let is_refusal = response.status().is_some_and(|status| status >= 400);
    for header in response.headers() {
        let value = response.value(header);
        let put = |edit: &mut Edit<'_>, name: Name| {
            if let Some(theirs) = request.first(name) {
                edit.replace(response.span(value), &[theirs]);
            }
        };
        match header.name {
            Name::Via if std::mem::take(&mut is_ours) => {
                // Whatever came behind it in this line is not the request's.
                let ours = split(value, b',').next().unwrap_or_default();
                edit.remove(response.span(ours).end..response.span(value).end);
                let mut asker = true;
                for via in request.list(Name::Via) {
                    let mut stamped = Vec::with_capacity(via.len() + 64);
                    match std::mem::take(&mut asker) {
                        true => put_top_via(&mut stamped, via, source),
                        false => stamped.extend_from_slice(via),
                    }
                    edit.insert(header.line().end, &[b"Via: ", &stamped, b"\r\n"]);
                }
            }
            Name::Via => edit.remove(header.line()),
            // A refusal tells nobody where it was made.
            Name::Contact | Name::RecordRoute | Name::Warning if is_refusal => edit.remove(header.line()),
            Name::From => put(&mut edit, Name::From),
            Name::CallId => put(&mut edit, Name::CallId),
            Name::CSeq => put(&mut edit, Name::CSeq),
            Name::To => {
                let to = request.first(Name::To).unwrap_or_default();
                let tag = if request.to_tag().is_empty() { response.to_tag() } else { b"" };
                edit.replace(response.span(value), &[&tagged(to, tag)]);
            }
            _ => {}
        }
    }
    edit.finish()
}

/// The values of RAck that name the INVITE: all but its number, and that.
pub(super) fn rack<'a>(request: &Message<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let value = request.first(Name::RAck)?;
    let number = value.split(|&b| b == b' ' || b == b'\t').filter(|part| !part.is_empty()).nth(1)?;
    Some((value, number))
}

/// A From or To value with a tag; without one if that is empty.
pub(super) fn tagged(value: &[u8], tag: &[u8]) -> Vec<u8> {
    match tag {
        b"" => value.to_vec(),
        tag => [value, b";tag=", tag].concat(),
    }
}

/// A From or To value without its parameters: display name and URI.
fn bare(value: &[u8]) -> Box<[u8]> {
    let Some(address) = NameAddr::parse(value) else { return value.into() };
    let blank: &[u8] = if address.display.is_empty() { b"" } else { b" " };
    [address.display, blank, b"<", address.uri, b">"].concat().into()
}

/// Header lines that tell another exchange what it required of a session's timer, where the phone that took its call
/// knows nothing of it: it refreshes the session itself (RFC 4028 §9). Nothing if it required nothing, or the phone
/// has said so.
pub(super) fn timer_for(invite: &[u8], response: &Message<'_>) -> Vec<u8> {
    let Ok(invite) = Message::parse(invite) else { return Vec::new() };
    let is_required = invite.list(Name::Require).any(|option| option.eq_ignore_ascii_case(b"timer"));
    let seconds = invite.first(Name::SessionExpires).and_then(|value| split(value, b';').next());
    match seconds.filter(|_| is_required && response.first(Name::SessionExpires).is_none()) {
        Some(seconds) => [b"Require: timer\r\nSession-Expires: ", seconds, b";refresher=uac\r\n"].concat(),
        None => Vec::new(),
    }
}

//! A call: legs, the dialogs between them, the media that joins them.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::echo::Inside;
use super::event::{CallParties, CallRecord, Cause};
use super::flow::Flow;
use super::negotiation::Negotiation;
use super::persona::Persona;
use super::registrar::BindingId;
use super::transfer::Transfer;
use crate::config::{Label, Number};
use crate::media::{Counters, Lock, Side};
use crate::time::Instant;

/// The most dialogs of one call: a branch may fork further on, and each To tag is one. Beyond, a
/// provisional response with a new tag is not forwarded.
pub(super) const MAX_DIALOGS: usize = 64;

/// One way in or out of a call. The caller's leg is the first.
///
/// Between phones denwa is a proxy, and all legs share Call-ID, From, To and CSeq: the map between the
/// identities of two legs is the identity. A leg to another exchange has a [`Persona`] of its own.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// Who is at its other end.
    pub(super) party: Party,
    /// What it is called there, where that is not what it is called among phones.
    pub(super) persona: Option<Box<Persona>>,
    /// The phone's binding: a phone that reconnects keeps its call.
    pub(super) binding: Option<BindingId>,
    /// How it was reached at first, and still is if the binding is gone.
    pub(super) flow: Flow,
    /// Whether its contact is of no use to others.
    pub(super) behind_nat: bool,
    /// `nat-media = learn`.
    pub(super) learn: bool,
}

/// Who is at the other end of a leg.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Party {
    /// A phone of an extension.
    Phone(Number),
    /// Another exchange.
    Neighbour(Label),
    /// What answers inside denwa.
    Inside,
}

impl Leg {
    /// Whose phone it is, if it is one.
    pub(super) fn extension(&self) -> Option<&Number> {
        match &self.party {
            Party::Phone(number) => Some(number),
            Party::Neighbour(_) | Party::Inside => None,
        }
    }

    /// How people call whoever is there; `None` inside.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.party {
            Party::Phone(number) => Some(number.as_str()),
            Party::Neighbour(label) => Some(label.as_str()),
            Party::Inside => None,
        }
    }

    /// Which exchange it leads to, if it is another one.
    pub(super) fn neighbour(&self) -> Option<&Label> {
        match &self.party {
            Party::Neighbour(label) => Some(label),
            Party::Phone(_) | Party::Inside => None,
        }
    }

    /// Whether what one leg writes as its Contact must be masked for the other: it could not
    /// reach it, or knows the dialog by another name.
    pub(super) fn is_masked_for(&self, reader: &Leg) -> bool {
        self.behind_nat
            || self.persona.is_some()
            || reader.persona.is_some()
            || self.flow.transport != reader.flow.transport
            || !self.flow.same_family(&reader.flow)
    }
}

/// A dialog between the caller and one callee: a branch has as many as To tags came.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    /// The callee's leg.
    pub(super) leg: usize,
    /// The caller's end and the callee's.
    pub(super) ends: [DialogEnd; 2],
    /// A 2xx was passed on.
    pub(super) confirmed: bool,
    /// Offer and answer.
    pub(super) negotiation: Negotiation,
}

/// One side of a dialog, as it is to be spoken to.
#[derive(Clone, Debug, Default)]
pub(super) struct DialogEnd {
    /// Its tag.
    pub(super) tag: Box<[u8]>,
    /// Its From or To value, tag and all.
    pub(super) address: Box<[u8]>,
    /// Its remote target: the URI of its last Contact, as it wrote it.
    pub(super) target: Box<[u8]>,
    /// Routes between denwa and it, as a Route value; empty for none.
    pub(super) routes: Box<[u8]>,
    /// The highest CSeq number that it used.
    pub(super) cseq: u32,
    /// How far the CSeq numbers of what another exchange says are ahead when it is sent to this phone: denwa has
    /// said something in between.
    pub(super) ahead: u32,
    /// The last INVITE that was sent to it in the dialog: its CSeq number as it came, and as it was sent.
    pub(super) invite: (u32, u32),
}

impl DialogEnd {
    /// The CSeq number with which a request of another exchange is sent to this phone; that of an INVITE where it is
    /// named by its ACK or a PRACK.
    pub(super) fn cseq_here(&self, number: u32, names_invite: bool) -> u32 {
        match names_invite && number == self.invite.0 && self.invite.1 != 0 {
            true => self.invite.1,
            false => number.saturating_add(self.ahead),
        }
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its INVITE has no final answer.
    Ringing,
    /// It was answered; until the caller's ACK it is not ended by denwa.
    Up {
        /// When.
        since: Instant,
        /// The dialog that it is.
        dialog: usize,
        /// Whether the ACK came.
        acknowledged: bool,
    },
    /// It has ended, and is remembered for what is still under way in its dialogs.
    Over,
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) call_id: Box<[u8]>,
    pub(super) from: Number,
    pub(super) to: Number,
    pub(super) by: Option<Number>,
    pub(super) legs: Vec<Leg>,
    pub(super) dialogs: Vec<Dialog>,
    pub(super) phase: Phase,
    pub(super) started: Instant,
    /// The fork that its INVITE became.
    pub(super) fork: u64,
    /// Since when it was answered, and the dialog that it is then; stays when it is over.
    pub(super) talked: Option<(Instant, usize)>,
    /// BYEs that were sent on, or by denwa itself, and have no final response.
    pub(super) hangups: u8,
    /// The relay's ports by `m=` line: the caller's, the callee's. They stay here when it is over and they are given
    /// back, so that what is on record stays right; who asks for them asks [`Call::ports`].
    pub(super) ports: Vec<Option<(u16, u16)>>,
    /// What the relay was told last; `None` if it has no session.
    pub(super) relayed: Option<Vec<Option<crate::media::Stream>>>,
    /// Who speaks, where that is not who the descriptions say; one for each of the relay's sockets at most, all
    /// of the windows that there are.
    pub(super) locks: Vec<Lock>,
    /// What is to be told when the relay has counted.
    pub(super) record: Option<CallRecord>,
    /// Why it ends as soon as it may.
    pub(super) ending: Option<Cause>,
    /// Another call has taken this one over (RFC 3891).
    pub(super) replaced: bool,
    /// How long it may last, where a trunk says so.
    pub(super) limit: Option<Duration>,
    /// The exchanges in whose calls it counts.
    pub(super) neighbours: Vec<Label>,
    /// What phones are told of a caller at another exchange: From, without tag.
    pub(super) shown: Option<Box<[u8]>>,
    /// The call that this one takes over if it is answered.
    pub(super) replaces: Option<u64>,
    /// What it is made for, if a phone has asked for it to be made.
    pub(super) transfer: Option<Transfer>,
    /// The call that is made to take its party at another exchange over.
    pub(super) heir: Option<u64>,
    /// A REFER was seen: its NOTIFYs may come after the BYE (RFC 5589 §6).
    pub(super) referred: bool,
    /// What was rung one after the other, to see forwards that go round in circles.
    pub(super) visited: Vec<Number>,
    /// What denwa keeps of a call that it answered itself.
    pub(super) inside: Option<Inside>,
}

/// The other side.
pub(super) fn other(side: Side) -> Side {
    match side {
        Side::A => Side::B,
        Side::B => Side::A,
    }
}

/// Where a side stands in [`Dialog::ends`].
pub(super) fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

impl Call {
    /// It is answered, in one of its dialogs.
    pub(super) fn answered(&mut self, since: Instant, dialog: usize) {
        self.phase = Phase::Up { since, dialog, acknowledged: false };
        self.talked = Some((since, dialog));
    }

    /// The leg of a side in a dialog.
    pub(super) fn leg(&self, dialog: usize, side: Side) -> Option<&Leg> {
        self.legs.get(self.leg_index(dialog, side))
    }

    /// The Call-ID by which a leg knows it.
    pub(super) fn call_id_of(&self, leg: usize) -> &[u8] {
        self.legs.get(leg).and_then(|leg| leg.persona.as_ref()).map_or(&self.call_id, |p| &p.call_id)
    }

    /// Where the leg of a side in a dialog stands.
    pub(super) fn leg_index(&self, dialog: usize, side: Side) -> usize {
        match side {
            Side::A => 0,
            Side::B => self.dialogs.get(dialog).map_or(usize::MAX, |d| d.leg),
        }
    }

    /// The dialog in which a leg speaks, by its own tag and the other side's.
    pub(super) fn dialog_of(&self, leg: usize, own: &[u8], others: &[u8]) -> Option<(usize, Side)> {
        let side = if leg == 0 { Side::A } else { Side::B };
        let (me, they) = (index(side), index(other(side)));
        self.dialogs
            .iter()
            .position(|d| {
                (leg == 0 || d.leg == leg) && *d.ends[me].tag == *own && *d.ends[they].tag == *others
            })
            .or_else(|| self.taken_over(leg, own, others))
            .map(|at| (at, side))
    }

    /// The dialog that somebody at another exchange is in who speaks to us as to whoever was there before.
    fn taken_over(&self, leg: usize, own: &[u8], others: &[u8]) -> Option<usize> {
        let (_, at) = self.talked?;
        let (d, persona) = (self.dialogs.get(at)?, self.legs.get(leg)?.persona.as_ref()?);
        let me = &d.ends[usize::from(leg != 0)];
        ((leg == 0 || d.leg == leg) && *me.tag == *own && persona.tag.as_deref() == Some(others))
            .then_some(at)
    }

    /// The relay has told who speaks.
    pub(super) fn locked(&mut self, lock: Lock) {
        let place = |lock: &Lock| (lock.stream, lock.side, lock.component);
        // Of an end's two windows the older one is past.
        self.locks.retain(|known| {
            place(known) != place(&lock) && (known.stream != lock.stream || known.window == lock.window)
        });
        self.locks.push(lock);
    }

    /// The ports of the relay that it has now.
    pub(super) fn ports(&self) -> &[Option<(u16, u16)>] {
        if self.phase == Phase::Over { &[] } else { &self.ports }
    }

    /// Whether it has ended, and people were told.
    pub(super) fn is_told(&self) -> bool {
        self.phase == Phase::Over && self.record.is_none()
    }

    /// Who talks to whom.
    pub(super) fn parties(&self) -> CallParties {
        CallParties { call: self.id, from: self.from.clone(), to: self.to.clone(), by: self.by.clone() }
    }

    /// The other exchanges that it came from, and went to so far. Not [`Call::neighbours`]: who has been tried in vain
    /// counts there until somebody else answers.
    fn exchanges(&self) -> Vec<Label> {
        let caller = self.legs.first();
        let answered = self.talked.and_then(|(_, dialog)| self.leg(dialog, Side::B));
        let callee = answered.or_else(|| self.legs.get(1..)?.last());
        [caller, callee].into_iter().flatten().filter_map(|leg| leg.neighbour().cloned()).collect()
    }

    /// The record of a call that ends now, which is `wall` since 1970; the relay's counts are still to come.
    pub(super) fn record(&self, now: Instant, wall: Duration, cause: Cause) -> CallRecord {
        let talked: Option<Duration> = match self.phase {
            Phase::Up { since, .. } => Some(now - since),
            _ => None,
        };
        CallRecord {
            parties: self.parties(),
            started: wall.saturating_sub(now - self.started),
            duration: now - self.started,
            talked,
            cause,
            source: self.legs.first().map_or(Ipv4Addr::UNSPECIFIED.into(), |caller| caller.flow.source()),
            exchanges: self.exchanges(),
            caller_media: Counters::default(),
            callee_media: Counters::default(),
        }
    }
}

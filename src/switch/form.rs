//! The forms in which calls and INVITEs are on record, in postcard. Only what the next process needs is in
//! them; what it can find out from the configuration is not.
//!
//! A form borrows what it is of. It is made whenever something may have changed, but seldom written: its digest
//! tells first whether it is what is on record.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::call::{Call, Dialog, DialogEnd, Leg, Party, Phase};
use super::echo::Inside;
use super::flow::Standing;
use super::fork::{Branch, BranchState, Fork, Kind};
use super::negotiation::{Lines, Negotiation};
use super::persona::Persona;
use crate::config::{Config, Label, NatMedia, Number};
use crate::journal::{self, Octets};
use crate::media::{Lock, Side};
use crate::time::Instant;

/// Another one means that what follows is read differently; nothing of another version is read.
const VERSION: u8 = 3;

/// Room for the form of a call or an INVITE as most phones make them, in octets.
const USUAL_FORM: usize = 2_048;

/// The longest form that is put on record, in octets. What is longer does not survive; no phone makes one.
const MAX_FORM: usize = 60_000;

/// CSeq numbers are on record rounded up, so that not each request in a dialog has to be written down. What
/// denwa sends itself is far ahead of them.
pub(super) const CSEQ_STEP: u32 = 256;

/// Octets as somebody wrote them, written and read all at once.
#[derive(Clone, Copy, Hash)]
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Text)
    }
}

/// A call.
#[derive(Hash, Serialize, Deserialize)]
pub(super) struct CallForm<'a> {
    version: u8,
    #[serde(borrow)]
    call_id: Text<'a>,
    from: &'a str,
    to: &'a str,
    #[serde(borrow)]
    by: Option<&'a str>,
    started: Instant,
    #[serde(borrow)]
    legs: Vec<LegForm<'a>>,
    ports: Cow<'a, [Option<(u16, u16)>]>,
    /// If it was answered.
    #[serde(borrow)]
    talk: Option<TalkForm<'a>>,
    replaced: bool,
    referred: bool,
    limit_s: Option<u32>,
    #[serde(borrow)]
    shown: Option<Text<'a>>,
    #[serde(borrow)]
    inside: Option<InsideForm<'a>>,
}

#[derive(Hash, Serialize, Deserialize)]
struct LegForm<'a> {
    #[serde(borrow)]
    extension: Option<&'a str>,
    neighbour: Option<&'a str>,
    #[serde(borrow)]
    persona: Option<PersonaForm<'a>>,
    binding: Option<u64>,
    flow: journal::Flow,
    behind_nat: bool,
}

/// What a leg is called at another exchange.
#[derive(Hash, Serialize, Deserialize)]
struct PersonaForm<'a> {
    #[serde(borrow)]
    call_id: Text<'a>,
    #[serde(borrow)]
    ours: Text<'a>,
    #[serde(borrow)]
    theirs: Text<'a>,
    ahead: u32,
    invite: (u32, u32),
    highest: u32,
    #[serde(borrow)]
    tag: Option<Text<'a>>,
    turn: u8,
    is_called: bool,
}

/// The dialog that an answered call is. The others are over, or will be.
#[derive(Hash, Serialize, Deserialize)]
struct TalkForm<'a> {
    since: Instant,
    /// Where it stands among the call's dialogs: it is a part of the window that the relay's locks belong to.
    dialog: u8,
    leg: u8,
    #[serde(borrow)]
    ends: [EndForm<'a>; 2],
    agreed: Option<Cow<'a, [Lines; 2]>>,
    /// By whom: true for the caller.
    offered: Option<(bool, Cow<'a, Lines>)>,
    window: u32,
}

#[derive(Hash, Serialize, Deserialize)]
struct EndForm<'a> {
    #[serde(borrow)]
    tag: Text<'a>,
    #[serde(borrow)]
    address: Text<'a>,
    #[serde(borrow)]
    target: Text<'a>,
    #[serde(borrow)]
    routes: Text<'a>,
    cseq: u32,
    ahead: u32,
}

/// What denwa keeps of a call that it answered itself.
#[derive(Hash, Serialize, Deserialize)]
struct InsideForm<'a> {
    version: u64,
    /// The 2xx that is not acknowledged yet, where it goes, and until when.
    #[serde(borrow)]
    insisted: Option<(journal::Flow, Text<'a>, Instant)>,
}

/// An INVITE.
#[derive(Hash, Serialize, Deserialize)]
pub(super) struct InviteForm<'a> {
    version: u8,
    /// In which dialog, and whether from the caller; `None` for the call's first.
    inside: Option<(u8, bool)>,
    reply: journal::Flow,
    #[serde(borrow)]
    skeleton: Text<'a>,
    /// denwa itself has sent it.
    own: bool,
    /// The final status that was passed on; 0 for none.
    status: u16,
    offer: Option<Cow<'a, Lines>>,
    #[serde(borrow)]
    contact: Option<Text<'a>>,
    #[serde(borrow)]
    branches: Vec<BranchForm<'a>>,
}

#[derive(Hash, Serialize, Deserialize)]
struct BranchForm<'a> {
    client: u64,
    leg: u8,
    #[serde(borrow)]
    number: Option<&'a str>,
    flow: journal::Flow,
    progress: Progress,
    #[serde(borrow)]
    skeleton: Text<'a>,
}

/// How far a branch is.
#[derive(Hash, Serialize, Deserialize)]
enum Progress {
    /// No response yet. Only inside dialogs: there the INVITE goes on, and may never be answered.
    Trying,
    /// A provisional one, or that makes no difference.
    Ringing,
    /// The final one.
    Done,
}

/// The form of a call.
pub(super) fn of_call(call: &Call) -> CallForm<'_> {
    CallForm {
        version: VERSION,
        call_id: Text(&call.call_id),
        from: call.from.as_str(),
        to: call.to.as_str(),
        by: call.by.as_ref().map(Number::as_str),
        started: call.started,
        legs: call.legs.iter().map(LegForm::of).collect(),
        ports: Cow::Borrowed(&call.ports),
        talk: call.talked.and_then(|(since, at)| TalkForm::of(since, at, call.dialogs.get(at)?)),
        replaced: call.replaced,
        referred: call.referred,
        limit_s: call.limit.map(|limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX)),
        shown: call.shown.as_deref().map(Text),
        inside: call.inside.as_ref().map(|inside| InsideForm {
            version: inside.version,
            insisted: inside
                .insisted
                .as_ref()
                .map(|(flow, bytes)| (flow.kept(), Text(bytes.as_slice()), inside.until)),
        }),
    }
}

/// The form of an INVITE; `None` if it has none: only those of calls do.
pub(super) fn of_invite(fork: &Fork) -> Option<InviteForm<'_>> {
    if fork.skeleton.is_empty() {
        return None;
    }
    let is_success = (200..300).contains(&fork.status);
    // A refusal that comes again is acknowledged by nobody; a 2xx may have lost its way.
    let wanted = |branch: &&Branch| branch.state != BranchState::Done || is_success;
    Some(InviteForm {
        version: VERSION,
        inside: match fork.kind {
            Kind::InDialog { dialog, from, .. } => Some((dialog as u8, from == Side::A)),
            Kind::Call(_) | Kind::Alone => None,
        },
        reply: fork.reply.kept(),
        skeleton: Text(&fork.skeleton),
        own: fork.own,
        status: fork.status,
        offer: fork.offer.as_ref().map(Cow::Borrowed),
        contact: fork.contact.as_deref().map(Text),
        branches: fork.branches.iter().filter(wanted).map(|b| BranchForm::of(fork.kind, b)).collect(),
    })
}

/// 64 bits that differ where forms do: that two of one entry's forms share them is less likely than that the
/// machine fails.
pub(super) fn digest(form: &impl Hash) -> u64 {
    let mut digest = Digest(0);
    form.hash(&mut digest);
    digest.finish()
}

/// A form, as it is put on record; `None` if it is longer than [`MAX_FORM`].
pub(super) fn write(form: &impl Serialize) -> Option<Octets> {
    let mut room = [0; USUAL_FORM];
    match postcard::to_slice(form, &mut room) {
        Ok(written) => Some((&*written).into()),
        Err(_) => {
            let written = postcard::to_allocvec(form).ok().filter(|written| written.len() <= MAX_FORM)?;
            Some(Octets(written.into()))
        }
    }
}

/// Eight octets at a time are multiplied into it. Who chooses what stands in his own call may find two forms of it
/// with one digest, and is the only one who loses by that.
struct Digest(u64);

impl Digest {
    fn take(&mut self, word: u64) {
        // The golden ratio: odd, and its bits are of no pattern.
        let product =
            u128::from(self.0 ^ word ^ 0x2545_f491_4f6c_dd1d) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Digest {
    fn write(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<8>();
        words.iter().for_each(|word| self.take(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            // They are seven at most: the last octet tells how many.
            let mut word = [0, 0, 0, 0, 0, 0, 0, rest.len() as u8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.take(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.take(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.take(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.take(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.take(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.take(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The form of who speaks in a call; nothing if all is as the descriptions say.
pub(super) fn write_locks(locks: &[Lock]) -> Option<Octets> {
    if locks.is_empty() { None } else { write(&(VERSION, locks)) }
}

/// Reads the form of who speaks in a call; nothing if it cannot be read.
pub(super) fn read_locks(form: &[u8]) -> Vec<Lock> {
    match postcard::from_bytes(form) {
        Ok((VERSION, locks)) => locks,
        _ => Vec::new(),
    }
}

/// Reads the form of a call. `None`: it cannot be read.
pub(super) fn read_call(form: &[u8]) -> Option<CallForm<'_>> {
    postcard::from_bytes(form).ok().filter(|form: &CallForm<'_>| form.version == VERSION)
}

/// Reads the form of an INVITE of a call. `None`: it cannot be read.
pub(super) fn read_invite(form: &[u8]) -> Option<InviteForm<'_>> {
    postcard::from_bytes(form).ok().filter(|form: &InviteForm<'_>| form.version == VERSION)
}

/// The call of which this is the form; `None` if there is no such call.
pub(super) fn call(form: CallForm<'_>, config: &Config, standing: &Standing, id: u64) -> Option<Call> {
    let mut legs = Vec::with_capacity(form.legs.len());
    for leg in &form.legs {
        legs.push(leg.leg(config, standing)?);
    }
    let mut call = Call {
        id,
        call_id: form.call_id.0.into(),
        from: Number::new(form.from)?,
        to: Number::new(form.to)?,
        by: form.by.and_then(Number::new),
        legs,
        dialogs: Vec::new(),
        phase: Phase::Ringing,
        talked: None,
        started: form.started,
        fork: 0,
        ports: form.ports.into_owned(),
        relayed: None,
        locks: Vec::new(),
        record: None,
        ending: None,
        replaced: form.replaced,
        replaces: None,
        transfer: None,
        heir: None,
        referred: form.referred,
        limit: form.limit_s.map(|limit| Duration::from_secs(limit.into())),
        neighbours: Vec::new(),
        shown: form.shown.map(|shown| shown.0.into()),
        hangups: 0,
        visited: Vec::new(),
        inside: form.inside.map(|inside| {
            Inside::restored(
                inside.version,
                inside.insisted.map(|(flow, bytes, until)| (standing.flow(flow), bytes.0.to_vec(), until)),
            )
        }),
    };
    if let Some(talk) = form.talk {
        let (since, at) = (talk.since, usize::from(talk.dialog));
        let dialog = talk.dialog(&call)?;
        // Nothing speaks of those before it, which are over.
        call.dialogs.resize_with(at, || Dialog {
            ends: Default::default(),
            leg: usize::MAX,
            ..dialog.clone()
        });
        call.dialogs.push(dialog);
        call.answered(since, at);
    }
    Some(call)
}

/// The INVITE of a call of which this is the form; the transactions of its branches are opened by whoever asks.
pub(super) fn invite(form: InviteForm<'_>, standing: &Standing, id: u64, call: u64) -> Fork {
    let kind = match form.inside {
        None => Kind::Call(call),
        Some((dialog, is_caller)) => {
            Kind::InDialog { call, dialog: dialog.into(), from: if is_caller { Side::A } else { Side::B } }
        }
    };
    let branches = form.branches.iter().map(|branch| branch.branch(standing)).collect();
    let mut fork = Fork::restored(id, kind, standing.flow(form.reply), form.skeleton.0, branches);
    fork.own = form.own;
    fork.status = form.status;
    fork.answered = form.status != 0;
    fork.offer = form.offer.map(Cow::into_owned);
    fork.contact = form.contact.map(|contact| contact.0.into());
    fork
}

impl<'a> LegForm<'a> {
    fn of(leg: &'a Leg) -> LegForm<'a> {
        LegForm {
            extension: leg.extension().map(Number::as_str),
            neighbour: leg.neighbour().map(Label::as_str),
            persona: leg.persona.as_deref().map(|persona| PersonaForm {
                call_id: Text(&persona.call_id),
                ours: Text(&persona.ours),
                theirs: Text(&persona.theirs),
                ahead: persona.ahead,
                invite: persona.invite,
                highest: persona.highest,
                tag: persona.tag.as_deref().map(Text),
                turn: persona.turn,
                is_called: persona.is_called,
            }),
            binding: leg.binding,
            flow: leg.flow.kept(),
            behind_nat: leg.behind_nat,
        }
    }

    fn leg(&self, config: &Config, standing: &Standing) -> Option<Leg> {
        let party = match (self.extension, self.neighbour) {
            (Some(number), _) => Party::Phone(Number::new(number)?),
            (None, Some(label)) => Party::Neighbour(Label::new(label)?),
            (None, None) => Party::Inside,
        };
        let known = self.extension.and_then(|number| config.extensions.get(number));
        let persona = self.persona.as_ref().map(|form| {
            Box::new(Persona {
                call_id: form.call_id.0.into(),
                ours: form.ours.0.into(),
                theirs: form.theirs.0.into(),
                ahead: form.ahead,
                invite: form.invite,
                highest: form.highest,
                tag: form.tag.map(|tag| tag.0.into()),
                turn: form.turn,
                is_called: form.is_called,
            })
        });
        let learn = known.is_some_and(|extension| extension.nat_media == NatMedia::Learn);
        let (binding, behind_nat) = (self.binding, self.behind_nat);
        Some(Leg { party, persona, binding, flow: standing.flow(self.flow), behind_nat, learn })
    }
}

impl<'a> TalkForm<'a> {
    fn of(since: Instant, at: usize, dialog: &'a Dialog) -> Option<TalkForm<'a>> {
        let negotiation = &dialog.negotiation;
        Some(TalkForm {
            since,
            dialog: u8::try_from(at).ok()?,
            leg: u8::try_from(dialog.leg).ok()?,
            ends: dialog.ends.each_ref().map(|end| EndForm {
                tag: Text(&end.tag),
                address: Text(&end.address),
                target: Text(&end.target),
                routes: Text(&end.routes),
                cseq: end.cseq.checked_next_multiple_of(CSEQ_STEP).unwrap_or(u32::MAX),
                ahead: end.ahead,
            }),
            agreed: negotiation.agreed.as_ref().map(Cow::Borrowed),
            offered: negotiation.offered.as_ref().map(|(by, lines)| (*by == Side::A, Cow::Borrowed(lines))),
            window: negotiation.window,
        })
    }

    fn dialog(self, call: &Call) -> Option<Dialog> {
        let leg = usize::from(self.leg);
        call.legs.get(leg)?;
        let side = |is_caller| if is_caller { Side::A } else { Side::B };
        Some(Dialog {
            leg,
            ends: self.ends.map(|end| DialogEnd {
                tag: end.tag.0.into(),
                address: end.address.0.into(),
                target: end.target.0.into(),
                routes: end.routes.0.into(),
                cseq: end.cseq,
                ahead: end.ahead,
                invite: (0, 0),
            }),
            confirmed: true,
            negotiation: Negotiation {
                agreed: self.agreed.map(Cow::into_owned),
                offered: self.offered.map(|(by, lines)| (side(by), lines.into_owned())),
                window: self.window,
            },
        })
    }
}

impl<'a> BranchForm<'a> {
    fn of(kind: Kind, branch: &'a Branch) -> BranchForm<'a> {
        BranchForm {
            client: branch.client,
            leg: branch.leg as u8,
            number: branch.number.as_ref().map(Number::as_str),
            flow: branch.flow.kept(),
            progress: match (kind, branch.state) {
                (_, BranchState::Done) => Progress::Done,
                (Kind::InDialog { .. }, BranchState::Trying) => Progress::Trying,
                _ => Progress::Ringing,
            },
            skeleton: Text(&branch.skeleton),
        }
    }

    fn branch(&self, standing: &Standing) -> Branch {
        let state = match self.progress {
            Progress::Trying => BranchState::Trying,
            Progress::Ringing => BranchState::Ringing,
            Progress::Done => BranchState::Done,
        };
        Branch {
            client: self.client,
            state,
            leg: self.leg.into(),
            number: self.number.and_then(Number::new),
            sent: Vec::new(),
            proofs: 0,
            breadth: 0,
            flow: standing.flow(self.flow),
            skeleton: self.skeleton.0.into(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// An INVITE with one branch.
    fn invite<'a>(skeleton: &'a [u8], number: &'a str, status: u16) -> InviteForm<'a> {
        let flow = |port| journal::Flow {
            transport: journal::Transport::Udp,
            local: std::net::SocketAddr::from(([192, 0, 2, 1], 5060)).into(),
            remote: std::net::SocketAddr::from(([0; 16], port)).into(),
        };
        let branch = BranchForm {
            client: 7,
            leg: 1,
            number: Some(number),
            flow: flow(5062),
            progress: Progress::Ringing,
            skeleton: Text(b"Via: x\r\n"),
        };
        InviteForm {
            version: VERSION,
            inside: None,
            reply: flow(5061),
            skeleton: Text(skeleton),
            own: false,
            status,
            offer: None,
            contact: None,
            branches: vec![branch],
        }
    }

    #[test]
    fn whatever_differs_has_another_digest() {
        let text = b"From: <sip:101@pbx.example.net>;tag=1\r\n\0\0";
        let mut digests = BTreeSet::from([digest(&invite(text, "102", 0))]);
        let mut forms = 1;
        let mut add = |form: InviteForm<'_>| {
            digests.insert(digest(&form));
            forms += 1;
        };
        for length in 0..text.len() {
            add(invite(&text[..length], "102", 0));
            for bit in 0..8 {
                let mut other = *text;
                other[length] ^= 1 << bit;
                add(invite(&other, "102", 0));
            }
        }
        (1..700).for_each(|status| add(invite(text, "102", status)));
        ["10", "1020", "102\0", "103", ""].into_iter().for_each(|number| add(invite(text, number, 0)));
        assert_eq!(digests.len(), forms);
    }

    #[test]
    fn what_is_read_has_the_digest_of_what_was_written() {
        for length in [0, 9, 3_000, MAX_FORM - 200] {
            let text = vec![b'x'; length];
            let form = invite(&text, "102", 200);
            let octets = write(&form).unwrap();
            assert_eq!(digest(&read_invite(&octets.0).unwrap()), digest(&form));
        }
        assert!(write(&invite(&vec![b'x'; MAX_FORM], "102", 200)).is_none());
    }
}

//! A call as one phone sees it.

use super::dialog::Dialog;
use super::negotiation::Negotiation;
use super::transaction::ServerKey;
use super::transfer::Transfer;
use crate::sip::Message;

/// Which call of a phone; never used again.
pub type CallKey = u64;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The INVITE is out, or came and nothing rings yet.
    Calling,
    Ringing,
    /// The callee picked up, and the ACK is not here yet.
    Accepted,
    /// Both sides should be talking.
    Up,
    Over,
}

/// How a call ended, in this phone's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The caller got this final status, or the callee sent it.
    Refused(u16),
    /// The caller gave up.
    Cancelled,
    HungUp,
    HungUpByPeer,
    /// Something that had to come did not come.
    TimedOut,
    /// Another call took its place (RFC 3891).
    Replaced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Caller,
    Callee,
}

pub struct Call {
    pub key: CallKey,
    pub role: Role,
    pub stage: Stage,
    pub outcome: Option<Outcome>,
    /// Whether it was answered.
    pub answered: bool,
    /// What was dialled, or who calls.
    pub number: String,
    pub call_id: String,
    pub dialog: Option<Dialog>,
    pub media: Negotiation,
    /// The provisional statuses that came.
    pub progress: Vec<u16>,
    /// `Reason` of the CANCEL, BYE or answer that ended it (RFC 3326).
    pub reason: Option<String>,
    /// The user wants it to end as soon as that is possible.
    pub(super) wants_out: bool,
    /// The INVITE as it was last sent, or as it came.
    pub(super) invite: Message,
    /// The caller's client transaction.
    pub(super) client: String,
    /// The callee's server transaction.
    pub(super) server: Option<ServerKey>,
    /// The caller's early dialogs.
    pub(super) early: Vec<Early>,
    /// ACKs that went out, by CSeq number and To tag, for when the 2xx comes again.
    pub(super) acks: Vec<(u32, String, Message)>,
    /// A 2xx of ours without ACK so far.
    pub(super) unacknowledged: Option<Unacknowledged>,
    /// A reliable provisional response of ours without PRACK so far.
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// A re-INVITE or UPDATE of ours that is under way.
    pub(super) reoffering: Option<super::inside::Offer>,
    /// What a 491 refused, to be tried again.
    pub(super) refused_offer: Option<super::inside::Offer>,
    pub(super) reoffers: u32,
    pub(super) cancel_sent: bool,
    /// Whether a reliable provisional response carried our description.
    pub(super) answered_reliably: bool,
    pub(super) transfer: Option<Transfer>,
}

/// One early dialog of a caller.
pub(super) struct Early {
    pub(super) dialog: Dialog,
    pub(super) media: Negotiation,
    /// The last RSeq that was confirmed.
    pub(super) rseq: Option<u32>,
}

pub(super) struct Unacknowledged {
    pub(super) sequence: u32,
    pub(super) response: Message,
    pub(super) interval: std::time::Duration,
}

pub(super) struct Unconfirmed {
    pub(super) rseq: u32,
    pub(super) response: Message,
    pub(super) interval: std::time::Duration,
    /// The user picked up meanwhile.
    pub(super) then_answer: bool,
}

impl Call {
    pub(super) fn new(key: CallKey, role: Role, invite: Message, media: Negotiation) -> Call {
        Call {
            key,
            role,
            stage: Stage::Calling,
            outcome: None,
            answered: false,
            number: String::new(),
            call_id: invite.call_id().to_owned(),
            dialog: None,
            media,
            progress: Vec::new(),
            reason: None,
            wants_out: false,
            invite,
            client: String::new(),
            server: None,
            early: Vec::new(),
            acks: Vec::new(),
            unacknowledged: None,
            unconfirmed: None,
            reoffering: None,
            refused_offer: None,
            reoffers: 0,
            cancel_sent: false,
            answered_reliably: false,
            transfer: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// Whether an offer or an acknowledgement is outstanding.
    pub fn is_negotiating(&self) -> bool {
        self.media.is_pending() || self.unacknowledged.is_some() || self.reoffering.is_some()
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.outcome = Some(outcome);
        }
        self.unacknowledged = None;
        self.unconfirmed = None;
        self.reoffering = None;
    }
}

//! Answering for ourselves: credentials for other exchanges that ask for them (RFC 3261 §22.2, §22.3).
//!
//! Only a request of our own to a neighbour that the configuration has an account for is ever answered for, and only
//! to that neighbour: a challenge that comes from elsewhere finds no transaction of ours.

use super::Switch;
use super::call::{Leg, other};
use super::event::Event;
use super::flow::Flow;
use super::fork::{BranchState, Fork, Kind, hop_skeleton};
use super::transaction::{ClientId, Owner};
use crate::config::{Account, Label};
use crate::sip::digest::{Challenge, Credentials};
use crate::sip::{Edit, Header, Message, Method, Name};

/// How often a request is sent with credentials: once, and once more where only the nonce was too old, or somebody
/// else on the way asks as well.
const MAX_PROOFS: u8 = 2;

/// A request that is sent again, in a transaction of its own.
pub(super) struct Again {
    pub(super) client: ClientId,
    pub(super) bytes: Vec<u8>,
    pub(super) cseq: u32,
}

/// A BYE of our own to another exchange, until it is answered.
#[derive(Debug)]
pub(super) struct Farewell {
    label: Label,
    flow: Flow,
    bytes: Vec<u8>,
    proofs: u8,
}

impl Switch {
    /// Sends a BYE of our own. Where an exchange asks who we are, it is sent again: otherwise the call would go on there,
    /// and cost. `call` is 0 where nobody waits for its end.
    pub(super) fn say_goodbye(
        &mut self,
        client: ClientId,
        label: Option<Label>,
        flow: Flow,
        bytes: Vec<u8>,
        call: u64,
    ) {
        if let Some(label) = label {
            self.farewells.insert(client, Farewell { label, flow, bytes: bytes.clone(), proofs: 0 });
        }
        self.clients.start(&mut self.io, client, Method::Bye, flow, bytes, Owner::Hangup(client, call));
    }

    /// A BYE of our own was answered, or nobody will.
    pub(super) fn goodbye_answered(&mut self, client: ClientId, call: u64, response: Option<&Message<'_>>) {
        let farewell = self.farewells.remove(&client);
        let asked = response.filter(|response| matches!(response.status(), Some(401 | 407)));
        if let (Some(mut farewell), Some(response)) = (farewell, asked)
            && let Some(bytes) =
                self.with_credentials(&farewell.label, &farewell.bytes, farewell.proofs, response)
            && let Some(cseq) = Message::parse(&bytes).ok().and_then(|bye| bye.cseq()?.number.checked_add(1))
            && let Some(Again { client, bytes, .. }) = self.as_new_branch(&bytes, cseq)
        {
            let flow = farewell.flow;
            farewell.bytes.clone_from(&bytes);
            farewell.proofs += 1;
            self.farewells.insert(client, farewell);
            let owner = Owner::Hangup(client, call);
            return self.clients.start(&mut self.io, client, Method::Bye, flow, bytes, owner);
        }
        self.hung_up(call);
    }

    /// A branch is asked for credentials. False: not by another exchange, but by a phone. The caller never sees the
    /// challenge of an exchange: the request is sent again, or has failed.
    pub(super) fn challenged(&mut self, fork: &mut Fork, branch: usize, response: &Message<'_>) -> bool {
        let Some(b) = fork.branches.get(branch) else { return false };
        let place = match fork.kind {
            Kind::Call(call) => self.calls.get(&call).map(|of| (call, b.leg, of)),
            Kind::InDialog { call, dialog, from } => {
                self.calls.get(&call).map(|of| (call, of.leg_index(dialog, other(from)), of))
            }
            Kind::Alone => None,
        };
        let Some((call, leg, of)) = place else { return false };
        let Some(label) = of.legs.get(leg).and_then(Leg::neighbour).cloned() else { return false };
        let is_wanted = !matches!(b.state, BranchState::Unwanted(_)) && !fork.answered;
        let (sent, proofs) = (b.sent.clone(), b.proofs);
        let proved = self.with_credentials(&label, &sent, proofs, response).filter(|_| is_wanted);
        let asked = if fork.request.is_empty() { &fork.skeleton[..] } else { &fork.request };
        let inside =
            Message::parse(asked).ok().and_then(|request| request.cseq()).map_or(0, |cseq| cseq.number);
        let cseq = match (&proved, self.calls.get_mut(&call)) {
            (Some(_), Some(call)) => call.sent_again(leg, fork.method, inside),
            _ => None,
        };
        match proved.zip(cseq).and_then(|(bytes, cseq)| self.as_new_branch(&bytes, cseq)) {
            Some(Again { client, bytes, .. }) => {
                let Some(b) = fork.branches.get_mut(branch) else { return true };
                if !b.skeleton.is_empty() {
                    b.skeleton = hop_skeleton(&bytes);
                }
                b.sent.clone_from(&bytes);
                (b.client, b.state, b.proofs) = (client, BranchState::Trying, proofs + 1);
                let owner = Owner::Fork(fork.id, branch as u16);
                self.clients.start(&mut self.io, client, fork.method, b.flow, bytes, owner);
            }
            None => {
                if let Some(b) = fork.branches.get_mut(branch) {
                    b.state = BranchState::Done;
                }
                // Of one that was sent before a restart nothing is left that could be sent again.
                if is_wanted && !sent.is_empty() {
                    let sentence = format!("{label} does not take our user and password ({label}.password)");
                    self.io.tell(Event::Notice(sentence));
                }
                if is_wanted {
                    fork.fail(500, Vec::new());
                    self.branch_failed(fork);
                }
            }
        }
        true
    }

    /// A request of ours with the credentials that a response asks for. `None`: there are none, they were refused, or
    /// the challenge cannot be answered.
    pub(super) fn with_credentials(
        &mut self,
        label: &Label,
        sent: &[u8],
        proofs: u8,
        response: &Message<'_>,
    ) -> Option<Vec<u8>> {
        let Account { user, password } = self.config.neighbours.get(label)?.account.clone()?;
        let (asks, answers) = match response.status()? {
            401 => (Name::WwwAuthenticate, Name::Authorization),
            _ => (Name::ProxyAuthenticate, Name::ProxyAuthorization),
        };
        let challenges = response.values(asks).filter_map(Challenge::parse);
        let challenge = challenges.max_by_key(|challenge| challenge.strength())?;
        let request = Message::parse(sent).ok()?;
        // A proxy and whoever is behind it may both ask, each for a realm of its own (RFC 3261 §22.3): what was
        // answered to one stays when the other is answered.
        let realm: Vec<u8> = challenge.realm.bytes().collect();
        let before: Vec<&Header> = request
            .lines(answers)
            .filter(|header| {
                Credentials::parse(request.value(header)).is_some_and(|proof| proof.realm.is(&realm))
            })
            .collect();
        if proofs >= MAX_PROOFS || (!before.is_empty() && !challenge.stale) {
            return None;
        }
        let cnonce = self.secret.fresh();
        let value = challenge.answer(
            user.as_bytes(),
            password.reveal().as_bytes(),
            request.method_name(),
            request.uri(),
            &cnonce,
        )?;
        let name: &[u8] =
            if answers == Name::Authorization { b"Authorization: " } else { b"Proxy-Authorization: " };
        let mut edit = Edit::new(&request);
        before.iter().for_each(|header| edit.remove(header.line()));
        let end = request.lines(Name::CSeq).next()?.line().end;
        edit.insert(end, &[name, value.as_bytes(), b"\r\n"]);
        Some(edit.finish())
    }

    /// A request as one that was never sent: with a branch and a CSeq number of its own.
    pub(super) fn as_new_branch(&mut self, bytes: &[u8], cseq: u32) -> Option<Again> {
        let client = self.next_client();
        let request = Message::parse(bytes).ok()?;
        let branch = self.branch_text(client, self.loop_mark(&request));
        let mut edit = Edit::new(&request);
        let old = request.via()?.branch();
        edit.replace(request.span(old), &[b"z9hG4bK", &branch]);
        let value = request.first(Name::CSeq)?;
        let (number, _) = value.split_at(value.iter().take_while(|b| b.is_ascii_digit()).count());
        edit.replace(request.span(number), &[cseq.to_string().as_bytes()]);
        Some(Again { client, bytes: edit.finish(), cseq })
    }
}

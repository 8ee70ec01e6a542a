//! Forks: one request, one or more branches, the best response (RFC 3261 §16, "response context").

use std::collections::VecDeque;
use std::time::Duration;

use super::Switch;
use super::call::{Call, Phase};
use super::flow::{Flow, Transport};
use super::forward::{Backward, Onward, via};
use super::io::Timer;
use super::negotiation::Lines;
use super::persona::restore;
use super::relaying::Unfit;
use super::secret::Purpose;
use super::timer::T1_64;
use super::transaction::{ClientId, MAX_FINISHED, Owner, ServerKey};
use crate::config::{Label, Number, Target};
use crate::media::Side;
use crate::sip::{Message, Method, Name, Response, check_response, decimal};

/// The most branches that one request is forked to; further phones are not tried.
pub(super) const MAX_BRANCHES: usize = 32;

/// Into how many branches a request may be forked on its whole way if it says nothing (RFC 5393 §5.3.3.1).
const MAX_BREADTH: usize = 60;

/// Timer C: how long an INVITE may ring without any news (RFC 3261 §16.6, step 11: more than 3 min).
const TIMER_C: Duration = Duration::from_secs(185);

/// A request under way.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) id: u64,
    pub(super) server: ServerKey,
    /// Where its responses go.
    pub(super) reply: Flow,
    pub(super) method: Method,
    /// The request as it came; empty once it was answered.
    pub(super) request: Vec<u8>,
    /// What of a call's INVITE is needed to answer it; empty for any other request.
    pub(super) skeleton: Box<[u8]>,
    pub(super) kind: Kind,
    pub(super) branches: Vec<Branch>,
    /// Its Max-Breadth.
    breadth: usize,
    /// The best final response so far that is no 2xx.
    pub(super) best: Option<Best>,
    /// denwa itself asks: what is answered is for nobody else.
    pub(super) own: bool,
    /// A final response was passed on.
    pub(super) answered: bool,
    /// Which; 0 for none.
    pub(super) status: u16,
    /// The ACK of one that is no 2xx came.
    pub(super) acknowledged: bool,
    /// And all branches have had theirs: it is kept for repeated 2xx alone.
    over: bool,
    /// The offer that it carried.
    pub(super) offer: Option<Lines>,
    /// It asks for encrypted sound and nothing else, with keys that only TLS hides.
    pub(super) needs_keys: bool,
    /// Its Contact: what becomes the sender's remote target if it succeeds (RFC 3261 §12.2.1.1).
    pub(super) contact: Option<Box<[u8]>>,
    /// When timer C comes.
    pub(super) patience: super::Instant,
    /// Whose phones ring now; their forwards are tried next.
    pub(super) stage: Option<Number>,
    /// Goes up with each stage.
    pub(super) stages: u32,
    /// When they have rung long enough, if that is limited.
    pub(super) stage_ends: super::Instant,
    /// What is tried next if this is not answered.
    pub(super) next: VecDeque<Onto>,
    /// To tags of answers that came too late and were ended, at most [`super::call::MAX_DIALOGS`].
    pub(super) losers: Vec<Box<[u8]>>,
}

/// A way by which a call may leave for another exchange.
#[derive(Clone, Debug)]
pub(super) struct Onto {
    pub(super) label: Label,
    pub(super) target: Target,
    pub(super) flow: Flow,
    /// What it is asked for.
    pub(super) number: String,
}

/// What a fork is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The INVITE of a call.
    Call(u64),
    /// Any other request outside a dialog.
    Alone,
    /// A request inside a dialog, from one of its sides.
    InDialog {
        /// Which call.
        call: u64,
        /// Which of its dialogs.
        dialog: usize,
        /// Who asked.
        from: Side,
    },
}

/// One of the places that a request went to.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) client: ClientId,
    pub(super) state: BranchState,
    /// The leg of the call, for [`Kind::Call`].
    pub(super) leg: usize,
    /// Whose phone it is.
    pub(super) number: Option<Number>,
    /// Into how many it may be forked further on.
    pub(super) breadth: usize,
    /// Where it went.
    pub(super) flow: Flow,
    /// What of a call's INVITE, as it was sent, is needed to cancel it; empty for any other request.
    pub(super) skeleton: Box<[u8]>,
    /// To another exchange: the request as it was sent, until that is no longer wanted, and how often it was sent
    /// with credentials.
    pub(super) sent: Vec<u8>,
    pub(super) proofs: u8,
}

/// How far a branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchState {
    /// No response yet.
    Trying,
    /// A provisional one.
    Ringing,
    /// No longer wanted: CANCEL is sent, or will be with the first provisional response; the text
    /// says why. A 2xx that comes all the same is ended.
    Unwanted(&'static [u8]),
    /// It had its final response.
    Done,
}

/// A final response that is no 2xx.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) status: u16,
    /// As it came; empty for what denwa made up itself.
    pub(super) bytes: Vec<u8>,
    /// Nobody said so: a branch was not tried, for it could not have what the offer insists on.
    pub(super) unfit: Option<Unfit>,
}

/// Why branches are cancelled (RFC 3326).
pub(super) const ELSEWHERE: &[u8] = b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n";
/// Nobody took the call in time, or the caller gave up.
pub(super) const NO_REASON: &[u8] = b"";

impl Fork {
    /// One that was put on record by the process before.
    pub(super) fn restored(id: u64, kind: Kind, reply: Flow, skeleton: &[u8], branches: Vec<Branch>) -> Fork {
        Fork {
            id,
            server: ServerKey::default(),
            reply,
            method: Method::Invite,
            request: skeleton.to_vec(),
            skeleton: skeleton.into(),
            kind,
            branches,
            breadth: 0,
            best: None,
            own: false,
            answered: false,
            status: 0,
            acknowledged: false,
            offer: None,
            needs_keys: false,
            contact: None,
            patience: super::Instant::default(),
            stage: None,
            stages: 0,
            stage_ends: super::Instant::default(),
            over: false,
            next: VecDeque::new(),
            losers: Vec::new(),
        }
    }

    /// Whether nothing of it is under way any more.
    pub(super) fn is_settled(&self) -> bool {
        let is_heard = self.answered && (self.status < 300 || self.acknowledged);
        is_heard && self.branches.iter().all(|b| b.state == BranchState::Done)
    }

    /// How many more branches there may be now: a bound on all of them, and what Max-Breadth leaves
    /// of that which is still under way (RFC 5393 §5.3.3).
    pub(super) fn room(&self) -> usize {
        self.breadth_left().min(MAX_BRANCHES.saturating_sub(self.branches.len()))
    }

    /// Shares what is left of Max-Breadth among as many new branches.
    pub(super) fn share(&self, branches: usize) -> usize {
        self.breadth_left() / branches.max(1)
    }

    fn breadth_left(&self) -> usize {
        let runs = |b: &&Branch| matches!(b.state, BranchState::Trying | BranchState::Ringing);
        let taken: usize = self.branches.iter().filter(runs).map(|b| b.breadth).sum();
        self.breadth.saturating_sub(taken)
    }

    /// Whether all branches have had their say.
    pub(super) fn is_done(&self) -> bool {
        self.branches.iter().all(|b| matches!(b.state, BranchState::Done | BranchState::Unwanted(_)))
    }

    /// Remembers the better of two failures (RFC 3261 §16.7, step 6). A 6xx speaks for its own
    /// branch only: one Decline must not silence the house.
    pub(super) fn fail(&mut self, status: u16, bytes: Vec<u8>) {
        let rank = |status: u16| match status {
            // The caller can do something about these.
            401 | 407 | 415 | 420 | 484 | 488 => 0,
            486 | 600 => 1,
            603..=699 => 2,
            400..=499 if status != 408 => 3,
            300..=399 => 4,
            408 => 5,
            _ => 6,
        };
        let is_better = |best: &Best| best.unfit.is_some() || rank(status) < rank(best.status);
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(Best { status, bytes, unfit: None });
        }
    }

    /// Whether it may go out on a flow. If not, that counts as a failure, and for less than what anybody says who
    /// was asked.
    pub(super) fn fits(&mut self, flow: &Flow) -> bool {
        let fits = !self.needs_keys || flow.transport == Transport::Tls;
        if !fits && self.best.is_none() {
            self.best = Some(Best { status: 488, bytes: Vec::new(), unfit: Some(Unfit::NeedsKeys) });
        }
        fits
    }
}

impl Switch {
    /// Opens a fork for a request whose server transaction is open.
    pub(super) fn open_fork(
        &mut self,
        server: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        kind: Kind,
    ) -> u64 {
        self.made += 1;
        let id = self.made;
        let method = request.method().unwrap_or(Method::Other);
        self.servers.set_fork(server, id);
        let skeleton = match (method, kind) {
            (Method::Invite, Kind::Call(_) | Kind::InDialog { .. }) => skeleton(request, &ANSWER),
            _ => Box::default(),
        };
        self.forks.insert(
            id,
            Fork {
                id,
                server,
                reply,
                method,
                request: request.bytes().to_vec(),
                skeleton,
                kind,
                branches: Vec::new(),
                breadth: breadth(request),
                best: None,
                own: false,
                answered: false,
                status: 0,
                acknowledged: false,
                offer: None,
                needs_keys: false,
                contact: None,
                patience: self.io.now + TIMER_C,
                stage: None,
                stages: 0,
                stage_ends: self.io.now,
                over: false,
                next: VecDeque::new(),
                losers: Vec::new(),
            },
        );
        if method == Method::Invite {
            self.io.arm_for(self.io.now + TIMER_C, Timer::TimerC(id));
        }
        id
    }

    /// Sends a fork's request on a flow as one more branch. `onward` is completed with Via, source
    /// and realm here.
    pub(super) fn branch_out(
        &mut self,
        fork: &mut Fork,
        request: &Message<'_>,
        flow: Flow,
        onward: Onward<'_>,
        leg: usize,
        number: Option<Number>,
    ) {
        let client = self.next_client();
        let branch = self.branch_text(client, self.loop_mark(request));
        let via = via(&self.config, &flow, &branch);
        let onward = Onward {
            via: &via,
            source: fork.reply.remote,
            realm: super::auth::Authenticator::realm(&self.config),
            stream: flow.is_reliable(),
            ..onward
        };
        let bytes = onward.apply(request);
        let index = fork.branches.len() as u16;
        let breadth = onward.breadth.unwrap_or_default();
        let skeleton = if fork.skeleton.is_empty() { Box::default() } else { hop_skeleton(&bytes) };
        let state = BranchState::Trying;
        let sent = if onward.alias.is_some() { bytes.clone() } else { Vec::new() };
        fork.branches.push(Branch { client, state, leg, number, breadth, flow, skeleton, sent, proofs: 0 });
        self.clients.start(&mut self.io, client, fork.method, flow, bytes, Owner::Fork(fork.id, index));
    }

    /// A number for a client transaction that none had before.
    pub(super) fn next_client(&mut self) -> ClientId {
        self.clients_made += 1;
        self.clients_made & 0xff_ffff_ffff
    }

    /// The part of a branch that is ours: the transaction's number and the loop mark, sealed, so
    /// that nobody can answer what denwa did not ask.
    pub(super) fn branch_text(&self, client: ClientId, mark: u32) -> super::secret::Sealed {
        let payload = client << 24 | u64::from(mark & 0xff_ffff);
        self.secret.seal(Purpose::Branch, &payload.to_be_bytes(), b"")
    }

    /// What must differ between two visits of a request for it not to loop (RFC 5393 §4.2).
    pub(super) fn loop_mark(&self, request: &Message<'_>) -> u32 {
        let route = request.first(crate::sip::Name::Route).unwrap_or_default();
        let cseq = request.cseq().map_or(0, |c| c.number).to_be_bytes();
        let parts: [&[u8]; 7] = [
            request.uri(),
            request.from_tag(),
            request.to_tag(),
            request.call_id(),
            &cseq,
            request.method_name(),
            route,
        ];
        (self.secret.mac(Purpose::Loop, &parts) & 0xff_ffff) as u32
    }

    /// A response whose topmost branch is ours.
    pub(super) fn response(&mut self, response: &Message<'_>) {
        if !check_response(response) {
            return;
        }
        let Some(via) = response.via() else { return };
        let Some(text) = via.branch().strip_prefix(b"z9hG4bK") else { return };
        let Some(payload) = self.secret.open::<8>(Purpose::Branch, text, b"") else { return };
        let client = u64::from_be_bytes(payload) >> 24;
        match self.clients.response(&mut self.io, client, response) {
            Some(Owner::Fork(fork, branch)) => self.fork_response(fork, branch, response),
            Some(Owner::Hangup(bye, call)) if response.status().is_some_and(|status| status >= 200) => {
                self.goodbye_answered(bye, call, Some(response));
            }
            Some(Owner::Register(host)) => self.registration_answered(host, Some(response)),
            Some(Owner::Probe(host, way)) => self.probed(host, way, true),
            Some(Owner::Hangup(..) | Owner::Nobody) => {}
            None => {
                self.registrar.answered(self.io.now, client);
            }
        }
    }

    /// A client transaction had no final response in time.
    pub(super) fn client_timed_out(&mut self, owner: Owner) {
        match owner {
            Owner::Nobody => {}
            Owner::Hangup(bye, call) => self.goodbye_answered(bye, call, None),
            Owner::Register(host) => self.registration_answered(host, None),
            Owner::Probe(host, way) => self.probed(host, way, false),
            Owner::Fork(fork, branch) => self.with_fork(fork, |switch, fork| {
                let Some(state) = fork.branches.get_mut(usize::from(branch)).map(|b| &mut b.state) else {
                    return;
                };
                let wanted = !matches!(state, BranchState::Unwanted(_));
                *state = BranchState::Done;
                if wanted {
                    fork.fail(408, Vec::new());
                    switch.branch_failed(fork);
                }
            }),
        }
    }

    /// Takes a fork out, works on it, and puts it back unless it is finished.
    pub(super) fn with_fork(&mut self, id: u64, work: impl FnOnce(&mut Switch, &mut Fork)) {
        let Some(mut fork) = self.forks.remove(&id) else { return };
        work(self, &mut fork);
        let over = fork.answered && fork.branches.iter().all(|b| b.state == BranchState::Done);
        // An INVITE's 2xx may come again, and must find its way.
        if over && fork.method != Method::Invite {
            if let (Method::Bye, Kind::InDialog { call, .. }) = (fork.method, fork.kind) {
                self.hung_up(call);
            }
            return;
        }
        if over && !fork.over {
            fork.over = true;
            self.io.arm(T1_64, Timer::ForgetFork(id));
            self.over.push_back(id);
            if self.over.len() > MAX_FINISHED
                && let Some(oldest) = self.over.pop_front()
            {
                self.forks.remove(&oldest);
            }
        }
        self.forks.insert(id, fork);
    }

    fn fork_response(&mut self, fork: u64, branch: u16, response: &Message<'_>) {
        let branch = usize::from(branch);
        let Some(status) = response.status() else { return };
        self.with_fork(fork, |switch, fork| {
            if !switch.is_aliased(fork, branch) {
                return switch.branch_response(fork, branch, status, response, response);
            }
            if matches!(status, 401 | 407) && switch.challenged(fork, branch, response) {
                return;
            }
            if let Kind::InDialog { call, .. } = fork.kind
                && !switch.calls.contains_key(&call)
            {
                // Nobody knows any more what it would have to be called.
                if status >= 200 {
                    fork.branches.iter_mut().for_each(|branch| branch.state = BranchState::Done);
                    switch.answer_fork(fork, status, b"");
                }
                return;
            }
            let request = if fork.request.is_empty() { fork.skeleton.to_vec() } else { fork.request.clone() };
            let restored =
                Message::parse(&request).map(|request| restore(response, &request, fork.reply.remote));
            if let Ok(Ok(message)) = restored.as_deref().map(Message::parse) {
                switch.branch_response(fork, branch, status, &message, response);
            }
        });
    }

    /// A response as whoever asked knows it, and as it came.
    fn branch_response(
        &mut self,
        fork: &mut Fork,
        branch: usize,
        status: u16,
        response: &Message<'_>,
        came: &Message<'_>,
    ) {
        match fork.kind {
            Kind::Call(call) => self.call_response(fork, call, branch, status, response, came),
            Kind::InDialog { call, dialog, from } => {
                self.dialog_response(fork, call, dialog, from, status, response);
            }
            Kind::Alone => self.alone_response(fork, branch, status, response),
        }
    }

    /// Whether a request is called otherwise where a branch went than where it came from.
    fn is_aliased(&self, fork: &Fork, branch: usize) -> bool {
        let has_persona =
            |call: &Call, leg: usize| call.legs.get(leg).is_some_and(|leg| leg.persona.is_some());
        let ends = match fork.kind {
            Kind::Alone => None,
            Kind::Call(call) => {
                self.calls.get(&call).zip(fork.branches.get(branch)).map(|(call, branch)| (call, branch.leg))
            }
            Kind::InDialog { call, dialog, .. } => {
                self.calls.get(&call).map(|call| (call, call.leg_index(dialog, Side::B)))
            }
        };
        match ends {
            Some((call, leg)) => has_persona(call, 0) || has_persona(call, leg),
            // Its call is forgotten, but what was sent is not.
            None => fork.branches.get(branch).is_some_and(|branch| !branch.sent.is_empty()),
        }
    }

    fn alone_response(&mut self, fork: &mut Fork, branch: usize, status: u16, response: &Message<'_>) {
        let Some(state) = fork.branches.get_mut(branch).map(|b| &mut b.state) else { return };
        if status == 100 {
            return;
        }
        if status < 200 {
            *state = BranchState::Ringing;
        } else {
            *state = BranchState::Done;
        }
        if fork.answered {
            return;
        }
        match status {
            ..300 => self.pass_back(fork, status, response, &plain(fork)),
            _ => {
                fork.fail(status, response.bytes().to_vec());
                self.branch_failed(fork);
            }
        }
    }

    /// Sends a response of a branch to where the fork's request came from.
    pub(super) fn pass_back(
        &mut self,
        fork: &mut Fork,
        status: u16,
        response: &Message<'_>,
        back: &Backward<'_>,
    ) {
        match fork.own {
            true => self.own_response(fork, status, Some(response)),
            false => {
                let bytes = back.apply(response);
                self.servers.respond(&mut self.io, fork.server, status, bytes);
            }
        }
        if status >= 200 {
            (fork.answered, fork.status) = (true, status);
            fork.request = Vec::new();
        }
    }

    /// Answers a fork's request itself.
    pub(super) fn answer_fork(&mut self, fork: &mut Fork, status: u16, headers: &[u8]) {
        if fork.answered {
            return;
        }
        let request = std::mem::take(&mut fork.request);
        if fork.own {
            self.own_response(fork, status, None);
        } else if let Ok(request) = Message::parse(&request) {
            let tag = self.secret.tag(&[request.call_id(), request.from_tag(), &fork.id.to_be_bytes()]);
            let response =
                Response { headers, ..Response::new(status, &tag, fork.reply.remote) }.print(&request);
            self.servers.respond(&mut self.io, fork.server, status, response);
        }
        (fork.answered, fork.status) = (true, status);
    }

    /// A branch failed: if it was the last one, something else is tried, or the best answer goes back.
    pub(super) fn branch_failed(&mut self, fork: &mut Fork) {
        if fork.answered || !fork.is_done() {
            return;
        }
        if let Kind::Call(call) = fork.kind {
            return self.stage_failed(fork, call);
        }
        self.send_best(fork);
    }

    /// Sends the best of all failures back. Returns its status.
    pub(super) fn send_best(&mut self, fork: &mut Fork) -> u16 {
        let Some(best) = fork.best.take() else {
            self.answer_fork(fork, 480, b"");
            return 480;
        };
        if let Some(why) = best.unfit {
            return self.refuse_offer(fork, why);
        }
        // A phone's 503 would make the caller give up on the whole exchange (§16.7, step 6), and
        // where it redirects to is nowhere that denwa would send a call.
        let status = match best.status {
            503 => 500,
            300..=399 => 480,
            status => status,
        };
        match Message::parse(&best.bytes) {
            Ok(response) if status == best.status => {
                let back = plain(fork);
                self.pass_back(fork, status, &response, &back);
            }
            _ => self.answer_fork(fork, status, b""),
        }
        status
    }

    /// Cancels every branch that has no final response.
    pub(super) fn cancel_branches(&mut self, fork: &mut Fork, reason: &'static [u8]) {
        for branch in &mut fork.branches {
            match branch.state {
                BranchState::Trying => branch.state = BranchState::Unwanted(reason),
                BranchState::Ringing => {
                    branch.state = BranchState::Unwanted(reason);
                    self.clients.cancel(&mut self.io, branch.client, reason);
                }
                BranchState::Unwanted(_) | BranchState::Done => {}
            }
        }
    }

    /// An INVITE's timer C: nothing new for too long.
    pub(super) fn timer_c(&mut self, id: u64) {
        let now = self.io.now;
        self.with_fork(id, |switch, fork| {
            if fork.answered {
                return;
            }
            if now < fork.patience {
                return switch.io.arm_for(fork.patience, Timer::TimerC(id));
            }
            switch.cancel_branches(fork, NO_REASON);
            fork.fail(408, Vec::new());
            switch.branch_failed(fork);
        });
    }

    /// News of an INVITE: it may ring on.
    pub(super) fn extend_patience(&mut self, fork: &mut Fork) {
        fork.patience = self.io.now + TIMER_C;
    }

    /// CANCEL (RFC 3261 §9.2, §16.10).
    pub(super) fn cancel_request(&mut self, reply: Flow, request: &Message<'_>) {
        let invite = self.server_key(&reply, request, b"INVITE");
        let own = self.server_key(&reply, request, b"CANCEL");
        if self.servers.request(&mut self.io, own) == super::transaction::Seen::Again {
            return;
        }
        let Some(fork) = self.servers.fork(invite) else {
            return self.refuse(reply, request, 481, b"");
        };
        self.servers.open(own, Method::Cancel, reply);
        let tag = self.secret.tag(&[request.call_id(), request.from_tag()]);
        let ok = Response::new(200, &tag, reply.remote).print(request);
        self.servers.respond(&mut self.io, own, 200, ok);
        let Some(fork) = fork.filter(|_| self.servers.is_open(invite)) else { return };
        self.with_fork(fork, |switch, fork| {
            if fork.answered {
                return;
            }
            switch.cancel_branches(fork, NO_REASON);
            // The caller is answered at once: a branch that is silent must not keep it waiting.
            // A 2xx that crosses the CANCEL is acknowledged and ended by denwa.
            if let Kind::Call(call) = fork.kind {
                switch.answer_fork(fork, 487, b"");
                switch.call_over(call, super::Cause::Cancelled);
            }
        });
    }

    /// Whether a call's INVITE has no final answer yet.
    pub(super) fn is_ringing(&self, call: u64) -> bool {
        self.calls.get(&call).is_some_and(|call| call.phase == Phase::Ringing)
    }
}

/// The header fields of an INVITE that are needed to answer it, by another exchange's words too.
const ANSWER: [Name; 8] = [
    Name::Via,
    Name::RecordRoute,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Require,
    Name::SessionExpires,
];

/// The header fields that the CANCEL and the ACK of an INVITE share with it (RFC 3261 §9.1, §17.1.1.3).
const HOP: [Name; 7] =
    [Name::Via, Name::Route, Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards];

/// What of an INVITE as it was sent is needed to cancel it.
pub(super) fn hop_skeleton(sent: &[u8]) -> Box<[u8]> {
    Message::parse(sent).map(|sent| skeleton(&sent, &HOP)).unwrap_or_default()
}

/// A request with no header fields but these, and no body.
fn skeleton(request: &Message<'_>, keep: &[Name]) -> Box<[u8]> {
    let headers = request.headers();
    let start = headers.first().map_or(0, |first| first.line().start);
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&request.bytes()[..start]);
    for header in headers.iter().filter(|header| keep.contains(&header.name)) {
        bytes.extend_from_slice(&request.bytes()[header.line()]);
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}

/// Into how many branches a request may still be forked.
pub(super) fn breadth(request: &Message<'_>) -> usize {
    let said = request.first(Name::MaxBreadth).and_then(decimal);
    said.map_or(MAX_BREADTH, |said| usize::try_from(said).unwrap_or(MAX_BREADTH).min(MAX_BREADTH))
}

/// A response that needs nothing but our Via off.
fn plain(fork: &Fork) -> Backward<'static> {
    Backward { record_route: None, routes: None, contact: None, body: None, stream: fork.reply.is_reliable() }
}

//! What to do with a request: the steps of RFC 3261 §16.3 to §16.5 in their order.

use super::Switch;
use super::auth::Verdict;
use super::call::{Leg, Party};
use super::dialog::Place;
use super::flow::{Flow, Transport};
use super::fork::Kind;
use super::forward::{Onward, contact_uri};
use super::registrar::{Binding, Moved};
use super::route::Destination;
use super::secret::Purpose;
use super::token::Token;
use super::transaction::{Seen, ServerKey};
use crate::config::{Identity, Label, Neighbour, Number};
use crate::guard::Lesson;
use crate::sip::{
    Defect, Host, MAX_HEADERS, Message, Method, Name, NameAddr, Uri, check_request, decimal, printable,
    reason_phrase,
};

/// What denwa itself understands.
pub(super) const ALLOW: &[u8] =
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, INFO, PRACK, UPDATE, REFER, NOTIFY\r\n";

/// How many Vias are looked through for our own, and so how long a loop can get unseen.
const MAX_VIAS: usize = 70;

/// How many Route values are looked through for our own. Each is held against the Call-ID, and both may
/// be as long as the request: anybody could make one that takes as long as hundreds of others.
const MAX_OWN_ROUTES: usize = 8;

/// The longest request that is served, in bytes: what a proxy adds (a Path, a longer Request-URI, our
/// addresses in the body) must still fit into a datagram.
const MAX_REQUEST: usize = 56_000;

/// The most header lines of one: with those that a proxy adds, its CANCEL is still found in it.
const MAX_REQUEST_HEADERS: usize = MAX_HEADERS - 8;

/// The part of a request's route that is ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnRoutes {
    /// How many Route values from the top; at most [`MAX_OWN_ROUTES`].
    pub(super) count: usize,
    /// The token in them, or in the Request-URI; not yet held against a call.
    pub(super) token: Option<Token>,
    /// The Request-URI is our Record-Route URI: a strict router was there before (§16.4).
    pub(super) strict: bool,
}

impl Switch {
    /// A request came. `credit`: a challenge may be longer than it.
    pub(super) fn request(&mut self, flow: Flow, request: &Message<'_>, credit: bool) {
        let Some(method) = request.method() else { return };
        let Some(reply) = reply_flow(&flow, request) else { return };
        match check_request(request) {
            Ok(()) => {}
            Err(Defect::Unanswerable) => return self.give_up(&flow, request),
            Err(Defect::Answer(..)) if method == Method::Ack => return,
            Err(Defect::Answer(status, reason)) => {
                self.refuse_with(reply, request, status, reason, b"");
                return self.give_up(&flow, request);
            }
        }
        let key = self.server_key(
            &reply,
            request,
            if method == Method::Ack { b"INVITE" } else { request.method_name() },
        );
        match method {
            Method::Ack => {
                let fork = self.servers.fork(key).flatten();
                if !self.servers.ack(&mut self.io, key) {
                    self.ack(reply, request);
                } else if let Some(fork) = fork.and_then(|fork| self.forks.get_mut(&fork)) {
                    fork.acknowledged = true;
                }
                return;
            }
            Method::Cancel => return self.cancel_request(reply, request),
            _ => {}
        }
        if self.servers.request(&mut self.io, key) == Seen::Again {
            return;
        }
        if !self.servers.has_room() {
            return self.refuse(reply, request, 503, b"Retry-After: 10\r\n");
        }
        if self.loops(request) {
            return self.refuse(reply, request, 482, b"");
        }
        if request.bytes().len() > MAX_REQUEST || request.headers().len() > MAX_REQUEST_HEADERS {
            return self.refuse(reply, request, 513, b"");
        }

        let routes = self.own_routes(request);
        if !request.to_tag().is_empty() && !matches!(method, Method::Register) {
            return match self.place(request, &routes) {
                Some(_) if hops_are_used_up(request) => self.refuse(reply, request, 483, b""),
                Some(place) => {
                    self.servers.open(key, method, reply);
                    self.in_dialog(key, reply, request, place, &routes);
                }
                None => self.refuse(reply, request, 481, b""),
            };
        }
        self.outside_dialogs(key, reply, request, method, &routes, credit);
    }

    fn outside_dialogs(
        &mut self,
        key: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        method: Method,
        routes: &OwnRoutes,
        credit: bool,
    ) {
        let uri = Uri::parse(request.uri());
        let has_proved = || self.neighbours.proved(&self.config, &reply).is_some();
        let is_joined = || self.neighbours.knows(reply.source()) || has_proved();
        let for_us = uri.is_some_and(|uri| uri.user.is_none() && (self.is_ours(&uri.host) || is_joined()));
        match method {
            Method::Bye | Method::Prack | Method::Update => return self.refuse(reply, request, 481, b""),
            // Anybody may ask, so nothing is kept of it.
            Method::Options if for_us => {
                let headers = [ALLOW, b"Accept: application/sdp\r\n"].concat();
                return self.refuse(reply, request, 200, &headers);
            }
            Method::Subscribe => return self.refuse(reply, request, 489, b"Allow-Events: refer\r\n"),
            Method::Publish => return self.refuse(reply, request, 405, ALLOW),
            _ => {}
        }
        if hops_are_used_up(request) && method != Method::Register {
            return self.refuse(reply, request, 483, b"");
        }
        if super::fork::breadth(request) == 0 && method != Method::Register {
            return self.refuse(reply, request, 440, b"");
        }
        // Without one it is of RFC 2543; with such a one the requests of its dialog have nowhere to go.
        let contact = request.first(Name::Contact);
        if method == Method::Invite && contact.is_some() && contact_uri(request).is_none() {
            return self.refuse_with(reply, request, 400, "Bad Contact", b"");
        }
        if let Some(extensions) = request.first(Name::ProxyRequire) {
            let headers = [b"Unsupported: ", extensions, b"\r\n"].concat();
            return self.refuse(reply, request, 420, &headers);
        }
        let Some(party) = self.authenticate(reply, request, credit) else { return };
        self.servers.open(key, method, reply);
        let number = match (&party, method) {
            (Party::Neighbour(_), Method::Invite) => {
                return self.invite(key, reply, request, party, routes.count);
            }
            (Party::Phone(number), _) => number.clone(),
            (Party::Neighbour(_) | Party::Inside, _) => return self.answer(key, reply, request, 405, ALLOW),
        };
        if method == Method::Register {
            return self.register(key, reply, request, &number);
        }
        if let Some(moved) = self.registrar.reconnected(self.io.now, &number, reply) {
            self.moved(moved);
        }
        if !self.may_be_from(&number, request) {
            self.refused(
                &reply,
                request,
                number.as_str(),
                &format!("From names another extension (ext.{number}.identity)"),
                true,
            );
            return self.answer(key, reply, request, 403, b"");
        }
        match method {
            Method::Invite => self.invite(key, reply, request, party, routes.count),
            _ => self.alone(key, reply, request, &number, routes.count),
        }
    }

    /// Another exchange that is known by its certificate or by its address alone, and sends this. One that has a
    /// password is asked for it as everybody is.
    fn known_neighbour(&self, reply: &Flow, request: &Message<'_>) -> Option<&Label> {
        let uri = Uri::parse(request.uri());
        if let Some(label) = uri.and_then(|uri| self.trunk_of_contact(&uri)) {
            return Some(label);
        }
        if let Some(label) = self.neighbours.proved(&self.config, reply) {
            return Some(label);
        }
        // Of two that share an address, the one with a password must not pass for the other.
        self.near(reply, request, Neighbour::is_known_by_address)
    }

    /// The exchange that sends this by its address, if all that may are of a kind. Where an exchange and a phone share
    /// an address, who says to be an extension is asked.
    fn near(
        &self,
        reply: &Flow,
        request: &Message<'_>,
        is_of_kind: impl Fn(&Neighbour) -> bool,
    ) -> Option<&Label> {
        let (near, is_exact) = self.neighbours.at(reply);
        let from = request.from().and_then(|from| from.sip_uri());
        let is_ours = |uri: Uri<'_>| {
            let number = uri.number().unwrap_or_default();
            self.is_ours(&uri.host) && self.config.extensions.contains_key(number.as_str())
        };
        if request.method() == Some(Method::Register) || (!is_exact && from.is_some_and(is_ours)) {
            return None;
        }
        let is_of_kind = |label: &&Label| self.config.neighbours.get(*label).is_some_and(&is_of_kind);
        near.iter().all(is_of_kind).then(|| near.first().copied()).flatten()
    }

    /// Whoever proves to be an extension or another exchange is let in; everybody else was challenged, or ignored.
    fn authenticate(&mut self, reply: Flow, request: &Message<'_>, credit: bool) -> Option<Party> {
        let source = reply.source();
        if let Some(label) = self.known_neighbour(&reply, request).cloned() {
            // By a configuration that is younger than the connection.
            if self.neighbours.proved(&self.config, &reply).is_some() {
                self.io.teach(Lesson::Authenticated { source, stream: reply.stream.0 });
            }
            return Some(Party::Neighbour(label));
        }
        if let Some(label) = self.near(&reply, request, Neighbour::is_known_by_certificate) {
            // It has no password to be asked for.
            let why = format!("{label} does not show its certificate ({label}.pin), and has no password");
            self.refused(&reply, request, &self.dialled(request), &why, true);
            let reason = format!("Reason: SIP;cause=403;text=\"{why}\"\r\n");
            self.refuse_with(reply, request, 403, "Certificate Needed", reason.as_bytes());
            return None;
        }
        let near: Vec<Label> = self.neighbours.at(&reply).0.into_iter().cloned().collect();
        let verdict = self.auth.judge(&self.secret, &self.config, self.io.now, source, &near, request);
        match &verdict {
            Verdict::Is(number) => {
                self.annals.unproved.answered(source, number.as_str());
                self.io.teach(Lesson::Authenticated { source, stream: reply.stream.0 });
                return Some(Party::Phone(number.clone()));
            }
            Verdict::Neighbour(label) => {
                self.io.teach(Lesson::Authenticated { source, stream: reply.stream.0 });
                return Some(Party::Neighbour(label.clone()));
            }
            Verdict::Wrong { claimed, outside, .. } => {
                let known = self.config.extensions.contains_key(claimed.as_str());
                let unproved = if known { &mut self.annals.unproved } else { &mut self.annals.unknown };
                unproved.answered(source, claimed);
                // The same work for those that exist and those that do not.
                let why = match outside {
                    true => format!("the password is right, but not from there (ext.{claimed}.allow)"),
                    false => {
                        let what = if known { "wrong password" } else { "no such extension" };
                        format!("{what} (ext.{claimed})")
                    }
                };
                self.refused(&reply, request, claimed, &why, known);
                let number = printable(claimed.as_bytes(), 64);
                self.io.teach(Lesson::Failed { source, number });
            }
            Verdict::Missing | Verdict::Stale => self.note_unproved(&reply, request),
        }
        self.challenge(reply, request, credit, &verdict);
        None
    }

    /// Remembers an extension that has still to prove itself.
    fn note_unproved(&mut self, reply: &Flow, request: &Message<'_>) {
        let claimed = match request.method() {
            Some(Method::Register) => request.to(),
            _ => request.from(),
        };
        let number = claimed.and_then(|address| address.sip_uri()).and_then(|uri| uri.number());
        if let Some(number) = number {
            let agent = || printable(request.first(Name::UserAgent).unwrap_or_default(), 64);
            let known = self.config.extensions.contains_key(number.as_str());
            let unproved = if known { &mut self.annals.unproved } else { &mut self.annals.unknown };
            unproved.asked(self.io.now, reply.remote, &number, agent);
        }
    }

    /// Whether an extension may write this From: its own number, or none (RFC 3261 §22, RFC 3323).
    fn may_be_from(&self, number: &Number, request: &Message<'_>) -> bool {
        if self.config.extensions.get(number).is_some_and(|e| e.identity == Identity::Any) {
            return true;
        }
        let Some(uri) = request.from().and_then(|from| from.sip_uri()) else { return false };
        let anonymous = uri.user.is_none_or(|user| user.eq_ignore_ascii_case(b"anonymous"));
        anonymous || uri.number().is_some_and(|user| user == number.as_str())
    }

    /// A request outside a dialog that is no INVITE: MESSAGE, out-of-dialog REFER, whatever comes.
    fn alone(&mut self, key: ServerKey, reply: Flow, request: &Message<'_>, number: &Number, pop: usize) {
        let dialled = self.dialled(request);
        let numbers = match Destination::of(&self.config, &dialled) {
            Destination::Extension(number) => vec![number],
            Destination::Group(members) => members,
            Destination::Echo => return self.answer(key, reply, request, 405, ALLOW),
            // For the exchange itself, and nothing that it knows (RFC 3261 §8.2.1).
            Destination::Unknown if dialled.is_empty() && request.method() == Some(Method::Other) => {
                return self.answer(key, reply, request, 501, ALLOW);
            }
            Destination::Neighbours(_) | Destination::Closed(_) | Destination::Unknown => {
                return self.answer(key, reply, request, 404, b"");
            }
        };
        let now = self.io.now;
        let phones: Vec<Binding> = numbers
            .iter()
            .flat_map(|n| self.registrar.alive(n.as_str(), now))
            .filter(|b| b.flow != reply)
            .take(super::fork::MAX_BRANCHES.min(super::fork::breadth(request)))
            .cloned()
            .collect();
        if phones.is_empty() {
            return self.answer(key, reply, request, 480, b"");
        }
        if !self.clients.has_room() {
            return self.answer(key, reply, request, 503, b"Retry-After: 10\r\n");
        }
        let fork = self.open_fork(key, reply, request, Kind::Alone);
        self.with_fork(fork, |switch, fork| {
            let share = fork.share(phones.len());
            for phone in &phones {
                let name = switch.config.extensions.get(number).and_then(|e| e.name.as_deref());
                let identity = switch.identity_of(name, number, &phone.flow, request);
                let onward = Onward {
                    uri: Some(phone.target()),
                    pop,
                    routes: &phone.path,
                    breadth: Some(share),
                    identity: &identity,
                    ..Onward::untouched()
                };
                switch.branch_out(fork, request, phone.flow, onward, 0, None);
            }
        });
    }

    /// An ACK that belongs to no transaction: of a 2xx, or of nothing.
    fn ack(&mut self, reply: Flow, request: &Message<'_>) {
        let routes = self.own_routes(request);
        if hops_are_used_up(request) {
            return;
        }
        if let Some(place) = self.place(request, &routes) {
            let Place { call, .. } = place;
            self.inside_acknowledged(call);
            self.ack_in_dialog(reply, request, place, &routes);
        }
    }

    /// Which Route values are ours, and what token they carry.
    pub(super) fn own_routes(&self, request: &Message<'_>) -> OwnRoutes {
        let call_id = request.call_id();
        let token = |uri: &Uri<'_>| {
            uri.user.filter(|user| Token::is_sealed(user, &self.secret, call_id)).and_then(Token::peek)
        };
        let mut own = OwnRoutes::default();
        if let Some(found) = Uri::parse(request.uri()).as_ref().and_then(token) {
            own.token = Some(found);
            own.strict = !found.contact && request.first(Name::Route).is_some();
        }
        for value in request.list(Name::Route).take(MAX_OWN_ROUTES) {
            let Some(uri) = NameAddr::parse(value).and_then(|route| route.sip_uri()) else { break };
            match token(&uri) {
                Some(found) => own.token = Some(found),
                None if self.is_own_address(&uri) => {}
                None => break,
            }
            own.count += 1;
        }
        own
    }

    /// Whether a request has been here before, unchanged (RFC 5393 §4.2). One that comes back with
    /// another Request-URI is a spiral, and goes on.
    fn loops(&self, request: &Message<'_>) -> bool {
        let mut vias = request.list(Name::Via).skip(1).take(MAX_VIAS).peekable();
        if vias.peek().is_none() {
            return false;
        }
        let mark = self.loop_mark(request);
        vias.filter_map(crate::sip::Via::parse).any(|via| {
            via.branch()
                .strip_prefix(b"z9hG4bK")
                .and_then(|text| self.secret.open::<8>(Purpose::Branch, text, b""))
                .is_some_and(|payload| u64::from_be_bytes(payload) & 0xff_ffff == u64::from(mark))
        })
    }

    /// Whether a host is one that denwa answers for. Without `domain`, every name is.
    pub(super) fn is_ours(&self, host: &Host<'_>) -> bool {
        match (host, &self.config.domain) {
            (Host::Ip(ip), _) => {
                self.config.advertise.contains(ip) || self.addresses.contains(ip) || self.is_domain(host)
            }
            (Host::Name(name), Some(_)) => self.is_domain(host) || name.eq_ignore_ascii_case(b"localhost"),
            (Host::Name(_), None) => true,
        }
    }

    /// Whether a route names one of our listeners.
    fn is_own_address(&self, uri: &Uri<'_>) -> bool {
        let port = uri.port.unwrap_or(5060);
        self.is_ours(&uri.host) && (uri.port.is_none() || self.config.listen.iter().any(|l| l.port == port))
    }

    /// How a leg is reached now: its binding's flow if the phone is still registered.
    pub(super) fn flow_of(&self, leg: &Leg) -> Flow {
        if let Some(label) = leg.neighbour() {
            return self.neighbours.flow_now(label, leg.flow);
        }
        leg.binding.and_then(|id| self.registrar.get(id)).map_or(leg.flow, |binding| binding.flow)
    }

    /// A phone, or another exchange, is at another flow now: what is under way with it goes on there.
    pub(super) fn moved(&mut self, Moved { from, to, has_ended }: Moved) {
        self.clients.moved(&mut self.io, from, to);
        if has_ended {
            self.follow(&|old| *old == from, to);
        }
    }

    /// What was asked on streams that have ended is answered on another one.
    pub(super) fn follow(&mut self, is_old: &dyn Fn(&Flow) -> bool, to: Flow) {
        for fork in self.servers.moved(&mut self.io, is_old, to) {
            if let Some(fork) = self.forks.get_mut(&fork) {
                fork.reply = to;
            }
        }
    }

    /// What a leg's phone is asked for if it does not say it in a Contact, as it has to: what it is
    /// registered by, or its address.
    pub(super) fn target_of(&self, leg: &Leg) -> Box<[u8]> {
        match leg.binding.and_then(|id| self.registrar.get(id)) {
            Some(binding) => binding.target().into(),
            None => format!("sip:{}", leg.flow.remote).into_bytes().into(),
        }
    }

    /// Identifies a request's transaction. Not by sent-by, which NAT may change between a request
    /// and its CANCEL, but by everything else that both share, and the address that sent them
    /// (RFC 3261 §17.2.3). It serves for requests without a branch as well.
    pub(super) fn server_key(&self, reply: &Flow, request: &Message<'_>, method: &[u8]) -> ServerKey {
        let branch = request.via().map(|via| via.branch()).unwrap_or_default();
        let cseq = request.cseq().map_or(0, |c| c.number).to_be_bytes();
        let source = match reply.source() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(ip) => ip.octets(),
        };
        self.secret.key(&[branch, &source, request.call_id(), request.from_tag(), &cseq, method])
    }

    /// Answers in an open transaction.
    pub(super) fn answer(
        &mut self,
        key: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        status: u16,
        headers: &[u8],
    ) {
        self.answer_with(key, reply, request, status, reason_phrase(status), headers);
    }

    /// Answers in an open transaction, with a reason phrase of its own.
    pub(super) fn answer_with(
        &mut self,
        key: ServerKey,
        reply: Flow,
        request: &Message<'_>,
        status: u16,
        reason: &str,
        headers: &[u8],
    ) {
        let bytes = self.stateless(&reply, request, status, reason, headers);
        self.servers.respond(&mut self.io, key, status, bytes);
    }

    /// A stream that lost its framing cannot be read any further (RFC 4475 §3.3.9).
    fn give_up(&mut self, flow: &Flow, request: &Message<'_>) {
        if flow.is_reliable() && request.has_malformed_length() {
            self.close(flow.stream);
        }
    }
}

/// Max-Forwards has come to its end (RFC 3261 §16.3, step 3).
fn hops_are_used_up(request: &Message<'_>) -> bool {
    request.first(Name::MaxForwards).and_then(decimal) == Some(0)
}

/// Where the responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4). `None` for a request that
/// no answer can reach.
///
/// With `rport` to where it came from. Without, RFC 3261 names the port of sent-by: right for
/// phones that send from another port than they listen on and whose sent-by is their address; any
/// other sits behind NAT, where only the source port leads back.
fn reply_flow(flow: &Flow, request: &Message<'_>) -> Option<Flow> {
    let via = request.via()?;
    if flow.transport != Transport::Udp || via.wants_rport() || via.host != Host::Ip(flow.source()) {
        return Some(*flow);
    }
    let mut reply = *flow;
    reply.remote.set_port(via.port.unwrap_or(5060));
    (reply.remote.port() != 0).then_some(reply)
}

//! Who is heard: the guard before a packet is read, stealth when it is known whom it asks for.

use std::net::IpAddr;
use std::time::Duration;

use super::Switch;
use super::event::Event;
use super::flow::{Flow, StreamId};
use super::negotiation::is_private;
use crate::config::Number;
use crate::guard::{Decision, Lesson, Opening, Refusal, Standing};
use crate::sip::{Host, Message, Name, NameAddr, StartLine, Uri, printable, unescape};

/// How long after the start somebody outside should have been heard: whoever is reachable is scanned.
pub(super) const UNREACHED: Duration = Duration::from_secs(300);

/// The most of our own addresses that are remembered; a server has a handful.
const MAX_ADDRESSES: usize = 64;

impl Switch {
    /// A datagram or a message came. It passes the guard's lists and budgets, then it is read, and
    /// then it must be from somebody who knows us, if silence is wanted.
    pub(super) fn packet(&mut self, flow: Flow, bytes: &[u8]) {
        self.notice_outside(&flow);
        let standing = self.guard.packet(self.io.now, flow.transport, flow.local, flow.remote);
        let Some(standing) = standing else { return };
        self.io.trace(true, flow, bytes);
        let Ok(message) = Message::parse(bytes) else {
            // Noise; nobody waits for an answer to it.
            return self.ignore(&flow, None, "it is not SIP");
        };
        if !self.is_heard(&flow, &message) {
            return self.ignore(&flow, Some(&message), &self.mistake(&message));
        }
        self.is_reached_at(flow.local.ip());
        match message.start() {
            StartLine::Request { .. } => self.request(flow, &message, has_credit(standing)),
            StartLine::Response { .. } => self.response(&message),
        }
    }

    /// Remembers an address of ours that somebody has reached.
    pub(super) fn is_reached_at(&mut self, own: IpAddr) {
        if self.addresses.len() < MAX_ADDRESSES {
            self.addresses.insert(own);
        }
    }

    /// An exchange that was started a while ago, and that nobody has reached since: a firewall may be in between,
    /// perhaps one of which its owner knows nothing.
    pub(super) fn is_unreached(&mut self) {
        if self.outside.is_none() && self.registrar.is_empty() {
            let sentence = "nothing from outside has reached this exchange in 5 min, and no phone is registered: if \
                            phones are to reach it, open its ports (`denwa status` names them) in the server's \
                            firewall and in its provider's, which ConoHa and EC2 call security group";
            self.io.tell(Event::Notice(sentence.into()));
        }
    }

    /// Remembers that somebody outside has ever reached us, heard or not: if nobody has, a firewall may be in
    /// the way.
    fn notice_outside(&mut self, flow: &Flow) {
        if self.outside.is_none() && !is_private(flow.source()) && flow.source() != flow.local.ip() {
            self.outside = Some(self.io.now);
        }
    }

    /// A connection was opened.
    pub(super) fn opened(&mut self, flow: Flow) {
        self.notice_outside(&flow);
        match self.guard.opened(self.io.now, flow.stream.0, flow.transport, flow.local, flow.remote) {
            Opening::Admitted => {}
            Opening::InsteadOf(oldest) => self.close(StreamId(oldest)),
            Opening::Refused => self.io.close(flow.stream),
        }
    }

    /// The other side of a connection has shown who it is.
    pub(super) fn certified(&mut self, flow: Flow, sha256: [u8; 32]) {
        self.neighbours.certified(flow.stream, sha256);
        if self.neighbours.proved(&self.config, &flow).is_some() {
            self.io.teach(Lesson::Authenticated { source: flow.source(), stream: flow.stream.0 });
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, stream: StreamId) {
        self.guard.closed(stream.0);
        self.neighbours.closed(stream);
        for to in self.registrar.closed(stream) {
            self.follow(&|old| old.is_reliable() && old.stream == stream, to);
        }
        self.neighbour_hung_up(stream);
    }

    /// What has changed is put on record. The guard learns what was found out, and says what it has to say.
    pub(super) fn consult(&mut self) {
        let now = self.io.now;
        for record in self.registrar.records() {
            self.io.record(record);
        }
        self.record_calls();
        for lesson in self.registrar.lessons().chain(self.io.lessons()) {
            self.guard.learn(now, lesson);
        }
        let decided: Vec<Decision> = self.guard.decisions().collect();
        for decision in decided {
            let record = self.decision(decision);
            self.io.record(record);
        }
        while let Some(stream) = self.guard.overdue(now) {
            self.close(StreamId(stream));
        }
        while let Some(news) = self.guard.news(now) {
            self.note_news(&news);
            self.io.tell(Event::Guard(news));
        }
    }

    /// Whether whoever sent this is spoken with at all. Without `stealth`, everybody is.
    ///
    /// Responses are for our own requests, which nobody can guess: they are judged by their branch.
    fn is_heard(&self, flow: &Flow, message: &Message<'_>) -> bool {
        !self.config.stealth
            || matches!(message.start(), StartLine::Response { .. })
            || self.uses_domain(message)
            || self.registrar.knows(flow)
            || self.neighbours.knows(flow.source())
            || self.neighbours.proved(&self.config, flow).is_some()
            || Uri::parse(message.uri()).is_some_and(|uri| self.trunk_of_contact(&uri).is_some())
            || self.own_routes(message).token.is_some()
    }

    /// Whether Request-URI, To or From has our domain. Without a domain, everybody knows us.
    pub(super) fn uses_domain(&self, request: &Message<'_>) -> bool {
        let is_ours = |uri: Option<Uri<'_>>| uri.is_some_and(|uri| self.is_domain(&uri.host));
        let of = |address: Option<NameAddr<'_>>| is_ours(address.and_then(|address| address.sip_uri()));
        self.config.domain.is_none()
            || is_ours(Uri::parse(request.uri()))
            || of(request.to())
            || of(request.from())
    }

    /// Whether a host is what `domain` says.
    pub(super) fn is_domain(&self, host: &Host<'_>) -> bool {
        let domain = self.config.domain.as_deref();
        match (domain.and_then(|domain| Host::parse(domain.as_bytes())), host) {
            (Some(Host::Name(ours)), Host::Name(name)) => name.eq_ignore_ascii_case(ours),
            (Some(ours), host) => ours == *host,
            (None, _) => false,
        }
    }

    /// What somebody did wrong who is not answered, for the owner to read.
    fn mistake(&self, request: &Message<'_>) -> String {
        let domain = self.config.domain.as_deref().unwrap_or_default();
        let host = Uri::parse(request.uri()).map(|uri| uri.host.to_string()).unwrap_or_default();
        format!("used host {} instead of {domain} (domain, stealth)", printable(host.as_bytes(), 80))
    }

    /// Says nothing to somebody, and closes a connection on which no phone is registered.
    fn ignore(&mut self, flow: &Flow, request: Option<&Message<'_>>, why: &str) {
        if self.registrar.knows(flow) {
            return;
        }
        if flow.is_reliable() && self.config.stealth {
            self.close(flow.stream);
        }
        let name = |address: Option<NameAddr<'_>>| address.and_then(|a| a.sip_uri()).and_then(|u| u.number());
        let names = request.map(|request| [name(request.from()), name(request.to())]).unwrap_or_default();
        let ours = names.iter().flatten().find(|name| self.config.extensions.contains_key(name.as_str()));
        let number = ours.or(names[1].as_ref()).cloned().unwrap_or_default();
        let refusal = Refusal { known: ours.is_some(), ..refusal(flow, request, &number, why) };
        let caller = names[0].clone().filter(|_| ours.is_some()).unwrap_or_default();
        self.note_refusal(&refusal, &caller);
        self.io.teach(Lesson::Refused(refusal));
    }

    /// Tells of a request that is refused. `known`: it concerns an extension of ours, whose owner may
    /// wonder why.
    pub(super) fn refused(
        &mut self,
        reply: &Flow,
        request: &Message<'_>,
        number: &str,
        why: &str,
        known: bool,
    ) {
        let refusal = Refusal { answered: true, known, ..refusal(reply, Some(request), number, why) };
        self.note_refusal(&refusal, &from_number(request));
        self.io.teach(Lesson::Refused(refusal));
    }

    /// Remembers, without telling, that a request of an extension that proved itself is refused.
    pub(super) fn note(&mut self, reply: &Flow, request: &Message<'_>, number: &Number, why: &str) {
        let refusal =
            Refusal { answered: true, known: true, ..refusal(reply, Some(request), number.as_str(), why) };
        self.note_refusal(&refusal, number.as_str());
    }

    /// Tells of a request that gets no answer, though whoever sent it knows us.
    pub(super) fn unanswered(&mut self, reply: &Flow, request: &Message<'_>, number: &str, why: &str) {
        let known = self.config.extensions.contains_key(number);
        let refusal = Refusal { known, ..refusal(reply, Some(request), number, why) };
        self.note_refusal(&refusal, &from_number(request));
        self.io.teach(Lesson::Refused(refusal));
    }

    /// Closes a connection, of which net will not tell us again.
    pub(super) fn close(&mut self, stream: StreamId) {
        self.closed(stream);
        self.io.close(stream);
    }
}

/// Whether a first answer may be longer than what was asked. One who shares a phone's address can
/// make that phone's own network the victim, and no other.
fn has_credit(standing: Standing) -> bool {
    match standing {
        Standing::Phone => true,
        Standing::Stranger { credit } => credit,
    }
}

/// Whom a request says to be from, at most 64 characters.
fn from_number(request: &Message<'_>) -> String {
    let number = request.from().and_then(|from| from.sip_uri()).and_then(|uri| uri.number());
    printable(number.unwrap_or_default().as_bytes(), 64)
}

/// What people are told of a request that is turned away: not answered, not known to be ours.
fn refusal(flow: &Flow, request: Option<&Message<'_>>, number: &str, why: &str) -> Refusal {
    let agent = request.and_then(|request| request.first(Name::UserAgent));
    Refusal {
        remote: flow.remote,
        method: request.map_or_else(String::new, |request| printable(request.method_name(), 32)),
        number: printable(&unescape(number.as_bytes()), 64),
        agent: printable(agent.unwrap_or_default(), 64),
        why: why.into(),
        answered: false,
        known: false,
    }
}

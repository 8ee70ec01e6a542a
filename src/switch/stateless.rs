//! Answers that leave nothing behind: whoever asks again is answered the same again.
//!
//! Most of them go to sources that nobody has verified: the address of a datagram may be forged, and
//! the answer hit somebody else. So a datagram is never answered by more bytes than it has, with one
//! exception: a challenge for a request that uses our domain may have half as many more, as often as
//! the guard gives credit. Without it, phones that send short requests could never register over UDP,
//! or send a MESSAGE from a new address.

use super::Switch;
use super::auth::Verdict;
use super::flow::Flow;
use crate::guard::Lesson;
use crate::sip::{Message, Method, Response, reason_phrase};

impl Switch {
    /// Answers, with these header lines if there is room for them.
    pub(super) fn refuse(&mut self, reply: Flow, request: &Message<'_>, status: u16, headers: &[u8]) {
        self.refuse_with(reply, request, status, reason_phrase(status), headers);
    }

    /// Answers with a reason phrase of its own.
    pub(super) fn refuse_with(
        &mut self,
        reply: Flow,
        request: &Message<'_>,
        status: u16,
        reason: &str,
        headers: &[u8],
    ) {
        for headers in [headers, b""] {
            let bytes = self.stateless(&reply, request, status, reason, headers);
            if self.is_verified(&reply) || bytes.len() <= request.bytes().len() {
                return self.io.send(reply, bytes);
            }
        }
    }

    /// Asks for credentials: with 401 as registrar, with 407 as proxy (RFC 3261 §22).
    pub(super) fn challenge(&mut self, reply: Flow, request: &Message<'_>, credit: bool, verdict: &Verdict) {
        let source = reply.source();
        let register = request.method() == Some(Method::Register);
        let claimed = if register { request.to() } else { request.from() };
        let claimed = claimed.and_then(|a| a.sip_uri()).and_then(|uri| uri.number()).unwrap_or_default();
        let status = if register { 401 } else { 407 };
        let offer = self.auth.offer(&self.secret, &self.config, source, &claimed, verdict);
        let (challenge, md5) =
            self.auth.challenge(&self.secret, &self.config, self.io.now, source, request, offer);
        let tag = self.secret.tag(&[request.call_id(), request.from_tag()]);
        let verified = self.is_verified(&reply);
        let room = request.bytes().len();
        let mut whole = true;
        let bytes = Response::new(status, &tag, reply.remote).print_with(request, |others| {
            whole = verified || others + challenge.len() <= room;
            if whole { &challenge } else { &challenge[md5..] }
        });
        if !verified && bytes.len() > room {
            let excused = credit && self.uses_domain(request) && bytes.len() <= room + room / 2;
            if !excused {
                let why = "a challenge is longer than this short request, and anybody could have forged its \
                           address; TCP always works";
                return self.unanswered(&reply, request, &claimed, why);
            }
            self.io.teach(Lesson::Exceeded(source));
        }
        self.io.send(reply, bytes);
        if whole && md5 > 0 {
            self.auth.offered_both(&self.secret, source, &claimed);
        }
    }

    /// Whether the address that asks is known to be its own.
    fn is_verified(&self, reply: &Flow) -> bool {
        reply.is_reliable() || self.registrar.knows(reply)
    }

    /// A response that depends on nothing but the request.
    pub(super) fn stateless(
        &self,
        reply: &Flow,
        request: &Message<'_>,
        status: u16,
        reason: &str,
        headers: &[u8],
    ) -> Vec<u8> {
        let tag = self.secret.tag(&[request.call_id(), request.from_tag()]);
        Response { reason, headers, ..Response::new(status, &tag, reply.remote) }.print(request)
    }
}

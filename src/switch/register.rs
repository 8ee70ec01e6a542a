//! REGISTER, and keeping phones reachable (RFC 3261 §10.3, RFC 5626 §3.5).

use super::Switch;
use super::call::Leg;
use super::date::write_date;
use super::event::{Event, Gone};
use super::flow::Flow;
use super::io::Timer;
use super::registrar::{BindingId, Due, Refusal, join};
use super::transaction::ServerKey;
use crate::config::Number;
use crate::sip::originate::{Originate, OwnMethod};
use crate::sip::{Message, Name, Response, printable, reason_phrase};

impl Switch {
    /// A REGISTER of an extension that proved itself. Its transaction is open.
    pub(super) fn register(&mut self, key: ServerKey, reply: Flow, request: &Message<'_>, number: &Number) {
        let to = request.to().and_then(|to| to.sip_uri()).and_then(|uri| uri.number());
        if to.as_deref() != Some(number.as_str()) {
            self.refused(&reply, request, number.as_str(), "To names another extension than the user", true);
            return self.answer(key, reply, request, 403, b"");
        }
        let unsupported = join(request.list(Name::Require).filter(|o| !o.eq_ignore_ascii_case(b"path")));
        if !unsupported.is_empty() {
            let headers = [b"Unsupported: ", &unsupported[..], b"\r\n"].concat();
            return self.answer(key, reply, request, 420, &headers);
        }
        let mut headers = Vec::with_capacity(256);
        let (status, reason) =
            match self.registrar.register(&self.config, self.io.now, number, reply, request) {
                Ok(changes) => {
                    self.tell_changes(number, request, changes.came, changes.gone);
                    changes.moved.into_iter().for_each(|moved| self.moved(moved));
                    self.registrar.write_contacts(&mut headers, number.as_str(), self.io.now);
                    for path in request.list(Name::Path) {
                        headers.extend_from_slice(b"Path: ");
                        headers.extend_from_slice(path);
                        headers.extend_from_slice(b"\r\n");
                    }
                    self.put_date(&mut headers);
                    for (after, binding) in self.registrar.wakes(&self.config, self.io.now, number.as_str()) {
                        self.io.arm(after, Timer::Binding(binding));
                    }
                    (200, reason_phrase(200))
                }
                Err(Refusal::TooBrief) => {
                    self.note(
                        &reply,
                        request,
                        number,
                        "it wants to register for too short a time (register-expires)",
                    );
                    let least = self.config.register_expires.min.as_secs();
                    headers.extend_from_slice(format!("Min-Expires: {least}\r\n").as_bytes());
                    (423, reason_phrase(423))
                }
                Err(Refusal::Full) => {
                    self.note(&reply, request, number, "as many phones are registered as may be");
                    headers.extend_from_slice(b"Retry-After: 60\r\n");
                    (503, reason_phrase(503))
                }
                Err(Refusal::Bad(reason)) => {
                    self.note(&reply, request, number, &format!("its REGISTER is of no use: {reason}"));
                    (400, reason)
                }
                Err(Refusal::OutOfOrder) => (500, "Request Out Of Order"),
            };
        let tag = self.secret.tag(&[request.call_id(), request.from_tag()]);
        let response = Response { reason, headers: &headers, ..Response::new(status, &tag, reply.remote) };
        let bytes = response.print(request);
        self.servers.respond(&mut self.io, key, status, bytes);
    }

    /// Writes `Date`, made once a second.
    fn put_date(&mut self, out: &mut Vec<u8>) {
        let now = self.io.unix_time().as_secs();
        if self.date.0 != now || self.date.1.is_empty() {
            self.date = (now, Vec::with_capacity(40));
            write_date(&mut self.date.1, now);
        }
        out.extend_from_slice(&self.date.1);
    }

    fn tell_changes(
        &mut self,
        number: &Number,
        request: &Message<'_>,
        came: Vec<BindingId>,
        gone: Vec<(Flow, Gone)>,
    ) {
        for (flow, cause) in gone {
            self.note_gone(number, &flow, cause);
            self.io.tell(Event::Unregistered { extension: number.clone(), flow, cause });
        }
        for id in came {
            let Some(binding) = self.registrar.get(id) else { continue };
            let agent = printable(request.first(Name::UserAgent).unwrap_or_default(), 64);
            let (flow, expires) = (binding.flow, binding.time_left(self.io.now));
            self.belongs(number, id, flow);
            self.io.tell(Event::Registered { extension: number.clone(), flow, expires, agent });
        }
    }

    /// Who called before it registered, on the same flow, keeps its call when it comes back on another one.
    fn belongs(&mut self, number: &Number, binding: BindingId, flow: Flow) {
        let is_its = |leg: &Leg| leg.binding.is_none() && leg.flow == flow && leg.extension() == Some(number);
        let calls = self.calls.values().filter(|call| call.legs.iter().any(is_its));
        let calls: Vec<u64> = calls.map(|call| call.id).collect();
        for id in calls {
            let legs = self.calls.get_mut(&id).map(|call| call.legs.iter_mut());
            legs.into_iter().flatten().filter(|leg| is_its(leg)).for_each(|leg| leg.binding = Some(binding));
        }
    }

    /// A binding's timer has come.
    pub(super) fn binding_timer(&mut self, id: BindingId) {
        let (due, again) = self.registrar.timer(&self.config, self.io.now, id);
        if let Some(after) = again {
            self.io.arm(after, Timer::Binding(id));
        }
        match due {
            None => {}
            Some(Due::Expired(extension, flow)) => {
                self.note_gone(&extension, &flow, Gone::Expired);
                self.io.tell(Event::Unregistered { extension, flow, cause: Gone::Expired });
            }
            // Mappings and firewalls forget after 30 s and more, over IPv6 as well. This is no
            // transaction: the next one comes soon enough, and any response says that it is alive.
            Some(Due::Ping(number, binding)) => {
                let client = self.next_client();
                let branch = self.branch_text(client, 0);
                let face = super::forward::face(&self.config, &binding.flow);
                let (tag, call_id) = (self.secret.fresh(), self.secret.fresh());
                let tag = std::str::from_utf8(&tag).unwrap_or_default();
                let routes: &[&[u8]] = if binding.path.is_empty() { &[] } else { &[&binding.path] };
                let via = super::forward::via(&self.config, &binding.flow, &branch);
                let (from, to) = (format!("<sip:{face}>;tag={tag}"), format!("<sip:{number}@{face}>"));
                let options = Originate {
                    method: OwnMethod::Options,
                    uri: binding.target(),
                    via: via.as_bytes(),
                    routes,
                    from: from.as_bytes(),
                    to: to.as_bytes(),
                    call_id: &call_id,
                    cseq: 1,
                    headers: &[],
                };
                self.io.send(binding.flow, options.print());
                self.registrar.pinged(self.io.now, id, client);
            }
        }
    }
}

//! Being found: REGISTER, its refreshes and its end (RFC 3261 §10.2, RFC 5626).

use std::time::Duration;

use denwa::switch::Instant;

use super::transaction::Task;
use super::{Phone, Timer};
use crate::sip::{Message, param, uri_of};

/// What a phone knows about its own registration.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Whether its user wants it to be registered.
    pub wanted: bool,
    /// Until when it is, by the last 200.
    pub until: Option<Instant>,
    /// Since when it is, without a gap.
    pub since: Option<Instant>,
    /// The status of the last final answer.
    pub last_status: u16,
    /// What the last 200 listed.
    pub listed: Vec<String>,
    /// The Contact in force.
    pub contact: String,
    call_id: String,
    sequence: u32,
    expires: u32,
}

impl Registration {
    pub fn is_valid(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

impl Phone {
    /// The phone is switched on, or its user asks for it.
    pub(super) fn register(&mut self) {
        self.registration.wanted = true;
        let contact = self.own_contact();
        let expires = self.registration.expires;
        self.send_register(&contact, expires);
    }

    /// The value of its Contact, which is made up when it is first wanted.
    fn own_contact(&mut self) -> String {
        if self.registration.call_id.is_empty() {
            let user = match self.spec.instance {
                true => format!("{}-{}", self.spec.number, self.rng.token(6)),
                false => self.spec.number.clone(),
            };
            let contact = self.contact_uri(&user);
            self.registration.call_id = self.new_call_id();
            self.registration.expires = self.spec.expires;
            self.contacts.push(contact.clone());
            self.registration.contact = contact;
        }
        self.contact_value(&self.registration.contact)
    }

    /// The phone takes its own binding back.
    pub(super) fn unregister(&mut self) {
        self.registration.wanted = false;
        let contact = self.own_contact();
        self.send_register(&contact, 0);
    }

    /// The phone takes everybody's binding back (RFC 3261 §10.2.2).
    pub(super) fn unregister_all(&mut self) {
        self.registration.wanted = false;
        self.own_contact();
        self.send_register("*", 0);
    }

    fn send_register(&mut self, contact: &str, expires: u32) {
        self.registration.sequence += 1;
        let (sequence, call_id) = (self.registration.sequence, self.registration.call_id.clone());
        let address = format!("<sip:{}@{}>", self.spec.number, self.spec.domain);
        let uri = format!("sip:{}", self.spec.domain);
        let mut request = Message::request("REGISTER", &uri)
            .with("Max-Forwards", "70")
            .with("From", format!("{address};tag={}", self.rng.token(8)))
            .with("To", address)
            .with("Call-ID", call_id)
            .with("CSeq", format!("{sequence} REGISTER"))
            .with("Contact", contact)
            .with("Expires", expires.to_string())
            .with("User-Agent", self.agent());
        if self.spec.instance {
            request = request.with("Supported", "path, outbound");
        }
        self.authorize(&mut request, 401);
        self.start_client(request, Task::Register, 0);
    }

    /// `<uri>` with what RFC 5626 adds for a device that can be told from others.
    fn contact_value(&self, uri: &str) -> String {
        match self.spec.instance {
            true => format!(
                "<{uri}>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-{:012}>\";reg-id=1",
                self.id
            ),
            false => format!("<{uri}>"),
        }
    }

    pub(super) fn on_register_answer(&mut self, request: &Message, attempts: u32, answer: &Message) {
        let status = answer.status();
        if status == 401
            && let Some((mut retry, attempts)) = self.retry_with_credentials(request, attempts, answer)
        {
            self.registration.sequence += 1;
            retry.set("CSeq", format!("{} REGISTER", self.registration.sequence));
            self.start_client(retry, Task::Register, attempts);
            return;
        }
        self.registration.last_status = status;
        match status {
            200..300 => self.on_registered(request, answer),
            423 => {
                let least = answer.get("Min-Expires").and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
                let asked = request.get("Expires").and_then(|v| v.parse().ok()).unwrap_or(0);
                if least <= asked {
                    self.complain("a 423 without a longer Min-Expires".into());
                    return;
                }
                self.registration.expires = self.registration.expires.max(least);
                if self.registration.wanted {
                    self.register();
                }
            }
            _ if self.registration.wanted => {
                self.set_timer(Duration::from_secs(30), Timer::Refresh);
            }
            _ => {}
        }
    }

    fn on_registered(&mut self, request: &Message, answer: &Message) {
        let listed = answer.all("Contact");
        self.registration.listed = listed.iter().map(|value| (*value).to_owned()).collect();
        let own = listed.iter().find(|value| uri_of(value) == self.registration.contact);
        let lifetime = own.and_then(|value| param(value, "expires")).and_then(|v| v.parse().ok());
        let expires = lifetime.unwrap_or(0u64);
        if request.get("Expires") == Some("0") {
            if own.is_some() && !self.registration.wanted {
                self.complain("a Contact that was taken back is still listed".into());
            }
            self.registration.until = None;
            self.registration.since = None;
            return;
        }
        if expires == 0 {
            let listed = listed.join(", ");
            self.complain(format!("a 200 to REGISTER that does not list us with expiry: {listed}"));
            return;
        }
        if answer.get("Date").is_none() {
            self.complain("a 200 to REGISTER without Date".into());
        }
        if !self.registration.is_valid(self.now) {
            self.registration.since = Some(self.now);
        }
        self.registration.until = Some(self.now + Duration::from_secs(expires));
        let early = self.rng.between(50, 90);
        self.set_timer(Duration::from_secs((expires * early / 100).max(1)), Timer::Refresh);
    }

    pub(super) fn refresh(&mut self) {
        if self.registration.wanted {
            self.register();
        }
    }
}

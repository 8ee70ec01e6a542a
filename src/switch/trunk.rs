//! Our registration with a provider (RFC 3261 §10): kept fresh, given up and tried again with patience.

use std::time::Duration;

use super::Switch;
use super::event::Event;
use super::flow::Flow;
use super::forward::{escape, own_uri, via};
use super::io::Timer;
use super::neighbour::HostId;
use super::persona::tagged;
use super::proof::Again;
use super::transaction::Owner;
use crate::config::{Account, Kind, Label, Neighbour, Trunk};
use crate::sip::originate::{Originate, OwnMethod};
use crate::sip::{Message, Method, Name, NameAddr, Uri, decimal, reason_phrase};
use crate::time::Instant;

/// How long we ask to be registered, if the provider does not want it longer.
const EXPIRES: Duration = Duration::from_secs(600);

/// The longest registration that is believed in.
const MAX_EXPIRES: Duration = Duration::from_secs(86_400);

/// How soon a failed registration is tried again: at first, and at last. Each failure doubles it.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(900));

/// How soon at the earliest, where the provider said no: it will not mend itself, and providers lock accounts that
/// try wrong passwords all day.
const REFUSED: Duration = Duration::from_secs(300);

/// Our registration with one provider.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// How it stands.
    pub(super) standing: Standing,
    /// As whom.
    pub(super) registrant: Option<Registrant>,
    call_id: Box<[u8]>,
    tag: Box<[u8]>,
    cseq: u32,
    /// How long we ask for; longer once a provider wanted it so.
    expires: Option<Duration>,
    /// The request that is under way, how often it went with credentials, and whether it was made longer.
    sent: Vec<u8>,
    proofs: u8,
    is_longer: bool,
    /// By which way it went.
    flow: Option<Flow>,
    /// Failures in a row.
    failures: u32,
    /// When it is tried next.
    next: Instant,
}

impl Registration {
    /// One that is still to be made.
    pub(super) fn of(registrant: Option<Registrant>) -> Registration {
        Registration { registrant, ..Registration::default() }
    }

    /// It is to be made anew, whatever is under way.
    pub(super) fn renew(&mut self, now: Instant) {
        self.next = now;
        self.sent.clear();
    }
}

/// As whom we register: at another one's place nothing of a registration counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Registrant {
    user: String,
    account: Account,
}

impl Registrant {
    /// That of a trunk that registers.
    pub(super) fn of(neighbour: &Neighbour) -> Option<Registrant> {
        match (&neighbour.kind, &neighbour.account) {
            (Kind::Trunk(Trunk { register: true, user, .. }), Some(account)) => {
                Some(Registrant { user: user.clone(), account: account.clone() })
            }
            _ => None,
        }
    }
}

/// How a registration stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Standing {
    /// Not tried yet.
    #[default]
    None,
    /// It holds until then.
    Registered(Instant),
    /// It failed, and why.
    Failed(String),
}

impl Switch {
    /// What of a trunk makes its calls known wherever they come from: the user of the contact that we register.
    fn contact_user(&self, label: &Label) -> String {
        let user = self.secret.contact(label.as_str());
        String::from_utf8_lossy(&user).into_owned()
    }

    /// The trunk to whose registered contact a URI leads.
    pub(super) fn trunk_of_contact(&self, uri: &Uri<'_>) -> Option<&Label> {
        let user = uri.user?;
        let registers = |label: &&Label| self.config.trunk(label).is_some_and(|trunk| trunk.register);
        self.config
            .neighbours
            .keys()
            .filter(registers)
            .find(|label| self.contact_user(label).as_bytes() == user)
    }

    /// Registers with the provider at a host, if that is due and it can be reached.
    pub(super) fn register_with(&mut self, id: HostId) {
        let now = self.io.now;
        let Some((label, target, registration)) = self.neighbours.registration(id) else { return };
        let label = label.clone();
        if now < registration.next || !registration.sent.is_empty() {
            return;
        }
        let Some(Trunk { register: true, user, .. }) = self.config.trunk(&label) else { return };
        let (user, target) = (user.clone(), target.clone());
        // It is tried as soon as there is one.
        let Some(flow) = self.neighbours.any_way(&label) else { return };
        let contact = self.contact_user(&label);
        let fresh = [self.secret.fresh(), self.secret.fresh()];
        let client = self.next_client();
        let branch = self.branch_text(client, 0);
        let Some((_, _, registration)) = self.neighbours.registration(id) else { return };
        if registration.call_id.is_empty() {
            [registration.call_id, registration.tag] = fresh.map(|text| text.as_slice().into());
        }
        registration.cseq += 1;
        (registration.proofs, registration.is_longer) = (0, false);
        let host = target.host_port();
        let us = format!("<sip:{}@{host}>", escape(&user));
        let expires = registration.expires.unwrap_or(EXPIRES).as_secs().to_string();
        let contact = format!("<{}>", own_uri(&self.config, &flow, &contact));
        let bytes = Originate {
            method: OwnMethod::Register,
            uri: format!("sip:{host}").as_bytes(),
            via: format!("{};rport", via(&self.config, &flow, &branch)).as_bytes(),
            routes: &[],
            from: &tagged(us.as_bytes(), &registration.tag),
            to: us.as_bytes(),
            call_id: &registration.call_id,
            cseq: registration.cseq,
            headers: &[("Contact", contact.as_bytes()), ("Expires", expires.as_bytes())],
        }
        .print();
        registration.sent.clone_from(&bytes);
        registration.flow = Some(flow);
        self.clients.start(&mut self.io, client, Method::Register, flow, bytes, Owner::Register(id));
    }

    /// The time to register may have come.
    pub(super) fn registration_due(&mut self, id: HostId) {
        let now = self.io.now;
        let Some((_, _, registration)) = self.neighbours.registration(id) else { return };
        match registration.next <= now {
            true => self.register_with(id),
            false => self.io.arm_for(registration.next, Timer::Register(id)),
        }
    }

    /// The provider answered a REGISTER, or nobody did.
    pub(super) fn registration_answered(&mut self, id: HostId, response: Option<&Message<'_>>) {
        let status = response.and_then(Message::status).unwrap_or(408);
        let now = self.io.now;
        let Some((label, _, registration)) = self.neighbours.registration(id) else { return };
        let label = label.clone();
        let sent = std::mem::take(&mut registration.sent);
        let (proofs, flow, is_longer) = (registration.proofs, registration.flow, registration.is_longer);
        match (status, response) {
            (..200, _) => registration.sent = sent,
            (200..300, Some(response)) => {
                let holds = granted(response, &self.contact_user(&label)).unwrap_or(EXPIRES);
                let Some((_, _, registration)) = self.neighbours.registration(id) else { return };
                let was_registered = matches!(registration.standing, Standing::Registered(_));
                registration.standing = Standing::Registered(now + holds);
                registration.failures = 0;
                // In time for a second try, and one that is short at half of its time.
                registration.next = now + (holds / 2).max(holds.saturating_sub(Duration::from_secs(60)));
                self.io.arm_for(registration.next, Timer::Register(id));
                if !was_registered {
                    let sentence = format!("{label} is registered, for {} s", holds.as_secs());
                    self.io.tell(Event::Remark(sentence));
                }
            }
            (401 | 407, Some(response)) => {
                let again = self.with_credentials(&label, &sent, proofs, response);
                let cseq =
                    Message::parse(&sent).ok().and_then(|request| request.cseq()?.number.checked_add(1));
                match again.zip(cseq).and_then(|(bytes, cseq)| self.as_new_branch(&bytes, cseq)).zip(flow) {
                    Some((Again { client, bytes, cseq }, flow)) => {
                        if let Some((_, _, registration)) = self.neighbours.registration(id) {
                            registration.sent.clone_from(&bytes);
                            (registration.cseq, registration.proofs) = (cseq, proofs + 1);
                        }
                        let owner = Owner::Register(id);
                        self.clients.start(&mut self.io, client, Method::Register, flow, bytes, owner);
                    }
                    None => {
                        let why = format!("it does not take our user and password ({label}.password)");
                        self.registration_failed(id, why, REFUSED);
                    }
                }
            }
            (423, Some(response)) if !is_longer => {
                let least = response.first(Name::MinExpires).and_then(decimal).unwrap_or(3600);
                let Some((_, _, registration)) = self.neighbours.registration(id) else { return };
                registration.expires = Some(Duration::from_secs(least).min(MAX_EXPIRES));
                (registration.next, registration.is_longer) = (now, true);
                self.register_with(id);
                // One that never has enough is a failure like others.
                if let Some((_, _, registration)) = self.neighbours.registration(id) {
                    registration.is_longer = true;
                }
            }
            _ => {
                let wait = response.and_then(|response| response.first(Name::RetryAfter));
                let wait = wait.and_then(leading_decimal).map_or(Duration::ZERO, Duration::from_secs);
                let least =
                    if (400..500).contains(&status) && status != 408 { REFUSED } else { Duration::ZERO };
                let why = match response {
                    Some(_) => format!("it answers {status} {}", reason_phrase(status)),
                    None => "it does not answer".into(),
                };
                self.registration_failed(id, why, least.max(wait.min(MAX_EXPIRES)));
            }
        }
    }

    /// It is tried again, after `least` at the earliest, and later with each failure.
    fn registration_failed(&mut self, id: HostId, why: String, least: Duration) {
        let now = self.io.now;
        let Some((label, _, registration)) = self.neighbours.registration(id) else { return };
        let label = label.clone();
        let wait = (BACK_OFF.0 * 2u32.pow(registration.failures.min(8))).min(BACK_OFF.1).max(least);
        registration.failures = registration.failures.saturating_add(1);
        registration.next = now + wait;
        let failed = Standing::Failed(why.clone());
        let is_news = std::mem::replace(&mut registration.standing, failed.clone()) != failed;
        self.io.arm_for(registration.next, Timer::Register(id));
        if is_news {
            let sentence =
                format!("{label} is not registered: {why}; it is tried again in {} s", wait.as_secs());
            self.io.tell(Event::Notice(sentence));
        }
    }
}

/// For how long a registration holds: as the contact that is ours says, or all of them.
fn granted(response: &Message<'_>, contact: &str) -> Option<Duration> {
    let contacts = || response.list(Name::Contact).filter_map(NameAddr::parse);
    let is_ours =
        |c: &NameAddr<'_>| c.sip_uri().and_then(|uri| uri.user).is_some_and(|u| u == contact.as_bytes());
    let own = contacts().find(is_ours).and_then(|contact| contact.param("expires").and_then(decimal));
    let seconds = own.or_else(|| response.first(Name::Expires).and_then(decimal))?;
    Some(Duration::from_secs(seconds.max(10)).min(MAX_EXPIRES))
}

/// The number that a value begins with: `Retry-After` may have a comment behind it.
fn leading_decimal(value: &[u8]) -> Option<u64> {
    decimal(value.split(|b| !b.is_ascii_digit()).next()?)
}

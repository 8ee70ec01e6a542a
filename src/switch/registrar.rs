//! Who is where: bindings of extensions to contacts (RFC 3261 §10, RFC 5626, RFC 3327).

mod survival;
mod view;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::event::Gone;
use super::flow::{Flow, StreamId};
use super::table::Table;
use super::timer::T1_64;
use super::transaction::ClientId;
use crate::config::{Config, Number};
use crate::guard::Lesson;
use crate::journal::Record;
use crate::sip::{Host, Message, Name, NameAddr, Uri, decimal, find_param, params};
use crate::time::Instant;
use survival::Noted;

/// Identifies a binding for as long as the same phone refreshes it, whatever flow it comes on.
pub(super) type BindingId = u64;

/// The most bindings of all extensions together. At the bound a REGISTER that would add one is answered
/// 503; those that there are can be refreshed and removed.
const MAX_BINDINGS: usize = 32_768;

/// The most bytes that one binding's contact, instance and path may take together.
const MAX_BINDING: usize = 2048;

/// How much of what a phone calls itself is kept, in bytes.
const MAX_AGENT: usize = 64;

/// One phone of an extension.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) id: BindingId,
    /// The contact's URI, exactly as the phone wrote it.
    pub(super) uri: Box<[u8]>,
    /// The contact's other parameters, as it wrote them, without `expires`.
    params: Box<[u8]>,
    /// `+sip.instance` and `reg-id`: which device it is (RFC 5626).
    device: Option<(Box<[u8]>, u64)>,
    /// Path, to be used as Route (RFC 3327); empty for none.
    pub(super) path: Box<[u8]>,
    /// Preference in thousandths, 0 to 1000.
    pub(super) q: u16,
    /// How the phone is reached.
    pub(super) flow: Flow,
    /// Whether the flow's stream still stands; for datagrams, whether we listen where they came to.
    pub(super) connected: bool,
    /// Whether the contact is another address than the one that it sends from.
    pub(super) behind_nat: bool,
    expires: Instant,
    /// How much longer than on record it may hold from the next record on: as long as it was given.
    grace: Duration,
    /// What was put on record last.
    noted: Noted,
    /// What is on record for sure.
    sure: Noted,
    call_id: Box<[u8]>,
    cseq: u32,
    /// When its timer comes next.
    wake: Instant,
    /// The OPTIONS that was sent last, if it was not answered yet, and when that was.
    ping: Option<(ClientId, Instant)>,
    /// OPTIONS in a row that were not answered.
    unanswered: u32,
    /// How long the phone took to answer the last OPTIONS that it answered.
    pub(super) round_trip: Option<Duration>,
    /// What the phone calls itself, at most [`MAX_AGENT`] bytes of whatever it sent; for people to read, and
    /// not known after a restart until it registers again.
    pub(super) agent: Box<[u8]>,
    /// Since when it has been registered from there.
    pub(super) since: Instant,
}

impl Binding {
    /// Whether the phone can be tried.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.connected && self.expires > now
    }

    /// The Request-URI that reaches the phone: headers in a contact's URI have no place in one
    /// (RFC 3261 §19.1.1).
    pub(super) fn target(&self) -> &[u8] {
        match Uri::parse(&self.uri) {
            Some(uri) if !uri.headers.is_empty() => {
                self.uri.get(..self.uri.len() - uri.headers.len() - 1).unwrap_or_default()
            }
            _ => &self.uri,
        }
    }

    fn new(id: BindingId, flow: Flow, contact: &NameAddr<'_>) -> Binding {
        Binding {
            id,
            uri: contact.uri.into(),
            params: Box::default(),
            device: device(contact).map(|(instance, reg_id)| (instance.into(), reg_id)),
            path: Box::default(),
            q: 1000,
            flow,
            connected: true,
            behind_nat: false,
            expires: Instant::default(),
            grace: Duration::ZERO,
            noted: Noted::default(),
            sure: Noted::default(),
            call_id: Box::default(),
            cseq: 0,
            wake: Instant(u64::MAX),
            ping: None,
            unanswered: 0,
            round_trip: None,
            agent: Box::default(),
            since: Instant::default(),
        }
    }

    /// Whether a contact is this phone's: the same device (RFC 5626 §6), else the same URI.
    fn is_of(&self, contact: &NameAddr<'_>, uri: &Uri<'_>) -> bool {
        match (&self.device, device(contact)) {
            (Some((instance, reg_id)), Some(device)) => (&**instance, *reg_id) == device,
            _ => *self.uri == *contact.uri || Uri::parse(&self.uri).is_some_and(|known| known.matches(uri)),
        }
    }

    /// How long it still holds if it is not refreshed.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        self.expires - now
    }
}

/// All bindings.
pub(super) struct Registrar {
    by_number: BTreeMap<Number, Vec<Binding>>,
    numbers: Table<BindingId, Number>,
    pings: Table<ClientId, BindingId>,
    /// Which bindings came on a stream: anybody may open and close streams all day, and only the
    /// close of one of these is any work.
    streams: Table<u64, Vec<BindingId>>,
    /// How many bindings each flow has.
    flows: Table<Flow, u32>,
    /// What the guard is to know of flows that came and went.
    lessons: Vec<Lesson>,
    /// What must survive of what has changed.
    records: Vec<Record>,
    made: BindingId,
    /// Whether bindings are to be as short as may be.
    is_brief: bool,
}

/// Why a REGISTER is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400 with this reason phrase.
    Bad(&'static str),
    /// 423: shorter than is allowed.
    TooBrief,
    /// 503: there are as many bindings as there may be.
    Full,
    /// 500: an older request than one that was served (RFC 3261 §10.3, step 7).
    OutOfOrder,
}

/// What a REGISTER changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Bindings that are new, or have a new flow.
    pub(super) came: Vec<BindingId>,
    /// Bindings that are gone.
    pub(super) gone: Vec<(Flow, Gone)>,
    /// Phones that are at another flow now.
    pub(super) moved: Vec<Moved>,
}

/// A phone that is at another flow now.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) from: Flow,
    pub(super) to: Flow,
    /// That which it was at is a stream that has ended.
    pub(super) has_ended: bool,
}

/// What a binding's timer asks for.
pub(super) enum Due {
    /// It ran out.
    Expired(Number, Flow),
    /// Its mapping wants to be kept open by OPTIONS.
    Ping(Number, Box<Binding>),
}

impl Registrar {
    pub(super) fn new() -> Registrar {
        Registrar {
            by_number: BTreeMap::new(),
            numbers: Table::default(),
            pings: Table::default(),
            streams: Table::default(),
            flows: Table::default(),
            lessons: Vec::new(),
            records: Vec::new(),
            made: 0,
            is_brief: false,
        }
    }

    /// Whether bindings are as short as may be from now on, so that phones come back soon.
    pub(super) fn be_brief(&mut self, is_brief: bool) {
        self.is_brief = is_brief;
    }

    /// Whether there is no binding, and nothing that belonged to one.
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.pings.is_empty() && self.streams.is_empty() && self.flows.is_empty()
    }

    /// The bindings of an extension that can be tried.
    pub(super) fn alive<'r>(
        &'r self,
        number: &str,
        now: Instant,
    ) -> impl Iterator<Item = &'r Binding> + use<'r> {
        self.by_number.get(number).into_iter().flatten().filter(move |b| b.is_alive(now))
    }

    /// A binding, if it is still there, alive or not.
    pub(super) fn get(&self, id: BindingId) -> Option<&Binding> {
        let number = self.numbers.get(&id)?;
        self.by_number.get(number)?.iter().find(|b| b.id == id)
    }

    fn get_mut(&mut self, id: BindingId) -> Option<&mut Binding> {
        let number = self.numbers.get(&id)?;
        self.by_number.get_mut(number)?.iter_mut().find(|b| b.id == id)
    }

    /// Whose phone has this contact, if one has: for requests that name a contact which they
    /// learned in a dialog, as a Refer-To does.
    pub(super) fn owner_of(&self, contact: &Uri<'_>, now: Instant) -> Option<&Number> {
        let has = |b: &Binding| b.is_alive(now) && Uri::parse(&b.uri).is_some_and(|uri| uri.matches(contact));
        self.by_number.iter().find(|(_, list)| list.iter().any(has)).map(|(number, _)| number)
    }

    /// Whether a phone is registered on a flow: what comes by it is no stranger's.
    pub(super) fn knows(&self, flow: &Flow) -> bool {
        self.flows.contains_key(flow)
    }

    /// What the guard is to know of phones that came and went.
    pub(super) fn lessons(&mut self) -> std::vec::Drain<'_, Lesson> {
        self.lessons.drain(..)
    }

    /// A binding came to a flow.
    fn came(&mut self, flow: Flow) {
        *self.flows.entry(flow).or_default() += 1;
        self.lessons.push(Lesson::Bound(flow.source()));
    }

    /// A binding left a flow.
    fn left(&mut self, flow: Flow) {
        if let Some(count) = self.flows.get_mut(&flow) {
            *count -= 1;
            if *count == 0 {
                self.flows.remove(&flow);
            }
        }
        self.lessons.push(Lesson::Unbound(flow.source()));
    }

    /// The binding through which an extension speaks on a flow.
    pub(super) fn on_flow(&self, number: &str, flow: &Flow, now: Instant) -> Option<&Binding> {
        self.alive(number, now).find(|b| b.flow == *flow)
    }

    /// An extension has proved itself on a connection on which nobody is registered. If that is its one phone at
    /// this address whose connection is gone, the phone is there from now on, though it has not registered
    /// anew. Returns from where to where it has moved.
    pub(super) fn reconnected(&mut self, now: Instant, number: &Number, flow: Flow) -> Option<Moved> {
        if !flow.is_reliable() || self.knows(&flow) {
            return None;
        }
        let list = self.by_number.get_mut(number)?;
        let mut away = list.iter_mut().filter(|b| {
            b.flow.is_reliable() && !b.connected && b.expires > now && b.flow.source() == flow.source()
        });
        let (binding, None) = (away.next()?, away.next()) else { return None };
        let before = std::mem::replace(&mut binding.flow, flow);
        binding.connected = true;
        self.streams.entry(flow.stream.0).or_default().push(binding.id);
        self.records.extend(binding.note(now, number, true));
        self.came(flow);
        self.left(before);
        Some(Moved { from: before, to: flow, has_ended: true })
    }

    /// Serves a REGISTER of an extension whose credentials were right. All of it or nothing.
    pub(super) fn register(
        &mut self,
        config: &Config,
        now: Instant,
        number: &Number,
        flow: Flow,
        request: &Message<'_>,
    ) -> Result<Changes, Refusal> {
        let cseq = request.cseq().map_or(0, |c| c.number);
        let call_id = request.call_id();
        let path = join(request.list(Name::Path));
        let longest = match self.is_brief {
            true => config.register_expires.min,
            false => config.register_expires.max,
        };
        let known = self.by_number.get(number).map_or(&[][..], Vec::as_slice);
        let newer = |b: &Binding| *b.call_id != *call_id || cseq > b.cseq;

        let star = request.list(Name::Contact).any(|c| c == b"*");
        if star {
            let alone = request.list(Name::Contact).count() == 1;
            if !alone || request.first(Name::Expires).and_then(decimal) != Some(0) {
                return Err(Refusal::Bad("Contact * Needs Expires 0"));
            }
            if !known.iter().all(newer) {
                return Err(Refusal::OutOfOrder);
            }
            let mut changes = Changes::default();
            changes.gone.extend(known.iter().map(|b| (b.flow, Gone::Removed)));
            self.drop_where(number, |_| true);
            return Ok(changes);
        }

        // First everything is read and judged, then everything is done.
        let most = config.extensions.get(number).map_or(1, |e| usize::from(e.max_contacts));
        if request.list(Name::Contact).count() > most {
            return Err(Refusal::Bad("Too Many Contacts"));
        }
        let mut contacts = Vec::with_capacity(1);
        for value in request.list(Name::Contact) {
            let contact = NameAddr::parse(value).ok_or(Refusal::Bad("Bad Contact"))?;
            let uri = contact.sip_uri().ok_or(Refusal::Bad("Bad Contact"))?;
            if value.len() + path.len() + call_id.len() > MAX_BINDING {
                return Err(Refusal::Bad("Contact Too Long"));
            }
            let lifetime = lifetime(config, longest, &contact, request)?;
            if known.iter().any(|b| b.is_of(&contact, &uri) && !newer(b)) {
                return Err(Refusal::OutOfOrder);
            }
            contacts.push((contact, uri, lifetime));
        }

        if self.numbers.len() + contacts.len() > MAX_BINDINGS
            && contacts.iter().any(|(contact, uri, _)| !known.iter().any(|b| b.is_of(contact, uri)))
        {
            return Err(Refusal::Full);
        }

        let mut changes = Changes::default();
        let expired = known.iter().filter(|b| b.expires <= now);
        changes.gone.extend(expired.map(|b| (b.flow, Gone::Expired)));
        if !changes.gone.is_empty() {
            self.drop_where(number, |b| b.expires <= now);
        }
        for (contact, uri, lifetime) in contacts {
            if lifetime.is_zero() {
                let list = self.by_number.get(number).into_iter().flatten();
                changes
                    .gone
                    .extend(list.filter(|b| b.is_of(&contact, &uri)).map(|b| (b.flow, Gone::Removed)));
                self.drop_where(number, |b| b.is_of(&contact, &uri));
                continue;
            }
            let list = match self.by_number.get_mut(number) {
                Some(list) => list,
                None => self.by_number.entry(number.clone()).or_default(),
            };
            let known = list.iter().position(|b| b.is_of(&contact, &uri));
            let binding = match known {
                Some(at) => &mut list[at],
                None => {
                    if list.len() >= most {
                        // A phone that lost its memory must not lock itself out: the one that is
                        // least likely to be alive makes room.
                        let worst = list
                            .iter()
                            .enumerate()
                            .min_by_key(|(_, b)| (b.connected, std::cmp::Reverse(b.unanswered), b.expires));
                        if let Some((at, _)) = worst {
                            let worst = list.remove(at);
                            changes.gone.push((worst.flow, Gone::Replaced));
                            self.forget(&worst);
                        }
                    }
                    self.made += 1;
                    self.numbers.insert(self.made, number.clone());
                    changes.came.push(self.made);
                    self.came(flow);
                    let list = self.by_number.entry(number.clone()).or_default();
                    list.push(Binding::new(self.made, flow, &contact));
                    match list.last_mut() {
                        Some(binding) => binding,
                        None => continue,
                    }
                }
            };
            let before = std::mem::replace(&mut binding.flow, flow);
            if before != flow {
                changes.came.push(binding.id);
                let has_ended = before.is_reliable() && !binding.connected;
                changes.moved.push(Moved { from: before, to: flow, has_ended });
            }
            if flow.is_reliable() {
                let ids = self.streams.entry(flow.stream.0).or_default();
                if !ids.contains(&binding.id) {
                    ids.retain(|id| self.numbers.contains_key(id));
                    ids.push(binding.id);
                }
            }
            let mut is_news = known.is_none() || before != flow;
            is_news |= renew(&mut binding.uri, contact.uri);
            is_news |= renew(&mut binding.call_id, call_id);
            is_news |= renew(&mut binding.path, &path);
            is_news |= match find_param(contact.params, "expires") {
                Some(_) => renew(&mut binding.params, &without_expires(contact.params)),
                None => renew(&mut binding.params, contact.params),
            };
            let (q, behind_nat) =
                (contact.param("q").map_or(1000, preference), uri.host != Host::Ip(flow.source()));
            is_news |= (binding.q, binding.behind_nat) != (q, behind_nat);
            (binding.q, binding.behind_nat) = (q, behind_nat);
            if known.is_none() || before != flow {
                (binding.since, binding.round_trip) = (now, None);
            }
            let agent = request.first(Name::UserAgent).unwrap_or_default();
            renew(&mut binding.agent, agent.get(..MAX_AGENT).unwrap_or(agent));
            binding.connected = true;
            binding.expires = now + lifetime;
            binding.grace = lifetime;
            binding.cseq = cseq;
            binding.unanswered = 0;
            self.records.extend(binding.note(now, number, is_news));
        }
        for Moved { from, to, .. } in &changes.moved {
            self.came(*to);
            self.left(*from);
        }
        Ok(changes)
    }

    /// Takes bindings of an extension out.
    fn drop_where(&mut self, number: &Number, goes: impl Fn(&Binding) -> bool) {
        let Some(list) = self.by_number.get_mut(number) else { return };
        let gone: Vec<Binding> = list.extract_if(.., |b| goes(b)).collect();
        if list.is_empty() {
            self.by_number.remove(number);
        }
        for binding in gone {
            self.forget(&binding);
        }
    }

    fn forget(&mut self, binding: &Binding) {
        self.records.push(Record::Unbound(binding.id));
        self.left(binding.flow);
        self.numbers.remove(&binding.id);
        if let Some((ping, _)) = binding.ping {
            self.pings.remove(&ping);
        }
    }

    /// `Contact` header lines of all bindings of an extension, each with the time it has left.
    pub(super) fn write_contacts(&self, out: &mut Vec<u8>, number: &str, now: Instant) {
        for binding in self.by_number.get(number).into_iter().flatten() {
            let left = (binding.expires - now).as_millis().div_ceil(1000);
            if left == 0 {
                continue;
            }
            out.extend_from_slice(b"Contact: <");
            out.extend_from_slice(&binding.uri);
            out.push(b'>');
            out.extend_from_slice(&binding.params);
            // Writing to a vector cannot fail.
            let _ = write!(out, ";expires={left}\r\n");
        }
    }

    /// When each binding of an extension wants its timer, if it is not armed for that already.
    pub(super) fn wakes(
        &mut self,
        config: &Config,
        now: Instant,
        number: &str,
    ) -> Vec<(Duration, BindingId)> {
        let mut wakes = Vec::new();
        for binding in self.by_number.get_mut(number).into_iter().flatten() {
            let wake = next_wake(config, now, binding);
            if wake < binding.wake {
                binding.wake = wake;
                wakes.push((wake - now, binding.id));
            }
        }
        wakes
    }

    /// A binding's timer has come: what to do, and when it wants to be woken again.
    pub(super) fn timer(
        &mut self,
        config: &Config,
        now: Instant,
        id: BindingId,
    ) -> (Option<Due>, Option<Duration>) {
        let Some(number) = self.numbers.get(&id).cloned() else { return (None, None) };
        let Some(binding) = self.get_mut(id) else { return (None, None) };
        if now < binding.wake {
            return (None, None); // a later one is armed
        }
        if binding.expires <= now {
            let flow = binding.flow;
            self.drop_where(&number, |b| b.id == id);
            return (Some(Due::Expired(number, flow)), None);
        }
        binding.wake = next_wake(config, now, binding);
        let again = binding.wake - now;
        let wants = !binding.flow.is_reliable() && !config.keep_alive.is_zero();
        let due = wants.then(|| Due::Ping(number, Box::new(binding.clone())));
        (due, Some(again))
    }

    /// OPTIONS was sent to a binding.
    pub(super) fn pinged(&mut self, now: Instant, id: BindingId, ping: ClientId) {
        let Some(binding) = self.get_mut(id) else { return };
        let before = binding.ping.replace((ping, now));
        if let Some((before, _)) = before {
            binding.unanswered += 1;
            self.pings.remove(&before);
        }
        self.pings.insert(ping, id);
    }

    /// A response came to a request that is no transaction. True: it was OPTIONS to a binding.
    pub(super) fn answered(&mut self, now: Instant, ping: ClientId) -> bool {
        let Some(id) = self.pings.remove(&ping) else { return false };
        if let Some(binding) = self.get_mut(id) {
            binding.round_trip = binding.ping.take().map(|(_, sent)| now - sent);
            binding.unanswered = 0;
        }
        true
    }

    /// Goes by another configuration: bindings of extensions that it does not have are gone, and are returned.
    /// Phones on UDP can be called where it listens; connections stand, wherever they were accepted.
    pub(super) fn reload(&mut self, config: &Config) -> Vec<(Number, Flow)> {
        let removed = self.by_number.keys().filter(|number| !config.extensions.contains_key(*number));
        let removed: Vec<Number> = removed.cloned().collect();
        let mut gone = Vec::new();
        for number in removed {
            let list = self.by_number.get(&number).into_iter().flatten();
            gone.extend(list.map(|binding| (number.clone(), binding.flow)));
            self.drop_where(&number, |_| true);
        }
        for binding in self.by_number.values_mut().flatten().filter(|binding| !binding.flow.is_reliable()) {
            binding.connected = config.listens(binding.flow.transport, binding.flow.local);
        }
        gone
    }

    /// A stream is gone. Its bindings stay, so that the phone finds its calls again when it
    /// comes back, but nobody is called there. Returns the streams at which its phones are already.
    pub(super) fn closed(&mut self, stream: StreamId) -> Vec<Flow> {
        let mut elsewhere = Vec::new();
        for id in self.streams.remove(&stream.0).unwrap_or_default() {
            let Some(binding) = self.get_mut(id).filter(|binding| binding.flow.is_reliable()) else {
                continue;
            };
            match binding.flow.stream == stream {
                true => binding.connected = false,
                false => elsewhere.push(binding.flow),
            }
        }
        elsewhere
    }
}

fn next_wake(config: &Config, now: Instant, binding: &Binding) -> Instant {
    if binding.flow.is_reliable() || config.keep_alive.is_zero() {
        // In short steps, so that a binding that is replaced leaves no timer for an hour.
        return binding.expires.min(now + T1_64);
    }
    // Up to a tenth earlier, by identity, so that phones which came together do not stay together.
    let early = config.keep_alive.as_millis() as u64 / 10;
    let early = Duration::from_millis(binding.id.wrapping_mul(7919) % early.max(1));
    (now + config.keep_alive.saturating_sub(early)).min(binding.expires)
}

/// How long a contact is to hold, at most this long.
fn lifetime(
    config: &Config,
    most: Duration,
    contact: &NameAddr<'_>,
    request: &Message<'_>,
) -> Result<Duration, Refusal> {
    let asked = contact.param("expires").or_else(|| request.first(Name::Expires));
    let asked = match asked {
        Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            decimal(digits).map_or(most, Duration::from_secs)
        }
        _ => most, // missing or malformed (RFC 3261 §10.2.1.1)
    };
    match asked {
        asked if asked.is_zero() => Ok(asked),
        asked if asked < config.register_expires.min => Err(Refusal::TooBrief),
        asked => Ok(asked.min(most)),
    }
}

fn device<'a>(contact: &NameAddr<'a>) -> Option<(&'a [u8], u64)> {
    let instance = contact.param("+sip.instance").filter(|i| !i.is_empty())?;
    Some((instance, contact.param("reg-id").and_then(decimal).unwrap_or(0)))
}

/// Takes a new value; whether it is another one. A refresh that changes nothing allocates nothing.
fn renew(old: &mut Box<[u8]>, new: &[u8]) -> bool {
    let is_other = **old != *new;
    if is_other {
        *old = new.into();
    }
    is_other
}

/// A qvalue in thousandths (RFC 3261 §25.1); what is none says no more than 1 does. Not by way of a float: the tables
/// with which the standard library reads those are 14 kB.
fn preference(q: &[u8]) -> u16 {
    let point = q.iter().position(|&octet| octet == b'.').unwrap_or(q.len());
    let (whole, part) = (&q[..point], q.get(point + 1..).unwrap_or_default());
    let is_qvalue = !(whole.is_empty() && part.is_empty())
        && whole.iter().all(|&octet| octet == b'0')
        && part.iter().all(u8::is_ascii_digit);
    let digit = |at: usize| part.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    if is_qvalue { digit(0) * 100 + digit(1) * 10 + digit(2) } else { 1_000 }
}

fn without_expires(text: &[u8]) -> Box<[u8]> {
    if find_param(text, "expires").is_none() {
        return text.into();
    }
    let mut kept = Vec::with_capacity(text.len());
    for (name, value) in params(text).filter(|(name, _)| !name.eq_ignore_ascii_case(b"expires")) {
        kept.push(b';');
        kept.extend_from_slice(name);
        if let Some(value) = value {
            kept.push(b'=');
            kept.extend_from_slice(value);
        }
    }
    kept.into()
}

/// The values of a list header in one line.
pub(super) fn join<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut line = Vec::new();
    for value in values {
        if !line.is_empty() {
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(value);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::preference;

    #[test]
    fn a_phone_is_preferred_by_thousandths() {
        for (q, thousandths) in [
            ("0", 0),
            ("0.7", 700),
            ("0.25", 250),
            ("0.999", 999),
            (".5", 500),
            ("0.00099", 0),
            ("1", 1_000),
            ("1.000", 1_000),
            ("", 1_000),
            (".", 1_000),
            ("-1", 1_000),
            ("0.x", 1_000),
            ("high", 1_000),
        ] {
            assert_eq!(preference(q.as_bytes()), thousandths, "{q}");
        }
    }
}

//! What must be so after each step, whatever the phones and the network do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use denwa::guard::Prefix;
use denwa::media::{Admit, Side};
use denwa::switch::{Flow, Instant};

use crate::network::Network;
use crate::phone::{Call, Phone, Stage};
use crate::relay::Relay;
use crate::sdp::Sdp;
use crate::sip::{Message, uri_of, user_of};

/// How long one side of a call may believe in it after the other has ended it: a BYE needs up to
/// 64·T1 to arrive here, and as long again to arrive there.
const HALF_UP: Duration = Duration::from_secs(75);

/// How long the exchange may wait for an ACK.
const ON_ITS_WAY: Duration = Duration::from_secs(33);

/// Header fields that the exchange may add, change or remove on the way.
const HOP: [&str; 12] = [
    "Via",
    "Route",
    "Record-Route",
    "Max-Breadth",
    "Max-Forwards",
    "Contact",
    "Content-Length",
    "Proxy-Authorization",
    "Authorization",
    "P-Asserted-Identity",
    "Remote-Party-ID",
    "Refer-To",
];

#[derive(Default)]
pub struct Laws {
    /// Each message that a phone wrote, by its stamp, and who wrote it.
    written: HashMap<String, (usize, Message)>,
    /// Where each request came from, by branch and method, and who wrote it.
    arrived: HashMap<(String, String), (Vec<Flow>, Option<usize>)>,
    /// The INVITE transactions of the phones.
    invites: BTreeMap<String, Invite>,
    /// Calls that only one side believes in, and since when.
    half_up: BTreeMap<(usize, u64), Instant>,
    /// Calls with the exchange itself whose media disagree, and since when.
    askew: BTreeMap<(usize, u64), Instant>,
    /// When all bindings of a number were last taken back.
    starred: BTreeMap<String, Instant>,
    /// Phones to which something happened that excuses much.
    disturbed: BTreeSet<usize>,
    /// Calls in which a BYE was sent: what is still on its way has no relay.
    ended: HashSet<String>,
    /// Which phones were sent the INVITE of which call.
    rung: HashSet<(String, usize)>,
    /// When something was last said in a call, by Call-ID.
    said: HashMap<String, Instant>,
    /// Sources that were not heard at some time: phones whose extension was removed try too often.
    banned: HashSet<Prefix>,
    /// Extensions that were removed at some time: their phones are strangers, and a challenge may be too long
    /// for what a stranger sent.
    removed: HashSet<String>,
    /// Calls of which a power cut took the last of what was said.
    lost: HashSet<String>,
    /// Which phones take part in a call, by Call-ID.
    parties: HashMap<String, BTreeSet<usize>>,
    /// The tags by which phones call themselves in dialogs.
    tags: HashSet<String>,
    /// What was sent of each stamped message, by flow, branch and stamp.
    sent: HashMap<(Flow, String, String), Vec<u8>>,
    /// Media pairs that were compared, for tests that want to know.
    pub compared: u64,
    /// Challenges that were sent.
    pub challenges: u64,
}

struct Invite {
    at: Instant,
    /// The number that was dialled.
    number: String,
    /// The final status that was sent to it.
    answer: Option<u16>,
    /// Whether it was before the exchange was started again.
    is_past: bool,
    summary: String,
    call_id: String,
    caller: String,
    flow: Flow,
}

impl Laws {
    /// Something happens to a phone that excuses much.
    pub fn disturb(&mut self, phone: usize) {
        self.disturbed.insert(phone);
    }

    /// An extension is not in the configuration any more.
    pub fn removed(&mut self, number: &str) {
        self.removed.insert(number.to_owned());
    }

    /// A source is not heard for a while.
    pub fn banned(&mut self, source: Prefix) {
        self.banned.insert(source);
    }

    /// The exchange is another one. What was asked in calls that have ended need not be answered by it.
    pub fn restarted(&mut self) {
        self.invites.retain(|_, invite| invite.answer.is_some() || !self.ended.contains(&invite.call_id));
        self.invites.values_mut().for_each(|invite| invite.is_past |= invite.answer.is_some());
    }

    /// And what happened since then is forgotten.
    pub fn forgotten(&mut self, since: Instant) {
        let recent = self.said.iter().filter(|(_, said)| **said >= since);
        self.lost.extend(recent.map(|(call_id, _)| call_id.clone()));
        self.invites.retain(|_, invite| !self.lost.contains(&invite.call_id));
    }

    /// A phone wrote a message.
    pub fn on_stamp(&mut self, phone: usize, stamp: String, message: Message) {
        self.parties.entry(message.call_id().to_owned()).or_default().insert(phone);
        let own = if message.is_request() { message.sender_tag() } else { message.to_tag() };
        self.tags.extend(own.map(str::to_owned));
        self.written.insert(stamp, (phone, message));
    }

    /// A message of a phone reached the exchange.
    pub fn on_arrival(&mut self, now: Instant, flow: Flow, message: &Message) {
        self.said.insert(message.call_id().to_owned(), now);
        if !message.is_request() {
            return;
        }
        if message.method() == "BYE" {
            self.ended.insert(message.call_id().to_owned());
        }
        let (branch, method) = (message.branch().to_owned(), message.method().to_owned());
        if method == "INVITE" && !self.invites.contains_key(&branch) {
            let invite = Invite {
                at: now,
                number: user_of(message.uri()).to_owned(),
                answer: None,
                is_past: false,
                summary: message.summary(),
                call_id: message.call_id().to_owned(),
                caller: user_of(uri_of(message.get("From").unwrap_or_default())).to_owned(),
                flow,
            };
            self.invites.insert(branch.clone(), invite);
        }
        if method == "REGISTER" && message.get("Contact") == Some("*") {
            let number = message.get("To").map(|to| user_of(uri_of(to)).to_owned());
            self.starred.insert(number.unwrap_or_default(), now);
        }
        let author =
            message.get("X-Sim").and_then(|stamp| self.written.get(stamp)).map(|(author, _)| *author);
        let (flows, by) = self.arrived.entry((branch, method)).or_default();
        *by = by.or(author);
        if !flows.contains(&flow) {
            flows.push(flow);
        }
    }

    /// The exchange sends a message: what is wrong with that.
    pub fn on_send(
        &mut self,
        now: Instant,
        network: &Network,
        phones: &[Phone],
        flow: &Flow,
        bytes: &[u8],
    ) -> Option<String> {
        if bytes == b"\r\n" {
            return None;
        }
        let message = match Message::read(bytes) {
            Ok(message) => message,
            Err(error) => {
                let text = String::from_utf8_lossy(bytes);
                return Some(format!("a malformed message, {error}:\n{text}"));
            }
        };
        self.said.insert(message.call_id().to_owned(), now);
        let broken = match message.is_request() {
            true => self.on_request_sent(phones, network.phone_at(flow), &message),
            false => self.on_response_sent(now, network, phones, flow, &message),
        };
        let broken = broken.or_else(|| self.check_unchanged(&message));
        let broken = broken.or_else(|| self.check_repeated(flow, &message, bytes));
        broken.map(|text| format!("{text}:\n{}", String::from_utf8_lossy(bytes)))
    }

    fn on_request_sent(&mut self, phones: &[Phone], to: Option<usize>, request: &Message) -> Option<String> {
        if let (Some(phone), "INVITE") = (to, request.method()) {
            self.rung.insert((request.call_id().to_owned(), phone));
        }
        if request.method() == "BYE" {
            self.ended.insert(request.call_id().to_owned());
        }
        let author = request.get("X-Sim").and_then(|stamp| self.written.get(stamp));
        let (author, _) = author?;
        if request.method() == "INVITE" && request.to_tag().is_none() {
            for name in ["P-Asserted-Identity", "Remote-Party-ID"] {
                let shown = request.all(name).first().map(|value| user_of(uri_of(value)).to_owned());
                let number = &phones[*author].spec.number;
                if shown.as_ref() != Some(number) {
                    return Some(format!("{name} says {shown:?}, the caller is {number}"));
                }
            }
        }
        let secrets = ["Proxy-Authorization", "Authorization"];
        let leaked = secrets.iter().find(|name| request.get(name).is_some());
        if let (Some(name), Some(_)) = (leaked, to) {
            return Some(format!("{name} is forwarded"));
        }
        None
    }

    /// A response goes only where its request came from, or where that is now if its connection has ended; an INVITE
    /// has one final answer.
    fn on_response_sent(
        &mut self,
        now: Instant,
        network: &Network,
        phones: &[Phone],
        flow: &Flow,
        response: &Message,
    ) -> Option<String> {
        let key = (response.branch().to_owned(), response.method().to_owned());
        let came_from = self.arrived.get(&key);
        let is_there = |(flows, author): &(Vec<Flow>, Option<usize>)| {
            let is_next = |from: &Flow| {
                (from.transport, from.source()) == (flow.transport, flow.source()) && network.is_closed(from)
            };
            let is_its = author.is_some() && network.phone_at(flow) == *author;
            flows.iter().any(|from| from == flow || is_its && is_next(from))
        };
        if !came_from.is_some_and(is_there) {
            return Some(format!("a response to {flow:?}, but its request came from {came_from:?}"));
        }
        let status = response.status();
        self.challenges += u64::from(matches!(status, 401 | 407));
        if key.1 != "INVITE" || status < 200 {
            return None;
        }
        let invite = self.invites.get_mut(&key.0)?;
        let earlier = invite.answer.replace(status);
        // Who asks again about what is over may be told that there is no such call.
        let is_over = status == 481 && invite.is_past && self.ended.contains(response.call_id());
        let agrees = |earlier: u16| earlier == status || (earlier < 300 && status < 300) || is_over;
        if earlier.is_some_and(|earlier| !agrees(earlier)) {
            return Some(format!("after {earlier:?} another final answer"));
        }
        let at = invite.at;
        let prompt = earlier.is_none() && at + Duration::from_secs(1) >= now;
        let own = response.get("X-Sim").is_none();
        let denied = matches!(status, 404 | 408 | 480 | 500);
        if prompt && own && denied {
            let number = invite.number.clone();
            let missed = |phone: &&Phone| {
                phone.spec.number == number
                    && number != user_of(uri_of(response.get("From").unwrap_or_default()))
                    && !self.disturbed.contains(&phone.id)
                    && !self.rung.contains(&(response.call_id().to_owned(), phone.id))
                    && is_reachable(phone, at, now)
                    && self.starred.get(&number).is_none_or(|star| registered_after(phone, *star))
            };
            if let Some(phone) = phones.iter().find(missed) {
                return Some(format!("#{} is registered and was not rung", phone.id));
            }
        }
        None
    }

    /// What is sent again is sent as it was, as long as the call lives.
    fn check_repeated(&mut self, flow: &Flow, message: &Message, bytes: &[u8]) -> Option<String> {
        let stamp = message.get("X-Sim")?.to_owned();
        let key = (*flow, message.branch().to_owned(), stamp);
        let earlier = self.sent.entry(key).or_insert_with(|| bytes.to_vec());
        // An ACK that comes late follows a phone to the Contact that it has by now, and may come by another connection.
        let rest = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let mut parts = text.split_once('\n').map_or("", |(_, rest)| rest).split(";rport=");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| {
                text + ";rport" + part.trim_start_matches(|c: char| c.is_ascii_digit())
            })
        };
        let same = rest(earlier) == rest(bytes) || self.ended.contains(message.call_id());
        (!same).then(|| format!("sent before as\n{}\nand now", String::from_utf8_lossy(earlier)))
    }

    /// What a phone wrote arrives as it was written, but for what a proxy has to change.
    fn check_unchanged(&self, message: &Message) -> Option<String> {
        let stamp = message.get("X-Sim")?;
        let Some((_, original)) = self.written.get(stamp) else {
            return Some(format!("stamp {stamp} was never written"));
        };
        if message.method() != original.method() || message.status() != original.status() {
            return Some(format!("not what was written: {}", original.summary()));
        }
        let kept = |m: &Message| -> Vec<(String, String)> {
            let kept = m.headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str()));
            kept.cloned().collect()
        };
        let (before, after) = (kept(original), kept(message));
        if let Some(lost) = before.iter().find(|header| !after.contains(header)) {
            return Some(format!("lost or changed on the way: {lost:?}"));
        }
        if let Some(new) = after.iter().find(|header| !before.contains(header)) {
            return Some(format!("added on the way: {new:?}"));
        }
        match (original.has_sdp(), message.has_sdp()) {
            (true, true) => {
                let ended = self.ended.contains(message.call_id());
                check_same_session(&original.body, &message.body, ended)
            }
            _ if original.body != message.body => Some("the body was changed".into()),
            _ => None,
        }
    }

    /// What must be so between steps. Returns the first law that is broken.
    pub fn check(&mut self, now: Instant, phones: &[Phone], relay: &Relay) -> Option<String> {
        if let Some(session) = relay.overdue(now) {
            return Some(format!("{session:?} was reported silent long ago and is still open"));
        }
        let (mut half, mut askew) = (BTreeMap::new(), BTreeMap::new());
        for phone in phones.iter().filter(|phone| phone.alive) {
            for call in phone.active_calls().filter(|call| call.is_up()) {
                if self.lost.contains(&call.call_id) {
                    continue;
                }
                match find_peer(phones, phone, call) {
                    Some((other, peer)) => {
                        if phone.id < other.id {
                            let broken = self.check_media(now, phone, call, other, peer, relay);
                            if broken.is_some() {
                                return broken;
                            }
                        }
                    }
                    None if self.answers_itself(call) => {
                        let settled = !phone.is_negotiating(call);
                        let side = settled.then(|| check_side(now, phone, call, relay));
                        if let Some(Err(broken)) = side {
                            // The ACK with the answer to a late offer may be on its way.
                            let key = (phone.id, call.key);
                            let since = *self.askew.get(&key).unwrap_or(&now);
                            askew.insert(key, since);
                            // Nor can a phone hear of an end that is away for so long.
                            if since + ON_ITS_WAY < now && !self.is_excused(call) {
                                return Some(broken);
                            }
                        }
                    }
                    None if self.is_excused(call) => {}
                    None => {
                        let since = *self.half_up.get(&(phone.id, call.key)).unwrap_or(&now);
                        half.insert((phone.id, call.key), since);
                        if since + HALF_UP < now {
                            return Some(format!(
                                "#{} is in a call ({}) whose other side ended {:?} ago",
                                phone.id,
                                call.call_id,
                                now - since
                            ));
                        }
                    }
                }
            }
        }
        self.half_up = half;
        self.askew = askew;
        None
    }

    /// What must be so when nothing has happened for long.
    pub fn check_quiet(&self, phones: &[Phone], network: &Network) -> Vec<String> {
        let lost = |invite: &&Invite| network.is_closed(&invite.flow);
        let unheard = |invite: &&Invite| {
            self.banned.contains(&Prefix::of(invite.flow.source())) || self.removed.contains(&invite.caller)
        };
        let open = self.invites.values().filter(|invite| invite.answer.is_none());
        let open = open.filter(|invite| !lost(invite) && !unheard(invite));
        let mut broken: Vec<String> =
            open.map(|invite| format!("never got a final answer: {}", invite.summary)).collect();
        for phone in phones.iter().filter(|phone| phone.alive) {
            for call in phone.active_calls().filter(|call| !self.is_excused(call)) {
                let (id, stage, call_id) = (phone.id, call.stage, &call.call_id);
                broken.push(format!("#{id} still has a call ({call_id}), {stage:?}"));
            }
        }
        broken
    }

    /// Whether the exchange itself is at the other end.
    fn answers_itself(&self, call: &Call) -> bool {
        call.dialog.as_ref().is_some_and(|dialog| !self.tags.contains(&dialog.remote_tag))
    }

    /// Whether a party of the call crashed or lost its way to the exchange since.
    fn is_excused(&self, call: &Call) -> bool {
        let parties = self.parties.get(&call.call_id);
        parties.is_some_and(|parties| parties.iter().any(|id| self.disturbed.contains(id)))
    }

    /// Each side's packets go where the relay listens for that side, and the relay sends each
    /// side's packets where its last accepted description wants them.
    fn check_media(
        &mut self,
        now: Instant,
        phone: &Phone,
        call: &Call,
        other: &Phone,
        peer: &Call,
        relay: &Relay,
    ) -> Option<String> {
        if phone.is_negotiating(call) || other.is_negotiating(peer) || peer.stage != Stage::Up {
            return None;
        }
        self.compared += 1;
        let first = check_side(now, phone, call, relay);
        let second = check_side(now, other, peer, relay);
        let (first, second) = match (first, second) {
            (Ok(Some(first)), Ok(Some(second))) => (first, second),
            (Ok(None), _) | (_, Ok(None)) => return None,
            (Err(broken), _) | (_, Err(broken)) => return Some(broken),
        };
        for (one, two) in first.iter().zip(&second) {
            match (one, two) {
                (Some((session, side)), Some((other, opposite))) => {
                    if session != other || side == opposite {
                        return Some(format!("{session:?} {side:?} faces {other:?} {opposite:?}"));
                    }
                }
                (None, None) => {}
                _ => {
                    return Some(format!("one side's stream is on, the other's off: {one:?} {two:?}"));
                }
            }
        }
        None
    }
}

/// Whether a phone is registered beyond doubt, since some time. A 200 may have needed 64·T1 to arrive, and its
/// binding is older then than the phone thinks.
fn is_reachable(phone: &Phone, since: Instant, now: Instant) -> bool {
    let margin = Duration::from_secs(40);
    let registration = &phone.registration;
    phone.alive
        && registration.wanted
        && registration.since.is_some_and(|begin| begin < since)
        && registration.until.is_some_and(|until| now + margin < until)
}

/// Whether a phone registered when nothing of an earlier registration could be on its way.
fn registered_after(phone: &Phone, since: Instant) -> bool {
    phone.registration.since.is_some_and(|begin| begin > since + ON_ITS_WAY)
}

/// The other end of a call: the same dialog seen from the other side.
fn find_peer<'a>(phones: &'a [Phone], phone: &Phone, call: &Call) -> Option<(&'a Phone, &'a Call)> {
    let dialog = call.dialog.as_ref()?;
    let mirrors = |peer: &&Call| {
        peer.dialog.as_ref().is_some_and(|d| {
            d.call_id == dialog.call_id
                && d.local_tag == dialog.remote_tag
                && d.remote_tag == dialog.local_tag
        })
    };
    let others = phones.iter().filter(|other| other.alive);
    others
        .filter_map(|other| {
            let mut calls = other.active_calls();
            let own = |peer: &Call| other.id == phone.id && peer.key == call.key;
            calls.find(|peer| mirrors(peer) && !own(peer)).map(|peer| (other, peer))
        })
        .next()
}

type Place = Option<(denwa::media::SessionId, Side)>;

/// Compares each stream of one side with the relay; returns where each was found, or nothing if
/// the exchange has just ended the call.
fn check_side(now: Instant, phone: &Phone, call: &Call, relay: &Relay) -> Result<Option<Vec<Place>>, String> {
    let (id, call_id) = (phone.id, &call.call_id);
    let (Some(local), Some(remote)) = (&call.media.local, &call.media.remote) else {
        return Err(format!("#{id} is in a call ({call_id}) without agreed media"));
    };
    let mut found = Vec::new();
    for (index, (ours, theirs)) in local.media.iter().zip(&remote.media).enumerate() {
        if ours.rtp.port() == 0 || theirs.rtp.port() == 0 {
            found.push(None);
            continue;
        }
        let Some((session, at, side, end)) = relay.find(theirs.rtp) else {
            if relay.has_ended(now, theirs.rtp) {
                return Ok(None);
            }
            let to = theirs.rtp;
            return Err(format!("#{id} ({call_id}) sends to {to}, where the relay does not listen"));
        };
        if at != index {
            return Err(format!("#{id} ({call_id}): stream {index} is {at} in the relay"));
        }
        let seen_from = phone.spec.nat.unwrap_or(ours.rtp.ip());
        let admitted = match end.admit {
            Admit::Address(address) => address == seen_from,
            Admit::Anyone => true,
        };
        if !admitted {
            return Err(format!("#{id} ({call_id}) sends from {seen_from}: {end:?}"));
        }
        let wanted = match end.remote {
            Some(to) => to.rtp == ours.rtp,
            // What a NAT hides, and what is learned, is known when it speaks.
            None => end.admit == Admit::Anyone,
        };
        if !wanted && phone.spec.nat.is_none() {
            let wants = ours.rtp;
            return Err(format!("#{id} ({call_id}) wants packets at {wants}: {end:?}"));
        }
        found.push(Some((session, side)));
    }
    Ok(Some(found))
}

/// A description is the same but for addresses and ports. When the call has ended, its streams are
/// off, but still nobody is told where the other phone is.
fn check_same_session(before: &[u8], after: &[u8], ended: bool) -> Option<String> {
    let (before, after) = match (Sdp::read(before), Sdp::read(after)) {
        (Ok(before), Ok(after)) => (before, after),
        (_, Err(error)) => return Some(error),
        (Err(_), Ok(_)) => return None,
    };
    if before.media.len() != after.media.len() {
        return Some(format!("{} m= lines became {}", before.media.len(), after.media.len()));
    }
    for (index, (old, new)) in before.media.iter().zip(&after.media).enumerate() {
        // Where ports are short, a late offer may lose all streams but the first.
        let refused = (index > 0 || ended) && new.rtp.port() == 0;
        let same = old.kind == new.kind
            && old.protocol == new.protocol
            && old.formats == new.formats
            && old.direction == new.direction
            && (refused || (old.rtp.port() == 0) == (new.rtp.port() == 0));
        if !same {
            return Some(format!("m={} was changed: {old:?} → {new:?}", old.kind));
        }
        if old.rtp.port() != 0 && old.rtp == new.rtp {
            return Some(format!("{} was not rewritten", old.rtp));
        }
    }
    (before.attributes != after.attributes)
        .then(|| format!("session attributes {:?} → {:?}", before.attributes, after.attributes))
}

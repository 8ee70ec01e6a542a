//! What an input says that happens: a byte for the deed, a byte for who does it, and what it takes.

use std::time::Duration;

use denwa::media::{Event, SessionId, Side};
use denwa::sip::Message;
use denwa::switch::Input;

use super::super::rest::Rest;
use super::alter::alter;
use super::peer::{DOMAIN, Request};
use super::world::World;

/// Who can be called.
const DIALLED: [&str; 12] = [
    "102",
    "101",
    "103",
    "104",
    "600",
    "114",
    "110",
    "999",
    "8023201",
    "8024201",
    "0451234567",
    "00451234567",
];

/// Methods outside of dialogs.
const OUTSIDE: [&str; 8] =
    ["MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH", "REFER", "NOTIFY", "REGISTER", "INVITE"];

/// Methods inside of them.
const INSIDE: [&str; 8] = ["ACK", "BYE", "PRACK", "UPDATE", "INVITE", "INFO", "REFER", "NOTIFY"];

/// How long people and machines take, in milliseconds.
const PAUSES: [u64; 12] = [0, 1, 20, 500, 1_000, 4_000, 11_000, 33_000, 61_000, 200_000, 400_000, 700_000];

/// Does what the input says next.
pub fn do_next(world: &mut World, rest: &mut Rest<'_>) {
    let deed = rest.byte();
    let peer = usize::from(rest.byte()) % world.peers.len();
    match deed % 12 {
        0 => {
            let expires = rest.pick(&[600, 60, 0, 20, 100_000]);
            world.register(peer, expires);
        }
        1 => {
            let dialled = rest.pick(&DIALLED);
            world.call(peer, dialled, rest.byte() % 8);
        }
        2 => respond(world, peer, rest),
        3 => inside(world, peer, rest),
        4 => again(world, peer, rest),
        5 => altered(world, peer, rest),
        6 => {
            let length = usize::from(rest.word() % 1024);
            world.packet(peer, rest.take(length));
        }
        7 => world.pass(Duration::from_millis(rest.pick(&PAUSES))),
        8 => outside(world, peer, rest),
        9 => {
            let cancel = world.peers[peer].cancel();
            world.packet(peer, &cancel);
        }
        10 => world.disconnect(peer),
        _ => elsewhere(world, rest),
    }
}

/// A peer answers one of the requests that it was sent.
fn respond(world: &mut World, peer: usize, rest: &mut Rest<'_>) {
    let which = usize::from(rest.byte());
    let status = rest
        .pick(&[180, 200, 183, 100, 302, 401, 486, 487, 500, 603, 200, 481, 407, 423, 503, 403, 202, 200]);
    let kind = rest.byte();
    let sender = &world.peers[peer];
    if sender.inbox.is_empty() {
        return;
    }
    let request = &sender.inbox[which % sender.inbox.len()];
    let host = sender.host();
    let mut headers = match status {
        302 => format!("Contact: <sip:103@{DOMAIN}>\r\n"),
        401 | 407 => {
            let name = if status == 401 { "WWW" } else { "Proxy" };
            let stale = if kind & 1 == 0 { "" } else { ", stale=true" };
            format!("{name}-Authenticate: Digest realm=\"x\", nonce=\"n{kind}\", qop=\"auth\"{stale}\r\n")
        }
        423 => "Min-Expires: 900\r\n".to_owned(),
        503 => "Retry-After: 20\r\n".to_owned(),
        200 if request.starts_with(b"REGISTER ") => registered(request),
        _ => format!("Contact: <sip:{}@{host}>\r\n", sender.number),
    };
    if kind & 0x80 != 0 && status < 200 {
        headers += "Require: 100rel\r\nRSeq: 1\r\n";
    }
    let sdp = if kind & 0x40 == 0 { sender.sdp(kind & 0x0f) } else { Vec::new() };
    if !sdp.is_empty() {
        headers += "Content-Type: application/sdp\r\n";
    }
    if let Some(response) = sender.response(request, status, &headers, &sdp) {
        world.packet(peer, &response);
    }
}

/// What a registrar says to a request.
fn registered(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let contact = text.lines().find(|line| line.starts_with("Contact:")).unwrap_or_default();
    format!("{contact}\r\nExpires: 600\r\n")
}

/// A Refer-To that names the dialog of a message.
fn refer_to(message: &[u8], dialled: &str) -> String {
    let Ok(message) = Message::parse(message) else { return String::new() };
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).replace('@', "%40");
    let (call, to, from) = (text(message.call_id()), text(message.to_tag()), text(message.from_tag()));
    format!("Refer-To: <sip:{dialled}@{DOMAIN}?Replaces={call}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}>\r\n")
}

/// A peer sends a request inside a dialog of which it got a message.
fn inside(world: &mut World, peer: usize, rest: &mut Rest<'_>) {
    let which = usize::from(rest.byte());
    let method = rest.pick(&INSIDE);
    let kind = rest.byte();
    let sender = &mut world.peers[peer];
    if sender.inbox.is_empty() {
        return;
    }
    let of = sender.inbox[which % sender.inbox.len()].clone();
    let other = sender.inbox[(which >> 4) % sender.inbox.len()].clone();
    let (number, host) = (sender.number, sender.host());
    let mut headers = format!("Contact: <sip:{number}@{host}>\r\n");
    headers += &match method {
        "PRACK" => "RAck: 1 1 INVITE\r\n".to_owned(),
        "REFER" if kind & 1 == 0 => {
            let dialled = DIALLED[usize::from(kind >> 1) % DIALLED.len()];
            format!("Refer-To: <sip:{dialled}@{DOMAIN}>\r\n")
        }
        "REFER" => refer_to(&other, DIALLED[usize::from(kind >> 1) % DIALLED.len()]),
        "NOTIFY" => "Event: refer\r\nSubscription-State: terminated\r\n".to_owned(),
        _ => String::new(),
    };
    let sdp = if kind & 0x40 == 0 { sender.sdp(kind & 0x0f) } else { Vec::new() };
    if !sdp.is_empty() {
        headers += "Content-Type: application/sdp\r\n";
    }
    if let Some(request) = sender.inside(&of, method, &headers, &sdp) {
        world.packet(peer, &request);
    }
}

/// A packet that came or went comes again, from anybody.
fn again(world: &mut World, peer: usize, rest: &mut Rest<'_>) {
    let which = usize::from(rest.byte());
    let same = rest.yes();
    if world.packets.is_empty() {
        return;
    }
    let (whose, bytes) = world.packets[which % world.packets.len()].clone();
    world.packet(if same { whose } else { peer }, &bytes);
}

/// The same, altered; with credentials if the peer has some.
fn altered(world: &mut World, peer: usize, rest: &mut Rest<'_>) {
    let which = usize::from(rest.byte());
    let how = rest.byte();
    if world.packets.is_empty() {
        return;
    }
    let (whose, bytes) = world.packets[which % world.packets.len()].clone();
    let mut bytes = alter(&bytes, rest);
    let sender = if how & 1 == 0 { whose } else { peer };
    if how & 2 != 0 {
        let realm = world.realm();
        bytes = world.peers[sender].authorized(&bytes, realm);
    }
    world.packet(sender, &bytes);
}

/// A request outside of dialogs, with lines of the input's own.
fn outside(world: &mut World, peer: usize, rest: &mut Rest<'_>) {
    let (method, dialled) = (rest.pick(&OUTSIDE), rest.pick(&DIALLED));
    let how = rest.byte();
    let length = usize::from(rest.byte());
    let lines = String::from_utf8_lossy(rest.take(length)).into_owned();
    let uri = if how & 1 == 0 { format!("sip:{dialled}@{DOMAIN}") } else { format!("sip:{DOMAIN}") };
    let to = if how & 2 == 0 { format!("<sip:{dialled}@{DOMAIN}>") } else { "<sip:x@y>;tag=1".into() };
    let headers = if lines.is_empty() { lines } else { format!("{lines}\r\n") };
    world.ask(peer, &Request { method, uri, to, headers, body: b"" });
}

/// What comes neither from phones nor from strangers.
fn elsewhere(world: &mut World, rest: &mut Rest<'_>) {
    let kind = rest.byte();
    let session = SessionId(u64::from(rest.byte() % 8));
    let side = if kind & 0x10 == 0 { Side::A } else { Side::B };
    let input = match kind % 5 {
        0 => Input::Media(Event::Silent { session, side }),
        1 => {
            world.relay.fail_next = true;
            Input::Tick
        }
        2 => Input::Clock(u64::from(rest.word()) << 32),
        3 => Input::HangUp("the operator wants it"),
        _ => Input::MachineStops((kind & 0x20 == 0).then(|| Duration::from_secs(rest.byte().into()))),
    };
    world.input(input);
}

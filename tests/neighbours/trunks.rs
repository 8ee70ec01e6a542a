//! A provider's line: registered with, asked for passwords, and never trusted with more than it needs.

use std::net::SocketAddr;
use std::time::Duration;

use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};

use crate::kit::*;

const TRUNK: &str = "trunk.isp = sip:0312345678@203.0.113.9\ntrunk.isp.password = pstn-secret\n\
    trunk.isp.auth-user = u777\ntrunk.isp.numbers = 101 102\nroute.0 = trunk.isp\n";

fn provider() -> SocketAddr {
    "203.0.113.9:5060".parse().unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const REALM: &str =
    "WWW-Authenticate: Digest realm=\"isp.example\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
const PROXY: &str =
    "Proxy-Authenticate: Digest realm=\"isp.example\", nonce=\"n2\", opaque=\"o\", qop=\"auth,auth-int\"\r\n";

/// Whether a request proves who we are there.
fn is_proved(request: &str, nonce: &str) -> bool {
    is_proved_by(Algorithm::Md5, request, nonce)
}

fn is_proved_by(algorithm: Algorithm, request: &str, nonce: &str) -> bool {
    let challenge =
        format!("SIP/2.0 401 x\r\nWWW-Authenticate: Digest realm=\"isp.example\",nonce=\"{nonce}\"\r\n");
    let line =
        request.lines().find(|l| l.starts_with("Authorization") || l.starts_with("Proxy-Auth")).unwrap();
    let cnonce = between(line, "cnonce=\"", "\"");
    let bare = format!("{} {} SIP/2.0\r\nMax-Forwards: 70\r\n", word(request, 0), word(request, 1));
    let expected = prove_with(algorithm, &bare, &challenge, cnonce);
    line.contains("username=\"u777\"") && between(line, "response=\"", "\"") == expected
}

fn prove_with(algorithm: Algorithm, request: &str, challenge: &str, cnonce: &str) -> String {
    let (realm, nonce) = (between(challenge, "realm=\"", "\""), between(challenge, "nonce=\"", "\""));
    let ha1 = Ha1::new(b"u777", realm.as_bytes(), b"pstn-secret");
    let qop = Qop::Auth { nc: 1, nc_raw: b"00000001", cnonce: cnonce.as_bytes() };
    let (method, uri) = (word(request, 0).as_bytes(), word(request, 1).as_bytes());
    respond(algorithm, &ha1, method, uri, nonce.as_bytes(), &qop).unwrap()
}

/// A world in which the trunk is registered for 600 s, and the REGISTER that did it.
fn registered() -> (World, String) {
    let (mut world, sent) = World::new(TRUNK, &[101, 102]);
    let register = one(&sent, provider(), "REGISTER").to_owned();
    let sent = world.say(provider(), &answer(&register, 401, "t", REALM, ""));
    let register = one(&sent, provider(), "REGISTER").to_owned();
    let contact = header(&register, "Contact").to_owned();
    let ok = answer(&register, 200, "t", &format!("Contact: {contact};expires=600\r\n"), "");
    assert!(world.say(provider(), &ok).is_empty());
    (world, register)
}

#[test]
fn registers_with_its_password_and_again_in_time() {
    let (mut world, register) = registered();
    assert!(register.starts_with("REGISTER sip:203.0.113.9 SIP/2.0\r\n"), "{register}");
    assert!(header(&register, "To").starts_with("<sip:0312345678@203.0.113.9>"));
    assert_eq!((cseq(&register), count(&register, "Via")), (2, 1));
    assert!(is_proved(&register, "n1"));
    assert!(world.told.iter().any(|t| t == "trunk.isp is registered, for 600 s"), "{:?}", world.told);
    let contact = between(header(&register, "Contact"), "<sip:", "@");
    assert!(contact.len() >= 12 && contact != "0312345678", "nobody can guess it: {contact}");

    none(&world.wait(seconds(500)), provider(), "REGISTER");
    let sent = world.wait(seconds(50));
    let again = one(&sent, provider(), "REGISTER");
    assert_eq!((header(again, "Call-ID"), cseq(again)), (header(&register, "Call-ID"), 3));
}

#[test]
fn a_provider_that_wants_it_longer_gets_it_and_one_that_never_has_enough_is_left_alone() {
    let (mut world, sent) = World::new(TRUNK, &[101, 102]);
    let register = one(&sent, provider(), "REGISTER").to_owned();
    let sent = world.say(provider(), &answer(&register, 423, "t", "Min-Expires: 3600\r\n", ""));
    let longer = one(&sent, provider(), "REGISTER").to_owned();
    assert_eq!(header(&longer, "Expires"), "3600");
    let sent = world.say(provider(), &answer(&longer, 423, "t", "Min-Expires: 7200\r\n", ""));
    none(&sent, provider(), "REGISTER");
    none(&world.wait(seconds(290)), provider(), "REGISTER");
}

/// Whichever it names first: who can break the weaker one could otherwise put it there.
#[test]
fn of_what_a_provider_offers_the_strongest_is_taken() {
    let sha = REALM.replace("MD5", "SHA-256");
    let later = REALM.replace("MD5", "SHA-512-256");
    for offered in [format!("{sha}{REALM}"), format!("{REALM}{sha}"), format!("{later}{sha}")] {
        let (mut world, sent) = World::new(TRUNK, &[101, 102]);
        let register = one(&sent, provider(), "REGISTER").to_owned();
        let sent = world.say(provider(), &answer(&register, 401, "t", &offered, ""));
        let register = one(&sent, provider(), "REGISTER");
        assert!(header(register, "Authorization").contains("algorithm=SHA-256"), "{register}");
        assert!(is_proved_by(Algorithm::Sha256, register, "n1"), "{register}");
    }
    // What denwa does not know is not answered.
    let (mut world, sent) = World::new(TRUNK, &[101, 102]);
    let register = one(&sent, provider(), "REGISTER").to_owned();
    none(&world.say(provider(), &answer(&register, 401, "t", &later, "")), provider(), "REGISTER");
}

#[test]
fn a_wrong_password_is_not_tried_all_day() {
    let (mut world, sent) = World::new(TRUNK, &[101, 102]);
    let mut register = one(&sent, provider(), "REGISTER").to_owned();
    let sent = world.say(provider(), &answer(&register, 401, "t", REALM, ""));
    register = one(&sent, provider(), "REGISTER").to_owned();
    // The same again, with another nonce: it is no stale one, so the password is wrong.
    let sent = world.say(provider(), &answer(&register, 401, "t", &REALM.replace("n1", "n9"), ""));
    none(&sent, provider(), "REGISTER");
    assert!(
        world.told.iter().any(|t| t.contains("does not take our user and password (trunk.isp.password)"))
    );
    let sent = world.wait(seconds(3600));
    let tries = sent.iter().filter(|(_, m)| m.starts_with("REGISTER") && cseq(m) == 3).count();
    assert!((1..=11).contains(&tries), "one transaction, sent again as UDP wants: {tries}");
}

#[test]
fn a_stale_nonce_is_answered_once_more_and_one_who_always_asks_is_not() {
    let (mut world, sent) = World::new(TRUNK, &[101, 102]);
    let mut request = one(&sent, provider(), "REGISTER").to_owned();
    let mut asked = 0;
    for n in 0..10 {
        let stale = REALM.replace("n1", &format!("n{n}\", stale=\"true"));
        let sent = world.say(provider(), &answer(&request, 401, "t", &stale, ""));
        match sent.iter().find(|(_, m)| m.starts_with("REGISTER")) {
            Some((_, again)) => request = again.clone(),
            None => break,
        }
        asked += 1;
    }
    assert_eq!(asked, 2);
}

#[test]
fn a_provider_without_time_is_asked_when_it_has() {
    let (mut world, sent) = World::new(TRUNK, &[101, 102]);
    let register = one(&sent, provider(), "REGISTER").to_owned();
    world.say(provider(), &answer(&register, 503, "t", "Retry-After: 120 (maintenance)\r\n", ""));
    none(&world.wait(seconds(118)), provider(), "REGISTER");
    one(&world.wait(seconds(2)), provider(), "REGISTER");
}

#[test]
fn a_call_leaves_in_our_name_and_the_phone_never_sees_the_challenge() {
    let (mut world, _) = registered();
    let (sent, invite) = world.dial(101, "0451234567");
    let first = one(&sent, provider(), "INVITE").to_owned();
    assert!(first.starts_with("INVITE sip:0451234567@203.0.113.9 SIP/2.0\r\n"), "{first}");
    assert!(header(&first, "From").starts_with("<sip:0312345678@203.0.113.9>;tag="), "{first}");
    assert_ne!(header(&first, "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!((count(&first, "Via"), count(&first, "Record-Route"), count(&first, "Route")), (1, 0, 0));
    let head = first.split("\r\n\r\n").next().unwrap();
    assert!(!head.contains("198.51.100.101"), "nothing of the phone is told: {first}");
    assert!(!head.contains("101@") && !head.contains("pbx.test"), "nor of the house: {first}");
    assert_eq!(header(&first, "P-Asserted-Identity"), "<sip:0312345678@203.0.113.9>");
    assert!(!first.contains("Proxy-Authorization"), "its password is for us: {first}");

    let sent = world.say(provider(), &answer(&first, 407, "t", PROXY, ""));
    one(&sent, provider(), "ACK");
    let second = one(&sent, provider(), "INVITE").to_owned();
    none(&sent, World::at(101), "SIP/2.0 407");
    assert_eq!(cseq(&second), cseq(&first) + 1);
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert!(is_proved(&second, "n2") && second.contains("opaque=\"o\""));

    let sent = world.say(provider(), &answer(&second, 180, "far", "", ""));
    let ringing = one(&sent, World::at(101), "SIP/2.0 180");
    assert_eq!(header(ringing, "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!(header(ringing, "CSeq"), header(&invite, "CSeq"));

    let more = "Contact: <sip:gw@203.0.113.77:5070>\r\nRecord-Route: <sip:edge2.isp;lr>\r\nRecord-Route: <sip:edge1.isp;lr>\r\n";
    let ok = answer(&second, 200, "far", more, &sdp(provider(), 7000));
    let sent = world.say(provider(), &ok);
    let ok_in = one(&sent, World::at(101), "SIP/2.0 200").to_owned();
    assert_eq!(count(&ok_in, "Record-Route"), 1, "the provider's routes mean nothing to a phone: {ok_in}");
    assert!(!ok_in.contains("203.0.113.77"), "its contact is masked: {ok_in}");
    assert!(header(&ok_in, "From").contains("sip:101@pbx.test"), "{ok_in}");

    let number = cseq(&invite);
    let sent = world.say(World::at(101), &in_dialog(&ok_in, "ACK", number, World::at(101)));
    let ack = one(&sent, provider(), "ACK");
    assert!(ack.starts_with("ACK sip:gw@203.0.113.77:5070 SIP/2.0"), "{ack}");
    assert_eq!(cseq(ack), cseq(&second), "the ACK of the second INVITE");
    let routes: Vec<&str> = ack.lines().filter(|l| l.starts_with("Route")).collect();
    assert_eq!(routes, ["Route: <sip:edge1.isp;lr>, <sip:edge2.isp;lr>"]);

    // The provider asks for a password of the BYE as well.
    let sent = world.say(World::at(101), &in_dialog(&ok_in, "BYE", number + 1, World::at(101)));
    let bye = one(&sent, provider(), "BYE").to_owned();
    assert_eq!(cseq(&bye), cseq(&second) + 1);
    let sent = world.say(provider(), &answer(&bye, 401, "far", REALM, ""));
    none(&sent, World::at(101), "SIP/2.0 401");
    let again = one(&sent, provider(), "BYE").to_owned();
    assert_eq!(cseq(&again), cseq(&second) + 2);
    assert!(is_proved(&again, "n1"));
    let sent = world.say(provider(), &answer(&again, 200, "far", "", ""));
    let done = one(&sent, World::at(101), "SIP/2.0 200");
    assert_eq!(cseq(done), number + 1);
    world.is_at_rest();
}

#[test]
fn a_call_comes_in_from_any_server_of_the_provider_to_the_contact_that_we_registered() {
    let (mut world, register) = registered();
    let uri = between(header(&register, "Contact"), "<", ">").to_owned();
    let other: SocketAddr = "203.0.113.200:5099".parse().unwrap();
    let body = sdp(other, 8000);
    let invite = |uri: &str| {
        format!(
            "INVITE {uri} SIP/2.0\r\nv: SIP/2.0/UDP {other};branch=z9hG4bKprov1;rport\r\nv: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKcore\r\n\
         Max-Forwards: 69\r\nRecord-Route: <sip:edge1.isp;lr>\r\nf: \"Taro\" <sip:09011112222@isp.example;user=phone>;tag=p1\r\n\
         t: <sip:0312345678@isp.example>\r\ni: call-1@isp\r\nCSeq: 700 INVITE\r\nm: <sip:gw@{other}>\r\nSupported: timer\r\n\
         c: application/sdp\r\nl: {}\r\n\r\n{body}",
            body.len()
        )
    };
    none(
        &world.say(other, &invite("sip:0312345678@192.0.2.1").replace("prov1", "x")),
        World::at(101),
        "INVITE",
    );

    let sent = world.say(other, &invite(&uri));
    one(&sent, World::at(102), "INVITE");
    let rung = one(&sent, World::at(101), "INVITE").to_owned();
    assert!(header(&rung, "From").starts_with("\"Taro\" <sip:09011112222@pbx.test>;tag=p1"), "{rung}");
    assert_eq!((count(&rung, "Via"), count(&rung, "v"), count(&rung, "Record-Route")), (1, 0, 1), "{rung}");
    let others = rung.replace("call-1@isp", "");
    assert!(!others.contains("isp"), "nothing of the provider is told, but the Call-ID: {rung}");

    let ok = answer(
        &rung,
        200,
        "kitchen",
        "Contact: <sip:101@198.51.100.101:5060>\r\n",
        &sdp(World::at(101), 4000),
    );
    let sent = world.say(World::at(101), &ok);
    let ok_out = one(&sent, other, "SIP/2.0 200").to_owned();
    // They are the provider's, and the first one says where it came from (RFC 3581 §4).
    let vias: Vec<&str> = ok_out.lines().filter(|l| l.starts_with("Via: ")).collect();
    let ours = format!("Via: SIP/2.0/UDP {other};branch=z9hG4bKprov1;rport=5099;received={}", other.ip());
    assert_eq!(vias, [&*ours, "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKcore"]);
    assert!(ok_out.contains("Record-Route: <sip:edge1.isp;lr>\r\n") && count(&ok_out, "Record-Route") == 1);
    assert!(!ok_out.contains("198.51.100.101"), "{ok_out}");
    let uri_of_us = between(&ok_out, "Contact: <", ">");
    let ack = format!(
        "ACK {uri_of_us} SIP/2.0\r\nv: SIP/2.0/UDP {other};branch=z9hG4bKprov2\r\nMax-Forwards: 69\r\n\
         f: \"Taro\" <sip:09011112222@isp.example;user=phone>;tag=p1\r\nt: <sip:0312345678@isp.example>;tag=kitchen\r\n\
         i: call-1@isp\r\nCSeq: 700 ACK\r\nl: 0\r\n\r\n"
    );
    let sent = world.say(other, &ack);
    let ack_in = one(&sent, World::at(101), "ACK");
    assert_eq!(header(&rung, "To"), "<sip:0312345678@pbx.test>");
    assert!(header(ack_in, "From").contains("sip:09011112222@pbx.test"), "{ack_in}");

    // The phone hangs up, and the provider wants to know who it is.
    let bye = back_in_dialog(&rung, "kitchen", "BYE", 1, World::at(101));
    let sent = world.say(World::at(101), &bye);
    let bye_out = one(&sent, other, "BYE").to_owned();
    assert!(bye_out.starts_with(&format!("BYE sip:gw@{other} SIP/2.0")), "{bye_out}");
    assert_eq!(header(&bye_out, "Route"), "<sip:edge1.isp;lr>");
    assert!(header(&bye_out, "To").starts_with("\"Taro\" <sip:09011112222@isp.example;user=phone>;tag=p1"));
    let sent = world.say(other, &answer(&bye_out, 407, "p1", PROXY, ""));
    let again = one(&sent, other, "BYE").to_owned();
    assert_eq!(cseq(&again), cseq(&bye_out) + 1);
    let sent = world.say(other, &answer(&again, 200, "p1", "", ""));
    one(&sent, World::at(101), "SIP/2.0 200");
    world.wait(seconds(1));
    world.is_at_rest();
}

#[test]
fn a_caller_who_gives_up_cancels_the_second_invite() {
    let (mut world, _) = registered();
    let (sent, invite) = world.dial(101, "0451234567");
    let first = one(&sent, provider(), "INVITE").to_owned();
    let sent = world.say(provider(), &answer(&first, 407, "t", PROXY, ""));
    let second = one(&sent, provider(), "INVITE").to_owned();
    world.say(provider(), &answer(&second, 100, "", "", "").replace(";tag=\r\n", "\r\n"));
    // The phone's INVITE was proved once more, so its branch has another name.
    let cancel = invite.replacen("INVITE", "CANCEL", 1).replace(" INVITE\r\n", " CANCEL\r\n");
    let cancel = cancel.replacen("branch=z9hG4bK", "branch=z9hG4bKa", 1);
    let sent = world.say(World::at(101), &cancel);
    let cancelled = one(&sent, provider(), "CANCEL");
    assert_eq!(cseq(cancelled), cseq(&second));
    assert_eq!(header(cancelled, "Via"), header(&second, "Via"));
    one(&sent, World::at(101), "SIP/2.0 487");
    world.say(provider(), &answer(&second, 487, "far", "", ""));
    world.wait(seconds(40));
    world.is_at_rest();
}

#[test]
fn a_provider_that_refuses_us_is_not_the_callers_to_mend() {
    let (mut world, _) = registered();
    let (sent, _) = world.dial(101, "0451234567");
    let first = one(&sent, provider(), "INVITE").to_owned();
    let sent = world.say(provider(), &answer(&first, 407, "t", PROXY, ""));
    let second = one(&sent, provider(), "INVITE").to_owned();
    let sent = world.say(provider(), &answer(&second, 407, "t", &PROXY.replace("n2", "n3"), ""));
    one(&sent, World::at(101), "SIP/2.0 500");
    none(&sent, World::at(101), "SIP/2.0 407");
    world.wait(seconds(40));
    world.is_at_rest();
}

#[test]
fn a_challenge_from_elsewhere_is_not_answered() {
    let (mut world, _) = registered();
    let (sent, _) = world.dial(101, "102");
    let invite = one(&sent, World::at(102), "INVITE").to_owned();
    let sent = world.say(World::at(102), &answer(&invite, 407, "t", PROXY, ""));
    none(&sent, World::at(102), "INVITE");
    one(&sent, World::at(101), "SIP/2.0 407");
}

#[test]
fn the_next_of_several_providers_is_tried_where_one_cannot() {
    let second = "trunk.two = sip:u@203.0.113.10\ntrunk.two.password = p\ntrunk.two.register = no\n";
    let text = TRUNK.replace("route.0 = trunk.isp", "route.0 = trunk.isp trunk.two") + second;
    let two: SocketAddr = "203.0.113.10:5060".parse().unwrap();
    let (mut world, _) = World::new(&text, &[101, 102]);
    let (sent, _) = world.dial(101, "0451234567");
    let first = one(&sent, provider(), "INVITE").to_owned();
    // Nothing comes of it in a second.
    none(&sent, two, "INVITE");
    let sent = world.wait(Duration::from_millis(1100));
    let next = one(&sent, two, "INVITE").to_owned();
    let sent = world.say(two, &answer(&next, 180, "far", "", ""));
    one(&sent, World::at(101), "SIP/2.0 180");
    // If the first answers now, it has the call, and the second rings no longer.
    let late = answer(&first, 200, "late", "Contact: <sip:gw@203.0.113.9>\r\n", &sdp(provider(), 7000));
    let sent = world.say(provider(), &late);
    one(&sent, two, "CANCEL");
    one(&sent, World::at(101), "SIP/2.0 200");
    // Both took it: the other one is told that it is over.
    let late = answer(&next, 200, "far", "Contact: <sip:gw@203.0.113.10>\r\n", &sdp(two, 7000));
    let sent = world.say(two, &late);
    for goodbye in ["ACK", "BYE"] {
        let goodbye = one(&sent, two, goodbye);
        assert_eq!(header(goodbye, "Call-ID"), header(&next, "Call-ID"));
        assert!(goodbye.contains(";tag=far"));
    }
}

/// A phone calls out, is answered, and has acknowledged it; the 2xx as the phone got it.
fn talk(world: &mut World, phone: u8, number: &str) -> (String, String) {
    let (sent, invite) = world.dial(phone, number);
    let out = one(&sent, provider(), "INVITE").to_owned();
    let ok = answer(&out, 200, "far", "Contact: <sip:gw@203.0.113.9>\r\n", &sdp(provider(), 7000));
    let sent = world.say(provider(), &ok);
    let ok = one(&sent, World::at(phone), "SIP/2.0 200").to_owned();
    world.say(World::at(phone), &in_dialog(&ok, "ACK", cseq(&invite), World::at(phone)));
    (ok, out)
}

fn hang_up(world: &mut World, phone: u8, ok: &str) {
    let sent = world.say(World::at(phone), &in_dialog(ok, "BYE", 9_000, World::at(phone)));
    let bye = one(&sent, provider(), "BYE").to_owned();
    world.say(provider(), &answer(&bye, 200, "far", "", ""));
}

/// What a phone is told that may not call.
fn refused(world: &mut World, phone: u8) -> String {
    let (sent, _) = world.dial(phone, "0451234567");
    none(&sent, provider(), "INVITE");
    header(one(&sent, World::at(phone), "SIP/2.0 503"), "Reason").to_owned()
}

#[test]
fn an_extension_has_so_many_calls_by_a_trunk_and_no_more() {
    let text = format!("{TRUNK}trunk.isp.max-calls = 9\ntrunk.isp.max-minutes-day = 900\n");
    let (mut world, _) = World::new(&text, &[101, 102]);
    let (first, _) = talk(&mut world, 101, "0451234567");
    talk(&mut world, 101, "0451234567");
    assert!(refused(&mut world, 101).contains("2 calls of 101 at once (trunk.isp.max-calls-extension)"));
    talk(&mut world, 102, "0451234567");
    hang_up(&mut world, 101, &first);
    talk(&mut world, 101, "0451234567");
}

#[test]
fn a_call_by_a_trunk_ends_after_so_many_minutes() {
    let (mut world, _) = registered();
    let (_, out) = talk(&mut world, 101, "0451234567");
    none(&world.wait(seconds(3590)), provider(), "BYE");
    let sent = world.wait(seconds(15));
    let bye = one(&sent, provider(), "BYE");
    assert_eq!(header(bye, "Call-ID"), header(&out, "Call-ID"));
    one(&sent, World::at(101), "BYE");
}

#[test]
fn the_minutes_of_a_day_and_the_calls_of_an_hour_outlast_a_restart() {
    let text = format!("{TRUNK}trunk.isp.max-minutes-day = 3\ntrunk.isp.max-calls-hour = 4\n");
    let (mut world, _) = World::new(&text, &[101, 102]);
    world.alive = vec![provider()];
    for _ in 0..2 {
        let (ok, _) = talk(&mut world, 101, "0451234567");
        world.wait(seconds(60));
        hang_up(&mut world, 101, &ok);
    }
    world.restart();
    // A minute is left, and is all that the next call has.

    talk(&mut world, 101, "0451234567");
    none(&world.wait(seconds(45)), World::at(101), "BYE");
    one(&world.wait(seconds(20)), World::at(101), "BYE");
    world.restart();
    assert!(refused(&mut world, 101).contains("3 minutes in a day (trunk.isp.max-minutes-day)"));

    let text = format!("{TRUNK}trunk.isp.max-calls-hour = 2\n");
    let (mut world, _) = World::new(&text, &[101, 102]);
    world.alive = vec![provider()];
    for _ in 0..2 {
        let (ok, _) = talk(&mut world, 101, "0451234567");
        hang_up(&mut world, 101, &ok);
    }
    world.restart();
    assert!(refused(&mut world, 101).contains("2 calls in an hour (trunk.isp.max-calls-hour)"));
}

#[test]
fn a_call_goes_on_through_a_restart_and_is_still_proved() {
    let (mut world, _) = registered();
    let (ok, out) = talk(&mut world, 101, "0451234567");
    world.wait(seconds(40));
    world.restart();
    let sent = world.say(World::at(101), &in_dialog(&ok, "BYE", 9_000, World::at(101)));
    let bye = one(&sent, provider(), "BYE").to_owned();
    assert_eq!(header(&bye, "Call-ID"), header(&out, "Call-ID"));
    let sent = world.say(provider(), &answer(&bye, 407, "far", PROXY, ""));
    let again = one(&sent, provider(), "BYE").to_owned();
    assert!(is_proved(&again, "n2") && cseq(&again) == cseq(&bye) + 1);
    let sent = world.say(provider(), &answer(&again, 200, "far", "", ""));
    one(&sent, World::at(101), "SIP/2.0 200");
    world.is_at_rest();
}

#[test]
fn who_is_called_sees_the_number_that_the_line_is_to_show() {
    for (more, shown) in [("", "0312345678"), ("trunk.isp.caller-id = 05012345678\n", "05012345678")] {
        let (mut world, _) = World::new(&format!("{TRUNK}{more}"), &[101, 102]);
        let (sent, _) = world.dial(101, "0451234567");
        let invite = one(&sent, provider(), "INVITE");
        assert!(header(invite, "From").starts_with(&format!("<sip:{shown}@203.0.113.9>")), "{invite}");
    }
}

#[test]
fn a_home_gateway_asks_for_nobody_and_for_timers_that_the_phone_does_not_know() {
    let text = "trunk.hgw = sip:3@[2001:db8::9]\ntrunk.hgw.numbers = 101\n";
    let (mut world, _) = World::new(text, &[101]);
    let gateway: SocketAddr = "[2001:db8::9]:5060".parse().unwrap();
    let body = sdp(gateway, 8000);
    let invite = format!(
        "INVITE sip:[2001:db8::1] SIP/2.0\r\nv: SIP/2.0/UDP {gateway};branch=z9hG4bKg\r\nMax-Forwards: 70\r\n\
         f: <sip:09011112222@[2001:db8::9]>;tag=g\r\nt: <sip:3@[2001:db8::1]>\r\ni: g1\r\nCSeq: 1 INVITE\r\n\
         m: <sip:[2001:db8::9]>\r\nRequire: 100rel, timer\r\nk: timer\r\nx: 300;refresher=uac\r\nMin-SE: 300\r\n\
         Alert-Info: <urn:x>;info=alert-autoanswer\r\nCall-Info: <x>;answer-after=0\r\nAnswer-Mode: Auto\r\n\
         c: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = world.say(gateway, &invite);
    let rung = one(&sent, World::at(101), "INVITE").to_owned();
    assert_eq!(header(&rung, "Require"), "100rel", "{rung}");
    assert!(!rung.to_lowercase().contains("answer"), "no phone answers by itself: {rung}");
    let contact = "Contact: <sip:101@198.51.100.101:5060>\r\n";
    let ok = answer(&rung, 200, "kitchen", contact, &sdp(World::at(101), 4000));
    for _ in 0..2 {
        let sent = world.say(World::at(101), &ok);
        let answered = one(&sent, gateway, "SIP/2.0 200");
        assert_eq!(header(answered, "Require"), "timer", "{answered}");
        assert_eq!(header(answered, "Session-Expires"), "300;refresher=uac");
    }
    let uri_of_us =
        between(one(&world.say(World::at(101), &ok), gateway, "SIP/2.0 200"), "Contact: <", ">").to_owned();

    // It refreshes the session as it was told to, and is told so again.
    for (number, method) in [(2, "INVITE"), (3, "UPDATE")] {
        let refresh = invite
            .replacen("INVITE sip:[2001:db8::1]", &format!("{method} {uri_of_us}"), 1)
            .replacen("bKg", &format!("bKg{number}"), 1)
            .replacen("1 INVITE", &format!("{number} {method}"), 1)
            .replacen("t: <sip:3@[2001:db8::1]>", "t: <sip:3@[2001:db8::1]>;tag=kitchen", 1)
            .replacen("100rel, timer", "timer", 1);
        let sent = world.say(gateway, &refresh);
        let asked = one(&sent, World::at(101), method).to_owned();
        assert_eq!(count(&asked, "Require"), 0, "{asked}");
        let sent =
            world.say(World::at(101), &answer(&asked, 200, "kitchen", contact, &sdp(World::at(101), 4000)));
        let answered = one(&sent, gateway, "SIP/2.0 200");
        assert_eq!((cseq(answered), header(answered, "Require")), (number, "timer"), "{answered}");
        assert_eq!(header(answered, "Session-Expires"), "300;refresher=uac");
    }
}

/// RFC 3261 §12.2.1.1: a route without `lr` is that of a strict router, which wants to be the Request-URI.
#[test]
fn a_strict_router_gets_what_comes_to_it_in_its_own_name() {
    let strict = "sip:edge@203.0.113.50;x=1";
    let target = "sip:gw@203.0.113.77:5070";
    let more = format!("Contact: <{target}>\r\nRecord-Route: <sip:core.isp;lr>, <{strict}>\r\n");
    let is_routed = |request: &str, method: &str| {
        assert!(request.starts_with(&format!("{method} {strict} SIP/2.0\r\n")), "{request}");
        assert_eq!(header(request, "Route"), format!("<sip:core.isp;lr>, <{target}>"));
    };
    for we_end_it in [false, true] {
        let (mut world, _) = registered();
        world.alive = vec![provider()];
        let (sent, invite) = world.dial(101, "0451234567");
        let out = one(&sent, provider(), "INVITE").to_owned();
        let sent = world.say(provider(), &answer(&out, 200, "far", &more, &sdp(provider(), 7000)));
        let ok = one(&sent, World::at(101), "SIP/2.0 200").to_owned();
        let sent = world.say(World::at(101), &in_dialog(&ok, "ACK", cseq(&invite), World::at(101)));
        is_routed(one(&sent, provider(), "ACK"), "ACK");
        let sent = match we_end_it {
            true => world.wait(seconds(3600)),
            false => world.say(World::at(101), &in_dialog(&ok, "BYE", 9_000, World::at(101))),
        };
        let bye = one(&sent, provider(), "BYE").to_owned();
        is_routed(&bye, "BYE");
        // Asked who we are, we say it of the same.
        let sent = world.say(provider(), &answer(&bye, 407, "far", PROXY, ""));
        let again = one(&sent, provider(), "BYE");
        is_routed(again, "BYE");
        assert!(is_proved(again, "n2"));
    }
}

/// RFC 3261 §22.3.
#[test]
fn a_proxy_and_the_provider_behind_it_are_both_told_who_we_are() {
    let (mut world, _) = registered();
    let (sent, _) = world.dial(101, "0451234567");
    let first = one(&sent, provider(), "INVITE").to_owned();
    let outer = PROXY.replace("isp.example", "edge.example").replace("n2", "e1");
    let sent = world.say(provider(), &answer(&first, 407, "t", &outer, ""));
    let second = one(&sent, provider(), "INVITE").to_owned();
    let sent = world.say(provider(), &answer(&second, 407, "t", PROXY, ""));
    let third = one(&sent, provider(), "INVITE").to_owned();
    assert_eq!(cseq(&third), cseq(&first) + 2);
    let proofs: Vec<&str> = third.lines().filter(|l| l.starts_with("Proxy-Authorization: ")).collect();
    let has = |realm: &str, nonce: &str| {
        let words = [format!("realm=\"{realm}\""), format!("nonce=\"{nonce}\"")];
        proofs.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    };
    assert_eq!((proofs.len(), has("edge.example", "e1"), has("isp.example", "n2")), (2, 1, 1), "{third}");
    // Whoever asks once more does not believe us.
    let sent = world.say(provider(), &answer(&third, 407, "t", &PROXY.replace("n2", "n3"), ""));
    one(&sent, World::at(101), "SIP/2.0 500");
}

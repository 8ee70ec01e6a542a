//! A phone gives whoever is at another exchange over to somebody else: denwa calls that one, and joins them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::kit::*;

const FRIEND: &str = "peer.friend = sip:203.0.113.9\npeer.friend.prefix = 8\npeer.friend.user = us\n\
    peer.friend.password = a-long-shared-secret\n";

const REALM: &str =
    "WWW-Authenticate: Digest realm=\"friend\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";

fn friend() -> SocketAddr {
    "203.0.113.9:5060".parse().unwrap()
}

fn world() -> World {
    World::new(FRIEND, &[101, 102, 103]).0
}

fn contact(at: SocketAddr) -> String {
    format!("Contact: <sip:x@{at}>\r\n")
}

/// A call between a phone and somebody outside, as each of them knows it.
struct Talk {
    phone: SocketAddr,
    /// What the phone has: the 2xx that it got, or the INVITE.
    here: String,
    /// What is known outside.
    there: String,
    is_ours: bool,
}

impl Talk {
    /// A phone has called out.
    fn out(world: &mut World, phone: u8) -> Talk {
        Talk::to(world, phone, "8201")
    }

    fn to(world: &mut World, phone: u8, number: &str) -> Talk {
        let (sent, invite) = world.dial(phone, number);
        let out = one(&sent, friend(), "INVITE").to_owned();
        let ok = answer(&out, 200, "far", &contact(friend()), &sdp(friend(), 7000));
        let sent = world.say(friend(), &ok);
        let here = one(&sent, World::at(phone), "SIP/2.0 200").to_owned();
        world.say(World::at(phone), &in_dialog(&here, "ACK", cseq(&invite), World::at(phone)));
        Talk { phone: World::at(phone), here, there: out, is_ours: true }
    }

    /// Somebody outside has called a phone.
    fn into(world: &mut World, phone: u8) -> Talk {
        let body = sdp(friend(), 7000);
        let invite = format!(
            "INVITE sip:{phone}@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKin{phone}\r\nMax-Forwards: 70\r\n\
             From: \"Taro\" <sip:201@friend>;tag=far\r\nTo: <sip:{phone}@pbx.test>\r\nCall-ID: in-{phone}\r\n\
             CSeq: 40 INVITE\r\n{}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            friend(),
            contact(friend()),
            body.len()
        );
        let challenge = world.say(friend(), &invite);
        let challenge = one(&challenge, friend(), "SIP/2.0 407").to_owned();
        let sent = world.say(friend(), &prove(&invite, &challenge, "us", "a-long-shared-secret"));
        let here = one(&sent, World::at(phone), "INVITE").to_owned();
        let ok = answer(&here, 200, "here", &contact(World::at(phone)), &sdp(World::at(phone), 4000));
        let sent = world.say(World::at(phone), &ok);
        let there = one(&sent, friend(), "SIP/2.0 200").to_owned();
        world.say(friend(), &in_dialog(&there, "ACK", 40, friend()));
        Talk { phone: World::at(phone), here, there, is_ours: false }
    }

    /// A request of the phone.
    fn by_phone(&self, method: &str, cseq: u32) -> String {
        match self.is_ours {
            true => in_dialog(&self.here, method, 9_000 + cseq, self.phone),
            false => back_in_dialog(&self.here, "here", method, cseq, self.phone),
        }
    }

    /// A request from outside, to where it was told last.
    fn by_outside(&self, method: &str, cseq: u32, told: Option<&str>) -> String {
        let request = match self.is_ours {
            true => back_in_dialog(&self.there, "far", method, cseq, friend()),
            false => in_dialog(&self.there, method, 40 + cseq, friend()),
        };
        match told {
            Some(told) => {
                let uri = between(header(told, "Contact"), "<", ">");
                request.replacen(word(&request, 1), uri, 1)
            }
            None => request,
        }
    }

    fn refer(&self, to: &str) -> String {
        self.by_phone("REFER", 1).replacen("Max-Forwards", &format!("Refer-To: <{to}>\r\nMax-Forwards"), 1)
    }

    /// The Replaces value that names the phone's other side, escaped as in a Refer-To.
    fn replaces(&self) -> String {
        let tag = |name| header(&self.here, name).split(";tag=").nth(1).unwrap_or_default().to_owned();
        // The phone's own tag is from-tag, and that of whoever is to let go to-tag.
        let (own, others) = match self.is_ours {
            true => (tag("From"), tag("To")),
            false => ("here".into(), tag("From")),
        };
        format!("{}%3Bto-tag%3D{others}%3Bfrom-tag%3D{own}", header(&self.here, "Call-ID"))
    }
}

/// The id of a session, and its version.
fn origin(message: &str) -> (u64, u64) {
    let line = message.lines().find(|line| line.starts_with("o=")).unwrap();
    (word(line, 1).parse().unwrap(), word(line, 2).parse().unwrap())
}

fn is_in_dialog(talk: &Talk, invite: &str) {
    let (known_from, known_to) = match talk.is_ours {
        true => (header(&talk.there, "From"), format!("{};tag=far", header(&talk.there, "To"))),
        false => (header(&talk.there, "To"), header(&talk.there, "From").to_owned()),
    };
    assert_eq!((header(invite, "From"), header(invite, "To")), (known_from, known_to.as_str()), "{invite}");
    assert_eq!(header(invite, "Call-ID"), header(&talk.there, "Call-ID"), "{invite}");
}

/// Lets a phone that rings answer with an offer, and whoever is outside with an answer. The INVITE that was sent outside.
fn joined(world: &mut World, talk: &Talk, rung: &str, at: SocketAddr) -> String {
    assert!(rung.ends_with("\r\n\r\n"), "no offer in {rung}");
    let ok = answer(rung, 200, "third", &contact(at), &sdp(at, 4100));
    let sent = world.say(at, &ok);
    let said = one(&sent, talk.phone, "NOTIFY").to_owned();
    assert!(said.contains("SIP/2.0 200 OK") && said.contains("terminated"), "{said}");
    let bye = one(&sent, talk.phone, "BYE").to_owned();
    assert!(cseq(&bye) > cseq(&said), "{bye}");
    world.say(talk.phone, &answer(&said, 200, "", "", ""));
    world.say(talk.phone, &answer(&bye, 200, "", "", ""));
    none(&sent, at, "ACK");
    let invite = one(&sent, friend(), "INVITE").to_owned();
    assert_in_order(world, talk, &invite, &ok, at);
    invite
}

/// The offer goes outside, its answer comes back, and each is acknowledged.
fn assert_in_order(world: &mut World, talk: &Talk, invite: &str, ok: &str, at: SocketAddr) {
    is_in_dialog(talk, invite);
    let (was, is) = (origin(&talk.there), origin(invite));
    assert!(is.0 == was.0 && is.1 > was.1, "the session goes on (RFC 3264 §8): {was:?} {is:?}");
    assert!(invite.contains("m=audio") && !invite.contains("4100"), "the relay's port: {invite}");
    let sent = world.say(friend(), &answer(invite, 200, "far", &contact(friend()), &sdp(friend(), 7100)));
    let ack = one(&sent, friend(), "ACK");
    assert_eq!((cseq(ack), header(ack, "To")), (cseq(invite), header(invite, "To")));
    let ack = one(&sent, at, "ACK").to_owned();
    assert_eq!((cseq(&ack), header(&ack, "Call-ID")), (cseq(ok), header(ok, "Call-ID")));
    assert!(ack.contains("m=audio") && !ack.contains("7100"), "{ack}");
    let again = world.say(at, ok);
    assert_eq!(one(&again, at, "ACK"), ack, "an ACK that was lost is sent again");
    none(&again, friend(), "INVITE");
}

#[test]
fn whoever_is_outside_is_given_over() {
    for is_ours in [true, false] {
        for outside_hangs_up in [true, false] {
            let mut world = world();
            let talk = if is_ours { Talk::out(&mut world, 101) } else { Talk::into(&mut world, 101) };
            let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
            one(&sent, talk.phone, "SIP/2.0 202");
            let trying = one(&sent, talk.phone, "NOTIFY").to_owned();
            assert!(trying.contains("SIP/2.0 100 Trying") && trying.contains("refer;id="), "{trying}");
            none(&sent, friend(), "");
            world.say(talk.phone, &answer(&trying, 200, "", "", ""));
            let rung = one(&sent, World::at(102), "INVITE").to_owned();
            let caller = if is_ours { "<sip:8201@" } else { "\"Taro\" <sip:8201@" };
            assert!(header(&rung, "From").starts_with(caller), "{rung}");

            let sent = world.say(World::at(102), &answer(&rung, 180, "third", "", ""));
            assert!(sent.is_empty(), "{sent:#?}");
            let invite = joined(&mut world, &talk, &rung, World::at(102));

            if outside_hangs_up {
                let bye = talk.by_outside("BYE", 1, Some(&invite));
                let sent = world.say(friend(), &bye);
                let bye = one(&sent, World::at(102), "BYE").to_owned();
                assert!(cseq(&bye) > cseq(&rung) && bye.contains(";tag=third"), "{bye}");
                let sent = world.say(World::at(102), &answer(&bye, 200, "", "", ""));
                one(&sent, friend(), "SIP/2.0 200");
            } else {
                let bye = back_in_dialog(&rung, "third", "BYE", 1, World::at(102));
                let sent = world.say(World::at(102), &bye);
                let bye = one(&sent, friend(), "BYE").to_owned();
                is_in_dialog(&talk, &bye);
                assert!(cseq(&bye) > cseq(&invite), "{bye}");
                // The friend wants to know who it is.
                let sent = world.say(friend(), &answer(&bye, 401, "far", REALM, ""));
                let again = one(&sent, friend(), "BYE").to_owned();
                let sent = world.say(friend(), &answer(&again, 200, "far", "", ""));
                one(&sent, World::at(102), "SIP/2.0 200");
            }
            world.wait(Duration::from_secs(1));
            world.is_at_rest();
        }
    }
}

#[test]
fn who_takes_over_can_hold_and_give_over_again() {
    let mut world = world();
    let talk = Talk::into(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    joined(&mut world, &talk, &rung, World::at(102));

    let body = sdp(World::at(102), 4100).replace("sendrecv", "sendonly");
    let hold = back_in_dialog(&rung, "third", "INVITE", 1, World::at(102)).replace(
        "Content-Length: 0\r\n\r\n",
        &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    );
    let sent = world.say(World::at(102), &hold);
    let held = one(&sent, friend(), "INVITE").to_owned();
    is_in_dialog(&talk, &held);
    assert!(held.contains("a=sendonly"), "{held}");
    let sent = world.say(friend(), &answer(&held, 200, "far", &contact(friend()), &sdp(friend(), 7100)));
    one(&sent, World::at(102), "SIP/2.0 200");
    let ack = back_in_dialog(&rung, "third", "ACK", 1, World::at(102));
    let sent = world.say(World::at(102), &ack);
    assert_eq!(cseq(one(&sent, friend(), "ACK")), cseq(&held));

    let refer = back_in_dialog(&rung, "third", "REFER", 2, World::at(102));
    let refer = refer.replacen("Max-Forwards", "Refer-To: sip:103@192.0.2.1\r\nMax-Forwards", 1);
    let sent = world.say(World::at(102), &refer);
    one(&sent, World::at(102), "SIP/2.0 202");
    let rung = one(&sent, World::at(103), "INVITE").to_owned();
    let again = Talk { phone: World::at(102), ..talk };
    let invite = joined(&mut world, &again, &rung, World::at(103));
    let sent = world.say(friend(), &again.by_outside("BYE", 5, Some(&invite)));
    let bye = one(&sent, World::at(103), "BYE").to_owned();
    world.say(World::at(103), &answer(&bye, 200, "", "", ""));
    world.wait(Duration::from_secs(1));
    world.is_at_rest();
}

#[test]
fn a_call_goes_on_if_nobody_takes_it() {
    let mut world = world();
    let talk = Talk::into(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let sent = world.say(World::at(102), &answer(&rung, 486, "third", "", ""));
    let said = one(&sent, talk.phone, "NOTIFY").to_owned();
    assert!(said.contains("SIP/2.0 486 Busy Here") && said.contains("terminated"), "{said}");
    none(&sent, friend(), "");

    // What denwa has said in between is not counted outside.
    let sent = world.say(friend(), &talk.by_outside("INFO", 1, None));
    let info = one(&sent, talk.phone, "INFO").to_owned();
    assert!(cseq(&info) > cseq(&said), "{info}");
    world.say(talk.phone, &answer(&info, 200, "", "", ""));
    let sent = world.say(talk.phone, &talk.by_phone("BYE", 2));
    let bye = one(&sent, friend(), "BYE").to_owned();
    world.say(friend(), &answer(&bye, 200, "far", "", ""));
    world.wait(Duration::from_secs(40));
    world.is_at_rest();
}

#[test]
fn a_phone_may_hang_up_before_somebody_answers() {
    for answers in [true, false] {
        let mut world = world();
        let talk = Talk::into(&mut world, 101);
        let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
        let rung = one(&sent, World::at(102), "INVITE").to_owned();
        let sent = world.say(talk.phone, &talk.by_phone("BYE", 2));
        one(&sent, talk.phone, "SIP/2.0 200");
        none(&sent, friend(), "BYE");
        let reply = match answers {
            true => answer(&rung, 200, "third", &contact(World::at(102)), &sdp(World::at(102), 4100)),
            false => answer(&rung, 486, "third", "", ""),
        };
        let sent = world.say(World::at(102), &reply);
        none(&sent, talk.phone, "");
        if answers {
            let invite = one(&sent, friend(), "INVITE").to_owned();
            assert_in_order(&mut world, &talk, &invite, &reply, World::at(102));
            let sent = world.say(friend(), &talk.by_outside("BYE", 1, None));
            let bye = one(&sent, World::at(102), "BYE").to_owned();
            world.say(World::at(102), &answer(&bye, 200, "", "", ""));
        } else {
            let bye = one(&sent, friend(), "BYE").to_owned();
            is_in_dialog(&talk, &bye);
            world.say(friend(), &answer(&bye, 200, "far", "", ""));
        }
        world.wait(Duration::from_secs(1));
        world.is_at_rest();
    }
}

#[test]
fn if_the_one_outside_hangs_up_nobody_rings_any_more() {
    for leaves in [true, false] {
        let mut world = world();
        let talk = Talk::out(&mut world, 101);
        let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
        let rung = one(&sent, World::at(102), "INVITE").to_owned();
        world.say(World::at(102), &answer(&rung, 180, "third", "", ""));
        if leaves {
            world.say(talk.phone, &talk.by_phone("BYE", 2));
        }
        let sent = world.say(friend(), &talk.by_outside("BYE", 1, None));
        let cancel = one(&sent, World::at(102), "CANCEL").to_owned();
        let mut sent = sent.clone();
        sent.extend(world.say(World::at(102), &answer(&cancel, 200, "third", "", "")));
        sent.extend(world.say(World::at(102), &answer(&rung, 487, "third", "", "")));
        if !leaves {
            let bye = one(&sent, talk.phone, "BYE").to_owned();
            sent.extend(world.say(talk.phone, &answer(&bye, 200, "", "", "")));
        }
        one(&sent, friend(), "SIP/2.0 200");
        world.wait(Duration::from_secs(1));
        world.is_at_rest();
    }
}

#[test]
fn the_one_outside_may_want_to_know_who_asks_or_not_go_on() {
    let mut world = world();
    let talk = Talk::out(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let ok = answer(&rung, 200, "third", &contact(World::at(102)), &sdp(World::at(102), 4100));
    let sent = world.say(World::at(102), &ok);
    let invite = one(&sent, friend(), "INVITE").to_owned();
    let sent = world.say(friend(), &answer(&invite, 401, "far", REALM, ""));
    let again = one(&sent, friend(), "INVITE").to_owned();
    assert!(again.contains("Authorization: ") && cseq(&again) == cseq(&invite) + 1, "{again}");
    let sent = world.say(friend(), &answer(&again, 488, "far", "", ""));
    one(&sent, World::at(102), "ACK");
    let bye = one(&sent, World::at(102), "BYE").to_owned();
    world.say(World::at(102), &answer(&bye, 200, "", "", ""));
    let bye = one(&sent, friend(), "BYE").to_owned();
    assert!(cseq(&bye) > cseq(&again), "{bye}");
    world.say(friend(), &answer(&bye, 200, "far", "", ""));
    world.wait(Duration::from_secs(1));
    world.is_at_rest();
    assert!(world.told.iter().any(|t| t.contains("did not go on: 488")), "{:?}", world.told);
}

#[test]
fn what_nobody_may_dial_nobody_is_given_over_to() {
    let mut world = world();
    let talk = Talk::into(&mut world, 101);
    let cases = [
        ("sip:999@pbx.test", 404),
        ("sip:0990123456@pbx.test", 404),
        ("sip:201@friend", 404),
        ("sip:102@pbx.test?Replaces=x%3Bto-tag%3Da%3Bfrom-tag%3Db", 481),
        ("http://pbx.test", 404),
    ];
    for (at, (to, expected)) in (10..).zip(cases) {
        let refer = talk.by_phone("REFER", at);
        let refer = refer.replacen("Max-Forwards", &format!("Refer-To: <{to}>\r\nMax-Forwards"), 1);
        let sent = world.say(talk.phone, &refer);
        assert_eq!(sent.len(), 1, "{sent:#?}");
        assert_eq!(status(&sent[0].1), expected, "{to}");
    }
    // Whoever is outside gives nobody over.
    let refer = talk.by_outside("REFER", 3, None);
    let refer = refer.replacen("Max-Forwards", "Refer-To: <sip:102@pbx.test>\r\nMax-Forwards", 1);
    let sent = world.say(friend(), &refer);
    assert_eq!(status(one(&sent, friend(), "SIP/2.0")), 403);
    none(&sent, talk.phone, "");
}

#[test]
fn whoever_is_outside_can_try_the_echo_test() {
    let mut world = World::new(&format!("{FRIEND}echo = 114\n"), &[101]).0;
    let talk = Talk::into(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:114@pbx.test"));
    one(&sent, talk.phone, "BYE");
    let invite = one(&sent, friend(), "INVITE").to_owned();
    is_in_dialog(&talk, &invite);
    assert!(invite.contains("m=audio"), "{invite}");
    let sent = world.say(friend(), &answer(&invite, 200, "far", &contact(friend()), &sdp(friend(), 7100)));
    assert_eq!(sent.len(), 1, "{sent:#?}");
    one(&sent, friend(), "ACK");
    let sent = world.wait(Duration::from_secs(60));
    none(&sent, friend(), "SIP/2.0");
    assert_eq!(world.switch.calls(), 1);
    let sent = world.say(friend(), &talk.by_outside("BYE", 1, Some(&invite)));
    one(&sent, friend(), "SIP/2.0 200");
    world.is_at_rest();
}

#[test]
fn a_phone_asks_a_colleague_first() {
    let mut world = world();
    let talk = Talk::into(&mut world, 101);
    // 101 talks to 102, too.
    let (sent, invite) = world.dial(101, "102");
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let ok = answer(&rung, 200, "asked", &contact(World::at(102)), &sdp(World::at(102), 4200));
    let sent = world.say(World::at(102), &ok);
    let ok = one(&sent, World::at(101), "SIP/2.0 200").to_owned();
    world.say(World::at(101), &in_dialog(&ok, "ACK", cseq(&invite), World::at(101)));

    let asked = Talk { phone: World::at(101), here: ok, there: String::new(), is_ours: true };
    let sent = world.say(talk.phone, &talk.refer(&format!("sip:102@pbx.test?Replaces={}", asked.replaces())));
    one(&sent, talk.phone, "SIP/2.0 202");
    let taken = one(&sent, World::at(102), "INVITE").to_owned();
    let replaces = format!("{};to-tag=asked;from-tag=", header(&invite, "Call-ID"));
    assert!(header(&taken, "Replaces").starts_with(&replaces), "{taken}");
    joined(&mut world, &talk, &taken, World::at(102));
    // The phone that was asked lets the one that has asked go.
    let bye = back_in_dialog(&rung, "asked", "BYE", 1, World::at(102));
    let sent = world.say(World::at(102), &bye);
    let bye = one(&sent, World::at(101), "BYE").to_owned();
    world.say(World::at(101), &answer(&bye, 200, "", "", ""));
    assert_eq!(world.switch.calls(), 1);
}

#[test]
fn two_who_are_outside_are_joined() {
    let mut world = world();
    let first = Talk::into(&mut world, 101);
    let second = Talk::out(&mut world, 101);
    let to = format!("sip:8201@pbx.test?Replaces={}", second.replaces());
    let sent = world.say(first.phone, &first.refer(&to));
    one(&sent, first.phone, "SIP/2.0 202");
    let asked = one(&sent, friend(), "INVITE").to_owned();
    is_in_dialog(&second, &asked);
    assert!(asked.ends_with("\r\n\r\n") && !asked.contains("Replaces"), "{asked}");

    let ok = answer(&asked, 200, "far", &contact(friend()), &sdp(friend(), 7200));
    let sent = world.say(friend(), &ok);
    let goodbyes: Vec<String> =
        sent.iter().filter(|(_, m)| m.starts_with("BYE")).map(|s| s.1.clone()).collect();
    assert_eq!(goodbyes.len(), 2, "the phone is hung up twice: {sent:#?}");
    let invite = one(&sent, friend(), "INVITE").to_owned();
    is_in_dialog(&first, &invite);
    for bye in goodbyes {
        world.say(first.phone, &answer(&bye, 200, "", "", ""));
    }
    let sent = world.say(friend(), &answer(&invite, 200, "far", &contact(friend()), &sdp(friend(), 7100)));
    let acks: Vec<&String> = sent.iter().map(|(_, m)| m).filter(|m| m.starts_with("ACK")).collect();
    assert_eq!(acks.len(), 2, "{sent:#?}");
    let answered = acks.iter().find(|ack| header(ack, "Call-ID") == header(&asked, "Call-ID")).unwrap();
    assert!(cseq(answered) == cseq(&asked) && answered.contains("m=audio"), "{answered}");
    assert_eq!(world.switch.calls(), 1);

    let sent = world.say(friend(), &second.by_outside("BYE", 1, Some(&asked)));
    let bye = one(&sent, friend(), "BYE").to_owned();
    is_in_dialog(&first, &bye);
    let sent = world.say(friend(), &answer(&bye, 200, "far", "", ""));
    one(&sent, friend(), "SIP/2.0 200");
    world.wait(Duration::from_secs(1));
    world.is_at_rest();
}

#[test]
fn a_colleague_takes_over_whoever_is_outside() {
    for is_ours in [true, false] {
        let mut world = world();
        let talk = if is_ours { Talk::out(&mut world, 101) } else { Talk::into(&mut world, 101) };
        // 102 was sent a REFER by 101, its own peer, and does what it says.
        let more = format!(
            "Replaces: {}\r\nContent-Type: application/sdp\r\n",
            talk.replaces().replace("%3B", ";").replace("%3D", "=")
        );
        let take = world.request(102, "INVITE", "sip:8201@pbx.test", &more, &sdp(World::at(102), 4100));
        let sent = world.ask(102, &take);
        let invite = one(&sent, friend(), "INVITE").to_owned();
        is_in_dialog(&talk, &invite);
        assert!(!invite.contains("Replaces"), "{invite}");
        let sent =
            world.say(friend(), &answer(&invite, 200, "far", &contact(friend()), &sdp(friend(), 7100)));
        let ok = one(&sent, World::at(102), "SIP/2.0 200").to_owned();
        let bye = one(&sent, World::at(101), "BYE").to_owned();
        world.say(World::at(101), &answer(&bye, 200, "", "", ""));
        let sent = world.say(World::at(102), &in_dialog(&ok, "ACK", cseq(&take), World::at(102)));
        let ack = one(&sent, friend(), "ACK");
        assert_eq!((cseq(ack), header(ack, "To")), (cseq(&invite), header(&invite, "To")));
        is_in_dialog(&talk, ack);

        let sent = world.say(friend(), &talk.by_outside("BYE", 1, Some(&invite)));
        let bye = one(&sent, World::at(102), "BYE").to_owned();
        let sent = world.say(World::at(102), &answer(&bye, 200, "", "", ""));
        one(&sent, friend(), "SIP/2.0 200");
        world.wait(Duration::from_secs(1));
        world.is_at_rest();
    }
}

#[test]
fn a_line_costs_on_after_its_call_was_given_over() {
    const LINE: &str = "trunk.isp = sip:us@203.0.113.9\ntrunk.isp.register = no\nroute.0 = trunk.isp\n\
        trunk.isp.max-minutes = 10\ntrunk.isp.max-minutes-day = 15\n";
    let mut world = World::new(&format!("{LINE}echo = 114\n"), &[101, 102]).0;
    world.alive = vec![friend()];
    let talk = Talk::to(&mut world, 101, "0451234567");
    none(&world.wait(Duration::from_secs(6 * 60)), friend(), "BYE");
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    joined(&mut world, &talk, &rung, World::at(102));
    none(&world.wait(Duration::from_secs(4 * 60 - 5)), friend(), "BYE");
    one(&world.wait(Duration::from_secs(40)), friend(), "BYE");

    // Ten of fifteen minutes are gone, whoever has talked; and the echo test costs as much as anybody.
    let talk = Talk::to(&mut world, 101, "0451234567");
    let sent = world.say(talk.phone, &talk.refer("sip:114@pbx.test"));
    let invite = one(&sent, friend(), "INVITE").to_owned();
    world.say(friend(), &answer(&invite, 200, "far", &contact(friend()), &sdp(friend(), 7100)));
    none(&world.wait(Duration::from_secs(5 * 60 - 10)), friend(), "BYE");
    one(&world.wait(Duration::from_secs(40)), friend(), "BYE");
    none(&world.dial(101, "0451234567").0, friend(), "INVITE");
}

#[test]
fn who_is_outside_and_busy_with_an_offer_of_its_own_is_asked_again() {
    let mut world = world();
    let talk = Talk::into(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let ok = answer(&rung, 200, "third", &contact(World::at(102)), &sdp(World::at(102), 4100));
    let sent = world.say(World::at(102), &ok);
    let bye = one(&sent, talk.phone, "BYE").to_owned();
    world.say(talk.phone, &answer(&bye, 200, "", "", ""));
    let invite = one(&sent, friend(), "INVITE").to_owned();
    // It means the call that it is in.
    let sent = world.say(friend(), &talk.by_outside("UPDATE", 1, None));
    assert_eq!(status(one(&sent, friend(), "SIP/2.0")), 491);
    let sent = world.say(friend(), &talk.by_outside("INFO", 2, None));
    assert_eq!(status(one(&sent, friend(), "SIP/2.0")), 200);

    let sent = world.say(friend(), &answer(&invite, 491, "far", "", ""));
    none(&sent, friend(), "BYE");
    let sent = world.wait(Duration::from_secs(3));
    let again = one(&sent, friend(), "INVITE").to_owned();
    assert!(cseq(&again) > cseq(&invite), "{again}");
    assert_in_order(&mut world, &talk, &again, &ok, World::at(102));
    assert_eq!(world.switch.calls(), 1);
}

#[test]
fn whoever_cannot_talk_to_the_one_outside_does_not_get_him() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19z\r\n";
    let secure = sdp(World::at(102), 4100).replace("RTP/AVP", "RTP/SAVP") + key;
    for offer in [secure, String::new()] {
        let mut world = world();
        let talk = Talk::into(&mut world, 101);
        let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
        let rung = one(&sent, World::at(102), "INVITE").to_owned();
        let ok = answer(&rung, 200, "third", &contact(World::at(102)), &offer);
        let sent = world.say(World::at(102), &ok);
        let said = one(&sent, talk.phone, "NOTIFY").to_owned();
        assert!(said.contains("SIP/2.0 488") && said.contains("terminated"), "{said}");
        none(&sent, talk.phone, "BYE");
        none(&sent, friend(), "");
        one(&sent, World::at(102), "ACK");
        let bye = one(&sent, World::at(102), "BYE").to_owned();
        world.say(World::at(102), &answer(&bye, 200, "", "", ""));
        // They talk on.
        let sent = world.say(talk.phone, &talk.by_phone("BYE", 2));
        let bye = one(&sent, friend(), "BYE").to_owned();
        world.say(friend(), &answer(&bye, 200, "far", "", ""));
        world.wait(Duration::from_secs(40));
        world.is_at_rest();
    }
}

#[test]
fn the_call_goes_on_if_nobody_gets_him_and_nothing_is_counted_twice() {
    let mut world = world();
    let talk = Talk::out(&mut world, 101);
    let more = format!(
        "Replaces: {}\r\nContent-Type: application/sdp\r\n",
        talk.replaces().replace("%3B", ";").replace("%3D", "=")
    );
    let take = world.request(102, "INVITE", "sip:8201@pbx.test", &more, &sdp(World::at(102), 4100));
    let sent = world.ask(102, &take);
    let asked = one(&sent, friend(), "INVITE").to_owned();
    let sent = world.say(friend(), &answer(&asked, 401, "far", REALM, ""));
    let asked = one(&sent, friend(), "INVITE").to_owned();
    let sent = world.say(friend(), &answer(&asked, 488, "far", "", ""));
    one(&sent, World::at(102), "SIP/2.0 488");
    let sent = world.say(talk.phone, &talk.by_phone("BYE", 2));
    let bye = one(&sent, friend(), "BYE").to_owned();
    is_in_dialog(&talk, &bye);
    assert!(cseq(&bye) > cseq(&asked), "{bye}");
    world.say(friend(), &answer(&bye, 200, "far", "", ""));
    world.wait(Duration::from_secs(40));
    world.is_at_rest();
}

#[test]
fn a_phone_asks_no_more_than_it_may_call() {
    let mut world = World::new(&format!("{FRIEND}ext.101.max-calls-hour = 3\n"), &[101, 102]).0;
    let talk = Talk::into(&mut world, 101);
    let mut told = Vec::new();
    for at in 1..=5 {
        let refer = talk.by_phone("REFER", at);
        let refer = refer.replacen("Max-Forwards", "Refer-To: <sip:102@pbx.test>\r\nMax-Forwards", 1);
        let sent = world.say(talk.phone, &refer);
        told.push(status(one(&sent, talk.phone, "SIP/2.0")));
        if let Some((_, rung)) = sent.iter().find(|(_, m)| m.starts_with("INVITE")) {
            world.say(World::at(102), &answer(rung, 486, "third", "", ""));
        }
    }
    assert_eq!(told, [202, 202, 202, 403, 403]);
}

#[test]
fn nobody_is_forgotten_by_a_restart() {
    // While it rings: the call goes on; if the phone has left it, it ends.
    for leaves in [true, false] {
        let mut world = world();
        let talk = Talk::into(&mut world, 101);
        let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
        let rung = one(&sent, World::at(102), "INVITE").to_owned();
        world.say(World::at(102), &answer(&rung, 180, "third", "", ""));
        if leaves {
            world.say(talk.phone, &talk.by_phone("BYE", 2));
        }
        let sent = world.restart();
        one(&sent, World::at(102), "CANCEL");
        assert_eq!(
            sent.iter().filter(|(to, m)| *to == friend() && m.starts_with("BYE")).count(),
            usize::from(leaves)
        );
        assert_eq!(world.switch.calls(), usize::from(!leaves));
    }
    // When it was given over, it is, though the phone has not heard of it.
    let mut world = world();
    let talk = Talk::into(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let ok = answer(&rung, 200, "third", &contact(World::at(102)), &sdp(World::at(102), 4100));
    let sent = world.say(World::at(102), &ok);
    let invite = one(&sent, friend(), "INVITE").to_owned();
    assert_in_order(&mut world, &talk, &invite, &ok, World::at(102));
    let sent = world.restart();
    one(&sent, talk.phone, "BYE");
    none(&sent, friend(), "BYE");
    assert_eq!(world.switch.calls(), 1);

    let mut world = self::world();
    let talk = Talk::into(&mut world, 101);
    let sent = world.say(talk.phone, &talk.refer("sip:102@pbx.test"));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let invite = joined(&mut world, &talk, &rung, World::at(102));
    world.wait(Duration::from_secs(200));
    world.restart();
    let sent = world.say(friend(), &talk.by_outside("BYE", 1, Some(&invite)));
    let bye = one(&sent, World::at(102), "BYE").to_owned();
    assert!(cseq(&bye) > cseq(&rung), "{bye}");
    let sent = world.say(World::at(102), &answer(&bye, 200, "", "", ""));
    one(&sent, friend(), "SIP/2.0 200");
    world.is_at_rest();
}

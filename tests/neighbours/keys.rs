//! Sound that phones encrypt: its keys stand in what they say to each other (SDES), and go only where TLS hides them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::kit::*;

const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20";

const REASON: &str = "SIP;cause=488;text=\"encrypted sound (SRTP) needs TLS from both phones\"";

/// A phone that insists, one that takes either, and one that leaves it to the other side.
fn only(at: SocketAddr) -> String {
    sdp(at, 4000).replace("RTP/AVP 0\r\n", &format!("RTP/SAVP 0\r\n{KEY}\r\n"))
}

fn either(at: SocketAddr) -> String {
    format!("{}m=audio 4002 RTP/AVP 0\r\na=sendrecv\r\n", only(at))
}

fn perhaps(at: SocketAddr) -> String {
    sdp(at, 4000).replace("RTP/AVP 0\r\n", &format!("RTP/AVP 0\r\n{KEY}\r\n"))
}

/// The phones 101, 102 and 103, of which these speak TLS.
fn world(text: &str, tls: &[u8]) -> World {
    let tls: Vec<SocketAddr> = tls.iter().map(|phone| World::at(*phone)).collect();
    World::with_tls(text, &[101, 102, 103], &tls).0
}

/// A phone calls, and says this of its sound.
fn call(world: &mut World, phone: u8, number: &str, body: &str) -> Sent {
    let uri = format!("sip:{number}@pbx.test");
    let invite = world.request(phone, "INVITE", &uri, "Content-Type: application/sdp\r\n", body);
    world.ask(phone, &invite)
}

/// One more phone of an extension.
fn second_phone(world: &mut World, phone: u8, number: u8) {
    let request = world.request(phone, "REGISTER", "sip:pbx.test", "", "");
    let request = request.replace(&format!("sip:{phone}@"), &format!("sip:{number}@"));
    let request = request.replacen("To: <sip:pbx.test>", &format!("To: <sip:{number}@pbx.test>"), 1);
    let sent = world.say(World::at(phone), &request);
    let challenge = one(&sent, World::at(phone), "SIP/2.0 401").to_owned();
    let again = prove(&request, &challenge, &number.to_string(), &format!("secret-{number}"));
    one(&world.say(World::at(phone), &again), World::at(phone), "SIP/2.0 200");
}

fn ports(message: &str) -> Vec<&str> {
    message.lines().filter(|line| line.starts_with("m=audio")).map(|line| word(line, 1)).collect()
}

fn is_refused(sent: &Sent, phone: u8) {
    let refused = one(sent, World::at(phone), "SIP/2.0 488");
    assert_eq!(header(refused, "Reason"), REASON);
}

#[test]
fn by_tls_from_end_to_end_keys_arrive_to_the_letter() {
    let mut world = world("", &[101, 102]);
    let sent = call(&mut world, 101, "102", &only(World::at(101)));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    assert!(rung.contains(KEY) && rung.contains(" RTP/SAVP 0\r\n"), "{rung}");
    assert_ne!(ports(&rung), ["0"]);
    let key = KEY.replace("WVNf", "MTIz");
    let body = only(World::at(102)).replace(KEY, &key);
    let sent =
        world.say(World::at(102), &answer(&rung, 200, "b", "Contact: <sip:102@198.51.100.102>\r\n", &body));
    let ok = one(&sent, World::at(101), "SIP/2.0 200");
    assert!(ok.contains(&key), "{ok}");
    assert_ne!(ports(ok), ["0"]);
}

#[test]
fn who_insists_and_does_not_speak_tls_is_refused_and_told_why() {
    let mut world = world("group.600 = 102 103\n", &[102]);
    for number in ["102", "103", "600"] {
        let sent = call(&mut world, 101, number, &only(World::at(101)));
        is_refused(&sent, 101);
        none(&sent, World::at(102), "INVITE");
    }
    let told = world.switch.refused_lately();
    assert!(told.iter().any(|why| REASON.contains(&why.reason) && why.count == 3), "{told:?}");
    world.is_at_rest();
}

#[test]
fn of_an_extensions_phones_those_ring_that_speak_tls() {
    let mut world = world("ext.102.busy = 103\n", &[101, 102]);
    second_phone(&mut world, 112, 102);
    let sent = call(&mut world, 101, "102", &only(World::at(101)));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    assert!(rung.contains(KEY));
    none(&sent, World::at(112), "INVITE");
    none(&sent, World::at(101), "SIP/2.0 488");
    let notice = "1 phone does not ring: encrypted sound (SRTP) needs TLS from both phones";
    assert!(world.told.iter().any(|told| told.ends_with(notice)), "{:?}", world.told);

    // What the one that rang says is what counts: it is busy, and 103, where the call goes then, has no TLS.
    let sent = world.say(World::at(102), &answer(&rung, 486, "b", "", ""));
    none(&sent, World::at(103), "INVITE");
    one(&sent, World::at(101), "SIP/2.0 486");
    world.wait(Duration::from_secs(40));
    world.is_at_rest();
}

#[test]
fn where_no_phone_speaks_tls_the_caller_is_refused_and_nobody_else_is_rung() {
    let mut world = world("ext.102.offline = 103\n", &[101, 103]);
    second_phone(&mut world, 112, 102);
    let sent = call(&mut world, 101, "102", &only(World::at(101)));
    is_refused(&sent, 101);
    for phone in [102, 112, 103] {
        none(&sent, World::at(phone), "INVITE");
    }
    world.wait(Duration::from_secs(40));
    world.is_at_rest();
}

#[test]
fn who_takes_either_gets_what_each_phone_can_have() {
    let mut world = world("", &[101, 102]);
    second_phone(&mut world, 112, 102);
    let sent = call(&mut world, 101, "102", &either(World::at(101)));
    let secret = one(&sent, World::at(102), "INVITE");
    assert!(secret.contains(KEY) && !ports(secret).contains(&"0"), "{secret}");
    let open = one(&sent, World::at(112), "INVITE").to_owned();
    assert!(!open.contains("a=crypto") && open.contains("m=audio 0 RTP/SAVP 0\r\n"), "{open}");
    let [off, on] = ports(&open)[..] else { panic!("{open}") };
    assert!(off == "0" && on != "0", "{open}");

    // Who calls without TLS has nothing to choose from, and takes no more ports than anybody else.
    let sent = call(&mut world, 103, "102", &either(World::at(103)));
    for phone in [102, 112] {
        let rung = one(&sent, World::at(phone), "INVITE");
        assert!(!rung.contains("a=crypto") && ports(rung)[0] == "0" && ports(rung)[1] != "0", "{rung}");
    }
}

#[test]
fn keys_that_are_no_condition_are_left_out_on_every_way_that_can_be_read() {
    for tls in [&[][..], &[101], &[102]] {
        let mut world = world("", tls);
        let sent = call(&mut world, 101, "102", &perhaps(World::at(101)));
        let rung = one(&sent, World::at(102), "INVITE").to_owned();
        assert!(!rung.contains("a=crypto") && !ports(&rung).contains(&"0"), "{rung}");
        let body = perhaps(World::at(102));
        let ok = answer(&rung, 200, "b", "Contact: <sip:102@198.51.100.102>\r\n", &body);
        let sent = world.say(World::at(102), &ok);
        let ok = one(&sent, World::at(101), "SIP/2.0 200");
        assert!(!ok.contains("a=crypto") && !ports(ok).contains(&"0"), "{ok}");
    }
    let mut world = world("", &[101, 102]);
    let sent = call(&mut world, 101, "102", &perhaps(World::at(101)));
    assert!(one(&sent, World::at(102), "INVITE").contains(KEY));
}

#[test]
fn in_a_call_that_can_be_read_nobody_can_begin_to_insist() {
    let mut world = world("", &[101]);
    let sent = call(&mut world, 101, "102", &sdp(World::at(101), 4000));
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let ok = answer(&rung, 200, "b", "Contact: <sip:102@198.51.100.102>\r\n", &sdp(World::at(102), 4000));
    let sent = world.say(World::at(102), &ok);
    let ok = one(&sent, World::at(101), "SIP/2.0 200").to_owned();
    world.say(World::at(101), &in_dialog(&ok, "ACK", 2, World::at(101)));

    let body = only(World::at(101));
    for (method, cseq) in [("INVITE", 3), ("UPDATE", 4)] {
        let again = in_dialog(&ok, method, cseq, World::at(101)).replace(
            "Content-Length: 0\r\n\r\n",
            &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        );
        let sent = world.say(World::at(101), &again);
        is_refused(&sent, 101);
        none(&sent, World::at(102), method);
    }
    let sent = world.say(World::at(101), &in_dialog(&ok, "BYE", 5, World::at(101)));
    one(&sent, World::at(102), "BYE");
}

#[test]
fn an_answer_that_insists_brings_no_sound_and_the_log_says_so() {
    let mut world = world("", &[102]);
    let invite = world.request(101, "INVITE", "sip:102@pbx.test", "", "");
    let sent = world.ask(101, &invite);
    let rung = one(&sent, World::at(102), "INVITE").to_owned();
    let contact = "Contact: <sip:102@198.51.100.102>\r\n";
    let sent = world.say(World::at(102), &answer(&rung, 200, "b", contact, &only(World::at(102))));
    let ok = one(&sent, World::at(101), "SIP/2.0 200");
    assert!(!ok.contains("a=crypto"), "{ok}");
    assert_eq!(ports(ok), ["0"]);
    let notice = "no sound from 102: encrypted sound (SRTP) needs TLS from both phones";
    assert!(world.told.iter().any(|told| told.ends_with(notice)), "{:?}", world.told);
}

#[test]
fn another_exchange_that_is_not_called_by_tls_is_told_no_keys_and_no_call_is_counted() {
    let text = "peer.tokyo = sip:203.0.113.9\npeer.tokyo.prefix = 8023\npeer.tokyo.max-calls = 1\n";
    let mut world = world(text, &[101]);
    let tokyo = "203.0.113.9:5060".parse().unwrap();
    for _ in 0..3 {
        let sent = call(&mut world, 101, "8023555", &only(World::at(101)));
        is_refused(&sent, 101);
        none(&sent, tokyo, "INVITE");
    }
    let sent = call(&mut world, 101, "8023555", &either(World::at(101)));
    let out = one(&sent, tokyo, "INVITE").to_owned();
    assert!(!out.contains("a=crypto") && ports(&out)[0] == "0" && ports(&out)[1] != "0", "{out}");

    // Where the other exchange has its sound, the phone is not told, as little as the other way round.
    assert!(!out.contains("198.51.100.101"), "{out}");
    let body = sdp(tokyo, 8000).replace("m=audio", "m=audio 0 RTP/SAVP 0\r\nm=audio");
    let ok = answer(&out, 200, "far", "Contact: <sip:gw@203.0.113.9>\r\n", &body);
    let sent = world.say(tokyo, &ok);
    let ok = one(&sent, World::at(101), "SIP/2.0 200");
    assert!(!ok.split("\r\n\r\n").nth(1).unwrap().contains("203.0.113.9"), "{ok}");
}

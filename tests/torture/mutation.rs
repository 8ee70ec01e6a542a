//! Variations of all messages at hand, from a seed: nothing panics, nothing is read out of bounds, and
//! what one part says of a message agrees with what another says.

use denwa::sip::digest::{Credentials, Ha1, verify};
use denwa::sip::sdp::{Keys, Origin, Sdp, echo_answer, relay};
use denwa::sip::{Edit, Message, Name, NameAddr, Response, Uri, check_request, check_response};

use crate::{Random, all, corpus};

/// Every message that mutations start from.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = all().into_iter().map(|case| case.bytes).collect();
    seeds.extend(corpus::messages("realworld", "sip").into_iter().map(|(_, bytes)| bytes));
    seeds.extend(corpus::messages("torture", "dat").into_iter().map(|(_, bytes)| bytes));
    seeds
}

/// One message, made somewhat different.
pub(crate) fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const PIECES: [&[u8]; 28] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b",",
        b";",
        b":",
        b"\"",
        b"<",
        b">",
        b"\\",
        b"%",
        b"@",
        b"[",
        b"]",
        b"=",
        b"\r\n\r\n",
        b"\xff",
        b"-1",
        b"99999999999999999999",
        b"SIP/2.0",
        b"sip:",
        b"\r\nVia: ",
        b"\r\nContent-Length: 0",
        b";tag=",
        b"z9hG4bK",
    ];
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(80)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let part = other[from..(from + random.below(200)).min(other.len())].to_vec();
                drop(bytes.splice(at..end, part));
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[test]
fn the_wire_survives_mutations() {
    let seeds = seeds();
    let mut random = Random(0x7072_6174_7572_6501);
    let ha1 = Ha1::new(b"101", b"pbx.example.net", b"correct-horse");
    let source = "[2001:db8::66]:5060".parse().unwrap();
    let mut parsed = 0;
    for _ in 0..100_000 {
        let bytes = mutate(&seeds, &mut random);
        let Ok(message) = Message::parse(&bytes) else { continue };
        parsed += 1;
        let fine = check_request(&message).is_ok();
        assert!(!(fine && check_response(&message)), "a request is no response");
        assert!(message.body().len() <= bytes.len());
        assert_eq!(Edit::new(&message).finish(), message.bytes());
        // What we look at is found there again.
        let again = Message::parse(message.bytes()).unwrap();
        assert_eq!(again.headers().len(), message.headers().len());
        assert_eq!((again.from_tag(), again.body()), (message.from_tag(), message.body()));

        for header in message.headers() {
            let value = message.value(header);
            assert!(header.line().end <= message.bytes().len());
            if let Some(address) = NameAddr::parse(value) {
                address.sip_uri().and_then(|uri| uri.number());
            }
            if let Some(credentials) = Credentials::parse(value) {
                assert!(!verify(&credentials, &ha1, message.method_name()), "nobody guesses a password");
            }
        }
        if let Some(uri) = Uri::parse(message.uri()) {
            // Where a parameter stands twice, a URI may differ from itself.
            assert!(uri.matches(&uri) || !uri.params.is_empty());
        }
        if let Ok(sdp) = Sdp::parse(message.body()) {
            let ports = [Some(40_000), None, Some(40_004)];
            let rewritten = relay(&sdp, "2001:db8::5".parse().unwrap(), &ports, Origin::Stays, Keys::Go);
            assert_eq!(Sdp::parse(&rewritten).unwrap().media().len(), sdp.media().len());
            echo_answer(&sdp, "192.0.2.5".parse().unwrap(), 40_000, 1, 1);
        }
        if message.method().is_some() && message.via().is_some() {
            let answer = Response::new(400, b"t", source).print(&message);
            let answer = Message::parse(&answer).unwrap();
            assert_eq!(answer.status(), Some(400));
            if fine {
                assert!(check_response(&answer), "{}", bytes.escape_ascii());
                assert_eq!(answer.call_id(), unfolded(message.call_id()));
                assert_eq!(answer.list(Name::Via).count(), message.list(Name::Via).count());
            }
        }
    }
    assert!(parsed > 30_000, "{parsed}: enough must be left to look at");
}

fn unfolded(value: &[u8]) -> Vec<u8> {
    value.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }).collect()
}

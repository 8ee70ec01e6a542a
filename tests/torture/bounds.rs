//! Too large, too many, forged: what is well-formed and still not meant well.

use std::time::{Duration, Instant};

use denwa::sip::sdp::Sdp;
use denwa::sip::{Message, Name};

use crate::exchange::{Exchange, Outcome, callee, caller, is_response, outcome, stranger};
use crate::strict::find;

/// An INVITE from 101 to 102 with more headers, and a body of the given type.
fn invite(headers: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let body_type = if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    format!(
        "INVITE sip:102@pbx.example.net SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKbounds;rport\r\n\
         From: <sip:101@pbx.example.net>;tag=bounds\r\n\
         To: <sip:102@pbx.example.net>\r\n\
         Call-ID: bounds@192.0.2.11\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:101@192.0.2.11:5060>\r\n\
         Max-Forwards: 70\r\n\
         {headers}{body_type}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn sdp(lines: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\n{lines}")
}

/// What becomes of an INVITE, and what 102 is sent.
fn call(request: &[u8]) -> (Outcome, Vec<u8>) {
    let mut exchange = Exchange::with_phones(caller());
    let request = exchange.authorized(request, "101", "one");
    let sent = exchange.packet(caller(), &request);
    let onward = sent.iter().find(|(to, bytes)| *to == callee() && !is_response(bytes));
    let answers = sent.iter().filter(|(to, bytes)| *to == caller() && is_response(bytes));
    let status =
        answers.filter_map(|(_, bytes)| Message::parse(bytes).unwrap().status()).find(|status| *status > 100);
    match (onward, status) {
        (Some((_, bytes)), _) => (Outcome::Forwarded, bytes.clone()),
        (None, Some(status)) => (Outcome::Answered(status), Vec::new()),
        (None, None) => (Outcome::Nothing, Vec::new()),
    }
}

#[test]
fn more_headers_than_anybody_needs() {
    let many = invite(&"X-Many: headers\r\n".repeat(3_000), "", "");
    assert_eq!(call(&many).0, Outcome::Answered(400));
    assert_ne!(outcome(&mut Exchange::new(), stranger(), &many), Outcome::Forwarded);
}

#[test]
fn a_header_of_60_kilobytes() {
    let long = invite(&format!("X-Long: {}\r\n", "x".repeat(60_000)), "", "");
    let (outcome, onward) = call(&long);
    // It may be refused; if it goes on, then in one piece and in one datagram.
    assert!(matches!(outcome, Outcome::Forwarded | Outcome::Answered(400..=599)), "{outcome:?}");
    if outcome == Outcome::Forwarded {
        assert!(find(&onward, "x".repeat(60_000).as_bytes()).is_some());
        assert!(onward.len() <= 65_507, "{}", onward.len());
    }
}

#[test]
fn a_message_as_long_as_they_get() {
    for length in [60_000, 63_500, 64_000, 65_300] {
        let head = invite("", "text/plain", "x").len() + 10;
        let (outcome, onward) = call(&invite("", "text/plain", &"x".repeat(length - head)));
        assert!(matches!(outcome, Outcome::Forwarded | Outcome::Answered(513)), "{length}: {outcome:?}");
        assert!(onward.len() <= 65_507, "{} bytes fit into no datagram", onward.len());
    }
    let mut exchange = Exchange::with_phones(caller());
    let endless = invite("", "text/plain", &"x".repeat(70_000));
    assert!(exchange.packet(caller(), &endless).is_empty());
}

#[test]
fn session_descriptions_of_all_kinds() {
    let connection = "c=IN IP4 192.0.2.11\r\nt=0 0\r\n";
    let audio = "m=audio 5004 RTP/AVP 0\r\n";
    let cases = [
        ("no stream", sdp(connection), None),
        ("a stream that is off", sdp(&format!("{connection}m=audio 0 RTP/AVP 0\r\n")), Some(1)),
        ("no address", sdp(&format!("t=0 0\r\n{audio}")), Some(1)),
        ("multicast", sdp(&format!("c=IN IP4 224.2.1.1/127\r\nt=0 0\r\n{audio}")), Some(1)),
        ("another's private address", sdp(&format!("c=IN IP4 10.0.0.1\r\nt=0 0\r\n{audio}")), Some(1)),
        ("loopback", sdp(&format!("c=IN IP4 127.0.0.1\r\nt=0 0\r\n{audio}")), Some(1)),
        ("more streams than are relayed", sdp(&format!("{connection}{}", audio.repeat(12))), Some(12)),
        (
            "thousands of lines",
            sdp(&format!("{connection}{audio}{}", "a=fmtp:0 x\r\n".repeat(4_000))),
            Some(1),
        ),
    ];
    for (what, body, streams) in cases {
        let start = Instant::now();
        let (outcome, onward) = call(&invite("", "application/sdp", &body));
        assert!(start.elapsed() < Duration::from_secs(2), "{what} takes its time");
        match outcome {
            Outcome::Forwarded => {
                let message = Message::parse(&onward).unwrap();
                let rewritten = Sdp::parse(message.body()).unwrap();
                assert_eq!(Some(rewritten.media().len()), streams.or(Some(0)), "{what}");
                for address in ["224.2.1.1", "10.0.0.1", "127.0.0.1"] {
                    assert!(find(message.body(), address.as_bytes()).is_none(), "{what}: {address} is told");
                }
            }
            Outcome::Answered(status) => assert!((400..600).contains(&status), "{what}: {status}"),
            Outcome::Nothing => panic!("{what}: silence"),
        }
    }
}

#[test]
fn session_descriptions_that_are_none() {
    for body in ["v=0\r\nm=audio\r\n", "nonsense", &sdp(&"m=audio 5004 RTP/AVP 0\r\n".repeat(40))] {
        let (outcome, _) = call(&invite("", "application/sdp", body));
        assert!(matches!(outcome, Outcome::Answered(400 | 488 | 606)), "{body}: {outcome:?}");
    }
}

#[test]
fn forged_routes_lead_nowhere() {
    let forged = [
        "Route: <sip:aaaaaaaaaaaaaaaaaaaaaaa@203.0.113.5:5060;lr>\r\n",
        "Route: <sip:203.0.113.5;lr>, <sip:198.51.100.99;lr>\r\n",
        "Route: <sip:198.51.100.99;lr>\r\n",
        "Record-Route: <sip:aaaaaaaaaaaaaaaaaaaaaaa@203.0.113.5:5060;lr>\r\n",
    ];
    for headers in forged {
        for (flow, knows_password) in [(stranger(), false), (caller(), true)] {
            let mut exchange = Exchange::with_phones(caller());
            let mut requests = vec![invite(headers, "", "")];
            let text = String::from_utf8(invite(headers, "", "")).unwrap();
            // The same inside a dialog that does not exist.
            let inside = text.replace("To: <sip:102@pbx.example.net>", "To: <sip:102@pbx.example.net>;tag=x");
            requests.push(inside.replace("INVITE", "BYE").into_bytes());
            requests.push(inside.replace("INVITE", "INFO").into_bytes());
            for request in requests {
                let request = match knows_password {
                    true => exchange.authorized(&request, "101", "one"),
                    false => request,
                };
                let sent = exchange.packet(flow, &request);
                let elsewhere = sent.iter().find(|(to, _)| *to != flow && *to != callee());
                assert!(elsewhere.is_none(), "{headers}: {elsewhere:?}");
                let inside = find(&request, b"tag=x").is_some();
                let forwarded = sent.iter().any(|(to, _)| *to == callee());
                assert!(!forwarded || (knows_password && !inside), "{headers}");
            }
        }
    }
}

#[test]
fn what_comes_back_unchanged_is_a_loop() {
    let mut exchange = Exchange::with_phones(caller());
    let request = exchange.authorized(&invite("", "", ""), "101", "one");
    let sent = exchange.packet(caller(), &request);
    let (_, mut onward) = sent.into_iter().find(|(to, _)| *to == callee()).unwrap();
    // 102 sends it back as it was received, for itself, with its own Via on top.
    let uri = Message::parse(&onward).unwrap().uri().to_vec();
    let at = find(&onward, &uri).unwrap();
    onward.splice(at..at + uri.len(), *b"sip:102@pbx.example.net");
    let via = find(&onward, b"Via:").unwrap();
    let own = b"Via: SIP/2.0/UDP 192.0.2.12:5060;branch=z9hG4bKback\r\n";
    onward.splice(via..via, own.iter().copied());
    let mut hops = 0;
    for _ in 0..80 {
        let sent = exchange.packet(callee(), &onward);
        let Some((_, next)) = sent.iter().find(|(_, bytes)| !is_response(bytes)) else { break };
        hops += 1;
        onward = next.clone();
    }
    assert!(hops <= 1, "{hops} times around");
}

#[test]
fn a_wrong_password_and_a_used_nonce_are_challenged_again() {
    let mut exchange = Exchange::with_phones(caller());
    let wrong = exchange.authorized(&invite("", "", ""), "101", "two");
    assert_eq!(outcome(&mut exchange, caller(), &wrong), Outcome::Answered(407));
    let unknown = exchange.authorized(&invite("", "", ""), "999", "one");
    assert_eq!(outcome(&mut exchange, caller(), &unknown), Outcome::Answered(407));

    let right = exchange.authorized(&invite("", "", ""), "101", "one");
    assert_eq!(outcome(&mut exchange, caller(), &right), Outcome::Forwarded);
    let replayed = String::from_utf8(right).unwrap().replace("bounds", "replay").into_bytes();
    let sent = exchange.packet(caller(), &replayed);
    let answer = Message::parse(&sent[0].1).unwrap();
    assert_eq!((sent.len(), answer.status()), (1, Some(407)));
    let challenges: Vec<_> = answer.headers().iter().filter(|h| h.name == Name::ProxyAuthenticate).collect();
    let stale = challenges.iter().all(|h| find(answer.value(h), b"stale=true").is_some());
    assert!(!challenges.is_empty() && stale, "the password was right, the nonce was used up");
}

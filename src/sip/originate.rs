//! The requests that denwa makes itself: rare, so built from rsip's types and printed by them.
//!
//! The only module that names rsip. What is written is what was given: rsip is trusted with a value
//! only if it prints it back unchanged, and what it cannot read goes through as plain text. (It knows
//! no IPv6 literal, and `sip:john.doe@h` comes back from it without its user.)

use rsip::common::uri::{Domain, Host};
use rsip::headers::{self, UntypedHeader};
use rsip::{Headers, Uri, Version};

/// A request to be printed. Values are those of received headers, or made by denwa; a folded one
/// is unfolded.
#[derive(Clone, Copy, Debug)]
pub struct Originate<'a> {
    /// What is asked.
    pub method: OwnMethod,
    /// The Request-URI: of any scheme, in any shape.
    pub uri: &'a [u8],
    /// The one Via value.
    pub via: &'a [u8],
    /// The values of Route, the next hop first.
    pub routes: &'a [&'a [u8]],
    /// From, with our tag.
    pub from: &'a [u8],
    /// To, with the other side's tag inside a dialog.
    pub to: &'a [u8],
    /// Call-ID.
    pub call_id: &'a [u8],
    /// The number in CSeq.
    pub cseq: u32,
    /// Other headers, names and values, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// The methods of such requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnMethod {
    /// For a 2xx (RFC 3261 §13.2.2.4).
    Ack,
    /// Ends a dialog (RFC 3261 §15).
    Bye,
    /// Asks for a call, or for a change of one (RFC 3261 §13, §14).
    Invite,
    /// Tells how far a transfer is (RFC 3515 §2.4.4).
    Notify,
    /// Asks whether somebody is still there (RFC 3261 §11).
    Options,
    /// Tells a registrar where we are (RFC 3261 §10.2).
    Register,
}

impl Originate<'_> {
    /// The request's bytes, with `Max-Forwards: 70` and `Content-Length: 0`.
    pub fn print(&self) -> Vec<u8> {
        self.print_with("", b"")
    }

    /// The same with a body of a type, if it is not empty.
    pub fn print_with(&self, kind: &str, body: &[u8]) -> Vec<u8> {
        let method = match self.method {
            OwnMethod::Ack => rsip::Method::Ack,
            OwnMethod::Bye => rsip::Method::Bye,
            OwnMethod::Invite => rsip::Method::Invite,
            OwnMethod::Notify => rsip::Method::Notify,
            OwnMethod::Options => rsip::Method::Options,
            OwnMethod::Register => rsip::Method::Register,
        };
        let mut headers = Headers::default();
        headers.push(headers::Via::new(text(self.via)).into());
        for route in self.routes {
            headers.push(headers::Route::new(text(route)).into());
        }
        headers.push(headers::MaxForwards::new("70").into());
        headers.push(headers::From::new(text(self.from)).into());
        headers.push(headers::To::new(text(self.to)).into());
        headers.push(headers::CallId::new(text(self.call_id)).into());
        headers.push(headers::CSeq::new(format!("{} {method}", self.cseq)).into());
        for (name, value) in self.headers {
            headers.push(rsip::Header::Other((*name).into(), text(value)));
        }
        if !body.is_empty() {
            headers.push(headers::ContentType::new(kind).into());
        }
        headers.push(headers::ContentLength::new(body.len().to_string()).into());

        let uri = uri(text(self.uri));
        let request = rsip::Request { method, uri, version: Version::V2, headers, body: Vec::new() };
        let mut printed = bytes(&request.to_string());
        printed.extend_from_slice(body);
        printed
    }
}

/// As rsip reads it, if it prints it back; else as it is, in the place of a host name.
fn uri(text: String) -> Uri {
    match Uri::try_from(text.as_str()) {
        Ok(uri) if uri.to_string() == text => uri,
        _ => Uri { host_with_port: Host::Domain(Domain::from(text)).into(), ..Uri::default() },
    }
}

/// The bytes as characters U+0000 to U+00FF, which [`bytes`] turns back: rsip wants a `String`, and
/// what phones send is not always UTF-8. Line ends of a folded value become blanks.
fn text(value: &[u8]) -> String {
    value.iter().map(|&b| if matches!(b, b'\r' | b'\n') { ' ' } else { char::from(b) }).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rsip::headers::ToTypedHeader;
    use rsip::message::HeadersExt;
    use rsip::typed;

    use super::*;
    use crate::sip::{Host as OurHost, Message, Name, check_request};

    const BYE: Originate<'static> = Originate {
        method: OwnMethod::Bye,
        uri: b"sip:101@192.0.2.7:5060",
        via: b"SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK1",
        routes: &[],
        from: b"<sip:102@pbx.example.net>;tag=b",
        to: b"\"Kitchen\" <sip:101@pbx.example.net>;tag=a",
        call_id: b"c@192.0.2.7",
        cseq: 1001,
        headers: &[],
    };

    #[test]
    fn a_bye_with_all_its_parts() {
        let bye = Originate {
            routes: &[b"<sip:edge.example.net;lr>", b"<sip:core.example.net;lr>"],
            headers: &[("Reason", b"Q.850;cause=16"), ("User-Agent", b"denwa")],
            ..BYE
        };
        let expected = "BYE sip:101@192.0.2.7:5060 SIP/2.0\r\n\
            Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK1\r\n\
            Route: <sip:edge.example.net;lr>\r\n\
            Route: <sip:core.example.net;lr>\r\n\
            Max-Forwards: 70\r\n\
            From: <sip:102@pbx.example.net>;tag=b\r\n\
            To: \"Kitchen\" <sip:101@pbx.example.net>;tag=a\r\n\
            Call-ID: c@192.0.2.7\r\n\
            CSeq: 1001 BYE\r\n\
            Reason: Q.850;cause=16\r\n\
            User-Agent: denwa\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(bye.print()).unwrap(), expected);
        for method in
            [OwnMethod::Ack, OwnMethod::Invite, OwnMethod::Notify, OwnMethod::Options, OwnMethod::Register]
        {
            let printed = Originate { method, ..bye }.print();
            assert_eq!(check_request(&Message::parse(&printed).unwrap()), Ok(()));
        }
    }

    #[test]
    fn a_body_is_written_as_it_is() {
        let printed = BYE.print_with("application/sdp", b"v=0\r\ns=caf\xe9\r\n");
        let message = Message::parse(&printed).unwrap();
        assert_eq!(message.body(), b"v=0\r\ns=caf\xe9\r\n");
        assert!(message.has_sdp());
        assert_eq!(message.first(Name::ContentLength), Some(b"13".as_slice()));
    }

    #[test]
    fn what_is_given_is_written() {
        let uris: [&[u8]; 9] = [
            b"sip:101@[2001:db8::1]:5060;transport=tcp",
            b"sip:[2001:db8::1]",
            b"sip:john.doe@example.com",
            b"sip:101@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            b"SIP:101@EXAMPLE.com;X=Y?a=b",
            b"tel:+81-3-0000-0000",
            b"sip:caf\xe9@example.com",
            b"sips:user:pass%20word@example.com;lr=on;ob",
            b"",
        ];
        for uri in uris {
            let printed = Originate { uri, ..BYE }.print();
            assert_eq!(Message::parse(&printed).unwrap().uri(), uri);
        }
        let odd = Originate {
            via: b"SIP/2.0/TCP [2001:db8::5]:60;branch=z9hG4bK/1;rport",
            from: b"\"Caf\xe9 <x>, \\\"y\\\"\"\r\n <sip:102@[2001:db8::5]>;tag=b;x=\"\xff\"",
            ..BYE
        };
        let printed = odd.print();
        let message = Message::parse(&printed).unwrap();
        assert_eq!(message.first(Name::Via), Some(odd.via));
        let unfolded = b"\"Caf\xe9 <x>, \\\"y\\\"\"   <sip:102@[2001:db8::5]>;tag=b;x=\"\xff\"".as_slice();
        assert_eq!(message.first(Name::From), Some(unfolded), "and no line is smuggled in");
        assert_eq!(message.headers().len(), 7);
    }

    /// Ordinary messages, on which rsip and we must agree.
    const ORDINARY: [&str; 4] = [
        "INVITE sip:102@pbx.example.net SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKnashds8;rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Kitchen\" <sip:101@pbx.example.net>;tag=9fxced76sl\r\n\
         To: <sip:102@pbx.example.net>\r\n\
         Call-ID: 3848276298220188511@192.0.2.7\r\n\
         CSeq: 314159 INVITE\r\n\
         Contact: <sip:101@192.0.2.7:5062;transport=udp>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: 5\r\n\r\nv=0\r\n",
        "REGISTER sip:pbx.example.net SIP/2.0\r\n\
         Via: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1\r\n\
         Max-Forwards: 69\r\n\
         From: <sip:103@pbx.example.net>;tag=a\r\n\
         To: <sip:103@pbx.example.net>\r\n\
         Call-ID: r\r\n\
         CSeq: 2 REGISTER\r\n\
         Expires: 600\r\n\
         Content-Length: 0\r\n\r\n",
        "BYE sip:101@192.0.2.7:5062 SIP/2.0\r\n\
         Via: SIP/2.0/UDP pbx.example.net:60;branch=z9hG4bKx.y\r\n\
         Max-Forwards: 0\r\n\
         From: sip:102@pbx.example.net;tag=b\r\n\
         To: Kitchen <sip:101@pbx.example.net>;tag=9fxced76sl\r\n\
         Call-ID: 3848276298220188511@192.0.2.7\r\n\
         CSeq: 1 BYE\r\n\
         Content-Length: 0\r\n\r\n",
        "SIP/2.0 486 Busy Here\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKnashds8;received=198.51.100.1\r\n\
         From: \"Kitchen\" <sip:101@pbx.example.net>;tag=9fxced76sl\r\n\
         To: <sip:102@pbx.example.net>;tag=314\r\n\
         Call-ID: 3848276298220188511@192.0.2.7\r\n\
         CSeq: 314159 INVITE\r\n\
         Content-Length: 0\r\n\r\n",
    ];

    #[test]
    fn two_views_of_ordinary_messages_agree() {
        for text in ORDINARY {
            let ours = Message::parse(text.as_bytes()).unwrap();
            match rsip::SipMessage::try_from(text).unwrap() {
                rsip::SipMessage::Request(theirs) => {
                    assert_eq!(theirs.method.to_string().as_bytes(), ours.method_name());
                    assert_eq!(theirs.uri.to_string().as_bytes(), ours.uri());
                    let hops = theirs.max_forwards_header().unwrap().value();
                    assert_eq!(Some(hops.as_bytes()), ours.first(Name::MaxForwards));
                    assert_eq!(theirs.body, ours.body());
                    compare(&theirs, &ours);
                }
                rsip::SipMessage::Response(theirs) => {
                    assert_eq!(Some(theirs.status_code.code()), ours.status());
                    compare(&theirs, &ours);
                }
            }
        }
        for own in [BYE, Originate { method: OwnMethod::Options, ..BYE }] {
            let printed = own.print();
            let theirs = rsip::Request::try_from(printed.as_slice()).unwrap();
            compare(&theirs, &Message::parse(&printed).unwrap());
        }
    }

    fn compare(theirs: &impl HeadersExt, ours: &Message<'_>) {
        let via: typed::Via = theirs.via_header().unwrap().typed().unwrap();
        let our_via = ours.via().unwrap();
        assert_eq!(via.branch().unwrap().value().as_bytes(), our_via.branch());
        assert_eq!(via.transport.to_string().as_bytes(), our_via.transport);
        assert_eq!(via.uri.host_with_port.port.map(|p| *p.value()), our_via.port);
        match our_via.host {
            OurHost::Ip(ip) => assert_eq!(via.uri.host().to_string(), ip.to_string()),
            OurHost::Name(name) => assert_eq!(via.uri.host().to_string().as_bytes(), name),
        }
        let from: typed::From = theirs.from_header().unwrap().typed().unwrap();
        assert_eq!(from.tag().unwrap().value().as_bytes(), ours.from_tag());
        assert_eq!(from.uri.to_string().as_bytes(), ours.from().unwrap().uri);
        let to: typed::To = theirs.to_header().unwrap().typed().unwrap();
        assert_eq!(to.tag().map_or("", |tag| tag.value()).as_bytes(), ours.to_tag());
        assert_eq!(to.uri.user().unwrap(), ours.to().unwrap().sip_uri().unwrap().number().unwrap());
        assert_eq!(theirs.call_id_header().unwrap().value().as_bytes(), ours.call_id());
        let cseq = theirs.cseq_header().unwrap().typed().unwrap();
        assert_eq!(cseq.seq, ours.cseq().unwrap().number);
        assert_eq!(cseq.method.to_string().as_bytes(), ours.cseq().unwrap().method_name);
    }
}

//! What the parser and its checks say of the torture messages.

use std::collections::BTreeSet;

use denwa::sip::sdp::{Connection, Sdp};
use denwa::sip::{
    Defect, Host, Message, Method, Name, NameAddr, ParseError, Uri, check_request, check_response,
};

use crate::{Expected, all, case};

/// What the checks say of bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Fine,
    Answer(u16),
    Drop,
}

pub(crate) fn judge(bytes: &[u8]) -> Verdict {
    let Ok(message) = Message::parse(bytes) else { return Verdict::Drop };
    if message.status().is_some() {
        return if check_response(&message) { Verdict::Fine } else { Verdict::Drop };
    }
    match check_request(&message) {
        Ok(()) => Verdict::Fine,
        Err(Defect::Answer(status, _)) => Verdict::Answer(status),
        Err(Defect::Unanswerable) => Verdict::Drop,
    }
}

#[test]
fn each_message_gets_the_verdict_of_its_section() {
    for case in all() {
        let verdict = judge(&case.bytes);
        let ok = match case.expected {
            Expected::Served | Expected::Later(_) => verdict == Verdict::Fine,
            Expected::Refused(status) => verdict == Verdict::Answer(status),
            Expected::Lenient(status) => {
                matches!(verdict, Verdict::Fine) || verdict == Verdict::Answer(status)
            }
            // Whether a response's Via is ours is not for the parser to say.
            Expected::Dropped if case.section == "3.3.10" => verdict == Verdict::Fine,
            Expected::Dropped => verdict == Verdict::Drop,
        };
        assert!(ok, "{} {}: {verdict:?}", case.section, case.title);
    }
}

#[test]
fn no_section_is_left_out() {
    let have: BTreeSet<&str> = all().iter().map(|c| c.section).collect();
    let count = |chapter: &str, sections: usize| {
        for n in 1..=sections {
            assert!(have.contains(format!("{chapter}.{n}").as_str()), "{chapter}.{n}");
        }
    };
    count("3.1.1", 13);
    count("3.1.2", 19);
    count("3.2", 1);
    count("3.3", 15);
    count("3.4", 1);
    count("4", 10);
}

#[test]
fn rfc4475_valid_messages_are_understood() {
    let bytes = case("3.1.1.1");
    let tortuous = Message::parse(&bytes).unwrap();
    assert_eq!(tortuous.list(Name::Via).count(), 3);
    assert_eq!(tortuous.via().unwrap().branch(), b"z9hG4bKtortuous1");
    assert_eq!((tortuous.from_tag(), tortuous.to_tag()), (b"98asjd8".as_slice(), b"".as_slice()));
    assert_eq!(tortuous.cseq().unwrap().number, 9);
    assert_eq!(tortuous.body(), b"odd\n");
    let contact = NameAddr::parse(tortuous.first(Name::Contact).unwrap()).unwrap();
    assert_eq!(contact.uri, b"sip:101@192.0.2.11;odd");

    let bytes = case("3.1.1.2");
    let wide = Message::parse(&bytes).unwrap();
    assert_eq!(wide.method(), Some(Method::Other));
    assert_eq!(wide.from_tag(), b"_token~1'+`*%!-.");
    assert_eq!(Uri::parse(wide.uri()).unwrap().host, Host::Name(b"pbx.example.net"));

    let bytes = case("3.1.1.3");
    let escaped = Message::parse(&bytes).unwrap();
    let uri = Uri::parse(escaped.uri()).unwrap();
    assert_eq!((uri.scheme, uri.host), (b"sip".as_slice(), Host::Name(b"pbx.example.net")));
    assert_eq!(uri.number().as_deref(), Some("sips:102@pbx.example.net"));
    assert_eq!(escaped.to().unwrap().sip_uri().unwrap().number().as_deref(), Some("102"));
    assert_eq!(escaped.list(Name::Contact).count(), 2);

    let bytes = case("3.1.1.4");
    let zeros = Message::parse(&bytes).unwrap();
    let contacts: Vec<Uri> =
        zeros.list(Name::Contact).map(|c| NameAddr::parse(c).unwrap().sip_uri().unwrap()).collect();
    assert!(!contacts[0].matches(&contacts[1]), "one zero is not two");

    let bytes = case("3.1.1.5");
    let percent = Message::parse(&bytes).unwrap();
    assert_eq!((percent.method(), percent.method_name()), (Some(Method::Other), b"RE%47IST%45R".as_slice()));
    assert_eq!(percent.list(Name::Contact).count(), 1);

    let bytes = case("3.1.1.7");
    let long = Message::parse(&bytes).unwrap();
    assert_eq!(long.list(Name::Via).count(), 35);
    assert_eq!(long.from_tag().len(), 203);

    let bytes = case("3.1.1.8");
    let first = Message::parse(&bytes).unwrap();
    assert_eq!((first.method(), first.body()), (Some(Method::Register), b"".as_slice()));
    assert!(first.bytes().ends_with(b"Content-Length: 0\r\n\r\n"));

    let bytes = case("3.1.1.9");
    let user = Message::parse(&bytes).unwrap();
    let uri = Uri::parse(user.uri()).unwrap();
    assert_eq!(uri.user, Some(b"user;par=102%40pbx.example.net".as_slice()));
    assert_eq!(uri.params, b"");

    let bytes = case("3.1.1.11");
    let parts = Message::parse(&bytes).unwrap();
    assert!(parts.body().ends_with(b"\x80\r\n--7a9cbec02ceef655--"));

    let bytes = case("3.4.1");
    assert_eq!(Message::parse(&bytes).unwrap().via().unwrap().branch(), b"");
}

#[test]
fn rfc4475_numbers_do_not_wrap() {
    assert_eq!(Message::parse(&case("3.1.2.19")).err(), Some(ParseError::BadStatusLine));
    assert_eq!(judge(&case("3.1.2.5")), Verdict::Drop);
}

#[test]
fn rfc5118_ports_and_addresses_are_told_apart() {
    let request_uri = |section: &str| {
        let bytes = case(section);
        let message = Message::parse(&bytes).unwrap();
        let uri = Uri::parse(message.uri()).unwrap();
        let Host::Ip(ip) = uri.host else { panic!("{section}") };
        (ip.to_string(), uri.port)
    };
    assert_eq!(request_uri("4.1"), ("2001:db8::10".into(), None));
    assert_eq!(request_uri("4.3"), ("2001:db8::10:5070".into(), None));
    assert_eq!(request_uri("4.4"), ("2001:db8::10".into(), Some(5070)));
    assert_eq!(request_uri("4.10"), ("2001:db8::c000:201".into(), None));
    for case in all().iter().filter(|c| c.section == "4.5") {
        let received = Message::parse(&case.bytes).unwrap().via().unwrap().received();
        assert_eq!(received, "2001:db8::9:255".parse().ok(), "{}", case.title);
    }
}

#[test]
fn rfc5118_session_descriptions_are_understood() {
    let connections = |section: &str| {
        let bytes = case(section);
        let message = Message::parse(&bytes).unwrap();
        assert!(message.has_sdp());
        let sdp = Sdp::parse(message.body()).unwrap();
        let address = |connection| match connection {
            Connection::Address(address) => format!("{address}"),
            other => panic!("{section}: {other:?}"),
        };
        sdp.media().iter().map(|m| address(m.connection)).collect::<Vec<_>>()
    };
    assert_eq!(connections("4.6"), ["2001:db8::20"]);
    assert_eq!(connections("4.8"), ["192.0.2.11", "2001:db8::20"]);
    assert_eq!(connections("4.9"), ["192.0.2.11"], "mapped is IPv4 (RFC 5118 §4.9)");
}

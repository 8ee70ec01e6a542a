//! One message: everything that is asked of it agrees with everything else, and what is printed from
//! it is a message again that says no more than it should.

use std::net::SocketAddr;

use denwa::sip::originate::{Originate, OwnMethod};
use denwa::sip::{
    Edit, Host, MAX_HEADERS, Message, Name, NameAddr, Response, StartLine, Uri, Via, check_request,
    check_response, decimal, params, printable, unescape,
};

use super::cost;
use crate::strict;

/// A message as it stands in a datagram.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
}

fn look(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    ask(&message);
    assert_eq!(Edit::new(&message).finish(), message.bytes(), "an edit of nothing changes nothing");

    let again = Message::parse(message.bytes()).unwrap();
    assert_eq!(again.headers().len(), message.headers().len());
    assert_eq!((again.start(), again.body()), (message.start(), message.body()));
    assert_eq!((again.from_tag(), again.to_tag()), (message.from_tag(), message.to_tag()));
    assert_eq!(check_request(&again), check_request(&message));

    let is_good = check_request(&message).is_ok();
    assert!(!(is_good && check_response(&message)), "a request is no response");
    // What is refused is answered as well, if somebody can be answered at all.
    let answerable = message.via().is_some()
        && [Name::From, Name::To, Name::CallId, Name::CSeq]
            .iter()
            .all(|name| message.first(*name).is_some_and(|value| !value.is_empty()));
    if message.method().is_some() && answerable && !message.has_too_many_headers() {
        answer(&message, "198.51.100.7:5060".parse().unwrap(), is_good);
        answer(&message, "[2001:db8::7]:40000".parse().unwrap(), is_good);
    }
    if answerable {
        originate(&message);
    }
    if is_good {
        edit(&message);
    }
}

/// Every accessor, and that each value lies within the message.
fn ask(message: &Message<'_>) {
    let all = message.bytes();
    assert_eq!(message.method().is_some(), matches!(message.start(), StartLine::Request { .. }));
    assert!(message.status().is_none_or(|status| (100..700).contains(&status)));
    assert!(message.headers().len() <= MAX_HEADERS);
    assert!(all.ends_with(message.body()));
    let mut end = 0;
    for header in message.headers() {
        let (line, value) = (header.line(), message.value(header));
        assert!(end <= line.start && line.start < line.end && line.end <= all.len(), "lines in their order");
        end = line.end;
        let span = message.span(value);
        assert_eq!(&all[span.clone()], value);
        assert!(value.is_empty() || line.start < span.start && span.end <= line.end);
        if let Some(address) = NameAddr::parse(value) {
            assert!(!address.uri.is_empty());
            address.param("tag");
            if let Some(uri) = address.sip_uri() {
                ask_uri(&uri);
            }
        }
        if let Some(via) = Via::parse(value) {
            assert!(via.branch().len() <= via.params.len());
            assert!(via.received().is_none_or(|ip| ip == ip.to_canonical()));
            assert!(!via.wants_rport() || !via.params.is_empty());
        }
        let parts: usize = message.list(header.name).map(<[u8]>::len).sum();
        assert!(parts <= all.len());
        assert!(
            decimal(value).is_none_or(|number| value.len() > 19 || number < 10u64.pow(value.len() as u32))
        );
        assert!(params(value).count() <= value.len());
        assert!(unescape(value).len() <= value.len());
        assert!(printable(value, 60).bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
    if let Some(cseq) = message.cseq() {
        assert!(cseq.number < 1 << 31);
    }
    if let Some(uri) = Uri::parse(message.uri()) {
        ask_uri(&uri);
    }
    message.lists(Name::Supported, "100rel");
    assert!(!message.has_sdp() || !message.body().is_empty());
}

fn ask_uri(uri: &Uri<'_>) {
    uri.number();
    assert!(uri.param("lr").is_none_or(|value| value.len() <= uri.params.len()));
    // Where a parameter stands twice, a URI may differ from itself.
    assert!(uri.matches(uri) || !uri.params.is_empty());
    assert!(uri.host.matches(&uri.host));
    if let Host::Ip(ip) = uri.host {
        assert_eq!(ip, ip.to_canonical());
    }
}

/// The answer to a request says what the request said, and nothing that it has hidden in a value.
fn answer(request: &Message<'_>, source: SocketAddr, is_good: bool) {
    for (status, dialog, body) in [(100, false, ""), (404, false, ""), (200, true, "v=0\r\n")] {
        let tag: &[u8] = if status == 100 { b"" } else { b"ours" };
        let mut response = Response::new(status, tag, source);
        response.dialog = dialog;
        response.headers = b"Allow: INVITE\r\n";
        response.body = ("application/sdp", body.as_bytes());
        let printed = response.print(request);
        let read = Message::parse(&printed).unwrap();
        assert_eq!(read.status(), Some(status));
        assert!(!read.has_malformed_header() && !read.has_malformed_length());
        let routes = if dialog { request.values(Name::RecordRoute).count() } else { 0 };
        let vias = request.list(Name::Via).count();
        let others = 6 + usize::from(!body.is_empty());
        if vias + routes + others <= MAX_HEADERS {
            assert_eq!(read.headers().len(), vias + routes + others, "a header was smuggled in");
            assert_eq!(read.body(), body.as_bytes());
            assert!(printed.ends_with(body.as_bytes()));
            assert_eq!(read.bytes().len(), printed.len());
        }
        // Behind a quote that does not end, what is added belongs to the quote.
        let via = request.via().map(|via| via.params).unwrap_or_default();
        let to = request.to().map(|to| to.params).unwrap_or_default();
        if is_good && ![via, to].iter().any(|text| text.iter().any(|b| b"\"<".contains(b))) {
            let text = printed.escape_ascii();
            let branch =
                |message: &Message<'_>| unfolded(message.via().map(|via| via.branch()).unwrap_or_default());
            assert_eq!(branch(&read), branch(request), "{text}");
            assert_eq!(read.from_tag(), unfolded(request.from_tag()), "{text}");
            assert_eq!(read.cseq().map(|c| c.number), request.cseq().map(|c| c.number), "{text}");
            if !request.to_tag().is_empty() {
                assert_eq!(read.to_tag(), unfolded(request.to_tag()), "{text}");
            }
            if let Err(broken) = strict::read(&printed, request.bytes()) {
                panic!("{broken}: {text}");
            }
        }
    }
}

/// As an answer repeats it: line ends have become blanks.
fn unfolded(value: &[u8]) -> Vec<u8> {
    value.iter().map(|b| if b"\r\n".contains(b) { b' ' } else { *b }).collect()
}

/// A request of our own with the values of a received one: nothing is smuggled into it.
fn originate(message: &Message<'_>) {
    let value = |name| message.first(name).unwrap_or_default();
    let routes: Vec<&[u8]> = message.list(Name::RecordRoute).take(8).collect();
    let printed = Originate {
        method: OwnMethod::Bye,
        uri: message.uri(),
        via: b"SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK1",
        routes: &routes,
        from: value(Name::To),
        to: value(Name::From),
        call_id: value(Name::CallId),
        cseq: 7,
        headers: &[("Reason", value(Name::Contact))],
    }
    .print();
    let read = Message::parse(&printed).unwrap();
    assert_eq!(read.headers().len(), routes.len() + 8, "a header was smuggled in");
    assert!(read.body().is_empty());
}

/// What a proxy changes is changed, and all else stays.
fn edit(request: &Message<'_>) {
    let Some(first) = request.headers().first() else { return };
    let mut edit = Edit::new(request);
    edit.replace(request.span(request.uri()), &[b"sip:102@192.0.2.12"]);
    edit.insert(first.line().start, &[b"Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKours\r\n"]);
    for header in request.lines(Name::Route) {
        edit.remove(header.line());
    }
    edit.replace(request.span(request.body()), &[request.body()]);
    let edited = edit.finish();
    let read = Message::parse(&edited).unwrap();
    assert_eq!(read.uri(), b"sip:102@192.0.2.12");
    assert_eq!(read.via().map(|via| via.branch()), Some(&b"z9hG4bKours"[..]));
    let routes = request.lines(Name::Route).count();
    assert_eq!(
        (read.headers().len() + routes).min(MAX_HEADERS),
        (request.headers().len() + 1).min(MAX_HEADERS)
    );
    assert_eq!((read.body(), read.call_id()), (request.body(), request.call_id()));
    assert_eq!((read.from_tag(), read.to_tag()), (request.from_tag(), request.to_tag()));
}

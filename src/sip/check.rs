//! What can be represented but not served, and the answer to it (RFC 3261 §8.2, §16.3, RFC 4475).

use super::{Message, Name, StartLine, Uri};

/// A rule that a message breaks, with the answer that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Via, From, To, Call-ID or CSeq are missing or unreadable: there is nobody to answer to.
    Unanswerable,
    /// Answer this status with this reason phrase.
    Answer(u16, &'static str),
}

/// Headers that may stand in a message only once; a second one smuggles.
const SINGLE: [(Name, &str); 8] = [
    (Name::From, "Duplicate From"),
    (Name::To, "Duplicate To"),
    (Name::CallId, "Duplicate Call-ID"),
    (Name::CSeq, "Duplicate CSeq"),
    (Name::MaxForwards, "Duplicate Max-Forwards"),
    (Name::MaxBreadth, "Duplicate Max-Breadth"),
    (Name::ContentLength, "Duplicate Content-Length"),
    (Name::ContentType, "Duplicate Content-Type"),
];

/// Checks a request. What is wrong is named in the order in which it would hurt.
pub fn check_request(message: &Message<'_>) -> Result<(), Defect> {
    let StartLine::Request { method_name, uri, version, .. } = message.start() else {
        return Err(Defect::Unanswerable);
    };
    // An answer repeats these (§8.2.6.2): where one is missing, it would be malformed itself.
    let repeated = [Name::From, Name::To, Name::CallId, Name::CSeq];
    let answerable = repeated.iter().all(|name| message.first(*name).is_some_and(|v| !v.is_empty()));
    if message.via().is_none() || !answerable {
        return Err(Defect::Unanswerable);
    }
    let bad = |reason| Err(Defect::Answer(400, reason));
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return match version.iter().any(|&b| b == b' ' || b == b'\t') {
            true => bad("Malformed Request Line"),
            false => Err(Defect::Answer(505, "Version Not Supported")),
        };
    }
    for (name, reason) in SINGLE {
        if message.lines(name).nth(1).is_some() {
            return bad(reason);
        }
    }
    if message.has_too_many_headers() {
        return bad("Too Many Headers");
    }
    if message.has_malformed_header() {
        return bad("Malformed Header");
    }
    if message.has_malformed_length() {
        return bad("Bad Content-Length");
    }
    match message.cseq() {
        None => return bad("Bad CSeq"),
        Some(cseq) if cseq.method_name != method_name => return bad("CSeq Method Mismatch"),
        Some(_) => {}
    }
    if message.from().is_none() {
        return bad("Bad From");
    }
    if message.to().is_none() {
        return bad("Bad To");
    }
    if let Some(hops) = message.first(Name::MaxForwards)
        && super::decimal(hops).is_none_or(|hops| hops > 255)
    {
        return bad("Bad Max-Forwards");
    }
    check_uri(uri)
}

fn check_uri(uri: &[u8]) -> Result<(), Defect> {
    let bad = Err(Defect::Answer(400, "Bad Request-URI"));
    let Some(scheme) = Uri::scheme_of(uri) else { return bad };
    if !scheme.eq_ignore_ascii_case(b"sip") && !scheme.eq_ignore_ascii_case(b"sips") {
        return Err(Defect::Answer(416, "Unsupported URI Scheme"));
    }
    match Uri::parse(uri) {
        // Escaped headers have no place in a Request-URI (RFC 3261 §19.1.1).
        Some(uri) if uri.headers.is_empty() => Ok(()),
        _ => bad,
    }
}

/// Whether a response is fit to be forwarded; one that is not is dropped.
pub fn check_response(message: &Message<'_>) -> bool {
    message.status().is_some()
        && message.via().is_some()
        && message.from().is_some()
        && message.to().is_some()
        && message.first(Name::CallId).is_some_and(|v| !v.is_empty())
        && message.cseq().is_some()
        && !message.has_too_many_headers()
        && !message.has_malformed_header()
        && !message.has_malformed_length()
        && SINGLE.iter().all(|(name, _)| message.lines(*name).nth(1).is_none())
}

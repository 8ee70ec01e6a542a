//! The one thing that is served by HTTP, as pure functions: octets that came, octets to send.
//!
//! | request | answer |
//! |---|---|
//! | GET, HEAD of the document | 200, for any page (CORS) |
//! | OPTIONS of it (a browser asks whether it may) | 204 |
//! | any other method of it | 405 |
//! | anything else | 404 |
//! | what is not HTTP/1, or a head of more than 4 KiB | 400, 431 |
//!
//! A connection is closed after one answer, and a body is never read.

use std::time::SystemTime;

use super::PATH;

/// The most octets of a request's head.
pub const MAX_HEAD: usize = 4096;

/// The most headers of a request. Browsers send twenty.
const MAX_HEADERS: usize = 64;

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The document.
    Document,
    /// What it would be, but nothing of it.
    Head,
    /// That any page may have it.
    Preflight,
    /// There is nothing of that name.
    NotFound,
    /// It is not to be had in that way.
    NotAllowed,
    /// That was no request.
    Bad,
    /// It is too long.
    TooLong,
}

/// What is to be answered to what came so far; `None` while the head is not complete.
pub fn hear(received: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(received.get(..MAX_HEAD).unwrap_or(received));
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return (received.len() >= MAX_HEAD).then_some(Answer::TooLong),
        Err(httparse::Error::TooManyHeaders) => return Some(Answer::TooLong),
        Err(_) => return Some(Answer::Bad),
    }
    let is_document = request.path == Some(PATH);
    Some(match request.method {
        _ if !is_document => Answer::NotFound,
        Some("GET") => Answer::Document,
        Some("HEAD") => Answer::Head,
        Some("OPTIONS") => Answer::Preflight,
        _ => Answer::NotAllowed,
    })
}

impl Answer {
    /// As it is sent. `document` is what there is to be had.
    pub fn to_octets(self, document: &[u8], now: SystemTime) -> Vec<u8> {
        const METHODS: &str = "GET, HEAD, OPTIONS";
        let (status, more) = match self {
            // A minute, so that a reload is soon seen by all.
            Answer::Document | Answer::Head => (
                "200 OK",
                "Content-Type: application/json\r\nCache-Control: public, max-age=60\r\n\
                 X-Content-Type-Options: nosniff\r\n"
                    .to_owned(),
            ),
            Answer::Preflight => (
                "204 No Content",
                format!(
                    "Access-Control-Allow-Methods: {METHODS}\r\nAccess-Control-Allow-Headers: *\r\n\
                     Access-Control-Max-Age: 86400\r\n"
                ),
            ),
            Answer::NotFound => ("404 Not Found", String::new()),
            Answer::NotAllowed => ("405 Method Not Allowed", format!("Allow: {METHODS}\r\n")),
            Answer::Bad => ("400 Bad Request", String::new()),
            Answer::TooLong => ("431 Request Header Fields Too Large", String::new()),
        };
        let length = match self {
            Answer::Document | Answer::Head => document.len(),
            _ => 0,
        };
        // A 204 has no length (RFC 9110 §8.6).
        let length = match self {
            Answer::Preflight => String::new(),
            _ => format!("Content-Length: {length}\r\n"),
        };
        let date = httpdate::fmt_http_date(now);
        let head = format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\n{more}{length}Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
        );
        let mut octets = head.into_bytes();
        if self == Answer::Document {
            octets.extend_from_slice(document);
        }
        octets
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_to_be_had() {
        let said =
            |line: &str| hear(format!("{line} HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\n\r\n").as_bytes());
        assert_eq!(said("GET /.well-known/mantela.json"), Some(Answer::Document));
        assert_eq!(said("HEAD /.well-known/mantela.json"), Some(Answer::Head));
        assert_eq!(said("OPTIONS /.well-known/mantela.json"), Some(Answer::Preflight));
        for method in ["POST", "PUT", "DELETE", "get", "TRACE"] {
            assert_eq!(said(&format!("{method} {PATH}")), Some(Answer::NotAllowed), "{method}");
        }
        for path in [
            "/",
            "*",
            "/.well-known/mantela.json/",
            "/.well-known/mantela.json?x",
            "//.well-known/mantela.json",
            "/.well-known/../denwa.conf",
            "/.well-known/Mantela.json",
        ] {
            assert_eq!(said(&format!("GET {path}")), Some(Answer::NotFound), "{path}");
            assert_eq!(said(&format!("POST {path}")), Some(Answer::NotFound), "{path}");
        }
        for wrong in ["\u{1b}[2J", "GET", "GET  /", "INVITE sip:a@b SIP/2.0\r\n\r\n"] {
            assert_eq!(said(wrong), Some(Answer::Bad), "{wrong:?}");
        }
        assert_eq!(hear(b"\x16\x03\x01\x02\x00\x01"), Some(Answer::Bad));
    }

    #[test]
    fn an_answer_comes_when_the_head_is_complete_and_no_later() {
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n");
        for end in 0..request.len() {
            assert_eq!(hear(&request.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(hear(format!("{request}a body that nobody reads").as_bytes()), Some(Answer::Document));
        let endless = format!("GET {PATH} HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(hear(&endless.as_bytes()[..MAX_HEAD - 1]), None);
        assert_eq!(hear(&endless.as_bytes()[..MAX_HEAD]), Some(Answer::TooLong));
        let many = format!("GET {PATH} HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(hear(many.as_bytes()), Some(Answer::TooLong));
    }

    #[test]
    fn answers() {
        let said =
            |answer: Answer| String::from_utf8(answer.to_octets(b"{}", SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(
            said(Answer::Document),
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/json\r\n\
             Cache-Control: public, max-age=60\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 2\r\n\
             Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n{}"
        );
        assert_eq!(said(Answer::Head), said(Answer::Document).trim_end_matches("{}"));
        assert!(said(Answer::Preflight).starts_with("HTTP/1.1 204 "));
        assert!(!said(Answer::Preflight).contains("Content-Length"));
        assert!(said(Answer::NotAllowed).contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"));
        for answer in [Answer::NotFound, Answer::NotAllowed, Answer::Bad, Answer::TooLong] {
            assert!(said(answer).contains("\r\nContent-Length: 0\r\n") && said(answer).ends_with("\r\n\r\n"));
        }
    }
}

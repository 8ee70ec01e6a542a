//! Responses that denwa gives itself, written directly (RFC 3261 §8.2.6).

use std::net::SocketAddr;

use super::text::{put_decimal, put_ip};
use super::{Message, Name};

/// A response to a request, to be printed.
pub struct Response<'r> {
    /// The status, 100 to 699.
    pub status: u16,
    /// The reason phrase; [`reason_phrase`] has the usual ones.
    pub reason: &'r str,
    /// The tag that To gets if it has none; empty for none (a 100).
    pub tag: &'r [u8],
    /// Where the request came from: written into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4).
    pub source: SocketAddr,
    /// Whole header lines with their line ends.
    pub headers: &'r [u8],
    /// The body, with its type; none if empty.
    pub body: (&'r str, &'r [u8]),
    /// Whether the request's Record-Route is copied: in what makes a dialog (RFC 3261 §12.1.1).
    pub dialog: bool,
}

impl<'r> Response<'r> {
    /// A plain response with the usual reason phrase.
    pub fn new(status: u16, tag: &'r [u8], source: SocketAddr) -> Response<'r> {
        Response {
            status,
            reason: reason_phrase(status),
            tag,
            source,
            headers: b"",
            body: ("", b""),
            dialog: false,
        }
    }

    /// Prints it as the answer to `request`.
    pub fn print(&self, request: &Message<'_>) -> Vec<u8> {
        self.print_with(request, |_| self.headers)
    }

    /// Prints it with those header lines that `headers` chooses, instead of its own, on being told
    /// how many bytes everything else takes.
    pub fn print_with<'h>(&self, request: &Message<'_>, headers: impl FnOnce(usize) -> &'h [u8]) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(request.bytes().len().min(1024) + self.headers.len() + self.body.1.len());
        put(&mut out, &[b"SIP/2.0 "]);
        put_decimal(&mut out, self.status.into());
        put(&mut out, &[b" ", self.reason.as_bytes(), b"\r\n"]);
        for (index, via) in request.list(Name::Via).enumerate() {
            put(&mut out, &[b"Via: "]);
            match index {
                0 => put_top_via(&mut out, via, self.source),
                _ => put_unfolded(&mut out, via),
            }
            put(&mut out, &[b"\r\n"]);
        }
        if self.dialog {
            for route in request.values(Name::RecordRoute) {
                put_line(&mut out, b"Record-Route: ", route);
            }
        }
        put_line(&mut out, b"From: ", request.first(Name::From).unwrap_or_default());
        let to = request.first(Name::To).unwrap_or_default();
        put(&mut out, &[b"To: "]);
        put_unfolded(&mut out, to);
        if !self.tag.is_empty() && request.to_tag().is_empty() {
            put(&mut out, &[b";tag=", self.tag]);
        }
        put(&mut out, &[b"\r\n"]);
        put_line(&mut out, b"Call-ID: ", request.call_id());
        put_line(&mut out, b"CSeq: ", request.first(Name::CSeq).unwrap_or_default());
        let mut end = Vec::with_capacity(64 + self.body.0.len());
        if !self.body.1.is_empty() {
            put(&mut end, &[b"Content-Type: ", self.body.0.as_bytes(), b"\r\n"]);
        }
        put(&mut end, &[b"Content-Length: "]);
        // No body is near as long as 4 GB.
        put_decimal(&mut end, self.body.1.len() as u32);
        put(&mut end, &[b"\r\n\r\n"]);
        let headers = headers(out.len() + end.len() + self.body.1.len());
        put(&mut out, &[headers, &end, self.body.1]);
        out
    }
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, &[name]);
    put_unfolded(out, value);
    put(out, &[b"\r\n"]);
}

/// A value with its folding undone: CR and LF become blanks.
fn put_unfolded(out: &mut Vec<u8>, value: &[u8]) {
    if value.contains(&b'\n') || value.contains(&b'\r') {
        out.extend(value.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
    } else {
        out.extend_from_slice(value);
    }
}

/// The client's own Via with the address that it really has: `received` where sent-by differs
/// (RFC 3261 §18.2.1), `rport` filled in where it asks for it (RFC 3581 §4).
pub(crate) fn put_top_via(out: &mut Vec<u8>, value: &[u8], source: SocketAddr) {
    let Some(via) = super::Via::parse(value) else {
        return put_unfolded(out, value);
    };
    let sent_from_there = via.host == super::Host::Ip(source.ip());
    let head = value.len() - via.params.len();
    put_unfolded(out, super::trim(&value[..head]));
    for (name, old) in super::params(via.params) {
        if name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        out.push(b';');
        put_unfolded(out, name);
        if name.eq_ignore_ascii_case(b"rport") {
            out.push(b'=');
            put_decimal(out, source.port().into());
        } else if let Some(old) = old {
            out.push(b'=');
            put_unfolded(out, old);
        }
    }
    // RFC 3581 §4: with rport, received is added even where it equals sent-by.
    if !sent_from_there || via.wants_rport() {
        put(out, &[b";received="]);
        put_ip(out, source.ip());
    }
}

/// The usual reason phrase of a status.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        440 => "Max-Breadth Exceeded",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        _ => "Refused",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_what_it_must() {
        let request = b"REGISTER sip:pbx SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.7:5060;rport;branch=z9hG4bK1,\r\n SIP/2.0/TCP b\r\n\
            f: <sip:101@pbx>;tag=a\r\nTo: <sip:101@pbx>\r\ni: c\r\nCSeq: 1 REGISTER\r\n\r\n";
        let request = Message::parse(request).unwrap();
        let source = "203.0.113.7:40000".parse().unwrap();
        let answer =
            Response { headers: b"Date: now\r\n", ..Response::new(200, b"t", source) }.print(&request);
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.7:5060;rport=40000;branch=z9hG4bK1;received=203.0.113.7\r\n\
             Via: SIP/2.0/TCP b\r\nFrom: <sip:101@pbx>;tag=a\r\nTo: <sip:101@pbx>;tag=t\r\nCall-ID: c\r\n\
             CSeq: 1 REGISTER\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
        );
    }
}

//! A SIP message: the received bytes and an index over them (RFC 3261 §7).

use std::ops::Range;

use super::text::{decimal, is_blank, is_token, split, trim};
use super::{CSeq, Method, Name, NameAddr, Via};

/// The longest message, in bytes: what fits into a datagram.
pub const MAX_MESSAGE: usize = 65_535;

/// The most header lines that are indexed; a message with more is represented, with
/// [`Message::has_too_many_headers`] set, and refused by [`super::check_request`].
pub const MAX_HEADERS: usize = 128;

/// A message. Nothing in it is copied; nothing in it is trusted beyond having been found.
#[derive(Clone)]
pub struct Message<'a> {
    bytes: &'a [u8],
    start: StartLine<'a>,
    headers: heapless::Vec<Header, MAX_HEADERS>,
    body: &'a [u8],
    essentials: Essentials<'a>,
    too_many_headers: bool,
    malformed_header: bool,
    malformed_length: bool,
}

/// What every message is asked for again and again, read once.
#[derive(Clone, Copy, Default)]
struct Essentials<'a> {
    via: Option<Via<'a>>,
    from: Option<NameAddr<'a>>,
    to: Option<NameAddr<'a>>,
    cseq: Option<CSeq<'a>>,
    from_tag: &'a [u8],
    to_tag: &'a [u8],
    call_id: &'a [u8],
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request's.
    Request {
        /// Its method, known or not.
        method: Method,
        /// The method as it was written.
        method_name: &'a [u8],
        /// The Request-URI, with any blanks that were around it.
        uri: &'a [u8],
        /// `SIP/2.0`, if all is well.
        version: &'a [u8],
    },
    /// A response's.
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase, often empty, in any encoding.
        reason: &'a [u8],
    },
}

/// Where one header line stands in the message's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Which header.
    pub name: Name,
    start: u16,
    value: (u16, u16),
    end: u16,
}

impl Header {
    /// The whole line with its line end.
    pub fn line(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Why bytes are no message at all. Never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing but line ends.
    Empty,
    /// Longer than [`MAX_MESSAGE`].
    TooLong,
    /// The first line is no request line.
    BadRequestLine,
    /// The first line is no status line with a status from 100 to 699.
    BadStatusLine,
}

impl<'a> Message<'a> {
    /// Indexes one datagram, or one framed message of a stream.
    ///
    /// Line ends may be CR LF or LF, lines may be folded, line ends before the first line are
    /// skipped (RFC 3261 §7.5), bytes after Content-Length are left out (§18.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ParseError::TooLong);
        }
        let skipped = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if skipped == bytes.len() {
            return Err(ParseError::Empty);
        }
        let (line, mut at) = line_at(bytes, skipped);
        let mut message = Message {
            bytes: &bytes[skipped..],
            start: start_line(line)?,
            headers: heapless::Vec::new(),
            body: &[],
            essentials: Essentials::default(),
            too_many_headers: false,
            malformed_header: false,
            malformed_length: false,
        };
        at -= skipped;
        message.index_headers(&mut at);
        message.find_body(at);
        message.essentials = message.read_essentials();
        Ok(message)
    }

    fn index_headers(&mut self, at: &mut usize) {
        let bytes = self.bytes;
        while *at < bytes.len() {
            let start = *at;
            let (line, mut next) = line_at(bytes, start);
            if line.is_empty() {
                *at = next;
                return;
            }
            // Whoever takes a lone CR for a line end would see headers that we have not seen.
            self.malformed_header |= memchr::memchr(b'\r', line).is_some();
            let mut end = start + line.len();
            while matches!(bytes.get(next), Some(b' ' | b'\t')) {
                let (more, after) = line_at(bytes, next);
                self.malformed_header |= memchr::memchr(b'\r', more).is_some();
                end = next + more.len();
                next = after;
            }
            *at = next;
            let Some(colon) = memchr::memchr(b':', line) else {
                self.malformed_header = true;
                continue;
            };
            let name = trim(&line[..colon]);
            if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
                self.malformed_header = true;
                continue;
            }
            let value = trim(&bytes[start + colon + 1..end]);
            let value = self.span(value);
            let header = Header {
                name: Name::parse(name),
                start: start as u16,
                value: (value.start as u16, value.end as u16),
                end: next as u16,
            };
            if self.headers.push(header).is_err() {
                self.too_many_headers = true;
                // The rest is not looked at, but the body must still be found.
                *at = end_of_headers(bytes, next);
                return;
            }
        }
    }

    fn find_body(&mut self, at: usize) {
        let rest = &self.bytes[at.min(self.bytes.len())..];
        let length = self.first(Name::ContentLength).map(decimal);
        let contradicted = self.values(Name::ContentLength).any(|other| Some(decimal(other)) != length);
        let (body, malformed) = match length {
            None => (rest, false),
            Some(Some(length)) if length <= rest.len() as u64 && !contradicted => {
                (&rest[..length as usize], false)
            }
            Some(_) => (rest, true),
        };
        self.body = body;
        self.malformed_length = malformed;
        self.bytes = &self.bytes[..at + self.body.len()];
    }

    fn read_essentials(&self) -> Essentials<'a> {
        let mut read =
            Essentials { via: self.list(Name::Via).next().and_then(Via::parse), ..Essentials::default() };
        let mut seen = [false; 4];
        for header in &self.headers {
            let slot = match header.name {
                Name::From => 0,
                Name::To => 1,
                Name::CSeq => 2,
                Name::CallId => 3,
                _ => continue,
            };
            if std::mem::replace(&mut seen[slot], true) {
                continue; // the first counts; a second one is refused by check_request
            }
            let value = self.value(header);
            match slot {
                0 => read.from = NameAddr::parse(value),
                1 => read.to = NameAddr::parse(value),
                2 => read.cseq = CSeq::parse(value),
                _ => read.call_id = value,
            }
        }
        read.from_tag = read.from.and_then(|from| from.param("tag")).unwrap_or_default();
        read.to_tag = read.to.and_then(|to| to.param("tag")).unwrap_or_default();
        read
    }

    /// The message's bytes, from its first line to the end of its body.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first line.
    pub fn start(&self) -> StartLine<'a> {
        self.start
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The method's name as it was written; empty for a response.
    pub fn method_name(&self) -> &'a [u8] {
        match self.start {
            StartLine::Request { method_name, .. } => method_name,
            StartLine::Response { .. } => &[],
        }
    }

    /// The Request-URI of a request; empty for a response.
    pub fn uri(&self) -> &'a [u8] {
        match self.start {
            StartLine::Request { uri, .. } => uri,
            StartLine::Response { .. } => &[],
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// The body.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// All header lines in order.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The header lines of one name in order.
    pub fn lines(&self, name: Name) -> impl Iterator<Item = &Header> {
        self.headers.iter().filter(move |h| h.name == name)
    }

    /// The value of a header line, trimmed, folding and all.
    pub fn value(&self, header: &Header) -> &'a [u8] {
        &self.bytes[header.value.0 as usize..header.value.1 as usize]
    }

    /// The values of all lines of one name.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.lines(name).map(|h| self.value(h))
    }

    /// The value of the first line of one name.
    pub fn first(&self, name: Name) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// The comma-separated values of all lines of one name (RFC 3261 §7.3.1).
    pub fn list(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.values(name).flat_map(|value| split(value, b','))
    }

    /// Where a part of this message stands in [`Message::bytes`].
    pub fn span(&self, part: &[u8]) -> Range<usize> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        debug_assert!(start <= self.bytes.len(), "a part of this message");
        let start = start.min(self.bytes.len());
        start..(start + part.len()).min(self.bytes.len())
    }

    /// The topmost Via.
    pub fn via(&self) -> Option<Via<'a>> {
        self.essentials.via
    }

    /// From.
    pub fn from(&self) -> Option<NameAddr<'a>> {
        self.essentials.from
    }

    /// To.
    pub fn to(&self) -> Option<NameAddr<'a>> {
        self.essentials.to
    }

    /// The tag of From; empty if there is none.
    pub fn from_tag(&self) -> &'a [u8] {
        self.essentials.from_tag
    }

    /// The tag of To; empty if there is none.
    pub fn to_tag(&self) -> &'a [u8] {
        self.essentials.to_tag
    }

    /// Call-ID; empty if there is none.
    pub fn call_id(&self) -> &'a [u8] {
        self.essentials.call_id
    }

    /// CSeq.
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        self.essentials.cseq
    }

    /// Whether a list header names a token, as in `Supported: 100rel`.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.list(name).any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether the body is SDP.
    pub fn has_sdp(&self) -> bool {
        !self.body.is_empty()
            && self.first(Name::ContentType).is_some_and(|t| {
                let media_type = split(t, b';').next().unwrap_or_default();
                media_type.eq_ignore_ascii_case(b"application/sdp")
            })
    }

    /// Whether there were more than [`MAX_HEADERS`] header lines; the index has the first of them.
    pub fn has_too_many_headers(&self) -> bool {
        self.too_many_headers
    }

    /// Whether a header line had no name or no colon (the index does not have it), or a CR inside.
    pub fn has_malformed_header(&self) -> bool {
        self.malformed_header
    }

    /// Whether Content-Length was no number, contradicted itself, or promised more than there is.
    pub fn has_malformed_length(&self) -> bool {
        self.malformed_length
    }
}

/// The line that starts at `start`, without its end, and where the next one starts.
fn line_at(bytes: &[u8], start: usize) -> (&[u8], usize) {
    let rest = &bytes[start..];
    match memchr::memchr(b'\n', rest) {
        Some(at) => {
            let line = &rest[..at];
            (line.strip_suffix(b"\r").unwrap_or(line), start + at + 1)
        }
        None => (rest.strip_suffix(b"\r").unwrap_or(rest), bytes.len()),
    }
}

fn end_of_headers(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        let (line, next) = line_at(bytes, at);
        at = next;
        if line.is_empty() {
            break;
        }
    }
    at
}

fn start_line(line: &[u8]) -> Result<StartLine<'_>, ParseError> {
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(line).ok_or(ParseError::BadStatusLine);
    }
    let first = line.iter().position(|&b| is_blank(b));
    let first = first.ok_or(ParseError::BadRequestLine)?;
    let method_name = &line[..first];
    // Blanks after the version belong to it, so that it is not `SIP/2.0` any more.
    let version_end = line.len() - line.iter().rev().take_while(|&&b| is_blank(b)).count();
    let last = line[..version_end].iter().rposition(|&b| is_blank(b));
    let last = last.filter(|&at| at > first).ok_or(ParseError::BadRequestLine)?;
    let version = &line[last + 1..];
    let is_sip = version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/"));
    if method_name.is_empty() || !method_name.iter().all(|&b| is_token(b)) || !is_sip {
        return Err(ParseError::BadRequestLine);
    }
    let method = Method::parse(method_name);
    Ok(StartLine::Request { method, method_name, uri: &line[first + 1..last], version })
}

fn status_line(line: &[u8]) -> Option<StartLine<'_>> {
    let rest = line.get(7..).filter(|_| line[..7].eq_ignore_ascii_case(b"SIP/2.0"))?;
    let rest = rest.strip_prefix(b" ")?;
    let code = rest.get(..3)?;
    let reason = match rest.get(3) {
        None => &[],
        Some(b' ') => &rest[4..],
        Some(_) => return None,
    };
    let status = decimal(code).filter(|s| (100..700).contains(s))? as u16;
    Some(StartLine::Response { status, reason })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"\r\nINVITE sip:102@[2001:db8::1]:60 SIP/2.0\r\n\
        v: SIP/2.0/UDP [2001:db8::7]:5060;branch=z9hG4bKa, SIP/2.0/TCP b\r\n\
        TO :\n sip:102@pbx.example.net ;  tag = 1918181833n\r\n\
        From: \"A \\\" <B>\" <sip:101@pbx.example.net>;tag=x\n\
        Call-ID: c\r\nCSeq: 0009\r\n  INVITE\r\nVia: SIP  / 2.0\r\n /UDP c\r\n\
        l: 3\r\n\r\nabcdef";

    #[test]
    fn headers_are_found_folded_compact_and_in_lists() {
        let message = Message::parse(INVITE).unwrap();
        assert_eq!(message.method(), Some(Method::Invite));
        assert_eq!(message.uri(), b"sip:102@[2001:db8::1]:60");
        assert_eq!(message.list(Name::Via).count(), 3);
        assert_eq!(message.to_tag(), b"1918181833n");
        assert_eq!(message.from_tag(), b"x");
        assert_eq!(message.cseq().unwrap().number, 9);
        assert_eq!(message.body(), b"abc");
        assert!(message.bytes().ends_with(b"\r\n\r\nabc"));
    }

    #[test]
    fn contradicting_lengths_are_seen() {
        for (headers, bad) in [
            ("Content-Length: 3\r\nl: 3\r\n", false),
            ("Content-Length: 3\r\nl: 2\r\n", true),
            ("Content-Length: 4\r\n", true),
            ("Content-Length: -1\r\n", true),
            ("", false),
        ] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{headers}\r\nabc");
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(message.has_malformed_length(), bad, "{headers}");
            assert_eq!(message.body(), b"abc");
        }
    }

    #[test]
    fn a_lone_cr_hides_no_header() {
        for (line, bad) in [("X: a\rRoute: b", true), ("X: a\r\n b\rc", true), ("X: a\r\n b", false)] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n\r\n");
            assert_eq!(Message::parse(text.as_bytes()).unwrap().has_malformed_header(), bad, "{line}");
        }
    }

    #[test]
    fn three_thousand_headers_are_represented() {
        let mut text = b"OPTIONS sip:a SIP/2.0\r\n".to_vec();
        for _ in 0..3000 {
            text.extend_from_slice(b"X-A: b\r\n");
        }
        text.extend_from_slice(b"\r\nbody");
        let message = Message::parse(&text).unwrap();
        assert!(message.has_too_many_headers());
        assert_eq!(message.body(), b"body");
    }

    #[test]
    fn status_lines() {
        let status = |line: &str| Message::parse(line.as_bytes()).map(|m| m.status());
        assert_eq!(status("SIP/2.0 100 \r\n\r\n"), Ok(Some(100)));
        assert_eq!(status("SIP/2.0 100\r\n\r\n"), Ok(Some(100)));
        assert_eq!(status("SIP/2.0 4294967301 better not\r\n\r\n"), Err(ParseError::BadStatusLine));
        assert_eq!(status("SIP/2.0 099 no\r\n\r\n"), Err(ParseError::BadStatusLine));
    }
}

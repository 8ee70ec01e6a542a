//! The phones' own view of a SIP message: a start line, a list of headers, a body.
//!
//! Nothing here is shared with `denwa::sip`, so that the two sides cannot share a fault. Reading
//! is strict: phones are the judges of what the exchange writes.

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub start: Start,
    /// Names in their long form, values as they stand on the wire without blanks around them.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

/// How a phone writes (RFC 3261 §7.3.3 allows much).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// As in the RFC's examples.
    Plain,
    /// Compact names and no blank after the colon.
    Compact,
    /// Lower-case names, and blanks before the colon.
    Odd,
}

const COMPACT: [(&str, &str); 12] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("k", "Supported"),
    ("r", "Refer-To"),
    ("b", "Referred-By"),
    ("o", "Event"),
    ("s", "Subject"),
];

/// Headers that are lists: several in one line mean the same as several lines.
const LISTS: [&str; 8] = ["Via", "Route", "Record-Route", "Contact", "Supported", "Require", "Allow", "Path"];

impl Message {
    pub fn request(method: &str, uri: &str) -> Message {
        let start = Start::Request { method: method.into(), uri: uri.into() };
        Message { start, headers: Vec::new(), body: Vec::new() }
    }

    /// A response with what RFC 3261 §8.2.6.2 copies from the request.
    pub fn response(to: &Message, status: u16, reason: &str) -> Message {
        let start = Start::Response { status, reason: reason.into() };
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
        let headers = to.headers.iter().filter(|(name, _)| copied.contains(&name.as_str()));
        Message { start, headers: headers.cloned().collect(), body: Vec::new() }
    }

    /// Adds a header at the end.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Message {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn with_body(mut self, kind: &str, body: Vec<u8>) -> Message {
        self.body = body;
        self.with("Content-Type", kind)
    }

    /// Replaces a header's value where it stands, or adds it.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.headers.iter_mut().find(|(n, _)| n == name) {
            Some(header) => header.1 = value.into(),
            None => self.headers.push((name.into(), value.into())),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| n != name);
    }

    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a header; lists are split at their commas.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        match LISTS.contains(&name) {
            true => lines.flat_map(|line| split_outside_quotes(line, ',')).collect(),
            false => lines.collect(),
        }
    }

    /// Whether a list of tokens names one, e.g. `Supported: 100rel`.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The request's method, or for a response the one that it answers.
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq().1,
        }
    }

    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The Request-URI; empty for a response.
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    /// The status; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self.get("CSeq").and_then(|v| v.split_once(' ')).unwrap_or_default();
        (number.parse().unwrap_or(0), method.trim())
    }

    pub fn call_id(&self) -> &str {
        self.get("Call-ID").unwrap_or_default()
    }

    pub fn sender_tag(&self) -> Option<&str> {
        self.get("From").and_then(|value| param(value, "tag"))
    }

    pub fn to_tag(&self) -> Option<&str> {
        self.get("To").and_then(|value| param(value, "tag"))
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        self.all("Via").first().and_then(|via| param(via, "branch")).unwrap_or_default()
    }

    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// Whether the body is a session description.
    pub fn has_sdp(&self) -> bool {
        !self.body.is_empty() && self.get("Content-Type") == Some("application/sdp")
    }

    /// What a person wants to see of it: the first line and what tells it from others.
    pub fn summary(&self) -> String {
        let first = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri}"),
            Start::Response { status, reason } => format!("{status} {reason}"),
        };
        let sdp = if self.has_sdp() { " +SDP" } else { "" };
        let (number, method) = self.cseq();
        let tag = self.to_tag().map(|tag| format!(" to={tag}")).unwrap_or_default();
        let (branch, call) = (self.branch(), self.call_id());
        format!("{first}{sdp}  [{number} {method}{tag} branch={branch} call={call}]")
    }

    pub fn write(&self, hand: Hand) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { status, reason } => format!("SIP/2.0 {status} {reason}\r\n"),
        };
        let length = ("Content-Length".to_owned(), self.body.len().to_string());
        for (name, value) in self.headers.iter().chain([&length]) {
            text += &match hand {
                Hand::Plain => format!("{name}: {value}\r\n"),
                Hand::Compact => format!("{}:{value}\r\n", compact(name)),
                Hand::Odd => format!("{} : {value}\r\n", name.to_ascii_lowercase()),
            };
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads a message, and says which rule of RFC 3261 it breaks if it breaks one.
    pub fn read(bytes: &[u8]) -> Result<Message, String> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("the headers never end")?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the headers are not UTF-8")?;
        let body = bytes[end + 4..].to_vec();
        let mut lines = head.split("\r\n");
        let start = read_start(lines.next().unwrap_or_default())?;
        let mut headers = Vec::new();
        for line in lines {
            if line.contains(['\r', '\n']) {
                return Err(format!("a bare CR or LF in {line:?}"));
            }
            let (name, value) = line.split_once(':').ok_or(format!("no colon in {line:?}"))?;
            let name = name.trim_end_matches([' ', '\t']);
            let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(format!("{name:?} is not a header name"));
            }
            headers.push((long(name), value.trim().to_owned()));
        }
        let message = Message { start, headers, body };
        message.check()?;
        Ok(message)
    }

    /// The rules that every message obeys (RFC 3261 §8.1.1, §20.14).
    fn check(&self) -> Result<(), String> {
        let mut once = vec!["To", "From", "Call-ID", "CSeq", "Content-Length"];
        if self.is_request() {
            once.push("Max-Forwards");
        }
        for name in once {
            let count = self.headers.iter().filter(|(n, _)| n == name).count();
            if count != 1 {
                return Err(format!("{count} {name} headers"));
            }
        }
        let length = self.get("Content-Length").unwrap_or_default();
        if length.parse() != Ok(self.body.len()) {
            return Err(format!("Content-Length {length} for {} bytes", self.body.len()));
        }
        let vias = self.all("Via");
        let top = vias.first().ok_or("no Via")?;
        if !top.starts_with("SIP/2.0/UDP ") && !top.starts_with("SIP/2.0/TCP ") {
            return Err(format!("not a Via: {top}"));
        }
        if !self.branch().starts_with("z9hG4bK") || self.branch().len() < 8 {
            return Err(format!("a branch without the magic cookie: {top}"));
        }
        let (number, method) = self.get("CSeq").and_then(|v| v.split_once(' ')).unwrap_or_default();
        if number.parse::<u32>().is_err() || method.is_empty() {
            return Err(format!("CSeq: {:?}", self.get("CSeq")));
        }
        if !self.body.is_empty() && self.get("Content-Type").is_none() {
            return Err("a body without Content-Type".into());
        }
        for name in ["From", "To"] {
            let value = self.get(name).unwrap_or_default();
            if !uri_of(value).contains(':') {
                return Err(format!("{name}: {value}"));
            }
        }
        if self.sender_tag().is_none() {
            return Err("no From tag".into());
        }
        match &self.start {
            Start::Request { method: asked, uri } => {
                if asked != method {
                    return Err(format!("{asked} with CSeq method {method}"));
                }
                if !uri.starts_with("sip:") && !uri.starts_with("tel:") {
                    return Err(format!("Request-URI {uri}"));
                }
                let hops = self.get("Max-Forwards").unwrap_or_default();
                if hops.parse::<u8>().is_err() {
                    return Err(format!("Max-Forwards: {hops}"));
                }
                if method == "INVITE" && self.all("Contact").len() != 1 {
                    return Err("an INVITE wants one Contact".into());
                }
            }
            Start::Response { status, .. } => {
                if *status > 100 && self.to_tag().is_none() {
                    return Err(format!("a {status} without To tag"));
                }
                let dialog = method == "INVITE" && (101..300).contains(status);
                if dialog && self.all("Contact").len() != 1 {
                    return Err(format!("a {status} to INVITE wants one Contact"));
                }
            }
        }
        Ok(())
    }
}

fn read_start(line: &str) -> Result<Start, String> {
    let broken = || format!("start line {line:?}");
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let (code, reason) = rest.split_once(' ').ok_or_else(broken)?;
        let status = code.parse().map_err(|_| broken())?;
        if code.len() != 3 || !(100..700).contains(&status) {
            return Err(broken());
        }
        return Ok(Start::Response { status, reason: reason.into() });
    }
    let parts: Vec<&str> = line.split(' ').collect();
    match parts[..] {
        [method, uri, "SIP/2.0"] if !method.is_empty() && !uri.is_empty() => {
            Ok(Start::Request { method: method.into(), uri: uri.into() })
        }
        _ => Err(broken()),
    }
}

fn long(name: &str) -> String {
    let known = COMPACT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name));
    if let Some((_, long)) = known {
        return (*long).to_owned();
    }
    match name.to_ascii_lowercase().as_str() {
        "call-id" => "Call-ID".into(),
        "cseq" => "CSeq".into(),
        "www-authenticate" => "WWW-Authenticate".into(),
        "rack" => "RAck".into(),
        "rseq" => "RSeq".into(),
        "remote-party-id" => "Remote-Party-ID".into(),
        lower => lower.split('-').map(capital).collect::<Vec<_>>().join("-"),
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}

fn compact(name: &str) -> &str {
    COMPACT.iter().find(|(_, long)| *long == name).map_or(name, |(short, _)| short)
}

/// Splits at a separator that stands outside of `"…"` and `<…>`.
pub fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut angle) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            c if c == separator && !quoted && !angle => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// A parameter of a header value, outside of its `<…>`.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    split_outside_quotes(value, ';').into_iter().skip(1).find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The URI of a name-addr or addr-spec (RFC 3261 §20.10).
pub fn uri_of(value: &str) -> &str {
    let parts = split_outside_quotes(value, ';');
    let mut quoted = false;
    let open = value.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '<' && !quoted
    });
    let Some((open, _)) = open else { return parts.first().copied().unwrap_or_default() };
    match value[open..].find('>') {
        Some(length) => &value[open + 1..open + length],
        None => parts.first().copied().unwrap_or_default(),
    }
}

/// The user part of a SIP URI.
pub fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user)
}

/// Host and port of a SIP URI, as they are written.
pub fn host_port_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    host.split([';', '?']).next().unwrap_or_default()
}

/// A parameter of a SIP URI.
pub fn uri_param<'a>(uri: &'a str, name: &str) -> Option<&'a str> {
    let plain = uri.split('?').next().unwrap_or_default();
    plain.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Message {
        Message::request("OPTIONS", "sip:a@[2001:db8::1]:5060;transport=tcp")
            .with("Via", "SIP/2.0/UDP [2001:db8::2]:5060;branch=z9hG4bKabc;rport")
            .with("Via", "SIP/2.0/UDP h;branch=z9hG4bKx, SIP/2.0/TCP i;branch=z9hG4bKy")
            .with("From", "\"A, <b>; tag=no\" <sip:a@h;tag=no>;tag=yes")
            .with("To", "sip:b@h;tag=to")
            .with("Call-ID", "1@h")
            .with("CSeq", "7 OPTIONS")
            .with("Max-Forwards", "70")
    }

    #[test]
    fn every_hand_reads_the_same() {
        for hand in [Hand::Plain, Hand::Compact, Hand::Odd] {
            let read = Message::read(&options().write(hand)).unwrap();
            assert_eq!(read.all("Via").len(), 3);
            assert_eq!(read.branch(), "z9hG4bKabc");
            assert_eq!((read.sender_tag(), read.to_tag()), (Some("yes"), Some("to")));
            assert_eq!(read.cseq(), (7, "OPTIONS"));
            assert_eq!(host_port_of(read.uri()), "[2001:db8::1]:5060");
            assert_eq!(uri_param(read.uri(), "transport"), Some("tcp"));
        }
    }

    #[test]
    fn broken_messages_are_named() {
        let good = String::from_utf8(options().write(Hand::Plain)).unwrap();
        let broken = [
            (good.replace("Content-Length: 0", "Content-Length: 1"), "Content-Length 1"),
            (good.replace("Max-Forwards: 70\r\n", ""), "0 Max-Forwards"),
            (good.replace("To:", "From:"), "0 To"),
            (good.replace("z9hG4bKabc", "abc"), "magic cookie"),
            (good.replace("7 OPTIONS", "7 INVITE"), "CSeq method"),
            (good.replace("Call-ID", "Call ID"), "not a header name"),
            (good.replace(" SIP/2.0\r\n", "\r\n"), "start line"),
            (good.replace("tag=yes", "tog=yes"), "no From tag"),
        ];
        for (text, expected) in broken {
            let error = Message::read(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error} instead of {expected}");
        }
    }
}

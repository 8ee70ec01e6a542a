//! SIP as the bench's phones speak it: a reader and writers of their own, so that a mistake of the
//! server is not shared by its judge.

use md5::{Digest, Md5};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// One received message: slices of the datagram.
pub(crate) struct Message<'a> {
    /// The status, or `None` for a request.
    pub(crate) status: Option<u16>,
    /// The request's method, or the CSeq's for a response.
    pub(crate) method: &'a str,
    /// The whole start line, for error texts.
    pub(crate) start: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    /// What follows the empty line.
    pub(crate) body: &'a str,
}

impl<'a> Message<'a> {
    /// Reads a datagram; the error says what is wrong with it.
    pub(crate) fn read(datagram: &'a [u8]) -> Result<Message<'a>, String> {
        let text = std::str::from_utf8(datagram).map_err(|_| "a message that is not UTF-8")?;
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or_else(|| format!("a message without an end of header: {text}"))?;
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default();
        let mut headers = Vec::with_capacity(24);
        for line in lines {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("a header line without a colon: {line}"))?;
            headers.push((name.trim_end(), value.trim()));
        }
        let mut message = Message { status: None, method: "", start, headers, body };
        match start.strip_prefix("SIP/2.0 ") {
            Some(rest) => {
                message.status = rest.get(..3).and_then(|s| s.parse().ok());
                if message.status.is_none() {
                    return Err(format!("a malformed status line: {start}"));
                }
                let cseq = message.get("CSeq")?;
                message.method = cseq.split_ascii_whitespace().nth(1).unwrap_or_default();
            }
            None => message.method = start.split(' ').next().unwrap_or_default(),
        }
        let length: usize =
            message.get("Content-Length")?.parse().map_err(|_| "a Content-Length that is no number")?;
        if length != body.len() {
            return Err(format!("Content-Length {length} with {} octets: {start}", body.len()));
        }
        Ok(message)
    }

    /// The value of the first header of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&'a str, String> {
        self.all(name).next().ok_or_else(|| format!("no {name} in: {}", self.start))
    }

    /// The values of all headers of this name, from the top.
    pub(crate) fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v)
    }
}

/// The `tag` of a From or To value.
pub(crate) fn tag(value: &str) -> Option<&str> {
    let rest = &value[value.rfind('>').unwrap_or(0)..];
    let tag = &rest[rest.find(";tag=")? + 5..];
    Some(tag.split([';', ' ', ',']).next().unwrap_or(tag))
}

/// The URI between the angle brackets of a name-addr.
pub(crate) fn uri(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once('<')?;
    Some(rest.split_once('>')?.0)
}

/// Route values of a header, which may hold several, comma-separated.
pub(crate) fn routes(message: &Message<'_>) -> Vec<String> {
    message.all("Record-Route").flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect()
}

/// Where a session description wants its audio.
pub(crate) fn audio(sdp: &str) -> Option<SocketAddr> {
    let line = |prefix| sdp.lines().find_map(|l: &str| l.strip_prefix(prefix));
    let ip = line("c=IN IP4 ").or_else(|| line("c=IN IP6 "))?.trim().parse().ok()?;
    let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// A session description with G.711 and telephone events at `media`.
pub(crate) fn write_sdp(out: &mut String, media: SocketAddr) {
    let family = if media.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (media.ip(), media.port());
    let _ = write!(
        out,
        "v=0\r\no=- 3986 3986 IN {family} {ip}\r\ns=call\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

/// A digest challenge that has to be answered.
pub(crate) struct Challenge<'a> {
    realm: &'a str,
    nonce: &'a str,
    opaque: Option<&'a str>,
    qop: bool,
}

impl<'a> Challenge<'a> {
    /// The MD5 challenge among the values of a 401 or 407: both servers know MD5, so it is what
    /// can be compared.
    pub(crate) fn find(message: &Message<'a>, header: &str) -> Result<Challenge<'a>, String> {
        for value in message.all(header) {
            let md5 = parameter(value, "algorithm").is_none_or(|a| a.eq_ignore_ascii_case("MD5"));
            if let (true, Some(realm), Some(nonce)) =
                (md5, parameter(value, "realm"), parameter(value, "nonce"))
            {
                let qop = parameter(value, "qop").is_some_and(|q| q.split(',').any(|q| q.trim() == "auth"));
                return Ok(Challenge { realm, nonce, opaque: parameter(value, "opaque"), qop });
            }
        }
        Err(format!("no MD5 challenge in: {}", message.start))
    }

    /// The credentials (RFC 7616 §3.4) that answer it.
    pub(crate) fn answer(&self, user: &str, password: &str, method: &str, uri: &str) -> String {
        let (realm, nonce) = (self.realm, self.nonce);
        let ha1 = secret(user, realm, password);
        let ha2 = md5(&format!("{method}:{uri}"));
        let mut out = String::with_capacity(300);
        let _ = write!(
            out,
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5"
        );
        if self.qop {
            let response = md5(&format!("{ha1}:{nonce}:00000001:6f2d1c55:auth:{ha2}"));
            let _ = write!(out, ", response=\"{response}\", qop=auth, nc=00000001, cnonce=\"6f2d1c55\"");
        } else {
            let response = md5(&format!("{ha1}:{nonce}:{ha2}"));
            let _ = write!(out, ", response=\"{response}\"");
        }
        if let Some(opaque) = self.opaque {
            let _ = write!(out, ", opaque=\"{opaque}\"");
        }
        out
    }
}

/// H(A1) of a user: what a server may keep instead of the password.
pub(crate) fn secret(user: &str, realm: &str, password: &str) -> String {
    md5(&format!("{user}:{realm}:{password}"))
}

fn md5(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digest = Md5::digest(text.as_bytes());
    digest.iter().flat_map(|b| [HEX[usize::from(b >> 4)] as char, HEX[usize::from(b & 15)] as char]).collect()
}

/// The value of a challenge's parameter, without its quotes.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let list = challenge.strip_prefix("Digest ")?;
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
}

//! A strict reader of what the exchange answers, with nothing in common with the exchange's own.

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

impl Answer {
    /// The values of all lines of one name.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
    }

    /// The value of a header that stands once.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<&'a [u8], String> {
        let mut values = self.values(name);
        let first = values.next().ok_or(format!("{name} is missing"))?;
        if values.next().is_some() {
            return Err(format!("{name} stands twice"));
        }
        if first.is_empty() { Err(format!("{name} is empty")) } else { Ok(first) }
    }
}

/// Reads an answer to a request; an error says which rule of RFC 3261 it breaks.
pub(crate) fn read(answer: &[u8], request: &[u8]) -> Result<Answer, String> {
    let end = find(answer, b"\r\n\r\n").ok_or("the headers do not end")?;
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.iter().any(|b| b"\r\n".contains(b))) {
        return Err("a lone CR or LF".into());
    }

    let status_line = lines[0].strip_prefix(b"SIP/2.0 ").ok_or("no status line")?;
    let (code, reason) = status_line.split_at_checked(3).ok_or("no status")?;
    let status: u16 = std::str::from_utf8(code).unwrap_or("").parse().map_err(|_| "no status")?;
    if !(100..700).contains(&status) || reason.first() != Some(&b' ') {
        return Err("the status line is malformed".into());
    }

    let mut headers = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|&b| b == b':').ok_or("a header without colon")?;
        let name = String::from_utf8(line[..colon].to_vec()).map_err(|_| "a header name that is no text")?;
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("{name:?} is no header name"));
        }
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    let answer = Answer { status, headers };

    if answer.one("Content-Length")? != body.len().to_string().as_bytes() {
        return Err("Content-Length is wrong".into());
    }
    if !body.is_empty() {
        answer.one("Content-Type")?;
    }
    if answer.values("Via").next().is_none() {
        return Err("no Via".into());
    }
    let squeezed = squeeze(request);
    for name in ["From", "To", "Call-ID", "CSeq"] {
        // RFC 3261 §8.2.6.2: copied from the request.
        let value = squeeze(answer.one(name)?);
        let copied = match (name, rfind(&value, b";tag=")) {
            ("To", Some(tag)) => &value[..tag],
            _ => &value,
        };
        if find(&squeezed, copied).is_none() {
            return Err(format!("{name} is not the request's: {}", value.escape_ascii()));
        }
    }
    if status > 100 && find(&squeeze(answer.one("To")?).to_ascii_lowercase(), b";tag=").is_none() {
        return Err("To has no tag".into());
    }
    Ok(answer)
}

/// Without blanks and line ends, so that folding makes no difference.
fn squeeze(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|b| !b" \t\r\n".contains(b)).collect()
}

pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn rfind(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

#[test]
fn what_is_malformed_is_seen() {
    let request = b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nf: <a:b>;tag=1\r\nt: <c:d>\r\ni: c\r\nCSeq: 1\r\n OPTIONS\r\n\r\n";
    let good = "SIP/2.0 400 Bad\r\nVia: SIP/2.0/UDP a\r\nFrom: <a:b>;tag=1\r\nTo: <c:d>;tag=2\r\nCall-ID: c\r\n\
                CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(read(good.as_bytes(), request).unwrap().status, 400);
    for (from, to) in [
        ("SIP/2.0 400 Bad", "SIP/2.0 4000 Bad"),
        ("SIP/2.0 400 Bad", "SIP/2.0 400"),
        ("From: <a:b>;tag=1\r\n", "From: \r\n"),
        ("From: <a:b>;tag=1\r\n", ""),
        ("From: <a:b>", "From: <a:c>"),
        ("To: <c:d>;tag=2", "To: <c:d>"),
        ("To: <c:d>;tag=2", "To: <c:d>;tag=2\r\nTo: <c:d>;tag=2"),
        ("Call-ID", "Call ID"),
        ("Call-ID: c\r\n", "Call-ID: c\n"),
        ("Via: SIP/2.0/UDP a\r\n", ""),
        ("Content-Length: 0", "Content-Length: 1"),
        ("Content-Length: 0\r\n", ""),
        ("\r\n\r\n", "\r\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad);
        assert!(read(bad.as_bytes(), request).is_err(), "{bad}");
    }
}

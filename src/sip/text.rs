//! The grammar's small change (RFC 3261 §25.1): blanks, lists, parameters, numbers.
//!
//! Values are byte slices: the wire carries UTF-8, Latin-1 and worse. A folded line keeps its
//! CR LF inside the value, so CR and LF count as blanks here.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

/// LWS, folding included.
pub(crate) fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// A character of `token`.
pub(crate) fn is_token(b: u8) -> bool {
    TOKEN[b as usize]
}

/// Looked up rather than compared: each byte of each header's name is asked for.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0u8;
    while b < 128 {
        table[b as usize] = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        b += 1;
    }
    table
};

/// Writes a number as decimal digits.
pub(crate) fn put_decimal(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// Writes an address, IPv6 without brackets.
pub(crate) fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                put_decimal(out, octet.into());
            }
        }
        IpAddr::V6(ip) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{ip}");
        }
    }
}

/// Without blanks at both ends.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// A decimal number of digits only; `None` if there is none, or it does not fit.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// The parts of `text` between `separator`s that stand outside quotes, angle brackets and square
/// brackets, trimmed; empty parts are left out, as in `a,,b` (RFC 4475 §3.1.2.1).
pub fn split(text: &[u8], separator: u8) -> Split<'_> {
    Split { rest: text, separator }
}

/// The iterator of [`split`].
#[derive(Clone)]
pub struct Split<'a> {
    rest: &'a [u8],
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = outside(self.rest, self.separator).unwrap_or(self.rest.len());
            let (part, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let part = trim(part);
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }
}

/// Where `wanted` first stands outside quotes and brackets.
pub(crate) fn outside(text: &[u8], wanted: u8) -> Option<usize> {
    // Most values have neither quotes nor brackets in front of what is looked for.
    let plain = text.iter().position(|&b| b == wanted || b == b'"' || b == b'<')?;
    if text[plain] == wanted {
        return Some(plain);
    }
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, &b) in text.iter().enumerate().skip(plain) {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b if b == wanted && !angle => return Some(at),
            b'<' => angle = true,
            b'>' => angle = false,
            _ => {}
        }
    }
    None
}

/// The `;name=value` parameters of `text`, which starts at the first `;` (or is empty).
pub fn params(text: &[u8]) -> Params<'_> {
    Params(split(text, b';'))
}

/// The iterator of [`params`]: names and values, the values as they stand (quotes and all).
#[derive(Clone)]
pub struct Params<'a>(Split<'a>);

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.0.next()?;
        Some(match part.iter().position(|&b| b == b'=') {
            Some(at) => (trim(&part[..at]), Some(trim(&part[at + 1..]))),
            None => (part, None),
        })
    }
}

/// The value of a parameter: `None` if it is not there, empty if it has none.
pub fn find_param<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    params(text)
        .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value.unwrap_or_default())
}

/// `%HH` escapes undone; a `%` that is none stays.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let hex = |b: u8| (b as char).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                out.push(value as u8);
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    Cow::Owned(out)
}

/// What people may be shown of bytes from the network: printable ASCII, at most `most` characters.
pub fn printable(text: &[u8], most: usize) -> String {
    text.iter().take(most).map(|&b| if (b' '..=b'~').contains(&b) { b as char } else { '?' }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_written_as_everybody_writes_them() {
        for number in [0, 7, 10, 255, 5060, 65_535, u32::MAX] {
            let mut out = Vec::new();
            put_decimal(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
        for ip in ["0.0.0.0", "203.0.113.7", "255.255.255.255", "2001:db8::1", "::"] {
            let mut out = Vec::new();
            put_ip(&mut out, ip.parse().unwrap());
            assert_eq!(out, ip.as_bytes());
        }
    }

    #[test]
    fn lists_are_split_outside_quotes_and_brackets() {
        let list = br#""a,b" <sip:x@y;p="1,2">;q=1 , ,<sip:c,d@e>"#;
        let parts: Vec<_> = split(list, b',').collect();
        assert_eq!(parts, [&br#""a,b" <sip:x@y;p="1,2">;q=1"#[..], b"<sip:c,d@e>"]);
    }

    #[test]
    fn parameters_may_be_sloppy() {
        assert_eq!(find_param(b"; a = 1;;B ; c=\"x;y\"", "b"), Some(&b""[..]));
        assert_eq!(find_param(b"; a = 1;;B ; c=\"x;y\"", "C"), Some(&b"\"x;y\""[..]));
        assert_eq!(find_param(b"; a = 1", "d"), None);
    }

    #[test]
    fn numbers_do_not_wrap() {
        assert_eq!(decimal(b"0068"), Some(68));
        assert_eq!(decimal(b"36893488147419103232"), None);
        assert_eq!(decimal(b"-999"), None);
        assert_eq!(decimal(b""), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(&*unescape(b"a%20b%4"), b"a b%4");
    }
}

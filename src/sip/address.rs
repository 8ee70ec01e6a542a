//! `name-addr` and `addr-spec` with header parameters: From, To, Contact, Route (RFC 3261 §20.10).

use super::Uri;
use super::text::{find_param, is_blank, outside, trim};

/// One such value.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    /// The display name as it was written, with its quotes; empty if there is none.
    pub display: &'a [u8],
    /// The URI, of any scheme.
    pub uri: &'a [u8],
    /// Header parameters, from the first `;`.
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value. `None` where the quotes of the display name do not end, the brackets do
    /// not close, hold blanks or are followed by anything but parameters, or a URI without brackets
    /// has a `?` or `,` (RFC 3261 §20.10).
    pub fn parse(value: &'a [u8]) -> Option<NameAddr<'a>> {
        let value = trim(value);
        let Some(open) = outside(value, b'<') else {
            let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
            let (uri, params) = value.split_at(end);
            let uri = trim(uri);
            let bad = uri.is_empty() || uri.iter().any(|&b| is_blank(b) || b"?,\"<>".contains(&b));
            return (!bad).then_some(NameAddr { display: &[], uri, params });
        };
        let (display, rest) = value.split_at(open);
        let close = rest.iter().position(|&b| b == b'>')?;
        let uri = &rest[1..close];
        if uri.is_empty() || uri.iter().any(|&b| is_blank(b)) {
            return None;
        }
        let params = trim(&rest[close + 1..]);
        let bad = params.first().is_some_and(|&b| b != b';');
        (!bad).then_some(NameAddr { display: trim(display), uri, params })
    }

    /// The value of a header parameter.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        find_param(self.params, name)
    }

    /// The URI, if it is `sip:` or `sips:` and well-formed.
    pub fn sip_uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn display_names_hide_brackets() {
        let a = NameAddr::parse(b"\"Watson <A>, B\" <sip:w@b.com;x=1>;q=0.7; +sip.instance=\"<urn:uuid:1>\"")
            .unwrap();
        assert_eq!(a.display, b"\"Watson <A>, B\"");
        assert_eq!(a.uri, b"sip:w@b.com;x=1");
        assert_eq!(a.param("+SIP.instance"), Some(&b"\"<urn:uuid:1>\""[..]));
    }

    #[test]
    fn without_brackets_parameters_are_the_headers() {
        let a = NameAddr::parse(b"sip:a@b;tag=1").unwrap();
        assert_eq!((a.uri, a.param("tag")), (&b"sip:a@b"[..], Some(&b"1"[..])));
    }

    #[test]
    fn broken_ones() {
        for bad in [
            "<sip:a@b>tag=1",
            "\"Mr. J. User <sip:j@example.com>",
            "< sip:a@b>",
            "sip:a@b?Route=x",
            "<sip:a@b",
            "",
            "<>",
        ] {
            assert!(NameAddr::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}

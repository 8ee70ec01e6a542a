//! A domain name (RFC 1035 §2.3.1), as far as hosts and services have one.

use std::fmt;

/// A name in lower case without its last dot: at most [`MAX_NAME`] octets in labels of 1 to 63, each of
/// `a-z 0-9 - _`. It is complete: nothing is ever appended to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// The most octets of a [`Name`]: 255 on the wire.
pub const MAX_NAME: usize = 253;

/// The most octets of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

impl Name {
    /// The name, if `text` is one; a dot at its end does not matter.
    pub fn new(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let ok = text.len() <= MAX_NAME && text.split('.').all(is_label);
        ok.then(|| Name(text.to_ascii_lowercase().into()))
    }

    /// A name below this one, such as that of a service; `None` if it is too long.
    pub(super) fn below(&self, labels: &str) -> Option<Name> {
        Name::new(&format!("{labels}.{self}"))
    }

    /// Whether it is one of this machine itself, whoever says otherwise (RFC 6761 §6.3).
    pub(super) fn is_localhost(&self) -> bool {
        self.0.rsplit('.').next() == Some("localhost")
    }

    /// Whether its last label is a number.
    pub(super) fn ends_in_number(&self) -> bool {
        self.0.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_text() {
        assert_eq!(Name::new("SIP.Example.NET.").unwrap().as_str(), "sip.example.net");
        assert_eq!(Name::new("_sip._udp.example.net").unwrap().as_str(), "_sip._udp.example.net");
        for bad in ["", ".", "a..b", ".a", "a b", "a\0", "例え.jp", "a.b..", &"a".repeat(64), "[::1]", "a/b"]
        {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(longest.len(), MAX_NAME);
        let name = Name::new(&longest).unwrap();
        assert_eq!(Name::new(&format!("{longest}e")), None);
        assert_eq!(name.below("_sip._udp"), None, "too long");
    }
}

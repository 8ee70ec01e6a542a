//! What an exchange says of itself in public (`mantela.*`), and of whom else it tells there.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::mistake::printable;
use super::{Listen, Number, TargetHost};

/// The most places where the document is served.
pub const MAX_MANTELA_LISTEN: usize = 4;
/// The most prefixes that an exchange can wish for.
pub const MAX_PREFIXES: usize = 8;
/// The most numbers that can be public, members of public groups counted as well, so that the document always fits into what others read of one
/// ([`crate::mantela::MAX_DOCUMENT`]).
pub const MAX_PUBLIC: usize = 350;
/// The longest address of a document, in bytes.
const LONGEST_ADDRESS: usize = 200;
/// The longest identifier, in bytes.
const LONGEST_IDENTIFIER: usize = 64;

/// `mantela.*`: what others can read of this exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mantela {
    /// `.listen`: where HTTP is spoken, at most [`MAX_MANTELA_LISTEN`] places of TCP. None: nothing is served.
    pub listen: Vec<Listen>,
    /// `.name`: how the exchange is called. Default its identifier.
    pub name: Option<String>,
    /// `.identifier`: what tells it from all others in the world. Default the domain, if that is a name of the
    /// Internet. There is one wherever something is served.
    pub identifier: Option<Identifier>,
    /// `.prefix`: which prefixes others might dial for it, the best first, at most [`MAX_PREFIXES`]. There is one
    /// wherever something is served.
    pub prefixes: Vec<Number>,
    /// `.unavailable`: that it cannot be called at present.
    pub unavailable: bool,
    /// `.numbers`: groups, the echo test, and extensions that are public besides those that say so themselves.
    pub numbers: Vec<Number>,
}

/// What the document says of an extension, if it is public.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// `.public`: whether it is in the document. Default no.
    pub is_public: bool,
    /// `.type`: what kind of a telephone it is. Default `phone`.
    pub terminal: Terminal,
    /// `.model`: which model, at most 64 bytes.
    pub model: Option<String>,
}

/// What answers at an extension: the types of the schema that need nothing else said. Those that forward
/// (`alias`, `main`, `switchboard`) are what groups are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the words say it
pub enum Terminal {
    Application,
    Cellphone,
    Conference,
    Dialphone,
    Fax,
    Information,
    Modem,
    Music,
    Other,
    #[default]
    Phone,
    Pushphone,
    Reserved,
    Smartphone,
    Unknown,
}

/// What the document says of a peer: `peer.NAME.mantela` and `.identifier`, which belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Where the peer's own document is.
    pub mantela: WebAddress,
    /// How it calls itself.
    pub identifier: Identifier,
}

/// A name for machines: 1 to 64 printable ASCII characters without a blank (the schema's `^[\x21-\x7E]+$`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier(String);

impl Identifier {
    /// The identifier, if `text` is one.
    pub fn new(text: &str) -> Option<Identifier> {
        let ok = (1..=LONGEST_IDENTIFIER).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        ok.then(|| Identifier(text.to_owned()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a document can be had: `http://` or `https://`, a host, and no more than a path behind it, at most 200
/// bytes of ASCII. It is published, and so has no place for a password or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAddress {
    text: String,
    is_https: bool,
    host: TargetHost,
    port: u16,
    /// Where the host and its port begin and end in the text.
    authority: (usize, usize),
}

impl WebAddress {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// A sentence that says why it is none.
    pub fn parse(word: &str) -> Result<WebAddress, String> {
        let why = |why: &str| Err(format!("`{}` {why}", printable(word, 60)));
        if word.len() > LONGEST_ADDRESS {
            return Err(format!("the address has {} bytes; {LONGEST_ADDRESS} are the most", word.len()));
        }
        // What cannot stand in a URI (RFC 3986).
        let is_wrong = |b: u8| !b.is_ascii_graphic() || b"<>`\"\\^{}|".contains(&b);
        if word.is_empty() || word.bytes().any(is_wrong) {
            return why("is not an address of the web");
        }
        let Some((scheme, behind)) = word.split_once("://") else {
            return why("does not begin with http:// or https://");
        };
        let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return why("is not an address of the web");
        }
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return why("does not begin with http:// or https://");
        }
        if authority.contains('@') {
            return why("has a user in it, and perhaps a password: what is published has neither");
        }
        if word.contains(['?', '#']) {
            return why("has a `?` or a `#` in it: leave that out, and what is behind it");
        }
        // The colons of an IPv6 address are in brackets.
        let host_ends = match authority.rfind(']') {
            Some(bracket) => bracket + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(host_ends);
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Some(if is_https { 443 } else { 80 }),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        let Some(port) = port.filter(|&port| port > 0) else {
            return why("has a port that is not from 1 to 65535");
        };
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (in_brackets, host.parse()) {
            (Some(address), _) => {
                address.parse::<Ipv6Addr>().ok().map(|address| TargetHost::Ip(address.into()))
            }
            (None, Ok(address)) => Some(TargetHost::Ip(IpAddr::V4(address))),
            (None, Err(_)) if is_host_name(host) => Some(TargetHost::Name(host.to_ascii_lowercase())),
            (None, Err(_)) => None,
        };
        let Some(host) = host else { return why("has no host") };
        let begins = scheme.len() + "://".len();
        let authority = (begins, begins + authority.len());
        Ok(WebAddress { text: word.to_owned(), is_https, host, port, authority })
    }

    /// Whether it is reached through TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whose it is.
    pub fn host(&self) -> &TargetHost {
        &self.host
    }

    /// Where it is reached there.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they were written.
    pub fn authority(&self) -> &str {
        let (begins, ends) = self.authority;
        self.text.get(begins..ends).unwrap_or_default()
    }

    /// What is asked for there.
    pub fn path(&self) -> &str {
        match self.text.get(self.authority.1..) {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// The text of the address of another path at the same host.
    pub fn beside(&self, path: &str) -> String {
        format!("{}{path}", self.text.get(..self.authority.1).unwrap_or_default())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (1..=253).contains(&name.len()) && name.split('.').all(is_label)
}

impl Mantela {
    /// The identifier that is said, else the domain, unless that is a mere word: such a one is known to those who
    /// were told, and to nobody else.
    pub fn identifier(&self, domain: Option<&str>) -> Option<Identifier> {
        let by_domain = || domain.filter(|domain| domain.contains(['.', ':'])).and_then(Identifier::new);
        self.identifier.clone().or_else(by_domain)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_documents() {
        let host = |word: &str| WebAddress::parse(word).map(|address| address.host().to_string());
        assert_eq!(host("https://Friend.example/.well-known/mantela.json"), Ok("friend.example".into()));
        assert_eq!(host("http://[2001:db8::1]:8080/x"), Ok("[2001:db8::1]".into()));
        assert_eq!(host("http://192.0.2.1"), Ok("192.0.2.1".into()));
        let long = format!("https://friend.example/{}", "x".repeat(200));
        for (word, why) in [
            ("friend.example", "does not begin with"),
            ("ftp://friend.example/", "does not begin with"),
            ("https://user:secret@friend.example/", "has a user in it"),
            ("https://friend.example/?token=secret", "`?`"),
            ("https://friend.example/#a", "`#`"),
            ("https://friend.example:0/", "port"),
            ("https://friend.example:70000/", "port"),
            ("https://", "is not an address"),
            ("https:///x", "is not an address"),
            ("file:///etc/passwd", "is not an address"),
            ("https://friend.example:/", "port"),
            ("https://friend.example:+80/", "port"),
            ("https://[2001:db8::1]80/", "port"),
            ("https://2001:db8::1/", "port"),
            ("https://[192.0.2.1]/", "has no host"),
            ("https://[2001:db8::1/", "port"),
            ("https://friend.example/<x>", "is not an address"),
            ("https://a..b/", "has no host"),
            ("https://電話.example/", "is not an address"),
            ("https://friend.example/\u{1b}[2J", "is not an address"),
            (&long, "200 are the most"),
            ("", "is not an address"),
        ] {
            let said = WebAddress::parse(word).unwrap_err();
            assert!(said.contains(why) && !said.contains(char::is_control), "{word}: {said}");
        }
    }

    #[test]
    fn parts_of_addresses() {
        let parts = |word: &str| {
            let address = WebAddress::parse(word).unwrap();
            let texts = (address.authority().to_owned(), address.path().to_owned(), address.beside("/y"));
            (address.is_https(), address.port(), texts)
        };
        let texts = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            parts("HTTPS://Friend.example"),
            (true, 443, texts("Friend.example", "/", "HTTPS://Friend.example/y"))
        );
        assert_eq!(
            parts("http://[2001:db8::1]:8080/a/b"),
            (false, 8080, texts("[2001:db8::1]:8080", "/a/b", "http://[2001:db8::1]:8080/y"))
        );
    }

    #[test]
    fn identifiers() {
        for right in ["pbx.example.net", "b0ce607e-a8be-470b-9506-2f9aae1ea317", "!\"~"] {
            assert_eq!(Identifier::new(right).unwrap().as_str(), right);
        }
        for wrong in ["", "a b", "電話", "a\u{7f}", "a\n", &"x".repeat(65)] {
            assert_eq!(Identifier::new(wrong), None, "{wrong:?}");
        }
    }
}

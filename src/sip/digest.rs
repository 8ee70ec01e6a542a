//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760; RFC 2617 for phones without qop).
//!
//! [`challenge`] asks, [`Credentials::parse`] reads what comes back, [`verify`] checks it against an
//! [`Ha1`], which is all that has to be kept of a password. What a phone hashed are the octets that it
//! wrote, so `uri`, `nc`, `cnonce` and `nonce` are taken raw from the header, never printed anew.
//!
//! Not supported: `auth-int`, the `-sess` algorithms, `userhash`, SHA-512-256. Credentials that use
//! them parse and do not verify.

use md5::Md5;
use sha2::Sha256;
use sha2::digest::Digest;
use subtle::ConstantTimeEq;

use super::text::{is_blank, trim};

/// How responses are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, also where nothing is said.
    Md5,
    /// `SHA-256` (RFC 8760).
    Sha256,
    /// Anything else.
    Unknown,
}

/// What the response protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop<'a> {
    /// Nothing was said: the form of RFC 2069, without counter.
    None,
    /// `auth`: the use of the nonce is counted.
    Auth {
        /// How often this nonce was used.
        nc: u32,
        /// The same as written, 1 to 8 hex digits.
        nc_raw: &'a [u8],
        /// The phone's own nonce.
        cnonce: &'a [u8],
    },
    /// `auth-int` or something new.
    Unknown,
}

/// The value of an `Authorization` or `Proxy-Authorization` header.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Who claims to speak.
    pub username: Text<'a>,
    /// For which challenge's realm.
    pub realm: Text<'a>,
    /// Which nonce was answered, as written.
    pub nonce: &'a [u8],
    /// The Request-URI as the phone saw it, as written.
    pub uri: &'a [u8],
    /// The response in hex, as written.
    pub response: &'a [u8],
    /// How it was computed.
    pub algorithm: Algorithm,
    /// And over what.
    pub qop: Qop<'a>,
    /// What the challenge gave to be handed back, as written.
    pub opaque: Option<&'a [u8]>,
}

/// A quoted string without its quotes, in which `\x` stands for `x`.
#[derive(Clone, Copy)]
pub struct Text<'a>(&'a [u8]);

/// H(user:realm:password) for both algorithms, in hex. As good as the password for its realm, so it
/// is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    md5: [u8; 32],
    sha256: [u8; 64],
}

impl Ha1 {
    /// Hashes a password once, so that no request has to.
    pub fn new(user: &[u8], realm: &[u8], password: &[u8]) -> Ha1 {
        let parts = [user, b":", realm, b":", password];
        Ha1 { md5: hash::<Md5, 32>(&parts), sha256: hash::<Sha256, 64>(&parts) }
    }
}

impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Whether the credentials were made by somebody who knows the password, for a request of this
/// method. Neither allocates nor tells by its time how much of a response was right.
///
/// Whether nonce, counter, realm and user are those expected is the caller's to check. That `uri`
/// equals the Request-URI is not required: proxies on the way may change the latter (RFC 7616 §3.4.6).
pub fn verify(credentials: &Credentials<'_>, ha1: &Ha1, method: &[u8]) -> bool {
    let Credentials { algorithm, uri, nonce, qop, response, .. } = credentials;
    match (algorithm, qop) {
        (Algorithm::Unknown, _) | (_, Qop::Unknown) => false,
        (Algorithm::Md5, qop) => equals(response, &answer::<Md5, 32>(&ha1.md5, method, uri, nonce, qop)),
        (Algorithm::Sha256, qop) => {
            equals(response, &answer::<Sha256, 64>(&ha1.sha256, method, uri, nonce, qop))
        }
    }
}

/// The response to a challenge, in hex; `None` for what is not supported. The other side of [`verify`].
pub fn respond(
    algorithm: Algorithm,
    ha1: &Ha1,
    method: &[u8],
    uri: &[u8],
    nonce: &[u8],
    qop: &Qop<'_>,
) -> Option<String> {
    let hex = match (algorithm, qop) {
        (Algorithm::Unknown, _) | (_, Qop::Unknown) => return None,
        (Algorithm::Md5, _) => answer::<Md5, 32>(&ha1.md5, method, uri, nonce, qop).to_vec(),
        (Algorithm::Sha256, _) => answer::<Sha256, 64>(&ha1.sha256, method, uri, nonce, qop).to_vec(),
    };
    String::from_utf8(hex).ok()
}

/// A challenge that somebody else makes: the value of a `WWW-Authenticate` or `Proxy-Authenticate` header.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// Whose password is wanted.
    pub realm: Text<'a>,
    nonce: &'a [u8],
    opaque: Option<&'a [u8]>,
    algorithm: Algorithm,
    /// Whether `auth` is among the values of `qop`; `None` without any.
    auth: Option<bool>,
    /// The credentials were right, but their nonce was too old.
    pub stale: bool,
}

impl<'a> Challenge<'a> {
    /// Reads a header value; `None` if the scheme is not `Digest`, realm or nonce is missing, or something stands
    /// there twice.
    pub fn parse(value: &'a [u8]) -> Option<Challenge<'a>> {
        const NAMES: [&[u8]; 6] = [b"realm", b"nonce", b"opaque", b"algorithm", b"qop", b"stale"];
        let [realm, nonce, opaque, algorithm, qop, stale] = parameters(value, NAMES)?;
        let has_auth =
            |qop: &[u8]| qop.split(|&b| b == b',').any(|one| trim(one).eq_ignore_ascii_case(b"auth"));
        Some(Challenge {
            realm: Text(realm?),
            nonce: nonce?,
            opaque,
            algorithm: Algorithm::parse(algorithm),
            auth: qop.map(has_auth),
            stale: stale.is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
        })
    }

    /// How much better than another one it is to be answered; 0: it cannot be.
    pub fn strength(&self) -> u8 {
        match (self.algorithm, self.auth) {
            (Algorithm::Unknown, _) | (_, Some(false)) => 0,
            (Algorithm::Md5, _) => 1,
            (Algorithm::Sha256, _) => 2,
        }
    }

    /// The value of the header that answers it; `None` if it cannot be answered. `user` may not contain `"` or `\`.
    pub fn answer(
        &self,
        user: &[u8],
        password: &[u8],
        method: &[u8],
        uri: &[u8],
        cnonce: &[u8],
    ) -> Option<String> {
        let realm: Vec<u8> = self.realm.bytes().collect();
        let ha1 = Ha1::new(user, &realm, password);
        let qop = match self.auth {
            None => Qop::None,
            Some(true) => Qop::Auth { nc: 1, nc_raw: b"00000001", cnonce },
            Some(false) => return None,
        };
        let response = respond(self.algorithm, &ha1, method, uri, self.nonce, &qop)?;
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\", algorithm={}",
            text(user),
            text(self.realm.raw()),
            text(self.nonce),
            text(uri),
            if self.algorithm == Algorithm::Sha256 { "SHA-256" } else { "MD5" },
        );
        if let Qop::Auth { cnonce, .. } = qop {
            value.push_str(&format!(", qop=auth, nc=00000001, cnonce=\"{}\"", text(cnonce)));
        }
        if let Some(opaque) = self.opaque {
            value.push_str(&format!(", opaque=\"{}\"", text(opaque)));
        }
        Some(value)
    }
}

/// The values of these parameters in a `Digest` header; `None` for another scheme, or one that stands there twice.
fn parameters<'a, const N: usize>(value: &'a [u8], names: [&[u8]; N]) -> Option<[Option<&'a [u8]>; N]> {
    let value = trim(value);
    let (scheme, rest) = value.split_at_checked(b"Digest".len())?;
    if !scheme.eq_ignore_ascii_case(b"Digest") || !rest.first().is_some_and(|&b| is_blank(b)) {
        return None;
    }
    let mut found = [None; N];
    let mut parameters = Parameters { rest };
    while let Some((name, value)) = parameters.next()? {
        let known = names.iter().position(|n| name.eq_ignore_ascii_case(n));
        if known.is_some_and(|index| found[index].replace(value).is_some()) {
            return None;
        }
    }
    Some(found)
}

/// Writes the value of a `WWW-Authenticate` or `Proxy-Authenticate` header, as short as it gets: what
/// is sent to strangers must not be longer than what they sent. One header for each algorithm, the
/// strongest first (RFC 8760 §2.4). `realm` and `nonce` may not contain `"` or `\`; `qop="auth"` is
/// always offered; [`Algorithm::Unknown`] is written as MD5.
pub fn challenge(out: &mut Vec<u8>, realm: &[u8], nonce: &[u8], algorithm: Algorithm, stale: bool) {
    let algorithm = match algorithm {
        Algorithm::Sha256 => b"SHA-256".as_slice(),
        Algorithm::Md5 | Algorithm::Unknown => b"MD5",
    };
    let stale = if stale { b",stale=true".as_slice() } else { b"" };
    let parts: [&[u8]; 8] = [
        b"Digest realm=\"",
        realm,
        b"\",nonce=\"",
        nonce,
        b"\",algorithm=",
        algorithm,
        stale,
        b",qop=\"auth\"",
    ];
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// RFC 7616 §3.4.1: KD(H(A1), nonce:nc:cnonce:qop:H(A2)), or RFC 2617 §3.2.2.1 without qop.
fn answer<D: Digest, const HEX: usize>(
    ha1: &[u8; HEX],
    method: &[u8],
    uri: &[u8],
    nonce: &[u8],
    qop: &Qop<'_>,
) -> [u8; HEX] {
    let ha2 = hash::<D, HEX>(&[method, b":", uri]);
    match qop {
        Qop::Auth { nc_raw, cnonce, .. } => {
            hash::<D, HEX>(&[ha1, b":", nonce, b":", nc_raw, b":", cnonce, b":auth:", &ha2])
        }
        Qop::None | Qop::Unknown => hash::<D, HEX>(&[ha1, b":", nonce, b":", &ha2]),
    }
}

/// The hash of all parts, in lower-case hex.
fn hash<D: Digest, const HEX: usize>(parts: &[&[u8]]) -> [u8; HEX] {
    let mut digest = D::new();
    parts.iter().for_each(|part| digest.update(part));
    let mut hex = [0; HEX];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.finalize()) {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
    hex
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn equals<const HEX: usize>(given: &[u8], expected: &[u8; HEX]) -> bool {
    let Ok(mut given) = <[u8; HEX]>::try_from(given) else { return false };
    given.make_ascii_lowercase();
    given.ct_eq(expected).into()
}

impl<'a> Credentials<'a> {
    /// Reads a header value. Parameters may come in any order, quoted or not, with blanks, folded
    /// lines and superfluous commas between them; unknown ones are passed over.
    ///
    /// `None` if the scheme is not `Digest`, if one of username, realm, nonce, uri and response is
    /// missing, if a known parameter stands there twice, or `nc` is not 1 to 8 hex digits.
    pub fn parse(value: &'a [u8]) -> Option<Credentials<'a>> {
        let [username, realm, nonce, uri, response, algorithm, qop, nc, cnonce, opaque] =
            parameters(value, NAMES)?;
        let nc = match nc {
            Some(raw) => Some((hex(raw)?, raw)),
            None => None,
        };
        Some(Credentials {
            username: Text(username?),
            realm: Text(realm?),
            nonce: nonce?,
            uri: uri?,
            response: response?,
            algorithm: Algorithm::parse(algorithm),
            qop: match (qop, nc, cnonce) {
                (None, _, _) => Qop::None,
                (Some(qop), Some((nc, nc_raw)), Some(cnonce)) if qop.eq_ignore_ascii_case(b"auth") => {
                    Qop::Auth { nc, nc_raw, cnonce }
                }
                _ => Qop::Unknown,
            },
            opaque,
        })
    }
}

const NAMES: [&[u8]; 10] =
    [b"username", b"realm", b"nonce", b"uri", b"response", b"algorithm", b"qop", b"nc", b"cnonce", b"opaque"];

impl Algorithm {
    fn parse(value: Option<&[u8]>) -> Algorithm {
        match value {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case(b"MD5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case(b"SHA-256") => Algorithm::Sha256,
            Some(_) => Algorithm::Unknown,
        }
    }
}

/// `name=value` or `name="value"`, one after the other.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// The next name and value (without quotes); `Some(None)` at the end, `None` where it is neither.
    fn next(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        let start = self.rest.iter().position(|&b| !is_blank(b) && b != b',');
        let Some(start) = start else { return Some(None) };
        let rest = &self.rest[start..];
        let equals = rest.iter().position(|&b| matches!(b, b'=' | b',' | b'"'))?;
        let (name, rest) = (trim(&rest[..equals]), rest[equals..].strip_prefix(b"=")?);
        let rest = &rest[rest.iter().take_while(|&&b| is_blank(b)).count()..];
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => {
                let end = rest.iter().position(|&b| is_blank(b) || b == b',');
                rest.split_at(end.unwrap_or(rest.len()))
            }
        };
        self.rest = rest;
        Some(Some((name, value)))
    }
}

/// Where a quoted string ends, its opening quote taken off.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&b| {
        let end = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        end
    })
}

fn hex(raw: &[u8]) -> Option<u32> {
    if !(1..=8).contains(&raw.len()) {
        return None;
    }
    raw.iter().try_fold(0, |sum, &b| Some(sum << 4 | char::from(b).to_digit(16)?))
}

impl<'a> Text<'a> {
    /// As it was written.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// As it is meant.
    pub fn bytes(self) -> impl Iterator<Item = u8> + use<'a> {
        let mut escaped = false;
        self.0.iter().copied().filter(move |&b| {
            escaped = b == b'\\' && !escaped;
            !escaped
        })
    }

    /// Whether it means these bytes.
    pub fn is(self, other: &[u8]) -> bool {
        self.bytes().eq(other.iter().copied())
    }
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1, in both algorithms.
    #[test]
    fn the_examples_of_rfc_7616() {
        let ha1 = Ha1::new(b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let header = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                 uri=\"/dir/index.html\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
                 response=\"{response}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let credentials = Credentials::parse(header.as_bytes()).unwrap();
            assert!(verify(&credentials, &ha1, b"GET"));
            assert!(!verify(&credentials, &ha1, b"POST"));
            let wrong = Ha1::new(b"Mufasa", b"http-auth@example.org", b"Circle of life");
            assert!(!verify(&credentials, &wrong, b"GET"));

            let Credentials { uri, nonce, qop, .. } = credentials;
            let got = respond(credentials.algorithm, &ha1, b"GET", uri, nonce, &qop);
            assert_eq!(got.as_deref(), Some(response));
        }
    }

    /// RFC 2617 §3.5, and the form without qop over the same secrets.
    #[test]
    fn the_example_of_rfc_2617() {
        let ha1 = Ha1::new(b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        let common = "Digest username=\"Mufasa\",realm=\"testrealm@host.com\",uri=\"/dir/index.html\",\
                      nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",\
                      opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let with = format!(
            "{common},qop=auth,nc=00000001,cnonce=\"0a4f113b\",response=\"6629fae49393a05397450978507c4ef1\""
        );
        let without = format!("{common},response=\"670FD8C2DF070C60B045671B8B24FF02\"");
        for header in [with, without] {
            let credentials = Credentials::parse(header.as_bytes()).unwrap();
            assert!(verify(&credentials, &ha1, b"GET"), "{header}");
            assert_eq!(credentials.opaque, Some(b"5ccc069c403ebaf9f0171e9517f40e41".as_slice()));
        }
    }

    /// RFC 8760 §2.4: both algorithms are offered, the better first.
    #[test]
    fn challenges_are_short() {
        let mut value = Vec::new();
        challenge(&mut value, b"atlanta.example", b"0a1b", Algorithm::Sha256, false);
        assert_eq!(value, b"Digest realm=\"atlanta.example\",nonce=\"0a1b\",algorithm=SHA-256,qop=\"auth\"");
        value.clear();
        challenge(&mut value, b"denwa", b"0a1b", Algorithm::Md5, true);
        assert_eq!(value, b"Digest realm=\"denwa\",nonce=\"0a1b\",algorithm=MD5,stale=true,qop=\"auth\"");
    }

    #[test]
    fn odd_ways_to_write_it() {
        let header = b"  dIGEST\t realm = denwa ,,\r\n username=\"10\\1\\\"x\\\\\" response=\"AB\", ,\
                       NC=a, cnonce=\"a,b=\\\"c\", uri=\"sip:101@[2001:db8::1];x=\xff,y\",qop=\"AUTH\",\
                       nonce=\"\", algorithm=\"sha-256\", stale=FALSE, stale=FALSE, ";
        let credentials = Credentials::parse(header).unwrap();
        assert!(credentials.username.is(b"101\"x\\"));
        assert!(!credentials.username.is(b"10\\1\\\"x\\\\"));
        assert_eq!(credentials.username.raw(), b"10\\1\\\"x\\\\");
        assert!(credentials.realm.is(b"denwa"));
        assert_eq!(credentials.uri, b"sip:101@[2001:db8::1];x=\xff,y");
        assert_eq!(credentials.nonce, b"");
        assert_eq!(credentials.response, b"AB");
        assert_eq!(credentials.algorithm, Algorithm::Sha256);
        assert_eq!(credentials.qop, Qop::Auth { nc: 10, nc_raw: b"a", cnonce: b"a,b=\\\"c" });
        assert_eq!(credentials.opaque, None);
    }

    const GOOD: &str = "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"sip:h\",response=\"0\"";

    #[test]
    fn what_is_not_credentials() {
        assert!(Credentials::parse(GOOD.as_bytes()).is_some());
        for bad in ["", "Digest", "Digest ", "Digestusername=u", "Basic YTpi", "Digest username", "Digest =u"]
        {
            assert!(Credentials::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        for more in [
            ",username=\"v\"",
            ",NONCE=\"n\"",
            ",nc=\"\"",
            ",nc=123456789",
            ",nc=+1",
            ",nc=xyz",
            ",nc=\u{e9}",
            ",opaque=\"unbalanced",
            ",opaque=\"unbalanced\\\"",
            ",word",
        ] {
            assert!(Credentials::parse(format!("{GOOD}{more}").as_bytes()).is_none(), "{more}");
        }
        for missing in
            ["username=\"u\",", "realm=\"r\",", "nonce=\"n\",", "uri=\"sip:h\",", ",response=\"0\""]
        {
            assert!(Credentials::parse(GOOD.replace(missing, "").as_bytes()).is_none(), "{missing}");
        }
    }

    #[test]
    fn what_is_not_supported_never_verifies() {
        let ha1 = Ha1::new(b"u", b"r", b"p");
        let verifies = |response: &str, more: &str| {
            let header = GOOD.replace("response=\"0\"", &format!("response=\"{response}\"{more}"));
            verify(&Credentials::parse(header.as_bytes()).unwrap(), &ha1, b"REGISTER")
        };
        let md5 = respond(Algorithm::Md5, &ha1, b"REGISTER", b"sip:h", b"n", &Qop::None).unwrap();
        assert!(verifies(&md5, ""));
        assert!(verifies(&md5, ",cnonce=\"c\",nc=00000001"), "without qop they mean nothing");
        for more in [
            ",algorithm=MD5-sess",
            ",algorithm=SHA-512-256",
            ",algorithm=SHA-256",
            ",qop=auth-int,nc=1,cnonce=\"c\"",
            ",qop=auth,nc=1",
            ",qop=auth,cnonce=\"c\"",
            ",qop=\"\"",
        ] {
            assert!(!verifies(&md5, more), "{more}");
        }
        for response in ["", "0", &md5[1..], &format!("{md5}0"), &md5.replace(&md5[..1], "x")] {
            assert!(!verifies(response, ""), "{response}");
        }
        let qop = Qop::Auth { nc: 0x10, nc_raw: b"10", cnonce: b"c" };
        let counted = respond(Algorithm::Md5, &ha1, b"REGISTER", b"sip:h", b"n", &qop).unwrap();
        assert!(verifies(&counted, ",qop=auth,nc=10,cnonce=\"c\""));
        assert!(!verifies(&counted, ",qop=auth,nc=00000010,cnonce=\"c\""), "hashed as it is written");
        assert_eq!(respond(Algorithm::Unknown, &ha1, b"A", b"u", b"n", &Qop::None), None);
        assert_eq!(respond(Algorithm::Md5, &ha1, b"A", b"u", b"n", &Qop::Unknown), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Ha1::new(b"u", b"r", b"p")), "***");
    }

    /// Headers that real devices sent, where the collection is at hand.
    #[test]
    fn credentials_of_real_phones() {
        let Ok(folder) = std::fs::read_dir("../shared/corpus/realworld") else {
            return println!("skipped: ../shared/corpus/realworld is not there");
        };
        let mut seen = 0;
        for entry in folder {
            let path = entry.unwrap().path();
            let message = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let mut rest = message.as_str();
            while let Some(at) = rest.find("uthorization:") {
                rest = &rest[at + "uthorization:".len()..];
                let folded = |end: &usize| !rest[*end + 2..].starts_with([' ', '\t']);
                let value = match rest.match_indices("\r\n").map(|(end, _)| end).find(folded) {
                    Some(end) => &rest[..end],
                    None => rest,
                };
                if !value.contains("response=") {
                    continue; // whoever published it left it out
                }
                let credentials = Credentials::parse(value.as_bytes());
                let credentials = credentials.unwrap_or_else(|| panic!("{path:?}: {value}"));
                assert!(!credentials.username.raw().is_empty(), "{path:?}");
                seen += 1;
            }
        }
        assert!(seen > 5, "{seen}");
    }
}

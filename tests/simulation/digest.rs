//! The client's half of digest access authentication (RFC 7616, RFC 8760).

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::sip::{Message, split_outside_quotes};

/// A digest algorithm that a phone knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
}

/// What a phone answers challenges with, and the last challenge, which it may use again.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: String,
    pub password: String,
    pub algorithms: Vec<Algorithm>,
    challenge: Option<Challenge>,
}

/// One `WWW-Authenticate` or `Proxy-Authenticate`.
#[derive(Clone, Debug)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    qop: bool,
    pub stale: bool,
    count: u32,
}

impl Credentials {
    pub fn new(user: &str, password: &str, algorithms: &[Algorithm]) -> Credentials {
        let (user, password) = (user.into(), password.into());
        Credentials { user, password, algorithms: algorithms.to_vec(), challenge: None }
    }

    /// Takes the first challenge of a 401 or 407 that the phone understands (RFC 8760 §2.4).
    pub fn challenged(&mut self, response: &Message) -> Option<&Challenge> {
        let name = if response.status() == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let mut offered = response.all(name).into_iter().filter_map(Challenge::read);
        self.challenge = offered.find(|challenge| self.algorithms.contains(&challenge.algorithm));
        self.challenge.as_ref()
    }

    /// The value of `Authorization` or `Proxy-Authorization`, if there was a challenge. Each use
    /// of the nonce counts.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let challenge = self.challenge.as_mut()?;
        challenge.count += 1;
        let count = challenge.count;
        Some(challenge.answer(&self.user, &self.password, method, uri, count))
    }

    /// Counts the nonce's uses from 1 again.
    pub fn rewind(&mut self) {
        if let Some(challenge) = &mut self.challenge {
            challenge.count = 0;
        }
    }

    /// Forgets the nonce, as a phone does that loses its memory.
    pub fn forget(&mut self) {
        self.challenge = None;
    }
}

impl Challenge {
    fn read(value: &str) -> Option<Challenge> {
        let rest = value.strip_prefix("Digest ")?;
        let fields: Vec<(String, String)> = split_outside_quotes(rest, ',')
            .into_iter()
            .filter_map(|field| field.split_once('='))
            .map(|(k, v)| (k.trim().to_ascii_lowercase(), v.trim().trim_matches('"').to_owned()))
            .collect();
        let field = |name: &str| fields.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let algorithm = match field("algorithm").as_deref() {
            None | Some("MD5") => Algorithm::Md5,
            Some("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        Some(Challenge {
            realm: field("realm")?,
            nonce: field("nonce")?,
            opaque: field("opaque"),
            algorithm,
            qop: field("qop").is_some_and(|list| list.split(',').any(|q| q.trim() == "auth")),
            stale: field("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            count: 0,
        })
    }

    fn answer(&self, user: &str, password: &str, method: &str, uri: &str, count: u32) -> String {
        let hash = |text: String| match self.algorithm {
            Algorithm::Md5 => hex(&Md5::digest(text.as_bytes())),
            Algorithm::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        };
        let Challenge { realm, nonce, .. } = self;
        let secret = hash(format!("{user}:{realm}:{password}"));
        let asked = hash(format!("{method}:{uri}"));
        let algorithm = match self.algorithm {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        };
        let mut value = format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             algorithm={algorithm}"
        );
        if self.qop {
            let (nc, cnonce) = (format!("{count:08x}"), format!("c{count}"));
            let response = hash(format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{asked}"));
            value += &format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\", response=\"{response}\"");
        } else {
            let response = hash(format!("{secret}:{nonce}:{asked}"));
            value += &format!(", response=\"{response}\"");
        }
        if let Some(opaque) = &self.opaque {
            value += &format!(", opaque=\"{opaque}\"");
        }
        value
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn answers_as_the_example_of_rfc_7616_without_qop() {
    // RFC 2069's example, as corrected by its erratum 749.
    let challenge = Challenge::read("Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"").unwrap();
    let answer = challenge.answer("Mufasa", "CircleOfLife", "GET", "/dir/index.html", 1);
    assert!(answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{answer}");
}

#[test]
fn takes_the_first_challenge_that_it_knows() {
    let mut refusal = Message::request("REGISTER", "sip:h");
    refusal = Message::response(&refusal, 401, "Unauthorized")
        .with("WWW-Authenticate", "Digest realm=\"d\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"")
        .with("WWW-Authenticate", "Digest realm=\"d\", nonce=\"2\", algorithm=MD5, qop=\"auth\"");
    for (known, nonce) in [(vec![Algorithm::Sha256, Algorithm::Md5], "1"), (vec![Algorithm::Md5], "2")] {
        let mut credentials = Credentials::new("a", "b", &known);
        assert_eq!(credentials.challenged(&refusal).unwrap().nonce, nonce);
        let second = |c: &mut Credentials| c.authorize("REGISTER", "sip:h").unwrap();
        assert!(second(&mut credentials).contains("nc=00000001"));
        assert!(second(&mut credentials).contains("nc=00000002"));
    }
}

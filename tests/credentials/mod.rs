//! How a telephone proves who it is.

#![allow(clippy::unwrap_used)]

use denwa::sip::digest::{self, Algorithm, Ha1, Qop};

/// The header with which an extension answers a challenge to a request.
pub(crate) fn credentials(number: &str, password: &str, challenge: &str, method: &str, uri: &str) -> String {
    let named = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let (realm, nonce) = (named("realm"), named("nonce"));
    let (algorithm, name) = match challenge.contains("SHA-256") {
        true => (Algorithm::Sha256, "SHA-256"),
        false => (Algorithm::Md5, "MD5"),
    };
    let header = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
    let ha1 = Ha1::new(number.as_bytes(), realm.as_bytes(), password.as_bytes());
    let response =
        digest::respond(algorithm, &ha1, method.as_bytes(), uri.as_bytes(), nonce.as_bytes(), &Qop::None);
    format!(
        "{header}: Digest username=\"{number}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{}\", algorithm={name}\r\n",
        response.unwrap()
    )
}

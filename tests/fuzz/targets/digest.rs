//! The value of an `Authorization` header: only who knows the password passes, by any algorithm, and
//! nothing that is not quite the same does.

use denwa::sip::digest::{Algorithm, Credentials, Ha1, Qop, respond, verify};

use super::cost;

/// A header value.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
}

fn look(value: &[u8]) {
    let Some(given) = Credentials::parse(value) else { return };
    let user: Vec<u8> = given.username.bytes().collect();
    let realm: Vec<u8> = given.realm.bytes().collect();
    assert!(user.len() <= given.username.raw().len() && given.username.is(&user));
    assert!(given.realm.is(&realm));
    if let Qop::Auth { nc, nc_raw, .. } = given.qop {
        assert_eq!(u32::from_str_radix(std::str::from_utf8(nc_raw).unwrap(), 16), Ok(nc));
    }
    let shown = format!("{given:?}");
    assert!(shown.is_ascii() && !shown.contains(['\r', '\n']));

    let ours = Ha1::new(&user, &realm, b"correct-horse");
    assert!(!verify(&given, &ours, b"REGISTER"), "nobody guesses a password");
    let Credentials { algorithm, uri, nonce, qop, .. } = given;
    let Some(response) = respond(algorithm, &ours, b"REGISTER", uri, nonce, &qop) else {
        assert!(algorithm == Algorithm::Unknown || qop == Qop::Unknown);
        return;
    };
    let right = Credentials { response: response.as_bytes(), ..given };
    assert!(verify(&right, &ours, b"REGISTER"), "who knows it passes");
    let loud = response.to_ascii_uppercase();
    assert!(verify(&Credentials { response: loud.as_bytes(), ..given }, &ours, b"REGISTER"));

    assert!(!verify(&right, &ours, b"INVITE"), "for another method");
    assert!(!verify(&right, &Ha1::new(&user, &realm, b"correct-house"), b"REGISTER"), "another password");
    let longer = [uri, b"x"].concat();
    assert!(!verify(&Credentials { uri: &longer, ..right }, &ours, b"REGISTER"), "for another URI");
    let longer = [nonce, b"x"].concat();
    assert!(!verify(&Credentials { nonce: &longer, ..right }, &ours, b"REGISTER"), "another nonce");
    let shorter = &response.as_bytes()[1..];
    assert!(!verify(&Credentials { response: shorter, ..right }, &ours, b"REGISTER"));
    let mut wrong = response.clone().into_bytes();
    wrong[5] = if wrong[5] == b'0' { b'1' } else { b'0' };
    assert!(!verify(&Credentials { response: &wrong, ..right }, &ours, b"REGISTER"));

    // Written anew, it is read as it was; what the grammar has no place for is not written.
    let plain = |text: &[u8]| !text.iter().any(|b| b"\"\\\r\n".contains(b));
    if ![nonce, uri, &user, &realm].into_iter().all(plain) {
        return;
    }
    let name = if algorithm == Algorithm::Sha256 { "SHA-256" } else { "MD5" };
    let mut text = b"Digest username=\"".to_vec();
    for part in [&user[..], b"\", realm=\"", &realm, b"\", nonce=\"", nonce, b"\", uri=\"", uri] {
        text.extend_from_slice(part);
    }
    text.extend_from_slice(format!("\", algorithm={name}, response=\"{response}\"").as_bytes());
    if let Qop::Auth { nc_raw, cnonce, .. } = qop {
        if !plain(cnonce) {
            return;
        }
        let parts = [&b", qop=auth, nc="[..], nc_raw, b", cnonce=\"", cnonce, b"\""];
        text.extend(parts.concat());
    }
    let read = Credentials::parse(&text).unwrap();
    assert_eq!((read.qop, read.algorithm, read.nonce, read.uri), (qop, algorithm, nonce, uri));
    assert!(read.username.is(&user) && verify(&read, &ours, b"REGISTER"), "{}", text.escape_ascii());
}

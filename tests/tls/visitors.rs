//! Who calls by TLS and shows a certificate: a friend's exchange is known by it, and nobody is worse off.

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use crate::client::{Authority, Line, fingerprint, settings};
use crate::folder::Folder;
use crate::program::Program;

/// A friend, who is said to be elsewhere, and has this certificate and no password.
fn friend(certificate: &[u8]) -> String {
    let pin = fingerprint(certificate);
    format!("peer.kyoto = sip:198.51.100.9\npeer.kyoto.prefix = 8075\npeer.kyoto.pin = {pin}\n")
}

/// What somebody has who shows a certificate, or only says that it is his.
fn showing(chain: &[&[u8]], key: &[u8]) -> Arc<ClientConfig> {
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Arc::new(settings(rustls::ALL_VERSIONS, Some((chain, key))))
}

/// The status that a call to the echo test gets from whoever it is at the other end.
fn status(line: &mut Line) -> String {
    static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    line.write(
        format!(
            "INVITE sip:114@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9:5061;branch=z9hG4bKv{call};rport\r\n\
             From: <sip:555@kyoto.example>;tag=a\r\nTo: <sip:114@127.0.0.1>\r\nCall-ID: visit{call}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:555@192.0.2.9:5061;transport=tls>\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    loop {
        let answer = line.message();
        let length = answer.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        line.read(length.parse().unwrap());
        // What is said again of a call before is no answer to this one.
        let status = answer.split(' ').nth(1).unwrap();
        if answer.contains(&format!("Call-ID: visit{call}\r\n")) && status != "100" {
            return status.to_owned();
        }
    }
}

/// What comes of a call by a new connection.
fn call(program: &Program, config: &Arc<ClientConfig>) -> String {
    status(&mut Line::open_as(program.tls, config).unwrap())
}

#[test]
fn a_friend_is_known_by_its_certificate_wherever_it_is_and_nobody_else_is() {
    let kyoto = Authority::new(-1..90);
    let (certificate, key) = kyoto.der();
    let program = Program::start(Folder::new(), &format!("echo = 114\n{}", friend(&certificate)));
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(settings(&[version], Some((vec![certificate.clone()], key))));
        let mut line = Line::open_as(program.tls, &config).unwrap();
        assert_eq!((status(&mut line).as_str(), line.version()), ("200", version.version));
    }
    let another = Authority::new(-1..90);
    let (other, other_key) = another.der();
    assert_eq!(call(&program, &showing(&[&other], other_key)), "407");
    // Of a chain the first one counts, of which alone the key is proved.
    assert_eq!(call(&program, &showing(&[&other, &certificate], other_key)), "407");
    assert_eq!(call(&program, &showing(&[&certificate, &other], key)), "200");
    assert_eq!(status(&mut Line::open(program.tls).unwrap()), "407");

    // Anybody can have seen it, but who has not its key gets nowhere.
    let thief = Line::open_as(program.tls, &showing(&[&certificate], other_key));
    assert!(thief.is_err() || thief.unwrap().is_over(std::time::Duration::from_secs(4)));
}

#[test]
fn a_certificate_that_is_out_of_date_is_still_the_friends() {
    let kyoto = Authority::new(-30..-3);
    let (certificate, key) = kyoto.der();
    let program = Program::start(Folder::new(), &format!("echo = 114\n{}", friend(&certificate)));
    assert_eq!(call(&program, &showing(&[&certificate], key)), "200");
}

#[test]
fn who_was_here_before_is_known_when_it_comes_back() {
    let kyoto = Authority::new(-1..90);
    let (certificate, key) = kyoto.der();
    let program = Program::start(Folder::new(), &format!("echo = 114\n{}", friend(&certificate)));
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(settings(&[version], Some((vec![certificate.clone()], key))));
        let mut line = Line::open_as(program.tls, &config).unwrap();
        assert!(!line.is_resumed());
        assert_eq!(status(&mut line), "200");
        let mut line = Line::open_as(program.tls, &config).unwrap();
        assert!(line.is_resumed());
        assert_eq!(status(&mut line), "200");
    }
}

#[test]
fn a_connection_that_stands_is_a_friends_as_soon_as_the_configuration_says_so() {
    let kyoto = Authority::new(-1..90);
    let (certificate, key) = kyoto.der();
    let program = Program::start(Folder::new(), "echo = 114\n");
    let mut line = Line::open_as(program.tls, &showing(&[&certificate], key)).unwrap();
    assert_eq!(status(&mut line), "407");
    let file = program.folder.0.join("denwa.conf");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}{}", friend(&certificate))).unwrap();
    program.command(&["reload"]);
    assert_eq!(status(&mut line), "200");
    fs::write(&file, before).unwrap();
    program.command(&["reload"]);
    assert_eq!(status(&mut line), "407");
}

#[test]
fn phones_with_a_certificate_of_the_factory_register_like_those_without() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let made = CertificateParams::new(vec!["00:0b:82".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ed25519 = (made.der().to_vec(), key.serialize_der());
    let usual = Authority::new(-9_000..-90);
    let (certificate, key) = usual.der();
    // That a friend has such a one does not help: nobody can tell whose key it is.
    let friends = [&ed25519.0[..], b"garbage"].map(friend);
    let friends = friends.join("").replacen("kyoto", "nara", 3).replacen("8075", "8076", 1);
    let program = Program::start(Folder::new(), &format!("echo = 114\n{friends}"));
    for config in [
        showing(&[&certificate], key),
        showing(&[&ed25519.0], &ed25519.1),
        showing(&[&ed25519.0], key),
        showing(&[b"garbage"], key),
        showing(&[&certificate, b"", b"garbage"], key),
    ] {
        let mut line = Line::open_as(program.tls, &config).unwrap();
        assert_eq!(status(&mut line), "407");
        assert!(line.register("101").starts_with("SIP/2.0 200 "));
    }
    // More than any phone has.
    let long = [0; 9_000];
    let line = Line::open_as(program.tls, &showing(&[&certificate, &long], key));
    assert!(line.is_err() || line.unwrap().is_over(std::time::Duration::from_secs(4)));
    assert!(Line::open(program.tls).unwrap().register("101").starts_with("SIP/2.0 200 "));
}

//! TLS as phones and the owner of the exchange meet it: the real program, asked over loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod cost;
#[path = "../credentials/mod.rs"]
mod credentials;
#[path = "../folder/mod.rs"]
mod folder;
mod outgoing;
mod program;
mod visitors;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use client::{Authority, Line, fingerprint};
use folder::Folder;
use program::{Program, run};

/// What an ACME client writes: a certificate that is valid from so many days from now on until so many.
fn renew(folder: &Folder, days: std::ops::Range<i64>) -> [u8; 32] {
    let authority = Authority::new(days);
    fs::write(folder.0.join("cert.pem"), authority.cert_pem()).unwrap();
    fs::write(folder.0.join("key.pem"), authority.key_pem()).unwrap();
    authority.fingerprint()
}

fn files(folder: &Folder) -> String {
    let path = |name: &str| folder.0.join(name).display().to_string();
    format!("tls.cert = {}\ntls.key = {}\n", path("cert.pem"), path("key.pem"))
}

#[test]
fn a_phone_registers_and_its_connection_stays() {
    let program = Program::start(Folder::new(), "");
    let said = program.expect("fingerprint");
    let mut line = Line::open(program.tls).unwrap();
    assert!(said.ends_with(&fingerprint(&line.certificate())), "{said}");
    let answer = line.register("101");
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(answer.contains("SIP/2.0/TLS "), "{answer}");
    program.expect("101 registered from");
    // Longer than anything may take that is not a phone.
    std::thread::sleep(Duration::from_secs(11));
    line.write(b"\r\n\r\n");
    assert_eq!(line.read(2), b"\r\n");

    let status = program.command(&["status"]);
    let words: Vec<&str> = status.split_whitespace().collect();
    assert!(words.join(" ").contains(&format!("tls {}", program.tls)), "{status}");
    let shown = fingerprint(&line.certificate());
    assert!(status.contains(&shown[..47]) && status.contains(&shown[48..]), "{status}");
    let json: serde_json::Value = serde_json::from_str(&program.command(&["status", "--json"])).unwrap();
    assert_eq!(json["tls"]["sha256_fingerprint"], shown);
    assert_eq!(json["tls"]["self_signed"], true);
}

#[test]
fn both_versions_are_spoken() {
    let program = Program::start(Folder::new(), "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut line = Line::open_by(program.tls, version).unwrap();
        assert!(line.register("101").starts_with("SIP/2.0 200 "));
        assert_eq!(line.version(), version.version);
    }
}

#[test]
fn its_own_certificate_stays_the_same() {
    let mut program = Program::start(Folder::new(), "");
    let before = Line::open(program.tls).unwrap().certificate();
    program.restart();
    assert_eq!(Line::open(program.tls).unwrap().certificate(), before);
    let mode = fs::metadata(program.folder.0.join("state/tls-own")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o077, 0);
}

#[test]
fn long_messages_pass_both_ways() {
    let program = Program::start(Folder::new(), "");
    let mut line = Line::open(program.tls).unwrap();
    line.register("101");
    // Several records, in pieces that have nothing to do with them.
    let body = "x".repeat(60_000);
    let request = format!(
        "OPTIONS sip:114@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bKlong\r\n\
         From: <sip:101@127.0.0.1>;tag=a\r\nTo: <sip:114@127.0.0.1>\r\nCall-ID: long\r\nCSeq: 1 OPTIONS\r\n\
         Subject: {}\r\nMax-Forwards: 70\r\nContent-Length: {}\r\n\r\n{body}",
        "y".repeat(1_000),
        body.len()
    );
    for piece in request.as_bytes().chunks(7_001) {
        line.write(piece);
    }
    let answer = line.message();
    assert!(answer.contains("CSeq: 1 OPTIONS"), "{answer}");
}

#[test]
fn who_says_nothing_or_never_ends_its_handshake_is_cut_off() {
    let program = Program::start(Folder::new(), "");
    let hello = client::hello();
    for begun in [&hello[..0], &hello[..1], &hello[..100], &hello[..]] {
        let begin = Instant::now();
        let mut socket = TcpStream::connect(program.tls).unwrap();
        socket.write_all(begun).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        let end = socket.read_to_end(&mut Vec::new());
        let error = end.expect_err("it is reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!((4..7).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    }
    // So is who says nothing when it is done.
    let begin = Instant::now();
    let mut line = Line::open(program.tls).unwrap();
    assert!(line.is_over(Duration::from_secs(8)));
    assert!((4..7).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

#[test]
fn a_handshake_without_end_is_cut_off_before_it_costs_memory() {
    let program = Program::start(Folder::new(), "");
    let mut socket = TcpStream::connect(program.tls).unwrap();
    // A ClientHello that announces 60,000 octets, in records of 16,000.
    let mut sent = 0;
    let mut record = vec![0x16, 3, 1, 0x3e, 0x80];
    record.extend([1, 0, 0xea, 0x60]);
    record.resize(5 + 16_000, 0);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) && socket.write_all(&record).is_ok() {
        sent += record.len();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{sent} were taken");
    assert!(sent < 200_000, "{sent}");
}

#[test]
fn who_speaks_something_else_is_told_of() {
    let program = Program::start(Folder::new(), "");
    let mut socket = TcpStream::connect(program.tls).unwrap();
    socket.write_all(b"REGISTER sip:127.0.0.1 SIP/2.0\r\n\r\n").unwrap();
    assert!(!matches!(socket.read(&mut [0]), Ok(1..)));
    program.expect("speaks something else than TLS to tls port");
    // The other way round.
    let mut socket = TcpStream::connect(program.tcp).unwrap();
    socket.write_all(&client::hello()).unwrap();
    assert!(!matches!(socket.read(&mut [0]), Ok(1..)));
    assert!(Line::open(program.tls).unwrap().register("101").starts_with("SIP/2.0 200 "));
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = Folder::new();
    let first = renew(&folder, -1..90);
    let more = files(&folder);
    let program = Program::start(folder, &more);
    program.expect("valid until");
    let mut old = Line::open(program.tls).unwrap();
    assert_eq!(old.certificate_hash(), first);
    assert!(old.register("101").starts_with("SIP/2.0 200 "));

    let second = renew(&program.folder, -1..80);
    program.expect("valid until");
    assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), second);
    // A connection that stands does not notice.
    old.write(b"\r\n\r\n");
    assert_eq!(old.read(2), b"\r\n");

    fs::write(program.folder.0.join("key.pem"), Authority::new(-1..90).key_pem()).unwrap();
    program.expect("is not the key of the certificate");
    assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), second);
    // Asked for, it is a mistake like any other, and nothing changes.
    let (is_done, said) = program.try_command(&["reload"]);
    assert!(!is_done && said.contains("is not the key of the certificate"), "{said}");
    assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), second);

    // The exchange that takes its place after a crash has the last one that was right.
    let third = renew(&program.folder, -1..70);
    program.expect("valid until");
    program.kill_exchange();
    assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), third);
}

#[test]
fn a_key_that_only_root_may_read_is_renewed_too() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root has files that are root's alone");
    }
    let folder = Folder::new();
    // As `certbot` has it: links into a folder beside, both closed to all but root.
    let (live, archive) = (folder.0.join("live"), folder.0.join("archive"));
    for path in [&live, &archive] {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    let renew = |number: u32| {
        let authority = Authority::new(-1..90);
        for (name, text) in [("cert", authority.cert_pem()), ("key", authority.key_pem())] {
            let file = archive.join(format!("{name}{number}.pem"));
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            let _ = fs::remove_file(live.join(format!("{name}.pem")));
            std::os::unix::fs::symlink(&file, live.join(format!("{name}.pem"))).unwrap();
        }
        authority.fingerprint()
    };
    let first = renew(1);
    let path = |name: &str| live.join(name).display().to_string();
    let more = format!("tls.cert = {}\ntls.key = {}\nuser = nobody\n", path("cert.pem"), path("key.pem"));
    let program = Program::start(folder, &more);
    assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), first);
    program.expect("valid until");
    let second = renew(2);
    program.expect("valid until");
    assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), second);
    let (is_done, said) = program.try_command(&["reload"]);
    assert!(is_done, "{said}");
}

#[test]
fn one_that_is_expired_or_soon_will_be_is_told_of_and_used() {
    for (days, said) in [(-90..-2, "expired 2 days ago"), (-80..5, "expires in 5 days")] {
        let folder = Folder::new();
        let hash = renew(&folder, days);
        let more = files(&folder);
        let checked = run(&["check", &program::configure(&folder, &more).display().to_string()]);
        assert!(checked.0 && checked.1.contains(said), "{checked:?}");
        let program = Program::start(folder, &more);
        program.expect(said);
        assert_eq!(Line::open(program.tls).unwrap().certificate_hash(), hash);
        let status = program.command(&["status"]);
        assert!(status.contains(&said[..7]), "{status}");
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let folder = Folder::new();
    let said = |more: &str| {
        let path = program::configure(&folder, more).display().to_string();
        let ((checks, checked), (runs, said)) = (run(&["check", &path]), run(&["run", "--config", &path]));
        assert!(!checks && !runs, "{checked} {said}");
        assert_eq!(checked, said);
        said
    };
    let more = files(&folder);
    assert!(said(&more).contains("tls.cert: there is no file"), "{}", said(&more));
    renew(&folder, -1..90);
    let write = |name: &str, text: &str| fs::write(folder.0.join(name), text).unwrap();
    let key = fs::read_to_string(folder.0.join("key.pem")).unwrap();
    write("key.pem", &Authority::new(-1..90).key_pem());
    assert!(said(&more).contains("is not the key of the certificate in"), "{}", said(&more));
    write("key.pem", "nothing");
    assert!(said(&more).contains("there is no private key in"), "{}", said(&more));
    write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
    assert!(said(&more).contains("is encrypted"), "{}", said(&more));
    write("key.pem", &key.replace('M', "A"));
    assert!(said(&more).contains("tls.key: "), "{}", said(&more));
    write("key.pem", &key);
    write("cert.pem", &key);
    assert!(said(&more).contains("there is no certificate in"), "{}", said(&more));
    write("cert.pem", &"-----BEGIN CERTIFICATE-----\n".repeat(4_000));
    assert!(said(&more).contains("larger than 64 KiB"), "{}", said(&more));
    assert!(said("tls.cert = x").contains("tls.cert: this needs tls.key beside it"));
}

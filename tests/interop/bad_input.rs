//! What the Internet sends to an open port. The exchange stays up, stays small, and goes on
//! serving those who behave.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::kit::Family::{self, V4, V6};
use crate::kit::{Baresip, DOMAIN, Denwa, Scene, ask_by_tcp, ask_by_udp};

const HOUSE: &str = "ext.101 = correct-horse
ext.101.digest = md5
echo = 114";

/// It answers by each way in.
fn serves(denwa: &Denwa) {
    for family in [V4, V6] {
        let server = denwa.address(family);
        for answer in [ask_by_udp(server), ask_by_tcp(server)] {
            assert_eq!(answer.as_deref(), Some("SIP/2.0 200 OK"), "{server}");
        }
    }
}

/// Bytes that look random and are the same in each run (xorshift).
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An OPTIONS request with what the test puts into it.
fn request(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKbad;rport\r\n\
         From: <sip:bad@{DOMAIN}>;tag=bad\r\n\
         To: <sip:{DOMAIN}>\r\n\
         Call-ID: bad\r\n\
         CSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\n\
         {headers}\r\n{body}"
    )
    .into_bytes()
}

/// What no program that means well would send.
fn horrors() -> Vec<Vec<u8>> {
    let mut horrors = vec![
        vec![],
        vec![0; 1],
        vec![0; 65_000],
        b"\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n\r\n".to_vec(),
        request("Content-Length: 99999999999999999999\r\n", ""),
        request("Content-Length: -1\r\n", "body"),
        request("Content-Length: 60000\r\n", "short"),
        request(&format!("Subject: {}\r\n", "x".repeat(60_000)), ""),
        request(&"X: y\r\n".repeat(3_000), ""),
        request(&"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n".repeat(1_000), ""),
        request("Content-Length: 60000\r\n", &"x".repeat(60_000)),
        request("To: <sip:twice@example.com>\r\nCSeq: 7 BYE\r\n", ""),
    ];
    horrors.extend((0..200).map(|seed| noise(1 + (seed as usize * 97) % 4_000, seed)));
    // A request cut off at each place, and with each byte damaged.
    let whole = request("Content-Length: 0\r\n", "");
    for at in 0..whole.len() {
        horrors.push(whole[..at].to_vec());
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        horrors.push(damaged);
    }
    horrors
}

#[test]
#[ignore = "needs the binary under test"]
fn horrors_by_udp() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    for family in [V4, V6] {
        let socket = UdpSocket::bind((family.loopback(), 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        for horror in horrors() {
            socket.send_to(&horror, denwa.address(family)).unwrap();
            // What comes back must be a response, and no response is answered with one.
            let mut answer = [0; 65_536];
            match socket.recv(&mut answer) {
                Ok(length) => {
                    assert!(answer[..length].starts_with(b"SIP/2.0 ") || length <= 4);
                    assert!(!horror.starts_with(b"SIP/2.0 "));
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    serves(&denwa);
}

#[test]
#[ignore = "needs the binary under test"]
fn horrors_by_tcp() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    for family in [V4, V6] {
        for horror in horrors() {
            // One address has few connections at once, so some are refused.
            let Ok(mut stream) = TcpStream::connect(denwa.address(family)) else { continue };
            let _ = stream.write_all(&horror);
        }
    }
    serves(&denwa);
}

fn connect(denwa: &Denwa, family: Family) -> TcpStream {
    let server: SocketAddr = denwa.address(family);
    let stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
#[ignore = "needs the binary under test"]
fn a_message_that_never_ends_is_cut_off() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let start = b"OPTIONS sip:denwa.test SIP/2.0\r\nSubject: ".to_vec();
    for endless in [vec![b'x'; 65_536], b"X: y\r\n".repeat(10_000), b"\0".repeat(65_536)] {
        let mut stream = connect(&denwa, V4);
        stream.write_all(&start).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while stream.write_all(&endless).is_ok() {
            assert!(Instant::now() < end, "goes on to take what has no end");
        }
        serves(&denwa);
    }
    assert!(denwa.resident_kib() < 64 * 1024, "{} KiB are resident", denwa.resident_kib());
}

#[test]
#[ignore = "needs the binary under test"]
fn streams_that_say_nothing_do_not_crowd_out_phones() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut silent = Vec::new();
    for _ in 0..900 {
        let server = denwa.address(V4);
        match TcpStream::connect_timeout(&server, Duration::from_secs(1)) {
            Ok(mut stream) => {
                let _ = stream.write_all(b"REGISTER sip:denwa.test SIP/2.0\r\n");
                silent.push(stream);
            }
            Err(_) => break,
        }
    }
    let start = Instant::now();
    assert_eq!(ask_by_udp(denwa.address(V4)).as_deref(), Some("SIP/2.0 200 OK"));
    assert!(start.elapsed() < Duration::from_secs(1));
    drop(silent);
    serves(&denwa);
}

#[test]
#[ignore = "needs baresip"]
fn a_call_goes_on_under_a_hail_of_noise() {
    let scene = Scene::new();
    // At `debug` the first lines of the hail would be all that a minute's log has room for.
    let denwa = Denwa::start(&scene, &format!("{HOUSE}\nlog = info"));
    let mut kitchen = Baresip::new("101", "correct-horse").register(&scene, &denwa);
    kitchen.dial("114");
    kitchen.talks();
    let server = denwa.address(V4);
    std::thread::scope(|scope| {
        let hail = scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let end = Instant::now() + Duration::from_secs(4);
            let horrors = horrors();
            for horror in horrors.iter().cycle().take_while(|_| Instant::now() < end) {
                let _ = socket.send_to(horror, server);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        kitchen.hears_tone(kitchen.tone);
        kitchen.hears_tone(kitchen.tone);
        hail.join().unwrap();
    });
    kitchen.hears_tone(kitchen.tone);
    kitchen.hang_up();
    denwa.program.expect("101 → 114 ended");
    serves(&denwa);
}

#[test]
#[ignore = "needs the binary under test"]
fn half_a_request_is_completed_later() {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, HOUSE);
    let mut stream = connect(&denwa, V6);
    for byte in request("Content-Length: 0\r\n", "") {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    let mut answer = [0; 2048];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
}

//! What strangers on the Internet try, with the programs that they use: they find nothing, learn nothing,
//! and phones do not notice.
//!
//! The exchange, a home with phones and the stranger are machines of their own, so that every byte that
//! the exchange sends is counted.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::kit::{Baresip, DOMAIN, Denwa, Family, GUARDED, Line, Machine, Phone, Scanner, Scene, found};

/// Extensions 100 to 199, as a scanner would guess them. Whoever cracks passwords knows MD5 alone.
fn house(settings: &str) -> String {
    let mut text = String::from("echo = 914\nlog = info\nkeep-alive = 0s\n");
    for number in 100..200 {
        text.push_str(&format!("ext.{number} = {}\next.{number}.digest = md5\n", password(number)));
    }
    text + settings
}

/// No word of these is in a list that is tried here, but where a test puts it there.
fn password(number: u32) -> String {
    format!("{number}-correct-horse")
}

/// The exchange between a home and a stranger.
struct Street {
    server: Machine,
    home: Machine,
    stranger: Machine,
}

const AT_HOME: &str = "192.0.2.1";
const HOME: &str = "192.0.2.2";
const ABROAD: &str = "198.51.100.1";
const STRANGER: &str = "198.51.100.66";
const ABROAD_V6: &str = "2001:db8:66::1";
const STRANGER_V6: &str = "2001:db8:66::66";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Street {
    fn new() -> Street {
        let street = Street { server: Machine::new(), home: Machine::new(), stranger: Machine::new() };
        let Street { server, home, stranger } = &street;
        server.cable("home", home, "eth0", 1500);
        server.cable("abroad", stranger, "eth0", 1500);
        server.address("home", &format!("{AT_HOME}/24"));
        home.address("eth0", &format!("{HOME}/24"));
        server.address("abroad", &format!("{ABROAD}/24"));
        stranger.address("eth0", &format!("{STRANGER}/24"));
        server.address("abroad", &format!("{ABROAD_V6}/64"));
        stranger.address("eth0", &format!("{STRANGER_V6}/64"));
        street
    }

    fn phone(&self, number: u32) -> Baresip<'_> {
        Baresip::new(&number.to_string(), &password(number)).at(&self.home, ip(HOME), ip(AT_HOME))
    }

    fn scanner<'a>(&'a self, denwa: &Denwa) -> Scanner<'a> {
        Scanner::new(&self.stranger, ip(ABROAD), denwa)
    }

    /// What becomes of datagrams that the stranger sends, so many a second for so long.
    fn hail(&self, port: u16, junk: &[Vec<u8>], rate: u32, time: Duration) -> u32 {
        let server = SocketAddr::new(ip(ABROAD), port);
        self.stranger.enter(|| {
            let socket = UdpSocket::bind((STRANGER, 0)).unwrap();
            let begun = Instant::now();
            let mut sent = 0;
            while begun.elapsed() < time {
                while sent < (begun.elapsed().as_secs_f64() * f64::from(rate)) as u32 {
                    // What finds no room is lost, as elsewhere.
                    let _ = socket.send_to(&junk[sent as usize % junk.len()], server);
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        })
    }
}

/// Any request, from 100 to 101 at this host.
fn request(method: &str, host: &str, serial: u32) -> Vec<u8> {
    format!(
        "{method} sip:101@{host} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {STRANGER}:5060;branch=z9hG4bK{serial};rport\r\n\
         From: \"friendly\" <sip:100@{host}>;tag={serial}\r\n\
         To: <sip:101@{host}>\r\n\
         Call-ID: {serial}@{STRANGER}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:100@{STRANGER}:5060>\r\n\
         Max-Forwards: 70\r\n\
         User-Agent: friendly-scanner\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A response to a request that nobody has sent.
fn response(status: &str, serial: u32) -> Vec<u8> {
    format!(
        "SIP/2.0 {status}\r\n\
         Via: SIP/2.0/UDP {ABROAD};branch=z9hG4bK{serial}\r\n\
         From: <sip:100@{DOMAIN}>;tag=1\r\n\
         To: <sip:101@{DOMAIN}>;tag=2\r\n\
         Call-ID: {serial}\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:101@{STRANGER}>\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A phone calls the echo test, hears itself, and hangs up.
fn calls(phone: &mut Phone) {
    phone.dial("914");
    phone.talks();
    phone.hears_tone(phone.tone);
    phone.hang_up();
}

/// Words that are tried as passwords, so many, with the right one in the middle if it is given.
fn words(count: usize, right: Option<String>) -> Vec<String> {
    let mut words: Vec<String> = (0..count).map(|n| format!("{}", 1000 + n)).collect();
    if let Some(right) = right {
        words[count / 2] = right;
    }
    words
}

/// The whole range that a stealthy exchange is asked for, and what lies around it.
const RANGE: &str = "95-204";

#[test]
#[ignore = "needs sipvicious and network namespaces"]
fn scanners_find_no_host_no_extension_and_no_password_where_silence_is_wanted() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(GUARDED));
    let mut scanner = street.scanner(&denwa);
    let before = street.server.sent();

    for method in ["OPTIONS", "REGISTER", "INVITE"] {
        let map = scanner.map(&scene, "198.51.100.0/29", &["-m", method]);
        assert_eq!(found(&map), BTreeSet::new(), "{map}");
        for more in [&["-m", method] as &[_], &["-m", method, "--force"]] {
            let war = scanner.war(&scene, RANGE, more);
            assert_eq!(found(&war), BTreeSet::new(), "{war}");
        }
    }
    let map = scanner.map(&scene, ABROAD_V6, &["-6"]);
    assert_eq!(found(&map), BTreeSet::new(), "{map}");
    let crack = scanner.crack(&scene, "101", &words(50, Some(password(101))), &[]);
    assert_eq!(found(&crack), BTreeSet::new(), "{crack}");

    assert_eq!(street.server.sent(), before, "it has given itself away");
}

#[test]
#[ignore = "needs sipvicious and network namespaces"]
fn where_strangers_are_answered_a_scanner_finds_the_host_at_most() {
    let scene = Scene::new();
    let street = Street::new();
    // Without budgets, which would hide from the scanner what there is to learn.
    let denwa = Denwa::start_on(&street.server, &scene, &house("stealth = no\nban = never"));
    let mut scanner = street.scanner(&denwa);

    // Its requests are shorter than a challenge, so even these are not answered by UDP.
    for method in ["OPTIONS", "REGISTER", "INVITE"] {
        let map = scanner.map(&scene, "198.51.100.0/29", &["-m", method]);
        let host = BTreeSet::from([format!("{ABROAD}:{}", denwa.port)]);
        assert!(found(&map).is_subset(&host), "{map}");
        assert!(!map.contains("denwa"), "it says what it is: {map}");
    }

    let range: BTreeSet<String> = (95..=204).map(|n| n.to_string()).collect();
    for method in ["REGISTER", "INVITE", "OPTIONS"] {
        for more in [&["-m", method, "--force"] as &[_], &["-m", method, "--force", "--domain", DOMAIN]] {
            let war = scanner.war(&scene, RANGE, more);
            let found = found(&war);
            assert!(found.is_empty() || found == range, "{method}: told apart: {found:?}\n{war}");
        }
    }
}

/// The answer to a stranger's request for a number, without what is new in each: nonce, tag, and the
/// number itself.
fn answer(server: SocketAddr, method: &str, number: u32) -> String {
    let socket = UdpSocket::bind((STRANGER, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.connect(server).unwrap();
    let text = format!(
        "{method} sip:{number}@{DOMAIN} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {STRANGER}:5060;branch=z9hG4bKsame;rport=;x={number}\r\n\
         From: <sip:{number}@{DOMAIN}>;tag=same\r\n\
         To: <sip:{number}@{DOMAIN}>\r\n\
         Call-ID: {number}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:{number}@{STRANGER}:5060>\r\n\
         Max-Forwards: 70\r\n\
         User-Agent: one who makes his requests as long as any phone does, and therefore is answered\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK, SUBSCRIBE\r\n\
         Supported: replaces, timer, path, gruu, outbound\r\n\
         Content-Length: 0\r\n\r\n"
    );
    socket.send(text.as_bytes()).unwrap();
    let mut buffer = [0; 2048];
    let Ok(length) = socket.recv(&mut buffer) else { return "nothing".to_owned() };
    let port = socket.local_addr().unwrap().port().to_string();
    let answer = String::from_utf8_lossy(&buffer[..length]).replace(&port, "PORT");
    let answer = answer.replace(&number.to_string(), "NUMBER");
    let without = |line: &str, from: &str, to: &[char]| match line.split_once(from) {
        Some((start, rest)) => format!("{start}{from}{}", &rest[rest.find(to).unwrap_or(rest.len())..]),
        None => line.to_owned(),
    };
    let lines = answer.split("\r\n").map(|line| match line {
        line if line.starts_with("To: ") || line.starts_with("t: ") => without(line, "tag=", &[';']),
        line => without(line, "nonce=\"", &['"']),
    });
    lines.filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "needs network namespaces"]
fn existing_and_missing_extensions_give_the_same_bytes() {
    let scene = Scene::new();
    let street = Street::new();
    let alike = |digest: &str, with_phone: bool| {
        let mut settings = "echo = 914\nlog = info\ngroup.105 = 102 103\n".to_owned();
        for number in 102..105 {
            settings.push_str(&format!("ext.{number} = secret-{number}\next.{number}.digest = {digest}\n"));
        }
        let denwa = Denwa::start_on(&street.server, &scene, &settings);
        let phone = Baresip::new("104", "secret-104").at(&street.home, ip(HOME), ip(AT_HOME));
        let _phone = with_phone.then(|| phone.register(&scene, &denwa));
        let server = SocketAddr::new(ip(ABROAD), denwa.port);
        street.stranger.enter(|| {
            for method in METHODS {
                let missing = answer(server, method, 999);
                for number in [102, 103, 104, 105, 914] {
                    assert_eq!(answer(server, method, number), missing, "{method} {number}");
                }
                assert!(method != "REGISTER" || missing.starts_with("SIP/2.0 401 "), "{missing}");
            }
        });
    };
    // A number that does not exist is offered what most of those that do are offered: each number
    // always the same, so only an exchange where all are alike can be compared byte by byte.
    alike("both", false);
    // baresip knows MD5 alone.
    alike("md5", true);
}

/// What strangers may say.
const METHODS: [&str; 10] =
    ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "BYE", "INFO"];

#[test]
#[ignore = "needs sipvicious and network namespaces"]
fn a_password_is_not_found_by_trying() {
    // One who knows the domain, or needs not know it.
    for settings in [format!("stealth = no\n{GUARDED}"), GUARDED.to_owned()] {
        let scene = Scene::new();
        let street = Street::new();
        let denwa = Denwa::start_on(&street.server, &scene, &house(&settings));
        let mut scanner = street.scanner(&denwa);
        let crack = scanner.crack(&scene, "101", &words(200, Some(password(101))), &["--domain", DOMAIN]);
        assert_eq!(found(&crack), BTreeSet::new(), "{crack}");
    }
}

#[test]
#[ignore = "needs sipvicious and network namespaces"]
fn without_budgets_and_bans_the_same_scanner_finds_the_password() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house("stealth = no\nban = never"));
    let mut scanner = street.scanner(&denwa);
    let crack = scanner.crack(&scene, "101", &words(40, Some(password(101))), &["--domain", DOMAIN]);
    assert_eq!(found(&crack), BTreeSet::from(["101".to_owned()]), "{crack}");
}

#[test]
#[ignore = "needs baresip, sipvicious and network namespaces; takes more than a minute"]
fn ten_thousand_packets_of_a_scan_are_a_few_lines_of_log() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(GUARDED));
    let lines = || denwa.program.output().lines().count();
    let before = lines();
    let methods = ["OPTIONS", "REGISTER", "INVITE", "ACK", "CANCEL"];
    let junk: Vec<Vec<u8>> = (0..500).map(|n| request(methods[n as usize % 5], ABROAD, n)).collect();
    let sent = street.hail(denwa.port, &junk, 2000, Duration::from_millis(5500));
    assert!(sent >= 10_000, "{sent}");
    street.scanner(&denwa).war(&scene, RANGE, &["--force"]);

    // It is told when the minute is over.
    std::thread::sleep(Duration::from_secs(61));
    assert!(lines() > before, "nobody learns of it");
    assert!(lines() - before <= 15, "{} lines", lines() - before);
    let log = denwa.program.output();
    assert!(log.contains(STRANGER) && log.contains("friendly-scanner"), "{log}");
}

#[test]
#[ignore = "needs baresip, sipvicious and network namespaces"]
fn a_phone_goes_on_calling_while_strangers_attack() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(GUARDED));
    let mut kitchen = street.phone(101).register(&scene, &denwa);
    let junk: Vec<Vec<u8>> = (0..500)
        .map(|n| match n % 4 {
            0 => request("REGISTER", DOMAIN, n),
            1 => request("INVITE", DOMAIN, n),
            2 => request("OPTIONS", ABROAD, n),
            _ => response("200 OK", n),
        })
        .collect();
    std::thread::scope(|scope| {
        let (port, mut scanner) = (denwa.port, street.scanner(&denwa));
        let (street, scene, junk) = (&street, &scene, &junk);
        let hail = scope.spawn(move || street.hail(port, junk, 10_000, Duration::from_secs(8)));
        let scan = scope.spawn(move || scanner.war(scene, RANGE, &["--force", "--domain", DOMAIN]));
        for _ in 0..3 {
            calls(&mut kitchen);
        }
        // One that comes home in the middle of it.
        let mut study = street.phone(102).tone(1000.0).register(scene, &denwa);
        study.dial("101");
        kitchen.answer();
        study.talks();
        kitchen.hears(&study);
        study.hears(&kitchen);
        study.hang_up();
        assert!(hail.join().unwrap() > 40_000);
        scan.join().unwrap();
    });
    calls(&mut kitchen);
    assert!(denwa.resident_kib() < 24 * 1024, "{} KiB", denwa.resident_kib());
}

#[test]
#[ignore = "needs network namespaces"]
fn what_nobody_waits_for_an_answer_to_gets_none() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(""));
    let before = street.server.sent();
    let statuses = ["100 Trying", "180 Ringing", "200 OK", "401 Unauthorized", "486 Busy Here"];
    let mut junk: Vec<Vec<u8>> = (0..200).map(|n| response(statuses[n as usize % 5], n)).collect();
    // An ACK is never answered, whoever sends it; a CANCEL by a stranger is not.
    junk.extend((0..200).map(|n| request("ACK", [DOMAIN, ABROAD][n as usize % 2], n)));
    junk.extend((0..200).map(|n| request("CANCEL", ABROAD, n)));
    street.hail(denwa.port, &junk, 5_000, Duration::from_secs(3));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(street.server.sent(), before);
    assert!(denwa.resident_kib() < 24 * 1024, "{} KiB", denwa.resident_kib());
}

/// SIPp sends the first line of a scenario again and again; the phone is at another address.
fn a_flood_of(name: &str) {
    let scene = Scene::new();
    let denwa = Denwa::start(&scene, &house(GUARDED));
    let mut kitchen = Baresip::new("101", &password(101)).on(Family::V6).register(&scene, &denwa);
    let before = denwa.program.output().lines().count();
    let stranger = Line::new("100", "nothing");
    let flood = stranger.play(name, &[]).times(20_000, 4_000).start(&scene, &denwa);
    calls(&mut kitchen);
    flood.succeeds();
    calls(&mut kitchen);
    assert!(denwa.resident_kib() < 24 * 1024, "{} KiB", denwa.resident_kib());
    let lines = denwa.program.output().lines().count() - before;
    // Two calls say two lines each.
    assert!(lines <= 15, "{lines} lines of log");
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_flood_of_ack() {
    a_flood_of("flood-ack");
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_flood_of_cancel() {
    a_flood_of("flood-cancel");
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_flood_of_responses_never_asked_for() {
    a_flood_of("flood-response");
}

/// The line of the log that has all of these words.
fn told(denwa: &Denwa, words: &[&str]) {
    crate::kit::wait_until(&format!("the log has a line with {words:?}"), || {
        denwa.program.output().lines().any(|line| words.iter().all(|word| line.contains(word)))
    });
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn the_owner_reads_why_a_phone_with_the_address_as_domain_gets_no_answer() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(GUARDED));
    let before = street.server.sent();
    let account = format!("<sip:101@{AT_HOME}:{}>;auth_pass={};regint=600\n", denwa.port, password(101));
    let _phone = street.phone(101).account(account).start(&scene, &denwa);
    told(&denwa, &["REGISTER", "101", HOME, AT_HOME, DOMAIN, "answer"]);
    assert_eq!(street.server.sent(), before);
}

#[test]
#[ignore = "needs baresip and network namespaces"]
fn the_owner_reads_of_a_wrong_password_and_of_a_source_that_is_not_allowed() {
    let scene = Scene::new();
    let street = Street::new();
    let settings = format!("ext.102.allow = 203.0.113.0/24\n{GUARDED}");
    let denwa = Denwa::start_on(&street.server, &scene, &house(&settings));
    let wrong = Baresip::new("101", "not the password").at(&street.home, ip(HOME), ip(AT_HOME));
    let _wrong = wrong.start(&scene, &denwa);
    told(&denwa, &["REGISTER", "101", HOME, "password"]);
    let _not_allowed = street.phone(102).start(&scene, &denwa);
    told(&denwa, &["REGISTER", "102", HOME, "ext.102.allow"]);
    for secret in ["not the password", &password(101), &password(102)] {
        assert!(!denwa.program.output().contains(secret));
    }
}

/// A connection of the stranger.
fn connect(street: &Street, denwa: &Denwa) -> std::io::Result<TcpStream> {
    let server = SocketAddr::new(ip(ABROAD), denwa.port);
    let stream = street.stranger.enter(|| TcpStream::connect_timeout(&server, Duration::from_secs(2)))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// How long it takes until the exchange closes a connection, on which it says nothing.
fn closed_after(mut stream: TcpStream, since: Instant) -> Duration {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(0) => since.elapsed(),
        Ok(_) => panic!("it said: {}", String::from_utf8_lossy(&said)),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => since.elapsed(),
        Err(e) => panic!("it was not closed in {:?}: {e}", since.elapsed()),
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_connection_that_speaks_without_the_domain_is_closed_without_a_word() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(GUARDED));
    for words in [&request("OPTIONS", ABROAD, 1)[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = connect(&street, &denwa).unwrap();
        let since = Instant::now();
        stream.write_all(words).unwrap();
        assert!(closed_after(stream, since) < Duration::from_secs(2));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_connection_has_five_seconds_to_begin_and_ten_to_end_a_message_and_seven_neighbours() {
    let scene = Scene::new();
    let street = Street::new();
    let denwa = Denwa::start_on(&street.server, &scene, &house(GUARDED));
    let begun = Instant::now();
    let silent = connect(&street, &denwa).unwrap();
    let mut halfway = connect(&street, &denwa).unwrap();
    let half = request("OPTIONS", DOMAIN, 1);
    halfway.write_all(&half[..half.len() - 10]).unwrap();
    // Some are refused so fast that they never seem to have been there.
    let more: Vec<TcpStream> = (0..20).filter_map(|_| connect(&street, &denwa).ok()).collect();

    // Of 22, at most 8 are still there after a moment.
    std::thread::sleep(Duration::from_secs(1));
    let open = more.iter().filter(|stream| {
        stream.set_nonblocking(true).unwrap();
        matches!((&mut &**stream).read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    });
    let open = open.count() + 2;
    assert!(open <= 8, "{open} connections of one source");

    let silent = closed_after(silent, begun);
    assert!(silent < Duration::from_secs(6), "silent for {silent:?}");
    let halfway = closed_after(halfway, begun);
    assert!(halfway < Duration::from_secs(12), "unfinished for {halfway:?}");
}

//! The document by HTTP, from an exchange in its cage.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::said::Said;

const SOON: Duration = Duration::from_secs(10);
const PATH: &str = "/.well-known/mantela.json";

/// A port of 127.0.0.1 that is free for UDP and TCP, and no other test's.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 29_000 + (std::process::id() % 30) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let udp = UdpSocket::bind(("127.0.0.1", port));
        if udp.is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

struct Exchange {
    keeper: Child,
    _said: Said,
    folder: Folder,
    sip: u16,
    web: SocketAddr,
}

impl Exchange {
    fn start(more: &str) -> Exchange {
        let (folder, sip) = (Folder::new(), free_port());
        let web = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = configure(&folder, sip, &format!("mantela.listen = {web}\n{more}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
        let (keeper, said) = Said::by(command.arg("run").arg("--config").arg(config));
        said.expect(" runs ", SOON);
        let exchange = Exchange { keeper, _said: said, folder, sip, web };
        let until = Instant::now() + SOON;
        while exchange.get("GET", PATH).is_empty() {
            assert!(Instant::now() < until, "it does not serve");
            thread::sleep(Duration::from_millis(20));
        }
        exchange
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.web).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// All that is answered.
    fn say(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(request);
        heard(&mut stream)
    }

    fn get(&self, method: &str, path: &str) -> String {
        self.say(
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://tool.example\r\n\r\n").as_bytes(),
        )
    }

    fn document(&self) -> serde_json::Value {
        let answer = self.get("GET", PATH);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn reload(&self, more: &str) {
        let config = configure(&self.folder, self.sip, more);
        let output = Command::new(env!("CARGO_BIN_EXE_denwa"))
            .args(["reload", "--config"])
            .arg(config)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether SIP is answered meanwhile.
    fn answers_sip(&self) -> bool {
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let at = phone.local_addr().unwrap();
        let request = format!(
            "REGISTER sip:denwa SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{p};rport\r\nFrom: <sip:101@denwa>;tag=1\r\n\
             To: <sip:101@denwa>\r\nCall-ID: c-{p}\r\nCSeq: 1 REGISTER\r\nContact: <sip:101@{at}>\r\nMax-Forwards: 70\r\n\
             Expires: 60\r\nUser-Agent: a phone with a long name, so that a challenge is no longer than what asks for it\r\n\
             X-Padding: {pad}\r\nContent-Length: 0\r\n\r\n",
            p = at.port(),
            pad = "x".repeat(300)
        );
        phone.send_to(request.as_bytes(), ("127.0.0.1", self.sip)).unwrap();
        let mut buffer = [0; 2000];
        phone.recv(&mut buffer).is_ok_and(|count| buffer[..count].starts_with(b"SIP/2.0 401"))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn heard(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A connection that is reset has said what it has.
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "nothing came, and it was not closed"),
    }
    String::from_utf8(all).unwrap()
}

fn configure(folder: &Folder, sip: u16, more: &str) -> PathBuf {
    let state = folder.0.join("state");
    let text = format!(
        "ext.101 = secret-of-101\next.101.name = Kitchen\next.101.public = yes\next.102 = secret-of-102\necho = 114\n\
         state = {}\nlisten = udp:127.0.0.1:{sip}\nmantela.prefix = 8075\nmantela.identifier = kyoto\n{more}\n",
        state.display()
    );
    let path = folder.0.join("denwa.conf");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn any_page_can_read_the_document_and_nothing_else() {
    let exchange = Exchange::start("mantela.name = 京都");
    let answer = exchange.get("GET", PATH);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in ["Content-Type: application/json", "Access-Control-Allow-Origin: *", "Connection: close"] {
        assert!(head.lines().any(|line| line == header), "{header}: {head}");
    }
    assert!(head.contains(&format!("Content-Length: {}", body.len())) && head.contains("Cache-Control: "));
    let document = exchange.document();
    assert_eq!(document["aboutMe"]["name"], "京都");
    assert_eq!(document["extensions"].as_array().unwrap().len(), 1);
    assert!(!answer.contains("secret") && !answer.contains("102"), "{answer}");
    // Others read it as denwa does.
    assert!(denwa::mantela::read(body.as_bytes()).is_ok());

    let only_head = exchange.get("HEAD", PATH);
    assert!(
        only_head.ends_with("\r\n\r\n") && only_head.contains(&format!("Content-Length: {}", body.len()))
    );
    let preflight = exchange.get("OPTIONS", PATH);
    assert!(preflight.starts_with("HTTP/1.1 204 "), "{preflight}");
    assert!(preflight.contains("Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"), "{preflight}");
    let status = |request: &[u8]| exchange.say(request).chars().take(12).collect::<String>();
    for (request, expected) in [
        (format!("POST {PATH} HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"), "HTTP/1.1 405"),
        ("GET / HTTP/1.1\r\n\r\n".into(), "HTTP/1.1 404"),
        ("GET /../denwa.conf HTTP/1.0\r\n\r\n".into(), "HTTP/1.1 404"),
        ("OPTIONS sip:101@x SIP/2.0\r\n\r\n".into(), "HTTP/1.1 400"),
        ("\u{16}\u{3}\u{1}\0".into(), "HTTP/1.1 400"),
        (format!("GET {PATH} HTTP/1.1\r\nX: {}", "x".repeat(5000)), "HTTP/1.1 431"),
    ] {
        assert_eq!(status(request.as_bytes()), expected, "{request}");
    }
}

#[test]
fn a_reload_changes_it_and_opens_and_closes_its_place() {
    let exchange = Exchange::start("");
    assert_eq!(exchange.document()["aboutMe"]["unavailable"], serde_json::Value::Null);
    exchange.reload(&format!(
        "mantela.listen = {}\nmantela.unavailable = yes\nmantela.numbers = 114",
        exchange.web
    ));
    let document = exchange.document();
    assert_eq!(document["aboutMe"]["unavailable"], true);
    assert_eq!(document["extensions"][1]["extension"], "114");
    // Without the key nothing is there; with it, all is.
    exchange.reload("");
    // The keeper closes its own copy when it hears of it.
    let is_closed = || TcpStream::connect(exchange.web).is_err();
    let begin = Instant::now();
    while !is_closed() {
        assert!(begin.elapsed() < Duration::from_secs(5), "it is still open");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(exchange.answers_sip());
    exchange.reload(&format!("mantela.listen = {}", exchange.web));
    assert_eq!(exchange.document()["aboutMe"]["identifier"], "kyoto");
    // The next program gets its place as well.
    let config = exchange.folder.0.join("denwa.conf");
    let upgrade =
        Command::new(env!("CARGO_BIN_EXE_denwa")).args(["upgrade", "--config"]).arg(config).output().unwrap();
    assert!(upgrade.status.success(), "{}", String::from_utf8_lossy(&upgrade.stderr));
    assert_eq!(exchange.document()["aboutMe"]["identifier"], "kyoto");
}

#[test]
fn who_is_slow_is_let_go() {
    let exchange = Exchange::start("");
    let begin = Instant::now();
    let mut slow = exchange.connect();
    let mut drip = slow.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        let request = format!("GET {PATH} HTTP/1.1\r\nX: {}", "x".repeat(1000));
        for octet in request.as_bytes() {
            if drip.write_all(&[*octet]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(heard(&mut slow), "");
    let took = begin.elapsed();
    assert!((Duration::from_millis(4_500)..Duration::from_secs(8)).contains(&took), "{took:?}");
    dripping.join().unwrap();
    assert!(exchange.answers_sip());
}

#[test]
fn who_opens_many_connections_keeps_nobody_out() {
    let exchange = Exchange::start("");
    let mut idle: Vec<TcpStream> = (0..16).map(|_| exchange.connect()).collect();
    thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    assert!(exchange.get("GET", PATH).starts_with("HTTP/1.1 200 OK"));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    // For it, the oldest had to go, and no other.
    let is_closed = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let closed: Vec<bool> = idle.iter_mut().map(is_closed).collect();
    assert_eq!(closed.iter().position(|closed| *closed), Some(0));
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
    assert!(exchange.answers_sip());
}

#[test]
fn who_is_not_heard_gets_nothing() {
    let exchange = Exchange::start("");
    exchange.reload(&format!("mantela.listen = {}\ndeny = 127.0.0.0/8", exchange.web));
    assert_eq!(exchange.get("GET", PATH), "");
}

//! Call records: the real program leaves one line for each call in a table, and keeps it right.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod credentials;
mod folder;
mod said;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use folder::Folder;
use said::Said;

const SOON: Duration = Duration::from_secs(10);
const PASSWORD: &str = "a-long-password";

/// A port of 127.0.0.1 that is free, and the first of twenty for media; no other test's.
fn free_ports() -> (SocketAddr, u16) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mine = 21_000 + (std::process::id() % 30) as u16 * 200;
    loop {
        let first = mine + NEXT.fetch_add(1, Ordering::Relaxed) * 22 % 198;
        let at = SocketAddr::from(([127, 0, 0, 1], first));
        if UdpSocket::bind(at).is_ok() {
            return (at, first + 2);
        }
    }
}

/// A running program, stopped with its value.
struct Program {
    keeper: Child,
    said: Said,
    at: SocketAddr,
    /// What it said when it ran.
    runs: String,
}

impl Program {
    /// On a port of its own, with two extensions and an echo test.
    fn start(folder: &Folder, more: &str) -> Program {
        let (at, media) = free_ports();
        let state = folder.0.join("state");
        let text = format!(
            "ext.101 = {PASSWORD}\next.+102 = {PASSWORD}\necho = 114\nlisten = udp:{at}\nkeep-alive = 0s\n\
             media-ports = {media}-{}\nstate = {}\n{more}\n",
            media + 19,
            state.display()
        );
        let config = folder.0.join("denwa.conf");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
        command.arg("run").arg("--config").arg(config);
        let (keeper, said) = Said::by(&mut command);
        let mut program = Program { keeper, said, at, runs: String::new() };
        program.runs = program.expect(" runs ");
        program
    }

    /// Waits for a line that contains `part`.
    fn expect(&self, part: &str) -> String {
        self.said.expect(part, 4 * SOON)
    }

    fn signal(&self, signal: Signal) {
        let path = format!("/proc/{0}/task/{0}/children", self.keeper.id());
        let children = fs::read_to_string(path).unwrap();
        kill_process(Pid::from_raw(children.trim().parse().unwrap()).unwrap(), signal).unwrap();
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.keeper), Signal::TERM).unwrap();
        assert!(self.keeper.wait().unwrap().success());
    }
}

impl Drop for Program {
    /// The exchange goes with its keeper.
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A telephone that calls, by UDP.
struct Phone {
    socket: UdpSocket,
    sound: UdpSocket,
    server: SocketAddr,
    sent: u32,
}

impl Phone {
    fn new(server: SocketAddr) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let sound = UdpSocket::bind("127.0.0.1:0").unwrap();
        sound.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Phone { socket, sound, server, sent: 0 }
    }

    /// Sends a request as it is.
    fn say(&self, method: &str, uri: &str, to: &str, headers: &str, body: &str) {
        let (at, sequence, length) = (self.socket.local_addr().unwrap(), self.sent, body.len());
        let request = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{method}-{sequence};rport\r\n\
             From: <sip:101@denwa>;tag=101\r\nTo: {to}\r\nCall-ID: a-call-{at}\r\nCSeq: {sequence} {method}\r\n\
             Contact: <sip:101@{at}>\r\nMax-Forwards: 70\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
        );
        self.socket.send_to(request.as_bytes(), self.server).unwrap();
    }

    /// Sends a request, and again with credentials; returns the final answer.
    fn ask(&mut self, method: &str, uri: &str, to: &str, headers: &str, body: &str) -> String {
        let mut credentials = String::new();
        loop {
            self.sent += 1;
            self.say(method, uri, to, &format!("{headers}{credentials}"), body);
            let mine = format!("CSeq: {} {method}\r\n", self.sent);
            let answer = loop {
                let mut buffer = [0; 4_000];
                let length = self.socket.recv(&mut buffer).expect("nothing is heard");
                let heard = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if heard.contains(&mine) && !heard.starts_with("SIP/2.0 1") {
                    break heard;
                }
            };
            if !answer.starts_with("SIP/2.0 407") || !credentials.is_empty() {
                return answer;
            }
            credentials = credentials::credentials("101", PASSWORD, &answer, method, uri);
        }
    }

    /// Calls a number; returns the final answer.
    fn call(&mut self, number: &str) -> String {
        let port = self.sound.local_addr().unwrap().port();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        );
        let (uri, to) = (format!("sip:{number}@{}", self.server), format!("<sip:{number}@denwa>"));
        self.ask("INVITE", &uri, &to, "Content-Type: application/sdp\r\n", &offer)
    }

    /// Calls the echo test, says so many packets to it, and hangs up.
    fn talks(&mut self, packets: u8) {
        let answer = self.call("114");
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        let between = |start: &str, end: &str| {
            let (_, rest) = answer.split_once(start).unwrap();
            rest.split_once(end).unwrap().0.to_owned()
        };
        let (to, uri) = (between("\r\nTo: ", "\r\n"), between("\r\nContact: <", ">"));
        self.say("ACK", &uri, &to, "", "");
        let port: u16 = between("m=audio ", " ").parse().unwrap();
        for number in 0..packets {
            let mut packet = [0; 172];
            packet[..4].copy_from_slice(&[0x80, 0, 0, number]);
            // The relay may still be opening its ports.
            let echoed = (0..20).any(|_| {
                self.sound.send_to(&packet, ("127.0.0.1", port)).unwrap();
                self.sound.recv(&mut [0; 200]).is_ok_and(|length| length == packet.len())
            });
            assert!(echoed);
        }
        let answer = self.ask("BYE", &uri, &to, "", "");
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }
}

/// Waits until there are so many lines besides the header, all of them whole.
fn expect_rows(folder: &Folder, many: usize) -> Vec<Vec<String>> {
    let until = Instant::now() + SOON;
    loop {
        let text = fs::read_to_string(folder.0.join("state/calls.csv")).unwrap_or_default();
        if text.ends_with("\r\n") && text.lines().count() > many {
            return text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        }
        assert!(Instant::now() < until, "there are not {many} records, but {text:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_call_leaves_a_line_that_says_who_when_why_and_how_it_sounded() {
    let folder = Folder::new();
    let program = Program::start(&folder, "");
    let mut phone = Phone::new(program.at);
    phone.talks(20);
    expect_rows(&folder, 1);
    // Nobody is there; and the number would be a formula.
    let answer = phone.call("+102");
    assert!(answer.starts_with("SIP/2.0 480"), "{answer}");
    let rows = expect_rows(&folder, 2);
    let cell = |row: usize, name: &str| {
        let column = rows[0].iter().position(|title| title == name).unwrap();
        rows[row][column].as_str()
    };
    for (name, value) in [
        ("from", "101"),
        ("to", "114"),
        ("answered_by", ""),
        ("peer", ""),
        ("cause", "caller hung up"),
        ("source", "127.0.0.1"),
        ("caller_packets", "20"),
        ("caller_lost", "0"),
        ("callee_packets", "0"),
        ("callee_jitter_ms", ""),
        ("caller_round_trip_ms", ""),
    ] {
        assert_eq!(cell(1, name), value, "{name}");
    }
    assert_eq!(cell(2, "cause"), "no phone is registered (480)");
    assert!(cell(1, "duration_s").parse::<u64>().unwrap() <= 10);
    assert!(cell(1, "talked_s").parse::<u64>().unwrap() <= 10);
    assert!(cell(1, "caller_jitter_ms").parse::<u64>().unwrap() < 1_000);
    // The same call has the same number in the log, and happened at the same time.
    let ended = program.expect(&format!("call {}: 101 → 114 ended", cell(1, "call")));
    let moment = |line: &str| line[..19].replace(' ', "T") + "Z";
    let (first, last) = (moment(&program.runs), moment(&ended));
    let moments = [&first, cell(1, "start"), cell(1, "answer"), cell(1, "end"), &last];
    assert!(moments.is_sorted() && moments.iter().all(|moment| moment.len() == 20), "{moments:?}");
    assert_eq!((cell(2, "to"), cell(2, "answer"), cell(2, "talked_s")), ("'+102", "", ""));
    let mode = fs::metadata(folder.0.join("state/calls.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    program.stop();
}

#[test]
fn the_table_goes_on_after_kill_9_in_the_middle_of_a_line() {
    let folder = Folder::new();
    let program = Program::start(&folder, "");
    let mut phone = Phone::new(program.at);
    phone.talks(1);
    let before = expect_rows(&folder, 1);
    // As if it had been killed while it wrote.
    program.signal(Signal::STOP);
    let path = folder.0.join("state/calls.csv");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("2026-11-22T23:51:46Z,2026-");
    fs::write(&path, text).unwrap();
    program.signal(Signal::KILL);
    program.expect("it is started again");
    program.expect("runs");
    Phone::new(program.at).talks(1);
    let after = expect_rows(&folder, 2);
    assert_eq!((&after[..2], after.len(), after[2].len()), (&before[..], 3, before[0].len()));
    program.stop();
}

#[test]
fn files_are_bounded_and_can_be_done_without() {
    let folder = Folder::new();
    let program = Program::start(&folder, "call-records = 10k 2");
    let path = folder.0.join("state/calls.csv");
    Phone::new(program.at).talks(1);
    expect_rows(&folder, 1);
    // Not replaced: it is not ours where root runs this.
    let full = fs::read_to_string(&path).unwrap() + &"a line\r\n".repeat(1_200);
    fs::write(&path, &full).unwrap();
    Phone::new(program.at).talks(1);
    program.expect("ended after");
    program.expect("ended after");
    // It waits until all is written.
    program.stop();
    assert_eq!(expect_rows(&folder, 1).len(), 2);
    assert_eq!(fs::read_to_string(folder.0.join("state/calls.csv.1")).unwrap(), full);

    let folder = Folder::new();
    let program = Program::start(&folder, "call-records = off");
    Phone::new(program.at).talks(1);
    program.expect("ended after");
    program.stop();
    assert!(!folder.0.join("state/calls.csv").exists());
}

#[test]
fn a_disk_that_takes_nothing_is_told_of_once_and_no_call_fails() {
    let folder = Folder::new();
    let program = Program::start(&folder, "");
    let path = folder.0.join("state/calls.csv");
    std::os::unix::fs::symlink("/proc/1/status", &path).unwrap();
    for _ in 0..3 {
        Phone::new(program.at).talks(1);
    }
    let said = program.expect("calls.csv cannot be written");
    assert!(said.contains("until it can, calls leave no record"), "{said}");
    fs::remove_file(&path).unwrap();
    Phone::new(program.at).talks(1);
    let said = program.expect("call records are written again");
    // The writer may have been a call behind, and one more may be on its way.
    let (_, missing) = said.split_once("again; ").unwrap();
    let missing: usize = missing.split_once(' ').unwrap().0.parse().unwrap();
    assert!((1..=3).contains(&missing), "{said}");
    assert_eq!(expect_rows(&folder, 4 - missing).len(), 1 + 4 - missing);
    program.stop();
}

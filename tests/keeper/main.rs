//! The two processes as a supervisor sees them: the real program, started, signalled, killed, and asked
//! over loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../credentials/mod.rs"]
mod credentials;
#[path = "../folder/mod.rs"]
mod folder;
mod orders;
mod upgrade;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, geteuid, kill_process, prlimit};

use folder::Folder;

const SOON: Duration = Duration::from_secs(5);

impl Folder {
    /// Writes a configuration with one extension; says where it is.
    fn configure(&self, more: &str) -> PathBuf {
        let state = self.0.join("state");
        let text = format!("ext.101 = {PASSWORD}\necho = 114\nstate = {}\n{more}\n", state.display());
        let path = self.0.join("denwa.conf");
        fs::write(&path, text).unwrap();
        path
    }
}

const PASSWORD: &str = "a-long-password";

/// A port of 127.0.0.1 that is free for UDP and TCP, and no other test's. The system gives none of these to
/// whoever does not name one.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 150) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let udp = UdpSocket::bind(("127.0.0.1", port));
        if udp.is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running program: the keeper, and by it the exchange.
struct Program {
    keeper: Child,
    said: Mutex<Receiver<String>>,
    at: SocketAddr,
    _folder: Folder,
}

impl Program {
    /// Starts it on a free port and waits until it answers.
    fn start() -> Program {
        let folder = Folder::new();
        Program::start_by(Command::new(binary()), folder, "")
    }

    fn start_by(mut command: Command, folder: Folder, more: &str) -> Program {
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = folder.configure(&format!("listen = udp:{at} tcp:{at}\n{more}"));
        command.arg("run").arg("--config").arg(config);
        Program::launch(command, folder, at)
    }

    fn launch(mut command: Command, folder: Folder, at: SocketAddr) -> Program {
        let mut keeper =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(keeper.stderr.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let program = Program { keeper, said: Mutex::new(said), at, _folder: folder };
        program.expect("runs");
        assert!(program.answers(&asker(), SOON), "no answer");
        program
    }

    /// Waits for a line that contains `part`.
    fn expect(&self, part: &str) -> String {
        let until = Instant::now() + SOON;
        let mut before = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self
                .said
                .lock()
                .unwrap()
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("it does not say {part:?}, but {before:#?}"));
            if line.contains(part) {
                return line;
            }
            before.push(line);
        }
    }

    /// Whether it answers within some time.
    fn answers(&self, asker: &UdpSocket, time: Duration) -> bool {
        let begin = Instant::now();
        asker.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        while begin.elapsed() < time {
            asker.send_to(&register(asker, 1), self.at).unwrap();
            if answer(asker).is_some_and(|answer| answer.starts_with("SIP/2.0 401")) {
                return true;
            }
        }
        false
    }

    /// The process that serves, other than `before`.
    fn exchange_after(&self, before: Option<Pid>) -> Pid {
        let until = Instant::now() + SOON;
        loop {
            let found = children(Pid::from_child(&self.keeper)).into_iter().find(|pid| Some(*pid) != before);
            if let Some(pid) = found {
                return pid;
            }
            assert!(Instant::now() < until, "there is no exchange");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn exchange(&self) -> Pid {
        self.exchange_after(None)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.keeper), signal).unwrap();
    }

    /// How it ends, how long that takes, at most 15 s, and what it said.
    fn end(mut self) -> (ExitStatus, Duration, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.keeper.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < 3 * SOON, "it does not end");
            thread::sleep(Duration::from_millis(2));
        };
        let time = begin.elapsed();
        (status, time, self.said.lock().unwrap().iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Program {
    /// The exchange goes with its keeper.
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_denwa")
}

fn asker() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn answer(asker: &UdpSocket) -> Option<String> {
    let mut buffer = [0; 2_000];
    let length = asker.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A REGISTER without credentials, which is answered with 401: it is long enough for that.
fn register(asker: &UdpSocket, number: usize) -> Vec<u8> {
    let at = asker.local_addr().unwrap();
    format!(
        "REGISTER sip:denwa SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{number}-{port};rport\r\n\
         From: <sip:101@denwa>;tag={number}\r\nTo: <sip:101@denwa>\r\nCall-ID: call-{number}-{port}\r\n\
         CSeq: {number} REGISTER\r\nContact: <sip:101@{at}>\r\nMax-Forwards: 70\r\n\
         User-Agent: a telephone {much}\r\nContent-Length: 0\r\n\r\n",
        port = at.port(),
        much = "that has a long name ".repeat(8)
    )
    .into_bytes()
}

fn children(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Whether there is such a process; a dead one that nobody has reaped does not count.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Lets a process of the same user open so many files.
fn limit_files(pid: Pid, files: u64) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let maximum = limit.split_ascii_whitespace().nth(1).and_then(|maximum| maximum.parse().ok());
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
}

#[test]
fn after_a_crash_the_next_one_answers_and_no_datagram_is_lost() {
    let much = "rate.stranger = 1000/s\nrate.strangers = 10000/s";
    let program = Program::start_by(Command::new(binary()), Folder::new(), much);
    let exchange = program.exchange();
    let askers: Vec<UdpSocket> =
        (1..=20).map(|n| UdpSocket::bind((Ipv4Addr::new(127, 0, 1, n), 0)).unwrap()).collect();
    let ask = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            for asker in &askers {
                asker.send_to(&register(asker, number), program.at).unwrap();
            }
        }
    };
    // These wait in the socket of one that cannot answer any more, …
    kill_process(exchange, Signal::STOP).unwrap();
    ask(1..4);
    let killed = Instant::now();
    kill_process(exchange, Signal::KILL).unwrap();
    // … and these come while there may be nobody.
    ask(4..7);
    for asker in &askers {
        asker.set_read_timeout(Some(SOON)).unwrap();
        let numbers: BTreeSet<usize> = (1..7)
            .map(|_| {
                let answer = answer(asker).expect("an answer is missing");
                assert!(answer.starts_with("SIP/2.0 401"), "{answer}");
                let (_, sequence) = answer.split_once("CSeq: ").unwrap();
                sequence.split(' ').next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(numbers, (1..7).collect());
    }
    println!("120 datagrams were answered {:?} after the crash", killed.elapsed());
    program.expect("error the exchange was killed by signal 9; it is started again");
    assert_ne!(program.exchange(), exchange);
}

#[test]
fn one_that_dies_again_and_again_is_waited_for() {
    let program = Program::start();
    let mut exchange = program.exchange();
    for (said, wait) in [
        ("signal 9; it is started again", 0),
        ("signal 6; it is started again in 100 ms (2nd time in 1 min)", 100),
        ("signal 9; it is started again in 200 ms (3rd time in 1 min)", 200),
    ] {
        let signal = if said.contains('6') { Signal::ABORT } else { Signal::KILL };
        kill_process(exchange, signal).unwrap();
        let killed = Instant::now();
        assert!(program.expect("error the exchange was killed").ends_with(said));
        exchange = program.exchange_after(Some(exchange));
        assert!(killed.elapsed() >= Duration::from_millis(wait), "too early: {:?}", killed.elapsed());
        program.expect("runs");
        assert!(program.answers(&asker(), SOON));
    }
    // While it waits, it stops at once.
    kill_process(exchange, Signal::KILL).unwrap();
    program.expect("in 400 ms (4th time in 1 min)");
    program.signal(Signal::TERM);
    let (status, time, said) = program.end();
    assert!(status.success() && time < Duration::from_millis(300), "{status} {time:?}");
    assert!(said.ends_with("info  stopped"), "{said}");
}

#[test]
fn sigterm_and_sigint_stop_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start();
        let exchange = program.exchange();
        program.signal(signal);
        let (status, time, said) = program.end();
        assert!(status.success() && time < Duration::from_secs(1), "{signal:?} {status} {time:?}");
        assert!(said.ends_with("info  stopped"), "{said}");
        assert!(!is_alive(exchange));
    }
}

#[test]
fn an_exchange_that_stops_by_itself_is_started_again() {
    let program = Program::start();
    let exchange = program.exchange();
    kill_process(exchange, Signal::TERM).unwrap();
    program.expect("error the exchange ended with status 0; it is started again");
    program.expect(" runs ");
    let next = program.exchange_after(Some(exchange));
    assert!(program.answers(&asker(), SOON));
    // Unless all are told, as by a service manager, and whichever of them it tells first.
    kill_process(next, Signal::TERM).unwrap();
    program.signal(Signal::TERM);
    let (status, time, _) = program.end();
    assert!(status.success() && time < Duration::from_secs(1), "{status} {time:?}");
}

#[test]
fn the_second_sigint_reaches_it_too() {
    let program = Program::start();
    let phone = asker();
    phone.set_read_timeout(Some(SOON)).unwrap();
    call_echo(&phone, program.at, 9);
    program.signal(Signal::INT);
    let bye = answer(&phone).unwrap();
    assert!(bye.starts_with("BYE "), "{bye}");
    // It would wait for the answer.
    thread::sleep(Duration::from_millis(500));
    program.signal(Signal::INT);
    let (status, time, said) = program.end();
    assert!(status.success() && time < Duration::from_secs(1), "{status} {time:?}");
    assert!(said.ends_with("info  stopped"), "{said}");
}

/// The header with which an extension answers a challenge.
fn credentials(number: &str, challenge: &str, method: &str, uri: &str) -> String {
    credentials::credentials(number, PASSWORD, challenge, method, uri)
}

/// A call with the echo test.
struct Talk {
    /// Where the phone is, and the exchange.
    own: SocketAddr,
    at: SocketAddr,
    /// The echo test's To, with its tag, and its Contact.
    to: String,
    contact: String,
    /// Where it hears.
    sound: SocketAddr,
}

impl Talk {
    /// Whether a packet of sound comes back.
    fn echoes(&self, from: &UdpSocket, sequence: u16) -> bool {
        let mut packet = [0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4].to_vec();
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.extend([0xd5; 160]);
        from.send_to(&packet, self.sound).unwrap();
        let mut buffer = [0; 300];
        from.recv(&mut buffer).is_ok_and(|count| count == packet.len() && buffer[2..4] == packet[2..4])
    }

    /// Ends it, as its phone.
    fn hang_up(&self, phone: &UdpSocket) {
        let Talk { own, at, to, contact, .. } = self;
        let bye = format!(
            "BYE {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-echo-bye;rport\r\n\
             From: <sip:101@{at}>;tag=1\r\nTo: {to}\r\nCall-ID: echo-{port}\r\nCSeq: 9 BYE\r\n\
             Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            port = own.port()
        );
        phone.send_to(bye.as_bytes(), at).unwrap();
        loop {
            let answer = answer(phone).expect("BYE is not answered");
            if answer.contains("CSeq: 9 BYE") {
                return assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
            }
        }
    }
}

/// Calls the echo test, and is answered; its sound comes from this port.
fn call_echo(phone: &UdpSocket, at: SocketAddr, from: u16) -> Talk {
    let own = phone.local_addr().unwrap();
    let uri = format!("sip:114@{at}");
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {from} RTP/AVP 0\r\n"
    );
    let sdp = sdp.as_str();
    let request = |method: &str, target: &str, number: usize, to: &str, more: &str, body: &str| {
        let branch = if method == "ACK" { number + 10 } else { number };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-echo-{branch};rport\r\n\
             From: <sip:101@{at}>;tag=1\r\nTo: {to}\r\nCall-ID: echo-{port}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:101@{own}>\r\nMax-Forwards: 70\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len(),
            port = own.port()
        )
    };
    let typed = "Content-Type: application/sdp\r\n";
    let nobody = format!("<{uri}>");
    phone.send_to(request("INVITE", &uri, 1, &nobody, typed, sdp).as_bytes(), at).unwrap();
    let challenge = answer(phone).unwrap();
    assert!(challenge.starts_with("SIP/2.0 407"), "{challenge}");
    let authorization = format!("{}{typed}", credentials("101", &challenge, "INVITE", &uri));
    phone.send_to(request("ACK", &uri, 1, &nobody, "", "").as_bytes(), at).unwrap();
    phone.send_to(request("INVITE", &uri, 2, &nobody, &authorization, sdp).as_bytes(), at).unwrap();
    let accepted = loop {
        let answer = answer(phone).unwrap();
        if answer.starts_with("SIP/2.0 200") {
            break answer;
        }
        assert!(answer.starts_with("SIP/2.0 1") || answer.starts_with("SIP/2.0 407"), "{answer}");
    };
    let header = |name: &str| accepted.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let (to, contact) = (header("To: "), header("Contact: <").trim_end_matches('>'));
    phone.send_to(request("ACK", contact, 2, to, "", "").as_bytes(), at).unwrap();
    let port = header("m=audio ").split(' ').next().unwrap().parse().unwrap();
    let sound = SocketAddr::from(([127, 0, 0, 1], port));
    Talk { own, at, to: to.into(), contact: contact.into(), sound }
}

#[test]
fn one_that_does_not_stop_is_killed() {
    let program = Program::start();
    kill_process(program.exchange(), Signal::STOP).unwrap();
    program.signal(Signal::TERM);
    let (status, time, said) = program.end();
    assert_eq!(status.code(), Some(128 + 9));
    assert!((9_500..12_000).contains(&time.as_millis()), "{time:?}");
    assert!(said.ends_with("error the exchange does not stop within 10 s; it is killed"), "{said}");
}

#[test]
fn without_its_keeper_the_exchange_goes_and_leaves_the_port_free() {
    let mut program = Program::start();
    let (exchange, at) = (program.exchange(), program.at);
    program.keeper.kill().unwrap();
    program.keeper.wait().unwrap();
    let killed = Instant::now();
    while is_alive(exchange) {
        assert!(killed.elapsed() < Duration::from_secs(1), "it is still there");
        thread::sleep(Duration::from_millis(2));
    }
    UdpSocket::bind(at).unwrap();
    TcpListener::bind(at).unwrap();
}

#[test]
fn it_does_not_matter_what_becomes_of_the_file() {
    let folder = Folder::new();
    let copy = folder.0.join("denwa");
    fs::copy(binary(), &copy).unwrap();
    let program = Program::start_by(Command::new(&copy), folder, "");
    for replaced in [true, false] {
        let other = copy.with_extension("new");
        fs::write(&other, "#!/bin/false\n").unwrap();
        match replaced {
            true => fs::rename(&other, &copy).unwrap(),
            false => fs::remove_file(&copy).unwrap(),
        }
        let before = program.exchange();
        kill_process(before, Signal::KILL).unwrap();
        program.exchange_after(Some(before));
        program.expect("runs");
        assert!(program.answers(&asker(), SOON));
    }
}

#[test]
fn the_exchange_is_given_nothing_else() {
    let folder = Folder::new();
    // What a careless starter leaves open.
    let secret = folder.0.join("secret");
    let left_open = File::create(&secret).unwrap();
    rustix::io::fcntl_setfd(&left_open, FdFlags::empty()).unwrap();
    let mut starter = Command::new(binary());
    starter.env("KEY_OF_ANOTHER_PROGRAM", "secret");
    let program = Program::start_by(starter, folder, "");
    let links = |pid: Pid| -> Vec<PathBuf> {
        let entries = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
        entries.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect()
    };
    if !geteuid().is_root() {
        return println!("skipped: only root may look into a caged process");
    }
    assert!(links(Pid::from_child(&program.keeper)).contains(&secret), "this test proves nothing");
    let exchange = program.exchange();
    for link in links(exchange) {
        let kind = link.to_str().unwrap().split(['/', ':']).next().unwrap().to_owned();
        let known = ["socket", "pipe", "anon_inode"].contains(&kind.as_str())
            || link.parent().is_some_and(|folder| folder.ends_with("state"))
            // The list of authorities, which everybody may read.
            || denwa::tls::BUNDLES.iter().any(|bundle| link == Path::new(bundle));
        assert!(known || link.to_str() == Some("/dev/null"), "{link:?}");
    }
    let environment = fs::read(format!("/proc/{}/environ", exchange.as_raw_nonzero())).unwrap();
    assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
    let comm = fs::read_to_string(format!("/proc/{}/comm", exchange.as_raw_nonzero())).unwrap();
    let arguments = fs::read(format!("/proc/{}/cmdline", exchange.as_raw_nonzero())).unwrap();
    assert_eq!((comm.trim(), &arguments[..]), ("denwa-exchange", &b"denwa\0--exchange\0"[..]));
}

#[test]
fn low_ports_need_no_root_in_the_exchange() {
    if !geteuid().is_root() {
        return println!("skipped: only root may bind low ports");
    }
    let folder = Folder::new();
    let at = SocketAddr::from(([127, 99, 83, 60], 60));
    let config = folder.configure("listen = udp:127.99.83.60:60 tcp:127.99.83.60:61\nuser = nobody");
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(config);
    let program = Program::launch(command, folder, at);
    let exchange = program.exchange();
    // That one may bind more of them, if a later configuration wants it.
    const NET_BIND_SERVICE: u64 = 1 << 10;
    for (process, kept) in [(exchange, 0), (Pid::from_child(&program.keeper), NET_BIND_SERVICE)] {
        let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert!(!users.split_ascii_whitespace().any(|uid| uid == "0"), "{users}");
        for set in ["CapPrm:", "CapEff:", "CapInh:", "CapBnd:", "CapAmb:"] {
            let capabilities = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            let kept = if ["CapPrm:", "CapEff:"].contains(&set) { kept } else { 0 };
            assert_eq!(u64::from_str_radix(capabilities.trim(), 16).unwrap(), kept, "{set}");
        }
    }
    kill_process(exchange, Signal::KILL).unwrap();
    program.exchange_after(Some(exchange));
    assert!(program.answers(&asker(), SOON));
}

#[test]
fn without_a_cage_there_are_two_processes_too() {
    let program = Program::start_by(Command::new(binary()), Folder::new(), "sandbox = off");
    let exchange = program.exchange();
    kill_process(exchange, Signal::KILL).unwrap();
    program.exchange_after(Some(exchange));
    program.expect("runs");
    program.expect("sandbox: none");
    assert!(program.answers(&asker(), SOON));
}

#[test]
fn a_relative_path_is_found_and_said_as_it_was_given() {
    let folder = Folder::new();
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    folder.configure(&format!("listen = udp:{at}"));
    let mut command = Command::new(binary());
    command.args(["run", "--config", "denwa.conf"]).current_dir(&folder.0);
    let mut keeper = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(" runs denwa.conf: 1 extension"), "{line}");
    kill_process(Pid::from_child(&keeper), Signal::TERM).unwrap();
    assert!(keeper.wait().unwrap().success());
}

/// Runs a command that must fail with status 1, and returns the one thing that it says.
fn failure(command: &mut Command) -> String {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > SOON {
            child.kill().unwrap();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    said
}

fn run(config: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(config);
    command
}

#[test]
fn what_cannot_start_says_why_once() {
    let folder = Folder::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = UdpSocket::bind(taken).unwrap();
    // The port is any; it must not be one that the configuration would refuse.
    let listen = format!("listen = udp:{taken}\nmedia-ports = 20000-20099");
    let said = failure(&mut run(&folder.configure(&listen)));
    assert!(said.starts_with(&format!("listen = udp:{taken}: ")) && said.lines().count() == 1, "{said}");
    drop(holder);

    let free = format!("listen = udp:127.0.0.1:{}", free_port());
    let said = failure(&mut run(&folder.configure(&format!("{free}\nekho = 1"))));
    assert!(said.contains("did you mean `echo`?") && said.lines().count() == 2, "{said}");

    fs::write(folder.0.join("state"), "a file").unwrap();
    let said = failure(&mut run(&folder.configure(&free)));
    assert!(said.starts_with("state = ") && said.lines().count() == 1, "{said}");
    fs::remove_file(folder.0.join("state")).unwrap();

    if geteuid().is_root() {
        // Root becomes somebody who may not execute what is root's alone.
        let own = folder.0.join("denwa");
        fs::copy(binary(), &own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        let said = failure(Command::new(&own).arg("run").arg("--config").arg(folder.configure(&free)));
        let expected = format!("{} cannot be executed: Permission denied", own.display());
        assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
    }

    let said = failure(&mut run(&folder.0.join("nothing.conf")));
    assert!(said.contains("nothing.conf: there is no such file") && said.lines().count() == 2, "{said}");
}

#[test]
fn an_exchange_that_cannot_start_is_not_tried_again() {
    // The keeper gets along with so few files, the exchange does not.
    let folder = Folder::new();
    let config =
        folder.configure(&format!("listen = udp:127.0.0.1:{}\nsandbox = off\nlog = error", free_port()));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -n 9; exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- \"$0\" run --config \"$1\"", binary()])
        .arg(config);
    let said = failure(&mut shell);
    assert!(said.contains("Too many open files") && said.lines().count() == 1, "{said}");
}

#[test]
fn only_a_keeper_starts_an_exchange() {
    let said = failure(Command::new(binary()).arg("--exchange"));
    assert_eq!(said, "only denwa itself starts a process with `--exchange`; type `denwa run`\n");
    let help = Command::new(binary()).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("--exchange"));
}

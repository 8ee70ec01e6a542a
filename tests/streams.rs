//! Connections by the thousand, over loopback: who is not wanted is gone at once, who dawdles is cut
//! off, memory stays flat, and phones on UDP notice nothing.
//!
//! The loop runs in a process of its own, whose memory and descriptors are looked at from outside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Moment};

use denwa::config::{Config, Listen};
use denwa::journal::Record;
use denwa::net::{self, Machine};
use denwa::sip::digest::{Algorithm, Ha1, Qop, respond};
use denwa::switch::{Event, Flow, Input, Instant, Output, StreamId, Transport};
use denwa::{keeper, media};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const SOON: Duration = Duration::from_secs(5);

/// What the exchange may take, in bytes, whatever happens on its ports.
const MEMORY: u64 = 24 << 20;

/// How many strangers the door of these tests lets in.
const STRANGERS: usize = 1_024;

/// Who comes from these addresses is refused.
const UNWANTED: u8 = 66;
/// Who comes from these counts as a phone, not as a stranger.
const PHONES: u8 = 77;

/// Lets strangers in up to a number, then each instead of the oldest; answers datagrams and messages
/// with themselves, and `report` with what it counted.
#[derive(Default)]
struct Door {
    outputs: VecDeque<Output>,
    strangers: BTreeMap<StreamId, Flow>,
    opened: u64,
    closed: u64,
    /// A tick every 10 ms; the latest that one came, in milliseconds.
    next: Instant,
    late: u64,
}

impl Machine for Door {
    fn snapshot(&self, _: &mut dyn FnMut(&Record)) {}

    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Opened(flow) => {
                self.opened += 1;
                match flow.source() {
                    IpAddr::V4(ip) if ip.octets()[1] == UNWANTED => {
                        self.outputs.push_back(Output::Close(flow.stream));
                    }
                    IpAddr::V4(ip) if ip.octets()[1] == PHONES => {}
                    _ => {
                        self.strangers.insert(flow.stream, flow);
                        if self.strangers.len() > STRANGERS
                            && let Some((oldest, _)) = self.strangers.pop_first()
                        {
                            self.outputs.push_back(Output::Close(oldest));
                        }
                    }
                }
            }
            Input::Closed(stream) => {
                self.closed += 1;
                self.strangers.remove(&stream);
            }
            Input::Packet { flow, bytes: b"report" } => {
                let Door { opened, closed, late, .. } = self;
                let text = format!("{opened} {closed} {} {late}", self.strangers.len());
                self.outputs.push_back(Output::Send(flow, text.into()));
                self.late = 0;
            }
            Input::Packet { bytes, .. } if bytes.starts_with(b"junk") => {}
            Input::Packet { flow, bytes } => self.outputs.push_back(Output::Send(flow, bytes.to_vec())),
            Input::Tick => {
                self.late = self.late.max((now - self.next).as_millis() as u64);
                self.next = now + Duration::from_millis(10);
            }
            Input::Clock(_)
            | Input::Certified { .. }
            | Input::Media(_)
            | Input::HangUp(_)
            | Input::Reload(_)
            | Input::Operator(_)
            | Input::Advertised(_)
            | Input::Located(..)
            | Input::MachineStops(_)
            | Input::Connected { .. }
            | Input::NotConnected { .. }
            | Input::Renamed => {}
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn calls(&self) -> usize {
        0
    }
}

/// Not a test of its own: the process that the others connect to. Says where it listens, then what
/// people are told.
#[test]
#[ignore = "run by the other tests"]
fn serves() {
    let address = Some(Ipv4Addr::LOCALHOST.into());
    let listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen { transport, address, port: 0 });
    let config = Config { listen: listen.into(), ..Config::default() };
    let sockets = keeper::bind(&config).unwrap();
    eprintln!("{}", sockets.udp[0].local_addr().unwrap());
    eprintln!("{}", sockets.tcp[0].local_addr().unwrap());
    let tell = &mut |event: &Event| eprintln!("{event:?}");
    net::run(
        Door::default(),
        sockets,
        None,
        media::Relay::start().unwrap(),
        None,
        net::Desk::default(),
        tell,
    )
    .unwrap();
}

/// A process that serves, until the end of its test.
struct Server {
    child: Child,
    udp: SocketAddr,
    tcp: SocketAddr,
    told: Receiver<String>,
}

impl Server {
    fn start() -> Server {
        let arguments = ["--exact", "serves", "--ignored", "--nocapture"];
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, told) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let address = || told.recv_timeout(SOON).unwrap().parse().unwrap();
        let (udp, tcp) = (address(), address());
        Server { child, udp, tcp, told }
    }

    /// Its memory now, in bytes (RSS).
    fn memory(&self) -> u64 {
        memory_of(self.child.id())
    }

    /// How many descriptors it has open.
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    fn report(&self) -> Report {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.send_to(b"report", self.udp).unwrap();
        let mut buffer = [0; 100];
        let count = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        Report { opened: numbers[0], closed: numbers[1], strangers: numbers[2], late: numbers[3] }
    }

    /// A telephone on UDP, which asks some hundred times a second and wants to be answered.
    fn phone(&self) -> Phone {
        let (to, stop) = (self.udp, Arc::new(AtomicBool::new(false)));
        let is_over = stop.clone();
        let thread = thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let (mut answers, mut buffer) = (Vec::new(), [0; 100]);
            let mut lost = 0;
            for number in 0_u64.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let asked = Moment::now();
                socket.send_to(format!("question {number}").as_bytes(), to).unwrap();
                match socket.recv(&mut buffer) {
                    Ok(_) => answers.push(asked.elapsed()),
                    Err(_) => lost += 1,
                }
                thread::sleep(Duration::from_millis(2));
            }
            answers.sort_unstable();
            (answers, lost)
        });
        Phone { thread, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the door has counted.
#[derive(Debug)]
struct Report {
    opened: u64,
    closed: u64,
    strangers: u64,
    late: u64,
}

struct Phone {
    thread: JoinHandle<(Vec<Duration>, usize)>,
    stop: Arc<AtomicBool>,
}

impl Phone {
    /// Finds that every question was answered, and all but one of a hundred within a time.
    fn unaffected(self, within: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (answers, lost) = self.thread.join().unwrap();
        assert!(answers.len() >= 100, "only {} questions", answers.len());
        let (median, p99) = (answers[answers.len() / 2], answers[answers.len() * 99 / 100]);
        println!("UDP: {} answers, {lost} lost, median {median:?}, p99 {p99:?}", answers.len());
        assert_eq!(lost, 0, "of {}", answers.len());
        assert!(p99 <= within, "p99 {p99:?}");
    }
}

/// The resident memory of a process, in bytes.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

/// These tests use all of the machine, and each waits for the others.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The `n`th address of a block of loopback addresses.
fn source(block: u8, n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, block, (n >> 8) as u8, n as u8)
}

/// A connection from an address of one's choice.
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    try_connect(from, to).unwrap()
}

/// The same, where it may be reset before it is there.
fn try_connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Finds that a connection is reset, at once or as soon as it is there.
fn is_reset(connection: io::Result<TcpStream>) -> bool {
    match connection {
        Ok(mut stream) => end(&mut stream),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

/// Waits until the other side ends a connection; whether it did so by a reset.
fn end(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => {
            assert_eq!(count, 0, "something came");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

/// Whether the other side has ended a connection by now.
fn is_over(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn message(text: &str) -> Vec<u8> {
    format!("X sip:h SIP/2.0\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

/// Reads as many bytes as are expected, and finds them.
fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(expected));
}

#[test]
fn who_is_refused_is_gone_at_once_and_leaves_nothing() {
    const ONE_BY_ONE: usize = 60_000;
    const BURSTS: usize = 100;
    const BURST: usize = 400;
    let _alone = alone();
    let server = Server::start();
    let mut kept = connect(source(PHONES, 0), server.tcp);
    kept.write_all(&message("kept")).unwrap();
    expect(&mut kept, &message("kept"));
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let phone = server.phone();

    let begin = Moment::now();
    for n in 0..ONE_BY_ONE {
        let connection = try_connect(source(UNWANTED, n % 1_000), server.tcp);
        assert!(is_reset(connection), "without a reset, somebody pays for it a minute long");
    }
    for _ in 0..BURSTS {
        let burst: Vec<_> = (0..BURST).map(|n| try_connect(source(UNWANTED, n), server.tcp)).collect();
        for connection in burst {
            assert!(is_reset(connection));
        }
    }
    let time = begin.elapsed();
    phone.unaffected(Duration::from_millis(200));

    let after = server.memory();
    println!("100,000 connects in {time:?}: {memory} bytes before, {after} after");
    assert!(after <= MEMORY && after <= memory + (1 << 20));
    assert_eq!(server.descriptors(), descriptors);
    let report = server.report();
    assert_eq!(report.opened, (1 + ONE_BY_ONE + BURSTS * BURST) as u64);
    assert_eq!(report.closed, 0, "the machine knows whom it refused");
    kept.write_all(&message("still there")).unwrap();
    expect(&mut kept, &message("still there"));
}

#[test]
fn strangers_make_room_for_strangers_and_dawdlers_are_cut_off() {
    const COMERS: usize = 1_500;
    let _alone = alone();
    let server = Server::start();
    let mut registered = connect(source(PHONES, 0), server.tcp);
    registered.write_all(&message("registered")).unwrap();
    expect(&mut registered, &message("registered"));
    let phone = server.phone();

    // Each says a byte at once and one every second.
    let begin = Moment::now();
    let mut comers: Vec<TcpStream> = (0..COMERS).map(|n| connect(source(1, n), server.tcp)).collect();
    let first = Moment::now();
    for comer in &mut comers {
        let _ = comer.write_all(b"I");
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(server.report().strangers, STRANGERS as u64);
    let gone = comers.iter_mut().take(COMERS - STRANGERS).filter_map(|c| is_over(c).then_some(())).count();
    assert_eq!(gone, COMERS - STRANGERS, "the oldest made room");
    let mut comers = comers.split_off(COMERS - STRANGERS);
    assert_eq!(comers.iter_mut().filter_map(|c| is_over(c).then_some(())).count(), 0);
    let mut largest = 0;
    for second in 1..=9 {
        thread::sleep((first + Duration::from_secs(second)).saturating_duration_since(Moment::now()));
        for comer in &mut comers {
            comer.write_all(b"N").unwrap();
        }
        largest = largest.max(server.memory());
    }
    thread::sleep((begin + Duration::from_millis(9_900)).saturating_duration_since(Moment::now()));
    assert_eq!(comers.iter_mut().filter_map(|c| is_over(c).then_some(())).count(), 0);
    for comer in &mut comers {
        assert!(end(comer), "it is for them to pay");
    }
    let patience = first.elapsed();
    println!("the last of {STRANGERS} was cut off after {patience:?}; {largest} bytes");
    assert!(patience < Duration::from_secs(12));
    assert!(largest <= MEMORY);

    let report = server.report();
    assert_eq!((report.strangers, report.closed), (0, STRANGERS as u64), "each end was told once");
    registered.write_all(&message("silence between messages is allowed")).unwrap();
    expect(&mut registered, &message("silence between messages is allowed"));
    phone.unaffected(Duration::from_millis(200));
}

#[test]
fn who_says_nothing_goes_after_five_seconds() {
    let server = Server::start();
    let mut silent = connect(source(1, 1), server.tcp);
    let mut late = connect(source(1, 2), server.tcp);
    let begin = Moment::now();
    thread::sleep(Duration::from_millis(4_500));
    late.write_all(b"\r\n").unwrap();
    assert!(end(&mut silent));
    assert!((Duration::from_millis(4_900)..Duration::from_millis(6_500)).contains(&begin.elapsed()));
    // From its first byte on it has 10 s, and blanks or another byte buy no more.
    thread::sleep(Duration::from_secs(4));
    late.write_all(b"\r\n\r\nINV").unwrap();
    assert!(end(&mut late));
    let time = begin.elapsed();
    assert!((Duration::from_millis(14_300)..Duration::from_millis(16_500)).contains(&time), "{time:?}");
}

#[test]
fn unfinished_messages_share_a_fixed_amount_of_memory() {
    const COMERS: usize = 4_096;
    let _alone = alone();
    if getrlimit(Resource::Nofile).current.is_some_and(|files| files < 4_500) {
        return println!("skipped: these tests may not open 4,500 files");
    }
    let server = Server::start();
    let before = server.memory();
    let phone = server.phone();
    // All of them count as phones, so that the loop alone is their bound.
    let mut comers: Vec<TcpStream> =
        (0..COMERS - 1).map(|n| connect(source(PHONES, n), server.tcp)).collect();
    let idle = server.memory();
    println!("{} bytes a connection", (idle.saturating_sub(before)) / COMERS as u64);
    let mut good = connect(source(PHONES, 9_999), server.tcp);
    good.write_all(&message("good")).unwrap();
    expect(&mut good, &message("good"));

    assert!(is_reset(try_connect(source(PHONES, 5_000), server.tcp)), "one more than there may be");
    let told = server.told.recv_timeout(SOON).unwrap();
    assert!(told.contains("a connection was refused: 4096 are open"), "{told}");

    // 3 KB of a message each, in two pieces, would be 12 MB.
    let mut largest = 0;
    for half in [format!("INVITE sip:h SIP/2.0\r\nX: {}", "x".repeat(1_500)), "x".repeat(1_500)] {
        for comer in &mut comers {
            let _ = comer.write_all(half.as_bytes());
        }
        server.report();
        largest = largest.max(server.memory());
    }
    let alive = comers.iter_mut().filter_map(|c| (!is_over(c)).then_some(())).count();
    println!("{alive} of {COMERS} are left; {before} bytes before, {idle} idle, {largest} full");
    assert!(largest <= MEMORY);
    assert!((1_000..2_800).contains(&alive), "4 MiB are 1,400 times 3,000 bytes, some of them doubled");

    // A phone that was spoken with has room.
    let (head, tail) = (&message(&"y".repeat(9_000))[..4_000], &message(&"y".repeat(9_000))[4_000..]);
    good.write_all(head).unwrap();
    thread::sleep(Duration::from_millis(100));
    good.write_all(tail).unwrap();
    expect(&mut good, &[head, tail].concat());
    phone.unaffected(Duration::from_millis(200));

    drop(comers);
    let begin = Moment::now();
    while server.descriptors() > 50 {
        assert!(begin.elapsed() < SOON, "{} descriptors", server.descriptors());
        thread::sleep(Duration::from_millis(20));
    }
    println!("{} bytes after all", server.memory());
}

#[test]
fn other_protocols_are_told_once_and_cut_off() {
    let server = Server::start();
    let hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03";
    let mut tls = connect(source(9, 9), server.tcp);
    tls.write_all(hello).unwrap();
    let begin = Moment::now();
    assert!(end(&mut tls));
    assert!(begin.elapsed() < Duration::from_secs(1));
    let port = server.tcp.port();
    let expected = format!("127.9.0.9 speaks TLS to tcp port {port}, where SIP without TLS is spoken");
    let told = server.told.recv_timeout(SOON).unwrap();
    assert!(told.contains(&expected), "{told}");
    for piece in [&b"\x16"[..], b"\x03", b"GET / HTTP/1.1\r\n\r\n", b"POST /x HTTP/1.1\r\n"] {
        let mut stream = connect(source(9, 10), server.tcp);
        stream.write_all(if piece == b"\x03" { hello } else { piece }).unwrap();
        if piece == b"\x16" {
            thread::sleep(Duration::from_millis(100));
            assert!(!is_over(&mut stream), "that may be anything");
            stream.write_all(b"\x03").unwrap();
        }
        assert!(end(&mut stream));
    }
    assert!(server.told.recv_timeout(Duration::from_millis(300)).is_err(), "once is enough");
    let report = server.report();
    assert_eq!((report.opened, report.closed), (5, 5));
}

#[test]
fn a_connection_that_was_spoken_with_is_closed_politely() {
    let server = Server::start();
    let mut streams = Vec::new();
    for n in 0..=STRANGERS {
        let mut stream = connect(source(1, n), server.tcp);
        if n == 0 {
            // A ping of a stranger is not answered, and one of an acquaintance is.
            stream.write_all(b"\r\n\r\n").unwrap();
            thread::sleep(Duration::from_millis(50));
            assert!(!is_over(&mut stream));
            stream.write_all(&[&message("spoken")[..], b"\r\n\r\n"].concat()).unwrap();
            expect(&mut stream, &[&message("spoken")[..], b"\r\n"].concat());
        }
        streams.push(stream);
    }
    assert!(!end(&mut streams[0]), "the oldest is closed with a farewell");
    // It has two seconds to close as well.
    thread::sleep(Duration::from_millis(500));
    streams[0].write_all(b"bye").unwrap();
    let begin = Moment::now();
    while begin.elapsed() < SOON && streams[0].write_all(b"bye").is_ok() {
        thread::sleep(Duration::from_millis(50));
    }
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&begin.elapsed()), "{begin:?}");
    assert_eq!(server.report().closed, 0, "whom the machine closed it is not told of");
    streams[5].shutdown(Shutdown::Write).unwrap();
    assert!(!end(&mut streams[5]), "who closes first pays for it");
}

#[test]
fn a_flood_of_datagrams_starves_nobody() {
    let _alone = alone();
    let server = Server::start();
    let (to, stop) = (server.udp, Arc::new(AtomicBool::new(false)));
    let is_over = stop.clone();
    let flood = thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let junk = [&b"junk"[..], &[b'x'; 400]].concat();
        let mut sent = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            sent += u64::from(socket.send_to(&junk, to).is_ok());
        }
        sent
    });
    thread::sleep(Duration::from_millis(200));
    let mut times = Vec::new();
    let begin = Moment::now();
    for n in 0..200 {
        let asked = Moment::now();
        let mut stream = connect(source(PHONES, n), server.tcp);
        stream.write_all(&message("through")).unwrap();
        expect(&mut stream, &message("through"));
        times.push(asked.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    let seconds = begin.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap();
    thread::sleep(Duration::from_millis(100));
    let report = server.report();
    times.sort_unstable();
    println!(
        "{:.0} datagrams/s; a new connection answered in {:?} (p99 {:?}); ticks at most {} ms late",
        sent as f64 / seconds,
        times[100],
        times[198],
        report.late
    );
    assert!(times[198] < Duration::from_millis(100) && report.late < 100, "{report:?}");
    assert!(server.memory() <= MEMORY);
}

/// The whole exchange: the keeper, and its child.
struct Denwa {
    keeper: Child,
    folder: std::path::PathBuf,
    address: SocketAddr,
}

impl Denwa {
    fn start() -> Denwa {
        // A port that is free for both transports, so far as one can know.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("denwa-streams-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // Where root runs this test, the exchange is somebody else.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let file = folder.join("denwa.conf");
        let (state, port) = (folder.display(), address.port());
        let text = format!(
            "ext.101 = correct-horse-battery\nlisten = udp:127.0.0.1:{port} tcp:127.0.0.1:{port}\n\
             media-ports = 47000-47099\nstate = {state}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut keeper = Command::new(env!("CARGO_BIN_EXE_denwa"))
            .args(["run", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(keeper.stderr.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                println!("{line}");
                let _ = sender.send(line);
            }
        });
        let denwa = Denwa { keeper, folder, address };
        while !said.recv_timeout(SOON).expect("it starts").contains(" runs ") {}
        denwa
    }

    /// The memory of all its processes now, in bytes (RSS).
    fn memory(&self) -> u64 {
        let keeper = self.keeper.id();
        let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(children.len(), 1, "the keeper and its child");
        children.into_iter().chain([keeper]).map(memory_of).sum()
    }

    /// A telephone that registers.
    fn registered(&self) -> Registered {
        let socket = UdpSocket::bind((source(PHONES, 1), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut phone = Registered { socket, exchange: self.address, asked: 0 };
        let (challenge, _) = phone.ask("REGISTER", "").unwrap();
        let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        let ha1 = Ha1::new(b"101", b"denwa", b"correct-horse-battery");
        let qop = Qop::Auth { nc: 1, nc_raw: b"00000001", cnonce: b"c" };
        let uri = format!("sip:{}", self.address);
        let response =
            respond(Algorithm::Md5, &ha1, b"REGISTER", uri.as_bytes(), nonce.as_bytes(), &qop).unwrap();
        let credentials = format!(
            "Authorization: Digest username=\"101\",realm=\"denwa\",nonce=\"{nonce}\",uri=\"{uri}\",\
             response=\"{response}\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"c\"\r\n"
        );
        let (answer, _) = phone.ask("REGISTER", &credentials).unwrap();
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        phone
    }
}

/// A telephone at the exchange.
struct Registered {
    socket: UdpSocket,
    exchange: SocketAddr,
    asked: u32,
}

impl Registered {
    /// Asks, and waits at most a second for the answer; what it is, and how long it took.
    fn ask(&mut self, method: &str, more: &str) -> Option<(String, Duration)> {
        self.asked += 1;
        let (own, to, n) = (self.socket.local_addr().unwrap(), self.exchange, self.asked);
        let request = format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:101@{to}>;tag=a{n}\r\nTo: <sip:101@{to}>\r\nCall-ID: {n}@{own}\r\nCSeq: {n} {method}\r\n\
             Contact: <sip:101@{own}>\r\nUser-Agent: {}\r\n{more}Content-Length: 0\r\n\r\n",
            "long enough that what a stranger is answered is not longer".repeat(4),
        );
        let asked = Moment::now();
        self.socket.send_to(request.as_bytes(), to).unwrap();
        let mut buffer = [0; 2_000];
        loop {
            let count = self.socket.recv(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            // The exchange asks as well, whether the phone is there.
            if text.contains(&format!("branch=z9hG4bK{n};")) && text.starts_with("SIP/2.0 ") {
                return Some((text, asked.elapsed()));
            }
        }
    }
}

impl Drop for Denwa {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.keeper),
            rustix::process::Signal::TERM,
        );
        let _ = self.keeper.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn the_exchange_stays_small_and_serves_on_under_all_that() {
    const COMERS: usize = 3_000;
    const CONNECTS: usize = 60_000;
    let _alone = alone();
    if getrlimit(Resource::Nofile).current.is_some_and(|files| files < 4_500) {
        return println!("skipped: these tests may not open 4,500 files");
    }
    let denwa = Denwa::start();
    let before = denwa.memory();
    let mut phone = denwa.registered();

    // As many as it takes, each with as much of a message as it takes.
    let half = format!("REGISTER sip:h SIP/2.0\r\nX: {}", "x".repeat(7_000));
    let mut comers = Vec::new();
    let mut largest = 0;
    for n in 0..COMERS {
        // One that is not wanted, or for which there is no room, may be reset at any time.
        let Ok(mut comer) = try_connect(source(1, n), denwa.address) else { continue };
        let _ = comer.write_all(half.as_bytes());
        comers.push(comer);
        if n % 100 == 0 {
            largest = largest.max(denwa.memory());
        }
    }
    let mut times = Vec::new();
    for n in 0..CONNECTS {
        let _ = try_connect(source(2, n), denwa.address);
        if n % 500 == 0 {
            largest = largest.max(denwa.memory());
            let answer = phone.ask("REGISTER", "");
            times.extend(answer.map(|(_, time)| time));
        }
    }
    times.sort_unstable();
    let after = denwa.memory();
    println!(
        "{before} bytes before, {largest} at most, {after} after {COMERS} slow and {CONNECTS} quick connections; \
         the phone was answered {} of {} times, p99 {:?}",
        times.len(),
        CONNECTS / 500,
        times[times.len() * 99 / 100]
    );
    assert!(largest <= MEMORY, "{largest}");
    assert_eq!(times.len(), CONNECTS / 500);
    assert!(times[times.len() * 99 / 100] < Duration::from_millis(200), "{times:?}");
}

//! The loop and its sockets, driven from outside over loopback: addresses, batches, framing on
//! connections, limits, and signals.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant as Moment};

use denwa::config::{Config, Listen};
use denwa::handover::Sockets;
use denwa::journal::Record;
use denwa::keeper;
use denwa::media;
use denwa::net::{self, Machine};
use denwa::switch::{Event, Input, Instant, Output, Transport};
use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(5);

/// Answers everything with itself. Some words do more, see [`Echo::handle`].
#[derive(Default)]
struct Echo {
    outputs: VecDeque<Output>,
    deadline: Option<Instant>,
    calls: usize,
}

impl Echo {
    fn tell(&mut self, text: String) {
        self.outputs.push_back(Output::Event(Event::Notice(text)));
    }
}

impl Machine for Echo {
    fn snapshot(&self, _: &mut dyn FnMut(&Record)) {}

    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Packet { flow, bytes } => {
                let has = |word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
                let times = if has("flood") { 1_000 } else { 1 };
                for _ in 0..times {
                    self.outputs.push_back(Output::Send(flow, bytes.to_vec()));
                }
                if has("close") {
                    self.outputs.push_back(Output::Close(flow.stream));
                }
                if has("later") {
                    self.deadline = Some(now + Duration::from_millis(200));
                }
                if has("sooner") {
                    self.deadline = Some(now + Duration::from_millis(50));
                }
                if has("call") {
                    self.calls = 1;
                }
                self.tell(format!("{:?} {} bytes", flow.transport, bytes.len()));
            }
            Input::Opened(_) | Input::Certified { .. } => {}
            Input::Closed(_) => self.tell("closed".into()),
            Input::Clock(_) => self.tell("clock".into()),
            Input::Renamed => self.tell("renamed".into()),
            Input::Tick => {
                assert!(self.deadline.is_some_and(|deadline| deadline <= now));
                self.deadline = None;
                self.tell(format!("tick {}", now.0));
            }
            Input::HangUp(_) => self.tell("hang up".into()),
            Input::Reload(_)
            | Input::Operator(_)
            | Input::Advertised(_)
            | Input::Located(..)
            | Input::MachineStops(_)
            | Input::Connected { .. }
            | Input::NotConnected { .. } => {}
            Input::Media(event) => self.tell(format!("{event:?}")),
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn calls(&self) -> usize {
        self.calls
    }
}

fn listen(transport: Transport, address: Option<IpAddr>, port: u16) -> Config {
    Config { listen: vec![Listen { transport, address, port }], ..Config::default() }
}

/// A loop of its own, for as long as the test process lives, and what it tells.
fn start(transport: Transport) -> (Sockets, Receiver<String>) {
    let sockets = keeper::bind(&listen(transport, None, 0)).unwrap();
    let copy = Sockets {
        udp: sockets.udp.iter().map(|socket| socket.try_clone().unwrap()).collect(),
        tcp: sockets.tcp.iter().map(|socket| socket.try_clone().unwrap()).collect(),
        ..Sockets::default()
    };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let tell = &mut |event: &Event| {
            let Event::Notice(text) = event else { return };
            let _ = sender.send(text.clone());
        };
        net::run(
            Echo::default(),
            copy,
            None,
            media::Relay::start().unwrap(),
            None,
            net::Desk::default(),
            tell,
        )
        .unwrap();
    });
    assert_eq!(receiver.recv_timeout(SOON).unwrap(), "clock");
    (sockets, receiver)
}

/// A loop on TCP over IPv4, and a connection to it.
fn connect() -> (TcpStream, Receiver<String>) {
    let (sockets, told) = start(Transport::Tcp);
    let listener = sockets.tcp.iter().find(|l| l.local_addr().unwrap().is_ipv4()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    (stream, told)
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
fn datagrams_are_answered_from_the_address_that_was_asked() {
    let (sockets, _told) = start(Transport::Udp);
    for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"] {
        let asked: IpAddr = asked.parse().unwrap();
        let same = |s: &&UdpSocket| s.local_addr().unwrap().is_ipv6() == asked.is_ipv6();
        let port = sockets.udp.iter().find(same).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::new(asked, port);
        let client = UdpSocket::bind((if asked.is_ipv6() { "::1" } else { "127.0.0.1" }, 0)).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        // Blanks are keep-alives, which nobody answers.
        client.send_to(b"\r\n\r\n", address).unwrap();
        client.send_to(b"\0", address).unwrap();
        client.send_to(b"", address).unwrap();
        client.send_to(b"hello", address).unwrap();
        let mut buffer = [0; 100];
        let (count, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (&b"hello"[..], address));
    }
}

#[test]
fn every_datagram_of_a_burst_is_answered() {
    let (sockets, _told) = start(Transport::Udp);
    let socket = sockets.udp.iter().find(|s| s.local_addr().unwrap().is_ipv6()).unwrap();
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), socket.local_addr().unwrap().port());
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let large = "x".repeat(60_000);
    for round in 0..20 {
        let texts: Vec<String> = (0..90).map(|n| format!("burst {round} {n}")).collect();
        for text in &texts {
            client.send_to(text.as_bytes(), address).unwrap();
        }
        client.send_to(large.as_bytes(), address).unwrap();
        let mut buffer = vec![0; 65_536];
        for text in texts.iter().chain([&large]) {
            let count = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], text.as_bytes());
        }
    }
}

#[test]
fn messages_on_a_connection_are_cut_and_answered_and_pings_are_too() {
    let (mut stream, _told) = connect();
    let (one, two) = (message("one"), message("two"));
    stream.write_all(&[&one[..], &two, b"\r\n\r\n", &one[..20]].concat()).unwrap();
    expect(&mut stream, &[&one[..], &two, b"\r\n"].concat());
    for byte in &one[20..] {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    expect(&mut stream, &one);
    let long = message(&"x".repeat(60_000));
    stream.write_all(&long).unwrap();
    expect(&mut stream, &long);
}

#[test]
fn the_end_of_a_connection_is_told() {
    let (stream, told) = connect();
    drop(stream);
    assert_eq!(told.recv_timeout(SOON).unwrap(), "closed");
}

#[test]
fn a_connection_is_closed_when_all_is_said() {
    let (mut stream, told) = connect();
    let close = message("close");
    stream.write_all(&[&close[..], &message("ignored")].concat()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert_eq!(received, close);
    drop(stream);
    assert_eq!(told.recv_timeout(SOON).unwrap(), format!("Tcp {} bytes", close.len()));
    // Whoever closes it himself is not told.
    assert!(told.recv_timeout(Duration::from_millis(200)).is_err());
}

#[test]
fn a_stream_that_cannot_be_cut_is_answered_once_and_closed() {
    let (mut stream, told) = connect();
    let headless = b"X sip:h SIP/2.0\r\n\r\n";
    stream.write_all(&[&headless[..], &message("ignored")].concat()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert_eq!(received, headless);
    drop(stream);
    assert_eq!(told.recv_timeout(SOON).unwrap(), "Tcp 19 bytes");
    assert_eq!(told.recv_timeout(SOON).unwrap(), "closed");
}

#[test]
fn whoever_does_not_read_is_cut_off() {
    let (mut stream, told) = connect();
    let flood = message(&format!("flood{}", "x".repeat(10_000)));
    // A thousand copies are ten megabytes, more than the buffers of both sides and our own limit.
    stream.write_all(&flood).unwrap();
    assert_eq!(told.recv_timeout(SOON).unwrap(), format!("Tcp {} bytes", flood.len()));
    assert_eq!(told.recv_timeout(SOON).unwrap(), "closed");
}

#[test]
fn whoever_reads_slowly_gets_everything() {
    let (mut stream, _told) = connect();
    let messages: Vec<u8> = (0..3).flat_map(|_| message(&"y".repeat(50_000))).collect();
    stream.write_all(&messages).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4_000];
    while received.len() < messages.len() {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "closed after {} bytes", received.len());
        received.extend_from_slice(&buffer[..count]);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(received == messages);
}

#[test]
fn connections_that_never_end_a_message_lose_our_patience() {
    let (silent, told) = connect();
    let address = silent.peer_addr().unwrap();
    let begin = Moment::now();
    let mut slow = TcpStream::connect(address).unwrap();
    let mut pinging = TcpStream::connect(address).unwrap();
    let mut served = TcpStream::connect(address).unwrap();
    let whole = message("whole");
    served.write_all(&whole).unwrap();
    for _ in 0..10 {
        // These must not keep a connection open: it has to say something, and to finish saying it.
        let _ = slow.write_all(b"a");
        let _ = pinging.write_all(b"\r\n");
        thread::sleep(Duration::from_millis(900));
    }
    let mut ends = 0;
    while begin.elapsed() < Duration::from_secs(14) && ends < 3 {
        ends += usize::from(told.recv_timeout(Duration::from_secs(1)).is_ok_and(|text| text == "closed"));
    }
    assert_eq!(ends, 3);
    // Ten seconds from when the loop woke, on a busy machine a little before it took the connection.
    assert!(begin.elapsed() > Duration::from_millis(9_500));
    served.write_all(&whole).unwrap();
    served.set_read_timeout(Some(SOON)).unwrap();
    expect(&mut served, &[&whole[..], &whole].concat());
}

#[test]
fn half_a_connection_ends_it() {
    let (mut stream, told) = connect();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(told.recv_timeout(SOON).unwrap(), "closed");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn ticks_come_when_they_are_due_and_the_earliest_counts() {
    let (mut stream, told) = connect();
    let begin = Moment::now();
    stream.write_all(&message("later")).unwrap();
    told.recv_timeout(SOON).unwrap();
    assert!(told.recv_timeout(SOON).unwrap().starts_with("tick"));
    assert!(begin.elapsed() >= Duration::from_millis(195), "{:?}", begin.elapsed());

    let begin = Moment::now();
    stream.write_all(&[message("later"), message("sooner")].concat()).unwrap();
    told.recv_timeout(SOON).unwrap();
    told.recv_timeout(SOON).unwrap();
    assert!(told.recv_timeout(SOON).unwrap().starts_with("tick"));
    assert!((Duration::from_millis(45)..Duration::from_millis(190)).contains(&begin.elapsed()));
    // And only once.
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err());
}

#[test]
fn a_port_in_use_is_explained() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let address = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let first = keeper::bind(&listen(transport, address, 0)).unwrap();
        let port = match transport {
            Transport::Udp => first.udp[0].local_addr(),
            Transport::Tcp => first.tcp[0].local_addr(),
            Transport::Tls => first.tls[0].local_addr(),
        };
        let port = port.unwrap().port();
        let error = keeper::bind(&listen(transport, address, port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(text.starts_with(&format!("listen = {transport}:[::1]:{port}: ")), "{text}");
        assert!(text.contains("another program has") && text.contains(&format!(":{port}'")), "{text}");
    }
}

#[test]
fn an_address_that_is_not_ours_is_explained() {
    let address = Some("192.0.2.1".parse().unwrap());
    let text = keeper::bind(&listen(Transport::Udp, address, 0)).unwrap_err().to_string();
    assert!(text.contains("this machine has no address 192.0.2.1"), "{text}");
}

#[test]
fn both_families_are_served_apart_on_one_port() {
    let port = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let sockets = keeper::bind(&listen(Transport::Tcp, None, port)).unwrap();
    let mut addresses: Vec<String> =
        sockets.tcp.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    addresses.sort();
    assert_eq!(addresses, [format!("0.0.0.0:{port}"), format!("[::]:{port}")]);
    assert!(sockets.notices.is_empty());
}

/// Not a test of its own: the process that the next ones send signals to. Says where it listens,
/// then what it is told.
#[test]
#[ignore = "run by the tests of signals"]
fn stopped_by_signals() {
    let sockets = keeper::bind(&listen(Transport::Udp, Some(Ipv6Addr::LOCALHOST.into()), 0)).unwrap();
    eprintln!("{}", sockets.udp[0].local_addr().unwrap());
    let tell = &mut |event: &Event| eprintln!("{event:?}");
    net::run(
        Echo::default(),
        sockets,
        None,
        media::Relay::start().unwrap(),
        None,
        net::Desk::default(),
        tell,
    )
    .unwrap();
}

struct Process(Child, Receiver<String>);

impl Process {
    /// Starts one, with a call in it or not.
    fn start(call: bool) -> Process {
        let arguments = ["--exact", "stopped_by_signals", "--ignored", "--nocapture"];
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in std::io::BufRead::lines(stderr) {
                let _ = sender.send(line.unwrap());
            }
        });
        let process = Process(child, lines);
        let address: SocketAddr = process.1.recv_timeout(SOON).unwrap().parse().unwrap();
        process.await_line("clock");
        if call {
            let client = UdpSocket::bind("[::1]:0").unwrap();
            client.send_to(b"call", address).unwrap();
            process.await_line("4 bytes");
        }
        process
    }

    fn await_line(&self, part: &str) {
        while !self.1.recv_timeout(SOON).unwrap().contains(part) {}
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// How it ends and how long that takes, at most ten seconds.
    fn end(mut self) -> (ExitStatus, Duration) {
        let begin = Moment::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return (status, begin.elapsed());
            }
            if begin.elapsed() > 2 * SOON {
                self.0.kill().unwrap();
                panic!("it does not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn sigterm_stops_at_once_without_hanging_up() {
    let process = Process::start(true);
    process.signal(Signal::TERM);
    let lines = process.1.iter().collect::<Vec<_>>();
    assert!(!lines.iter().any(|line| line.contains("hang up")), "{lines:?}");
    let (status, time) = process.end();
    assert!(status.success() && time < Duration::from_secs(1), "{status} {time:?}");
}

#[test]
fn sigint_hangs_up_and_stops_when_there_are_no_calls() {
    let process = Process::start(false);
    process.signal(Signal::INT);
    process.await_line("hang up");
    let (status, time) = process.end();
    assert!(status.success() && time < Duration::from_secs(1), "{status} {time:?}");
}

#[test]
fn sighup_is_left_to_the_keeper() {
    let process = Process::start(false);
    process.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    process.signal(Signal::INT);
    process.await_line("hang up");
    let (status, time) = process.end();
    assert!(status.success() && time < Duration::from_secs(1), "{status} {time:?}");
}

#[test]
fn sigint_waits_five_seconds_for_calls_to_end() {
    let process = Process::start(true);
    process.signal(Signal::INT);
    process.await_line("hang up");
    let (status, time) = process.end();
    let expected = Duration::from_millis(4_500)..Duration::from_secs(6);
    assert!(status.success() && expected.contains(&time), "{status} {time:?}");
}

#[test]
fn a_second_sigint_stops_at_once() {
    let process = Process::start(true);
    process.signal(Signal::INT);
    process.await_line("hang up");
    process.signal(Signal::INT);
    let (status, time) = process.end();
    assert!(status.success() && time < Duration::from_secs(1), "{status} {time:?}");
}

//! What is thrown at the socket: it is closed, and nothing else happens.

use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use denwa::console::control::{Client, MAX_REQUEST, Reply, Request, Which, encode};

use crate::phone::Phone;
use crate::program::{Program, SOON};

impl Program {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(2 * SOON)).unwrap();
        stream.set_write_timeout(Some(2 * SOON)).unwrap();
        stream
    }

    /// Whether an operator is answered within a second, and a phone too.
    fn is_well(&self) {
        let start = Instant::now();
        let status = self.json("status");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!((&status["restarts"], &status["pid"]), (&0.into(), &self.exchange().as_raw_pid().into()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let at = socket.local_addr().unwrap();
        let options = format!(
            "OPTIONS sip:denwa SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK1;rport\r\nFrom: <sip:x@denwa>;tag=1\r\n\
             To: <sip:denwa>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\
             X-Room: {}\r\n\r\n",
            "x".repeat(300)
        );
        socket.send_to(options.as_bytes(), self.at).unwrap();
        assert!(socket.recv(&mut [0; 2_000]).is_ok(), "a phone is answered");
    }
}

/// Whether the other side has closed, in time; what it said before, if anything, is read.
fn is_closed(mut stream: UnixStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Status,
        Request::Phones { after: Some("101".into()) },
        Request::Ban { address: [192, 0, 2, 1].into(), seconds: 60 },
        Request::HangUp(Which::Named("101".into())),
        Request::Trace { which: Which::All, full: true },
    ]
}

#[test]
fn what_is_no_request_closes_its_connection_and_nothing_else() {
    let program = Program::start("");
    // Cut off at every octet, and closed then.
    for request in requests() {
        let frame = encode(&request, MAX_REQUEST).unwrap();
        for end in 0..frame.len() {
            let mut stream = program.connect();
            stream.write_all(&frame[..end]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{request:?} up to {end}: {answer:?}");
        }
        // Of another version, or with an octet too many.
        let mut other = frame.clone();
        other[4] += 1;
        let mut longer = frame.clone();
        longer[0] += 1;
        longer.push(0);
        for frame in [other, longer] {
            let mut stream = program.connect();
            stream.write_all(&frame).unwrap();
            assert!(is_closed(stream), "{frame:?}");
        }
    }
    // Longer than a request may be, and what is none at all.
    let mut seed = 7_u32;
    let mut noise = |length: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(length)
        .collect()
    };
    let mut junk = vec![
        vec![0; 4],
        vec![0xff; 64],
        ((MAX_REQUEST as u32) + 1).to_le_bytes().to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    junk.extend((0..200).map(|length| [&(length as u32 + 1).to_le_bytes()[..], &noise(length + 1)].concat()));
    for bytes in junk {
        let mut stream = program.connect();
        // It may be closed before all is written.
        let _ = stream.write_all(&bytes);
        assert!(is_closed(stream), "{bytes:?}");
    }
    program.is_well();
    assert_eq!(program.says("bans"), "everybody is heard\n");
}

#[test]
fn a_thousand_connections_keep_nobody_out() {
    let program = Program::start("");
    program.is_well();
    let before = program.memory();
    let mut trace = Client::connect(&program.state()).unwrap();
    assert_eq!(trace.ask(&Request::Trace { which: Which::All, full: false }).unwrap(), Reply::Tracing);
    let mut held = Vec::new();
    for n in 0..1_000 {
        let mut stream = program.connect();
        // Some have begun to say something.
        let _ = stream.write_all(&[0x40, 0, 0, 0, 1, 2, 3][..n % 8 % 7]);
        held.push(stream);
        if n % 250 == 249 {
            program.is_well();
        }
    }
    let after = program.memory();
    assert!(after < before + 1_024, "{before} kB, and {after} kB with them");
    drop(held);
    program.is_well();
    // Who traced before them does so still: the questions of `is_well` are there, and what was answered.
    for _ in 0..2 {
        assert!(matches!(trace.hear(), Ok(Reply::Traced(_))));
    }
}

#[test]
fn half_a_request_is_waited_for_for_five_seconds() {
    let program = Program::start("");
    let start = Instant::now();
    let mut half = program.connect();
    half.write_all(&[200, 0, 0, 0, 1]).unwrap();
    let silent = program.connect();
    program.is_well();
    assert!(is_closed(half) && is_closed(silent));
    let took = start.elapsed();
    assert!((Duration::from_millis(4_500)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[test]
fn who_does_not_read_is_dropped_and_who_traces_so_misses_some() {
    let program = Program::start("");
    let before = program.memory();
    let request = encode(&Request::Status, MAX_REQUEST).unwrap();
    let mut deaf: Vec<UnixStream> = (0..8).map(|_| program.connect()).collect();
    for stream in &mut deaf {
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        while stream.write_all(&request).is_ok() {}
    }
    program.is_well();
    let start = Instant::now();
    for mut stream in deaf {
        // What was sent is there, and then it is over.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(start.elapsed() < 2 * SOON);

    let mut slow = Client::connect(&program.state()).unwrap();
    assert_eq!(slow.ask(&Request::Trace { which: Which::All, full: true }).unwrap(), Reply::Tracing);
    let mut phone = Phone::new("101", &program);
    for _ in 0..300 {
        phone.register();
    }
    program.is_well();
    let after = program.memory();
    assert!(after < before + 2_048, "{before} kB, and {after} kB with what waits");
    // What waited is read, and then how much was lost.
    slow.wait(Some(Duration::from_millis(300))).unwrap();
    let mut read = 0;
    while let Ok(reply) = slow.hear() {
        assert!(matches!(reply, Reply::Traced(_)), "{reply:?}");
        read += 1;
    }
    assert!((100..1_100).contains(&read), "{read} of 1,200 messages waited");
    phone.register();
    assert!(matches!(slow.hear(), Ok(Reply::Missed(lost)) if lost > 0 && lost < 1_200));
    assert!(matches!(slow.hear(), Ok(Reply::Traced(_))));
    drop(slow);
    program.is_well();
}

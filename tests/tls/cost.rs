//! What TLS costs the exchange.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use crate::client::Line;
use crate::folder::Folder;
use crate::program::Program;

/// How many handshakes, each of them a whole one.
const HANDSHAKES: u32 = 500;

/// The most processor time that each may take: 200 a second on one core.
const EACH: Duration = Duration::from_millis(5);

/// How many connections stand at once.
const CONNECTIONS: u64 = 400;

/// How many of them are from one address: as many as a stranger may have.
const FROM_ONE: u64 = 8;

/// The most memory that each may take, in bytes.
const MEMORY: u64 = 24 << 10;

#[test]
fn a_handshake_takes_little_time() {
    let program = Program::start(Folder::new(), "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let before = program.processor_time();
        for _ in 0..HANDSHAKES {
            Line::open_by(program.tls, version).unwrap();
        }
        let each = (program.processor_time() - before) / HANDSHAKES;
        println!("{:?}: {each:?} of processor time a handshake", version.version);
        assert!(each < EACH, "{each:?}");
    }
}

#[test]
fn an_idle_connection_takes_little_memory() {
    for (block, version) in [(12, &rustls::version::TLS12), (13, &rustls::version::TLS13)] {
        let program = Program::start(Folder::new(), "");
        let connect = |numbers: Range<u64>| {
            let open = |number: u64| {
                let from = Ipv4Addr::new(127, block, (number / FROM_ONE) as u8, 1);
                let mut line = Line::open_from(from, program.tls, version).unwrap();
                line.write(
                    b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKa\r\n\
                    From: <sip:a@127.0.0.1>;tag=a\r\nTo: <sip:127.0.0.1>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\
                    Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                );
                line.message();
                line
            };
            numbers.map(open).collect::<Vec<_>>()
        };
        // What is there once is not counted.
        let first = connect(0..80);
        let before = program.memory();
        let lines = connect(80..80 + CONNECTIONS);
        let each = program.memory().saturating_sub(before) / CONNECTIONS;
        println!("{:?}: {each} bytes a connection", version.version);
        assert!(each < MEMORY, "{each}");
        drop((first, lines));
    }
}

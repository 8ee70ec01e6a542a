//! A question that a serving exchange always answers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::DOMAIN;

const PATIENCE: Duration = Duration::from_secs(2);

/// Asks by UDP and takes the answer only from the address that was asked.
pub fn ask_by_udp(server: SocketAddr) -> Option<String> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(options("UDP", socket.local_addr().unwrap()).as_bytes()).unwrap();
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).ok()?;
    first_line(&buffer[..length])
}

/// Asks by TCP.
pub fn ask_by_tcp(server: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(options("TCP", stream.local_addr().unwrap()).as_bytes()).ok()?;
    let mut buffer = [0; 2048];
    let length = stream.read(&mut buffer).ok()?;
    first_line(&buffer[..length])
}

fn options(transport: &str, from: SocketAddr) -> String {
    format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {from};branch=z9hG4bKprobe{0};rport\r\n\
         From: <sip:probe@{DOMAIN}>;tag=probe\r\n\
         To: <sip:{DOMAIN}>\r\n\
         Call-ID: probe-{0}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\n\
         User-Agent: one whose question is longer than its answer, as nobody gets more than he sent\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK, SUBSCRIBE\r\n\
         Supported: replaces, timer, path, gruu, outbound\r\n\
         Content-Length: 0\r\n\r\n",
        from.port()
    )
}

fn first_line(answer: &[u8]) -> Option<String> {
    String::from_utf8_lossy(answer).lines().next().map(str::to_owned)
}

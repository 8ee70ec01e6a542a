//! One question to one server, and what comes back: by UDP, and by TCP where that is not enough.
//!
//! Each question has a number of its own and goes out by a fresh socket, whose port the kernel chooses at random;
//! connected, it takes datagrams from that server alone (RFC 5452). What else arrives is not believed.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};

use super::message::{self, Reply, Unfit};
use super::random::Random;
use super::record::Question;

/// The most octets of a datagram that are read: more than we say we take.
const MAX_DATAGRAM: usize = 4096;

/// How many datagrams may come that are no answer. Beyond that somebody is guessing, and TCP tells whom we talk to.
const MAX_STRANGE: usize = 16;

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoReply {
    /// Nothing comes in time.
    Silence,
    /// What comes cannot be read.
    Garbled,
    /// The way there is closed.
    Unreachable(io::ErrorKind),
}

/// How a question by UDP ended, if not with a reply.
enum Beyond {
    Tcp,
    No(NoReply),
}

/// Asks one server until then.
pub(super) async fn ask(
    server: SocketAddr,
    question: &Question,
    random: &Random,
    until: Instant,
) -> Result<Reply, NoReply> {
    // Who does not know EDNS says that he does not understand, and is asked without (RFC 6891 §7).
    match ask_with(server, question, random, until, true).await {
        Ok(Reply::Failed(1 | 4)) => ask_with(server, question, random, until, false).await,
        other => other,
    }
}

async fn ask_with(
    server: SocketAddr,
    question: &Question,
    random: &Random,
    until: Instant,
    edns: bool,
) -> Result<Reply, NoReply> {
    let id = random.draw() as u16;
    let message = message::ask(id, question, edns).ok_or(NoReply::Garbled)?;
    match by_udp(server, question, id, &message, until).await {
        Ok(reply) => Ok(reply),
        Err(Beyond::No(why)) => Err(why),
        Err(Beyond::Tcp) => {
            let id = random.draw() as u16;
            let message = message::ask(id, question, edns).ok_or(NoReply::Garbled)?;
            let late = async {
                Timer::at(until).await;
                Err(NoReply::Silence)
            };
            or(by_tcp(server, question, id, &message), late).await
        }
    }
}

async fn by_udp(
    server: SocketAddr,
    question: &Question,
    id: u16,
    message: &[u8],
    until: Instant,
) -> Result<Reply, Beyond> {
    let unreachable = |error: io::Error| Beyond::No(NoReply::Unreachable(error.kind()));
    let socket = connected(server).map_err(unreachable)?;
    socket.send(message).await.map_err(unreachable)?;
    let mut datagram = vec![0; MAX_DATAGRAM];
    let mut is_garbled = false;
    for _ in 0..MAX_STRANGE {
        let late = async {
            Timer::at(until).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let len = match or(socket.recv(&mut datagram), late).await {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Beyond::No(if is_garbled { NoReply::Garbled } else { NoReply::Silence }));
            }
            Err(error) => return Err(unreachable(error)),
        };
        match message::read(datagram.get(..len).unwrap_or_default(), id, question) {
            Ok(Reply::Truncated) => return Err(Beyond::Tcp),
            Ok(reply) => return Ok(reply),
            // The right one may come yet.
            Err(Unfit::Garbled) => is_garbled = true,
            Err(Unfit::Strange) => {}
        }
    }
    Err(Beyond::Tcp)
}

/// A socket that nobody else can send to. It is never bound, so nothing arrives before it is connected.
fn connected(server: SocketAddr) -> io::Result<Async<UdpSocket>> {
    let family = if server.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &server)?;
    Async::new_nonblocking(UdpSocket::from(socket))
}

/// RFC 7766: each message after its length, which is never more than 65,535 octets.
async fn by_tcp(server: SocketAddr, question: &Question, id: u16, message: &[u8]) -> Result<Reply, NoReply> {
    let exchange = async {
        let mut stream = Async::<TcpStream>::connect(server).await?;
        let length = (message.len() as u16).to_be_bytes();
        stream.write_all(&[&length, message].concat()).await?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).await?;
        // As much memory as comes, not as much as is announced.
        let length = u16::from_be_bytes(length);
        let mut answer = Vec::new();
        stream.take(length.into()).read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    match exchange.await {
        Ok(answer) => message::read(&answer, id, question).map_err(|_| NoReply::Garbled),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(NoReply::Garbled),
        Err(error) => Err(NoReply::Unreachable(error.kind())),
    }
}

//! Connections that want nothing but to be there: thousands in a second, from ever new addresses; then
//! each says what it has to say byte by byte (slow-loris).

use crate::flood::Random;
use crate::phones::DOMAIN;
use crate::sys;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How many connections the strangers hold at once: more than denwa lets stay.
const HELD: usize = 8192;
/// With what each of them begins: a header that does not end.
const BEGINNING: usize = 4096;

/// The strangers and their connections.
pub(crate) struct Storm {
    targets: Vec<SocketAddr>,
    held: VecDeque<OwnedFd>,
    random: Random,
    beginning: Vec<u8>,
    /// How many connections were begun.
    pub(crate) made: u64,
}

impl Storm {
    /// Strangers who connect to these addresses, in turn.
    pub(crate) fn new(targets: &[SocketAddr]) -> Storm {
        let mut beginning = format!("REGISTER sip:{DOMAIN} SIP/2.0\r\nTo: <sip:1000@{DOMAIN}>\r\nSubject: ");
        beginning.push_str(&"x".repeat(BEGINNING - beginning.len()));
        Storm {
            targets: targets.to_vec(),
            held: VecDeque::with_capacity(HELD + 1),
            random: Random(0x70c9),
            beginning: beginning.into_bytes(),
            made: 0,
        }
    }

    /// Begins a connection from a new address, in place of the oldest if there are too many.
    pub(crate) fn connect(&mut self) -> Result<(), String> {
        let to = self.targets[self.made as usize % self.targets.len()];
        self.made += 1;
        let socket = self.open(to).map_err(|e| format!("connecting to {to}: {e}"))?;
        self.held.push_back(socket);
        if self.held.len() > HELD {
            self.held.pop_front();
        }
        Ok(())
    }

    fn open(&mut self, to: SocketAddr) -> std::io::Result<OwnedFd> {
        let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sys::any_source(&socket, to.is_ipv6())?;
        // Nothing must be left of those that are closed: they are too many.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        rustix::net::bind(&socket, &SocketAddr::new(self.random.source(to.is_ipv6()), 0))?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(e) => Err(e.into()),
        }
    }

    /// How many connections are held, so that each can be told to speak.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Lets the next connection say a little more: at `first` the beginning, then one byte. A connection
    /// that the server has closed is replaced by a new one, which begins. Returns whether it was open.
    pub(crate) fn speak(&mut self, first: bool) -> Result<bool, String> {
        let Some(socket) = self.held.pop_front() else { return Ok(false) };
        let mut byte = [0; 1];
        // What it says to itself does not matter, but an end or a reset shows here.
        let open = matches!(
            rustix::net::recv(&socket, &mut byte, RecvFlags::DONTWAIT),
            Err(Errno::AGAIN | Errno::NOTCONN)
        );
        let words = if first { &self.beginning[..] } else { b"x" };
        let said = |socket: &OwnedFd, words: &[u8]| {
            let sent = rustix::net::send(socket, words, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            matches!(sent, Ok(_) | Err(Errno::AGAIN))
        };
        if open && said(&socket, words) {
            self.held.push_back(socket);
            return Ok(true);
        }
        drop(socket);
        self.connect()?;
        if let Some(socket) = self.held.back() {
            // If it is not there yet, its turn comes again.
            said(socket, &self.beginning);
        }
        Ok(false)
    }
}

/// What the kernel says of connections, by the names of /proc/net/snmp and /proc/net/netstat.
pub(crate) fn kernel_count(name: &str) -> u64 {
    for table in ["/proc/net/snmp", "/proc/net/netstat"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks(2) {
            let [names, values] = pair else { continue };
            let mut both = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
            if let Some((_, value)) = both.find(|(n, _)| *n == name) {
                return value.parse().unwrap_or(0);
            }
        }
    }
    0
}

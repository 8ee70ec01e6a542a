//! The least that a relay can cost: wait, receive, send to the one fixed peer. What denwa costs
//! above this is denwa's own.

use rustix::event::{Timespec, epoll};
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

/// The bench calls itself with this argument, an address and two ports; calls come on standard input, a line
/// with the two phones each.
pub(crate) const ARGUMENT: &str = "bare-loop";

/// Prints two ports for each call, then relays until it is stopped.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn std::error::Error>> {
    let mut argument = || arguments.next().ok_or("an argument is missing");
    let ip: IpAddr = argument()?.parse()?;
    let (first, last): (u16, u16) = (argument()?.parse()?, argument()?.parse()?);
    let waiter = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut ends: Vec<(UdpSocket, usize, SocketAddr)> = Vec::new();
    let mut ports = first..=last;
    let mut bind = || ports.find_map(|p| UdpSocket::bind(SocketAddr::new(ip, p)).ok()).ok_or("no free port");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (a, b) = line.split_once(' ').ok_or("a line without two addresses")?;
        let first = ends.len();
        ends.push((bind()?, first + 1, a.parse()?));
        ends.push((bind()?, first, b.parse()?));
        println!("{} {}", ends[first].0.local_addr()?, ends[first + 1].0.local_addr()?);
    }
    for (i, (socket, ..)) in ends.iter().enumerate() {
        socket.set_nonblocking(true)?;
        epoll::add(&waiter, socket.as_fd(), epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN)?;
    }
    let mut events = Vec::with_capacity(256);
    let mut buffer = [0; 2048];
    loop {
        epoll::wait(&waiter, rustix::buffer::spare_capacity(&mut events), None::<&Timespec>)?;
        for event in events.drain(..) {
            let (socket, other, _) = &ends[event.data.u64() as usize];
            if let Ok(n) = socket.recv(&mut buffer) {
                let (out, _, peer) = &ends[*other];
                // A full buffer loses a packet, as everywhere in UDP.
                let _ = out.send_to(&buffer[..n], peer);
            }
        }
    }
}

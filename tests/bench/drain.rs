//! The least that a packet can cost that is to be dropped: wait, receive, forget. What denwa costs
//! above this is its guard's.

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::sys::Inbox;

/// The bench calls itself with this argument and addresses to listen on.
pub(crate) const ARGUMENT: &str = "bare-drain";

/// Says when it listens, then receives until it is stopped.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn std::error::Error>> {
    let waiter = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut sockets = Vec::new();
    for argument in arguments {
        let address: SocketAddr = argument.parse()?;
        // As large as denwa's, and like denwa's it tells where each datagram was sent to.
        let socket = crate::sys::listening_socket(address)?;
        let data = epoll::EventData::new_u64(sockets.len() as u64);
        epoll::add(&waiter, socket.as_fd(), data, epoll::EventFlags::IN)?;
        sockets.push(socket);
    }
    println!("listening");
    let mut inbox = Inbox::default();
    let mut events = Vec::with_capacity(16);
    loop {
        match epoll::wait(&waiter, rustix::buffer::spare_capacity(&mut events), None::<&Timespec>) {
            // It was stopped for a moment.
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for event in events.drain(..) {
            let socket: &UdpSocket = &sockets[event.data.u64() as usize];
            inbox.receive(socket)?;
        }
    }
}

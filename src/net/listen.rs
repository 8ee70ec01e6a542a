//! What is listened on, and the tasks that do it, while that changes.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};

use smol::{Async, Task};

use super::Machine;
use super::hub::Hub;
use super::operators;
use super::udp::Udp;
use crate::config::Config;
use crate::handover::Sockets;

/// The sockets by their addresses, each with its task. When that is dropped, it does not run again.
pub(super) struct Listening<U, T, W> {
    udp: Vec<(SocketAddr, Task<()>)>,
    tcp: Vec<(SocketAddr, Task<()>)>,
    web: Vec<(SocketAddr, Task<()>)>,
    /// Starts to receive by the socket with this address.
    receive: U,
    /// Starts to accept.
    accept: T,
    /// The same where HTTP is spoken.
    accept_web: W,
}

/// Sockets that were not there before, and the addresses of all.
#[derive(Default)]
struct Opened {
    udp: Vec<Udp>,
    tcp: Vec<Async<TcpListener>>,
    web: Vec<Async<TcpListener>>,
    all_udp: Vec<SocketAddr>,
    all_tcp: Vec<SocketAddr>,
    all_web: Vec<SocketAddr>,
}

impl<U, T, W> Listening<U, T, W>
where
    U: Fn(SocketAddr) -> Task<()>,
    T: Fn(Async<TcpListener>) -> Task<()>,
    W: Fn(Async<TcpListener>) -> Task<()>,
{
    /// Nothing is listened on yet.
    pub(super) fn new(receive: U, accept: T, accept_web: W) -> Listening<U, T, W> {
        Listening { udp: Vec::new(), tcp: Vec::new(), web: Vec::new(), receive, accept, accept_web }
    }

    /// Starts on these sockets, before anything runs.
    ///
    /// # Errors
    ///
    /// The system has no room for them.
    pub(super) fn start<M: Machine>(
        &mut self,
        hub: &RefCell<Hub<'_, M>>,
        sockets: Sockets,
    ) -> io::Result<()> {
        let Opened { udp, tcp, web, .. } = self.open(sockets)?;
        let bound: Vec<SocketAddr> = udp.iter().map(Udp::bound).collect();
        hub.borrow_mut().udp = udp;
        self.spawn(hub, bound, tcp, web)
    }

    /// Goes over to these sockets, of which some may be those that are served already, and to another
    /// configuration. A connection goes on, wherever it came from.
    ///
    /// # Errors
    ///
    /// The system has no room for them; nothing has changed then.
    pub(super) fn reload<M: Machine>(
        &mut self,
        hub: &RefCell<Hub<'_, M>>,
        config: Box<Config>,
        sockets: Sockets,
    ) -> io::Result<()> {
        let Opened { udp, tcp, web, all_udp, all_tcp, all_web } = self.open(sockets)?;
        let bound: Vec<SocketAddr> = udp.iter().map(Udp::bound).collect();
        hub.borrow_mut().reload(config, udp, |at| all_udp.contains(&at));
        self.udp.retain(|(at, _)| all_udp.contains(at));
        self.tcp.retain(|(at, _)| all_tcp.contains(at));
        self.web.retain(|(at, _)| all_web.contains(at));
        self.spawn(hub, bound, tcp, web)
    }

    /// Prepares those sockets that are not served already. No two of a kind have one address, so that a second
    /// one with an address is the first one again.
    fn open(&self, sockets: Sockets) -> io::Result<Opened> {
        let mut opened = Opened::default();
        for socket in sockets.udp {
            let at = socket.local_addr()?;
            opened.all_udp.push(at);
            if self.udp.iter().all(|(served, _)| *served != at) {
                opened.udp.push(Udp::new(socket)?);
            }
        }
        for listener in sockets.tcp {
            let at = listener.local_addr()?;
            opened.all_tcp.push(at);
            if self.tcp.iter().all(|(served, _)| *served != at) {
                opened.tcp.push(Async::new(listener)?);
            }
        }
        for listener in sockets.web {
            let at = listener.local_addr()?;
            opened.all_web.push(at);
            if self.web.iter().all(|(served, _)| *served != at) {
                opened.web.push(Async::new(listener)?);
            }
        }
        Ok(opened)
    }

    fn spawn<M: Machine>(
        &mut self,
        hub: &RefCell<Hub<'_, M>>,
        udp: Vec<SocketAddr>,
        tcp: Vec<Async<TcpListener>>,
        web: Vec<Async<TcpListener>>,
    ) -> io::Result<()> {
        for bound in udp {
            self.udp.push((bound, (self.receive)(bound)));
        }
        for listener in tcp {
            self.tcp.push((listener.get_ref().local_addr()?, (self.accept)(listener)));
        }
        for listener in web {
            self.web.push((listener.get_ref().local_addr()?, (self.accept_web)(listener)));
        }
        let addresses = |list: &[(SocketAddr, Task<()>)]| list.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        let (udp, tcp) = (addresses(&self.udp), addresses(&self.tcp));
        hub.borrow_mut().operators.listening = operators::listening(udp.into_iter(), tcp.into_iter());
        Ok(())
    }
}

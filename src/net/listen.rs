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
use crate::switch::Transport;
use crate::tls::Material;

/// The sockets by their addresses, each with its task. When that is dropped, it does not run again.
pub(super) struct Listening<U, T, W> {
    udp: Vec<(SocketAddr, Task<()>)>,
    /// Those of streams, TCP or TLS.
    streams: Vec<((Transport, SocketAddr), Task<()>)>,
    /// Those of HTTP.
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
    streams: Vec<(Transport, Async<TcpListener>)>,
    web: Vec<Async<TcpListener>>,
    all_udp: Vec<SocketAddr>,
    all_streams: Vec<(Transport, SocketAddr)>,
    all_web: Vec<SocketAddr>,
}

impl<U, T, W> Listening<U, T, W>
where
    U: Fn(SocketAddr) -> Task<()>,
    T: Fn(Async<TcpListener>, Transport) -> Task<()>,
    W: Fn(Async<TcpListener>) -> Task<()>,
{
    /// Nothing is listened on yet.
    pub(super) fn new(receive: U, accept: T, accept_web: W) -> Listening<U, T, W> {
        Listening { udp: Vec::new(), streams: Vec::new(), web: Vec::new(), receive, accept, accept_web }
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
        let identity = sockets.identity.clone();
        let Opened { udp, streams, web, .. } = self.open(sockets)?;
        let bound: Vec<SocketAddr> = udp.iter().map(Udp::bound).collect();
        hub.borrow_mut().udp = udp;
        hub.borrow_mut().introduce(identity);
        self.spawn(hub, bound, streams, web)
    }

    /// Goes over to these sockets, of which some may be those that are served already, and to another
    /// configuration. A connection goes on, wherever it came from.
    ///
    /// # Errors
    ///
    /// The system has no room for them, or the certificate cannot be used; nothing has changed then.
    pub(super) fn reload<M: Machine>(
        &mut self,
        hub: &RefCell<Hub<'_, M>>,
        config: Box<Config>,
        material: Option<&Material>,
        sockets: Sockets,
    ) -> io::Result<()> {
        let identity = hub.borrow_mut().identity_for(&config, material)?;
        let Opened { udp, streams, web, all_udp, all_streams, all_web } = self.open(sockets)?;
        let bound: Vec<SocketAddr> = udp.iter().map(Udp::bound).collect();
        hub.borrow_mut().reload(config, udp, |at| all_udp.contains(&at));
        hub.borrow_mut().renew(identity);
        self.udp.retain(|(at, _)| all_udp.contains(at));
        self.streams.retain(|(at, _)| all_streams.contains(at));
        self.web.retain(|(at, _)| all_web.contains(at));
        self.spawn(hub, bound, streams, web)
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
        let tcp = sockets.tcp.into_iter().map(|listener| (Transport::Tcp, listener));
        let tls = sockets.tls.into_iter().map(|listener| (Transport::Tls, listener));
        for (transport, listener) in tcp.chain(tls) {
            let at = (transport, listener.local_addr()?);
            opened.all_streams.push(at);
            if self.streams.iter().all(|(served, _)| *served != at) {
                opened.streams.push((transport, Async::new(listener)?));
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
        streams: Vec<(Transport, Async<TcpListener>)>,
        web: Vec<Async<TcpListener>>,
    ) -> io::Result<()> {
        for bound in udp {
            self.udp.push((bound, (self.receive)(bound)));
        }
        for (transport, listener) in streams {
            let at = (transport, listener.get_ref().local_addr()?);
            self.streams.push((at, (self.accept)(listener, transport)));
        }
        for listener in web {
            self.web.push((listener.get_ref().local_addr()?, (self.accept_web)(listener)));
        }
        let udp = self.udp.iter().map(|(at, _)| (Transport::Udp, *at));
        let streams = self.streams.iter().map(|(at, _)| *at);
        hub.borrow_mut().operators.listening = operators::listening(udp.chain(streams));
        Ok(())
    }
}

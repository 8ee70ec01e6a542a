//! Serving connections: asking the machine whether it wants them, cutting what comes into messages,
//! and ending them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use smol::future::yield_now;
use smol::{Async, Timer};

use super::Machine;
use super::framer::{Broken, Frame};
use super::hub::Hub;
use super::session::{self, Session};
use super::stream::{Wake, prepare, reset};
use super::streams::{CONNECTIONS_MAX, TLS_MAX};
use super::trouble::Trouble;
use crate::switch::{Flow, Input, Instant, StreamId, Transport};

/// How much is read at a time.
pub(super) const READ_SIZE: usize = 16 << 10;

/// How long nothing is accepted when the system has no room for a connection.
const RESPITE: Duration = Duration::from_secs(1);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The other side closed it, or it broke.
    Theirs,
    /// We do not wait any longer.
    Ours,
}

impl<M: Machine> Hub<'_, M> {
    /// Takes a new connection in, if the machine wants it and there is room. Until then it has cost
    /// nothing but its descriptor.
    fn accept(&mut self, socket: TcpStream, remote: SocketAddr, transport: Transport) {
        // Otherwise the other side is gone already.
        let Ok(local) = socket.local_addr() else { return };
        let now = self.now();
        let stream = self.streams.ask();
        let flow = Flow { transport, local, remote, stream };
        self.handle(now, Input::Opened(flow));
        if !self.streams.is_welcome() {
            reset(socket);
        } else if !self.streams.has_room(transport) {
            reset(socket);
            self.handle(now, Input::Closed(stream));
            self.complain(now, Trouble::Full, || {
                format!(
                    "a connection was refused: {CONNECTIONS_MAX} are open, or {TLS_MAX} of TLS, the most there may be"
                )
            });
        } else if let Err(error) =
            self.session(transport).and_then(|session| self.streams.open(now, socket, flow, session))
        {
            self.handle(now, Input::Closed(stream));
            if is_exhaustion(&error) {
                self.exhausted(&error);
            }
        }
        self.flush(now);
    }

    /// Our side of TLS, if it is spoken on a new connection.
    fn session(&self, transport: Transport) -> io::Result<Option<Session>> {
        if transport != Transport::Tls {
            return Ok(None);
        }
        let identity = self.identity.as_ref().ok_or(io::ErrorKind::NotFound)?;
        identity.accept().map(Session::accepted).map(Some).map_err(io::Error::other)
    }

    /// The system has no room for a connection.
    fn exhausted(&mut self, error: &io::Error) {
        let now = self.now();
        self.complain(now, Trouble::Exhausted, || {
            format!("a connection cannot be accepted: {error}; raise the limit on open files")
        });
        self.flush(now);
    }

    /// Reads what came on a connection, and does all that comes of it.
    fn read(&mut self, id: StreamId, scratch: &mut [u8]) {
        let now = self.now();
        loop {
            let read = self.streams.read(now, id, scratch);
            // Before what it says.
            if let Some((flow, sha256)) =
                self.streams.get(id).and_then(|stream| Some((stream.flow, stream.take_proved()?)))
            {
                self.handle(now, Input::Certified { flow, sha256 });
            }
            if let Some(ticket) = self.streams.reached(id) {
                self.agreed(now, id, ticket);
            }
            match read {
                Some(Ok(count)) if count > 0 => {
                    self.feed(now, id, &scratch[..count]);
                    // The rest of what TLS has made out of what it has read.
                    if count == scratch.len() && self.streams.get(id).is_some_and(|stream| stream.is_tls()) {
                        continue;
                    }
                }
                Some(Err(session::Trouble::Io(error)))
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Some(Ok(_) | Err(session::Trouble::Io(_))) => self.end(now, id, Ending::Theirs),
                Some(Err(trouble)) => self.misunderstood(now, id, trouble),
                None => {}
            }
            break;
        }
        if self.streams.get(id).is_some_and(|stream| stream.is_tls()) {
            // What TLS has to say to that.
            self.streams.write(id);
            let holds = self.streams.get(id).is_some_and(|stream| stream.memory() > 0);
            if holds && self.streams.is_full_for(id) {
                self.end(now, id, Ending::Ours);
            }
        }
        self.flush(now);
    }

    /// Feeds what was read on a connection.
    fn feed(&mut self, now: Instant, id: StreamId, received: &[u8]) {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.is_open()) else { return };
        let flow = stream.flow;
        // Out of the hub, since the machine needs all of it; what it holds counts on meanwhile.
        let mut framer = mem::take(&mut stream.framer);
        let before = framer.memory();
        let mut is_whole = false;
        let result = framer.feed(received, |frame| {
            match frame {
                Frame::Message(bytes) => {
                    is_whole = true;
                    self.handle(now, Input::Packet { flow, bytes });
                }
                Frame::Ping => self.pong(id),
            }
            self.streams.get(id).is_some_and(|stream| stream.is_open())
        });
        let is_begun = framer.held() > 0;
        self.streams.put_back(id, before, framer);
        match result {
            Ok(()) => self.streams.heard(now, id, is_whole, is_begun),
            Err(protocol @ (Broken::Tls | Broken::Http)) => {
                self.foreign(now, protocol, flow);
                return self.end(now, id, Ending::Ours);
            }
            // Whatever was said about it is sent first.
            Err(_) => self.streams.close(now, id),
        }
        if is_begun && self.streams.is_full_for(id) {
            self.end(now, id, Ending::Ours);
        }
    }

    /// Answers a keep-alive (RFC 5626 §3.5.1). One of somebody with whom the machine has not spoken gets
    /// no answer: it would tell a stranger who lives here.
    fn pong(&mut self, id: StreamId) {
        if self.streams.get(id).is_some_and(|stream| stream.is_answered()) {
            self.streams.queue(id, b"\r\n".to_vec());
        }
    }

    /// Ends a connection with whose other side one cannot speak TLS, and tells people why.
    fn misunderstood(&mut self, now: Instant, id: StreamId, trouble: session::Trouble) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.ticket.is_some() {
            return self.disagreed(now, id, &trouble);
        }
        let (source, port) = (stream.flow.source(), stream.flow.local.port());
        let why = match trouble {
            session::Trouble::Tls(rustls::Error::InvalidMessage(_)) => format!(
                "{source} speaks something else than TLS to tls port {port}: if it is a phone of yours, choose TLS in \
                 it, or the port of the transport that it speaks"
            ),
            session::Trouble::Tls(rustls::Error::PeerIncompatible(why)) => format!(
                "{source} speaks no TLS that is safe ({why:?}): if it is a phone of yours that knows nothing newer than \
                 TLS 1.1, choose UDP or TCP in it"
            ),
            session::Trouble::Tls(rustls::Error::AlertReceived(alert)) => format!(
                "{source} ended TLS ({alert:?}): if it is a phone of yours, it does not trust the certificate; \
                 `denwa status` shows the fingerprint of one that denwa made"
            ),
            _ => return self.end(now, id, Ending::Ours),
        };
        self.complain(now, Trouble::Foreign, || why);
        self.end(now, id, Ending::Ours);
    }

    /// Tells people of somebody who does not speak SIP.
    fn foreign(&mut self, now: Instant, protocol: Broken, flow: Flow) {
        let (source, port) = (flow.source(), flow.local.port());
        self.complain(now, Trouble::Foreign, || match protocol {
            Broken::Tls => format!(
                "{source} speaks TLS to tcp port {port}, where SIP without TLS is spoken: if it is a phone of \
                 yours, choose TCP or UDP in it"
            ),
            _ => format!("{source} speaks HTTP to tcp port {port}, where SIP is spoken: there is no web page here"),
        });
    }

    /// Ends a connection that does not work any more.
    fn give_up(&mut self, id: StreamId) {
        let now = self.now();
        self.end(now, id, Ending::Ours);
        self.flush(now);
    }

    /// Ends the connections whose time is up.
    pub(super) fn cut_off(&mut self, now: Instant) {
        while let Some(id) = self.streams.overdue(now) {
            self.end(now, id, Ending::Ours);
        }
    }

    /// Forgets a connection, and tells the machine unless it was the machine that closed it.
    pub(super) fn end(&mut self, now: Instant, id: StreamId, ending: Ending) {
        let why = match ending {
            Ending::Theirs => "the other side has closed it before TLS was agreed upon",
            Ending::Ours => "it took too long, or broke",
        };
        self.give_up_reaching(now, id, why.into());
        if let Some(stream) = self.streams.remove(id) {
            let is_told = stream.is_dismissed;
            stream.end(ending == Ending::Ours);
            if !is_told {
                self.handle(now, Input::Closed(id));
            }
        }
    }
}

/// Accepts connections.
pub(super) async fn accept<M: Machine>(
    hub: &RefCell<Hub<'_, M>>,
    listener: Async<TcpListener>,
    transport: Transport,
) {
    // Where the system refuses, a dead connection is noticed later.
    let _ = prepare(listener.get_ref());
    loop {
        match listener.read_with(TcpListener::accept).await {
            Ok((socket, remote)) => hub.borrow_mut().accept(socket, remote, transport),
            Err(error) if is_exhaustion(&error) => {
                hub.borrow_mut().exhausted(&error);
                Timer::after(RESPITE).await;
            }
            // The other side was gone before we looked.
            Err(_) => {}
        }
        yield_now().await;
    }
}

/// Whether accepting fails because the system has no room, rather than because of one connection.
fn is_exhaustion(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Serves a connection until its end. All that it needs is in the hub: a task for each connection has
/// to be small.
pub(super) async fn serve<M: Machine>(hub: &RefCell<Hub<'_, M>>, scratch: &RefCell<Vec<u8>>, id: StreamId) {
    while let Some(wake) = poll_fn(|cx| hub.borrow_mut().streams.poll(id, cx)).await {
        let mut hub = hub.borrow_mut();
        match wake {
            Wake::Readable => hub.read(id, &mut scratch.borrow_mut()),
            Wake::Writable => hub.streams.write(id),
            Wake::Broken => hub.give_up(id),
        }
    }
}

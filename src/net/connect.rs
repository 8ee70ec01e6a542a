//! Connections that we open.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use smol::future::or;
use smol::{Async, Timer};

use super::Machine;
use super::hub::Hub;
use super::serve::Ending;
use super::session::{self, Session};
use super::stream::prepare;
use crate::switch::{Flow, Input, Instant, StreamId, Transport};

/// How long it may take until both sides can speak.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most that are under way at once. Beyond, one more fails.
const UNDER_WAY_MAX: usize = 32;

/// A connection that is wanted ([`crate::switch::Output::Connect`]).
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) ticket: u64,
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    pub(super) name: String,
    pub(super) pin: Option<[u8; 32]>,
}

/// Opens a connection, and tells the machine what came of it; by TLS, it is told when both sides have agreed upon how
/// to speak ([`Hub::agreed`]) or will not ([`Hub::disagreed`]).
pub(super) async fn connect<M: Machine>(hub: &RefCell<Hub<'_, M>>, wanted: Wanted) {
    if !hub.borrow_mut().set_out() {
        let why =
            format!("{UNDER_WAY_MAX} connections are being opened already, the most there may be at once");
        return hub.borrow_mut().fail(wanted.ticket, why);
    }
    let until = hub.borrow().now() + PATIENCE;
    let opened = or(Async::<TcpStream>::connect(wanted.remote), async {
        Timer::after(PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    });
    let opened = opened.await.and_then(Async::into_inner);
    hub.borrow_mut().opened(wanted, opened, until);
}

impl<M: Machine> Hub<'_, M> {
    /// Counts one more, if there may be.
    fn set_out(&mut self) -> bool {
        let is_free = self.under_way < UNDER_WAY_MAX;
        self.under_way += usize::from(is_free);
        is_free
    }

    fn fail(&mut self, ticket: u64, why: String) {
        let now = self.now();
        self.handle(now, Input::NotConnected { ticket, why });
        self.flush(now);
    }

    /// The other side has accepted a connection, or not.
    fn opened(&mut self, wanted: Wanted, socket: io::Result<TcpStream>, until: Instant) {
        let Wanted { ticket, transport, remote, name, pin } = wanted;
        let now = self.now();
        let taken = socket.map_err(|error| error.to_string()).and_then(|socket| {
            // Where the system refuses, a dead connection is noticed later.
            let _ = prepare(&socket);
            let local = socket.local_addr().map_err(|error| error.to_string())?;
            let session = match transport {
                Transport::Tls => {
                    // For a friend whose certificate we know. A provider that knows ours not might refuse it.
                    let ours = self.identity.as_deref().filter(|_| pin.is_some());
                    Some(Session::opened(self.client.connect(&name, pin, ours)?))
                }
                Transport::Tcp => None,
                Transport::Udp => return Err("UDP has no connections".into()),
            };
            let flow = Flow { transport, local, remote, stream: self.streams.number() };
            let ticket = session.is_some().then_some(ticket);
            self.streams.reach(socket, flow, session, ticket, until).map_err(|error| error.to_string())?;
            Ok(flow)
        });
        match taken {
            // Its greeting goes out, and the rest comes by reading.
            Ok(Flow { transport: Transport::Tls, stream, .. }) => self.streams.write(stream),
            Ok(flow) => {
                self.under_way -= 1;
                self.handle(now, Input::Connected { ticket, flow });
            }
            Err(why) => {
                self.under_way -= 1;
                self.handle(now, Input::NotConnected { ticket, why });
            }
        }
        self.flush(now);
    }

    /// Both sides have agreed upon how to speak on a connection that we have opened.
    pub(super) fn agreed(&mut self, now: Instant, id: StreamId, ticket: u64) {
        let Some(flow) = self.streams.get(id).map(|stream| stream.flow) else { return };
        self.under_way -= 1;
        self.handle(now, Input::Connected { ticket, flow });
    }

    /// The two sides of a connection that we have opened do not agree.
    pub(super) fn disagreed(&mut self, now: Instant, id: StreamId, trouble: &session::Trouble) {
        let why = match trouble {
            session::Trouble::Tls(error) => error.to_string(),
            session::Trouble::Io(error) => error.to_string(),
            session::Trouble::Barren => "it says too much before it says anything".into(),
        };
        self.give_up_reaching(now, id, why);
        self.end(now, id, Ending::Ours);
    }

    /// The machine is told why a connection that it has waited for does not come.
    pub(super) fn give_up_reaching(&mut self, now: Instant, id: StreamId, why: String) {
        if let Some(ticket) = self.streams.get(id).and_then(|stream| stream.ticket.take()) {
            self.under_way -= 1;
            self.handle(now, Input::NotConnected { ticket, why });
            if let Some(stream) = self.streams.get(id) {
                stream.is_dismissed = true;
            }
        }
    }
}

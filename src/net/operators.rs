//! Operators: commands that come by the socket in the state folder.
//!
//! Who may speak is root and whoever the exchange runs as; the socket's mode says that already. All the same
//! nothing that they do, or leave undone, holds up a call:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | connections | 16 | who has said nothing for the longest goes; who traces goes last |
//! | a request | 64 KiB, 5 s from the connection or the last reply | the connection is closed |
//! | a reply that is not read | 5 s | the connection is closed |

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use smol::future::{or, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};

use super::Machine;
use super::hub::Hub;
use crate::console::Tail;
use crate::console::control::{
    Facts, HEADER, Listening, MAX_REPLY, MAX_REQUEST, Reply, Request, StateFolder, Status, decode, encode,
    length,
};
use crate::switch::{Instant, Switch, Transport};

/// The most connections at a time.
const CONNECTIONS: usize = 16;

/// How long a request may take to come, and a reply to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many connections are accepted before those that are there get their turn.
const ACCEPTED: u32 = 8;

/// How long that turn is.
const TURN: Duration = Duration::from_millis(1);

/// How long nothing is accepted when the system has no room for a connection.
const RESPITE: Duration = Duration::from_secs(1);

/// How much is read of a request at a time, in bytes.
const READ_SIZE: usize = 4096;

/// What operators may know that the loop does not.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// What does not change.
    pub facts: Facts,
    /// The last lines of the log.
    pub log: Tail,
}

/// The operators' connections, and what they are told besides what the machine knows.
pub(super) struct Operators {
    desk: Desk,
    listening: Vec<Listening>,
    guests: Vec<Guest>,
    made: u64,
    /// Connections that have no task yet.
    pub(super) newcomers: Vec<(GuestId, UnixStream)>,
}

/// A connection's number.
pub(super) type GuestId = u64;

/// One connection.
struct Guest {
    id: GuestId,
    /// When it last asked something, or came.
    since: Instant,
    /// It has to make room.
    is_evicted: bool,
    waker: Option<Waker>,
}

impl Operators {
    /// Nobody yet. `listening` is where SIP is spoken.
    pub(super) fn new(desk: Desk, listening: Vec<Listening>) -> Operators {
        Operators { desk, listening, guests: Vec::new(), made: 0, newcomers: Vec::new() }
    }

    /// A connection came; if there are too many, the one that has been silent for the longest has to go.
    fn enter(&mut self, now: Instant, socket: UnixStream) {
        let staying = self.guests.iter().filter(|guest| !guest.is_evicted).count();
        let oldest = self.guests.iter_mut().filter(|guest| !guest.is_evicted).min_by_key(|guest| guest.since);
        if let Some(oldest) = oldest.filter(|_| staying >= CONNECTIONS) {
            oldest.is_evicted = true;
            if let Some(waker) = oldest.waker.take() {
                waker.wake();
            }
        }
        self.made += 1;
        self.guests.push(Guest { id: self.made, since: now, is_evicted: false, waker: None });
        self.newcomers.push((self.made, socket));
    }

    fn guest(&mut self, id: GuestId) -> Option<&mut Guest> {
        self.guests.iter_mut().find(|guest| guest.id == id)
    }

    fn leave(&mut self, id: GuestId) {
        self.guests.retain(|guest| guest.id != id);
    }
}

impl<M: Machine> Hub<'_, M> {
    /// Takes a connection in, if it is from somebody who may command.
    fn enter(&mut self, socket: UnixStream) {
        let is_allowed =
            socket_peercred(&socket).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid());
        if is_allowed {
            let now = self.now();
            self.operators.enter(now, socket);
        }
    }

    /// Answers one request.
    fn answer(&mut self, request: Request) -> Reply {
        let Some(switch) = self.machine.exchange() else {
            return Reply::Refused("this is no exchange".into());
        };
        match request {
            Request::Status => Reply::Status(Box::new(self.status(switch))),
            Request::Phones { after } => {
                let (phones, next) = switch.phones(after.as_deref());
                Reply::Phones { phones, next }
            }
            Request::Calls { after } => {
                let (calls, next) = switch.live_calls(after);
                Reply::Calls { calls, next }
            }
        }
    }

    fn status(&self, switch: &Switch) -> Status {
        let config = switch.config();
        Status {
            facts: self.operators.desk.facts.clone(),
            now_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            domain: config.domain.clone(),
            listening: self.operators.listening.clone(),
            advertise: config.advertise.clone(),
            media_ports: (config.media_ports.first, config.media_ports.last),
            state: match (self.is_recording(), self.is_unwritable) {
                (false, _) => StateFolder::Missing,
                (true, true) => StateFolder::Unwritable,
                (true, false) => StateFolder::Written,
            },
            counts: switch.counts(),
            remarks: config.remarks(),
        }
    }
}

/// Where SIP is spoken, for people: what sockets are bound to.
pub(super) fn listening(
    udp: impl Iterator<Item = SocketAddr>,
    tcp: impl Iterator<Item = SocketAddr>,
) -> Vec<Listening> {
    let named = |transport: Transport| move |address| Listening { transport: transport.to_string(), address };
    udp.map(named(Transport::Udp)).chain(tcp.map(named(Transport::Tcp))).collect()
}

/// Accepts connections of operators.
pub(super) async fn accept<M: Machine>(hub: &RefCell<Hub<'_, M>>, listener: Async<UnixListener>) {
    let mut accepted = 0;
    loop {
        match listener.read_with(UnixListener::accept).await {
            Ok((socket, _)) => {
                hub.borrow_mut().enter(socket);
                accepted += 1;
                match accepted % ACCEPTED {
                    0 => drop(Timer::after(TURN).await),
                    _ => yield_now().await,
                }
            }
            Err(_) => drop(Timer::after(RESPITE).await),
        }
    }
}

/// Serves a connection until its end.
pub(super) async fn serve<M: Machine>(hub: &RefCell<Hub<'_, M>>, id: GuestId, socket: UnixStream) {
    if let Ok(mut socket) = Async::new(socket) {
        let evicted = poll_fn(|cx| match hub.borrow_mut().operators.guest(id) {
            Some(guest) if !guest.is_evicted => {
                guest.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        });
        let talk = async {
            // However it ends: whoever is there asks again.
            let _ = talk(hub, id, &mut socket).await;
        };
        or(evicted, talk).await;
    }
    hub.borrow_mut().operators.leave(id);
}

/// Answers until the other side closes, or does something that it should not.
async fn talk<M: Machine>(
    hub: &RefCell<Hub<'_, M>>,
    id: GuestId,
    socket: &mut Async<UnixStream>,
) -> io::Result<()> {
    loop {
        let frame = within(PATIENCE, receive(socket)).await?;
        let reply = match decode(&frame) {
            Ok(request) => hub.borrow_mut().answer(request),
            Err(error) => return Err(io::Error::other(error)),
        };
        let reply = encode(&reply, MAX_REPLY).map_err(io::Error::other)?;
        within(PATIENCE, socket.write_all(&reply)).await?;
        let now = hub.borrow().now();
        if let Some(guest) = hub.borrow_mut().operators.guest(id) {
            guest.since = now;
        }
    }
}

/// Reads a frame, and takes no more memory than what has come of it.
async fn receive(socket: &mut Async<UnixStream>) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    socket.read_exact(&mut header).await?;
    let length = length(header, MAX_REQUEST).map_err(io::Error::other)?;
    let mut frame = Vec::new();
    let mut piece = [0; READ_SIZE];
    while frame.len() < length {
        let most = (length - frame.len()).min(READ_SIZE);
        match socket.read(piece.get_mut(..most).unwrap_or_default()).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => frame.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok(frame)
}

/// Does something, or fails when it takes too long.
async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    or(work, async {
        Timer::after(time).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

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
//! | traced messages that wait to be read | 256 KiB | more are counted, and told as a number |

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dns::Resolver;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use smol::channel::Receiver;
use smol::future::{or, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};

use super::Machine;
use super::hub::Hub;
use super::measuring::measured;
use crate::cloud::News;
use crate::console::control::{
    EndedCall, Facts, HEADER, Listening, MAX_REPLY, MAX_REQUEST, Reply, Request, StateFolder, Status, Which,
    decode, encode, length,
};
use crate::console::{Tail, own_addresses};
use crate::guard::{MAX_EDICTS, Prefix};
use crate::media::{Measured, Side};
use crate::switch::view::{BanView, MeasuredView, Whose};
use crate::switch::{Input, Instant, Operation, Switch, Transport};

/// The most connections at a time.
const CONNECTIONS: usize = 16;

/// How long a request may take to come, and a reply to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long somebody who traces may read nothing: the terminal may be held (Ctrl-S).
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The longest ban, in seconds: a year.
const MAX_BAN: u64 = 366 * 86_400;

/// How many connections are accepted before those that are there get their turn.
const ACCEPTED: u32 = 8;

/// How long that turn is.
const TURN: Duration = Duration::from_millis(1);

/// How long nothing is accepted when the system has no room for a connection.
const RESPITE: Duration = Duration::from_secs(1);

/// How much is read of a request at a time, in bytes.
const READ_SIZE: usize = 4096;

/// What operators may know that the loop does not, and what the loop hears besides packets.
#[derive(Default)]
pub struct Desk {
    /// What does not change.
    pub facts: Facts,
    /// The last lines of the log.
    pub log: Tail,
    /// What the cloud says of this machine.
    pub cloud: Option<Receiver<News>>,
    /// Who looks up the hosts of other exchanges; without it, none is found that has a name.
    pub resolver: Option<Resolver>,
}

/// The operators' connections, and what they are told besides what the machine knows.
pub(super) struct Operators {
    desk: Desk,
    /// Where SIP is spoken.
    pub(super) listening: Vec<Listening>,
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
    /// It is shown messages, and asks nothing more.
    is_tracing: bool,
    /// It has to make room.
    is_evicted: bool,
    waker: Option<Waker>,
}

impl Operators {
    /// Nobody yet.
    pub(super) fn new(desk: Desk) -> Operators {
        Operators { desk, listening: Vec::new(), guests: Vec::new(), made: 0, newcomers: Vec::new() }
    }

    /// A connection came; if there are too many, the one that has been silent for the longest has to go.
    fn enter(&mut self, now: Instant, socket: UnixStream) {
        let staying = self.guests.iter().filter(|guest| !guest.is_evicted).count();
        let staying_guests = self.guests.iter_mut().filter(|guest| !guest.is_evicted);
        let oldest = staying_guests.min_by_key(|guest| (guest.is_tracing, guest.since));
        if let Some(oldest) = oldest.filter(|_| staying >= CONNECTIONS) {
            oldest.is_evicted = true;
            if let Some(waker) = oldest.waker.take() {
                waker.wake();
            }
        }
        self.made += 1;
        let (is_tracing, is_evicted, waker) = (false, false, None);
        self.guests.push(Guest { id: self.made, since: now, is_tracing, is_evicted, waker });
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
    fn answer(&mut self, id: GuestId, request: Request) -> Reply {
        // What is told of times is of now, not of when something happened last.
        let now = self.now();
        self.handle(now, Input::Tick);
        self.flush(now);
        let Some(switch) = self.machine.exchange() else {
            return Reply::Refused("this is no exchange".into());
        };
        match request {
            Request::Status => Reply::Status(Box::new(self.status(switch))),
            Request::Phones { after } => {
                let (phones, next) = switch.phones(after.as_deref());
                Reply::Phones { phones, next }
            }
            Request::Calls { after } => self.calls(after, &[]),
            Request::Log => Reply::Log(self.operators.desk.log.lines()),
            Request::Why { whom } => Reply::Why(switch.why(whom.as_deref())),
            Request::Bans => Reply::Bans(switch.bans()),
            Request::Neighbours => Reply::Neighbours(switch.neighbours()),
            Request::HangUp(which) => match whose(switch, which) {
                Ok(whose) => {
                    let ended = switch.calls_of(&whose);
                    self.operate(Operation::End(ended.iter().map(|ended| ended.call).collect()));
                    Reply::Ended(ended.into_iter().map(EndedCall::from).collect())
                }
                Err(why) => Reply::Refused(why),
            },
            Request::Ban { address, seconds } => {
                self.operate(Operation::Ban(address, Duration::from_secs(seconds.min(MAX_BAN))));
                let source = Prefix::of(address).to_string();
                let is_banned = self.machine.exchange().is_some_and(|switch| {
                    switch.bans().iter().any(|ban| ban.source == source && ban.wrong_passwords.is_none())
                });
                match is_banned {
                    true => Reply::Sources(vec![source]),
                    false => Reply::Refused(format!(
                        "{MAX_EDICTS} sources are banned already, the most there may be; `denwa unban` one of them"
                    )),
                }
            }
            Request::Unban(address) => {
                let of_address = |ban: &BanView| {
                    address.is_none_or(|address| ban.source == Prefix::of(address).to_string())
                };
                let mut banned: Vec<String> =
                    switch.bans().into_iter().filter(of_address).map(|ban| ban.source).collect();
                banned.dedup();
                self.operate(Operation::Unban(address));
                Reply::Sources(banned)
            }
            Request::Trace { which, full } => {
                let begun = whose(switch, which).and_then(|whose| self.begin_trace(id, whose, full));
                match begun {
                    Ok(()) => {
                        if let Some(guest) = self.operators.guest(id) {
                            guest.is_tracing = true;
                        }
                        Reply::Tracing
                    }
                    Err(why) => Reply::Refused(why),
                }
            }
        }
    }

    /// Has the exchange do something.
    fn operate(&mut self, operation: Operation) {
        let now = self.now();
        self.handle(now, Input::Operator(operation));
        self.flush(now);
    }

    /// Has each message told, or not, as long as somebody wants it.
    pub(super) fn trace_as_wanted(&mut self) {
        self.operate(Operation::Trace(!self.tracers.is_empty()));
    }

    /// Who talks to whom, and how well, as far as it was measured.
    fn calls(&self, after: u64, measured: &[Measured]) -> Reply {
        let Some(switch) = self.machine.exchange() else {
            return Reply::Refused("this is no exchange".into());
        };
        let (mut calls, next) = switch.live_calls(after);
        let by_end = |measured: &Measured| (measured.session.0, measured.stream, measured.side == Side::A);
        let measured: HashMap<_, _> = measured.iter().map(|measured| (by_end(measured), measured)).collect();
        for call in &mut calls {
            for (at, leg) in call.legs.iter_mut().enumerate() {
                for stream in &mut leg.streams {
                    let found = measured.get(&(call.call, stream.line, at == 0));
                    stream.measured = found.map(|measured| MeasuredView::from(*measured));
                }
            }
        }
        Reply::Calls { calls, next }
    }

    fn status(&self, switch: &Switch) -> Status {
        let config = switch.config();
        Status {
            facts: self.operators.desk.facts.clone(),
            now_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            domain: config.domain.clone(),
            listening: self.operators.listening.clone(),
            addresses: own_addresses(),
            advertise: config.advertise.clone(),
            media_ports: (config.media_ports.first, config.media_ports.last),
            state: match (self.is_recording(), self.is_unwritable) {
                (false, _) => StateFolder::Missing,
                (true, true) => StateFolder::Unwritable,
                (true, false) => StateFolder::Written,
            },
            counts: switch.counts(),
            neighbours: switch.neighbours(),
            refused: switch.refused_lately(),
            banned: switch.bans().len() as u64,
            tls: self.certificate(),
            stopping_s: switch.stops_in().map(|left| left.as_secs()),
            remarks: config.remarks(),
        }
    }
}

/// Where SIP is spoken, for people: what sockets are bound to.
pub(super) fn listening(places: impl Iterator<Item = (Transport, SocketAddr)>) -> Vec<Listening> {
    places.map(|(transport, address)| Listening { transport: transport.to_string(), address }).collect()
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
    hub.borrow_mut().end_trace(id);
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
            Ok(Request::Calls { after }) => {
                let measured = within(PATIENCE, async { Ok(measured(hub).await) }).await?;
                hub.borrow_mut().calls(after, &measured)
            }
            Ok(request) => hub.borrow_mut().answer(id, request),
            Err(error) => return Err(io::Error::other(error)),
        };
        let is_trace = reply == Reply::Tracing;
        let reply = encode(&reply, MAX_REPLY).map_err(io::Error::other)?;
        within(PATIENCE, socket.write_all(&reply)).await?;
        if is_trace {
            return trace(hub, id, socket).await;
        }
        let now = hub.borrow().now();
        if let Some(guest) = hub.borrow_mut().operators.guest(id) {
            guest.since = now;
        }
    }
}

/// Sends messages as they come and go, until the other side closes, or does not read for so long that it must
/// have been forgotten.
async fn trace<M: Machine>(
    hub: &RefCell<Hub<'_, M>>,
    id: GuestId,
    socket: &mut Async<UnixStream>,
) -> io::Result<()> {
    let (mut reading, mut writing) = smol::io::split(socket);
    let left = async {
        // Nothing that it says now means anything but that it goes on.
        while reading.read(&mut [0; 64]).await? > 0 {}
        Ok(())
    };
    let told = async {
        while let Some(frame) = super::trace::next(hub, id).await {
            within(FORGOTTEN, writing.write_all(&frame)).await?;
        }
        Ok(())
    };
    or(left, told).await
}

/// Whose calls or messages are meant.
///
/// # Errors
///
/// A name that is neither a number of ours nor a call's.
fn whose(switch: &Switch, which: Which) -> Result<Whose, String> {
    let config = switch.config();
    match which {
        Which::All => Ok(Whose::Everybody),
        Which::Call(call) => Ok(Whose::Call(call)),
        Which::Named(name) => {
            let is_ours = config.extensions.contains_key(name.as_str())
                || config.groups.contains_key(name.as_str())
                || config.echo.as_ref().is_some_and(|echo| echo.as_str() == name);
            match name.parse() {
                _ if is_ours => Ok(Whose::Extension(name)),
                Ok(call) => Ok(Whose::Call(call)),
                Err(_) => Err(format!("{name} is neither a number of this exchange nor a call")),
            }
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

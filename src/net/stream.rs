//! Connections: accepting them, cutting them into messages, writing what there is to say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use smol::future::yield_now;
use smol::{Async, Timer};

use super::Machine;
use super::framer::{Frame, Framer};
use super::hub::{Hub, Trouble};
use crate::switch::{Flow, Input, StreamId, Transport};

/// The most connections at a time. When there are as many, a new one is closed at once: those
/// that are open belong to phones that are registered, or soon lose our patience.
pub const CONNECTIONS_MAX: usize = 4096;

/// How long a connection may take to begin its first message, and each message to be complete.
/// Between messages it may be silent for as long as TCP keep-alive finds the other side.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection that we close may take to read our last words, and close as well.
const FAREWELL: Duration = Duration::from_secs(2);

/// The most bytes that wait to be taken by the other side.
const UNSENT_MAX: usize = 256 << 10;

/// The most bytes that all connections hold, unfinished or unsent.
const HELD_MAX: usize = 8 << 20;

/// How much is read at a time.
pub(super) const READ_SIZE: usize = 16 << 10;

/// After how much silence TCP asks whether the other side is there, how long it then waits for
/// an answer, and how often it asks. Often enough that no NAT in between forgets the connection.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// How long the other side may leave what we sent unacknowledged, in milliseconds: as long as it
/// may leave keep-alives unanswered, which are not sent meanwhile.
const UNACKNOWLEDGED_MAX: u32 = 60_000;

/// How long nothing is accepted when the system has no room for a connection.
const RESPITE: Duration = Duration::from_secs(1);

/// One connection, as the hub sees it.
pub(super) struct Stream {
    socket: Rc<Async<TcpStream>>,
    flow: Flow,
    unsent: Vec<u8>,
    state: State,
    /// Whether the time that it may take to close is running.
    hurried: bool,
    /// Whether it was the machine that closed it, and so need not be told.
    dismissed: bool,
    /// Wakes the connection's task.
    waker: Option<Waker>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Both sides speak.
    Open,
    /// We say no more than what is unsent, and do not listen.
    Closing,
    /// We have said all, and wait for the other side to close.
    Silent,
    /// It does not work any more.
    Broken,
}

impl Stream {
    /// Queues bytes; returns how many there are more. Whoever reads too slowly is cut off.
    fn queue(&mut self, bytes: Vec<u8>, held: usize) -> usize {
        let count = bytes.len();
        if self.state != State::Open {
            return 0;
        }
        if self.unsent.len() + count > UNSENT_MAX || held + count > HELD_MAX {
            self.change(State::Broken);
            return 0;
        }
        match self.unsent.is_empty() {
            true => self.unsent = bytes,
            false => self.unsent.extend_from_slice(&bytes),
        }
        count
    }

    /// Whether something is queued that the other side has not taken.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self.state, State::Open | State::Closing) && !self.unsent.is_empty()
    }

    /// Writes what the other side takes now; returns how many bytes that was.
    fn flush(&mut self) -> usize {
        let before = self.unsent.len();
        while self.is_unsent() {
            match self.socket.get_ref().write(&self.unsent) {
                Ok(count) if count == self.unsent.len() => self.unsent = Vec::new(),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake();
                    break;
                }
                Err(_) => self.change(State::Broken),
            }
        }
        if self.state == State::Closing && self.unsent.is_empty() {
            match self.socket.get_ref().shutdown(Shutdown::Write) {
                Ok(()) => self.change(State::Silent),
                Err(_) => self.change(State::Broken),
            }
        }
        before - self.unsent.len()
    }

    /// Says no more than what is unsent.
    fn close(&mut self) {
        if self.state == State::Open {
            self.change(State::Closing);
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A connection that was accepted and wants a task ([`serve`]).
pub(super) struct Newcomer {
    id: StreamId,
    socket: Rc<Async<TcpStream>>,
}

/// All connections.
#[derive(Default)]
pub(super) struct Streams {
    open: HashMap<StreamId, Stream>,
    /// How many there have been.
    count: u64,
    /// How many bytes all of them hold, unfinished or unsent.
    held: usize,
    /// Those with something new to send.
    dirty: Vec<StreamId>,
    /// Those that want a task.
    pub(super) newcomers: Vec<Newcomer>,
}

impl Streams {
    /// Queues bytes on a connection. Bytes for one that is gone are dropped: whoever sends is
    /// told of its end as well.
    pub(super) fn queue(&mut self, id: StreamId, bytes: Vec<u8>) {
        if let Some(stream) = self.open.get_mut(&id) {
            self.held += stream.queue(bytes, self.held);
            self.dirty.push(id);
        }
    }

    /// Closes a connection on the machine's behalf as soon as what is queued on it is sent.
    pub(super) fn dismiss(&mut self, id: StreamId) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.dismissed = true;
        }
        self.close(id);
    }

    /// Closes a connection as soon as what is queued on it is sent.
    fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.close();
            self.dirty.push(id);
        }
    }

    /// Writes what was queued since the last time.
    pub(super) fn flush(&mut self) {
        while let Some(id) = self.dirty.pop() {
            self.write(id);
        }
    }

    /// Writes what is unsent on a connection, as far as the other side takes it.
    fn write(&mut self, id: StreamId) {
        if let Some(stream) = self.open.get_mut(&id) {
            self.held -= stream.flush();
        }
    }

    /// Whether something is queued that was not taken.
    pub(super) fn is_unsent(&self) -> bool {
        self.open.values().any(Stream::is_unsent)
    }

    /// Takes a connection in.
    fn open(&mut self, socket: TcpStream) -> io::Result<()> {
        let flow = Flow {
            transport: Transport::Tcp,
            local: socket.local_addr()?,
            remote: socket.peer_addr()?,
            stream: StreamId(self.count + 1),
        };
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        let (idle, interval, count) = KEEP_ALIVE;
        sockopt::set_tcp_keepidle(&socket, idle)?;
        sockopt::set_tcp_keepintvl(&socket, interval)?;
        sockopt::set_tcp_keepcnt(&socket, count)?;
        sockopt::set_tcp_user_timeout(&socket, UNACKNOWLEDGED_MAX)?;
        let socket = Rc::new(Async::new(socket)?);

        self.count += 1;
        let id = flow.stream;
        let stream = Stream {
            socket: socket.clone(),
            flow,
            unsent: Vec::new(),
            state: State::Open,
            hurried: false,
            dismissed: false,
            waker: None,
        };
        self.open.insert(id, stream);
        self.newcomers.push(Newcomer { id, socket });
        Ok(())
    }

    /// Waits for something to do about a connection.
    fn wait(
        &mut self,
        id: StreamId,
        socket: &Async<TcpStream>,
        timer: &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<Wake> {
        let Some(stream) = self.open.get_mut(&id) else {
            return Poll::Ready(Wake::Ended);
        };
        match stream.state {
            State::Open => {}
            State::Closing | State::Silent if stream.hurried => {}
            State::Closing | State::Silent => {
                stream.hurried = true;
                timer.set_after(FAREWELL);
            }
            State::Broken => return Poll::Ready(Wake::Ended),
        }
        if Pin::new(timer).poll(cx).is_ready() {
            return Poll::Ready(Wake::Ended);
        }
        if stream.is_unsent() && socket.poll_writable(cx).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if socket.poll_readable(cx).is_ready() {
            return Poll::Ready(Wake::Readable);
        }
        stream.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<M: Machine> Hub<'_, M> {
    /// Takes a new connection in, if there is room.
    fn accept(&mut self, socket: TcpStream) {
        if self.streams.open.len() >= CONNECTIONS_MAX {
            self.complain(Trouble::Full, || {
                format!("a connection was refused: {CONNECTIONS_MAX} are open, the most there may be")
            });
        } else if let Err(error) = self.streams.open(socket)
            // Otherwise the other side is gone already.
            && is_exhaustion(&error)
        {
            self.exhausted(&error);
        }
        self.flush();
    }

    /// Tells people that the system has no room for a connection.
    fn exhausted(&mut self, error: &io::Error) {
        self.complain(Trouble::Exhausted, || {
            format!("a connection cannot be accepted: {error}; raise the limit on open files")
        });
        self.flush();
    }

    /// Reads what came on a connection, and does all that comes of it.
    fn read(
        &mut self,
        id: StreamId,
        socket: &Async<TcpStream>,
        framer: &mut Framer,
        scratch: &mut [u8],
    ) -> Progress {
        let count = match socket.get_ref().read(scratch) {
            Ok(0) => return Progress::Ended,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Progress::None;
            }
            Err(_) => return Progress::Ended,
        };
        let Some(stream) = self.streams.open.get(&id) else {
            return Progress::Ended;
        };
        if stream.state != State::Open {
            return Progress::None;
        }

        let flow = stream.flow;
        let now = self.now();
        let before = framer.held();
        let mut complete = false;
        let whole = framer.feed(&scratch[..count], |frame| {
            match frame {
                Frame::Message(bytes) => {
                    complete = true;
                    self.handle(now, Input::Packet { flow, bytes });
                }
                Frame::Ping => self.streams.queue(id, b"\r\n".to_vec()),
            }
            self.streams.open.get(&id).is_some_and(|stream| stream.state == State::Open)
        });
        let held = framer.held();
        self.streams.held = self.streams.held - before + held;
        if whole.is_err() {
            self.streams.close(id);
            complete = false;
        }
        let full = held > before && self.streams.held > HELD_MAX;
        self.flush();

        match (complete, before, held) {
            _ if full => Progress::Ended,
            (true, _, 0) => Progress::Idle,
            (true, _, _) | (false, 0, 1..) => Progress::Begun,
            _ => Progress::None,
        }
    }

    /// Forgets a connection, of whose framer this much is held, and tells the machine.
    fn end(&mut self, id: StreamId, held: usize) {
        self.streams.held -= held;
        if let Some(stream) = self.streams.open.remove(&id) {
            self.streams.held -= stream.unsent.len();
            if !stream.dismissed {
                self.handle(self.now(), Input::Closed(id));
            }
            self.flush();
        }
    }
}

/// Accepts connections.
pub(super) async fn accept<M: Machine>(hub: &RefCell<Hub<'_, M>>, listener: Async<TcpListener>) {
    loop {
        match listener.read_with(TcpListener::accept).await {
            Ok((socket, _)) => hub.borrow_mut().accept(socket),
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

/// Serves a connection until its end.
pub(super) async fn serve<M: Machine>(
    hub: &RefCell<Hub<'_, M>>,
    scratch: &RefCell<Vec<u8>>,
    newcomer: Newcomer,
) {
    let Newcomer { id, socket } = newcomer;
    let mut framer = Framer::default();
    let mut timer = Timer::after(PATIENCE);
    loop {
        match poll_fn(|cx| hub.borrow_mut().streams.wait(id, &socket, &mut timer, cx)).await {
            Wake::Readable => {
                match hub.borrow_mut().read(id, &socket, &mut framer, &mut scratch.borrow_mut()) {
                    Progress::None => {}
                    Progress::Begun => timer.set_after(PATIENCE),
                    Progress::Idle => timer = Timer::never(),
                    Progress::Ended => break,
                }
            }
            Wake::Writable => hub.borrow_mut().streams.write(id),
            Wake::Ended => break,
        }
    }
    hub.borrow_mut().end(id, framer.held());
}

/// What a connection's task wakes up for.
enum Wake {
    /// There may be something to read.
    Readable,
    /// There may be room to write.
    Writable,
    /// It is broken, or out of time.
    Ended,
}

/// How reading changes what is expected next.
enum Progress {
    /// Not at all.
    None,
    /// A message has begun.
    Begun,
    /// Messages are complete; the next may take its time.
    Idle,
    /// Nothing: the connection is over.
    Ended,
}

//! One connection: what is to be written on it, what was read of a message, and how far it is.
//!
//! A stranger's connection is meant to cost little: about a kilobyte, and nothing for buffers while no
//! message has begun and all is written.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::net::sockopt;
use smol::Async;

use super::framer::Framer;
use super::session::{Session, Trouble};
use crate::handover::Standing;
use crate::switch::{Flow, Instant};

/// The most bytes that wait to be taken by the other side.
const UNSENT_MAX: usize = 256 << 10;

/// After how much silence TCP asks whether the other side is there, how long it then waits for
/// an answer, and how often it asks. Often enough that no NAT in between forgets the connection.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// How long the other side may leave what we sent unacknowledged, in milliseconds: as long as it
/// may leave keep-alives unanswered, which are not sent meanwhile.
const UNACKNOWLEDGED_MAX: u32 = 60_000;

/// Makes a connection what we want it to be, or a listener's connections. They inherit it (tcp(7)), so that those
/// which are refused cost no system call for it.
pub(super) fn prepare(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    let (idle, interval, count) = KEEP_ALIVE;
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_keepintvl(socket, interval)?;
    sockopt::set_tcp_keepcnt(socket, count)?;
    sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MAX)?;
    Ok(())
}

/// Closes a connection with a reset instead of a farewell, and drops what the other side has not
/// taken. Whoever closes first otherwise keeps the port pair in TIME_WAIT for a minute, and tries for
/// longer still to reach a side that is gone: with strangers that is for them to pay, not for us.
pub(super) fn reset(socket: TcpStream) {
    // If it fails, the connection ends in the other way.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
}

/// One connection.
pub(super) struct Stream {
    socket: Async<TcpStream>,
    /// TLS, where it is spoken.
    session: Option<Box<Session>>,
    pub(super) flow: Flow,
    pub(super) framer: Framer,
    unsent: Vec<u8>,
    state: State,
    /// Until when something has to happen.
    pub(super) deadline: Option<Instant>,
    /// Whether something came.
    pub(super) is_heard: bool,
    /// Whether we said something.
    is_answered: bool,
    /// Whether it was the machine that closed it, and so need not be told.
    pub(super) is_dismissed: bool,
    /// By what the machine knows it, as long as it waits for it to stand.
    pub(super) ticket: Option<u64>,
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

/// What a connection's task wakes up for.
pub(super) enum Wake {
    /// There may be something to read.
    Readable,
    /// There may be room to write.
    Writable,
    /// It is broken.
    Broken,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, flow: Flow, session: Option<Session>) -> io::Result<Stream> {
        Ok(Stream {
            socket: Async::new(socket)?,
            session: session.map(Box::new),
            flow,
            framer: Framer::default(),
            unsent: Vec::new(),
            state: State::Open,
            deadline: None,
            is_heard: false,
            is_answered: false,
            is_dismissed: false,
            ticket: None,
            waker: None,
        })
    }

    /// One that we have opened: nobody is a stranger on it.
    pub(super) fn reached(
        socket: TcpStream,
        flow: Flow,
        session: Option<Session>,
        ticket: Option<u64>,
    ) -> io::Result<Stream> {
        let stream = Stream::new(socket, flow, session)?;
        Ok(Stream { ticket, is_heard: true, is_answered: true, ..stream })
    }

    /// A connection that another process has had.
    pub(super) fn inherited(standing: Standing) -> io::Result<Stream> {
        let Standing { flow, socket, begun, unsent, is_heard, is_answered } = standing;
        let mut stream = Stream { unsent, is_heard, is_answered, ..Stream::new(socket, flow, None)? };
        // Nothing in it is complete.
        let _ = stream.framer.feed(&begun, |_| true);
        Ok(stream)
    }

    /// What another process needs to go on with it; nothing if it is being closed. Nothing for TLS either: its
    /// secrets cannot be taken out of the library, and so such a connection ends with this process, and the phone
    /// comes back by a new one.
    pub(super) fn standing(&self) -> Option<Standing<&TcpStream>> {
        (self.is_open() && self.session.is_none()).then(|| Standing {
            flow: self.flow,
            socket: self.socket.get_ref(),
            begun: self.framer.begun(),
            unsent: self.unsent.clone(),
            is_heard: self.is_heard,
            is_answered: self.is_answered,
        })
    }

    /// How much memory its buffers take, in bytes.
    pub(super) fn memory(&self) -> usize {
        let session = self.session.as_ref().map_or(0, |session| session.memory());
        self.unsent.capacity() + self.framer.memory() + session
    }

    /// Whether both sides speak.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether we ever said something to it.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether something is queued that the other side has not taken.
    pub(super) fn is_unsent(&self) -> bool {
        let is_unsent =
            !self.unsent.is_empty() || self.session.as_ref().is_some_and(|session| session.is_unsent());
        matches!(self.state, State::Open | State::Closing) && is_unsent
    }

    /// Queues bytes, if they need no more than `room` bytes of new memory. Whoever reads too slowly is
    /// cut off.
    pub(super) fn queue(&mut self, bytes: Vec<u8>, room: usize) {
        if self.state != State::Open {
            return;
        }
        self.is_answered = true;
        let (before, len) = (self.unsent.capacity(), self.unsent.len() + bytes.len());
        if self.unsent.is_empty() && bytes.capacity() <= room {
            self.unsent = bytes;
            return;
        }
        // Doubled, so that many small messages are not copied for each new one.
        let wanted = if len > before { len.next_power_of_two() } else { before };
        if len > UNSENT_MAX || wanted - before > room {
            return self.break_off();
        }
        self.unsent.reserve_exact(wanted - self.unsent.len());
        self.unsent.extend_from_slice(&bytes);
    }

    /// Writes what the other side takes now.
    pub(super) fn flush(&mut self) {
        if let Some(session) = &mut self.session
            && matches!(self.state, State::Open | State::Closing)
        {
            match session.write(self.socket.get_ref(), &mut self.unsent) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wake(),
                Err(_) => self.break_off(),
            }
        }
        while self.session.is_none() && self.is_unsent() {
            match self.socket.get_ref().write(&self.unsent) {
                Ok(count) if count == self.unsent.len() => self.unsent = Vec::new(),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake();
                    break;
                }
                Err(_) => self.break_off(),
            }
        }
        if self.state == State::Closing && !self.is_unsent() {
            if let Some(session) = &mut self.session {
                session.farewell(self.socket.get_ref());
            }
            match self.socket.get_ref().shutdown(Shutdown::Write) {
                Ok(()) => self.state = State::Silent,
                Err(_) => self.break_off(),
            }
        }
    }

    /// Reads what came, 0 bytes at its end. Once it is being closed, what comes does not count.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, Trouble> {
        match &mut self.session {
            Some(session) => session.read(self.socket.get_ref(), into),
            None => self.socket.get_ref().read(into).map_err(Trouble::Io),
        }
    }

    /// Whether it is of TLS, and that is not agreed upon yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_handshaking())
    }

    /// The SHA-256 of the certificate that the other side has proved to have the key of, once, when that is known, and
    /// if it is not being closed.
    pub(super) fn take_proved(&mut self) -> Option<[u8; 32]> {
        self.session.as_mut().filter(|_| self.state == State::Open)?.take_proved()
    }

    /// Whether it is of TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.session.is_some()
    }

    /// Says no more than what is unsent.
    pub(super) fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closing;
        }
    }

    /// Gives it up; its task will find it so.
    pub(super) fn break_off(&mut self) {
        self.state = State::Broken;
        self.wake();
    }

    /// Ends it: with a reset, or as the other side did.
    pub(super) fn end(mut self, with_reset: bool) {
        self.wake();
        if with_reset && let Ok(socket) = self.socket.into_inner() {
            reset(socket);
        }
    }

    /// Waits for something to do.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.state == State::Broken {
            return Poll::Ready(Wake::Broken);
        }
        if self.is_unsent() && self.socket.poll_writable(cx).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if self.socket.poll_readable(cx).is_ready() {
            return Poll::Ready(Wake::Readable);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_inherit_what_their_listener_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert!(sockopt::tcp_nodelay(&socket).unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        let kept = (
            sockopt::tcp_keepidle(&socket).unwrap(),
            sockopt::tcp_keepintvl(&socket).unwrap(),
            sockopt::tcp_keepcnt(&socket).unwrap(),
        );
        assert_eq!(kept, KEEP_ALIVE);
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), UNACKNOWLEDGED_MAX);
    }
}

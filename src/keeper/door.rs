//! Where the operator's commands come in: the socket `keeper` of the state folder.
//!
//! One is served at a time, and the others wait. It has 5 s to ask, and nothing of it is waited for
//! elsewhere than in the keeper's own loop. It may be root or the user that the keeper is, but no exchange,
//! though that is this user as well: whoever breaks into one gets nothing here.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Pid, geteuid, test_kill_process};

use super::talk::{Answer, Hello, MAX_ANSWER, MAX_HELLO, MAX_REQUEST, Request, VERSION, frame, unframe};

/// How long somebody may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// The listening socket, and who has come in.
pub(super) struct Door {
    listener: UnixListener,
    guest: Option<Guest>,
}

/// Somebody who asks.
struct Guest {
    stream: UnixStream,
    received: Vec<u8>,
    /// Until when it has to have asked; `None` once it has.
    until: Option<Instant>,
}

impl Door {
    /// A door, at which this socket is listened.
    pub(super) fn new(listener: UnixListener) -> Door {
        Door { listener, guest: None }
    }

    /// What becomes readable when there is something to do; nothing while somebody waits for an answer.
    pub(super) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        match &self.guest {
            None => Some(self.listener.as_fd()),
            Some(guest) => guest.until.is_some().then(|| guest.stream.as_fd()),
        }
    }

    /// When the guest's time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.guest.as_ref()?.until
    }

    /// Lets somebody in who is no exchange, and listens. What it asks, once that is all there.
    pub(super) fn hear(&mut self, is_exchange: impl Fn(Pid) -> bool) -> Option<Request> {
        if self.guest.is_none() {
            let (stream, _) = self.listener.accept().ok()?;
            let may = sockopt::socket_peercred(&stream).is_ok_and(|peer| {
                let is_user = peer.uid.is_root() || peer.uid == geteuid();
                // Whoever has ended waits for no answer, and may have been an exchange.
                let is_there = test_kill_process(peer.pid) != Err(Errno::SRCH);
                is_user && is_there && !is_exchange(peer.pid)
            });
            if !may || stream.set_nonblocking(true).is_err() {
                return None;
            }
            let until = Some(Instant::now() + PATIENCE);
            self.guest = Some(Guest { stream, received: Vec::new(), until });
        }
        let guest = self.guest.as_mut().filter(|guest| guest.until.is_some())?;
        match guest.hear() {
            Ok(Some(request)) => Some(request),
            Ok(None) if guest.until.is_some_and(|until| Instant::now() < until) => None,
            _ => {
                self.guest = None;
                None
            }
        }
    }

    /// Answers who has asked, if anybody has, and shows him out. Whoever does not take it at once gets none.
    pub(super) fn answer(&mut self, answer: Answer) {
        if let Some(mut guest) = self.guest.take_if(|guest| guest.until.is_none()) {
            let _ = frame(&cut(answer)).and_then(|frame| guest.stream.write_all(&frame));
        }
    }
}

impl Guest {
    /// Reads what has come. What it asks, once that is all there.
    ///
    /// # Errors
    ///
    /// There will be no answer.
    fn hear(&mut self) -> io::Result<Option<Request>> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let Some((hello, end)) = unframe::<Hello>(&self.received, MAX_HELLO)? else { continue };
            if hello.version != VERSION {
                self.stream.write_all(&frame(&Hello::own())?)?;
                return Err(io::ErrorKind::Unsupported.into());
            }
            let rest = self.received.get(end..).unwrap_or_default();
            let Some((request, _)) = unframe::<Request>(rest, MAX_REQUEST)? else { continue };
            self.received = Vec::new();
            self.until = None;
            self.stream.write_all(&frame(&Hello::own())?)?;
            return Ok(Some(request));
        }
    }
}

/// Makes an answer fit.
fn cut(answer: Answer) -> Answer {
    match answer {
        Answer::Failed(mut text) if text.len() > MAX_ANSWER => {
            let end = (0..=MAX_ANSWER).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.truncate(end);
            Answer::Failed(text + "...")
        }
        answer => answer,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    #[test]
    fn whoever_is_an_exchange_is_not_let_in() {
        let name = format!("denwa-door-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut door = Door::new(listener);
        let own = rustix::process::getpid();
        for is_exchange in [true, false, true] {
            let mut asker = UnixStream::connect_addr(&address).unwrap();
            let asked = [frame(&Hello::own()).unwrap(), frame(&Request::Whereabouts).unwrap()].concat();
            asker.write_all(&asked).unwrap();
            let heard = door.hear(|pid| is_exchange && pid == own);
            assert_eq!(heard, (!is_exchange).then_some(Request::Whereabouts));
            door.answer(Answer::Done(Vec::new()));
            let mut answer = Vec::new();
            // Whoever is not let in is hung up on.
            let _ = asker.read_to_end(&mut answer);
            assert_eq!(answer.is_empty(), is_exchange);
        }
    }
}

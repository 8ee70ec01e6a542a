//! Where the operator's commands come in: the socket `keeper` of the state folder.
//!
//! One is served at a time, and the others wait. It has 5 s to ask, and nothing of it is waited for
//! elsewhere than in the keeper's own loop.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::geteuid;

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

    /// Lets somebody in, and listens. What it asks, once that is all there.
    pub(super) fn hear(&mut self) -> Option<Request> {
        if self.guest.is_none() {
            let (stream, _) = self.listener.accept().ok()?;
            let may = sockopt::socket_peercred(&stream)
                .is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid());
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

//! Where the operator's commands come in: the socket `keeper` of the state folder.
//!
//! Nothing of who has come in is waited for elsewhere than in the keeper's own loop. It may be root or the user
//! that the keeper is, but no exchange, though that is this user as well: whoever breaks into one gets nothing here.
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | who is in at once | 8 | who has been in for the longest without asking has to go |
//! | who waits for an answer | 8, as they are not shown out | others wait outside |
//! | a request | 5 s, as long as a configuration may be | hung up on |

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use heapless::Vec as FixedVec;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Pid, geteuid, test_kill_process};

use super::talk::{Answer, Hello, MAX_ANSWER, MAX_HELLO, MAX_REQUEST, Request, VERSION, frame, unframe};

/// How long somebody may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many may be in at once.
pub(super) const GUESTS: usize = 8;

/// How many are let in before who is in is listened to, and all else is done.
const TURNS: usize = 2 * GUESTS;

/// The listening socket, and who has come in, in that order.
pub(super) struct Door {
    listener: UnixListener,
    guests: FixedVec<Guest, GUESTS>,
    /// How many there have been.
    made: u64,
}

/// A guest's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GuestId(u64);

/// Somebody who asks.
struct Guest {
    id: GuestId,
    stream: UnixStream,
    received: Vec<u8>,
    /// Until when it has to have asked; `None` once it has.
    until: Option<Instant>,
}

impl Door {
    /// A door, at which this socket is listened.
    pub(super) fn new(listener: UnixListener) -> Door {
        Door { listener, guests: FixedVec::new(), made: 0 }
    }

    /// What becomes readable when there is something to do.
    pub(super) fn awaited(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let asking = self.guests.iter().filter(|guest| guest.until.is_some());
        let has_room = !self.guests.is_full() || asking.clone().next().is_some();
        has_room.then(|| self.listener.as_fd()).into_iter().chain(asking.map(|guest| guest.stream.as_fd()))
    }

    /// When the next guest's time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.guests.iter().filter_map(|guest| guest.until).min()
    }

    /// Lets in who is no exchange, and listens. What somebody asks, once that is all there; to be called again
    /// then, until nobody does.
    pub(super) fn hear(&mut self, is_exchange: impl Fn(Pid) -> bool) -> Option<(GuestId, Request)> {
        for _ in 0..TURNS {
            // Who is in first, so that nobody has to go who has asked.
            if let Some(asked) = self.listen() {
                return Some(asked);
            }
            let evicted = self.guests.iter().position(|guest| guest.until.is_some());
            if self.guests.is_full() && evicted.is_none() {
                break;
            }
            let Ok((stream, _)) = self.listener.accept() else { break };
            let may = sockopt::socket_peercred(&stream).is_ok_and(|peer| {
                let is_user = peer.uid.is_root() || peer.uid == geteuid();
                // Whoever has ended waits for no answer, and may have been an exchange.
                let is_there = test_kill_process(peer.pid) != Err(Errno::SRCH);
                is_user && is_there && !is_exchange(peer.pid)
            });
            if !may || stream.set_nonblocking(true).is_err() {
                continue;
            }
            if let Some(evicted) = evicted.filter(|_| self.guests.is_full()) {
                self.guests.remove(evicted);
            }
            self.made += 1;
            let until = Some(Instant::now() + PATIENCE);
            let guest = Guest { id: GuestId(self.made), stream, received: Vec::new(), until };
            // There is room by now.
            let _ = self.guests.push(guest);
        }
        None
    }

    /// Listens to who is in. What somebody asks, once that is all there.
    fn listen(&mut self) -> Option<(GuestId, Request)> {
        let (mut asked, now) = (None, Instant::now());
        self.guests.retain_mut(|guest| {
            let Some(until) = guest.until.filter(|_| asked.is_none()) else { return true };
            match guest.hear() {
                Ok(Some(request)) => asked = Some((guest.id, request)),
                Ok(None) => return now < until,
                Err(_) => return false,
            }
            true
        });
        asked
    }

    /// Answers who has asked, and shows him out. Whoever does not take it at once gets none.
    pub(super) fn answer(&mut self, whom: GuestId, answer: Answer) {
        if let Some(at) = self.guests.iter().position(|guest| guest.id == whom) {
            let mut guest = self.guests.remove(at);
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

    fn door(name: &str) -> (Door, SocketAddr) {
        let name = format!("denwa-door-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        (Door::new(listener), address)
    }

    /// Somebody who has come to the door, and has asked or has not.
    fn guest(address: &SocketAddr, asks: bool) -> UnixStream {
        let mut guest = UnixStream::connect_addr(address).unwrap();
        let asked = [frame(&Hello::own()).unwrap(), frame(&Request::Whereabouts).unwrap()].concat();
        guest.write_all(if asks { &asked } else { &asked[..5] }).unwrap();
        guest
    }

    /// Whether somebody was hung up on.
    fn is_out(guest: &UnixStream) -> bool {
        guest.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        loop {
            match (&mut &*guest).read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    #[test]
    fn who_says_nothing_keeps_nobody_waiting() {
        let (mut door, address) = door("idle");
        let begin = Instant::now();
        let idle: Vec<UnixStream> = (0..GUESTS).map(|_| guest(&address, false)).collect();
        assert!(door.hear(|_| false).is_none());
        assert_eq!(door.awaited().count(), GUESTS + 1);
        // They stay as long as nobody else comes.
        assert!(!idle.iter().any(is_out) && door.deadline().unwrap() >= begin + PATIENCE);
        let asker = guest(&address, true);
        let (asked, request) = door.hear(|_| false).unwrap();
        assert_eq!(request, Request::Whereabouts);
        assert!(is_out(&idle[0]) && !idle[1..].iter().any(is_out) && !is_out(&asker));
        door.answer(asked, Answer::Done(Vec::new()));
        assert!(is_out(&asker) && !idle[1..].iter().any(is_out));
        assert!(begin.elapsed() < PATIENCE);
    }

    #[test]
    fn whoever_waits_for_an_answer_is_not_shown_out() {
        let (mut door, address) = door("full");
        let waiting: Vec<UnixStream> = (0..GUESTS).map(|_| guest(&address, true)).collect();
        let asked: Vec<GuestId> = std::iter::from_fn(|| door.hear(|_| false)).map(|(id, _)| id).collect();
        assert_eq!(asked.len(), GUESTS);
        // Nothing is listened to that is not heard.
        let _outside = guest(&address, true);
        assert_eq!((door.awaited().count(), door.deadline()), (0, None));
        assert!(door.hear(|_| false).is_none() && !waiting.iter().any(is_out));
        door.answer(asked[3], Answer::Done(Vec::new()));
        assert!(is_out(&waiting[3]) && !is_out(&waiting[4]));
        assert!(door.hear(|_| false).is_some());
    }

    #[test]
    fn whoever_is_an_exchange_is_not_let_in() {
        let (mut door, address) = door("exchange");
        let own = rustix::process::getpid();
        for is_exchange in [true, false, true] {
            let mut asker = guest(&address, true);
            let heard = door.hear(|pid| is_exchange && pid == own);
            assert_eq!(heard.is_some(), !is_exchange);
            if let Some((guest, request)) = heard {
                assert_eq!(request, Request::Whereabouts);
                door.answer(guest, Answer::Done(Vec::new()));
            }
            let mut answer = Vec::new();
            // Whoever is not let in is hung up on.
            let _ = asker.read_to_end(&mut answer);
            assert_eq!(answer.is_empty(), is_exchange);
        }
    }
}

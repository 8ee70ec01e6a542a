//! What one exchange leaves to the next, while both run: everything, so that nobody notices.
//!
//! The two are joined by a pair of local sockets that the keeper made:
//!
//! ```text
//! the new one                          the old one
//!   has read its configuration,
//!   and is in its cage
//!        ── CAN ──────────────────────▶  waits for a quiet moment, at most 5 s; stops reading
//!        ◀──────── Estate, sockets ────  keeps all of it
//!   goes on with them
//!        ── HAS ──────────────────────▶  ends
//! ```
//!
//! What comes meanwhile waits in the sockets. If the new one ends, or says nothing for 2 s, the old one goes on with
//! what it has kept. Whoever has given up lets the other one know by that its last word cannot be sent any more: so
//! exactly one of them goes on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};

use super::descriptors;
use crate::journal::{self, Octets, Record};
use crate::media;
use crate::switch::{Flow, StreamId, Transport};

/// The new one can take over.
pub(crate) const CAN: u8 = b'c';

/// The new one has taken over.
const HAS: u8 = b'h';

/// Another one means that what follows cannot be understood. So does another version of the records.
const VERSION: u32 = 1;

/// Both versions, and the length of the rest.
const PREAMBLE: usize = 12;

/// The most octets of the rest: every table is full.
const MAX_BODY: usize = 256 << 20;

/// How long each of the two waits for the other to go on, while neither signalling nor sound does. A hundred
/// calls take a tenth of a second; there is room for a machine that is slow or busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the new one waits for the old one to begin, which goes on meanwhile: as long as the keeper waits for
/// both.
const BEGINNING: Duration = Duration::from_secs(10);

/// What one exchange leaves to the next. Whoever leaves it keeps the connections' sockets until the other one has
/// taken over, and has no need of second descriptors, for which there might be no room.
#[derive(Debug)]
pub struct Estate<S = TcpStream> {
    /// All that must survive.
    pub records: Vec<Record>,
    /// The connections that stand.
    pub streams: Vec<Standing<S>>,
    /// What the relay leaves.
    pub relay: media::Legacy,
}

/// A connection that stands.
#[derive(Debug)]
pub struct Standing<S = TcpStream> {
    /// Whose it is.
    pub flow: Flow,
    /// Its socket.
    pub socket: S,
    /// What has come of a message that is not complete.
    pub begun: Vec<u8>,
    /// What the other side has not taken.
    pub unsent: Vec<u8>,
    /// Whether something has come.
    pub is_heard: bool,
    /// Whether something was said.
    pub is_answered: bool,
}

/// An estate without its sockets: first one for each connection, then those of the relay.
#[derive(Serialize, Deserialize)]
struct Body {
    records: Vec<Record>,
    streams: Vec<Stream>,
    relay: Octets,
    relay_sockets: u32,
}

#[derive(Serialize, Deserialize)]
struct Stream {
    id: u64,
    local: SocketAddr,
    remote: SocketAddr,
    begun: Octets,
    unsent: Octets,
    is_heard: bool,
    is_answered: bool,
}

impl<S> Default for Estate<S> {
    fn default() -> Self {
        Estate { records: Vec::new(), streams: Vec::new(), relay: media::Legacy::default() }
    }
}

impl<S: AsFd> Estate<S> {
    /// Leaves all of it to the other side, and waits until that has taken over; for 2 s after the last that
    /// was heard of it.
    ///
    /// # Errors
    ///
    /// It has not, and will not.
    pub(crate) fn leave(&self, heir: &UnixStream) -> io::Result<()> {
        self.give(heir).or_else(|error| {
            // From now on it cannot say that it has. Perhaps it just did.
            heir.shutdown(Shutdown::Both)?;
            has_taken_over(heir).map_err(|_| error)
        })
    }

    fn give(&self, heir: &UnixStream) -> io::Result<()> {
        heir.set_nonblocking(false)?;
        heir.set_write_timeout(Some(PATIENCE))?;
        heir.set_read_timeout(Some(PATIENCE))?;
        let stream = |standing: &Standing<S>| Stream {
            id: standing.flow.stream.0,
            local: standing.flow.local,
            remote: standing.flow.remote,
            begun: standing.begun.as_slice().into(),
            unsent: standing.unsent.as_slice().into(),
            is_heard: standing.is_heard,
            is_answered: standing.is_answered,
        };
        let body = Body {
            records: self.records.clone(),
            streams: self.streams.iter().map(stream).collect(),
            relay: self.relay.state.as_slice().into(),
            relay_sockets: self.relay.sockets.len() as u32,
        };
        let body = postcard::to_allocvec(&body).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let preamble = [VERSION, journal::VERSION, length].map(u32::to_le_bytes).concat();
        (&*heir).write_all(&preamble)?;
        (&*heir).write_all(&body)?;
        let sockets: Vec<BorrowedFd<'_>> = self.sockets().collect();
        for some in sockets.chunks(descriptors::MOST) {
            descriptors::send(heir, &[0], some, SendFlags::empty())?;
        }
        has_taken_over(heir)
    }

    fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = self.streams.iter().map(|standing| standing.socket.as_fd());
        streams.chain(self.relay.sockets.iter().map(AsFd::as_fd))
    }
}

/// Waits for the other side to say that it has taken over.
fn has_taken_over(mut heir: &UnixStream) -> io::Result<()> {
    let mut word = [0];
    heir.read_exact(&mut word)?;
    match word {
        [HAS] => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The other end, at which something is inherited.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// The one at the other end of a pair.
    pub fn new(pair: UnixStream) -> Predecessor {
        Predecessor(pair)
    }

    /// Says that this exchange can take over, and waits for what it inherits.
    ///
    /// # Errors
    ///
    /// The other one has nothing to leave, or what cannot be understood.
    pub fn inherit(&self) -> io::Result<Estate> {
        let mut from = &self.0;
        from.set_read_timeout(Some(BEGINNING))?;
        from.write_all(&[CAN])?;
        let mut preamble = [0; PREAMBLE];
        from.read_exact(&mut preamble)?;
        from.set_read_timeout(Some(PATIENCE))?;
        let number = |at: usize| {
            preamble
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |chunk| u32::from_le_bytes(*chunk))
        };
        let (version, records, length) = (number(0), number(4), number(8) as usize);
        if (version, records) != (VERSION, journal::VERSION) {
            return Err(io::Error::other(format!(
                "the denwa that runs hands over in version {version}.{records}, and this one takes \
                 {VERSION}.{}: it takes a restart to change over",
                journal::VERSION
            )));
        }
        if length > MAX_BODY {
            return Err(io::Error::other(format!("{length} octets are too many")));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        let body: Body = postcard::from_bytes(&body).map_err(io::Error::other)?;
        let mut sockets = self.sockets(body.streams.len() + body.relay_sockets as usize)?.into_iter();
        let streams = body.streams.into_iter().zip(sockets.by_ref()).map(|(stream, socket)| Standing {
            flow: Flow {
                transport: Transport::Tcp,
                local: stream.local,
                remote: stream.remote,
                stream: StreamId(stream.id),
            },
            socket: socket.into(),
            begun: stream.begun.0.into(),
            unsent: stream.unsent.0.into(),
            is_heard: stream.is_heard,
            is_answered: stream.is_answered,
        });
        let streams = streams.collect();
        let relay = media::Legacy { state: body.relay.0.into(), sockets: sockets.collect() };
        Ok(Estate { records: body.records, streams, relay })
    }

    /// So many descriptors.
    fn sockets(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::new();
        while sockets.len() < count {
            let (octets, some) = descriptors::receive(&self.0, &mut [0], RecvFlags::empty())?;
            if octets == 0 || sockets.len() + some.len() > count {
                return Err(io::Error::other("the sockets do not come"));
            }
            if some.is_empty() {
                return Err(descriptors::missing());
            }
            sockets.extend(some);
        }
        Ok(sockets)
    }

    /// Says that this exchange has taken over, so that the other one ends.
    ///
    /// # Errors
    ///
    /// That has not waited for it: this exchange must not go on.
    pub fn relieve(&self) -> io::Result<()> {
        let said = rustix::net::send(&self.0, &[HAS], SendFlags::NOSIGNAL);
        said.map(drop).map_err(|_| io::Error::other("it took too long to take over, or the old one has died"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    use super::*;

    fn estate(connections: usize, relay_sockets: usize) -> (Estate, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut others = Vec::new();
        let streams = (0..connections).map(|n| {
            others.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (socket, remote) = listener.accept().unwrap();
            let local = socket.local_addr().unwrap();
            Standing {
                flow: Flow { transport: Transport::Tcp, local, remote, stream: StreamId(n as u64 + 7) },
                socket,
                begun: vec![1; n],
                unsent: vec![2; n],
                is_heard: n % 2 == 0,
                is_answered: n % 3 == 0,
            }
        });
        let streams = streams.collect();
        let sockets = (0..relay_sockets).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap().into()).collect();
        let relay = media::Legacy { state: vec![9; 100], sockets };
        (Estate { records: vec![Record::Numbered(5)], streams, relay }, others)
    }

    #[test]
    fn all_of_it_arrives() {
        for (connections, sockets) in [(0, 0), (3, 0), (0, 4), (2, 300)] {
            let (left, mut others) = estate(connections, sockets);
            let (ours, theirs) = UnixStream::pair().unwrap();
            let heir = thread::spawn(move || {
                let predecessor = Predecessor::new(theirs);
                let estate = predecessor.inherit().unwrap();
                predecessor.relieve().unwrap();
                estate
            });
            let mut word = [0];
            (&ours).read_exact(&mut word).unwrap();
            assert_eq!(word, [CAN]);
            left.leave(&ours).unwrap();
            let got = heir.join().unwrap();
            assert_eq!(got.records, left.records);
            assert_eq!((got.relay.state, got.relay.sockets.len()), (left.relay.state, sockets));
            for ((one, two), other) in got.streams.into_iter().zip(left.streams).zip(&mut others) {
                assert_eq!((one.flow, one.begun, one.unsent), (two.flow, two.begun, two.unsent));
                assert_eq!((one.is_heard, one.is_answered), (two.is_heard, two.is_answered));
                // It is the same connection, and stands although the old one is gone.
                drop(two.socket);
                (&one.socket).write_all(b"x").unwrap();
                other.read_exact(&mut word).unwrap();
            }
        }
    }

    #[test]
    fn an_heir_that_goes_has_not_taken_over() {
        let (left, _others) = estate(1, 2);
        for takes_it in [false, true] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let heir = thread::spawn(move || {
                let predecessor = Predecessor::new(theirs);
                takes_it.then(|| predecessor.inherit().unwrap());
            });
            assert!(left.leave(&ours).is_err());
            heir.join().unwrap();
        }
    }

    #[test]
    fn an_heir_that_hangs_has_not_taken_over_even_when_it_wakes() {
        let (left, _others) = estate(1, 2);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (give_up, given_up) = std::sync::mpsc::channel();
        let heir = thread::spawn(move || {
            let predecessor = Predecessor::new(theirs);
            predecessor.inherit().unwrap();
            given_up.recv().unwrap();
            predecessor.relieve()
        });
        (&ours).read_exact(&mut [0]).unwrap();
        let begin = std::time::Instant::now();
        assert!(left.leave(&ours).is_err());
        assert!((1_900..3_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        give_up.send(()).unwrap();
        assert!(heir.join().unwrap().is_err());
    }

    #[test]
    fn a_last_word_that_was_said_counts() {
        // It comes although the rest was not taken.
        let (left, _others) = estate(0, 0);
        let (ours, theirs) = UnixStream::pair().unwrap();
        Predecessor::new(theirs.try_clone().unwrap()).relieve().unwrap();
        theirs.shutdown(Shutdown::Read).unwrap();
        assert!(left.leave(&ours).is_ok());
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let refused = |octets: &[u8]| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (&ours).write_all(octets).unwrap();
            ours.shutdown(std::net::Shutdown::Write).unwrap();
            Predecessor::new(theirs).inherit().unwrap_err().to_string()
        };
        let preamble =
            |version: u32, length: u32| [version, journal::VERSION, length].map(u32::to_le_bytes).concat();
        assert!(refused(&preamble(VERSION + 1, 0)).contains("it takes a restart"));
        assert!(refused(&preamble(VERSION, u32::MAX)).contains("too many"));
        for nonsense in [[255; 4], [0, 1, 0, 0]] {
            refused(&[preamble(VERSION, 4), nonsense.to_vec()].concat());
        }
        // A body of nothing but two sockets that do not come.
        assert_eq!(refused(&[preamble(VERSION, 4), vec![0, 0, 0, 2]].concat()), "the sockets do not come");
    }
}

//! What the keeper hands over to an exchange, and how.
//!
//! One message on a stream socket: an octet with the version, four with the length of `Body` (little
//! end first), with them the sockets (`SCM_RIGHTS`), then `Body` in postcard's form and [`Past`]. Back comes
//! one octet, [`READY`].

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::Sockets;
use crate::config::{MAX_BYTES, MAX_LISTEN};
use crate::net::sys;

/// The most sockets for SIP that are handed over: one of each family for each `listen`.
pub const MAX_SOCKETS: usize = 2 * MAX_LISTEN;

/// The same with the operator's.
const MAX_DESCRIPTORS: usize = MAX_SOCKETS + 1;

/// How long either side waits for the other.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What the exchange says when it is about to serve.
pub(super) const READY: u8 = b'r';

/// Another one means that what follows cannot be understood.
const VERSION: u8 = 2;

/// Version and length.
const PREAMBLE: usize = 5;

/// The most octets of a body: a configuration, a path, and room for numbers.
const MAX_BODY: usize = MAX_BYTES + libc::PATH_MAX as usize + 64;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    path: &'a [u8],
    file: &'a [u8],
    has_state: bool,
    /// How many of the sockets are of UDP; they come first.
    udp: u8,
    /// How many are of TCP.
    tcp: u8,
    /// Whether the last one is the operator's.
    control: bool,
}

/// What was before an exchange; the only thing that differs from one to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// When the keeper was started, in seconds since 1970.
    pub since: u64,
    /// How many exchanges it had before this one.
    pub exchanges: u32,
}

impl Past {
    const LENGTH: usize = 12;

    fn to_octets(self) -> [u8; Past::LENGTH] {
        let mut octets = [0; Past::LENGTH];
        let (since, exchanges) = octets.split_at_mut(8);
        since.copy_from_slice(&self.since.to_le_bytes());
        exchanges.copy_from_slice(&self.exchanges.to_le_bytes());
        octets
    }

    fn from_octets([a, b, c, d, e, f, g, h, exchanges @ ..]: [u8; Past::LENGTH]) -> Past {
        let since = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Past { since, exchanges: u32::from_le_bytes(exchanges) }
    }
}

/// Everything that an exchange is given, packed, so that each one gets the same.
pub(super) struct Parcel {
    message: Vec<u8>,
    sockets: Sockets,
}

impl Parcel {
    /// Packs a configuration and at most [`MAX_SOCKETS`] sockets.
    pub(super) fn new(path: &Path, file: &[u8], has_state: bool, sockets: Sockets) -> io::Result<Parcel> {
        let (udp, tcp) = (sockets.udp.len(), sockets.tcp.len());
        if udp + tcp > MAX_SOCKETS {
            return Err(io::Error::other(format!("{} sockets, and {MAX_SOCKETS} are the most", udp + tcp)));
        }
        let path = path.as_os_str().as_bytes();
        let control = sockets.control.is_some();
        let body = Body { path, file, has_state, udp: udp as u8, tcp: tcp as u8, control };
        let body = postcard::to_allocvec(&body).map_err(io::Error::other)?;
        if body.len() > MAX_BODY {
            return Err(io::Error::other("the configuration and its path are too long"));
        }
        let mut message = Vec::with_capacity(PREAMBLE + body.len());
        message.push(VERSION);
        message.extend_from_slice(&(body.len() as u32).to_le_bytes());
        message.extend_from_slice(&body);
        Ok(Parcel { message, sockets })
    }

    /// Sends all of it. Whoever does not take it in time is given up.
    pub(super) fn send(&self, mut to: &UnixStream, past: Past) -> io::Result<()> {
        let udp = self.sockets.udp.iter().map(AsFd::as_fd);
        let others = self.sockets.tcp.iter().map(AsFd::as_fd);
        let others = others.chain(self.sockets.control.iter().map(AsFd::as_fd));
        let sockets: Vec<BorrowedFd<'_>> = udp.chain(others).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(Errno::MSGSIZE.into());
        }
        let message = [IoSlice::new(&self.message)];
        let sent = retry_on_intr(|| sendmsg(to, &message, &mut control, SendFlags::NOSIGNAL))?;
        to.write_all(self.message.get(sent..).unwrap_or_default())?;
        to.write_all(&past.to_octets())
    }
}

/// What an exchange has been given.
#[derive(Debug)]
pub struct Handover {
    /// Where the configuration was read, for people.
    pub path: PathBuf,
    /// What it says.
    pub file: Vec<u8>,
    /// Whether the state folder can be used.
    pub has_state: bool,
    /// The sockets to serve.
    pub sockets: Sockets,
    /// What was before.
    pub past: Past,
    /// The keeper.
    pub link: Link,
}

/// Takes over what the keeper has sent by standard input. For an exchange, before anything else.
///
/// # Errors
///
/// If nobody, or somebody else, is there.
pub fn take_over() -> Result<Handover, TakeOverError> {
    // It was executed as /proc/self/fd/N, and would be called N in `top`.
    let _ = rustix::thread::set_name(c"denwa-exchange");
    // It is not in the terminal's foreground, but its log goes there.
    sys::write_from_background().map_err(TakeOverError)?;
    let link = io::stdin().as_fd().try_clone_to_owned().map_err(TakeOverError)?;
    receive(UnixStream::from(link)).map_err(TakeOverError)
}

/// Why nothing was taken over.
#[derive(Debug)]
pub struct TakeOverError(io::Error);

impl std::error::Error for TakeOverError {}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_io_error(&self.0) {
            Some(Errno::NOTSOCK) => {
                f.write_str("only denwa itself starts a process with `--exchange`; type `denwa run`")
            }
            _ => write!(f, "the exchange was not given what it needs: {}", self.0),
        }
    }
}

fn receive(mut from: UnixStream) -> io::Result<Handover> {
    from.set_read_timeout(Some(PATIENCE))?;
    let mut preamble = [0; PREAMBLE];
    let received = receive_with_sockets(&from, &mut preamble)?;
    let [version, length @ ..] = preamble;
    if version != VERSION {
        return Err(io::Error::other(format!("its keeper speaks version {version}, and not {VERSION}")));
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_BODY {
        return Err(io::Error::other(format!("{length} octets are too many")));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let body: Body<'_> = postcard::from_bytes(&body).map_err(io::Error::other)?;
    let mut past = [0; Past::LENGTH];
    from.read_exact(&mut past)?;

    let (udp, tcp) = (usize::from(body.udp), usize::from(body.tcp));
    let sent = udp + tcp + usize::from(body.control);
    if received.len() != sent {
        return Err(io::Error::other(format!("{} of {sent} sockets came", received.len())));
    }
    let mut received = received.into_iter();
    let sockets = Sockets {
        udp: received.by_ref().take(udp).map(UdpSocket::from).collect(),
        tcp: received.by_ref().take(tcp).map(TcpListener::from).collect(),
        control: received.next().map(UnixListener::from),
        notices: Vec::new(),
    };
    Ok(Handover {
        path: PathBuf::from(OsString::from_vec(body.path.to_vec())),
        file: body.file.to_vec(),
        has_state: body.has_state,
        sockets,
        past: Past::from_octets(past),
        link: Link(from),
    })
}

/// Reads as many octets as `buffer` has, and the descriptors that came with the first of them.
fn receive_with_sockets(from: &UnixStream, buffer: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let wanted = buffer.len();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = RecvFlags::WAITALL | RecvFlags::CMSG_CLOEXEC;
    let message = retry_on_intr(|| recvmsg(from, &mut buffers, &mut control, flags))?;
    if message.bytes != wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("not all sockets came; may the process open so many files?"));
    }
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    Ok(received)
}

/// What joins an exchange to its keeper. Readable when the keeper is gone.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Link {
    /// Tells the keeper that the exchange serves: if it dies from now on, it is started again.
    pub fn ready(&self) {
        // If the keeper is gone, that is seen by reading.
        let _ = rustix::net::send(&self.0, &[READY], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Whether the keeper is gone.
    pub fn has_ended(&self) -> bool {
        let mut octet = [0];
        match rustix::net::recv(&self.0, &mut octet, RecvFlags::DONTWAIT) {
            Ok((count, _)) => count == 0,
            Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAST: Past = Past { since: 1_795_391_506, exchanges: 7 };

    fn sockets(udp: usize, tcp: usize) -> Sockets {
        Sockets {
            udp: (0..udp).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect(),
            tcp: (0..tcp).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect(),
            // Any socket will do.
            control: (tcp != 1).then(|| UnixListener::from(OwnedFd::from(UnixStream::pair().unwrap().0))),
            notices: Vec::new(),
        }
    }

    fn addresses(sockets: &Sockets) -> Vec<String> {
        let udp = sockets.udp.iter().map(|socket| format!("udp {}", socket.local_addr().unwrap()));
        let tcp = sockets.tcp.iter().map(|socket| format!("tcp {}", socket.local_addr().unwrap()));
        udp.chain(tcp).collect()
    }

    #[test]
    fn everything_arrives_again_and_again() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/tmp/\xff not UTF-8.conf"));
        let file: Vec<u8> = (0..MAX_BYTES).map(|n| n as u8).collect();
        for (udp, tcp) in [(MAX_SOCKETS, 0), (1, 2), (0, 0)] {
            let parcel = Parcel::new(path, &file, true, sockets(udp, tcp)).unwrap();
            for _ in 0..2 {
                let (ours, theirs) = UnixStream::pair().unwrap();
                // The file is longer than what a socket holds: both must work at once.
                let taken = std::thread::spawn(move || receive(theirs).unwrap());
                parcel.send(&ours, PAST).unwrap();
                let taken = taken.join().unwrap();
                assert_eq!(taken.path, path);
                assert!(taken.file == file && taken.has_state);
                assert_eq!(addresses(&taken.sockets), addresses(&parcel.sockets));
                assert_eq!(taken.sockets.control.is_some(), parcel.sockets.control.is_some());
                assert_eq!(taken.past, PAST);
                assert!(!taken.link.has_ended());
                taken.link.ready();
                let mut octet = [0];
                (&ours).read_exact(&mut octet).unwrap();
                assert_eq!(octet, [READY]);
                drop(ours);
                assert!(taken.link.has_ended());
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let parcel = Parcel::new(Path::new("x"), b"ext.1 = y", false, sockets(1, 0)).unwrap();
        let whole = [&parcel.message[..], &PAST.to_octets()].concat();
        let refused = |message: &[u8]| {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(message).unwrap();
            drop(ours);
            receive(theirs).unwrap_err().to_string()
        };
        // All the octets, but no sockets with them.
        assert_eq!(refused(&whole), "0 of 2 sockets came");
        assert!(refused(b"").contains("unexpected end"), "{}", refused(b""));
        assert!(refused(&[3, 0, 0, 0, 0]).contains("version 3"));
        assert!(refused(&[2, 255, 255, 255, 255]).contains("too many"));
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
        assert!(Parcel::new(Path::new("x"), b"", true, sockets(MAX_SOCKETS, 1)).is_err());
    }

    #[test]
    fn whoever_does_not_take_it_is_given_up() {
        let file = vec![b'#'; MAX_BYTES];
        let parcel = Parcel::new(Path::new("x"), &file, true, sockets(1, 1)).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(parcel.send(&ours, PAST).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        assert_eq!(parcel.send(&ours, PAST).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

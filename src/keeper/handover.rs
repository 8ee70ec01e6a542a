//! What the keeper hands over to an exchange, and how.
//!
//! One message on a stream socket: three octets, which say the version, what it is, and its number, and
//! with them descriptors (`SCM_RIGHTS`). The first is a sealed file in memory with `Body` in postcard's form,
//! the others are the sockets. So a message is as short as it can be, and to send one never blocks. Back come
//! single octets: [`READY`], and one for each later message (`answer`).

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::Sockets;
use crate::config::{Config, MAX_BYTES, MAX_LISTEN, Sandbox};
use crate::net::sys;

/// The most sockets that are handed over: one of each family for each `listen`.
pub const MAX_SOCKETS: usize = 2 * MAX_LISTEN;

/// The most descriptors that come with a message.
const MAX_DESCRIPTORS: usize = MAX_SOCKETS + 1;

/// How long an exchange waits for its keeper at the start.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the exchange says when it is about to serve.
pub(super) const READY: u8 = b'r';

/// Another one means that what follows cannot be understood.
const VERSION: u8 = 2;

/// A message that says what to serve.
const SERVE: u8 = b's';

/// Version, kind and number.
const PREAMBLE: usize = 3;

/// The most octets of a body: a configuration, two paths, a user, and room for numbers.
const MAX_BODY: usize = MAX_BYTES + 2 * libc::PATH_MAX as usize + 1024;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    path: &'a [u8],
    file: &'a [u8],
    lasting: Lasting,
    has_state: bool,
    /// How many of the sockets are of UDP; they come first.
    udp: u8,
    /// How many are of TCP.
    tcp: u8,
}

/// What stays as it was when the keeper was started, whatever a later configuration says: rights that are
/// given up do not come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lasting {
    state: PathBuf,
    user: Option<String>,
    sandbox: Sandbox,
}

impl Lasting {
    fn of(config: &Config) -> Lasting {
        Lasting { state: config.state.clone(), user: config.user.clone(), sandbox: config.sandbox }
    }

    /// Puts it in the place of what a configuration says. Returns the keys that say something else.
    pub(super) fn hold(&self, config: &mut Config) -> Vec<&'static str> {
        let said = Lasting::of(config);
        let differs = [
            ("state", said.state != self.state),
            ("user", said.user != self.user),
            ("sandbox", said.sandbox != self.sandbox),
        ];
        (config.state, config.user, config.sandbox) = (self.state.clone(), self.user.clone(), self.sandbox);
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

/// Everything that an exchange is given, packed, so that each one gets the same.
pub(super) struct Parcel {
    body: OwnedFd,
    pub(super) sockets: Sockets,
    pub(super) lasting: Lasting,
    pub(super) has_state: bool,
}

impl Parcel {
    /// Packs a configuration, which is what `file` means, and at most [`MAX_SOCKETS`] sockets.
    pub(super) fn new(
        path: &Path,
        config: &Config,
        file: &[u8],
        has_state: bool,
        sockets: Sockets,
    ) -> io::Result<Parcel> {
        let (udp, tcp) = (sockets.udp.len(), sockets.tcp.len());
        if udp + tcp > MAX_SOCKETS {
            return Err(io::Error::other(format!("{} sockets, and {MAX_SOCKETS} are the most", udp + tcp)));
        }
        let lasting = Lasting::of(config);
        let path = path.as_os_str().as_bytes();
        let body = Body { path, file, lasting: lasting.clone(), has_state, udp: udp as u8, tcp: tcp as u8 };
        let body = postcard::to_allocvec(&body).map_err(io::Error::other)?;
        if body.len() > MAX_BODY {
            return Err(io::Error::other("the configuration and its path are too long"));
        }
        Ok(Parcel { body: sealed(&body)?, sockets, lasting, has_state })
    }

    /// Sends all of it, without waiting. `number` comes back with the answer.
    pub(super) fn send(&self, to: &UnixStream, number: u8) -> io::Result<()> {
        let udp = self.sockets.udp.iter().map(AsFd::as_fd);
        let tcp = self.sockets.tcp.iter().map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> =
            [self.body.as_fd()].into_iter().chain(udp).chain(tcp).collect();
        send(to, [VERSION, SERVE, number], &descriptors)
    }
}

/// A file in memory that nobody can change any more.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 nobody knows of files that can never be executed.
    let file = match memfd_create(c"denwa", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(c"denwa", flags)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Sends a message, which fits any socket that is read now and then.
fn send(to: &UnixStream, preamble: [u8; PREAMBLE], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = retry_on_intr(|| sendmsg(to, &[IoSlice::new(&preamble)], &mut control, flags))?;
    match sent {
        PREAMBLE => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// What an exchange has been given.
#[derive(Debug)]
pub struct Handover {
    /// Where the configuration was read, for people.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
    /// Whether the state folder can be used.
    pub has_state: bool,
    /// The sockets to serve.
    pub sockets: Sockets,
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

fn receive(from: UnixStream) -> io::Result<Handover> {
    from.set_read_timeout(Some(PATIENCE))?;
    let Some((SERVE, _, descriptors)) = receive_message(&from, RecvFlags::empty())? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let Contents { path, config, has_state, sockets } = unpack(descriptors)?;
    Ok(Handover { path, config, has_state, sockets, link: Link(from) })
}

/// What is in a parcel.
struct Contents {
    path: PathBuf,
    config: Config,
    has_state: bool,
    sockets: Sockets,
}

fn unpack(descriptors: Vec<OwnedFd>) -> io::Result<Contents> {
    let mut descriptors = descriptors.into_iter();
    let body = File::from(descriptors.next().ok_or(io::ErrorKind::UnexpectedEof)?);
    let length = body.metadata()?.len();
    if length > MAX_BODY as u64 {
        return Err(io::Error::other(format!("{length} octets are too many")));
    }
    let mut bytes = vec![0; length as usize];
    body.read_exact_at(&mut bytes, 0)?;
    let body: Body<'_> = postcard::from_bytes(&bytes).map_err(io::Error::other)?;

    let (udp, tcp) = (usize::from(body.udp), usize::from(body.tcp));
    if descriptors.len() != udp + tcp {
        return Err(io::Error::other(format!("{} of {} sockets came", descriptors.len(), udp + tcp)));
    }
    let sockets = Sockets {
        udp: descriptors.by_ref().take(udp).map(UdpSocket::from).collect(),
        tcp: descriptors.map(TcpListener::from).collect(),
        notices: Vec::new(),
    };
    let path = PathBuf::from(OsString::from_vec(body.path.to_vec()));
    let mut config = Config::parse(&path.display().to_string(), body.file).map_err(io::Error::other)?;
    body.lasting.hold(&mut config);
    Ok(Contents { path, config, has_state: body.has_state, sockets })
}

/// Reads a message: its kind, its number, and the descriptors that came with it. `None` if there is none
/// yet, and it is not to be waited for.
fn receive_message(from: &UnixStream, flags: RecvFlags) -> io::Result<Option<(u8, u8, Vec<OwnedFd>)>> {
    let mut preamble = [0; PREAMBLE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut preamble)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let message = match retry_on_intr(|| recvmsg(from, &mut buffers, &mut control, flags)) {
        Err(Errno::AGAIN) if flags.contains(RecvFlags::DONTWAIT) => return Ok(None),
        other => other?,
    };
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("not all sockets came; may the process open so many files?"));
    }
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    // It was sent in one piece.
    if message.bytes != PREAMBLE {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [version, kind, number] = preamble;
    if version != VERSION {
        return Err(io::Error::other(format!("its keeper speaks version {version}, and not {VERSION}")));
    }
    Ok(Some((kind, number, received)))
}

/// What joins an exchange to its keeper. Readable when the keeper wants something, or is gone.
#[derive(Debug)]
pub struct Link(UnixStream);

/// What the keeper wants of a running exchange.
#[derive(Debug)]
pub enum Order {
    /// To go on with another configuration, on these sockets: some are those that it has, others are new.
    Reload {
        /// What the configuration says.
        config: Box<Config>,
        /// All that is listened on from now on.
        sockets: Sockets,
        /// For [`Link::answer`].
        number: u8,
    },
}

impl Link {
    /// Tells the keeper that the exchange serves: if it dies from now on, it is started again.
    pub fn ready(&self) {
        self.say(READY);
    }

    /// The next order, if there is one.
    ///
    /// # Errors
    ///
    /// The keeper is gone.
    pub fn next(&self) -> io::Result<Option<Order>> {
        loop {
            let Some((kind, number, descriptors)) = receive_message(&self.0, RecvFlags::DONTWAIT)? else {
                return Ok(None);
            };
            match (kind, unpack(descriptors)) {
                (SERVE, Ok(Contents { config, sockets, .. })) => {
                    return Ok(Some(Order::Reload { config: Box::new(config), sockets, number }));
                }
                _ => self.answer(number, false),
            }
        }
    }

    /// Says whether the order of this number was obeyed.
    pub fn answer(&self, number: u8, is_done: bool) {
        self.say(answer(number, is_done));
    }

    fn say(&self, octet: u8) {
        // If the keeper is gone, that is seen by reading.
        let _ = rustix::net::send(&self.0, &[octet], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How an order of this number, of which the lowest six bits count, is answered in one octet.
pub(super) fn answer(number: u8, is_done: bool) -> u8 {
    0x80 | (number & 0x3f) << 1 | u8::from(is_done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    fn sockets(udp: usize, tcp: usize) -> Sockets {
        Sockets {
            udp: (0..udp).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect(),
            tcp: (0..tcp).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect(),
            notices: Vec::new(),
        }
    }

    fn addresses(sockets: &Sockets) -> Vec<String> {
        let udp = sockets.udp.iter().map(|socket| format!("udp {}", socket.local_addr().unwrap()));
        let tcp = sockets.tcp.iter().map(|socket| format!("tcp {}", socket.local_addr().unwrap()));
        udp.chain(tcp).collect()
    }

    /// A parcel with the smallest configuration, or one as long as there can be.
    fn parcel(path: &Path, long: bool, sockets: Sockets) -> io::Result<Parcel> {
        let mut file = b"ext.101 = correct-horse\nstate = /one\nuser = alice\n".to_vec();
        if long {
            file.resize(MAX_BYTES, b'#');
        }
        let config = Config::parse("x", &file).unwrap();
        Parcel::new(path, &config, &file, true, sockets)
    }

    #[test]
    fn everything_arrives_again_and_again() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/tmp/\xff not UTF-8.conf"));
        for (udp, tcp) in [(MAX_SOCKETS, 0), (1, 2), (0, 0)] {
            let parcel = parcel(path, true, sockets(udp, tcp)).unwrap();
            for _ in 0..2 {
                let (ours, theirs) = UnixStream::pair().unwrap();
                // Nobody has to read for it to be sent.
                parcel.send(&ours, 0).unwrap();
                let taken = receive(theirs).unwrap();
                assert_eq!(taken.path, path);
                assert_eq!(taken.config.extensions.len(), 1);
                assert!(taken.has_state);
                assert_eq!(addresses(&taken.sockets), addresses(&parcel.sockets));
                assert!(taken.link.next().unwrap().is_none());
                taken.link.ready();
                let mut octet = [0];
                (&ours).read_exact(&mut octet).unwrap();
                assert_eq!(octet, [READY]);
                drop(ours);
                assert!(taken.link.next().is_err());
            }
        }
    }

    #[test]
    fn orders_are_answered_by_their_number() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link(theirs);
        for number in [0, 1, 63] {
            parcel(Path::new("x"), false, sockets(1, 1)).unwrap().send(&ours, number).unwrap();
        }
        // Nonsense is refused by itself.
        send(&ours, [VERSION, b'x', 7], &[ours.as_fd()]).unwrap();
        for number in [0, 1, 63] {
            let Some(Order::Reload { config, sockets, number: told }) = link.next().unwrap() else {
                panic!()
            };
            assert_eq!((told, config.extensions.len(), addresses(&sockets).len()), (number, 1, 2));
            link.answer(told, number == 1);
        }
        assert!(link.next().unwrap().is_none());
        let mut octets = [0; 4];
        (&ours).read_exact(&mut octets).unwrap();
        assert_eq!(octets, [answer(0, false), answer(1, true), answer(63, false), answer(7, false)]);
        assert!(!octets.contains(&READY));
        send(&ours, [VERSION + 1, SERVE, 0], &[ours.as_fd()]).unwrap();
        assert!(link.next().is_err());
    }

    #[test]
    fn what_cannot_change_stays_as_it_was() {
        let parcel = parcel(Path::new("x"), false, sockets(0, 0)).unwrap();
        let later = |text: &str| {
            let mut config = Config::parse("x", format!("ext.1 = secret\n{text}").as_bytes()).unwrap();
            let keys = parcel.lasting.hold(&mut config);
            assert_eq!(Lasting::of(&config), parcel.lasting);
            keys
        };
        assert_eq!(later("state = /one\nuser = alice\necho = 5"), [""; 0]);
        assert_eq!(later("user = alice"), ["state"]);
        assert_eq!(later("sandbox = off"), ["state", "user", "sandbox"]);
        // Whatever the file says, the next exchange gets it so as well.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut config = Config::parse("x", b"ext.1 = secret\nstate = /two").unwrap();
        parcel.lasting.hold(&mut config);
        let file = b"ext.1 = secret\nstate = /two";
        Parcel::new(Path::new("x"), &config, file, false, sockets(0, 0)).unwrap().send(&ours, 0).unwrap();
        let taken = receive(theirs).unwrap();
        assert_eq!((taken.config.state, taken.has_state), (PathBuf::from("/one"), false));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let refused = |preamble: &[u8], descriptors: &[BorrowedFd<'_>]| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            match <[u8; PREAMBLE]>::try_from(preamble) {
                Ok(preamble) if !descriptors.is_empty() => send(&ours, preamble, descriptors).unwrap(),
                _ => (&ours).write_all(preamble).unwrap(),
            }
            drop(ours);
            receive(theirs).unwrap_err().to_string()
        };
        let whole = parcel(Path::new("x"), false, sockets(1, 0)).unwrap();
        assert_eq!(refused(&[VERSION, SERVE, 0], &[whole.body.as_fd()]), "0 of 1 sockets came");
        assert!(refused(b"", &[]).contains("unexpected end"));
        assert!(refused(&[VERSION, SERVE], &[]).contains("unexpected end"));
        assert!(refused(&[VERSION, SERVE, 0], &[]).contains("unexpected end"));
        assert!(refused(&[VERSION + 1, SERVE, 0], &[]).contains("version 3"));
        let large = sealed(&vec![0; MAX_BODY + 1]).unwrap();
        assert!(refused(&[VERSION, SERVE, 0], &[large.as_fd()]).contains("too many"));
        let mut bytes =
            vec![0; File::from(whole.body.try_clone().unwrap()).metadata().unwrap().len() as usize];
        File::from(whole.body.try_clone().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
        for length in 0..bytes.len() {
            let part = sealed(&bytes[..length]).unwrap();
            refused(&[VERSION, SERVE, 0], &[part.as_fd(), whole.sockets.udp[0].as_fd()]);
        }
        assert!(parcel(Path::new("x"), false, sockets(MAX_SOCKETS, 1)).is_err());
    }

    #[test]
    fn whoever_does_not_take_it_is_given_up() {
        let parcel = parcel(Path::new("x"), true, sockets(1, 1)).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        // Nothing that is sent can be changed by who gets it.
        let changed = File::from(parcel.body.try_clone().unwrap()).write_all_at(b"other", 0);
        assert_eq!(changed.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let sent = (0..100_000).find_map(|_| parcel.send(&ours, 0).err()).unwrap();
        assert_eq!(sent.kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        assert_eq!(parcel.send(&ours, 0).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

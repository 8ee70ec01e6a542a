//! What the keeper hands over to an exchange, and how.
//!
//! One message on a stream socket: three octets, which say the version, what it is, and its number, then
//! [`Past`], and with them descriptors (`SCM_RIGHTS`). The first is a sealed file in memory with `Body` in
//! postcard's form, the others are the sockets. So a message is as short as it can be, and to send one never
//! blocks. Back come single octets: [`READY`], and one for each later message (`answer`).

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};

use super::Sockets;
use crate::config::{Config, MAX_BYTES, MAX_LISTEN, Sandbox};
use crate::net::{Predecessor, descriptors, sys};

/// The most sockets for SIP that are handed over: one of each family for each `listen`.
pub const MAX_SOCKETS: usize = 2 * MAX_LISTEN;

/// How long an exchange waits for its keeper at the start.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the exchange says when it is about to serve.
pub(super) const READY: u8 = b'r';

/// Another one means that what follows cannot be understood.
const VERSION: u8 = 3;

/// A message that says what to serve.
const SERVE: u8 = b's';

/// The same for one that takes over from another: its end of what joins the two, and where its log goes once
/// it has, follow the sockets.
const INHERIT: u8 = b'i';

/// A message with the other end: there is an heir.
const BEQUEATH: u8 = b'b';

/// Version, kind, number, and the past.
const PREAMBLE: usize = 3 + Past::LENGTH;

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
        let control = sockets.control.is_some();
        let (udp, tcp) = (udp as u8, tcp as u8);
        let body = Body { path, file, lasting: lasting.clone(), has_state, udp, tcp, control };
        let body = postcard::to_allocvec(&body).map_err(io::Error::other)?;
        if body.len() > MAX_BODY {
            return Err(io::Error::other("the configuration and its path are too long"));
        }
        Ok(Parcel { body: sealed(&body)?, sockets, lasting, has_state })
    }

    /// Sends all of it, without waiting. `number` comes back with the answer.
    pub(super) fn send(&self, to: &UnixStream, number: u8, past: Past) -> io::Result<()> {
        send(to, SERVE, number, past, &self.descriptors())
    }

    /// The same to one that inherits from another exchange, by `predecessor`, and whose log goes to `log` then.
    pub(super) fn send_to_heir(
        &self,
        to: &UnixStream,
        past: Past,
        predecessor: BorrowedFd<'_>,
        log: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut descriptors = self.descriptors();
        descriptors.extend([predecessor, log]);
        send(to, INHERIT, 0, past, &descriptors)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let udp = self.sockets.udp.iter().map(AsFd::as_fd);
        let tcp = self.sockets.tcp.iter().map(AsFd::as_fd);
        let others = tcp.chain(self.sockets.control.iter().map(AsFd::as_fd));
        [self.body.as_fd()].into_iter().chain(udp).chain(others).collect()
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

/// Tells an exchange that there is an heir at the other end of `pair`.
pub(super) fn send_heir(to: &UnixStream, pair: BorrowedFd<'_>) -> io::Result<()> {
    send(to, BEQUEATH, 0, Past::default(), &[pair])
}

/// Sends a message, which fits any socket that is read now and then.
fn send(to: &UnixStream, kind: u8, number: u8, past: Past, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let octets = [&[VERSION, kind, number][..], &past.to_octets()].concat();
    match descriptors::send(to, &octets, descriptors, SendFlags::DONTWAIT)? {
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

fn receive(from: UnixStream) -> io::Result<Handover> {
    from.set_read_timeout(Some(PATIENCE))?;
    let Some(Message { kind, past, mut descriptors, .. }) = receive_message(&from, RecvFlags::empty())?
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let inheritance = match kind {
        SERVE => None,
        INHERIT => {
            let (log, pair) = (descriptors.pop(), descriptors.pop());
            let predecessor = Predecessor::new(pair.ok_or(io::ErrorKind::InvalidData)?.into());
            log.map(|log| Inheritance { predecessor, log })
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let Contents { path, config, has_state, sockets } = unpack(descriptors)?;
    Ok(Handover { path, config, has_state, sockets, past, link: Link { keeper: from, inheritance } })
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
    let body = File::from(descriptors.next().ok_or_else(descriptors::missing)?);
    let length = body.metadata()?.len();
    if length > MAX_BODY as u64 {
        return Err(io::Error::other(format!("{length} octets are too many")));
    }
    let mut bytes = vec![0; length as usize];
    body.read_exact_at(&mut bytes, 0)?;
    let body: Body<'_> = postcard::from_bytes(&bytes).map_err(io::Error::other)?;

    let (udp, tcp) = (usize::from(body.udp), usize::from(body.tcp));
    let sent = udp + tcp + usize::from(body.control);
    if descriptors.len() != sent {
        return Err(io::Error::other(format!("{} of {sent} sockets came", descriptors.len())));
    }
    let sockets = Sockets {
        udp: descriptors.by_ref().take(udp).map(UdpSocket::from).collect(),
        tcp: descriptors.by_ref().take(tcp).map(TcpListener::from).collect(),
        control: descriptors.next().map(UnixListener::from),
        ..Sockets::default()
    };
    let path = PathBuf::from(OsString::from_vec(body.path.to_vec()));
    let mut config = Config::parse(&path.display().to_string(), body.file).map_err(io::Error::other)?;
    body.lasting.hold(&mut config);
    Ok(Contents { path, config, has_state: body.has_state, sockets })
}

/// What came from the other side.
struct Message {
    kind: u8,
    number: u8,
    past: Past,
    descriptors: Vec<OwnedFd>,
}

/// Reads a message. `None` if there is none yet, and it is not to be waited for.
fn receive_message(from: &UnixStream, flags: RecvFlags) -> io::Result<Option<Message>> {
    let mut preamble = [0; PREAMBLE];
    let (octets, descriptors) = match descriptors::receive(from, &mut preamble, flags) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && flags.contains(RecvFlags::DONTWAIT) => {
            return Ok(None);
        }
        other => other?,
    };
    // It was sent in one piece; another version may be shorter.
    if octets != PREAMBLE && (octets == 0 || preamble[0] == VERSION) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [version, kind, number, past @ ..] = preamble;
    if version != VERSION {
        return Err(io::Error::other(format!("its keeper speaks version {version}, and not {VERSION}")));
    }
    Ok(Some(Message { kind, number, past: Past::from_octets(past), descriptors }))
}

/// What joins an exchange to its keeper. Readable when the keeper wants something, or is gone.
#[derive(Debug)]
pub struct Link {
    keeper: UnixStream,
    inheritance: Option<Inheritance>,
}

/// What an exchange has besides that takes over from another.
#[derive(Debug)]
struct Inheritance {
    predecessor: Predecessor,
    /// Where the log goes when it has: until then its words are for whoever wants it to.
    log: OwnedFd,
}

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
    /// To leave everything to the exchange at the other end of this.
    Bequeath(UnixStream),
}

impl Link {
    /// Tells the keeper that the exchange serves: if it dies from now on, it is started again. The one from
    /// which it has inherited ends.
    ///
    /// # Errors
    ///
    /// Those of [`Predecessor::relieve`].
    pub fn ready(&self) -> io::Result<()> {
        if let Some(Inheritance { predecessor, log }) = &self.inheritance {
            predecessor.relieve()?;
            // Where it cannot be had, the log ends with whoever reads it now.
            let _ = rustix::stdio::dup2_stderr(log);
        }
        self.say(READY);
        Ok(())
    }

    /// From whom this exchange inherits, if it is not the first one.
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.inheritance.as_ref().map(|inheritance| &inheritance.predecessor)
    }

    /// The next order, if there is one. One whose sockets could not all be had is answered as not obeyed.
    ///
    /// # Errors
    ///
    /// The keeper is gone.
    pub fn next(&self) -> io::Result<Option<Order>> {
        loop {
            let message = receive_message(&self.keeper, RecvFlags::DONTWAIT)?;
            let Some(Message { kind, number, mut descriptors, .. }) = message else { return Ok(None) };
            if kind == BEQUEATH {
                match descriptors.pop() {
                    Some(pair) => return Ok(Some(Order::Bequeath(pair.into()))),
                    None => continue,
                }
            }
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
        let _ = rustix::net::send(&self.keeper, &[octet], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.keeper.as_fd()
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

    const PAST: Past = Past { since: 1_795_391_506, exchanges: 7 };

    fn sockets(udp: usize, tcp: usize) -> Sockets {
        Sockets {
            udp: (0..udp).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect(),
            tcp: (0..tcp).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect(),
            // Any socket will do.
            control: (tcp != 1).then(|| UnixListener::from(OwnedFd::from(UnixStream::pair().unwrap().0))),
            ..Sockets::default()
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
                parcel.send(&ours, 0, PAST).unwrap();
                let taken = receive(theirs).unwrap();
                assert_eq!(taken.path, path);
                assert_eq!(taken.config.extensions.len(), 1);
                assert!(taken.has_state);
                assert_eq!(addresses(&taken.sockets), addresses(&parcel.sockets));
                assert_eq!(taken.sockets.control.is_some(), parcel.sockets.control.is_some());
                assert_eq!(taken.past, PAST);
                assert!(taken.link.next().unwrap().is_none());
                taken.link.ready().unwrap();
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
        let link = Link { keeper: theirs, inheritance: None };
        for number in [0, 1, 63] {
            parcel(Path::new("x"), false, sockets(1, 1)).unwrap().send(&ours, number, PAST).unwrap();
        }
        // Nonsense is refused by itself.
        send(&ours, b'x', 7, PAST, &[ours.as_fd()]).unwrap();
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
        (&ours).write_all(&[VERSION + 1; PREAMBLE]).unwrap();
        assert!(link.next().is_err());
    }

    #[test]
    fn an_heir_gets_its_end_and_its_log_besides() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let whole = parcel(Path::new("x"), false, sockets(1, 2)).unwrap();
        whole.send_to_heir(&ours, PAST, other.as_fd(), ours.as_fd()).unwrap();
        drop(other);
        let taken = receive(theirs).unwrap();
        assert_eq!(addresses(&taken.sockets), addresses(&whole.sockets));
        taken.link.predecessor().unwrap().relieve().unwrap();
        (&one).read_exact(&mut [0]).unwrap();

        send_heir(&ours, one.as_fd()).unwrap();
        let Some(Order::Bequeath(pair)) = taken.link.next().unwrap() else { panic!() };
        taken.link.predecessor().unwrap().relieve().unwrap();
        (&pair).read_exact(&mut [0]).unwrap();
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
        Parcel::new(Path::new("x"), &config, file, false, sockets(0, 0))
            .unwrap()
            .send(&ours, 0, PAST)
            .unwrap();
        let taken = receive(theirs).unwrap();
        assert_eq!((taken.config.state, taken.has_state), (PathBuf::from("/one"), false));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let refused = |octets: &[u8], descriptors: &[BorrowedFd<'_>]| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            descriptors::send(&ours, octets, descriptors, SendFlags::empty()).unwrap();
            drop(ours);
            receive(theirs).unwrap_err().to_string()
        };
        let mut octets = [0; PREAMBLE];
        octets[..2].copy_from_slice(&[VERSION, SERVE]);
        let whole = parcel(Path::new("x"), false, sockets(1, 0)).unwrap();
        assert_eq!(refused(&octets, &[whole.body.as_fd()]), "0 of 2 sockets came");
        for length in 1..PREAMBLE {
            assert!(refused(&octets[..length], &[]).contains("unexpected end"));
        }
        assert!(refused(&octets, &[]).contains("not all sockets came"));
        assert!(refused(&[VERSION - 1, 0, 0, 0, 0], &[]).contains("speaks version 2"));
        let large = sealed(&vec![0; MAX_BODY + 1]).unwrap();
        assert!(refused(&octets, &[large.as_fd()]).contains("too many"));
        let mut bytes =
            vec![0; File::from(whole.body.try_clone().unwrap()).metadata().unwrap().len() as usize];
        File::from(whole.body.try_clone().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
        for length in 0..bytes.len() {
            let part = sealed(&bytes[..length]).unwrap();
            refused(&octets, &[part.as_fd(), whole.sockets.udp[0].as_fd()]);
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
        let sent = (0..100_000).find_map(|_| parcel.send(&ours, 0, PAST).err()).unwrap();
        assert_eq!(sent.kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        assert_eq!(parcel.send(&ours, 0, PAST).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

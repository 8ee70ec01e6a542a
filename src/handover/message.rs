//! How the keeper and an exchange speak to each other.
//!
//! The keeper sends one message on a stream socket: three octets, which say the version, what it is, and its number,
//! then [`Past`], and with them descriptors (`SCM_RIGHTS`). So a message is as short as it can be, and to send one
//! never blocks. Back come single octets: [`READY`], and one for each order ([`answer`]).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvFlags, SendFlags};

use super::descriptors;

/// What the exchange says when it is about to serve.
pub(crate) const READY: u8 = b'r';

/// Another one means that what follows cannot be understood.
pub(super) const VERSION: u8 = 5;

/// A message that says what to serve.
pub(super) const SERVE: u8 = b's';

/// The same for one that takes over from another: its end of what joins the two, and where its log goes once
/// it has, follow the sockets.
pub(super) const INHERIT: u8 = b'i';

/// A message with the other end: there is an heir.
pub(super) const BEQUEATH: u8 = b'b';

/// A message with another certificate for TLS, and nothing else.
pub(super) const RENEW: u8 = b't';

/// A message with what the system's files say of name servers and names. It is not answered.
pub(super) const NAMES: u8 = b'n';

/// Version, kind, number, and the past.
pub(super) const PREAMBLE: usize = 3 + Past::LENGTH;

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

/// Tells an exchange that there is an heir at the other end of `pair`.
pub(crate) fn send_heir(to: &UnixStream, pair: BorrowedFd<'_>) -> io::Result<()> {
    send(to, BEQUEATH, 0, Past::default(), &[pair])
}

/// Sends a message, which fits any socket that is read now and then.
pub(super) fn send(
    to: &UnixStream,
    kind: u8,
    number: u8,
    past: Past,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let octets = [&[VERSION, kind, number][..], &past.to_octets()].concat();
    match descriptors::send(to, &octets, descriptors, SendFlags::DONTWAIT)? {
        PREAMBLE => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// What came from the other side.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) number: u8,
    pub(super) past: Past,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Reads a message. `None` if there is none yet, and it is not to be waited for.
pub(super) fn receive_message(from: &UnixStream, flags: RecvFlags) -> io::Result<Option<Message>> {
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

/// How an order of this number, of which the lowest six bits count, is answered in one octet.
pub(crate) fn answer(number: u8, is_done: bool) -> u8 {
    0x80 | (number & 0x3f) << 1 | u8::from(is_done)
}

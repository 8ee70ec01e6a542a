//! Descriptors that go from one process to another, with octets on a local socket (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors that go with one message (`SCM_MAX_FD`).
pub(super) const MOST: usize = 253;

/// Sends octets, and with the first of them descriptors, at most [`MOST`]. Returns how many octets were sent.
///
/// # Errors
///
/// Those of sendmsg(2).
pub(super) fn send(
    to: &UnixStream,
    octets: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE.into());
    }
    let flags = flags | SendFlags::NOSIGNAL;
    Ok(retry_on_intr(|| sendmsg(to, &[IoSlice::new(octets)], &mut control, flags))?)
}

/// Receives octets, how many is returned, and the descriptors that came with them, which no program that is
/// executed gets. There are none if not all of them could be had, because the process may not open so many
/// files: the octets still count.
///
/// # Errors
///
/// Those of recvmsg(2).
pub(super) fn receive(
    from: &UnixStream,
    octets: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let message = retry_on_intr(|| recvmsg(from, &mut [IoSliceMut::new(octets)], &mut control, flags))?;
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Ok((message.bytes, Vec::new()));
    }
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    Ok((message.bytes, received))
}

/// What is wrong where descriptors should have come, and none have.
pub(super) fn missing() -> io::Error {
    io::Error::other("not all sockets came; may the process open so many files?")
}

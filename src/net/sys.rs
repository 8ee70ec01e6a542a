//! System calls that no safe crate offers: batches of datagrams with the address that they were
//! sent to (`recvmmsg`, `sendmmsg`, `PKTINFO`), signals as something to read, and what descriptors a
//! program that is executed gets.
//!
//! This is the one module with `unsafe`. What makes it sound:
//!
//! - Every pointer that the kernel is given points into a local array or a borrowed slice that
//!   outlives the call, and is given with the length of what it points at. The kernel keeps none
//!   of them after the call, and neither do we: headers are built anew for each call.
//! - The structures are plain C data for which all zeros is a valid value.
//! - Lengths that the kernel hands back are clamped before they index anything.
//! - The signal handler does nothing but an atomic load and `write`, which POSIX allows there.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

use heapless::Vec as FixedVec;

/// The most datagrams that one call receives or sends.
pub const BATCH: usize = 64;

/// Room for one PKTINFO of either family, aligned as `cmsghdr` wants.
const CONTROL_WORDS: usize = 6;

/// From this size on, a datagram leaves behind memory that is worth giving back.
const LARGE: usize = 8192;

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// What it says.
    pub bytes: &'a [u8],
    /// The address of ours that it was sent to, if the socket was asked to tell
    /// ([`receive_packet_info`]).
    pub local: Option<IpAddr>,
    /// Who sent it.
    pub remote: SocketAddr,
}

/// Where batches of datagrams are received. Serves any number of sockets, one at a time.
///
/// Each slot is large enough for its datagram, so nothing is cut off; memory is bounded another
/// way. Pages that were never written cost nothing, so as long as datagrams are of ordinary size
/// only the first one of each slot is real. When large ones have come, all pages are given back
/// to the system before the next call: a flood of 64 KB datagrams occupies at most
/// `slots × size`, and only while it is being handled.
pub struct Inbox {
    buffer: Vec<u8>,
    size: usize,
    received: FixedVec<Received, BATCH>,
    swollen: bool,
}

/// What is known of the datagram in a slot.
struct Received {
    slot: usize,
    len: usize,
    local: Option<IpAddr>,
    remote: SocketAddr,
}

impl Inbox {
    /// An inbox for up to `slots` datagrams a call, at most [`BATCH`], of up to `size` bytes.
    pub fn new(slots: usize, size: usize) -> Inbox {
        Inbox {
            buffer: vec![0; slots.clamp(1, BATCH) * size],
            size,
            received: FixedVec::new(),
            // An allocator may have written its zeros, and made every page real.
            swollen: true,
        }
    }

    /// Receives what is there, without waiting. The datagrams of the last call are gone.
    ///
    /// Skipped are datagrams longer than a slot, and such as claim an IPv4-mapped IPv6 source,
    /// which no honest packet has.
    ///
    /// Returns how many slots were used, which may be more than [`Inbox::datagrams`] has.
    ///
    /// # Errors
    ///
    /// Those of `recvmmsg`: `WouldBlock` when nothing is there, or an ICMP error that an earlier
    /// datagram caused; the latter says nothing about the socket.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.received.clear();
        if mem::take(&mut self.swollen) {
            self.give_back();
        }

        let slots = self.buffer.len() / self.size;
        // SAFETY: all of these are plain data for which zeros are valid.
        let mut names: [Name; BATCH] = unsafe { mem::zeroed() };
        let mut controls = [[0u64; CONTROL_WORDS]; BATCH];
        // SAFETY: as above; null pointers are valid as long as they are not used.
        let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for (i, slot) in self.buffer.chunks_exact_mut(self.size).enumerate() {
            vectors[i].iov_base = slot.as_mut_ptr().cast();
            vectors[i].iov_len = slot.len();
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = mem::size_of::<Name>() as _;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = controls[i].as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&controls[i]) as _;
        }
        // SAFETY: `headers` holds `slots` headers, since `slots` is at most BATCH; each points at
        // a name, a control block, and a vector that points at a slot of its own, all alive.
        let count = retry(|| unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                slots as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            ) as isize
        })?
        .min(slots);

        for (slot, header) in headers[..count].iter().enumerate() {
            let len = (header.msg_len as usize).min(self.size);
            self.swollen |= len > LARGE;
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            let Some(remote) = names[slot].address() else {
                continue;
            };
            if matches!(remote.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
                continue;
            }
            let local = packet_info(&header.msg_hdr);
            // There is room: the vector is as long as the batch.
            let _ = self.received.push(Received { slot, len, local, remote });
        }
        Ok(count)
    }

    /// What the last call received, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.received.iter().map(|r| Datagram {
            bytes: &self.buffer[r.slot * self.size..][..r.len],
            local: r.local,
            remote: r.remote,
        })
    }

    /// Tells the system that the buffer's content is not needed.
    fn give_back(&mut self) {
        const PAGE: usize = 4096; // a smaller page than the machine's makes the call fail, no more
        let skip = self.buffer.as_ptr().align_offset(PAGE);
        let Some(pages) = self.buffer.get_mut(skip..) else {
            return;
        };
        let len = pages.len() / PAGE * PAGE;
        // SAFETY: the range lies inside our own buffer, which is private anonymous memory and
        // borrowed mutably, with nobody reading it; afterwards it reads as zeros, valid bytes.
        unsafe { libc::madvise(pages.as_mut_ptr().cast(), len, libc::MADV_DONTNEED) };
    }
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What it says.
    pub bytes: &'a [u8],
    /// The address of ours that it is sent from; `None` for the one that the socket is bound to.
    pub from: Option<IpAddr>,
    /// Where it goes, in the socket's own family.
    pub to: SocketAddr,
}

/// Sends the first of a row of datagrams, at most [`BATCH`], without waiting. Returns how many
/// the system took, at least one unless the row is empty.
///
/// # Errors
///
/// Those of `sendmmsg`, and they are about the first datagram: `WouldBlock` when the socket's
/// buffer is full, or why this one cannot be sent.
pub fn send<'a>(socket: impl AsFd, datagrams: impl Iterator<Item = Outgoing<'a>>) -> io::Result<usize> {
    let mut names: FixedVec<(Name, u32), BATCH> = FixedVec::new();
    let mut controls: FixedVec<([u64; CONTROL_WORDS], usize), BATCH> = FixedVec::new();
    let mut vectors: FixedVec<libc::iovec, BATCH> = FixedVec::new();
    for datagram in datagrams.take(BATCH) {
        // There is room for all that `take` lets through.
        let _ = names.push(Name::new(datagram.to));
        let _ = controls.push(source_control(datagram.from, datagram.to));
        let _ = vectors.push(libc::iovec {
            iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
            iov_len: datagram.bytes.len(),
        });
    }
    if vectors.is_empty() {
        return Ok(0);
    }

    let mut headers: FixedVec<libc::mmsghdr, BATCH> = FixedVec::new();
    for ((name, control), vector) in names.iter_mut().zip(&mut controls).zip(&mut vectors) {
        // SAFETY: plain data for which zeros are valid.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_name = (&raw mut name.0).cast();
        header.msg_hdr.msg_namelen = name.1;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        if control.1 > 0 {
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.1 as _;
        }
        let _ = headers.push(header);
    }
    // SAFETY: each header points at a name, a control block and a vector of its own, all alive
    // until the end of this function; the kernel only reads the bytes that the vectors point at.
    retry(|| unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        ) as isize
    })
}

/// Makes a socket of the given family tell which of our addresses a datagram was sent to.
pub fn receive_packet_info(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    let (level, name) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option's value is a C int, which lives during the call and is given with its size.
    retry(|| unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            mem::size_of_val(&on) as _,
        ) as isize
    })
    .map(drop)
}

/// Sees to it that a program that is executed gets no descriptor of ours but the three standard ones and
/// those that it is given: whoever started us may have left some open.
///
/// # Errors
///
/// If `/proc/self/fd` cannot be read.
pub fn close_at_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name();
        let Some(number) = number.to_str().and_then(|number| number.parse::<libc::c_int>().ok()) else {
            continue;
        };
        if number > libc::STDERR_FILENO {
            // SAFETY: takes integers, and touches no memory. It closes nothing now, and whatever this
            // process has opened itself has the flag already. The folder's own descriptor is open, and
            // any that was closed meanwhile is an error that does not matter.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Calls until the answer is not `EINTR`.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match call() {
            count if count >= 0 => return Ok(count as usize),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// A socket address as the kernel writes it. Both start with the family.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// The kernel's form of an address, and its length.
    fn new(address: SocketAddr) -> (Name, u32) {
        // SAFETY: plain data for which zeros are valid.
        let mut name: Name = unsafe { mem::zeroed() };
        match address {
            SocketAddr::V4(address) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: in_addr(*address.ip()),
                    sin_zero: [0; 8],
                };
                (name, mem::size_of::<libc::sockaddr_in>() as u32)
            }
            SocketAddr::V6(address) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (name, mem::size_of::<libc::sockaddr_in6>() as u32)
            }
        }
    }

    /// The address, if it is of a family we speak.
    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: both members start with the family, and all bytes were initialised with zeros;
        // any bytes are a valid value of either.
        match i32::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: as above.
                let v4 = unsafe { self.v4 };
                let ip = ipv4(v4.sin_addr);
                Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)))
            }
            _ => None,
        }
    }
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }
}

fn ipv4(address: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(address.s_addr.to_ne_bytes())
}

/// The address that a datagram was sent to, from its PKTINFO.
fn packet_info(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel filled in the control block and its length, and the block is alive.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or an aligned header inside the block.
        let (level, kind, len) =
            unsafe { ((*control).cmsg_level, (*control).cmsg_type, (*control).cmsg_len as usize) };
        // SAFETY: only computes an address inside the block.
        let data = unsafe { libc::CMSG_DATA(control) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if len >= control_len::<libc::in_pktinfo>() => {
                // SAFETY: the length says that the whole structure is there.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                // Not ipi_addr: of a broadcast, spec_dst is the address to answer from.
                return Some(IpAddr::V4(ipv4(info.ipi_spec_dst)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if len >= control_len::<libc::in6_pktinfo>() => {
                // SAFETY: the length says that the whole structure is there.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                return Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
            }
            // SAFETY: both lie inside the block, as above.
            _ => control = unsafe { libc::CMSG_NXTHDR(header, control) },
        }
    }
    None
}

/// A control block that names the source address of a datagram, and how much of it is used.
fn source_control(from: Option<IpAddr>, to: SocketAddr) -> ([u64; CONTROL_WORDS], usize) {
    match (from, to) {
        (Some(IpAddr::V4(ip)), SocketAddr::V4(_)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr(ip),
                ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
            };
            control_block(libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        (Some(IpAddr::V6(ip)), SocketAddr::V6(to)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                // A link-local source means nothing without its link.
                ipi6_ifindex: to.scope_id() as _,
            };
            control_block(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
        _ => ([0; CONTROL_WORDS], 0),
    }
}

/// A control block with one header and its data.
fn control_block<T>(level: i32, kind: i32, data: T) -> ([u64; CONTROL_WORDS], usize) {
    // SAFETY: only computes a length.
    let space = unsafe { libc::CMSG_SPACE(mem::size_of::<T>() as u32) } as usize;
    let mut block = [0u64; CONTROL_WORDS];
    assert!(space <= mem::size_of_val(&block), "the block has room for either family's PKTINFO");
    let header = block.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the block is aligned for a header and, as just checked, long enough for the header
    // and the data behind it.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = control_len::<T>() as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(data);
    }
    (block, space)
}

/// The length of a control header and its data.
fn control_len<T>() -> usize {
    // SAFETY: only computes a length.
    unsafe { libc::CMSG_LEN(mem::size_of::<T>() as u32) as usize }
}

/// What the system or the operator asks a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is closed, or somebody wants the configuration to be read again.
    HangUp,
    /// SIGCHLD: a child has ended. One may stand for several.
    Child,
}

/// Signals as a descriptor that becomes readable.
pub struct Signals {
    read: UnixStream,
}

/// Where the signal handler writes; -1 before there is such a place.
static SIGNALS: AtomicI32 = AtomicI32::new(-1);

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP, for the rest of the life of the process; but not a SIGHUP
    /// that whoever started it wants ignored (`nohup`). Works whichever threads there are; a second
    /// call takes the signals over from the first.
    pub fn catch() -> io::Result<Signals> {
        Signals::catch_all(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
    }

    /// Catches SIGCHLD as well.
    pub fn catch_with_children() -> io::Result<Signals> {
        Signals::catch_all(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD])
    }

    fn catch_all(signals: &[libc::c_int]) -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        // The handler may run at any time from now on, so this end is never closed.
        SIGNALS.store(write.into_raw_fd(), Ordering::SeqCst);
        for &signal in signals {
            // SAFETY: plain data for which zeros are valid.
            let mut before: libc::sigaction = unsafe { mem::zeroed() };
            // SAFETY: changes nothing, and `before` lives during the call.
            retry(|| unsafe { libc::sigaction(signal, std::ptr::null(), &mut before) as isize })?;
            if signal == libc::SIGHUP && before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            // SAFETY: plain data for which zeros are valid.
            let mut action: libc::sigaction = unsafe { mem::zeroed() };
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            // SAFETY: `action` lives during the call, and the handler does only what a handler may.
            retry(|| unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) as isize })?;
        }
        Ok(Signals { read })
    }

    /// The oldest signal that was not read yet.
    pub fn next(&self) -> Option<Signal> {
        let mut byte = [0];
        loop {
            match io::Read::read(&mut &self.read, &mut byte) {
                Ok(1) => match i32::from(byte[0]) {
                    libc::SIGINT => return Some(Signal::Interrupt),
                    libc::SIGHUP => return Some(Signal::HangUp),
                    libc::SIGTERM => return Some(Signal::Terminate),
                    libc::SIGCHLD => return Some(Signal::Child),
                    _ => {}
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return None,
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// Lets the process write to its terminal from the background, where that would stop it (`stty tostop`).
pub fn write_from_background() -> io::Result<()> {
    // SAFETY: plain data for which zeros are valid.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = libc::SIG_IGN;
    // SAFETY: `action` lives during the call, and no handler is installed.
    retry(|| unsafe { libc::sigaction(libc::SIGTTOU, &action, std::ptr::null_mut()) as isize }).map(drop)
}

/// Passes a signal on to whoever reads [`Signals`].
extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: errno is the thread's own; write is allowed in a handler, takes one byte from a
    // local variable, and fails harmlessly when the pipe is full. errno must look untouched to
    // the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(SIGNALS.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn wildcard(ipv6: bool) -> UdpSocket {
        let socket = match ipv6 {
            true => UdpSocket::bind("[::]:0").unwrap(),
            false => UdpSocket::bind("0.0.0.0:0").unwrap(),
        };
        receive_packet_info(&socket, ipv6).unwrap();
        socket
    }

    fn wait(socket: &UdpSocket) {
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let _ = socket.peek(&mut [0]);
    }

    #[test]
    fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.7.8.9", "::1"] {
            let asked: IpAddr = asked.parse().unwrap();
            let server = wildcard(asked.is_ipv6());
            let client = UdpSocket::bind((if asked.is_ipv6() { "::1" } else { "127.0.0.1" }, 0)).unwrap();
            let server_address = SocketAddr::new(asked, server.local_addr().unwrap().port());
            client.send_to(b"who?", server_address).unwrap();

            wait(&server);
            let mut inbox = Inbox::new(4, 100);
            assert_eq!(inbox.receive(&server).unwrap(), 1);
            let datagram = inbox.datagrams().next().unwrap();
            let remote = client.local_addr().unwrap();
            assert_eq!(datagram, Datagram { bytes: b"who?", local: Some(asked), remote });

            let answer = Outgoing { bytes: b"me", from: datagram.local, to: datagram.remote };
            assert_eq!(send(&server, [answer].into_iter()).unwrap(), 1);
            wait(&client);
            let mut buffer = [0; 10];
            assert_eq!(client.recv_from(&mut buffer).unwrap(), (2, server_address));
        }
    }

    #[test]
    fn batches_keep_their_order_and_their_limit() {
        let (server, client) = (wildcard(true), UdpSocket::bind("[::1]:0").unwrap());
        let to = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), server.local_addr().unwrap().port());
        let texts: Vec<String> = (0..BATCH + 10).map(|n| format!("number {n}")).collect();
        let all = || texts.iter().map(|text| Outgoing { bytes: text.as_bytes(), from: None, to });
        assert_eq!(send(&client, all()).unwrap(), BATCH);
        assert_eq!(send(&client, all().skip(BATCH)).unwrap(), 10);

        wait(&server);
        let mut inbox = Inbox::new(50, 100);
        let mut received = Vec::new();
        for expected in [50, texts.len() - 50] {
            assert_eq!(inbox.receive(&server).unwrap(), expected);
            received.extend(inbox.datagrams().map(|d| d.bytes.to_vec()));
        }
        assert_eq!(received, texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
        assert_eq!(inbox.receive(&server).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(inbox.datagrams().count(), 0);
    }

    #[test]
    fn the_largest_datagrams_arrive_whole_and_leave_no_memory_behind() {
        let (server, client) = (wildcard(true), UdpSocket::bind("[::1]:0").unwrap());
        let to = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), server.local_addr().unwrap().port());
        let large: Vec<u8> = (0..65_527u32).map(|n| n as u8).collect();
        let mut inbox = Inbox::new(BATCH, 65_536);
        for round in 0..3 {
            client.send_to(&large, to).unwrap();
            client.send_to(b"small", to).unwrap();
            wait(&server);
            assert_eq!(inbox.receive(&server).unwrap(), 2, "round {round}");
            let received: Vec<_> = inbox.datagrams().map(|d| d.bytes.to_vec()).collect();
            assert_eq!(received, [large.clone(), b"small".to_vec()]);
        }
        let _ = inbox.receive(&server);
        assert!(inbox.buffer[8192..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_does_not_fit_is_skipped() {
        let (server, client) = (wildcard(false), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = ("127.0.0.1", server.local_addr().unwrap().port());
        for text in ["short", "too long for a slot", "fits"] {
            client.send_to(text.as_bytes(), to).unwrap();
        }
        wait(&server);
        let mut inbox = Inbox::new(8, 6);
        assert_eq!(inbox.receive(&server).unwrap(), 3);
        let texts: Vec<_> = inbox.datagrams().map(|d| d.bytes).collect();
        assert_eq!(texts, [&b"short"[..], b"fits"]);
    }

    #[test]
    fn an_address_that_cannot_be_reached_is_an_error_of_its_own_datagram() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let good = Outgoing { bytes: b"x", from: None, to: client.local_addr().unwrap() };
        let bad = Outgoing { to: "127.0.0.1:0".parse().unwrap(), ..good };
        assert_eq!(send(&client, [good, bad, good].into_iter()).unwrap(), 1);
        assert!(send(&client, [bad, good].into_iter()).is_err());
        assert_eq!(send(&client, [].into_iter()).unwrap(), 0);
    }

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for address in ["192.0.2.1:5060", "[2001:db8::1]:5061", "[fe80::1%3]:7"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Name::new(address).0.address(), Some(address));
        }
        assert_eq!(Name { v4: unsafe { mem::zeroed() } }.address(), None);
    }
}

//! The system calls that the bench needs and std lacks: batches of datagrams with the kernel's
//! receive stamps, pinning, limits. The only unsafe code of the bench.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Datagrams in one system call.
pub(crate) const BATCH: usize = 64;
/// Octets kept of one datagram; no message of the bench is longer.
const DATAGRAM: usize = 4096;
/// Room for the control message of one receive stamp (`cmsghdr` and `timespec`).
const CONTROL: usize = 64;

/// Receives up to [`BATCH`] datagrams with one system call.
pub(crate) struct Inbox {
    data: Vec<[u8; DATAGRAM]>,
    control: Vec<[u64; CONTROL / 8]>,
    received: Vec<(usize, u64)>,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox {
            data: vec![[0; DATAGRAM]; BATCH],
            control: vec![[0; CONTROL / 8]; BATCH],
            received: Vec::with_capacity(BATCH),
        }
    }
}

impl Inbox {
    /// Takes what lies in the socket's buffer, without waiting, and returns how many datagrams.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // SAFETY: both are plain C structs for which all zeroes is a valid value.
        let mut iovecs: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for i in 0..BATCH {
            iovecs[i].iov_base = self.data[i].as_mut_ptr().cast();
            iovecs[i].iov_len = DATAGRAM;
            headers[i].msg_hdr.msg_iov = &raw mut iovecs[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            headers[i].msg_hdr.msg_control = self.control[i].as_mut_ptr().cast();
            headers[i].msg_hdr.msg_controllen = CONTROL as _;
        }
        self.received.clear();
        // SAFETY: each header points at one iovec and one control buffer of the stated lengths,
        // all of which outlive the call.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if n < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                // A closed port on the other side is told by the next receive; nothing is here.
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {
                    Ok(0)
                }
                _ => Err(error),
            };
        }
        for header in &headers[..n as usize] {
            self.received.push((header.msg_len as usize, stamp(&header.msg_hdr)));
        }
        Ok(n as usize)
    }

    /// The octets of the `i`th datagram of the last batch.
    pub(crate) fn datagram(&self, i: usize) -> &[u8] {
        &self.data[i][..self.received[i].0]
    }

    /// When the kernel received the `i`th datagram, in ns of the real-time clock; 0 if the socket
    /// was not asked to [`stamp_receipts`].
    pub(crate) fn stamp(&self, i: usize) -> u64 {
        self.received[i].1
    }
}

/// The receive stamp among the control messages of `header`.
fn stamp(header: &libc::msghdr) -> u64 {
    // SAFETY: the kernel has written `msg_controllen` octets of well-formed control messages; the
    // CMSG macros stay within them, and a `timespec` may be read unaligned.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET && (*control).cmsg_type == libc::SO_TIMESTAMPNS {
                let time: libc::timespec = libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned();
                return time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    0
}

/// Collects datagrams and sends them with few system calls.
#[derive(Default)]
pub(crate) struct Outbox {
    data: Vec<u8>,
    ends: Vec<(usize, SocketAddr)>,
}

impl Outbox {
    /// Puts a datagram in, written by `write`.
    pub(crate) fn put(&mut self, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.data);
        self.ends.push((self.data.len(), to));
    }

    /// Sends everything that was put in.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut start = 0;
        let mut parts: Vec<(usize, usize, SocketAddr)> = Vec::with_capacity(self.ends.len());
        for &(end, to) in &self.ends {
            parts.push((start, end, to));
            start = end;
        }
        let mut rest = &parts[..];
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(BATCH)];
            let sent = self.send(socket, batch)?;
            rest = &rest[sent..];
        }
        self.data.clear();
        self.ends.clear();
        Ok(())
    }

    fn send(&self, socket: &UdpSocket, batch: &[(usize, usize, SocketAddr)]) -> io::Result<usize> {
        // SAFETY: plain C structs for which all zeroes is a valid value.
        let mut iovecs: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        let mut names: [libc::sockaddr_in6; BATCH] = unsafe { mem::zeroed() };
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for (i, &(start, end, to)) in batch.iter().enumerate() {
            iovecs[i].iov_base = self.data[start..end].as_ptr().cast_mut().cast();
            iovecs[i].iov_len = end - start;
            headers[i].msg_hdr.msg_iov = &raw mut iovecs[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            headers[i].msg_hdr.msg_name = (&raw mut names[i]).cast();
            headers[i].msg_hdr.msg_namelen = match to {
                SocketAddr::V4(to) => {
                    // SAFETY: `sockaddr_in` is smaller than `sockaddr_in6` and not more aligned.
                    let name = unsafe { &mut *(&raw mut names[i]).cast::<libc::sockaddr_in>() };
                    name.sin_family = libc::AF_INET as _;
                    name.sin_port = to.port().to_be();
                    name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
                    mem::size_of::<libc::sockaddr_in>() as _
                }
                SocketAddr::V6(to) => {
                    names[i].sin6_family = libc::AF_INET6 as _;
                    names[i].sin6_port = to.port().to_be();
                    names[i].sin6_addr.s6_addr = to.ip().octets();
                    mem::size_of::<libc::sockaddr_in6>() as _
                }
            };
        }
        // SAFETY: each header points at one iovec and one name of the stated lengths, all of which
        // outlive the call; the kernel only reads through them.
        let n = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), batch.len() as _, 0) };
        if n < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                // The error of an earlier datagram, or a signal: nothing of this batch was sent.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        Ok(n as usize)
    }
}

/// A UDP socket with a receive buffer that does not overflow while the bench looks elsewhere.
pub(crate) fn roomy_socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at).map_err(|e| io::Error::new(e.kind(), format!("{at}: {e}")))?;
    set_option(&socket, libc::SO_RCVBUFFORCE, 16 << 20)
        .or_else(|_| set_option(&socket, libc::SO_RCVBUF, 16 << 20))?;
    set_option(&socket, libc::SO_SNDBUFFORCE, 4 << 20)
        .or_else(|_| set_option(&socket, libc::SO_SNDBUF, 4 << 20))?;
    Ok(socket)
}

/// Asks the kernel to stamp each datagram that `socket` receives.
pub(crate) fn stamp_receipts(socket: &UdpSocket) -> io::Result<()> {
    set_option(socket, libc::SO_TIMESTAMPNS, 1)
}

fn set_option(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option's value is a C int, given by address and size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as _,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The real-time clock in ns: the clock of the kernel's receive stamps.
pub(crate) fn realtime() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How many processors this machine has.
pub(crate) fn cores() -> usize {
    // SAFETY: takes and returns integers.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as usize
}

/// How far the bench and its programs stand before others.
const PRIORITY: libc::c_int = -19;

/// Puts this process and those that it starts before the ordinary ones of the machine, if allowed.
/// Where the kernel weighs sessions against each other, that takes a session of one's own.
pub(crate) fn take_precedence() {
    // SAFETY: these take and return integers.
    let leads_session = unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, PRIORITY);
        libc::getsid(0) == libc::getpid()
    };
    if leads_session {
        prefer_session("self");
    }
}

/// Gives the session of a process the same precedence.
pub(crate) fn prefer_session(process: &str) {
    // Where the kernel does not weigh sessions, or does not allow it, things stay as they are.
    let _ = std::fs::write(format!("/proc/{process}/autogroup"), PRIORITY.to_string());
}

/// Moves this process and those that it starts into a network of their own with nothing but
/// loopback: no port is taken there, and no firewall looks at the packets. Takes root.
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: takes an integer.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: a plain C struct for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: this request reads one ifreq with a name that ends in zeroes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many programs wanted a processor during the last minute, on average.
pub(crate) fn load() -> f64 {
    let mut load = [0.0];
    // SAFETY: writes at most the one double that it is told of.
    unsafe { libc::getloadavg(load.as_mut_ptr(), 1) };
    load[0]
}

/// Pins the calling thread to one processor.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a zeroed cpu_set_t is the empty set; CPU_SET stays within it for any real processor.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `command` run in a session of its own, pinned to one processor, with room for many sockets,
/// and stop if the bench dies.
pub(crate) fn prepare(command: &mut Command, core: usize) {
    // SAFETY: the closure makes system calls only: nothing that could deadlock or allocate
    // between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            pin(core)?;
            many_files()?;
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}

/// Raises the limit of open files to 60,000, or as far as is allowed.
pub(crate) fn many_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 60_000, rlim_max: 60_000 };
    // SAFETY: reads and writes one rlimit.
    let result = unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 {
            return Ok(());
        }
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to a process that the bench has started.
pub(crate) fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: takes integers. A process that is gone is not an error here.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Waits until one of `sockets` is readable, for at most `millis`.
pub(crate) fn wait_readable(sockets: [&UdpSocket; 2], millis: i32) {
    let mut fds = sockets.map(|s| libc::pollfd { fd: s.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: two pollfds that outlive the call. Its outcome is seen by the receive that follows.
    unsafe { libc::poll(fds.as_mut_ptr(), 2, millis) };
}

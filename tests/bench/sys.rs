//! The system calls that the bench needs and std lacks: batches of datagrams with the kernel's
//! receive stamps, pinning, limits. The only unsafe code of the bench.
#![allow(unsafe_code)]

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Datagrams in one system call.
pub(crate) const BATCH: usize = 64;
/// Octets kept of one datagram; no message of the bench is longer.
const DATAGRAM: usize = 4096;
/// Room for one control message: a receive stamp, or the source of a datagram (`cmsghdr` and at most 20 octets).
const CONTROL: usize = 64;

/// Receives up to [`BATCH`] datagrams with one system call.
pub(crate) struct Inbox {
    data: Vec<[u8; DATAGRAM]>,
    control: Vec<[u64; CONTROL / 8]>,
    /// Nobody reads them, but a server could not do without.
    names: Vec<libc::sockaddr_in6>,
    received: Vec<(usize, u64)>,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox {
            data: vec![[0; DATAGRAM]; BATCH],
            control: vec![[0; CONTROL / 8]; BATCH],
            // SAFETY: a plain C struct for which all zeroes is a valid value.
            names: vec![unsafe { mem::zeroed() }; BATCH],
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
            headers[i].msg_hdr.msg_name = (&raw mut self.names[i]).cast();
            headers[i].msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as _;
            headers[i].msg_hdr.msg_control = self.control[i].as_mut_ptr().cast();
            headers[i].msg_hdr.msg_controllen = CONTROL as _;
        }
        self.received.clear();
        // SAFETY: each header points at one iovec, one name and one control buffer of the stated
        // lengths, all of which outlive the call.
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
        let parcel = |&(start, end, to): &(usize, usize, SocketAddr)| Parcel {
            bytes: &self.data[start..end],
            from: None,
            to,
        };
        send(socket, batch.iter().map(parcel))
    }
}

/// A datagram to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Parcel<'a> {
    /// What is in it.
    pub(crate) bytes: &'a [u8],
    /// The address to send it from, instead of the socket's own: of the family of the socket, and
    /// one that is local here, or [`any_source`].
    pub(crate) from: Option<IpAddr>,
    /// Where it goes.
    pub(crate) to: SocketAddr,
}

/// Sends at most [`BATCH`] datagrams with one system call, and returns how many were.
pub(crate) fn send<'a>(socket: &UdpSocket, parcels: impl Iterator<Item = Parcel<'a>>) -> io::Result<usize> {
    // SAFETY: plain C structs for which all zeroes is a valid value.
    let mut iovecs: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    let mut names: [libc::sockaddr_in6; BATCH] = unsafe { mem::zeroed() };
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    let mut control = [[0_u64; CONTROL / 8]; BATCH];
    let mut count = 0;
    for (i, parcel) in parcels.take(BATCH).enumerate() {
        iovecs[i].iov_base = parcel.bytes.as_ptr().cast_mut().cast();
        iovecs[i].iov_len = parcel.bytes.len();
        let header = &mut headers[i].msg_hdr;
        header.msg_iov = &raw mut iovecs[i];
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut names[i]).cast();
        header.msg_namelen = match parcel.to {
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
        if let Some(from) = parcel.from {
            header.msg_control = control[i].as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            header.msg_controllen = write_source(header, from) as _;
        }
        count += 1;
    }
    // SAFETY: each header points at one iovec and one name of the stated lengths, and some at a control
    // buffer, all of which outlive the call; the kernel only reads through them.
    let n = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
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

/// Writes the control message that says where a datagram comes from; returns its length.
fn write_source(header: &libc::msghdr, from: IpAddr) -> usize {
    // SAFETY: the header has a control buffer of [`CONTROL`] bytes, aligned for `cmsghdr`: more than
    // either of these messages takes.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        let length = match from {
            IpAddr::V4(from) => {
                let mut info: libc::in_pktinfo = mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
                (*control).cmsg_level = libc::IPPROTO_IP;
                (*control).cmsg_type = libc::IP_PKTINFO;
                libc::CMSG_DATA(control).cast::<libc::in_pktinfo>().write_unaligned(info);
                mem::size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(from) => {
                let mut info: libc::in6_pktinfo = mem::zeroed();
                info.ipi6_addr.s6_addr = from.octets();
                (*control).cmsg_level = libc::IPPROTO_IPV6;
                (*control).cmsg_type = libc::IPV6_PKTINFO;
                libc::CMSG_DATA(control).cast::<libc::in6_pktinfo>().write_unaligned(info);
                mem::size_of::<libc::in6_pktinfo>()
            }
        };
        (*control).cmsg_len = libc::CMSG_LEN(length as _) as _;
        libc::CMSG_SPACE(length as _) as usize
    }
}

/// Lets a socket of either family use addresses that no interface has.
pub(crate) fn any_source(socket: &impl AsRawFd, is_ipv6: bool) -> io::Result<()> {
    let (level, option) =
        if is_ipv6 { (libc::SOL_IPV6, libc::IPV6_FREEBIND) } else { (libc::SOL_IP, libc::IP_FREEBIND) };
    set_option(socket, level, option, 1)
}

/// A UDP socket with a receive buffer that does not overflow while the bench looks elsewhere.
pub(crate) fn roomy_socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at).map_err(|e| io::Error::new(e.kind(), format!("{at}: {e}")))?;
    let set = |option, value| set_option(&socket, libc::SOL_SOCKET, option, value);
    set(libc::SO_RCVBUFFORCE, 16 << 20).or_else(|_| set(libc::SO_RCVBUF, 16 << 20))?;
    set(libc::SO_SNDBUFFORCE, 4 << 20).or_else(|_| set(libc::SO_SNDBUF, 4 << 20))?;
    Ok(socket)
}

/// A socket as large as denwa's that, like denwa's, tells where each datagram was sent to.
pub(crate) fn listening_socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let family = if at.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    let socket = UdpSocket::from(socket);
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 4 << 20)?;
    let (level, option) = if at.is_ipv6() {
        (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::SOL_IP, libc::IP_PKTINFO)
    };
    set_option(&socket, level, option, 1)?;
    rustix::net::bind(&socket, &at).map_err(|e| io::Error::new(e.kind(), format!("{at}: {e}")))?;
    Ok(socket)
}

/// Asks the kernel to stamp each datagram that `socket` receives.
pub(crate) fn stamp_receipts(socket: &UdpSocket) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option's value is a C int, given by address and size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
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

/// When a process was started, in ns of the real-time clock, and up to 10 ms too early: the kernel counts so.
pub(crate) fn started(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    // After the name, which may hold blanks, it is the twentieth (proc_pid_stat(5)).
    let ticks = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19)?.parse::<u64>().ok());
    let ticks = ticks.ok_or_else(|| format!("{path} says no time"))?;
    let mut boot = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec, and takes an integer.
    let a_second = unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut boot);
        libc::sysconf(libc::_SC_CLK_TCK).max(1) as u64
    };
    let age = boot.tv_sec as u64 * 1_000_000_000 + boot.tv_nsec as u64 - ticks * (1_000_000_000 / a_second);
    Ok(realtime() - age)
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

/// Lets the receiving half of loopback, which otherwise runs where the sender does, run on one
/// processor, or (`None`) as before: so a server's processor does all the work that its network
/// makes, as it does on a machine that has no other. Only after [`leave_network`].
pub(crate) fn receive_on(core: Option<usize>) -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("denwa-bench-sys-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes())?;
    let mask = core.map_or(0, |core| 1_u64 << core);
    // The devices of a network show themselves where sysfs is mounted from within it.
    let kind = c"sysfs".as_ptr();
    // SAFETY: all are strings that end in zero and outlive the call; sysfs takes no data.
    let mounted = unsafe { libc::mount(kind, path.as_ptr(), kind, 0, std::ptr::null()) };
    let outcome = if mounted == 0 {
        let steered = std::fs::write(folder.join("class/net/lo/queues/rx-0/rps_cpus"), format!("{mask:x}"));
        // SAFETY: a string that ends in zero.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        steered
    } else {
        Err(io::Error::last_os_error())
    };
    std::fs::remove_dir(&folder)?;
    outcome
}

/// For how long a processor was not idle since the machine started, to 10 ms.
pub(crate) fn busy(core: usize) -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let ticks = text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |line| {
        let field = |i: usize| line.split_ascii_whitespace().nth(i).and_then(|n| n.parse::<u64>().ok());
        // user, nice, system, then idle and iowait, then irq and softirq.
        [0, 1, 2, 5, 6].into_iter().filter_map(field).sum::<u64>()
    });
    Duration::from_millis(ticks * 10)
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

//! Opens the listening sockets, before anything else happens: nothing behind it may bind.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Listen, Transport};
use crate::handover::Sockets;
use crate::net::sys;

/// How much the kernel keeps for a UDP socket while we are busy, in bytes; as much of it as
/// net.core.rmem_max allows.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The same for what we send faster than the network takes it.
const SEND_BUFFER: usize = 1 << 20;

/// How many connections wait to be accepted.
const BACKLOG: i32 = 1024;

/// The same of HTTP, where it is a stranger who waits.
const WEB_BACKLOG: i32 = 64;

/// Opens a socket for each `listen`; one without an address gives one socket of each family that
/// the machine has. Also raises the number of files that the process may have open to what the
/// system allows, since each connection takes one.
///
/// # Errors
///
/// The first socket that cannot be opened. What was opened before is closed again.
pub fn bind(config: &Config) -> Result<Sockets, BindError> {
    raise_open_files();
    bind_beside(config, &Sockets::default())
}

/// The same where some sockets are open already: those that are wanted again are the very same.
pub(super) fn bind_beside(config: &Config, open: &Sockets) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::default();
    let sip = config.listen.iter().map(|listen| (listen, Use::Sip));
    let web = config.mantela.listen.iter().map(|listen| (listen, Use::Web));
    for (listen, what) in sip.chain(web) {
        match listen.address {
            Some(address) => sockets.open(*listen, address, what, open)?,
            None => sockets.open_both(*listen, what, open)?,
        }
    }
    Ok(sockets)
}

/// What is spoken at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// SIP.
    Sip,
    /// HTTP.
    Web,
}

impl Use {
    /// The key by which it is wanted.
    fn key(self) -> &'static str {
        match self {
            Use::Sip => "listen",
            Use::Web => "mantela.listen",
        }
    }
}

/// Why a socket could not be opened, and what to do about it.
#[derive(Debug)]
pub struct BindError {
    what: Use,
    transport: Transport,
    address: SocketAddr,
    error: io::Error,
    /// Whether it is us who have the port, on other addresses.
    is_ours: bool,
}

impl BindError {
    /// What the system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    /// Whether the machine has no such address family (or its only address is gone).
    fn is_family_missing(&self) -> bool {
        [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT]
            .iter()
            .any(|errno| self.error.raw_os_error() == Some(errno.raw_os_error()))
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, show) = match self.transport {
            Transport::Udp => ("udp", "ss -lunp"),
            Transport::Tcp => ("tcp", "ss -ltnp"),
            Transport::Tls => ("tls", "ss -ltnp"),
        };
        let (address, port) = (self.address, self.address.port());
        let key = self.what.key();
        write!(f, "{key} = {name}:{address}: {}", self.error)?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse if self.is_ours => write!(
                f,
                "; denwa itself has {name} port {port} on other addresses, and such a change takes a restart"
            ),
            io::ErrorKind::AddrInUse => write!(
                f,
                "; another program has {name} port {port} (`{show} 'sport = :{port}'` shows which): \
                 stop it, or choose another port in `{key}`"
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE: \
                 grant it, or choose a port from 1024 on in `{key}`"
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "; this machine has no address {ip} (`ip address` shows those it has): \
                 correct `{key}`, or leave the address out to serve all",
                ip = self.address.ip()
            ),
            _ => Ok(()),
        }
    }
}

impl Sockets {
    /// One socket on every address of each family. A missing family is told, unless both are.
    fn open_both(&mut self, listen: Listen, what: Use, open: &Sockets) -> Result<(), BindError> {
        let v6 = self.open(listen, IpAddr::V6(Ipv6Addr::UNSPECIFIED), what, open);
        let v4 = self.open(listen, IpAddr::V4(Ipv4Addr::UNSPECIFIED), what, open);
        match (v6, v4) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) | (Err(error), Ok(())) if error.is_family_missing() => {
                self.notices.push(format!("going on without this: {error}"));
                Ok(())
            }
            (Err(v6), Err(v4)) if v6.is_family_missing() => Err(v4),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// One socket on one address; the one of `open`, if there it is.
    fn open(&mut self, listen: Listen, address: IpAddr, what: Use, open: &Sockets) -> Result<(), BindError> {
        let transport = listen.transport;
        let address = SocketAddr::new(address, listen.port);
        let is_it = |local: io::Result<SocketAddr>| local.is_ok_and(|local| local == address);
        let opened = match (what, transport) {
            (Use::Web, _) => match open.web.iter().find(|socket| is_it(socket.local_addr())) {
                Some(socket) => socket.try_clone(),
                None => open_tcp(address, WEB_BACKLOG),
            }
            .map(|socket| self.web.push(socket)),
            (Use::Sip, Transport::Udp) => match open.udp.iter().find(|socket| is_it(socket.local_addr())) {
                Some(socket) => socket.try_clone(),
                None => open_udp(address),
            }
            .map(|socket| self.udp.push(socket)),
            (Use::Sip, Transport::Tcp) => match open.tcp.iter().find(|socket| is_it(socket.local_addr())) {
                Some(socket) => socket.try_clone(),
                None => open_tcp(address, BACKLOG),
            }
            .map(|socket| self.tcp.push(socket)),
            (Use::Sip, Transport::Tls) => match open.tls.iter().find(|socket| is_it(socket.local_addr())) {
                Some(socket) => socket.try_clone(),
                None => open_tcp(address, BACKLOG),
            }
            .map(|socket| self.tls.push(socket)),
        };
        let is_ours = open
            .addresses()
            .any(|(of, at)| of.is_stream() == transport.is_stream() && at.port() == listen.port);
        opened.map_err(|error| BindError { what, transport, address, error, is_ours })
    }

    /// What is listened on.
    fn addresses(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let udp = self.udp.iter().filter_map(|socket| Some((Transport::Udp, socket.local_addr().ok()?)));
        let tcp = self.tcp.iter().filter_map(|socket| Some((Transport::Tcp, socket.local_addr().ok()?)));
        let tls = self.tls.iter().filter_map(|socket| Some((Transport::Tls, socket.local_addr().ok()?)));
        let web = self.web.iter().filter_map(|socket| Some((Transport::Tcp, socket.local_addr().ok()?)));
        udp.chain(tcp).chain(tls).chain(web)
    }
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, SocketType::DGRAM)?;
    if address.ip().is_unspecified() {
        sys::receive_packet_info(&socket, address.is_ipv6())?;
    }
    // An INVITE for an IPv6 phone may be longer than the path's MTU. It must go out in fragments
    // rather than not at all, and whatever ICMP claims about the path.
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::DONT)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_mtu_discover(&socket, sockopt::Ipv6PathMtuDiscovery::DONT)?,
    }
    // As much as the system grants: with less, more is lost in a storm, and phones send again.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
    rustix::net::bind(&socket, &address)?;
    Ok(socket.into())
}

fn open_tcp(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = new_socket(address, SocketType::STREAM)?;
    // Connections of our predecessor that linger in TIME_WAIT must not keep us from starting.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket.into())
}

fn new_socket(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = match kind {
        SocketType::DGRAM => ipproto::UDP,
        _ => ipproto::TCP,
    };
    let socket = rustix::net::socket_with(family, kind, flags, Some(protocol))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

/// Lets the process open as many files as the system allows it to ask for.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // If it fails, fewer connections are accepted; that is told when it happens.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

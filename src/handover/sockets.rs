//! What an exchange listens on.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use super::Standing;
use crate::tls::{Authorities, Identity};

/// The sockets that SIP is spoken on, those of IPv6 never carry IPv4; those of HTTP, likewise; and the operator's.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Bound, nonblocking; those on a wildcard address tell where each datagram was sent to.
    pub udp: Vec<UdpSocket>,
    /// Listening, nonblocking.
    pub tcp: Vec<TcpListener>,
    /// Where the document of [`mantela`](crate::mantela) is asked for: listening, nonblocking.
    pub web: Vec<TcpListener>,
    /// Listening for TLS, nonblocking.
    pub tls: Vec<TcpListener>,
    /// With what TLS is spoken; not handed over, but made from what is. `None`: nobody gets in by `tls`.
    pub identity: Option<Arc<Identity>>,
    /// By whom others prove who they are; not handed over.
    pub authorities: Authorities,
    /// Where the operator's commands come, nonblocking; `None` where there is no state folder to have it in.
    pub control: Option<UnixListener>,
    /// Connections that another process has had; not bound here.
    pub standing: Vec<Standing>,
    /// What people should know although it went well, e.g. that the machine has no IPv6.
    pub notices: Vec<String>,
}

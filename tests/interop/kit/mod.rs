//! What the scenarios are written with.

mod asterisk;
mod authority;
mod baresip;
mod denwa;
mod kamailio;
mod linphone;
mod machine;
mod names;
pub mod ports;
mod probe;
mod program;
mod provider;
mod scanner;
mod scene;
mod sipp;
mod sound;

pub use asterisk::Asterisk;
pub use authority::{Authority, proved};
pub use baresip::{Baresip, Phone};
pub use denwa::{DOMAIN, Denwa, GUARDED, binary, in_uri};
pub use kamailio::Kamailio;
pub use linphone::Linphone;
pub use machine::Machine;
pub use names::{Nameless, Names};
pub use probe::{ask_by_tcp, ask_by_udp};
pub use program::{Program, wait_until};
pub use provider::Provider;
pub use scanner::{Scanner, found};
pub use scene::Scene;
pub use sipp::Line;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// A SIP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Family {
    /// The loopback address.
    pub fn loopback(self) -> std::net::IpAddr {
        match self {
            Family::V4 => std::net::Ipv4Addr::LOCALHOST.into(),
            Family::V6 => std::net::Ipv6Addr::LOCALHOST.into(),
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        })
    }
}

//! Where this machine can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The addresses that this machine speaks to the world from, IPv6 first; at most one of each
/// family, none where it has no way out.
///
/// No packet is sent: connecting a UDP socket only asks the system which address it would use.
pub fn own_addresses() -> Vec<IpAddr> {
    const DISCARD: u16 = 9;
    // Any address that lies behind the default route will do; these belong to documentation.
    let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let four = Ipv4Addr::new(192, 0, 2, 1);
    let towards = |any: IpAddr, far: IpAddr| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((far, DISCARD)).ok()?;
        let own = socket.local_addr().ok()?.ip();
        (!own.is_unspecified() && !own.is_loopback()).then_some(own)
    };
    let of_six = towards(Ipv6Addr::UNSPECIFIED.into(), six.into());
    let of_four = towards(Ipv4Addr::UNSPECIFIED.into(), four.into());
    of_six.into_iter().chain(of_four).collect()
}

//! Ports that are free on this machine.

use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below the ports that the kernel gives to clients (32768 on).
const FIRST: u16 = 18000;
const LAST: u16 = 31999;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// The first of `count` ports in a row that nobody uses, by UDP or TCP, on IPv4 or IPv6. None of
/// them is given again before all others were.
pub fn take(count: u16) -> u16 {
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    // Test runs that overlap begin at different places.
    let mut first = next.unwrap_or(FIRST + (std::process::id() % 97) as u16 * 128);
    for _ in 0..(LAST - FIRST) {
        if first + count > LAST {
            first = FIRST;
        }
        match (first..first + count).find(|&port| !is_free(port)) {
            Some(used) => first = used + 1,
            None => {
                *next = Some(first + count);
                return first;
            }
        }
    }
    panic!("no {count} free ports in a row between {FIRST} and {LAST}");
}

/// Whether nobody uses a port.
pub fn is_free(port: u16) -> bool {
    // An IPv6 wildcard socket stands for both families.
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
        && TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
}

/// Waits until a program that was just started has bound the port.
pub fn wait_until_taken(port: u16) {
    super::wait_until(&format!("port {port} is served"), || !is_free(port));
}

//! Which hosts mean something to everybody, and which only to those who are near.

use std::net::IpAddr;

use crate::config::TargetHost;

/// Whether an address leads nowhere, to this machine, or into a network of somebody's own (RFC 6890): there is
/// no friend to be found there, unless both are in one network.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            a == 0
                || ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_multicast()
                || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
        }
    }
}

/// The same of a host; of a name, as far as that says it (RFC 6761, RFC 6762).
pub fn is_private_host(host: &TargetHost) -> bool {
    match host {
        TargetHost::Ip(address) => is_private(*address),
        TargetHost::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let last = name.rsplit('.').next().unwrap_or(name);
            // Numbers are addresses to some resolvers, in a way that hides which.
            let is_number = last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit());
            is_number
                || matches!(last, "localhost" | "local" | "internal" | "lan" | "home")
                || !name.contains('.')
        }
    }
}

/// Whether a domain of the configuration is a name or an address that others can do something with, rather than a
/// word that phones were told.
pub(super) fn is_of_the_internet(domain: &str) -> bool {
    domain.contains(['.', ':'])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:10.0.0.1",
            "ff02::1",
        ] {
            assert!(is_private(near.parse().unwrap()), "{near}");
        }
        for far in ["192.0.2.1", "8.8.8.8", "2001:db8::1", "100.128.0.1", "::ffff:8.8.8.8"] {
            assert!(!is_private(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn names_that_are_near() {
        let is_near = |name: &str| is_private_host(&TargetHost::Name(name.into()));
        for near in [
            "localhost",
            "pbx",
            "pbx.local",
            "a.localhost.",
            "metadata.google.internal",
            "2130706433",
            "x.0x7f",
        ] {
            assert!(is_near(near), "{near}");
        }
        assert!(!is_near("pbx.example.net") && !is_near("localhost.example.net."));
    }
}

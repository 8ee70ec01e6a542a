//! Networks in CIDR notation: what they are, and how they are written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::mistake::printable;

/// A network in CIDR notation (RFC 4632, RFC 4291 §2.3): all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// The first address: all bits behind the prefix are zero. Never IPv4-mapped.
    pub address: IpAddr,
    /// How many bits the prefix has, 0 to 32 or to 128.
    pub length: u8,
}

impl Network {
    /// Whether every address of `other` is in this network too.
    pub fn covers(&self, other: &Network) -> bool {
        self.address.is_ipv6() == other.address.is_ipv6()
            && self.length <= other.length
            && first_address(other.address, self.length) == self.address
    }
}

impl fmt::Display for Network {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The first address of the network of `length` bits that `address` is in. A length that its family
/// does not have is taken for the whole address.
fn first_address(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// `192.0.2.0/24`, `2001:db8::/32`, `[2001:db8::]/32`; without a length, one address.
///
/// # Errors
///
/// A sentence for the person who wrote it, with the right spelling where it can be told.
pub(super) fn network(word: &str) -> Result<Network, String> {
    let shown = printable(word, 50);
    let (literal, length) = match word.split_once('/') {
        Some((literal, length)) => (literal, Some(length)),
        None => (word, None),
    };
    let Some(address) = bare_address(literal) else {
        return Err(no_address(&shown, literal));
    };
    let (family, most) = match address {
        IpAddr::V4(_) => ("IPv4", 32),
        IpAddr::V6(_) => ("IPv6", 128),
    };
    let length = match length {
        None => most,
        Some(length) => match prefix_length(length) {
            Some(length) if length <= most => length,
            Some(_) => {
                return Err(format!(
                    "in `{shown}`, the prefix is too long: in {family} it has 0 to {most} bits"
                ));
            }
            None => return Err(no_length(&shown, literal, length)),
        },
    };
    let first = first_address(address, length);
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        // The length of IPv6, or that of IPv4 by mistake.
        let length = length.checked_sub(96).unwrap_or(length.min(32));
        let meant = Network { address: first_address(v4.into(), length), length };
        return Err(format!("`{shown}` is IPv4 written as IPv6; write `{meant}`"));
    }
    if first != address {
        let meant = Network { address: first, length };
        return Err(format!(
            "in `{shown}`, the address goes on behind the {length} bits of the prefix; write `{meant}` for \
             the network, or `{address}` for this address alone"
        ));
    }
    Ok(Network { address, length })
}

/// An address, IPv6 with or without brackets.
pub(super) fn bare_address(word: &str) -> Option<IpAddr> {
    match word.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => word.parse().ok(),
    }
}

/// Decimal digits, none too many. More than 255 are as wrong as 255.
fn prefix_length(word: &str) -> Option<u8> {
    let is_number = (1..=3).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_digit())
        && (word.len() == 1 || !word.starts_with('0'));
    is_number.then(|| word.parse().unwrap_or(u8::MAX))
}

/// Why what stands before the `/` is no address.
fn no_address(shown: &str, literal: &str) -> String {
    if ["all", "any", "*"].contains(&literal) {
        return format!(
            "`{shown}` is not a network; write `0.0.0.0/0` for all of IPv4, `::/0` for all of IPv6"
        );
    }
    if literal.starts_with('[') != literal.ends_with(']') {
        return format!("in `{shown}`, a bracket is missing or in the wrong place; none is needed");
    }
    if literal.contains('%') {
        return format!("in `{shown}`, leave out the interface, `%` and what follows");
    }
    let mut parts = literal.split(['.', '-']);
    if !literal.is_empty() && parts.all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
        return format!(
            "`{shown}` is not a network; write an address with all its four numbers, and how many bits of \
             it count: `192.0.2.0/24`"
        );
    }
    format!("`{shown}` is not a network; it takes an address, not a name: `192.0.2.0/24` or `2001:db8::/32`")
}

/// Why what stands behind the `/` is no length.
fn no_length(shown: &str, literal: &str, length: &str) -> String {
    let bits = |mask: Ipv4Addr| (mask.to_bits().leading_ones(), mask.to_bits().count_ones());
    match length.parse().map(bits) {
        Ok((leading, all)) if leading == all => {
            format!("in `{shown}`, write the mask as its number of bits: `{}/{all}`", printable(literal, 50))
        }
        _ => format!("in `{shown}`, what follows the `/` is not a number of bits"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_network() {
        for (word, means) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.254/31", "192.0.2.254/31"),
            ("128.0.0.0/1", "128.0.0.0/1"),
            ("255.255.255.255/32", "255.255.255.255/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("0.0.0.0", "0.0.0.0/32"),
            ("::/0", "::/0"),
            ("[::]/0", "::/0"),
            ("2001:DB8:0::1", "2001:db8::1/128"),
            ("[2001:db8::1]", "2001:db8::1/128"),
            ("[2001:db8::]/32", "2001:db8::/32"),
            ("2001:db8:0:8000::/49", "2001:db8:0:8000::/49"),
            ("8000::/1", "8000::/1"),
            ("fe80::/10", "fe80::/10"),
            ("::ffff:1:0:0/96", "::ffff:1:0:0/96"),
        ] {
            let read = network(word).unwrap();
            assert_eq!(read.to_string(), means);
            assert_eq!(network(means), Ok(read));
        }
    }

    #[test]
    fn what_is_none() {
        for (word, why) in [
            // Bits behind the prefix.
            ("10.0.0.1/8", "write `10.0.0.0/8` for the network, or `10.0.0.1` for this address alone"),
            ("192.0.2.255/31", "write `192.0.2.254/31`"),
            ("0.0.0.1/0", "write `0.0.0.0/0`"),
            ("2001:db8::1/64", "write `2001:db8::/64` for the network, or `2001:db8::1`"),
            ("[2001:db8::1]/0", "write `::/0`"),
            // IPv4-mapped.
            ("::ffff:192.0.2.1", "is IPv4 written as IPv6; write `192.0.2.1/32`"),
            ("::ffff:10.0.0.0/104", "write `10.0.0.0/8`"),
            ("[::ffff:a00:1]/104", "write `10.0.0.0/8`"),
            ("::ffff:0:0/96", "write `0.0.0.0/0`"),
            ("::ffff:192.0.2.1/24", "write `192.0.2.0/24`"),
            // Lengths.
            ("10.0.0.0/33", "the prefix is too long: in IPv4 it has 0 to 32 bits"),
            ("10.0.0.0/999", "the prefix is too long"),
            ("2001:db8::/129", "in IPv6 it has 0 to 128 bits"),
            ("10.0.0.0/", "what follows the `/` is not a number of bits"),
            ("10.0.0.0/-8", "not a number of bits"),
            ("10.0.0.0/+8", "not a number of bits"),
            ("10.0.0.0/08", "not a number of bits"),
            ("10.0.0.0/9999", "not a number of bits"),
            ("10.0.0.0/8/8", "not a number of bits"),
            ("10.0.0.0/255.0.0.0", "write the mask as its number of bits: `10.0.0.0/8`"),
            ("0.0.0.0/0.0.0.0", "`0.0.0.0/0`"),
            ("10.0.0.0/0.255.255.255", "not a number of bits"),
            // Addresses.
            ("10/8", "all its four numbers"),
            ("10.0.0/24", "all its four numbers"),
            ("256.0.0.0/8", "all its four numbers"),
            ("192.0.2.1-192.0.2.9", "all its four numbers"),
            ("10.0.0.0.0/8", "all its four numbers"),
            ("any", "write `0.0.0.0/0` for all of IPv4, `::/0` for all of IPv6"),
            ("*", "write `0.0.0.0/0`"),
            ("pbx.example.net", "an address, not a name"),
            ("2001:db8/32", "`2001:db8/32` is not a network"),
            ("/8", "`/8` is not a network"),
            ("/", "`/` is not a network"),
            ("[2001:db8::/32]", "a bracket is missing or in the wrong place"),
            ("[2001:db8::1", "a bracket is missing"),
            ("[192.0.2.1]", "not a network"),
            ("fe80::1%eth0", "leave out the interface"),
        ] {
            let said = network(word).unwrap_err();
            assert!(said.contains(why), "{word}: {said}");
        }
    }

    #[test]
    fn what_covers_what() {
        let covers = |a: &str, b: &str| network(a).unwrap().covers(&network(b).unwrap());
        for (large, small) in [
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("0.0.0.0/0", "255.255.255.255"),
            ("10.0.0.0/8", "10.255.0.0/16"),
            ("::/0", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:8000::/33"),
        ] {
            assert!(covers(large, small), "{large} {small}");
            assert_eq!(covers(small, large), large == small);
        }
        for (a, b) in [
            ("0.0.0.0/0", "::/0"),
            ("::/0", "10.0.0.0/8"),
            ("10.0.0.0/8", "11.0.0.0/8"),
            ("2001:db8::/33", "2001:db8:8000::/33"),
        ] {
            assert!(!covers(a, b) && !covers(b, a), "{a} {b}");
        }
    }
}

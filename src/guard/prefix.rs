//! What counts as one source, and its place in the tables.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher13;

/// What counts as one source: an IPv4 address, or an IPv6 /64, which is what one customer of a
/// provider has at least. Whoever has a larger network is many sources.
///
/// Printed as `203.0.113.7` or `2001:db8::/64`.
// The first 64 bits of an IPv6 address. IPv4 lies where IPv6 has multicast, which is never a source
// (RFC 4291 §2.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(u64);

const IPV4: u64 = 0xff << 56;

impl Prefix {
    /// No source at all: what stands in a place of a table that is free.
    pub(super) const NOBODY: Prefix = Prefix(u64::MAX);

    /// The source that an address belongs to; an IPv4-mapped one is IPv4.
    pub fn of(address: IpAddr) -> Prefix {
        match address.to_canonical() {
            IpAddr::V4(v4) => Prefix(IPV4 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) if v6.is_multicast() => Prefix::NOBODY,
            IpAddr::V6(v6) => Prefix((v6.to_bits() >> 64) as u64),
        }
    }

    /// As a number, to be written down.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The source with this number.
    pub fn from_bits(bits: u64) -> Prefix {
        Prefix(bits)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & IPV4 == IPV4 {
            Ipv4Addr::from_bits(self.0 as u32).fmt(f)
        } else {
            write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.0) << 64))
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret that decides the places of sources, so that nobody can make two of them collide.
pub(super) struct Key(SipHasher13);

impl Key {
    pub(super) fn new(key: (u64, u64)) -> Key {
        Key(SipHasher13::new_with_keys(key.0, key.1))
    }

    pub(super) fn source(&self, address: IpAddr) -> Source {
        self.source_of(Prefix::of(address))
    }

    pub(super) fn source_of(&self, prefix: Prefix) -> Source {
        Source { prefix, hash: self.0.hash(&prefix.0.to_le_bytes()) }
    }
}

/// A prefix with its hash, which is computed once a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) prefix: Prefix,
    pub(super) hash: u64,
}

impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A map by source that does not hash again.
pub(super) type SourceMap<V> = std::collections::HashMap<Source, V, BuildHasherDefault<AsItIs>>;

/// The hasher of [`SourceMap`].
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = self.0 << 8 | u64::from(b);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::of(text.parse().unwrap())
    }

    #[test]
    fn is_printed_as_people_write_it() {
        for (address, printed) in [
            ("203.0.113.7", "203.0.113.7"),
            ("0.0.0.0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
            ("::1", "::/64"),
            ("fe80::1", "fe80::/64"),
        ] {
            assert_eq!(prefix(address).to_string(), printed);
        }
    }

    #[test]
    fn neighbours_are_one_source_and_families_are_two() {
        assert_eq!(prefix("2001:db8::1"), prefix("2001:db8::ffff:1"));
        assert_ne!(prefix("2001:db8::1"), prefix("2001:db8:0:1::1"));
        assert_ne!(prefix("203.0.113.7"), prefix("203.0.113.8"));
        assert_ne!(prefix("0.0.0.1"), prefix("::1"));
        // As the first half of an address this would be 203.0.113.7.
        assert_ne!(prefix("203.0.113.7"), prefix("ff00:0:cb00:7107::1"));
        assert_eq!(prefix("ff02::1"), Prefix::NOBODY);
    }

    #[test]
    fn the_places_depend_on_the_key() {
        let at = |key| Key::new(key).source("203.0.113.7".parse().unwrap()).hash;
        assert_eq!(at((1, 2)), at((1, 2)));
        assert_ne!(at((1, 2)), at((1, 3)));
        assert_ne!(at((1, 2)), at((2, 2)));
    }
}

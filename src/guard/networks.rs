//! Sets of addresses, as lists of networks describe them.

use std::net::IpAddr;

use crate::config::Network;

/// The addresses of a list of networks, in any order, overlapping or not.
///
/// The families are apart: `0.0.0.0/0` holds no IPv6 address and `::/0` no IPv4 one, and an
/// IPv4-mapped address (RFC 4291 §2.5.5.2) is the IPv4 address in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Networks {
    /// The union of these networks.
    pub fn new(networks: &[Network]) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            let length = u32::from(network.length);
            match network.address {
                IpAddr::V4(address) => {
                    let rest = u32::MAX.checked_shr(length).unwrap_or(0);
                    v4.push((address.to_bits() & !rest, address.to_bits() | rest));
                }
                IpAddr::V6(address) => {
                    let rest = u128::MAX.checked_shr(length).unwrap_or(0);
                    v6.push((address.to_bits() & !rest, address.to_bits() | rest));
                }
            }
        }
        Networks { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// Whether one of the networks has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contain(address.to_bits()),
            IpAddr::V6(address) => self.v6.contain(address.to_bits()),
        }
    }

    /// Whether there is no network at all.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }
}

/// First and last of each, in order and disjoint.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ranges<T>(Box<[(T, T)]>);

impl<T: Copy + Ord> Ranges<T> {
    fn new(mut ranges: Vec<(T, T)>) -> Ranges<T> {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlap = next.0 <= kept.1;
            if overlap {
                kept.1 = kept.1.max(next.1);
            }
            overlap
        });
        Ranges(ranges.into())
    }

    fn contain(&self, wanted: T) -> bool {
        let behind = self.0.partition_point(|&(first, _)| first <= wanted);
        self.0[..behind].last().is_some_and(|&(_, last)| wanted <= last)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn networks(words: &[&str]) -> Networks {
        let network = |word: &&str| {
            let (address, length) = word.split_once('/').unwrap();
            Network { address: address.parse().unwrap(), length: length.parse().unwrap() }
        };
        Networks::new(&words.iter().map(network).collect::<Vec<_>>())
    }

    fn has(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn ends_belong_to_it_and_neighbours_do_not() {
        let some = networks(&["2001:db8::/32", "203.0.113.0/24", "198.51.100.7/32"]);
        for inside in [
            "203.0.113.0",
            "203.0.113.255",
            "198.51.100.7",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(has(&some, inside), "{inside}");
        }
        for outside in
            ["203.0.112.255", "203.0.114.0", "198.51.100.6", "198.51.100.8", "2001:db7::", "2001:db9::", "::"]
        {
            assert!(!has(&some, outside), "{outside}");
        }
    }

    #[test]
    fn overlapping_and_repeated_networks_are_one() {
        let some = networks(&["10.1.2.0/24", "10.0.0.0/8", "10.0.0.0/8", "10.255.0.0/16", "11.0.0.0/8"]);
        assert_eq!(some.v4.0.len(), 2);
        assert!(has(&some, "10.0.0.0") && has(&some, "10.1.3.0") && has(&some, "11.255.255.255"));
        assert!(!has(&some, "12.0.0.0"));
    }

    #[test]
    fn everything_of_a_family_is_nothing_of_the_other() {
        let v4 = networks(&["0.0.0.0/0"]);
        assert!(has(&v4, "0.0.0.0") && has(&v4, "255.255.255.255") && !has(&v4, "::1"));
        let v6 = networks(&["::/0"]);
        assert!(has(&v6, "::") && has(&v6, "ffff::") && !has(&v6, "10.0.0.1"));
        assert!(networks(&[]).is_empty() && !v4.is_empty() && !v6.is_empty());
        assert!(!has(&networks(&[]), "10.0.0.1"));
    }

    #[test]
    fn a_mapped_address_gets_round_no_list() {
        assert!(has(&networks(&["10.0.0.0/8"]), "::ffff:10.0.0.1"));
        assert!(!has(&networks(&["::/0"]), "::ffff:10.0.0.1"));
    }
}

//! Names that this machine knows by itself: `/etc/hosts`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Name;

/// The most names that are kept; what comes later in the file is not there.
const MAX_NAMES: usize = 1024;

/// The most addresses of a name.
const MAX_ADDRESSES: usize = 16;

/// Names and their addresses.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: BTreeMap<Name, Vec<IpAddr>>,
}

impl Hosts {
    /// Reads lines of an address and its names; what is none of it does not matter.
    pub(super) fn read(text: &str) -> Hosts {
        let mut names: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words.filter_map(Name::new) {
                if names.len() >= MAX_NAMES && !names.contains_key(&name) {
                    continue;
                }
                let addresses = names.entry(name).or_default();
                let address = address.to_canonical();
                if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Hosts { names }
    }

    /// The addresses of a name, if it is known here.
    pub(super) fn addresses(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let localhost = || vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        self.names.get(name).cloned().or_else(|| name.is_localhost().then(localhost))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_is_read() {
        let hosts = Hosts::read(
            "# ours\n127.0.0.1 localhost\n192.0.2.7\tPBX pbx.example.net # the exchange\n\
             2001:db8::7 pbx.example.net\n2001:db8::7 pbx.example.net\nnonsense here\n192.0.2.8\n\
             192.0.2.9 例え\n",
        );
        let known = |name| hosts.addresses(&Name::new(name).unwrap());
        let addresses = |list: &[&str]| Some(list.iter().map(|ip| ip.parse().unwrap()).collect());
        assert_eq!(known("pbx"), addresses(&["192.0.2.7"]));
        assert_eq!(known("pbx.example.net"), addresses(&["192.0.2.7", "2001:db8::7"]));
        assert_eq!(known("localhost"), addresses(&["127.0.0.1"]));
        assert_eq!(known("echo.localhost"), addresses(&["::1", "127.0.0.1"]));
        assert_eq!(known("here"), None);
        assert_eq!(Hosts::read("").addresses(&Name::new("localhost").unwrap()).unwrap().len(), 2);
    }

    #[test]
    fn a_huge_file_is_cut_off() {
        let text: String = (0..2000).map(|n| format!("192.0.2.1 n{n}\n192.0.2.{} one\n", n % 256)).collect();
        let hosts = Hosts::read(&text);
        assert_eq!(hosts.names.len(), MAX_NAMES);
        assert_eq!(hosts.addresses(&Name::new("one").unwrap()).unwrap().len(), MAX_ADDRESSES);
    }
}

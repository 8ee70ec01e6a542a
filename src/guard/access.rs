//! From where anybody is heard at all: the lists of the configuration.

use std::net::{IpAddr, SocketAddr};

use super::Networks;
use super::reason::Reason;
use crate::config::{Access, Config, Listen, Transport};

/// The lists for everybody, and those of single listeners.
pub(super) struct Lists {
    all: List,
    /// At most [`crate::config::MAX_LISTEN`].
    gates: Box<[(Listen, List)]>,
}

impl Lists {
    pub(super) fn new(config: &Config) -> Lists {
        let gates = config.gates.iter().map(|(listen, access)| (*listen, List::new(access)));
        Lists { all: List::new(&config.access), gates: gates.collect() }
    }

    /// # Errors
    ///
    /// Why a source is not heard at a listener.
    pub(super) fn admit(
        &self,
        transport: Transport,
        local: SocketAddr,
        remote: IpAddr,
    ) -> Result<(), Reason> {
        match self.all.judge(remote) {
            Judgement::Denied => return Err(Reason::Denied),
            Judgement::NotAllowed => return Err(Reason::NotAllowed),
            Judgement::Admitted => {}
        }
        for (at, (listen, list)) in self.gates.iter().enumerate() {
            if is_at(listen, transport, local) {
                match list.judge(remote) {
                    Judgement::Denied => return Err(Reason::DeniedAt(at as u8)),
                    Judgement::NotAllowed => return Err(Reason::NotAllowedAt(at as u8)),
                    Judgement::Admitted => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether what came to a local address came to this listener.
fn is_at(listen: &Listen, transport: Transport, local: SocketAddr) -> bool {
    listen.transport == transport
        && listen.port == local.port()
        && listen.address.is_none_or(|address| address == local.ip().to_canonical())
}

struct List {
    /// Empty for everybody.
    allow: Networks,
    deny: Networks,
}

enum Judgement {
    Admitted,
    Denied,
    NotAllowed,
}

impl List {
    fn new(access: &Access) -> List {
        List { allow: Networks::new(&access.allow), deny: Networks::new(&access.deny) }
    }

    fn judge(&self, address: IpAddr) -> Judgement {
        if self.deny.contains(address) {
            Judgement::Denied
        } else if self.allow.is_empty() || self.allow.contains(address) {
            Judgement::Admitted
        } else {
            Judgement::NotAllowed
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Network;

    fn access(allow: &[(&str, u8)], deny: &[(&str, u8)]) -> Access {
        let networks = |list: &[(&str, u8)]| {
            let network =
                |&(address, length): &(&str, u8)| Network { address: address.parse().unwrap(), length };
            list.iter().map(network).collect()
        };
        Access { allow: networks(allow), deny: networks(deny) }
    }

    fn admit(lists: &Lists, transport: Transport, local: &str, remote: &str) -> Result<(), Reason> {
        lists.admit(transport, local.parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn deny_wins_and_an_empty_allow_is_everybody() {
        let at = |access, remote| {
            let lists = Lists::new(&Config { access, ..Config::default() });
            admit(&lists, Transport::Udp, "192.0.2.1:5060", remote)
        };
        let house = access(&[("10.0.0.0", 8)], &[("10.66.0.0", 16)]);
        assert_eq!(at(house.clone(), "10.1.2.3"), Ok(()));
        assert_eq!(at(house.clone(), "10.66.2.3"), Err(Reason::Denied));
        assert_eq!(at(house.clone(), "2001:db8::1"), Err(Reason::NotAllowed));
        assert_eq!(at(house, "::ffff:10.66.2.3"), Err(Reason::Denied));
        assert_eq!(at(access(&[], &[("10.0.0.0", 8)]), "2001:db8::1"), Ok(()));
        assert_eq!(at(Access::default(), "203.0.113.7"), Ok(()));
    }

    #[test]
    fn a_gate_is_for_its_listener_alone() {
        let listen = |transport, address: Option<&str>, port| Listen {
            transport,
            address: address.map(|a| a.parse().unwrap()),
            port,
        };
        let lists = Lists::new(&Config {
            access: access(&[], &[("203.0.113.0", 24)]),
            gates: vec![
                (listen(Transport::Udp, None, 60), access(&[("10.0.0.0", 8)], &[])),
                (listen(Transport::Tcp, Some("192.0.2.1"), 61), access(&[], &[("10.0.0.0", 8)])),
            ],
            ..Config::default()
        });
        assert_eq!(admit(&lists, Transport::Udp, "192.0.2.1:60", "10.0.0.1"), Ok(()));
        assert_eq!(
            admit(&lists, Transport::Udp, "[2001:db8::1]:60", "2001:db8::2"),
            Err(Reason::NotAllowedAt(0))
        );
        assert_eq!(admit(&lists, Transport::Tcp, "192.0.2.1:60", "198.51.100.1"), Ok(()));
        assert_eq!(admit(&lists, Transport::Udp, "192.0.2.1:62", "198.51.100.1"), Ok(()));
        assert_eq!(admit(&lists, Transport::Tcp, "192.0.2.1:61", "10.0.0.1"), Err(Reason::DeniedAt(1)));
        assert_eq!(
            admit(&lists, Transport::Tcp, "[::ffff:192.0.2.1]:61", "10.0.0.1"),
            Err(Reason::DeniedAt(1))
        );
        assert_eq!(admit(&lists, Transport::Tcp, "192.0.2.2:61", "10.0.0.1"), Ok(()));
        // What is denied to everybody is not opened by a listener.
        assert_eq!(admit(&lists, Transport::Udp, "192.0.2.1:60", "203.0.113.1"), Err(Reason::Denied));
    }
}

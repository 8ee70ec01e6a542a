//! What an operator may see of other exchanges.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use super::Switch;
use super::neighbour::Health;
use super::trunk::Standing;
use crate::config::{Kind, Label, Neighbour};

/// Another exchange, as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourView {
    /// `peer.NAME` or `trunk.NAME`.
    pub name: String,
    /// Whether calls can go there at the moment.
    pub reachable: bool,
    /// Calls with it that have not ended.
    pub calls: u16,
    /// How many there may be.
    pub calls_limit: u16,
    /// Its hosts, in the order of the file.
    pub hosts: Vec<HostView>,
    /// Of a trunk that registers: how that stands.
    pub registration: Option<RegistrationView>,
}

/// A host of another exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// As the configuration says it.
    pub host: String,
    /// Why it was not found, if it was not.
    pub trouble: Option<String>,
    /// The ways to it.
    pub ways: Vec<WayView>,
}

/// A way to a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayView {
    /// Its address.
    pub address: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Whether it answered the last OPTIONS; `None`: it was not asked yet.
    pub alive: Option<bool>,
    /// How long that took.
    pub round_trip_ms: Option<u64>,
}

/// How our registration with a provider stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationView {
    /// For how long it still holds; `None`: it does not.
    pub expires_in_s: Option<u64>,
    /// Why it does not.
    pub trouble: Option<String>,
}

impl NeighbourView {
    /// Whether calls can go there, and come from there, as far as is known.
    pub fn is_well(&self) -> bool {
        self.reachable && self.registration.as_ref().is_none_or(|registration| registration.trouble.is_none())
    }
}

impl Switch {
    /// All other exchanges of the configuration, at most [`crate::config::MAX_NEIGHBOURS`], in the order of their
    /// names.
    pub fn neighbours(&self) -> Vec<NeighbourView> {
        self.config
            .neighbours
            .iter()
            .map(|(label, neighbour)| self.neighbour_view(label, neighbour))
            .collect()
    }

    fn neighbour_view(&self, label: &Label, neighbour: &Neighbour) -> NeighbourView {
        let now = self.io.now;
        let registers = matches!(&neighbour.kind, Kind::Trunk(trunk) if trunk.register);
        let mut registration = None;
        let mut hosts = Vec::new();
        for (target, ways, trouble, standing) in self.neighbours.view(label) {
            registration = registers.then(|| match standing {
                Standing::Registered(until) => {
                    RegistrationView { expires_in_s: Some((*until - now).as_secs()), trouble: None }
                }
                Standing::Failed(why) => RegistrationView { expires_in_s: None, trouble: Some(why.clone()) },
                Standing::None => RegistrationView { expires_in_s: None, trouble: None },
            });
            let way = |way: &super::neighbour::Way| WayView {
                address: way.flow.remote,
                transport: way.flow.transport.to_string(),
                alive: match way.health {
                    Health::Unknown => None,
                    Health::Up(_) => Some(true),
                    Health::Down => Some(false),
                },
                round_trip_ms: match way.health {
                    Health::Up(time) => Some(time.as_millis() as u64),
                    Health::Unknown | Health::Down => None,
                },
            };
            hosts.push(HostView {
                host: target.to_string(),
                trouble: trouble.map(str::to_owned),
                ways: ways.iter().map(way).collect(),
            });
        }
        NeighbourView {
            name: label.to_string(),
            reachable: !self.neighbours.ways(label).is_empty(),
            calls: self.neighbours.calls(label),
            calls_limit: neighbour.max_calls,
            hosts,
            registration,
        }
    }
}

//! Finding the hosts of other exchanges (RFC 3263): which flows lead there from this machine.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use smol::channel::Receiver;

use super::Machine;
use super::hub::Hub;
use crate::config::Target;
use crate::dns::{self, Resolver};
use crate::switch::{Flow, HostId, Input, StreamId, Transport};

/// How many hosts are looked for at a time: one whose name server is silent must not keep the others waiting.
pub(super) const AT_A_TIME: usize = 8;

/// A host that is to be found.
pub(super) type Sought = (HostId, Target);

/// Finds one host after the other, until nobody is looked for any more.
pub(super) async fn serve<M: Machine>(
    hub: &RefCell<Hub<'_, M>>,
    resolver: Rc<Resolver>,
    sought: Receiver<Sought>,
) {
    while let Ok((id, target)) = sought.recv().await {
        let located = locate(&resolver, &target).await;
        let mut hub = hub.borrow_mut();
        let found = located.and_then(|located| hub.flows_to(located));
        let now = hub.now();
        hub.handle(now, Input::Located(id, found));
        hub.flush(now);
    }
}

async fn locate(resolver: &Resolver, target: &Target) -> Result<dns::Located, String> {
    let host = dns::Host::of(&target.host)?;
    let target = dns::Target { host, port: target.port, transport: target.transport };
    resolver.locate(&target).await.map_err(|error| error.to_string())
}

impl<M: Machine> Hub<'_, M> {
    /// The flows to places that were found; the reason of the first if none leads there.
    fn flows_to(&self, located: dns::Located) -> Result<(Vec<Flow>, Duration), String> {
        let mut flows = Vec::new();
        let mut why = None;
        for place in located.places {
            match self.flow_to(place) {
                Ok(flow) => flows.push(flow),
                Err(error) => drop(why.get_or_insert(error)),
            }
        }
        match (flows.is_empty(), why) {
            (true, Some(why)) => Err(why),
            _ => Ok((flows, located.valid)),
        }
    }

    /// The flow by which a place is reached from one of our sockets.
    fn flow_to(&self, place: dns::Place) -> Result<Flow, String> {
        let dns::Place { transport, address: remote } = place;
        if transport != Transport::Udp {
            // Where from is known when it stands.
            let local = SocketAddr::new(any(remote), 0);
            return Ok(Flow { transport, local, remote, stream: StreamId(0) });
        }
        let family = if remote.is_ipv6() { "IPv6" } else { "IPv4" };
        let local = local_address(remote).map_err(|error| format!("no way to {remote}: {error}"))?;
        let best = self.udp.iter().map(|udp| udp.reached_from(local)).max_by_key(|(fits, _)| *fits);
        match best {
            Some((1.., local)) => Ok(Flow { transport: Transport::Udp, local, remote, stream: StreamId(0) }),
            _ => Err(format!("nothing is listened on by UDP over {family} (listen)")),
        }
    }
}

/// No address of the same family.
fn any(remote: SocketAddr) -> IpAddr {
    match remote.is_ipv6() {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// The address of ours that the system sends from to another one. Nothing is sent.
fn local_address(remote: SocketAddr) -> io::Result<IpAddr> {
    let probe = UdpSocket::bind(SocketAddr::new(any(remote), 0))?;
    probe.connect(remote)?;
    Ok(probe.local_addr()?.ip())
}

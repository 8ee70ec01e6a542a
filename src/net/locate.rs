//! Finding the hosts of other exchanges: which flows lead there from this machine.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use smol::channel::Receiver;

use super::Machine;
use super::hub::Hub;
use crate::config::{Target, TargetHost};
use crate::switch::{Flow, HostId, Input, StreamId, Transport};

/// The port of SIP by UDP and TCP (RFC 3261 §19.1.2).
const PORT: u16 = 5060;

/// How long an address that is written down holds.
const VALID: Duration = Duration::from_secs(86_400);

/// A host that is to be found.
pub(super) type Sought = (HostId, Target);

/// Finds one host after the other, until nobody is looked for any more.
pub(super) async fn serve<M: Machine>(hub: &RefCell<Hub<'_, M>>, sought: Receiver<Sought>) {
    while let Ok((id, target)) = sought.recv().await {
        let found = hub.borrow().locate(&target);
        let mut hub = hub.borrow_mut();
        let now = hub.now();
        hub.handle(now, Input::Located(id, found));
        hub.flush(now);
    }
}

impl<M: Machine> Hub<'_, M> {
    fn locate(&self, target: &Target) -> Result<(Vec<Flow>, Duration), String> {
        match &target.host {
            TargetHost::Ip(ip) => {
                let remote = SocketAddr::new(*ip, target.port.unwrap_or(PORT));
                self.flow_to(remote).map(|flow| (vec![flow], VALID))
            }
            TargetHost::Name(name) => Err(format!("{name} is a name, and names are not looked up yet")),
        }
    }

    /// The flow by which an address is reached from one of our sockets.
    fn flow_to(&self, remote: SocketAddr) -> Result<Flow, String> {
        let family = if remote.is_ipv6() { "IPv6" } else { "IPv4" };
        let local = local_address(remote).map_err(|error| format!("no way to {remote}: {error}"))?;
        let best = self.udp.iter().map(|udp| udp.reached_from(local)).max_by_key(|(fits, _)| *fits);
        match best {
            Some((1.., local)) => Ok(Flow { transport: Transport::Udp, local, remote, stream: StreamId(0) }),
            _ => Err(format!("nothing is listened on by UDP over {family} (listen)")),
        }
    }
}

/// The address of ours that the system sends from to another one. Nothing is sent.
fn local_address(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote.is_ipv6() {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind(SocketAddr::new(any, 0))?;
    probe.connect(remote)?;
    Ok(probe.local_addr()?.ip())
}

//! The resolver as others use it, asking servers on the loopback.

#![allow(clippy::unwrap_used)]

mod cache;
mod liars;
mod locate;
mod server;
mod trouble;

use std::time::Duration;

use smol::future::or;

use super::servers::Servers;
use super::{DnsError, Host, Located, Resolver, Target};
use crate::config::Transport;
use server::Server;

/// A target: `HOST`, `HOST:PORT`, either with `;tcp`, `;tls` or `;udp` behind.
fn target(text: &str) -> Target {
    let (place, transport) = match text.split_once(';') {
        Some((place, "tcp")) => (place, Some(Transport::Tcp)),
        Some((place, "tls")) => (place, Some(Transport::Tls)),
        Some((place, _)) => (place, Some(Transport::Udp)),
        None => (text, None),
    };
    let (host, port) =
        match place.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']')) {
            Some((host, port)) => (host, Some(port.parse().unwrap())),
            None => (place, None),
        };
    Target { host: Host::new(host).unwrap(), port, transport }
}

/// One that asks these servers, and knows a machine by itself.
fn resolver(servers: &[&Server<'_>]) -> Resolver {
    let list = servers.iter().map(|server| server.address()).collect();
    Resolver::with(Servers::of(list).hurried(), "192.0.2.77 pbx.example\n2001:db8::77 pbx.example\n", [7; 16])
}

/// Locates one target while the servers serve.
fn locate(resolver: &Resolver, servers: &[&Server<'_>], text: &str) -> Result<Located, DnsError> {
    let target = target(text);
    serve(servers, resolver.locate(&target))
}

/// Waits for something while these serve.
fn serve<T>(servers: &[&Server<'_>], future: impl Future<Output = T>) -> T {
    let executor = smol::LocalExecutor::new();
    let serving = servers.iter().map(|server| executor.spawn(server.run::<()>())).collect::<Vec<_>>();
    let done = smol::block_on(executor.run(or(future, async {
        smol::Timer::after(Duration::from_secs(30)).await;
        panic!("it takes too long")
    })));
    drop(serving);
    done
}

/// The places, as `udp 192.0.2.1:5060` each.
fn places(located: &Located) -> Vec<String> {
    located.places.iter().map(|place| format!("{} {}", place.transport, place.address)).collect()
}

/// What is located at the only server, of this zone.
fn located(zone: &str, text: &str) -> Vec<String> {
    let server = Server::of(zone);
    places(&locate(&resolver(&[&server]), &[&server], text).unwrap())
}

/// Why it is not.
fn refused(zone: &str, text: &str) -> String {
    let server = Server::of(zone);
    let error = locate(&resolver(&[&server]), &[&server], text).unwrap_err();
    error.to_string().replace(&server.address().to_string(), "it")
}

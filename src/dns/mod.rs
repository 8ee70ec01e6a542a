//! Locating SIP servers (RFC 3263): from the name of a peer or a trunk to the places at which it is spoken to.
//!
//! [`Resolver::locate`] is all that others need. It never blocks: it is awaited in the loop, and the switch is told
//! what came of it. What surrounds it may lie or be silent, and nothing grows by that:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | locating one target | 10 s | it fails, or goes on with what is known by then |
//! | name servers | 3; each is asked twice, for 2 s each time, or as `options` says within bounds | the next one is asked |
//! | questions under way | 64, of 4 kB and a socket each | others wait until they must fail |
//! | kept answers | 512 | the one goes that would go first |
//! | an answer's time to live | 5 s to 1 day; 5 min if there is nothing | it is taken for the nearest of these |
//! | an old answer while nobody gives a new one | 1 h after its time | it is forgotten |
//! | records of an answer | [`MAX_RECORDS`] | the rest does not count |
//! | aliases (CNAME) in a row | [`MAX_ALIASES`] | an error |
//! | places of a target | [`MAX_PLACES`], 4 of each family for a host | the rest does not count |
//!
//! Names are complete: `search` in `/etc/resolv.conf` is not followed. That file and `/etc/hosts` are read before the
//! cage; what changes in them later is told by the keeper.

mod cache;
mod error;
mod exchange;
mod hosts;
mod locate;
mod lookup;
pub mod message;
mod name;
mod random;
pub mod record;
mod servers;
mod service;
#[cfg(test)]
mod tests;
mod weight;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::lock::{Mutex, Semaphore};

use crate::config::{TargetHost, Transport};
use cache::Cache;
pub use error::{DnsError, Reason};
use hosts::Hosts;
pub use name::{MAX_NAME, Name};
use random::Random;
use record::Question;
use servers::Servers;

/// The most records of an answer that count.
pub const MAX_RECORDS: usize = 32;

/// The most aliases in a row that are followed.
pub const MAX_ALIASES: usize = 8;

/// The most places of a target.
pub const MAX_PLACES: usize = 16;

/// The most questions under way.
const MAX_QUESTIONS: usize = 64;

/// How long what was located holds at least and at most.
const VALID: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(86_400));

/// What this machine says of name servers, and of names that it knows by itself.
pub(crate) const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The most octets of a file of the system that are read.
const MAX_FILE: u64 = 65_536;

/// The most octets of it as text: each that is none takes three (U+FFFD).
pub(crate) const MAX_TEXT: usize = 3 * MAX_FILE as usize;

/// Who is to be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The domain, the host or its address.
    pub host: Host,
    /// The port, if it is given; the name is then a host's.
    pub port: Option<u16>,
    /// The transport, if it is given.
    pub transport: Option<Transport>,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name.
    Name(Name),
    /// An address.
    Ip(IpAddr),
}

impl Host {
    /// That of the configuration.
    ///
    /// # Errors
    ///
    /// No host can be called so; a sentence says it.
    pub fn of(host: &TargetHost) -> Result<Host, String> {
        match host {
            TargetHost::Ip(ip) => Ok(Host::Ip(*ip)),
            TargetHost::Name(name) => Host::new(name).ok_or_else(|| format!("{name} is no host name")),
        }
    }

    /// What `text` says, if it is one of both; an IPv6 address may stand in brackets. What ends in a number is an
    /// address or a mistake: there is no such top-level domain (RFC 3696 §2).
    pub fn new(text: &str) -> Option<Host> {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        match (inner, text.parse::<IpAddr>()) {
            (Some(inner), _) => Some(Host::Ip(IpAddr::V6(inner.parse().ok()?))),
            (None, Ok(address)) => Some(Host::Ip(address)),
            (None, Err(_)) => Name::new(text).filter(|name| !name.ends_in_number()).map(Host::Name),
        }
    }
}

/// Where somebody is spoken to. By TLS, the name that a certificate must have is that of the [`Target`], whatever
/// host a domain names (RFC 5922 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// What was located.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// In the order in which they are to be tried, 1 to [`MAX_PLACES`]; the addresses of a host stand together,
    /// those of IPv6 first, whether or not this machine has a way there.
    pub places: Vec<Place>,
    /// How long that holds: 30 s to 1 day.
    pub valid: Duration,
}

/// Who finds it out: one for all that are looked for, in the loop's thread.
pub struct Resolver {
    servers: RefCell<Rc<Servers>>,
    hosts: RefCell<Hosts>,
    random: Random,
    cache: RefCell<Cache>,
    /// Who asks what, and lets others wait that ask the same.
    under_way: RefCell<BTreeMap<Question, Rc<Mutex<()>>>>,
    permits: Semaphore,
    /// How far the cache's clock is ahead, in tests.
    ahead: Cell<Duration>,
}

impl Resolver {
    /// As this machine is set up, by `/etc/resolv.conf` and `/etc/hosts`. To be made before the cage, in which they
    /// cannot be read; a file that is not there says nothing.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn from_system() -> io::Result<Resolver> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let [resolv_conf, hosts] = read_files(&Default::default());
        Ok(Resolver::new(&resolv_conf, &hosts, seed))
    }

    /// By the text of a `resolv.conf` and of a `hosts`. Nobody may guess the `seed`.
    pub fn new(resolv_conf: &str, hosts: &str, seed: [u8; 16]) -> Resolver {
        Resolver::with(Servers::read(resolv_conf), hosts, seed)
    }

    fn with(servers: Servers, hosts: &str, seed: [u8; 16]) -> Resolver {
        Resolver {
            servers: RefCell::new(Rc::new(servers)),
            hosts: RefCell::new(Hosts::read(hosts)),
            random: Random::new(seed),
            cache: RefCell::default(),
            under_way: RefCell::default(),
            permits: Semaphore::new(MAX_QUESTIONS),
            ahead: Cell::default(),
        }
    }

    /// Goes by other texts from now on; what was asked before is asked anew.
    pub fn learn(&self, resolv_conf: &str, hosts: &str) {
        self.servers.replace(Rc::new(Servers::read(resolv_conf)));
        self.hosts.replace(Hosts::read(hosts));
        self.cache.take();
    }

    /// What the cache takes for now.
    fn now(&self) -> Instant {
        Instant::now() + self.ahead.get()
    }
}

/// What [`FILES`] say; what they did `before` where they cannot be read: they may be about to be written.
pub(crate) fn read_files(before: &[String; 2]) -> [String; 2] {
    let mut files = before.clone();
    for (file, said) in FILES.iter().zip(&mut files) {
        if let Ok(text) = text(file) {
            *said = text;
        }
    }
    files
}

/// What a file says, as far as it is text.
fn text(path: &str) -> io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

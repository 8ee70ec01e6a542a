//! Other exchanges: friends' (`peer.NAME`) and providers' lines (`trunk.NAME`).

use std::fmt;
use std::net::IpAddr;

use super::{Listed, Network, Number, Password, Transport};

/// The most peers and trunks together.
pub const MAX_NEIGHBOURS: usize = 256;
/// The most hosts of one peer, and the most neighbours of one route.
pub const MAX_HOSTS: usize = 8;
/// The most routes.
pub const MAX_ROUTES: usize = 1_000;

/// How a neighbour is called: `peer.NAME` or `trunk.NAME`, as its key in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub(crate) Box<str>);

impl Label {
    /// The label, if `text` is one.
    pub fn new(text: &str) -> Option<Label> {
        let (kind, name) = text.split_once('.')?;
        (matches!(kind, "peer" | "trunk") && Number::new(name).is_some()).then(|| Label(text.into()))
    }

    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Another exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Where it is, 1 to [`MAX_HOSTS`], in the order in which they are tried. A trunk has one.
    pub hosts: Vec<Target>,
    /// `.user` and `.password`: what we prove ourselves with. A peer proves itself with the same.
    pub account: Option<Account>,
    /// `.allow`: from where it speaks besides the addresses of its hosts.
    pub allow: Vec<Network>,
    /// `.max-calls`: how many calls there may be at once, in both directions, 1 to 1,000. Default 10
    /// with a peer, 2 by a trunk.
    pub max_calls: u16,
    /// `.pin`: the SHA-256 of the certificate that it has, in place of what authorities say where we call it by TLS. A
    /// connection of TLS on which it proves to have it is its, wherever it comes from.
    pub pin: Option<[u8; 32]>,
    /// What it may do, and what is done by it.
    pub kind: Kind,
}

impl Neighbour {
    /// Whether its address is all that it can be known by: a provider answers no challenge, and a peer with neither a
    /// password nor a certificate has nothing else to show.
    pub fn is_known_by_address(&self) -> bool {
        matches!(self.kind, Kind::Trunk(_)) || (self.account.is_none() && self.pin.is_none())
    }

    /// Whether its certificate is all that it can be known by: a peer that has one and no password.
    pub fn is_known_by_certificate(&self) -> bool {
        matches!(self.kind, Kind::Peer(_)) && self.account.is_none() && self.pin.is_some()
    }
}

/// What kind of a neighbour it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A friend's exchange.
    Peer(Peer),
    /// A provider's line.
    Trunk(Trunk),
}

/// What is particular to a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// `.prefix`: numbers of ours that begin so are its; callers from there are shown with it in front.
    pub prefix: Option<Number>,
    /// `.strip`: how many digits of a dialled number it is not told. Default those of the prefix.
    pub strip: u8,
    /// `.add`: what is put in front of the others.
    pub add: Option<Number>,
    /// `.numbers`: which of ours it may dial. `None`: all extensions, groups and the echo test.
    pub numbers: Option<Vec<Number>>,
    /// `.hop`: whether what it dials behind a `0` is routed on as if it were dialled here.
    pub hop: bool,
    /// `.trunks`: by which trunks it may call. Default none.
    pub trunks: Vec<Label>,
    /// `.mantela` and `.identifier`: what our own document says of it, if it has a prefix. `None`: nothing.
    pub listed: Option<Listed>,
}

/// What is particular to a trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// Who we are there: the user of its URI.
    pub user: String,
    /// `.register`: whether we register there. Default yes where there is a password.
    pub register: bool,
    /// `.numbers`: which of ours ring when it calls, all at once; 1 to [`super::MAX_MEMBERS`] extensions, or one
    /// group, or the echo test.
    pub numbers: Vec<Number>,
    /// `.caller-id`: what is shown to those who are called. Default the user.
    pub caller_id: Option<Number>,
    /// `.emergency`: whether emergency calls may go by it.
    pub emergency: bool,
    /// `.max-calls-extension`: how many calls by it an extension may have at once. Default 2.
    pub max_calls_extension: u16,
    /// `.max-calls-hour`: how many calls may go out by it in an hour. Default 30.
    pub max_calls_hour: u32,
    /// `.max-minutes`: how long a call by it may last, in minutes. Default 60.
    pub max_minutes: u32,
    /// `.max-minutes-day`: how many minutes all calls that went out by it in 24 h may take together. Default 120.
    pub max_minutes_day: u32,
}

/// User and password of a digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The user, 1 to 64 bytes.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// Where an exchange is: the host of a `sip:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: TargetHost,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// `;transport=`, if one is written.
    pub transport: Option<Transport>,
}

/// A host to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// By its address.
    Ip(IpAddr),
    /// By its name, in lower case.
    Name(String),
}

impl fmt::Display for TargetHost {
    /// As it stands in a URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetHost::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            TargetHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            TargetHost::Name(name) => f.write_str(name),
        }
    }
}

impl Target {
    /// Host and port, as they stand in the URI of whoever is there (RFC 3261 §19.1.1, `hostport`).
    pub fn host_port(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }
}

impl fmt::Display for Target {
    /// As it stands in a URI, behind the `@`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host_port())?;
        match self.transport {
            None | Some(Transport::Udp) => Ok(()),
            Some(transport) => write!(f, ";transport={transport}"),
        }
    }
}

/// Where numbers that begin with a pattern go ([`super::Config::routes`]).
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// To one of these, in this order: another one where one cannot be reached.
    Neighbours(Vec<Label>),
    /// To the phones of a group.
    Group(Number),
    /// Nowhere; the text tells the caller why.
    Reject(String),
}

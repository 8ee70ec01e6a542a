//! The flat file `denwa.conf`, and the typed [`Config`] that everything else reads.
//!
//! ```
//! use denwa::config::Config;
//!
//! let config = Config::parse("denwa.conf", b"ext.101 = correct-horse\nekho = 114\n");
//! let mistakes = config.expect_err("there is no such key");
//! assert_eq!(
//!     mistakes.to_string(),
//!     "denwa.conf:2: ekho: unknown key; did you mean `echo`?\n1 mistake in denwa.conf."
//! );
//! ```
//!
//! A file goes through four steps: `lines` (key and value), `de` and `file` (which keys there
//! are), `value` (how each kind of value is written) and `check` (whether it makes sense
//! together). Each adds to the same [`Mistakes`], so that a person reads all of them at once.

mod add_peer;
mod check;
mod de;
mod edit;
mod file;
mod fill_in;
mod first_run;
mod help;
mod lines;
mod mantela;
mod mistake;
mod nearest;
mod neighbour;
mod network;
mod password;
mod reach;
mod remarks;
mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use add_peer::{NewPeer, add_peer, peer_on_line, prefix_conflicts};
pub use edit::{EditError, Edited, Meaning, add_extension, remove_extension, set_password};
pub use fill_in::{FillInError, fill_in};
pub use first_run::{HERE, STATE_HERE, find, first_run, welcome};
pub use mantela::{
    Identifier, Listed, Listing, MAX_MANTELA_LISTEN, MAX_PREFIXES, MAX_PUBLIC, Mantela, Terminal, WebAddress,
};
pub use mistake::{MAX_KEPT, Mistake, Mistakes, Reason};
pub use neighbour::{
    Account, Kind, Label, MAX_HOSTS, MAX_NEIGHBOURS, MAX_ROUTES, Neighbour, Peer, Route, Target, TargetHost,
    Trunk,
};
pub use network::Network;
pub use settings::Settings;

/// The largest file that is read, in bytes: [`MAX_EXTENSIONS`] with a few keys each fit.
pub const MAX_BYTES: usize = 1 << 20;
/// The most extensions.
pub const MAX_EXTENSIONS: usize = 10_000;
/// The most groups.
pub const MAX_GROUPS: usize = 1_000;
/// The most members of a group.
pub const MAX_MEMBERS: usize = 32;
/// The most places to listen at.
pub const MAX_LISTEN: usize = 16;
/// The most entries of `allow` and `deny` in the whole file, in networks.
pub const MAX_NETWORKS: usize = 1_000;
/// The most phones that can be registered at one extension.
pub const MAX_CONTACTS: u8 = 32;

/// What the whole file says, checked. Every default is in [`Config::default`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `domain`: the name that phones register at; also the digest realm. A host name in lower case,
    /// an IPv4 address, or an IPv6 address in brackets. Without one, every host name in a
    /// Request-URI is taken for ours and the realm is `denwa`.
    pub domain: Option<String>,
    /// `listen` and `listen.NAME`: where SIP is spoken, at most [`MAX_LISTEN`] places in all, none of
    /// which covers another, in the order of the file. Default `udp:5060 tcp:5060`.
    pub listen: Vec<Listen>,
    /// `advertise`: the address to write into Via, Record-Route and SDP instead of the local one
    /// of the same family; at most one of each family.
    pub advertise: Vec<IpAddr>,
    /// `advertise = auto`: [`Config::advertise`] is empty until the exchange has found out what it is, and changes
    /// with it.
    pub advertise_auto: bool,
    /// `media-ports`: first and last UDP port of the relay, at least two pairs, none where SIP is
    /// spoken. Default 40000–40999.
    pub media_ports: PortRange,
    /// `tls.cert` and `tls.key`: the certificate that TLS is spoken with, and its key. `None`: denwa makes its own.
    pub tls: Option<TlsFiles>,
    /// `state`: the folder for what must survive a restart.
    pub state: PathBuf,
    /// `sync`: how long what must survive may wait to be put on the disk, at most 1 min; `0s`: no longer
    /// than it takes. Default 1 s.
    pub sync: Duration,
    /// `call-records`: how large the records of ended calls in [`Config::state`] may become; `off`: `None`, and there
    /// are none. Default 1 MB, 10 files.
    pub call_records: Option<CallRecords>,
    /// `register-expires`: the shortest and longest time a binding may ask for, in whole
    /// seconds, up to 7 days. Default 60 s, 3600 s.
    pub register_expires: ExpiresRange,
    /// `keep-alive`: how often each UDP binding is sent OPTIONS; `0s` for never, at most 1 h.
    /// Default 25 s.
    pub keep_alive: Duration,
    /// `ext.N`: the extensions, 1 to [`MAX_EXTENSIONS`].
    pub extensions: BTreeMap<Number, Extension>,
    /// `group.N`: numbers that ring several extensions at once: 1 to [`MAX_MEMBERS`] of
    /// [`Config::extensions`], each once. At most [`MAX_GROUPS`].
    pub groups: BTreeMap<Number, Vec<Number>>,
    /// `peer.NAME` and `trunk.NAME`: other exchanges, at most [`MAX_NEIGHBOURS`].
    pub neighbours: BTreeMap<Label, Neighbour>,
    /// `route.PATTERN`: where numbers go that are not ours, by what they begin with; an `x` in a pattern is any
    /// digit. At most [`MAX_ROUTES`].
    pub routes: BTreeMap<Number, Route>,
    /// `echo`: the number of the echo test.
    pub echo: Option<Number>,
    /// `mantela.*`: what others can read of this exchange. Default nothing.
    pub mantela: Mantela,
    /// `call-limit`: the longest call, at most 30 days. Default 8 h.
    pub call_limit: Duration,
    /// `media-timeout`: how long promised sound may be missing before the call is ended, at most 1 day.
    /// Default 60 s.
    pub media_timeout: Duration,
    /// `log`: how much is said. Default `info`.
    pub log: LogLevel,
    /// `allow` and `deny`: from where anybody is heard at all. Default everywhere.
    pub access: Access,
    /// `listen.NAME.allow` and `.deny`: the same for some of [`Config::listen`], each at most once.
    /// Whoever speaks there must be heard by these lists and by [`Config::access`].
    pub gates: Vec<(Listen, Access)>,
    /// `stealth`: whether strangers who do not use the domain get no answer. Default yes where there
    /// is a `domain`; without one it cannot be.
    pub stealth: bool,
    /// `rate.stranger`: how many packets each source (an IPv4 address or an IPv6 /64) may send where
    /// no phone is registered. Default 10/s.
    pub rate_stranger: Rate,
    /// `rate.strangers`: the same for all of these together. Default 500/s.
    pub rate_strangers: Rate,
    /// `rate.phone`: how many packets each source may send where phones are registered. Default 500/s.
    pub rate_phone: Rate,
    /// `ban`: after how many wrong passwords a source is not heard, and for how long; `never`: `None`.
    /// Default 30, 10 min: a phone with a wrong password tries all day, and its owner must not wait long.
    pub ban: Option<Ban>,
    /// `sandbox`: how much of the cage must be there. Default as much as the kernel has.
    pub sandbox: Sandbox,
    /// `spot`: whether a notice of the cloud that it will stop this machine is looked for, where it gives any.
    /// Default yes.
    pub spot: Spot,
    /// `user`: whom the exchange runs as when root starts it. `None`: `denwa` if there is such a user,
    /// else `nobody`.
    pub user: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            domain: None,
            listen: vec![
                Listen { transport: Transport::Udp, address: None, port: 5060 },
                Listen { transport: Transport::Tcp, address: None, port: 5060 },
            ],
            advertise: Vec::new(),
            advertise_auto: false,
            media_ports: PortRange { first: 40000, last: 40999 },
            tls: None,
            state: PathBuf::from("/var/lib/denwa"),
            sync: Duration::from_secs(1),
            call_records: Some(CallRecords { bytes: 1_000_000, files: 10 }),
            register_expires: ExpiresRange { min: Duration::from_secs(60), max: Duration::from_secs(3600) },
            keep_alive: Duration::from_secs(25),
            extensions: BTreeMap::new(),
            groups: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            routes: BTreeMap::new(),
            echo: None,
            mantela: Mantela::default(),
            call_limit: Duration::from_secs(8 * 3600),
            media_timeout: Duration::from_secs(60),
            log: LogLevel::Info,
            access: Access::default(),
            gates: Vec::new(),
            stealth: false,
            rate_stranger: Rate(10),
            rate_strangers: Rate(500),
            rate_phone: Rate(500),
            ban: Some(Ban { failures: 30, time: Duration::from_secs(600) }),
            sandbox: Sandbox::BestEffort,
            spot: Spot::Auto,
            user: None,
        }
    }
}

impl Config {
    /// Reads the configuration in `bytes`; `file_name` is for the mistakes.
    ///
    /// # Errors
    ///
    /// All mistakes of the file, in the order of its lines.
    pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Config, Mistakes> {
        if bytes.len() > MAX_BYTES {
            return Err(Mistakes::only(file_name, Reason::TooLarge));
        }
        if lines::is_utf16(bytes) {
            return Err(Mistakes::only(file_name, Reason::Utf16));
        }
        let mut mistakes = Mistakes::new(file_name);
        let lines = lines::lines(bytes, &mut mistakes);
        if lines.is_empty() && mistakes.is_empty() {
            return Err(Mistakes::only(file_name, Reason::Empty));
        }
        let noted = RefCell::new(mistakes);
        let file = de::read::<file::File>(&lines, &noted);
        let mut mistakes = noted.into_inner();
        let config = check::check(file, &mut mistakes);
        if mistakes.is_empty() {
            return Ok(config);
        }
        mistakes.sort();
        Err(mistakes)
    }

    /// What is particular to a neighbour that is a trunk.
    pub fn trunk(&self, label: &Label) -> Option<&Trunk> {
        match &self.neighbours.get(label)?.kind {
            Kind::Trunk(trunk) => Some(trunk),
            Kind::Peer(_) => None,
        }
    }

    /// Whether what comes to this address and port of ours is heard, as far as [`Config::listen`] goes.
    pub fn listens(&self, transport: Transport, at: SocketAddr) -> bool {
        self.listen.iter().any(|place| {
            (place.transport, place.port) == (transport, at.port())
                && place.address.is_none_or(|address| address == at.ip())
        })
    }

    /// The port at which whoever has spoken with this address and port of ours finds us later: that of a connection that
    /// we opened is heard by nobody once it is gone.
    pub fn port_for(&self, transport: Transport, at: SocketAddr) -> u16 {
        let is_here =
            |l: &&Listen| l.transport == transport && l.address.is_none_or(|address| address == at.ip());
        match self.listens(transport, at) {
            true => at.port(),
            false => self.listen.iter().find(is_here).map_or(at.port(), |place| place.port),
        }
    }

    /// Reads the configuration in the file at `path`.
    ///
    /// # Errors
    ///
    /// All mistakes of the file, or the one reason why it cannot be read.
    pub fn load(path: &Path) -> Result<Config, Mistakes> {
        Config::parse(&path.display().to_string(), &Config::read(path)?)
    }

    /// Where an exchange that was started on the file at `path` has its state, and how many mistakes the file
    /// has by now: the exchange runs on what it said before. The last `state` that says something counts,
    /// whatever else is wrong; without any it is the default.
    ///
    /// # Errors
    ///
    /// The reason why the file cannot be read.
    pub fn state_folder(path: &Path) -> Result<(PathBuf, usize), Mistakes> {
        let bytes = Config::read(path)?;
        let name = path.display().to_string();
        let mistakes = match Config::parse(&name, &bytes) {
            Ok(config) => return Ok((config.state, 0)),
            Err(mistakes) => mistakes.len(),
        };
        // They are counted already.
        let lines = lines::lines(&bytes, &mut Mistakes::new(&name));
        let said = lines.iter().rfind(|line| line.key == "state" && !line.value.is_empty());
        let state = said.map_or_else(|| Config::default().state, |line| PathBuf::from(line.value));
        Ok((state, mistakes))
    }

    /// Reads the file at `path`, for [`Config::parse`]: at most a little more than [`MAX_BYTES`].
    ///
    /// # Errors
    ///
    /// The reason why it cannot be read.
    pub fn read(path: &Path) -> Result<Vec<u8>, Mistakes> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let beyond = MAX_BYTES as u64 + 1;
            std::fs::File::open(path)?.take(beyond).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let name = path.display().to_string();
        read().map_err(|error| Mistakes::only(&name, Reason::Unreadable(error.kind())))
    }
}

/// A number that can be dialled: 1 to 32 of `0-9 A-Z a-z * # + - _`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub(crate) Box<str>);

impl Number {
    /// The number, if `text` is one.
    pub fn new(text: &str) -> Option<Number> {
        let ok = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"*#+-_".contains(&b));
        ok.then(|| Number(text.into()))
    }

    /// As it is dialled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Number {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One extension: `ext.N = password` and its `ext.N.*` keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// The digest password, 1 to 128 bytes.
    pub password: Password,
    /// `.name`: shown to whoever is called; at most 64 bytes of UTF-8 without control characters.
    pub name: Option<String>,
    /// `.max-contacts`: how many phones may be registered at once, 1 to [`MAX_CONTACTS`]. Default 5.
    pub max_contacts: u8,
    /// `.busy`: where a call goes when all phones are busy.
    pub busy: Option<Number>,
    /// `.no-answer`: after how long a call goes where.
    pub no_answer: Option<NoAnswer>,
    /// `.offline`: where a call goes when no phone is registered.
    pub offline: Option<Number>,
    /// `.identity`: which caller ids it may show. Default its own.
    pub identity: Identity,
    /// `.digest`: which challenges it is sent. Default SHA-256 and MD5.
    pub digest: DigestOffer,
    /// `.nat-media`: whose RTP is accepted. Default strict.
    pub nat_media: NatMedia,
    /// `.allow`: from where its password is right; empty for everywhere.
    pub allow: Vec<Network>,
    /// `.max-calls`: how many calls that it made may be under way at once, 1 to 1,000. Default 10.
    pub max_calls: u16,
    /// `.max-calls-hour`: how many calls it may make in an hour, 1 to 100,000. Default 300.
    pub max_calls_hour: u32,
    /// `.public`, `.type`, `.model`: what [`Config::mantela`] has of it. Default nothing.
    pub listing: Listing,
}

impl Extension {
    /// An extension of which nothing else is said.
    pub fn new(password: Password) -> Extension {
        Extension {
            password,
            name: None,
            max_contacts: 5,
            busy: None,
            no_answer: None,
            offline: None,
            identity: Identity::Own,
            digest: DigestOffer::Both,
            nat_media: NatMedia::Strict,
            allow: Vec::new(),
            max_calls: 10,
            max_calls_hour: 300,
            listing: Listing::default(),
        }
    }
}

/// A password; never printed.
#[derive(Clone, PartialEq)]
pub struct Password(pub(crate) Box<str>);

impl Password {
    /// Wraps a password.
    pub fn new(text: &str) -> Password {
        Password(text.into())
    }

    /// The secret itself, for computing digests.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `ext.N.no-answer = 20s 600`.
#[derive(Clone, Debug, PartialEq)]
pub struct NoAnswer {
    /// How long the phones ring first, 1 s to 3 min.
    pub after: Duration,
    /// Where the call goes then.
    pub to: Number,
}

/// Whose caller id an extension may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its own number only (or none).
    Own,
    /// Any: for gateways.
    Any,
}

/// Which digest challenges an extension is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOffer {
    /// SHA-256 first, MD5 second.
    Both,
    /// MD5 alone, for phones that take the first challenge whatever it is.
    Md5,
}

/// From where a leg's RTP is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatMedia {
    /// The address in its SDP or, behind NAT, the address that signals.
    Strict,
    /// The first address that sends.
    Learn,
}

/// One place where SIP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// The address; `None` for every address of both families.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Listen {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, port) = (self.transport, self.port);
        match self.address {
            None => write!(f, "{transport}:{port}"),
            Some(IpAddr::V4(address)) => write!(f, "{transport}:{address}:{port}"),
            Some(IpAddr::V6(address)) => write!(f, "{transport}:[{address}]:{port}"),
        }
    }
}

/// From where somebody is heard: from a source in `allow` (or from everywhere if that is empty) that is
/// not in `deny`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Who may speak; empty for everybody.
    pub allow: Vec<Network>,
    /// Who may not, whatever `allow` says.
    pub deny: Vec<Network>,
}

/// So many a second: `10/s`, 1 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u32);

/// `ban = 10 1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// After how many wrong passwords, 3 to 1,000.
    pub failures: u32,
    /// For how long, 1 min to 7 days; also how long failures count.
    pub time: Duration,
}

/// `call-records = 1M 10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecords {
    /// How many bytes a file has at most, 10,000 to 1,000,000,000.
    pub bytes: u64,
    /// How many files there are at most, 1 to 1,000; when all are full, the oldest goes.
    pub files: u32,
}

/// How much of the cage must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sandbox {
    /// An unprivileged user, Landlock and seccomp, or the exchange does not start.
    Require,
    /// What the system has; the log says what that is.
    BestEffort,
    /// Nothing.
    Off,
}

/// Whether a notice that this machine will be stopped is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Where the machine is one that the cloud may take back at any time.
    Auto,
    /// Never.
    Off,
}

/// A SIP transport (RFC 3261 §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message a datagram.
    Udp,
    /// A stream, framed by Content-Length.
    Tcp,
    /// The same inside TLS.
    Tls,
}

impl Transport {
    /// Whether it is a stream: retransmission is not ours to do, and a listener of it takes a TCP port.
    pub fn is_stream(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls => true,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        })
    }
}

/// Where the certificate for TLS is, in two files of the form PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `tls.cert`: the certificate, and behind it those that lead to the authority.
    pub cert: PathBuf,
    /// `tls.key`: its private key.
    pub key: PathBuf,
}

/// An inclusive range of UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// How many pairs of an even port and the next one there are: RTP and RTCP of one end of a
    /// stream (RFC 3550 §11). A call with one audio stream takes two pairs.
    pub fn pairs(&self) -> usize {
        let first_even = usize::from(self.first).next_multiple_of(2);
        (usize::from(self.last) + 1).saturating_sub(first_even) / 2
    }
}

/// The range of registration lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiresRange {
    /// Shorter is refused with 423.
    pub min: Duration,
    /// Longer is shortened.
    pub max: Duration,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what is broken.
    Error,
    /// And what needs a look.
    Warn,
    /// And what happens: registrations, calls.
    Info,
    /// And the first line of every message.
    Debug,
}

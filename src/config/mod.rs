//! The flat file `denwa.conf`, and the typed [`Config`] that everything else reads.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the whole file says, checked. Every default is in [`Config::default`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `domain`: the name that phones register at; also the digest realm. Without one, every host
    /// name in a Request-URI is taken for ours and the realm is `denwa`.
    pub domain: Option<String>,
    /// `listen`: where SIP is spoken. Default `udp:5060 tcp:5060`.
    pub listen: Vec<Listen>,
    /// `advertise`: the address to write into Via, Record-Route and SDP instead of the local one
    /// of the same family; at most one of each family.
    pub advertise: Vec<IpAddr>,
    /// `media-ports`: first and last UDP port of the relay. Default 40000–40999.
    pub media_ports: PortRange,
    /// `state`: the folder for what must survive a restart.
    pub state: PathBuf,
    /// `register-expires`: the shortest and longest time a binding may ask for. Default 60 s, 3600 s.
    pub register_expires: ExpiresRange,
    /// `keep-alive`: how often each UDP binding is sent OPTIONS; `0s` for never. Default 25 s.
    pub keep_alive: Duration,
    /// `ext.N`: the extensions.
    pub extensions: BTreeMap<Number, Extension>,
    /// `group.N`: numbers that ring several extensions at once.
    pub groups: BTreeMap<Number, Vec<Number>>,
    /// `echo`: the number of the echo test.
    pub echo: Option<Number>,
    /// `call-limit`: the longest call. Default 8 h.
    pub call_limit: Duration,
    /// `media-timeout`: how long promised sound may be missing before the call is ended. Default 60 s.
    pub media_timeout: Duration,
    /// `log`: how much is said. Default `info`.
    pub log: LogLevel,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            domain: None,
            listen: vec![
                Listen {
                    transport: Transport::Udp,
                    address: None,
                    port: 5060,
                },
                Listen {
                    transport: Transport::Tcp,
                    address: None,
                    port: 5060,
                },
            ],
            advertise: Vec::new(),
            media_ports: PortRange {
                first: 40000,
                last: 40999,
            },
            state: PathBuf::from("/var/lib/denwa"),
            register_expires: ExpiresRange {
                min: Duration::from_secs(60),
                max: Duration::from_secs(3600),
            },
            keep_alive: Duration::from_secs(25),
            extensions: BTreeMap::new(),
            groups: BTreeMap::new(),
            echo: None,
            call_limit: Duration::from_secs(8 * 3600),
            media_timeout: Duration::from_secs(60),
            log: LogLevel::Info,
        }
    }
}

/// A number that can be dialled: 1 to 32 of `0-9 A-Z a-z * # + - _`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub(crate) Box<str>);

impl Number {
    /// The number, if `text` is one.
    pub fn new(text: &str) -> Option<Number> {
        let ok = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"*#+-_".contains(&b));
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

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One extension: `ext.N = password` and its `ext.N.*` keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// The digest password.
    pub password: Password,
    /// `.name`: shown to whoever is called.
    pub name: Option<String>,
    /// `.max-contacts`: how many phones may be registered at once, 1 to 32. Default 5.
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

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// `ext.N.no-answer = 20s 600`.
#[derive(Clone, Debug, PartialEq)]
pub struct NoAnswer {
    /// How long the phones ring first.
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
    /// UDP or TCP.
    pub transport: Transport,
    /// The address; `None` for every address of both families.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A SIP transport (RFC 3261 §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message a datagram.
    Udp,
    /// A stream, framed by Content-Length.
    Tcp,
}

/// An inclusive range of UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
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
    /// And every message.
    Debug,
}

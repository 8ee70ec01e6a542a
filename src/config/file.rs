//! What a file says, before it is known to make sense: the keys, and a line for every value.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::de::{Keys, Node, Said, keys};
use super::{
    Ban, CallRecords, DigestOffer, Identifier, Identity, Listen, LogLevel, NatMedia, Network, Number,
    Password, PortRange, Rate, Sandbox, Spot, Target, Terminal, WebAddress,
};

/// A key that may be there, and what it says.
pub(super) type Key<T> = Option<Said<T>>;

/// A key with a list of words.
pub(super) type List<T> = Vec<Said<T>>;

keys! {
    /// The keys of the file.
    File {
        "domain" => domain: Key<Domain>,
        "listen" => listen: Places,
        "advertise" => advertise: List<Advertised>,
        "media-ports" => media_ports: Key<PortRange>,
        "tls" => tls: TlsKeys,
        "state" => state: Key<PathBuf>,
        "sync" => sync: Key<Time>,
        "call-records" => call_records: Key<Records>,
        "register-expires" => register_expires: Key<(Time, Time)>,
        "keep-alive" => keep_alive: Key<Time>,
        "ext" => ext: Each<ExtensionKeys>,
        "group" => group: Each<List<Number>>,
        "peer" => peer: Each<PeerKeys>,
        "trunk" => trunk: Each<TrunkKeys>,
        "route" => route: Each<Key<Goal>>,
        "echo" => echo: Key<Number>,
        "mantela" => mantela: MantelaKeys,
        "call-limit" => call_limit: Key<Time>,
        "media-timeout" => media_timeout: Key<Time>,
        "log" => log: Key<LogLevel>,
        "allow" => allow: List<Network>,
        "deny" => deny: List<Network>,
        "stealth" => stealth: Key<YesNo>,
        "rate" => rate: RateKeys,
        "ban" => ban: Key<Banned>,
        "sandbox" => sandbox: Key<Sandbox>,
        "spot" => spot: Key<Spot>,
        "user" => user: Key<UserName>,
    }

    /// `listen.NAME` and the keys below it; for `listen` itself, `places` alone.
    PlaceKeys {
        /// `None` if there is no such key.
        "" => places: Option<List<Listen>>,
        "allow" => allow: List<Network>,
        "deny" => deny: List<Network>,
    }

    /// The keys below `rate`.
    RateKeys {
        "stranger" => stranger: Key<Rate>,
        "strangers" => strangers: Key<Rate>,
        "phone" => phone: Key<Rate>,
    }

    /// The keys below `mantela`.
    MantelaKeys {
        "listen" => listen: List<WebPlace>,
        "name" => name: Key<Name>,
        "identifier" => identifier: Key<Identifier>,
        "prefix" => prefix: List<Number>,
        "unavailable" => unavailable: Key<YesNo>,
        "numbers" => numbers: List<Number>,
    }

    /// The keys below `tls`.
    TlsKeys {
        "cert" => cert: Key<PathBuf>,
        "key" => key: Key<PathBuf>,
    }

    /// `ext.N` and the keys below it.
    ExtensionKeys {
        "" => password: Key<Password>,
        "name" => name: Key<Name>,
        "max-contacts" => max_contacts: Key<Contacts>,
        "busy" => busy: Key<Number>,
        "no-answer" => no_answer: Key<(Said<Time>, Said<Number>)>,
        "offline" => offline: Key<Number>,
        "identity" => identity: Key<Identity>,
        "digest" => digest: Key<DigestOffer>,
        "nat-media" => nat_media: Key<NatMedia>,
        "allow" => allow: List<Network>,
        "max-calls" => max_calls: Key<Calls>,
        "max-calls-hour" => max_calls_hour: Key<CallsAnHour>,
        "public" => public: Key<YesNo>,
        "type" => r#type: Key<Terminal>,
        "model" => model: Key<Name>,
    }

    /// `peer.NAME` and the keys below it.
    PeerKeys {
        "" => hosts: List<Address>,
        "prefix" => prefix: Key<Number>,
        "user" => user: Key<Word>,
        "password" => password: Key<Password>,
        "allow" => allow: List<Network>,
        "strip" => strip: Key<Digits>,
        "add" => add: Key<Number>,
        "numbers" => numbers: Option<List<Number>>,
        "hop" => hop: Key<YesNo>,
        "trunks" => trunks: List<Number>,
        "max-calls" => max_calls: Key<Calls>,
        "mantela" => mantela: Key<WebAddress>,
        "identifier" => identifier: Key<Identifier>,
        "pin" => pin: Key<Pin>,
    }

    /// `trunk.NAME` and the keys below it.
    TrunkKeys {
        "" => address: Key<Address>,
        "auth-user" => auth_user: Key<Word>,
        "password" => password: Key<Password>,
        "register" => register: Key<YesNo>,
        "allow" => allow: List<Network>,
        "numbers" => numbers: List<Number>,
        "caller-id" => caller_id: Key<Number>,
        "emergency" => emergency: Key<YesNo>,
        "pin" => pin: Key<Pin>,
        "max-calls" => max_calls: Key<Calls>,
        "max-calls-extension" => max_calls_extension: Key<Calls>,
        "max-calls-hour" => max_calls_hour: Key<CallsAnHour>,
        "max-minutes" => max_minutes: Key<Minutes>,
        "max-minutes-day" => max_minutes_day: Key<Minutes>,
    }
}

/// The URI of another exchange: `sip:user@host:port;transport=tcp`.
pub(super) struct Address {
    pub(super) user: Option<String>,
    pub(super) target: Target,
}

/// Where a route goes, as it is written: the words of `trunk.NAME peer.NAME`, or `group.N`, or a text behind `reject`.
pub(super) enum Goal {
    Neighbours(Vec<String>),
    Group(Number),
    Reject(String),
}

/// A user name of a digest, 1 to 64 bytes.
pub(super) struct Word(pub(super) String);

/// The SHA-256 of a certificate.
pub(super) struct Pin(pub(super) [u8; 32]);

/// A number of digits, 0 to 32.
pub(super) struct Digits(pub(super) u8);

/// A number of minutes, 1 to 44,640.
pub(super) struct Minutes(pub(super) u32);

/// A place where HTTP is spoken.
#[derive(Clone, Copy)]
pub(super) struct WebPlace(pub(super) Listen);

/// A host name or an address in the form that URIs have.
pub(super) struct Domain(pub(super) String);

/// A public address; `None` for `auto`.
#[derive(Clone, Copy)]
pub(super) struct Advertised(pub(super) Option<IpAddr>);

/// A duration with its unit.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Duration);

/// How a person or a room is called.
pub(super) struct Name(pub(super) String);

/// A number of contacts, 1 to 32.
pub(super) struct Contacts(pub(super) u8);

/// A number of calls, 1 to 1,000.
pub(super) struct Calls(pub(super) u16);

/// A number of calls an hour, 1 to 100,000.
pub(super) struct CallsAnHour(pub(super) u32);

/// After what a source is not heard for a while; `None` for never.
pub(super) struct Banned(pub(super) Option<Ban>);

/// How large the call records may become; `None` for no records.
pub(super) struct Records(pub(super) Option<CallRecords>);

/// `yes` or `no`.
pub(super) struct YesNo(pub(super) bool);

/// What a user of the system can be called.
pub(super) struct UserName(pub(super) String);

/// How some places to listen at are called; empty for those without a name.
pub(super) struct PlaceName(pub(super) String);

/// Keys that contain a number, in their order, and what is below each.
pub(super) struct Each<T>(pub(super) Vec<(Said<Number>, T)>);

impl<T> Default for Each<T> {
    fn default() -> Self {
        Each(Vec::new())
    }
}

impl<T: Keys> Keys for Each<T> {
    fn read(&mut self, node: Node<'_>) {
        node.each_part(&[], &mut |number, node| {
            let (number, mut below) = (Said::of(number), T::default());
            below.read(node);
            self.0.push((number, below));
        });
    }
}

/// `listen` and what is below it: places to listen at, by their names.
#[derive(Default)]
pub(super) struct Places(pub(super) Vec<Named>);

/// The places of one name.
pub(super) struct Named {
    pub(super) name: PlaceName,
    pub(super) line: u32,
    pub(super) keys: PlaceKeys,
}

impl Keys for Places {
    fn read(&mut self, node: Node<'_>) {
        // Any name can follow, and places without a name have none.
        node.each_part(&[""], &mut |name, node| {
            // Who writes `listen.allow` does not mean a place, so nothing is said of it but that.
            let Said { line, value: Some(name) } = Said::of(name) else { return };
            let mut keys = PlaceKeys::default();
            keys.read(node);
            self.0.push(Named { name, line, keys });
        });
    }
}

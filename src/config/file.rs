//! What a file says, before it is known to make sense: the keys, and a line for every value.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::de::Said;
use super::{
    Ban, CallRecords, DigestOffer, Identifier, Identity, Listen, LogLevel, NatMedia, Network, Number,
    Password, PortRange, Rate, Sandbox, Spot, Target, Terminal, WebAddress,
};

/// A key that may be there, and what it says.
pub(super) type Key<T> = Option<Said<T>>;

/// A key with a list of words.
pub(super) type List<T> = Vec<Said<T>>;

/// The keys of the file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) domain: Key<Domain>,
    pub(super) listen: Places,
    pub(super) advertise: List<Advertised>,
    pub(super) media_ports: Key<PortRange>,
    pub(super) tls: TlsKeys,
    pub(super) state: Key<PathBuf>,
    pub(super) sync: Key<Time>,
    pub(super) call_records: Key<Records>,
    pub(super) register_expires: Key<(Time, Time)>,
    pub(super) keep_alive: Key<Time>,
    pub(super) ext: Each<ExtensionKeys>,
    pub(super) group: Each<List<Number>>,
    pub(super) peer: Each<PeerKeys>,
    pub(super) trunk: Each<TrunkKeys>,
    pub(super) route: Each<Key<Goal>>,
    pub(super) echo: Key<Number>,
    pub(super) mantela: MantelaKeys,
    pub(super) call_limit: Key<Time>,
    pub(super) media_timeout: Key<Time>,
    pub(super) log: Key<LogLevel>,
    pub(super) allow: List<Network>,
    pub(super) deny: List<Network>,
    pub(super) stealth: Key<YesNo>,
    pub(super) rate: RateKeys,
    pub(super) ban: Key<Banned>,
    pub(super) sandbox: Key<Sandbox>,
    pub(super) spot: Key<Spot>,
    pub(super) user: Key<UserName>,
}

/// `listen.NAME` and the keys below it; for `listen` itself, `places` alone.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PlaceKeys {
    /// `None` if there is no such key.
    #[serde(rename = "")]
    pub(super) places: Option<List<Listen>>,
    #[serde(default)]
    pub(super) allow: List<Network>,
    #[serde(default)]
    pub(super) deny: List<Network>,
}

/// The keys below `rate`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct RateKeys {
    pub(super) stranger: Key<Rate>,
    pub(super) strangers: Key<Rate>,
    pub(super) phone: Key<Rate>,
}

/// The keys below `mantela`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct MantelaKeys {
    pub(super) listen: List<WebPlace>,
    pub(super) name: Key<Name>,
    pub(super) identifier: Key<Identifier>,
    pub(super) prefix: List<Number>,
    pub(super) unavailable: Key<YesNo>,
    pub(super) numbers: List<Number>,
}

/// The keys below `tls`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct TlsKeys {
    pub(super) cert: Key<PathBuf>,
    pub(super) key: Key<PathBuf>,
}

/// `ext.N` and the keys below it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ExtensionKeys {
    #[serde(rename = "")]
    pub(super) password: Key<Password>,
    pub(super) name: Key<Name>,
    pub(super) max_contacts: Key<Contacts>,
    pub(super) busy: Key<Number>,
    pub(super) no_answer: Key<(Said<Time>, Said<Number>)>,
    pub(super) offline: Key<Number>,
    pub(super) identity: Key<Identity>,
    pub(super) digest: Key<DigestOffer>,
    pub(super) nat_media: Key<NatMedia>,
    #[serde(default)]
    pub(super) allow: List<Network>,
    pub(super) max_calls: Key<Calls>,
    pub(super) max_calls_hour: Key<CallsAnHour>,
    pub(super) public: Key<YesNo>,
    pub(super) r#type: Key<Terminal>,
    pub(super) model: Key<Name>,
}

/// `peer.NAME` and the keys below it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PeerKeys {
    #[serde(rename = "", default)]
    pub(super) hosts: List<Address>,
    pub(super) prefix: Key<Number>,
    pub(super) user: Key<Word>,
    pub(super) password: Key<Password>,
    #[serde(default)]
    pub(super) allow: List<Network>,
    pub(super) strip: Key<Digits>,
    pub(super) add: Key<Number>,
    pub(super) numbers: Option<List<Number>>,
    pub(super) hop: Key<YesNo>,
    #[serde(default)]
    pub(super) trunks: List<Number>,
    pub(super) max_calls: Key<Calls>,
    pub(super) mantela: Key<WebAddress>,
    pub(super) identifier: Key<Identifier>,
    pub(super) pin: Key<Pin>,
}

/// `trunk.NAME` and the keys below it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TrunkKeys {
    #[serde(rename = "")]
    pub(super) address: Key<Address>,
    pub(super) auth_user: Key<Word>,
    pub(super) password: Key<Password>,
    pub(super) register: Key<YesNo>,
    #[serde(default)]
    pub(super) allow: List<Network>,
    #[serde(default)]
    pub(super) numbers: List<Number>,
    pub(super) caller_id: Key<Number>,
    pub(super) emergency: Key<YesNo>,
    pub(super) pin: Key<Pin>,
    pub(super) max_calls: Key<Calls>,
    pub(super) max_calls_extension: Key<Calls>,
    pub(super) max_calls_hour: Key<CallsAnHour>,
    pub(super) max_minutes: Key<Minutes>,
    pub(super) max_minutes_day: Key<Minutes>,
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Numbers<T> {
            type Value = Each<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Each<T>, A::Error> {
                let mut each = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    each.push(entry);
                }
                Ok(Each(each))
            }
        }

        deserializer.deserialize_map(Numbers(PhantomData))
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

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Places;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("places to listen at, and names of more")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Places, A::Error> {
                let mut places = Vec::new();
                while let Some(Said { line, value }) = map.next_key()? {
                    match value {
                        Some(name) => places.push(Named { name, line, keys: map.next_value()? }),
                        // Who writes `listen.allow` does not mean a place, so nothing is said of it.
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Places(places))
            }
        }

        // The only field is the one without a name: this is how the deserializer knows a map that
        // has a value of its own.
        deserializer.deserialize_struct("Places", &[""], Names)
    }
}

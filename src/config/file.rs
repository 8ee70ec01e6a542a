//! What a file says, before it is known to make sense: the keys, and a line for every value.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::de::Said;
use super::{DigestOffer, Identity, Listen, LogLevel, NatMedia, Number, Password, PortRange};

/// A key that may be there, and what it says.
pub(super) type Key<T> = Option<Said<T>>;

/// A key with a list of words.
pub(super) type List<T> = Vec<Said<T>>;

/// The keys of the file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) domain: Key<Domain>,
    pub(super) listen: List<Listen>,
    pub(super) advertise: List<Address>,
    pub(super) media_ports: Key<PortRange>,
    pub(super) state: Key<PathBuf>,
    pub(super) register_expires: Key<(Time, Time)>,
    pub(super) keep_alive: Key<Time>,
    pub(super) ext: Each<ExtensionKeys>,
    pub(super) group: Each<List<Number>>,
    pub(super) echo: Key<Number>,
    pub(super) call_limit: Key<Time>,
    pub(super) media_timeout: Key<Time>,
    pub(super) log: Key<LogLevel>,
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
}

/// A host name or an address in the form that URIs have.
pub(super) struct Domain(pub(super) String);

/// An IP address.
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) IpAddr);

/// A duration with its unit.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Duration);

/// How a person or a room is called.
pub(super) struct Name(pub(super) String);

/// A number of contacts, 1 to 32.
pub(super) struct Contacts(pub(super) u8);

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

//! What is written down: one kind of record for each kind of thing that must survive.
//!
//! A record says what is so now, not how it came about, so any of them can be replayed on whatever was
//! there before. New kinds go to the end of [`Record`]; a change to one that is there needs a new
//! [`super::VERSION`].

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Instant;

/// One change of what must survive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// What the exchange's lasting secrets are made of.
    Secret(Secret),
    /// A process took over from the one before: its clock has nothing to do with that of the records above.
    Started(Clocks),
    /// The wall clock was told, or set.
    Clock(Clocks),
    /// A binding is there that was not, or was another.
    Bound(Box<Binding>),
    /// A binding holds longer, by no more than the grace that is on record.
    Refreshed(Refresh),
    /// A binding holds longer than that, or shorter.
    Extended(Refresh),
    /// The binding of this number is gone.
    Unbound(u64),
    /// A call is so now.
    Call(Kept),
    /// The call of this number has ended, and people are told; a phone may not have heard of it yet.
    CallOver(u64),
    /// The call of this number is gone, and so is all that was under way in it.
    CallGone(u64),
    /// An INVITE of this call that is under way, or was answered lately, is so now.
    Invite(u64, Kept),
    /// The INVITE of this number is not needed any more.
    InviteGone(u64),
    /// So many calls there have been: the next one has the next number.
    Numbered(u64),
    /// What an extension has used of its limits.
    Used(Used),
    /// Who speaks in the call of this number is so now.
    Locks(Kept),
    /// A source is not heard.
    Banned(Ban),
    /// It is heard again, as far as it was the operator (true) who banned it, or wrong passwords.
    Heard(u64, bool),
    /// Whether the machine is about to be stopped: who is registered now stays so, however long it takes until the
    /// next process.
    Parked(bool),
    /// What of a trunk was used.
    Spent(Spent),
}

/// How soon a record has to be where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// In the file within [`super::HOLD`], or with the next that is more urgent.
    #[default]
    Waits,
    /// In the file before anybody is told. The system writes it to the disk within half a minute.
    Written,
    /// And on the disk within the time that `sync` says.
    Synced,
}

impl Record {
    /// Whether it means nothing when all calls are over.
    pub fn is_of_call(&self) -> bool {
        match self {
            Record::Call(_)
            | Record::CallOver(_)
            | Record::CallGone(_)
            | Record::Invite(..)
            | Record::InviteGone(_)
            | Record::Locks(_) => true,
            Record::Secret(_)
            | Record::Started(_)
            | Record::Clock(_)
            | Record::Bound(_)
            | Record::Refreshed(_)
            | Record::Extended(_)
            | Record::Unbound(_)
            | Record::Numbered(_)
            | Record::Used(_)
            | Record::Banned(_)
            | Record::Heard(..)
            | Record::Parked(_)
            | Record::Spent(_) => false,
        }
    }

    pub(super) fn urgency(&self) -> Urgency {
        match self {
            Record::Secret(_)
            | Record::Started(_)
            | Record::Bound(_)
            | Record::Unbound(_)
            | Record::Parked(_) => Urgency::Synced,
            Record::Call(_)
            | Record::CallOver(_)
            | Record::CallGone(_)
            | Record::Invite(..)
            | Record::InviteGone(_) => Urgency::Synced,
            Record::Extended(_)
            | Record::Numbered(_)
            | Record::Used(_)
            | Record::Spent(_)
            | Record::Locks(_)
            | Record::Banned(_)
            | Record::Heard(..) => Urgency::Written,
            // The grace of the record before makes up for a lost one.
            Record::Clock(_) | Record::Refreshed(_) => Urgency::Waits,
        }
    }
}

/// 32 random octets, made once; never printed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What two clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// The one that only goes forward, and begins anew with each process.
    pub now: Instant,
    /// The one on the wall, in milliseconds since 1970. It may be wrong: machines start in 1970.
    pub wall: u64,
}

/// One phone of an extension (RFC 3261 §10), as it registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Which: numbers are given in the order in which bindings come.
    pub id: u64,
    /// The extension.
    pub number: Box<str>,
    /// The contact's URI, exactly as the phone wrote it.
    pub uri: Octets,
    /// The contact's other parameters.
    pub params: Octets,
    /// `+sip.instance` and `reg-id` (RFC 5626).
    pub device: Option<(Octets, u64)>,
    /// Path (RFC 3327); empty for none.
    pub path: Octets,
    /// Preference in thousandths.
    pub q: u16,
    /// How the phone is reached.
    pub flow: Flow,
    /// Whether the contact is another address than the one that it sends from.
    pub behind_nat: bool,
    /// The Call-ID of its registrations.
    pub call_id: Octets,
    /// For how long it holds.
    pub term: Term,
}

/// Octets as somebody wrote them. They are written and read all at once, which serde does not do with a
/// slice of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octets(pub Box<[u8]>);

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Octets {
        Octets(octets.into())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Octets, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Octets::from)
    }
}

/// Something that only the switch can read: its form changes with the switch, and is none of the journal's
/// business.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Which.
    pub id: u64,
    /// When this was written.
    pub at: Instant,
    /// What it is like, as the switch wrote it.
    pub form: Octets,
}

/// A source that is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Which, as a number.
    pub source: u64,
    /// After how many wrong passwords; `None`: because the operator said so.
    pub failures: Option<u32>,
    /// When this was written.
    pub at: Instant,
    /// Until when it holds.
    pub until: Instant,
}

/// What an extension has used of its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// The extension.
    pub number: Box<str>,
    /// The hour of `begun[0]`, counted from the start.
    pub hour: u64,
    /// How many calls began in that hour, and in the one before; none at all: it is forgotten.
    pub begun: [u32; 2],
}

/// What of a trunk was used of its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Which: `trunk.NAME`.
    pub trunk: Box<str>,
    /// The hour of `calls[0]`, counted from the start.
    pub hour: u64,
    /// How many calls went out in that hour, and in the one before.
    pub calls: [u32; 2],
    /// The day of `seconds[0]`, counted from the start.
    pub day: u64,
    /// How many seconds were talked on that day, and on the one before.
    pub seconds: [u32; 2],
}

/// A binding was refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    /// Which.
    pub id: u64,
    /// For how long it holds now.
    pub term: Term,
}

/// For how long a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// The CSeq number of the REGISTER that said so.
    pub cseq: u32,
    /// When this was written.
    pub at: Instant,
    /// How much time was left then, in milliseconds.
    left: u32,
    /// How much more it may have by now, in milliseconds: a refresh that adds less may not be on record. It
    /// is granted when the records are replayed, once.
    grace: u32,
}

impl Term {
    /// Durations are cut off at 49 days.
    pub fn new(cseq: u32, at: Instant, left: Duration, grace: Duration) -> Term {
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Term { cseq, at, left: milliseconds(left), grace: milliseconds(grace) }
    }

    /// When it ends, without grace.
    pub fn expires(&self) -> Instant {
        self.at + Duration::from_millis(self.left.into())
    }

    /// See [`Term::new`].
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace.into())
    }
}

/// A way to reach somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Datagrams, or a stream, which does not survive.
    pub transport: Transport,
    /// Our side.
    pub local: Address,
    /// The other side.
    pub remote: Address,
}

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// The same inside TLS.
    Tls,
}

/// An address and a port, with the interface that a link-local address needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    ip: IpAddr,
    port: u16,
    scope: u32,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Address { ip: address.ip(), port: address.port(), scope }
    }
}

impl From<Address> for SocketAddr {
    fn from(Address { ip, port, scope }: Address) -> SocketAddr {
        match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
        }
    }
}

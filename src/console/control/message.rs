//! What is asked and what is answered.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::switch::view::{BanView, CallView, CountsView, ExtensionView, NeighbourView, RefusedView};
use crate::switch::{CallParties, Incident};

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// How the exchange is.
    Status,
    /// Who is registered: extensions behind this number, or from the first on.
    Phones {
        /// The last number that is known already.
        after: Option<String>,
    },
    /// Who talks to whom: calls behind this one.
    Calls {
        /// The last call that is known already; 0 for none.
        after: u64,
    },
    /// The last lines of the log.
    Log,
    /// What went wrong lately.
    Why {
        /// The number or address that it is about; `None` for all.
        whom: Option<String>,
    },
    /// Other exchanges.
    Neighbours,
    /// Who is not heard.
    Bans,
    /// End calls.
    HangUp(Which),
    /// Do not hear an address for so many seconds.
    Ban {
        /// Which.
        address: IpAddr,
        /// For how long.
        seconds: u64,
    },
    /// Hear an address again; `None`: all.
    Unban(Option<IpAddr>),
    /// Show messages as they come and go, until the connection is closed.
    Trace {
        /// Whose.
        which: Which,
        /// Whether all of each message is wanted.
        full: bool,
    },
}

/// Whose calls or messages are meant, as an operator says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// All.
    All,
    /// Those of a number if it is one, else the call of that number.
    Named(String),
    /// A call.
    Call(u64),
}

/// What the exchange answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Phones`].
    Phones {
        /// Some of them, in the order of their numbers.
        phones: Vec<ExtensionView>,
        /// Where to go on, if there are more.
        next: Option<String>,
    },
    /// To [`Request::Calls`].
    Calls {
        /// Some of them, in their order.
        calls: Vec<CallView>,
        /// Where to go on, if there are more.
        next: Option<u64>,
    },
    /// To [`Request::Log`]: lines, the newest last.
    Log(Vec<String>),
    /// To [`Request::Why`]: the newest last.
    Why(Vec<Incident>),
    /// To [`Request::Neighbours`].
    Neighbours(Vec<NeighbourView>),
    /// To [`Request::Bans`].
    Bans(Vec<BanView>),
    /// To [`Request::HangUp`]: the calls that are ended.
    Ended(Vec<EndedCall>),
    /// To [`Request::Ban`] and [`Request::Unban`]: the sources that it was about.
    Sources(Vec<String>),
    /// To [`Request::Trace`]: it has begun.
    Tracing,
    /// A message.
    Traced(Box<Traced>),
    /// So many messages were not shown, since they came faster than they were read.
    Missed(u64),
    /// It cannot be done: why, a sentence.
    Refused(String),
}

/// A call that is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedCall {
    /// Its number.
    pub call: u64,
    /// Who called.
    pub from: String,
    /// What was dialled.
    pub to: String,
}

impl From<CallParties> for EndedCall {
    fn from(CallParties { call, from, to, .. }: CallParties) -> EndedCall {
        EndedCall { call, from: from.to_string(), to: to.to_string() }
    }
}

/// A message that came or went, without its secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Whether it came.
    pub came: bool,
    /// Whose phone it came from or went to, if one is registered there.
    pub extension: Option<String>,
    /// Who it says to be from, if nobody is registered there.
    pub claims: Option<String>,
    /// Where that is.
    pub address: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Its first line.
    pub start_line: String,
    /// What SIP calls its call.
    pub call_id: String,
    /// Its CSeq: `1 INVITE`.
    pub cseq: String,
    /// Which call that is here, if it is one.
    pub call: Option<u64>,
    /// All of it, if that was wanted.
    pub text: Option<String>,
}

/// What does not change as long as an exchange runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The program's version.
    pub version: String,
    /// Where the configuration was read.
    pub configuration: String,
    /// The process that keeps it: what a supervisor started.
    pub keeper_pid: u32,
    /// The process that serves.
    pub pid: u32,
    /// When the keeper was started, in seconds since 1970.
    pub started_unix: u64,
    /// When this exchange was.
    pub exchange_started_unix: u64,
    /// How many exchanges before this one died.
    pub restarts: u32,
    /// What the sandbox came to, one line.
    pub sandbox: String,
    /// Whether all of it is there.
    pub sandbox_complete: bool,
    /// The state folder.
    pub state: String,
}

/// How the exchange is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What does not change.
    pub facts: Facts,
    /// The time by its clock, in seconds since 1970.
    pub now_unix: u64,
    /// The name that phones register at.
    pub domain: Option<String>,
    /// Where SIP is spoken.
    pub listening: Vec<Listening>,
    /// With what TLS is spoken, if it is.
    pub tls: Option<Certificate>,
    /// The addresses that this machine speaks to the world from.
    pub addresses: Vec<IpAddr>,
    /// The public addresses that phones are told.
    pub advertise: Vec<IpAddr>,
    /// The first and the last port for sound.
    pub media_ports: (u16, u16),
    /// How the state folder is.
    pub state: StateFolder,
    /// How many of everything there are.
    pub counts: CountsView,
    /// Other exchanges, in the order of their names.
    pub neighbours: Vec<NeighbourView>,
    /// Why most requests and packets were in vain within a day, the most frequent reason first.
    pub refused: Vec<RefusedView>,
    /// How many sources are not heard.
    pub banned: u64,
    /// After how long the cloud will stop this machine, if it said so.
    pub stopping_s: Option<u64>,
    /// What the configuration allows and its author may not want.
    pub remarks: Vec<String>,
}

/// A place where SIP is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// The address, perhaps a wildcard, and the port.
    pub address: SocketAddr,
}

/// With what TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whether denwa has made it.
    pub self_signed: bool,
    /// SHA-256 of it, as people compare it.
    pub sha256_fingerprint: String,
    /// Until when it is valid, in seconds since 1970.
    pub not_after_unix: u64,
    /// That it is out of date, or will be soon: a sentence.
    pub trouble: Option<String>,
}

/// How the state folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateFolder {
    /// What must survive is written there.
    Written,
    /// It cannot be written at present.
    Unwritable,
    /// There is none.
    Missing,
}

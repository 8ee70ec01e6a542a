//! What is asked and what is answered.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::switch::view::{CallView, CountsView, ExtensionView};

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
    /// It cannot be done: why, a sentence.
    Refused(String),
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
    /// The public addresses that phones are told.
    pub advertise: Vec<IpAddr>,
    /// The first and the last port for sound.
    pub media_ports: (u16, u16),
    /// How the state folder is.
    pub state: StateFolder,
    /// How many of everything there are.
    pub counts: CountsView,
    /// What the configuration allows and its author may not want.
    pub remarks: Vec<String>,
}

/// A place where SIP is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// `udp` or `tcp`.
    pub transport: String,
    /// The address, perhaps a wildcard, and the port.
    pub address: SocketAddr,
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

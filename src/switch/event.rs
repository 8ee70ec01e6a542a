//! What goes in and what comes out of the switch.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::flow::{Flow, StreamId, Transport};
use super::neighbour::HostId;
use crate::config::{Config, Label, Number, Target};
use crate::guard::News;
use crate::journal::Record;
use crate::media;

/// One thing that happened to the exchange.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram, or one framed message of a stream, at most 65,535 bytes.
    Packet {
        /// Where it came from.
        flow: Flow,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A stream connection was opened to one of our listeners. If it is not wanted, [`Output::Close`]
    /// names it.
    Opened(Flow),
    /// The other side of a stream has proved to have the key of a certificate: told before anything else that comes on
    /// it. Not of one that is closed, or is no more.
    Certified {
        /// The stream.
        flow: Flow,
        /// SHA-256 of the certificate.
        sha256: [u8; 32],
    },
    /// A stream connection was closed by the other side.
    Closed(StreamId),
    /// A connection that was wanted stands ([`Output::Connect`]).
    Connected {
        /// Which.
        ticket: u64,
        /// What is sent and received on from now on.
        flow: Flow,
    },
    /// It does not, and will not.
    NotConnected {
        /// Which.
        ticket: u64,
        /// Why, a part of a sentence.
        why: String,
    },
    /// A media relay's report.
    Media(media::Event),
    /// The wall clock, in milliseconds since 1970: at start, and when it was set. Used for `Date`.
    Clock(u64),
    /// What was found by name may be elsewhere: others are asked for names now.
    Renamed,
    /// [`super::Switch::deadline`] has come.
    Tick,
    /// End every call with BYE, for a reason that is logged.
    HangUp(&'static str),
    /// Go on with another configuration.
    Reload(Box<Config>),
    /// The operator wants something.
    Operator(Operation),
    /// The public addresses of this machine were found out, for `advertise = auto`; none if it has no others than its
    /// own.
    Advertised(Vec<IpAddr>),
    /// A host of another exchange was found: the flows by which it is reached, in the order in which they are to be
    /// tried, those by streams without one, and for how long that holds; or it was not, and why.
    Located(HostId, Result<(Vec<Flow>, Duration), String>),
    /// The machine will be stopped after this time; `None`: it will not, after all.
    MachineStops(Option<Duration>),
}

/// What the operator wants of a running exchange.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// End these calls.
    End(Vec<u64>),
    /// Do not hear a source (the address's [`crate::guard::Prefix`]) for a while.
    Ban(IpAddr, Duration),
    /// Hear it again, or all.
    Unban(Option<IpAddr>),
    /// Whether [`Event::Traced`] is wanted.
    Trace(bool),
}

/// One thing that the exchange wants done. Drained in this order: records, media, sends, events, so that
/// no promise leaves before it is on record, a packet never invites media to a port that is not open, and
/// nobody is told of what was not done.
#[derive(Debug)]
pub enum Output {
    /// For the journal: what must survive a crash from now on.
    Record(Record),
    /// For the relay.
    Media(media::Command),
    /// Bytes to a flow; one message.
    Send(Flow, Vec<u8>),
    /// A stream to be closed, once what was sent on it is written.
    Close(StreamId),
    /// A host is to be found (RFC 3263); the answer is [`Input::Located`].
    Locate {
        /// Which.
        host: HostId,
        /// Where it is, as the configuration says.
        target: Target,
    },
    /// A stream to be opened to somebody: [`Input::Connected`] or [`Input::NotConnected`] comes of it, within 5 s. At
    /// most 32 may be under way at once; one more fails.
    Connect {
        /// What it is called then.
        ticket: u64,
        /// TCP or TLS.
        transport: Transport,
        /// Where to.
        remote: SocketAddr,
        /// For TLS, who has to be there: a host name or an address, to which an authority of the system's list has
        /// given the certificate.
        name: String,
        /// For TLS, the SHA-256 of the certificate that has to be there; neither authorities nor names count then.
        pin: Option<[u8; 32]>,
    },
    /// For people to read.
    Event(Event),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A phone has a new binding (a refresh is not told).
    Registered {
        /// The extension.
        extension: Number,
        /// Where the phone is.
        flow: Flow,
        /// For how long.
        expires: Duration,
        /// What it calls itself, at most 64 bytes, printable ASCII.
        agent: String,
    },
    /// A binding is gone.
    Unregistered {
        /// The extension.
        extension: Number,
        /// Where the phone was.
        flow: Flow,
        /// Why.
        cause: Gone,
    },
    /// Somebody was refused, or not even answered.
    Guard(News),
    /// A call rings.
    CallStarted(CallParties),
    /// It was answered.
    CallAnswered(CallParties),
    /// It is over: the call record.
    CallEnded(CallRecord),
    /// A message came or went; only where the log is at `debug`.
    Message {
        /// Whether it came.
        came: bool,
        /// Between whom.
        flow: Flow,
        /// Its first line, at most 160 bytes, printable ASCII. Nothing else of it: what follows may
        /// hold credentials.
        first_line: String,
    },
    /// The exchange goes on with this configuration; events before it are about the one before.
    Reloaded(Box<Config>),
    /// A message came or went, for an operator who traces; only after [`Operation::Trace`]. It has all that
    /// the message has, credentials too: nobody may see it as it is.
    Traced {
        /// Whether it came.
        came: bool,
        /// Between whom.
        flow: Flow,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Anything else that needs a look, a sentence.
    Notice(String),
    /// Anything else that is as it should be, or is again, a sentence.
    Remark(String),
}

/// Why a binding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The phone said so.
    Removed,
    /// It did not refresh in time.
    Expired,
    /// Another phone of the extension took its place.
    Replaced,
    /// The configuration does not have the extension any more.
    ExtensionRemoved,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq)]
pub struct CallParties {
    /// Which call: numbers go up from 1 for as long as the process lives.
    pub call: u64,
    /// The caller's extension.
    pub from: Number,
    /// What was dialled.
    pub to: Number,
    /// Who answered, if somebody did.
    pub by: Option<Number>,
}

/// What is left of a call when it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Who called whom.
    pub parties: CallParties,
    /// When the INVITE came: the time since 1970, by the wall clock as it is at the end.
    pub started: Duration,
    /// From the INVITE to the end.
    pub duration: Duration,
    /// From the answer to the end, if it was answered.
    pub talked: Option<Duration>,
    /// Why it ended.
    pub cause: Cause,
    /// From where the caller signalled.
    pub source: IpAddr,
    /// The other exchanges that it came from and went to, the caller's first; of those that it might have gone to, the
    /// one that answered, or else the last that was tried.
    pub exchanges: Vec<Label>,
    /// What came from the caller.
    pub caller_media: media::Counters,
    /// What came from the callee.
    pub callee_media: media::Counters,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The caller hung up.
    CallerHungUp,
    /// The callee hung up.
    CalleeHungUp,
    /// The caller gave up before an answer.
    Cancelled,
    /// Nobody answered, or it was refused for another reason than the next: the final status that the caller got.
    Refused(u16),
    /// No phone was registered that could have rung.
    Unregistered,
    /// No other exchange that it might have gone to could be reached, or had room for it.
    NoWayOut,
    /// The longest allowed call.
    CallLimit,
    /// Promised sound did not come.
    MediaTimeout,
    /// The relay could not open its ports.
    MediaFailed,
    /// A side did not answer in time what it had to.
    SignallingTimeout,
    /// Taken over by another call (Replaces, RFC 3891).
    Replaced,
    /// The operator ended it.
    Operator,
    /// The machine is being stopped.
    MachineStops,
    /// It rang when the exchange was started again.
    Restarted,
    /// The configuration does not have the extension of one side any more.
    ExtensionRemoved,
}

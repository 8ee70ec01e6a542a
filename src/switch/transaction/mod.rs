//! Transactions (RFC 3261 §17, RFC 6026): four small machines, and the two tables that run them.
//!
//! Each machine is a pure function in a file of its own, laid out like the RFC's figure; it names
//! [`Action`]s, and the tables, [`Servers`] and [`Clients`], carry them out.

mod client;
mod clients;
mod invite_client;
mod invite_server;
mod server;
mod servers;

use super::neighbour::HostId;
pub(super) use clients::Clients;
pub(super) use servers::{Seen, Servers};

/// The most transactions of each kind, finished ones included. At the bound, new requests are
/// answered 503; finished ones make room first.
pub(super) const MAX_TRANSACTIONS: usize = 65_536;

/// The most finished transactions of each side that are kept for retransmissions; beyond, the oldest
/// is forgotten early (a retransmitted request is then handled anew, a repeated response dropped).
pub(super) const MAX_FINISHED: usize = 16_384;

/// What a machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Send what is kept: a client's request or ACK, a server's last response.
    Transmit,
    /// Give the response to whoever sent the request.
    PassUp,
    /// Make the ACK of a final response other than 2xx, keep it instead of the request, send it.
    Acknowledge,
    /// Tell whoever sent the request that nothing came.
    TimedOut,
    /// Arm a timer.
    Start(Kind),
}

/// The timers, by the RFC's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
    /// Not the RFC's letter, but its rule: a cancelled INVITE ends after 64·T1 (§9.1).
    Cancelled,
}

/// Identifies a server transaction.
pub(super) type ServerKey = u128;

/// Identifies a client transaction; carried in its Via branch.
pub(super) type ClientId = u64;

/// Who is told of a client transaction's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A branch of a fork.
    Fork(u64, u16),
    /// A call that denwa ends itself by this BYE.
    Hangup(ClientId, u64),
    /// Whoever wants to know whether a host of another exchange is there, and by which of the ways to it.
    Probe(HostId, u8),
    /// Whoever registers with the provider at a host.
    Register(HostId),
    /// Nobody: CANCEL, and the BYE of an answer that came too late.
    Nobody,
}

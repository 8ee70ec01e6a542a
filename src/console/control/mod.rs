//! The operator's commands: what a terminal and the exchange say to each other, and how people see it.
//!
//! ```text
//! denwa status ─▶ client ─ frame ─▶ <state>/control ─▶ net/operators.rs ─▶ Switch  views and commands
//!     people  ◀─ render ◀─ frame ──────────────────────────┘
//! ```
//!
//! A [`Request`] gets one [`Reply`] and the connection stays open for the next; only [`Request::Trace`] is
//! answered until somebody closes it. Long lists come page by page, so no reply is long and nothing in the
//! exchange waits for a reader.

mod advice;
pub mod ask;
mod bans;
mod calls;
mod frame;
mod harmless;
mod ladder;
mod mask;
mod message;
mod neighbours;
mod paint;
mod phones;
mod place;
mod status;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod watch;
mod why;

pub use super::words::Time;
pub use advice::advice;
pub use ask::{AskError, Client};
pub use bans::bans;
pub use calls::calls;
pub use frame::{FrameError, HEADER, MAX_REPLY, MAX_REQUEST, VERSION, decode, encode, length};
pub(crate) use harmless::is_obeyed;
pub use ladder::ladder;
pub use mask::masked;
pub use message::{
    Certificate, EndedCall, Facts, Listening, Reply, Request, StateFolder, Status, Traced, Which,
};
pub use neighbours::{for_asterisk, for_pinning, neighbours};
pub use paint::Paint;
pub use phones::phones;
pub use place::{SOCKET, at, connect, elsewhere};
pub use status::{status, status_json};
pub use watch::{Snapshot, screen};
pub use why::{IncidentJson, why, why_json};

//! Mantela (schema 0.1.x): what an exchange tells others of itself, in a file that they find by its address.
//!
//! ```text
//! denwa.conf ─▶ document ─▶ net/web.rs ─ HTTP ─▶ a friend's `peer add`, web tools
//!                                         HTTP ─▶ fetch ─▶ friend ─▶ proposal ─▶ denwa.conf
//! ```
//!
//! What is published is the name, the wished prefix and the SIP URI of the exchange, the numbers that are marked
//! public, and the peers of which the owner has said where their own document is. Passwords, users, lists of
//! addresses, and where phones are, have no way into it.
//!
//! What a friend publishes is somebody else's text. It is bounded, and made harmless where it is read: nothing of it
//! reaches a terminal or a file before that.
//!
//! The schema is at <https://github.com/tkytel/mantela>.

mod document;
mod fetch;
mod friend;
mod http;
mod proposal;
mod reach;
mod text;

pub use document::{AboutMe, Document, Extension, Prefixes, Provider, document};
pub use fetch::{FetchError, Fetched, MAX_REDIRECTS, fetch};
pub use friend::{FriendError, read};
pub use http::{Answer, MAX_HEAD, hear};
pub use proposal::{Proposal, Wishes, propose};
pub use reach::{is_private, is_private_host};
pub use text::{MAX_TEXT, Text};

/// Where the document is on a web server.
pub const PATH: &str = "/.well-known/mantela.json";

/// The most octets of a document that are read; ours are always smaller.
pub const MAX_DOCUMENT: usize = 256 << 10;

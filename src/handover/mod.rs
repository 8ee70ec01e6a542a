//! What one process hands over to another, and how: a room below the [`keeper`](crate::keeper), which gives, and
//! [`net`](crate::net), which takes.
//!
//! | from | to | what | file |
//! |---|---|---|---|
//! | the keeper | an exchange that starts | configuration and sockets | `parcel` |
//! | the keeper | an exchange that runs | the same anew, or that there is an heir | `parcel`, `message` |
//! | an exchange | its keeper | single octets: it serves, it has done what it was asked | `link` |
//! | an exchange | the next one | records, connections, the relay | `estate` |

mod descriptors;
mod estate;
mod link;
mod message;
mod parcel;
mod sockets;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use estate::CAN;
pub use estate::{Estate, Predecessor, Standing};
pub(crate) use link::receive;
pub use link::{Handover, Link, Order, keeper};
pub use message::Past;
pub(crate) use message::{READY, answer, send_heir};
pub use parcel::{MAX_SOCKETS, MAX_WEB_SOCKETS};
pub(crate) use parcel::{Parcel, send_names};
pub use sockets::Sockets;

//! The wire: SIP messages, headers, digest, SDP. Pure functions on bytes, no sockets, clocks or state.
//!
//! A [`Message`] is the received bytes and an index of the headers over them. It is never printed
//! anew: what is forwarded is an [`Edit`] of the received bytes, so what denwa does not know leaves
//! byte for byte as it came. [`Message::parse`] rejects only what cannot be represented;
//! [`check_request`] names the answer to what can be represented but not served.

mod address;
mod check;
mod cseq;
pub mod digest;
mod edit;
mod message;
mod method;
mod name;
pub mod originate;
mod response;
pub mod sdp;
mod text;
mod uri;
mod via;

pub use address::NameAddr;
pub use check::{Defect, check_request, check_response};
pub use cseq::CSeq;
pub use edit::Edit;
pub use message::{Header, MAX_HEADERS, MAX_MESSAGE, Message, ParseError, StartLine};
pub use method::Method;
pub use name::Name;
pub(crate) use response::put_top_via;
pub use response::{Response, reason_phrase};
pub use text::{Params, Split, decimal, find_param, params, printable, split, trim, unescape};
pub use uri::{Host, Uri};
pub use via::Via;

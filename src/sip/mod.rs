//! The wire: SIP messages, headers, digest, SDP. Pure functions on bytes, no sockets, clocks or state.

pub mod digest;
pub mod sdp;

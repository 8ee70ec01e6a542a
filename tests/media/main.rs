//! What the relay promises, held against real sockets on the loopback interface.
//!
//! [`sound`] is what passes, [`sources`] who may speak, [`sessions`] what it is told, [`measures`] what it
//! tells, and [`handover`] how one relay goes on where another one left.
#![allow(clippy::unwrap_used, missing_docs)]

mod handover;
mod measures;
mod scene;
mod sessions;
mod sound;
mod sources;

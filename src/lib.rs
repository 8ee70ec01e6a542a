//! denwa (電話): a whole telephone exchange in one static binary.
//!
//! A packet walks through the house once, from left to right:
//!
//! ```text
//! socket ─ net ─▶ sip ─▶ switch ─┬▶ registrar   who is where
//!                                ├▶ route       what a number means
//!                                └▶ call        two legs and what joins them
//! ```
//!
//! [`switch::Switch`] is the exchange itself: a state machine without sockets, clocks or threads.
//! [`net`] feeds it, [`media`] moves the sound, [`console`] tells people what happened.

pub mod config;
pub mod console;
pub mod keeper;
pub mod media;
pub mod net;
pub mod sip;
pub mod switch;

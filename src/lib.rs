//! denwa (電話): a whole telephone exchange in one static binary.
//!
//! A packet walks through the house once, from left to right:
//!
//! ```text
//! socket ─ net ─▶ guard ─▶ sip ─▶ switch ─┬▶ registrar   who is where
//!                                         ├▶ route       what a number means
//!                                         └▶ call        two legs and what joins them
//! ```
//!
//! [`switch::Switch`] is the exchange itself: a state machine without sockets, clocks or threads. It asks the
//! [`guard`] first. [`net`] feeds it, [`media`] moves the sound, [`journal`] keeps what must survive a crash,
//! [`console`] tells people what happened, [`cloud`] asks what surrounds the machine and [`dns`] where others are,
//! [`tls`] has the certificate. Two processes do all that: the [`keeper`] holds the listening sockets, and in the
//! cage that [`sandbox`] builds the exchange serves them. What one process gives to another is in [`handover`].

pub mod atomic;
pub mod cloud;
pub mod config;
pub mod console;
pub mod dns;
pub mod guard;
pub mod handover;
pub mod journal;
pub mod keeper;
pub mod mantela;
pub mod media;
pub mod net;
pub mod sandbox;
pub mod sip;
pub mod switch;
pub mod time;
pub mod tls;
mod web;

/// What this program calls itself: what it was built from, or else the version of the package.
pub const VERSION: &str = match option_env!("DENWA_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

//! A town of simulated phones around the exchange, in virtual time, over a network that loses,
//! doubles and delays from a seed; laws are checked after each step.
//!
//! Two kinds of days are played: [`scenarios`] are exact stories in perfect weather, to be read as
//! examples; [`days`] are thousands of random ones. A random day that breaks a law is printed with
//! the command that plays it again, step by step:
//!
//! ```text
//! DENWA_SEED=1234 cargo test --test simulation replay -- --nocapture
//! ```
//!
//! `DENWA_SEEDS` says how many days are played.

// A test target exports nothing, so its modules say `pub` for what they offer each other.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod days;
mod digest;
mod laws;
mod network;
mod phone;
mod relay;
mod rng;
mod scenarios;
mod sdp;
mod sip;
mod stranger;
mod town;

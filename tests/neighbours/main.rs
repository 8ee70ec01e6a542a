//! Other exchanges, friends' and providers', as far as messages go: a [`denwa::switch::Switch`] is told what they say,
//! word by word, and what it says to them is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)] // nothing outside a test binary could reach anything

mod cost;
mod days;
mod defence;
mod keys;
mod kit;
mod peers;
mod records;
mod transfers;
mod trunks;

//! Other exchanges, friends' and providers', as far as messages go: a [`denwa::switch::Switch`] is told what they say,
//! word by word, and what it says to them is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit;
mod peers;
mod trunks;

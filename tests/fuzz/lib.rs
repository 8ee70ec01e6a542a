//! What denwa is thrown at by a fuzzer. Each of `fuzz_targets/` is one program; what it does is in
//! [`targets`], which `tests/fuzz_corpus.rs` plays on the stable compiler as well.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../simulation/relay.rs"]
mod relay;
#[allow(dead_code)]
#[path = "../torture/strict.rs"]
mod strict;
pub mod targets;

/// A fuzzer's build counts every branch that is taken and every comparison, so it may take ten times
/// as long as another. What is slow by a power of its length is seen all the same.
const SLOWDOWN: u32 = 10;

//! What is fuzzed, one module each: `run` takes any bytes at all and panics if a promise is broken.

pub mod config;
pub mod control;
pub mod cost;
pub mod digest;
pub mod dns;
pub mod framer;
pub mod guard;
pub mod journal;
pub mod message;
mod rest;
pub mod sdp;
pub mod switch;

/// Takes an input, and panics at what should not be.
pub type Target = fn(&[u8]);

/// All of them, by the names of their folders in `corpus/` and files in `fuzz_targets/`.
pub const ALL: [(&str, Target); 10] = [
    ("message", message::run),
    ("framer", framer::run),
    ("sdp", sdp::run),
    ("config", config::run),
    ("digest", digest::run),
    ("dns", dns::run),
    ("control", control::run),
    ("guard", guard::run),
    ("journal", journal::run),
    ("switch", switch::run),
];

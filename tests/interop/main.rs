//! Real programs against the real binary.
//!
//! Each test starts `denwa` on a configuration of its own, then the telephones of other people:
//! baresip, SIPp, linphone, and the scanners of strangers. Everything stays on loopback or in network
//! namespaces that the test makes and removes. They need Debian packages, and some need root, so plain
//! `cargo test` leaves them out; `scripts/test interop` installs the packages and runs them, `scripts/test interop
//! hold` only those with "hold" in their name.
//!
//! When one fails, the logs of all its programs are shown, SIP messages included, and kept.
//! `DENWA_BINARY=/path/to/denwa` tests that binary instead of the one that cargo built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)] // nothing outside a test binary could reach anything

mod asterisk;
mod attacks;
mod authorities;
mod bad_input;
mod kit;

mod kamailio;
mod lines;
mod linphone;
mod names;
mod network;
mod peers;
mod phones;
mod providers;
mod server;
mod survival;

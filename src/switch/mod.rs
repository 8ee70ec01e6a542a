//! The exchange itself: a state machine that owns no socket, reads no clock and spawns nothing.
//!
//! ```text
//! switch.handle(now, input);                       // one input: a packet, a tick, a command
//! while let Some(output) = switch.poll() { … }     // drain it all before the next input
//! switch.deadline();                               // when it wants to be woken
//! ```

mod event;
mod flow;
mod time;

pub use event::{CallParties, CallRecord, Cause, Event, Gone, Input, Output};
pub use flow::{Flow, StreamId, Transport};
pub use time::Instant;

use crate::config::Config;

/// The exchange.
pub struct Switch {}

impl Switch {
    /// An exchange on a configuration. `seed` is 32 random bytes: all its secrets and identifiers
    /// come from them, so equal seeds and inputs give equal outputs.
    pub fn new(_config: Config, _seed: [u8; 32]) -> Switch {
        Switch {}
    }

    /// Takes one input. `now` must not go backwards.
    pub fn handle(&mut self, _now: Instant, _input: Input<'_>) {}

    /// The next thing to do; drain until `None` after each [`Switch::handle`].
    pub fn poll(&mut self) -> Option<Output> {
        None
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        0
    }

    /// When the switch wants [`Input::Tick`], if nothing else comes first.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}

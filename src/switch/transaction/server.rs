//! The non-INVITE server transaction (RFC 3261 §17.2.2, figure 8).

use super::Action::{self, *};

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum State {
    /// Nothing was answered.
    Trying,
    /// A provisional response was.
    Proceeding,
    /// A final response was; it is sent again when the request comes again.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum Event {
    /// The request came again.
    Request,
    /// A provisional response is to be sent.
    Provisional,
    /// A final response is to be sent.
    Final,
    /// The request will not come again.
    TimerJ,
}

/// One step of the figure.
pub(super) fn step(state: State, event: Event, reliable: bool) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Trying | Proceeding, Provisional) => (Proceeding, &[Transmit]),
        (Trying | Proceeding, Final) if reliable => (Terminated, &[Transmit]),
        (Trying | Proceeding, Final) => (Completed, &[Transmit, Start(super::Kind::J)]),

        (Proceeding | Completed, Request) => (state, &[Transmit]),
        (Completed, TimerJ) => (Terminated, &[]),

        (state, _) => (state, &[]),
    }
}

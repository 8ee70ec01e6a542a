//! The non-INVITE client transaction (RFC 3261 §17.1.2, figure 6).

use super::Action::{self, *};

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum State {
    /// The request is sent, nothing is heard.
    Trying,
    /// A provisional response was heard.
    Proceeding,
    /// A final response was; its retransmissions are absorbed.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum Event {
    /// 1xx.
    Provisional,
    /// 2xx to 6xx.
    Final,
    /// Retransmit the request.
    TimerE,
    /// Nothing final was heard.
    TimerF,
    /// The response will not come again.
    TimerK,
}

/// One step of the figure.
pub(super) fn step(state: State, event: Event, reliable: bool) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Trying | Proceeding, TimerE) => (state, &[Transmit, Start(super::Kind::E)]),
        (Trying | Proceeding, TimerF) => (Terminated, &[TimedOut]),
        (Trying | Proceeding, Provisional) => (Proceeding, &[PassUp]),
        (Trying | Proceeding, Final) if reliable => (Terminated, &[PassUp]),
        (Trying | Proceeding, Final) => (Completed, &[PassUp, Start(super::Kind::K)]),

        (Completed, TimerK) => (Terminated, &[]),

        (state, _) => (state, &[]),
    }
}

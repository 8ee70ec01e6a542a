//! The INVITE client transaction (RFC 3261 §17.1.1, figure 5, with RFC 6026 §7.2).

use super::Action::{self, *};

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum State {
    /// The INVITE is sent, nothing is heard.
    Calling,
    /// A provisional response was heard.
    Proceeding,
    /// A 2xx was: further ones are passed on (RFC 6026).
    Accepted,
    /// Another final response was, and is acknowledged as often as it comes.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum Event {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx.
    Failure,
    /// Retransmit the request.
    TimerA,
    /// Nothing was heard.
    TimerB,
    /// The response will not come again.
    TimerD,
    /// No more 2xx will come.
    TimerM,
}

/// One step of the figure.
pub(super) fn step(state: State, event: Event, reliable: bool) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Calling, TimerA) => (Calling, &[Transmit, Start(super::Kind::A)]),
        (Calling, TimerB) => (Terminated, &[TimedOut]),
        (Calling | Proceeding, Provisional) => (Proceeding, &[PassUp]),
        (Calling | Proceeding, Success) => (Accepted, &[PassUp, Start(super::Kind::M)]),
        (Calling | Proceeding, Failure) if reliable => (Terminated, &[Acknowledge, PassUp]),
        (Calling | Proceeding, Failure) => (Completed, &[Acknowledge, PassUp, Start(super::Kind::D)]),

        (Accepted, Success) => (Accepted, &[PassUp]),
        (Accepted, TimerM) => (Terminated, &[]),

        (Completed, Failure) => (Completed, &[Transmit]), // what is kept by now is the ACK
        (Completed, TimerD) => (Terminated, &[]),

        (state, _) => (state, &[]),
    }
}

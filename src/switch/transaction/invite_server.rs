//! The INVITE server transaction (RFC 3261 §17.2.1, figure 7, with RFC 6026 §7.1).

use super::Action::{self, *};

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum State {
    /// No final response yet.
    Proceeding,
    /// A 2xx was sent: further ones may be, retransmitted INVITEs are absorbed (RFC 6026).
    Accepted,
    /// Another final response was sent and waits for its ACK.
    Completed,
    /// The ACK came; late ones are absorbed.
    Confirmed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switch) enum Event {
    /// The INVITE came again.
    Request,
    /// A provisional response is to be sent.
    Provisional,
    /// A 2xx is to be sent.
    Success,
    /// Another final response is to be sent.
    Failure,
    /// The ACK came.
    Ack,
    /// Retransmit the response.
    TimerG,
    /// No ACK came.
    TimerH,
    /// No more ACKs will come.
    TimerI,
    /// No more 2xx will be sent.
    TimerL,
}

/// One step of the figure.
pub(super) fn step(state: State, event: Event, reliable: bool) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Proceeding, Request) => (Proceeding, &[Transmit]),
        (Proceeding, Provisional) => (Proceeding, &[Transmit]),
        (Proceeding, Success) => (Accepted, &[Transmit, Start(super::Kind::L)]),
        (Proceeding, Failure) if reliable => (Completed, &[Transmit, Start(super::Kind::H)]),
        (Proceeding, Failure) => (Completed, &[Transmit, Start(super::Kind::G), Start(super::Kind::H)]),

        (Accepted, Success) => (Accepted, &[Transmit]),
        (Accepted, TimerL) => (Terminated, &[]),

        (Completed, Request) => (Completed, &[Transmit]),
        (Completed, TimerG) => (Completed, &[Transmit, Start(super::Kind::G)]),
        (Completed, Ack) if reliable => (Terminated, &[]),
        (Completed, Ack) => (Confirmed, &[Start(super::Kind::I)]),
        (Completed, TimerH) => (Terminated, &[]),

        (Confirmed, TimerI) => (Terminated, &[]),

        (state, _) => (state, &[]),
    }
}

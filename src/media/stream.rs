//! A stream as it runs: two ends, and the way of a packet from one to the other.

use std::net::SocketAddr;

use super::demux::Key;
use super::end::LiveEnd;
use super::{Component, Side, packet};

/// A stream's ends, each as far as it could be opened.
#[derive(Debug, Default)]
pub(super) struct LiveStream {
    pub(super) a: Option<LiveEnd>,
    pub(super) b: Option<LiveEnd>,
    /// Whether what `a` says goes back to it.
    pub(super) echo: bool,
}

impl LiveStream {
    /// Says from which socket and to where a packet goes on, if anywhere; an echoed one is
    /// changed. Costs no system call and no allocation.
    pub(super) fn relay(
        &mut self,
        side: Side,
        component: Component,
        from: SocketAddr,
        bytes: &mut [u8],
        now: u64,
    ) -> Option<(Key, SocketAddr)> {
        let (here, there) = match side {
            Side::A => (&mut self.a, &self.b),
            Side::B => (&mut self.b, &self.a),
        };
        let here = here.as_mut()?;
        if !here.hear(component, from, bytes, now) {
            return None;
        }
        if self.echo {
            let echoes = component == Component::Rtp && packet::echo(bytes);
            return here.target(component).filter(|_| echoes);
        }
        there.as_ref()?.target(component)
    }

    /// One of the ends.
    pub(super) fn end(&mut self, side: Side) -> &mut Option<LiveEnd> {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

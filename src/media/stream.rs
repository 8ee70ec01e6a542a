//! A stream as it runs: two ends, and the way of a packet from one to the other.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::demux::Key;
use super::end::LiveEnd;
use super::moment::Moment;
use super::packet::{self, Looks};
use super::report::{self, Told};
use super::{Component, Side};

/// A stream's ends, each as far as it could be opened.
#[derive(Debug, Default, Serialize, Deserialize)]
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
        now: Moment,
    ) -> Option<(Key, SocketAddr)> {
        let (here, there) = match side {
            Side::A => (&mut self.a, &mut self.b),
            Side::B => (&mut self.b, &mut self.a),
        };
        let here = here.as_mut()?;
        let looks = here.hear(component, from, bytes, now)?;
        if self.echo {
            let echoes = component == Component::Rtp && packet::echo(bytes);
            return here.target(component).filter(|_| echoes);
        }
        let there = there.as_mut()?;
        if looks == Looks::Rtcp {
            for told in report::read(bytes) {
                match told {
                    Told::Sent(report) => there.passed_on(report, now),
                    Told::Heard { report, ago } => here.answered(report, ago, now),
                }
            }
        }
        there.target(component)
    }

    /// One of the ends.
    pub(super) fn end(&mut self, side: Side) -> &mut Option<LiveEnd> {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

//! The machine will be stopped: its cloud takes it back, as that of a spot instance does after a notice of two
//! minutes. What is still worth doing, and when:
//!
//! | before that | what |
//! |---|---|
//! | from the notice on | registrations last as short as `register-expires` allows, so that phones come back soon |
//! | 30 s | new calls are refused: 503, with Retry-After; but not to emergency numbers, which nobody else may take |
//! | 10 s | calls end, with a Reason (RFC 3326); registrations are on record as ones that outlast the stop |
//!
//! If it still runs 5 min after, it was not stopped, and all is as it was before.

use std::time::Duration;

use super::Switch;
use super::event::{Cause, Event};
use super::io::Timer;
use crate::journal::Record;
use crate::time::Instant;

/// How long before the stop a call is not worth beginning any more.
const NO_NEW_CALLS: Duration = Duration::from_secs(30);

/// How long before it calls end: a lost BYE is sent again some times.
const HANG_UP: Duration = Duration::from_secs(10);

/// How long after its time a stop that has not come does not come any more.
const OVERDUE: Duration = Duration::from_secs(300);

/// What the phones of a call are told that ends because of it.
pub(super) const REASON: &[(&str, &[u8])] =
    &[("Reason", b"SIP;cause=503;text=\"The server is being stopped\"")];

/// The same as a header line.
pub(super) const REASON_LINE: &[u8] = b"Reason: SIP;cause=503;text=\"The server is being stopped\"\r\n";

/// When a refused caller may try again, as a header line: the next machine takes some minutes.
pub(super) const RETRY_AFTER: &[u8] = b"Retry-After: 300\r\n";

/// A stop that is to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopping {
    /// When, if it is to come.
    at: Option<Instant>,
    /// Whether calls have been ended because of it.
    is_parked: bool,
}

impl Switch {
    /// The machine is stopped after this time; `None`: it is not.
    pub(super) fn machine_stops(&mut self, after: Option<Duration>) {
        self.stopping.at = after.map(|after| self.io.now + after);
        self.registrar.be_brief(after.is_some());
        if let Some(after) = after {
            self.io.arm(after.saturating_sub(HANG_UP), Timer::Stopping);
            self.io.arm(after + OVERDUE, Timer::Stopping);
        }
        // There is time again, for calls that have to end as well.
        if after.is_none_or(|after| after > HANG_UP) && std::mem::take(&mut self.stopping.is_parked) {
            self.io.record(Record::Parked(false));
        }
    }

    /// It may be time to end all calls, or to go on.
    pub(super) fn stop_nears(&mut self) {
        let Some(at) = self.stopping.at else { return };
        if self.io.now >= at + OVERDUE {
            self.io.tell(Event::Remark("spot: this server was not stopped; calls are taken again".into()));
            return self.machine_stops(None);
        }
        // An earlier notice may have said another time.
        if self.io.now + HANG_UP < at || std::mem::replace(&mut self.stopping.is_parked, true) {
            return;
        }
        self.io.record(Record::Parked(true));
        if self.live > 0 {
            self.io.tell(Event::Notice(format!(
                "spot: {} calls are ended: this server is being stopped",
                self.live
            )));
        }
        for call in self.calls.ids() {
            self.end_call(call, Cause::MachineStops);
        }
    }

    /// Whether a call would be over before it has begun.
    pub(super) fn takes_no_calls(&self) -> bool {
        self.stopping.at.is_some_and(|at| self.io.now + NO_NEW_CALLS >= at)
    }

    /// How long there is until the machine is stopped, if it is to be.
    pub fn stops_in(&self) -> Option<Duration> {
        self.stopping.at.map(|at| at - self.io.now)
    }

    /// Whether what is on record says that the stop is near.
    pub(super) fn is_parked(&self) -> bool {
        self.stopping.is_parked
    }
}

//! What is put down of calls.

use super::super::call::{Call, Phase};
use super::super::{CallRecord, Cause, Switch};
use super::{Incident, Place, What};
use crate::guard::Prefix;
use std::time::Duration;

/// From how long a call on a side should have been heard.
const HEARD: Duration = Duration::from_secs(3);

impl Switch {
    /// A call is over: it is put down if that is not what its parties wanted.
    pub(in super::super) fn note_call(&mut self, id: u64, cause: Cause) {
        let Some(call) = self.calls.get(&id) else { return };
        let what = match cause {
            Cause::CallerHungUp | Cause::CalleeHungUp | Cause::Cancelled | Cause::Replaced => return,
            Cause::Refused(status) => What::CallFailed(status),
            Cause::Unregistered => What::CallFailed(480),
            Cause::NoWayOut => What::CallFailed(503),
            Cause::CallLimit
            | Cause::MediaTimeout
            | Cause::MediaFailed
            | Cause::SignallingTimeout
            | Cause::MachineStops
            | Cause::Restarted
            | Cause::ExtensionRemoved
            | Cause::Operator => What::CallEnded,
        };
        let incident = Incident { call: Some(id), ..self.of_call(call, what, &Switch::reason(call, cause)) };
        let source = call.legs.first().map(|leg| Prefix::of(leg.flow.source()));
        self.annals.note(self.io.now, Place::House, source, incident);
    }

    /// The relay has counted: whether a side was not heard, or somebody else spoke.
    pub(in super::super) fn note_sound(&mut self, record: &CallRecord) {
        let parties = &record.parties;
        let long = record.talked.is_some_and(|talked| talked >= HEARD);
        let callee = parties.by.as_ref().unwrap_or(&parties.to);
        // The echo test says nothing of its own.
        let is_inside = parties.by.is_none();
        let sides = [(&parties.from, &record.caller_media), (callee, &record.callee_media)];
        for (number, media) in sides.into_iter().take(if is_inside { 1 } else { 2 }) {
            let key = format!("(ext.{number}.nat-media)");
            let reason = match (media.packets, media.strangers) {
                (0, 0) if long => format!("no sound came from {number} {key}"),
                (0, _) if long => {
                    format!("sound of {number} came from another address than it said, and was dropped {key}")
                }
                (1.., 1..) => {
                    format!("strangers sent sound in the name of {number}, and it was dropped {key}")
                }
                _ => continue,
            };
            let other = if number == &parties.from { callee } else { &parties.from };
            let incident = Incident {
                call: Some(parties.call),
                other: other.as_str().into(),
                ..Incident::new(What::BadSound, number.as_str(), &reason)
            };
            self.annals.note(self.io.now, Place::House, None, incident);
        }
    }

    fn of_call(&self, call: &Call, what: What, reason: &str) -> Incident {
        Incident {
            other: call.to.as_str().into(),
            from: call.legs.first().map_or_else(String::new, |leg| self.flow_of(leg).remote.to_string()),
            ..Incident::new(what, call.from.as_str(), reason)
        }
    }

    /// Whether a call had any phone to ring.
    pub(in super::super) fn could_ring(&self, call: &Call) -> bool {
        call.legs.len() > 1 || self.registrar.alive(call.to.as_str(), self.io.now).next().is_some()
    }

    /// Why a call ended, in words.
    fn reason(call: &Call, cause: Cause) -> String {
        let to = &call.to;
        match cause {
            Cause::Refused(408) => format!("no phone of {to} answered the exchange"),
            Cause::Unregistered => format!("no phone of {to} is registered"),
            Cause::NoWayOut => format!("no exchange that {to} might be at could be reached, or had room"),
            Cause::Refused(480) => format!("nobody took the call at {to}"),
            Cause::Refused(486 | 600) => format!("{to} is busy"),
            Cause::Refused(488) => "the phones have no codec in common".into(),
            Cause::Refused(503) => "all ports for sound are in use (media-ports)".into(),
            Cause::Refused(603) => format!("{to} declined"),
            Cause::Refused(status) => format!("{to} refused with {status}"),
            Cause::CallLimit => "the longest call is reached (call-limit)".into(),
            Cause::MediaTimeout => "no sound came any more (media-timeout)".into(),
            Cause::MediaFailed => "the relay could not open its ports (media-ports)".into(),
            Cause::SignallingTimeout => "a phone stopped answering".into(),
            Cause::MachineStops => "the server was being stopped by its cloud (spot)".into(),
            Cause::Restarted => "the exchange was started again while it rang".into(),
            Cause::Operator if call.phase == Phase::Ringing => "the operator ended it while it rang".into(),
            Cause::Operator => "the operator ended it".into(),
            Cause::ExtensionRemoved => "an extension of it was removed from the configuration (ext)".into(),
            Cause::CallerHungUp | Cause::CalleeHungUp | Cause::Cancelled | Cause::Replaced => String::new(),
        }
    }
}

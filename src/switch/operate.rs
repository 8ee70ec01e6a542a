//! What the operator has done: calls ended, sources banned, messages traced.

use super::annals::Incident;
use super::view::{BanView, RefusedView};
use super::{Cause, Event, Operation, Switch};
use std::time::Duration;

/// Of what time reasons are counted for [`Switch::refused_lately`].
const LATELY: Duration = Duration::from_secs(24 * 3_600);

/// How many of them are shown.
const REASONS: usize = 5;

impl Switch {
    pub(super) fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::End(calls) => calls.into_iter().for_each(|call| self.end_call(call, Cause::Operator)),
            Operation::Ban(address, time) => {
                if let Some(source) = self.guard.ban(self.io.now, address, time) {
                    let (number, unit) = match time.as_secs() {
                        seconds @ 0..3_600 => (seconds.div_ceil(60), "min"),
                        seconds @ 3_600..172_800 => (seconds.div_ceil(3_600), "h"),
                        seconds => (seconds.div_ceil(86_400), "days"),
                    };
                    self.io.tell(Event::Remark(format!(
                        "the operator has banned {source}: it is not heard for {number} {unit} (denwa unban)"
                    )));
                }
            }
            Operation::Unban(address) => {
                for source in self.guard.unban(self.io.now, address) {
                    self.io.tell(Event::Remark(format!("the operator has {source} heard again")));
                }
            }
            Operation::Trace(is_traced) => self.io.is_traced = is_traced,
        }
    }

    /// Who is not heard: those that the operator banned, then those with too many wrong passwords.
    pub fn bans(&self) -> Vec<BanView> {
        let view = |banned: crate::guard::Banned| BanView {
            source: banned.source.to_string(),
            wrong_passwords: banned.failures,
            left_s: banned.left.as_secs(),
        };
        self.guard.bans(self.io.now).into_iter().map(view).collect()
    }

    /// For what reasons most requests and packets were in vain within a day, as far as is remembered, the most
    /// frequent first; at most five.
    pub fn refused_lately(&self) -> Vec<RefusedView> {
        let reasons = self.annals.reasons(self.io.now, LATELY).into_iter().take(REASONS);
        reasons.map(|(reason, count)| RefusedView { reason, count }).collect()
    }

    /// What was not even read in the minute that is not over.
    pub(super) fn not_read(&self) -> Vec<Incident> {
        let now = self.seconds_of(self.io.now);
        let summaries = self.guard.vain(self.io.now).into_iter();
        let unread = summaries.filter(|summary| summary.dropped + summary.connections > 0);
        unread
            .map(|summary| Incident {
                first_unix: now.saturating_sub(summary.period.as_secs()),
                last_unix: now,
                ..Incident::not_read(&summary)
            })
            .collect()
    }
}

//! The next process: what it must know, and how it goes on with that.

use super::Switch;
use super::flow::Flow;
use super::io::Timer;
use super::secret;
use crate::config::Config;
use crate::journal::{Clocks, Record, Secret, State};

impl Switch {
    /// An exchange that goes on where another one ended, as far as `state` tells, which was carried over to
    /// these `clocks` ([`State::resume`]). `seed` is 32 random bytes of its own: the secrets that last are
    /// those of the other one.
    ///
    /// `streams` are connections that the other one has handed over, and that stand.
    ///
    /// Phones on UDP can be called at once if we still listen where they were registered; those on TCP too if
    /// their connection stands, else when they have come back. Bindings of extensions that there are no more are
    /// gone.
    pub fn restore(config: Config, seed: [u8; 32], state: State, clocks: Clocks, streams: &[Flow]) -> Switch {
        let lasting = state.secret.map_or(seed, |Secret(lasting)| lasting);
        let mut switch = Switch::with_secret(config, secret::Secret::new(lasting, seed));
        switch.io.now = clocks.now;
        switch.io.wall = i128::from(clocks.wall) - i128::from(clocks.now.0);
        switch.registrar.restore(&switch.config, clocks.now, state.bindings.into_values(), streams);
        for (after, binding) in switch.registrar.all_wakes(&switch.config, clocks.now) {
            switch.io.arm(after, Timer::Binding(binding));
        }
        switch.consult();
        for flow in streams {
            let proved = switch.registrar.knows(flow);
            switch.guard.inherit(clocks.now, flow.stream.0, flow.source(), proved);
        }
        switch
    }

    /// Gives all records from which [`Switch::restore`] makes what is alive now.
    pub fn snapshot(&self, each: &mut dyn FnMut(&Record)) {
        each(&Record::Secret(Secret(self.secret.lasting())));
        each(&Record::Clock(self.clocks()));
        self.registrar.snapshot(self.io.now, each);
    }

    /// The wall clock was told, or set.
    pub(super) fn clock(&mut self, unix: u64) {
        self.io.wall = i128::from(unix) - i128::from(self.io.now.0);
        self.io.record(Record::Clock(self.clocks()));
    }

    fn clocks(&self) -> Clocks {
        let wall = i128::from(self.io.now.0) + self.io.wall;
        Clocks { now: self.io.now, wall: u64::try_from(wall).unwrap_or(0) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::switch::{Event, Input, Instant, Output};

    #[test]
    fn what_an_exchange_without_bindings_leaves_behind() {
        let mut before = Switch::new(Config::default(), [1; 32]);
        before.handle(Instant(50), Input::Clock(1_790_000_000_000));
        let clocks = Clocks { now: Instant(50), wall: 1_790_000_000_000 };
        assert!(matches!(before.poll(), Some(Output::Record(Record::Clock(told))) if told == clocks));
        let mut records = Vec::new();
        before.snapshot(&mut |record| records.push(record.clone()));
        assert_eq!(records, [Record::Secret(Secret([1; 32])), Record::Clock(clocks)]);

        let mut state = State::default();
        records.into_iter().for_each(|record| state.apply(record));
        let clocks = Clocks { now: Instant(7), wall: 1_790_000_009_000 };
        state.resume(clocks);
        let mut after = Switch::restore(Config::default(), [2; 32], state, clocks, &[]);
        let mut records = Vec::new();
        after.snapshot(&mut |record| records.push(record.clone()));
        assert_eq!(records, [Record::Secret(Secret([1; 32])), Record::Clock(clocks)]);
        assert!(after.is_empty() && after.poll().is_none());
        after.handle(Instant(8), Input::HangUp("no call is lost"));
        assert!(!matches!(after.poll(), Some(Output::Event(Event::Notice(_)))));
    }
}

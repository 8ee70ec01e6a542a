//! What this machine says of name servers and names: its files are looked at now and then, since the network may come up
//! later than denwa, or be another one tomorrow. What they say is handed to the exchange, which could not read them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::certificate::{Stamp, stamp};
use super::watch::{State, Watch};
use crate::config::LogLevel;
use crate::dns::{self, FILES};

/// How often the files are looked at. Two stat(2) cost nothing.
const LOOK: Duration = Duration::from_secs(10);

/// What was last seen of the files.
pub(super) struct Names {
    seen: [Option<Stamp>; 2],
    /// When they are looked at next.
    pub(super) next: Instant,
}

impl Names {
    /// To be made before the first exchange, which reads them itself.
    pub(super) fn new() -> Names {
        Names { seen: stamps(), next: Instant::now() + LOOK }
    }
}

fn stamps() -> [Option<Stamp>; 2] {
    FILES.map(|file| stamp(Path::new(file)))
}

impl Watch {
    /// Looks at the files if it is time, and hands over what is new.
    pub(super) fn look_at_names(&mut self, now: Instant) {
        if self.keeper.names.next > now {
            return;
        }
        self.keeper.names.next = now + LOOK;
        let seen = stamps();
        let [resolv_conf, _] = &seen;
        // One that is not there is being written, perhaps, and says less than what was there.
        if seen == self.keeper.names.seen || resolv_conf.is_none() || self.is_busy() {
            return;
        }
        self.keeper.names.seen = seen;
        // The next one reads them itself.
        let State::Running(exchange) = &self.state else { return };
        if let Err(error) = exchange.tell_names(&dns::read_files()) {
            let sentence = format!("{} has changed, and cannot be handed over: {error}", FILES[0]);
            self.keeper.log.say(LogLevel::Warn, &sentence);
        }
    }
}

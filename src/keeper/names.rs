//! What this machine says of name servers and names: its files are looked at now and then, since the network may come up
//! later than denwa, or be another one tomorrow. What they say is handed to the exchange, which could not read them.

use std::time::{Duration, Instant};

use super::watch::{State, Watch};
use crate::dns;

/// How often the files are looked at: two short reads.
const LOOK: Duration = Duration::from_secs(10);

/// What an exchange knows of the files.
pub(super) struct Names {
    told: [String; 2],
    /// When they are looked at next.
    pub(super) next: Instant,
}

impl Names {
    /// To be made before the first exchange, which reads them itself.
    pub(super) fn new() -> Names {
        Names { told: dns::read_files(&Default::default()), next: Instant::now() + LOOK }
    }
}

impl Watch {
    /// Looks at the files if it is time, and hands over what is new.
    pub(super) fn look_at_names(&mut self, now: Instant) {
        if self.keeper.names.next > now {
            return;
        }
        self.keeper.names.next = now + LOOK;
        let files = dns::read_files(&self.keeper.names.told);
        if files == self.keeper.names.told || self.is_busy() {
            return;
        }
        // Where it cannot be told now, it is at the next look.
        if let State::Running(exchange) = &self.state
            && exchange.tell_names(&files).is_ok()
        {
            self.keeper.names.told = files;
        }
    }
}

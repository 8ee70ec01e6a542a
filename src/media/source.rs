//! Who speaks on one socket of an end, and where its packets go.

use std::net::{IpAddr, SocketAddr};

/// How long a source must be silent before another port of its address may take over, in
/// milliseconds: a phone behind NAT that was given a new mapping, or that restarted.
pub(super) const RELOCK_MS: u64 = 2_000;

/// One socket's lock on the source that speaks (and, by symmetric RTP, RFC 4961, hears) there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    locked: Option<SocketAddr>,
    /// When the locked source last spoke, in milliseconds.
    heard: u64,
    /// Where packets go: what the SDP says, until a source is locked.
    target: Option<SocketAddr>,
}

impl Source {
    /// Whether a packet from there is accepted; the first accepted one locks. `admitted` says whether
    /// an address may take the lock at all.
    pub(super) fn accept(
        &mut self,
        from: SocketAddr,
        admitted: impl FnOnce(IpAddr) -> bool,
        now: u64,
    ) -> bool {
        match self.locked {
            Some(locked) if locked == from => {}
            Some(locked) if locked.ip() != from.ip() || now.saturating_sub(self.heard) < RELOCK_MS => {
                return false;
            }
            Some(_) => self.lock(from),
            None if admitted(from.ip()) => self.lock(from),
            None => return false,
        }
        self.heard = now;
        true
    }

    fn lock(&mut self, from: SocketAddr) {
        self.locked = Some(from);
        self.target = Some(from);
    }

    /// Opens the lock. Packets go on to where they went, until somebody speaks: a phone on hold
    /// behind NAT listens to music without saying a word.
    pub(super) fn open(&mut self) {
        self.locked = None;
    }

    /// What the SDP says now. Where a source is locked, it knows better.
    pub(super) fn aim(&mut self, target: Option<SocketAddr>) {
        if self.locked.is_none() {
            self.target = target;
        }
    }

    /// Where packets go.
    pub(super) fn target(&self) -> Option<SocketAddr> {
        self.target
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_admitted_source_locks() {
        let mut source = Source::default();
        source.aim(Some(address("10.0.0.1:4000")));
        assert!(!source.accept(address("192.0.2.66:4000"), |_| false, 0));
        assert_eq!(source.target(), Some(address("10.0.0.1:4000")), "a stranger attracts nothing");

        assert!(source.accept(address("192.0.2.1:4000"), |_| true, 0));
        assert_eq!(source.target(), Some(address("192.0.2.1:4000")));
        source.aim(Some(address("10.0.0.2:4000")));
        assert_eq!(source.target(), Some(address("192.0.2.1:4000")), "the source knows better");
        assert!(!source.accept(address("192.0.2.2:4000"), |_| true, 1));
        assert!(!source.accept(address("192.0.2.2:4000"), |_| true, 1_000_000), "at no time");
    }

    #[test]
    fn another_port_takes_over_after_silence() {
        let mut source = Source::default();
        let (old, new) = (address("[2001:db8::1]:4000"), address("[2001:db8::1]:4002"));
        assert!(source.accept(old, |_| true, 0));
        assert!(source.accept(old, |_| true, 500));
        assert!(!source.accept(new, |_| true, 500 + RELOCK_MS - 1));
        assert!(source.accept(new, |_| true, 500 + RELOCK_MS));
        assert_eq!(source.target(), Some(new));
        assert!(!source.accept(old, |_| true, 500 + RELOCK_MS), "now the old one is the stranger");
    }

    #[test]
    fn an_opened_lock_is_anybodys_and_aims_as_before() {
        let mut source = Source::default();
        assert!(source.accept(address("192.0.2.1:4000"), |_| true, 0));
        source.open();
        assert_eq!(source.target(), Some(address("192.0.2.1:4000")));
        assert!(source.accept(address("192.0.2.2:4000"), |_| true, 1));
        assert_eq!(source.target(), Some(address("192.0.2.2:4000")));
    }
}

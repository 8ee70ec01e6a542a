//! Who speaks on one socket of an end, and where its packets go.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How long a source must be silent before another port of its address may take over, in
/// milliseconds: a phone behind NAT that was given a new mapping, or that restarted.
pub(super) const RELOCK_MS: u64 = 2_000;

/// One socket's lock on the source that speaks (and, by symmetric RTP, RFC 4961, hears) there.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Source {
    /// Where packets go: what the SDP says, until a source is locked.
    target: Option<SocketAddr>,
    /// Whether that is a source that has the lock.
    is_locked: bool,
    /// When a source last spoke that had the lock, in milliseconds.
    heard: Option<u64>,
    /// Where packets go, as far as was told; nothing told means as the SDP says.
    told: Option<SocketAddr>,
    /// Whether there may be something to tell.
    news: bool,
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
        match self.locked() {
            Some(locked) if locked == from => {}
            Some(locked) if locked.ip() != from.ip() || self.spoke_within(RELOCK_MS, now) => return false,
            Some(_) => self.lock(from),
            None if admitted(from.ip()) => self.lock(from),
            None => return false,
        }
        self.heard = Some(now);
        true
    }

    fn spoke_within(&self, time: u64, now: u64) -> bool {
        self.heard.is_some_and(|heard| now.saturating_sub(heard) < time)
    }

    fn lock(&mut self, from: SocketAddr) {
        self.target = Some(from);
        self.is_locked = true;
        self.news = true;
    }

    /// Restores a lock that was told of before: as if the source had just spoken.
    pub(super) fn restore(&mut self, from: SocketAddr, now: u64) {
        self.lock(from);
        // Whoever asks for it knows it, unless somebody else was quicker and was told.
        self.news = *self.told.get_or_insert(from) != from;
        self.heard = Some(now);
    }

    /// Opens the lock. Packets go on to where they went, until somebody speaks: a phone on hold
    /// behind NAT listens to music without saying a word.
    pub(super) fn open(&mut self) {
        self.is_locked = false;
        self.told = None;
        self.news = true;
    }

    /// What the SDP says now. Where a source is locked, it knows better.
    pub(super) fn aim(&mut self, target: Option<SocketAddr>) {
        match self.is_locked {
            true => self.news = true,
            false => self.target = target,
        }
    }

    /// Where packets go, if that is to be told: it differs from what was told last or, where nothing was, from
    /// what the SDP says.
    pub(super) fn take_news(&mut self, said: Option<SocketAddr>) -> Option<SocketAddr> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        let target = self.target.filter(|_| self.target != self.told.or(said))?;
        self.told = Some(target);
        Some(target)
    }

    /// Who has the lock.
    pub(super) fn locked(&self) -> Option<SocketAddr> {
        self.target.filter(|_| self.is_locked)
    }

    /// When somebody last spoke who had the lock, in milliseconds.
    pub(super) fn heard(&self) -> Option<u64> {
        self.heard
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

    #[test]
    fn what_the_sdp_says_is_no_news() {
        let (sdp, other) = (address("192.0.2.1:4000"), address("192.0.2.1:4002"));
        let mut source = Source::default();
        source.aim(Some(sdp));
        assert!(source.accept(sdp, |_| true, 0));
        assert_eq!(source.take_news(Some(sdp)), None);
        source.open();
        assert_eq!(source.take_news(Some(sdp)), None);
        assert!(source.accept(other, |_| true, 0));
        assert_eq!(source.take_news(Some(sdp)), Some(other));
        assert_eq!(source.take_news(Some(sdp)), None, "once");
        assert!(source.accept(sdp, |_| true, RELOCK_MS));
        assert_eq!(source.take_news(Some(sdp)), Some(sdp), "what was told is not so any more");
        assert!(source.accept(sdp, |_| true, 2 * RELOCK_MS));
        assert_eq!(source.take_news(Some(sdp)), None);
        // The SDP changes, and the source that is locked knows better.
        source.open();
        assert!(source.accept(sdp, |_| true, 0));
        source.aim(Some(other));
        assert_eq!(source.take_news(Some(other)), Some(sdp));
    }

    #[test]
    fn a_new_window_tells_where_packets_still_go() {
        let (sdp, nat) = (address("10.0.0.1:4000"), address("192.0.2.1:4000"));
        let mut source = Source::default();
        source.aim(Some(sdp));
        assert!(source.accept(nat, |_| true, 0));
        assert_eq!(source.take_news(Some(sdp)), Some(nat));
        source.open();
        assert_eq!(source.take_news(Some(sdp)), Some(nat), "of a phone on hold that says nothing");
        assert!(source.accept(nat, |_| true, 0));
        assert_eq!(source.take_news(Some(sdp)), None);
        source.open();
        source.aim(Some(sdp));
        assert_eq!((source.take_news(Some(sdp)), source.target()), (None, Some(sdp)));
    }

    #[test]
    fn a_restored_lock_is_one_that_just_spoke() {
        let (sdp, nat, stranger) =
            (address("10.0.0.1:4000"), address("192.0.2.1:4000"), address("192.0.2.1:4002"));
        let mut source = Source::default();
        source.aim(Some(sdp));
        source.restore(nat, 1_000);
        assert_eq!((source.take_news(Some(sdp)), source.target()), (None, Some(nat)));
        assert!(!source.accept(stranger, |_| true, 1_000 + RELOCK_MS - 1));
        assert!(source.accept(nat, |_| true, 1_000 + RELOCK_MS - 1));
        assert!(source.accept(stranger, |_| true, 1_000 + 2 * RELOCK_MS));
        assert_eq!(source.take_news(Some(sdp)), Some(stranger));
        // Whoever was quicker than the restorer, and was told, has to be told off.
        source.restore(nat, 10_000);
        assert_eq!((source.take_news(Some(sdp)), source.target()), (Some(nat), Some(nat)));
    }
}

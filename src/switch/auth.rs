//! Who is speaking: digest challenges and their answers (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! A challenge leaves no state behind: its nonce carries the time and a seal over it and the
//! source's address. Only a successful use is remembered, and of strangers no more than how many of the
//! last [`MAX_HINTS`] challenges they left unanswered.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::secret::{Purpose, Secret};
use super::table::Table;
use crate::config::{Config, DigestOffer, Extension, Kind, Label, Number};
use crate::guard::Networks;
use crate::sip::digest::{self, Algorithm, Credentials, Ha1, Qop};
use crate::sip::{Message, Method, Name};
use crate::time::Instant;

/// How long a nonce may be used after it was made; later uses are answered `stale=true`.
const NONCE_LIFE: Duration = Duration::from_secs(600);

/// The most nonces whose uses are remembered. Beyond, the oldest is forgotten, and it and all that
/// are older count as stale.
const MAX_NONCES: usize = 16_384;

/// The most phones of which is remembered that they want MD5 alone, and the most sources and numbers of
/// which is remembered that they left challenges unanswered. Beyond, the oldest is forgotten, and has to
/// be found out about again. Strangers are only among the latter, so they have no phone forgotten.
const MAX_HINTS: usize = 4096;

/// How many challenges with both algorithms a phone may leave unanswered before it is asked for
/// MD5 alone: some give up at the sight of SHA-256.
const PUZZLED: u8 = 2;

/// What credentials are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This extension speaks.
    Is(Number),
    /// This exchange does.
    Neighbour(Label),
    /// There were none for our realm: challenge.
    Missing,
    /// They were right once, or their nonce is not known any more: challenge with `stale=true`.
    Stale,
    /// They are wrong. Whoever this is answered a nonce that was made for this very address.
    Wrong {
        /// Whom they claimed to be.
        claimed: String,
        /// The algorithm that they used, to offer another one next.
        algorithm: Algorithm,
        /// They were right, but the extension may not speak from there.
        outside: bool,
    },
}

/// The exchange's doorkeeper.
pub(super) struct Authenticator {
    challenges: u32,
    /// How many extensions are asked for MD5 alone, and how many there are.
    md5_only: (u64, u64),
    /// What their passwords come to, and from where they may speak. The search takes as good as the same
    /// time in a long list as in none, or it would tell which extensions have one.
    known: BTreeMap<Number, (Ha1, Networks)>,
    /// The same of exchanges: their user, and what their password comes to.
    neighbours: BTreeMap<Label, (Box<str>, Ha1)>,
    /// What whoever does not exist is computed with, and is never right by.
    nobody: Ha1,
    /// Uses of nonces that were right, by the nonce's payload.
    used: Table<u64, Uses>,
    order: VecDeque<u64>,
    /// Nonces made at or before this moment may have been forgotten.
    forgotten: Option<u64>,
    /// By source and number: challenges with both algorithms that were left unanswered.
    unanswered: Hints,
    /// By source and number: [`PUZZLED`] for who last proved itself with MD5, 0 for who did not.
    proved: Hints,
}

/// What is known of how a number at an address takes challenges.
#[derive(Default)]
struct Hints {
    known: Table<u64, u8>,
    /// The oldest first; at most [`MAX_HINTS`].
    order: VecDeque<u64>,
}

/// Which counts of a nonce were used: all below `highest - 63` count as used.
struct Uses {
    highest: u32,
    /// Bit n: `highest - n`.
    window: u64,
}

impl Authenticator {
    pub(super) fn new(config: &Config) -> Authenticator {
        let mut authenticator = Authenticator {
            challenges: 0,
            known: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            nobody: Ha1::new(b"", b"", b""),
            md5_only: (0, 1),
            used: Table::default(),
            order: VecDeque::new(),
            forgotten: None,
            unanswered: Hints::default(),
            proved: Hints::default(),
        };
        authenticator.reload(config);
        authenticator
    }

    /// Goes by the passwords of another configuration. Which nonces were used, and what is known of how
    /// phones take challenges, stays.
    pub(super) fn reload(&mut self, config: &Config) {
        let md5_only = config.extensions.values().filter(|e| e.digest == DigestOffer::Md5).count() as u64;
        self.md5_only = (md5_only, config.extensions.len().max(1) as u64);
        let realm = Authenticator::realm(config).as_bytes();
        let ha1 = |(number, extension): (&Number, &crate::config::Extension)| {
            let ha1 = Ha1::new(number.as_str().as_bytes(), realm, extension.password.reveal().as_bytes());
            (number.clone(), (ha1, Networks::new(&extension.allow)))
        };
        self.known = config.extensions.iter().map(ha1).collect();
        self.nobody = Ha1::new(b"", realm, b"");
        let peers = config.neighbours.iter().filter(|(_, neighbour)| matches!(neighbour.kind, Kind::Peer(_)));
        self.neighbours = peers
            .filter_map(|(label, neighbour)| {
                let account = neighbour.account.as_ref()?;
                let ha1 = Ha1::new(account.user.as_bytes(), realm, account.password.reveal().as_bytes());
                Some((label.clone(), (account.user.as_str().into(), ha1)))
            })
            .collect();
    }

    /// The digest realm.
    pub(super) fn realm(config: &Config) -> &str {
        config.domain.as_deref().unwrap_or("denwa")
    }

    /// Looks for credentials for our realm and judges them. `near` are the exchanges that may speak from this source.
    pub(super) fn judge(
        &mut self,
        secret: &Secret,
        config: &Config,
        now: Instant,
        source: IpAddr,
        near: &[Label],
        request: &Message<'_>,
    ) -> Verdict {
        let realm = Authenticator::realm(config);
        let name = credentials_header(request);
        let ours = request
            .values(name)
            .filter_map(Credentials::parse)
            .find(|credentials| credentials.realm.is(realm.as_bytes()));
        let Some(credentials) = ours else { return Verdict::Missing };
        let Some(payload) = secret.open::<8>(Purpose::Nonce, credentials.nonce, &address_bytes(source))
        else {
            return Verdict::Stale;
        };
        let nonce = u64::from_be_bytes(payload);
        let made = Instant(nonce >> 24);
        if made > now || now - made > NONCE_LIFE {
            return Verdict::Stale;
        }

        let mut user = heapless::Vec::<u8, 64>::new();
        let fits = credentials.username.bytes().all(|b| user.push(b).is_ok());
        let user = std::str::from_utf8(&user).unwrap_or_default();
        let known = self.known.get_key_value(user).filter(|_| fits);
        let right = digest::verify(
            &credentials,
            known.map_or(&self.nobody, |(_, (ha1, _))| ha1),
            request.method_name(),
        );
        let is_neighbour = |label: &&Label| {
            self.neighbours.get(*label).is_some_and(|(name, ha1)| {
                **name == *user && fits && digest::verify(&credentials, ha1, request.method_name())
            })
        };
        let neighbour = near.iter().find(is_neighbour).cloned();
        let outside = known.is_some_and(|(_, (_, allow))| !allow.is_empty() && !allow.contains(source));
        let proved = match (&neighbour, known.filter(|_| right && !outside)) {
            (Some(label), _) => Some(Verdict::Neighbour(label.clone())),
            (None, Some((number, _))) => Some(Verdict::Is(number.clone())),
            (None, None) => None,
        };
        let Some(proved) = proved else {
            let (claimed, algorithm) = (user.to_owned(), credentials.algorithm);
            return Verdict::Wrong { claimed, algorithm, outside: right && known.is_some() };
        };
        let count = match credentials.qop {
            Qop::Auth { nc, .. } => nc,
            _ => 1,
        };
        match self.use_up(nonce, count) {
            true => {
                let hint = hint(secret, source, user);
                let puzzled = if credentials.algorithm == Algorithm::Md5 { PUZZLED } else { 0 };
                self.proved.remember(hint, puzzled);
                self.unanswered.remember(hint, 0);
                proved
            }
            false => Verdict::Stale,
        }
    }

    /// Whether this use of a nonce is its first; remembers it.
    fn use_up(&mut self, nonce: u64, count: u32) -> bool {
        if let Some(uses) = self.used.get_mut(&nonce) {
            return uses.use_up(count);
        }
        if count == 0 || self.forgotten.is_some_and(|forgotten| nonce >> 24 <= forgotten) {
            return false;
        }
        if self.used.len() >= MAX_NONCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.used.remove(&oldest);
            self.forgotten = self.forgotten.max(Some(oldest >> 24));
        }
        self.used.insert(nonce, Uses { highest: count, window: 1 });
        self.order.push_back(nonce);
        true
    }

    /// What whoever claims to be an extension is offered after a verdict. A number that does not
    /// exist is offered MD5 alone as often as one that does, and always the same, so that nobody
    /// learns from the offer which exist.
    pub(super) fn offer(
        &mut self,
        secret: &Secret,
        config: &Config,
        source: IpAddr,
        claimed: &str,
        verdict: &Verdict,
    ) -> Offer {
        let failed = matches!(verdict, Verdict::Wrong { algorithm, .. } if *algorithm != Algorithm::Md5);
        // Computed in any case: what takes longer for one than for the other tells which exist, too.
        let (md5_only, all) = self.md5_only;
        let lot = secret.mac(Purpose::Offer, &[claimed.as_bytes()]) % all < md5_only;
        let of_extension = |extension: &Extension| extension.digest == DigestOffer::Md5;
        let configured = config.extensions.get(claimed).map_or(lot, of_extension);
        let hint = hint(secret, source, claimed);
        let puzzled = self.unanswered.of(hint).max(self.proved.of(hint)) >= PUZZLED;
        Offer { stale: *verdict == Verdict::Stale, md5_only: failed || configured || puzzled }
    }

    /// A challenge with both algorithms was sent.
    pub(super) fn offered_both(&mut self, secret: &Secret, source: IpAddr, claimed: &str) {
        let hint = hint(secret, source, claimed);
        self.unanswered.remember(hint, self.unanswered.of(hint).saturating_add(1));
    }

    /// Header lines that challenge: SHA-256 first where both are offered. The second value is where
    /// MD5's line begins: from there on they are a challenge as well.
    pub(super) fn challenge(
        &mut self,
        secret: &Secret,
        config: &Config,
        now: Instant,
        source: IpAddr,
        request: &Message<'_>,
        offer: Offer,
    ) -> (Vec<u8>, usize) {
        self.challenges = self.challenges.wrapping_add(1);
        let payload = now.0 << 24 | u64::from(self.challenges & 0xff_ffff);
        let nonce = secret.seal(Purpose::Nonce, &payload.to_be_bytes(), &address_bytes(source));
        let name: &[u8] = match request.method() {
            Some(Method::Register) => b"WWW-Authenticate: ",
            _ => b"Proxy-Authenticate: ",
        };
        let algorithms: &[Algorithm] = match offer.md5_only {
            true => &[Algorithm::Md5],
            false => &[Algorithm::Sha256, Algorithm::Md5],
        };
        let mut lines = Vec::with_capacity(256);
        let mut last = 0;
        for algorithm in algorithms {
            last = lines.len();
            lines.extend_from_slice(name);
            let realm = Authenticator::realm(config).as_bytes();
            digest::challenge(&mut lines, realm, &nonce, *algorithm, offer.stale);
            lines.extend_from_slice(b"\r\n");
        }
        (lines, last)
    }
}

impl Hints {
    /// 0 for who is not known.
    fn of(&self, hint: u64) -> u8 {
        self.known.get(&hint).copied().unwrap_or(0)
    }

    fn remember(&mut self, hint: u64, puzzled: u8) {
        if let Some(known) = self.known.get_mut(&hint) {
            *known = puzzled;
            return;
        }
        if puzzled == 0 {
            return;
        }
        if self.known.len() >= MAX_HINTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(hint, puzzled);
        self.order.push_back(hint);
    }
}

/// What a challenge says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offer {
    /// The credentials were right, but their nonce is not: the phone need not ask its owner.
    pub(super) stale: bool,
    /// For phones that take the first challenge whatever its algorithm.
    pub(super) md5_only: bool,
}

impl Uses {
    fn use_up(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.window = if ahead < 64 { self.window << ahead | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = 1u64.checked_shl(behind).unwrap_or(0);
        let first = bit != 0 && self.window & bit == 0 && count != 0;
        self.window |= bit;
        first
    }
}

/// Registrars ask with 401 and are answered in Authorization, proxies with 407 and
/// Proxy-Authorization (RFC 3261 §22.3).
pub(super) fn credentials_header(request: &Message<'_>) -> Name {
    match request.method() {
        Some(Method::Register) => Name::Authorization,
        _ => Name::ProxyAuthorization,
    }
}

/// Under what is remembered how a number at an address takes challenges.
fn hint(secret: &Secret, source: IpAddr, number: &str) -> u64 {
    secret.mac(Purpose::Nonce, &[b"hint", &address_bytes(source), number.as_bytes()])
}

fn address_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_of_a_nonce_serves_once_in_any_order() {
        let mut auth = Authenticator::new(&Config::default());
        for (count, first) in [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (200, true),
            (199, true),
            (100, false),
            (0, false),
        ] {
            assert_eq!(auth.use_up(7 << 24, count), first, "count {count}");
        }
    }

    #[test]
    fn a_forgotten_nonce_is_not_fresh_again() {
        let mut auth = Authenticator::new(&Config::default());
        for made in 1..=MAX_NONCES as u64 + 1 {
            assert!(auth.use_up(made << 24, 1));
        }
        assert_eq!(auth.used.len(), MAX_NONCES);
        assert!(!auth.use_up(1 << 24, 1), "its uses are not known any more");
        assert!(auth.use_up((1 << 38) - 1, 1));
    }
}

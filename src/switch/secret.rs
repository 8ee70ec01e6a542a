//! What nobody else can make: tokens, branches, nonces, tags.
//!
//! All of them come from two seeds through SipHash-2-4, a keyed function made for short inputs, so
//! the switch needs no randomness after its start and can be replayed exactly. One seed is the
//! exchange's for good: what phones keep, as the tokens in their dialogs, opens after a restart too. The
//! other one is of this process: what is counted from one, or must not be used again, is not mistaken
//! for what the process before has made.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher13};

/// What a sealed text is for; a text sealed for one use never opens for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Record-Route and masked Contact.
    Token = 1,
    /// Via branch.
    Branch,
    /// Digest nonce.
    Nonce,
    /// From and To tags, Call-IDs.
    Tag,
    /// Loop detection.
    Loop,
    /// Transaction keys.
    Key,
    /// Which algorithms somebody is offered.
    Offer,
    /// The contact that is registered with a provider.
    Contact,
}

impl Purpose {
    /// Whether it holds for this process alone: which uses of a nonce were right is forgotten with it.
    fn is_of_process(self) -> bool {
        matches!(self, Purpose::Nonce)
    }
}

/// Text made of a few payload bytes and 64 bits of seal, in lower-case base32: at most 26 characters.
pub(super) type Sealed = heapless::Vec<u8, 26>;

/// The longest payload of a sealed text, in bytes.
const MAX_PAYLOAD: usize = 8;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The keys of one exchange.
pub(super) struct Secret {
    /// The seed that the next process is to have as well.
    lasting: [u8; 32],
    seal: (u64, u64),
    /// Instead of `seal`, for this process alone.
    own: (u64, u64),
    table: (u64, u64),
    made: u64,
}

impl Secret {
    /// The keys from the seed of the exchange, and that of the process.
    pub(super) fn new(lasting: [u8; 32], own: [u8; 32]) -> Secret {
        Secret { lasting, seal: words(&lasting, 0), own: words(&own, 0), table: words(&own, 16), made: 0 }
    }

    /// The seed of the exchange.
    pub(super) fn lasting(&self) -> [u8; 32] {
        self.lasting
    }

    /// The key that tables are hashed with.
    pub(super) fn table_keys(&self) -> (u64, u64) {
        self.table
    }

    /// 64 bits that only this exchange can compute from these parts.
    pub(super) fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> u64 {
        self.mac_by(if purpose.is_of_process() { self.own } else { self.seal }, purpose, parts)
    }

    fn mac_by(&self, key: (u64, u64), purpose: Purpose, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
        hasher.write_u8(purpose as u8);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }

    /// A table key over these parts that an outsider cannot make collide.
    pub(super) fn key(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.table.0, self.table.1);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// Seals up to eight payload bytes, bound to a context that the text does not carry.
    pub(super) fn seal(&self, purpose: Purpose, payload: &[u8], context: &[u8]) -> Sealed {
        debug_assert!(payload.len() <= MAX_PAYLOAD);
        let mac = self.mac(purpose, &[payload, context]).to_be_bytes();
        base32(payload.iter().take(MAX_PAYLOAD).chain(&mac).copied())
    }

    /// Opens a sealed text with a payload of `N` bytes. `None`: not ours, or for another context.
    pub(super) fn open<const N: usize>(
        &self,
        purpose: Purpose,
        text: &[u8],
        context: &[u8],
    ) -> Option<[u8; N]> {
        let payload = peek::<N>(text)?;
        let sealed = self.seal(purpose, &payload, context);
        let same = subtle::ConstantTimeEq::ct_eq(sealed.as_slice(), text);
        bool::from(same).then_some(payload)
    }

    /// A tag or Call-ID that was never used before and that nobody can foretell.
    pub(super) fn fresh(&mut self) -> heapless::Vec<u8, 26> {
        self.made += 1;
        let made = self.mac_by(self.own, Purpose::Tag, &[&self.made.to_be_bytes()]);
        base32(made.to_be_bytes().into_iter())
    }

    /// The user of the contact that is registered by a name: always the same, and nobody can guess it.
    pub(super) fn contact(&self, name: &str) -> heapless::Vec<u8, 26> {
        base32(self.mac(Purpose::Contact, &[name.as_bytes()]).to_be_bytes().into_iter())
    }

    /// A tag that is always the same for the same parts: for answers that leave no state behind.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> heapless::Vec<u8, 26> {
        base32(self.mac(Purpose::Tag, parts).to_be_bytes().into_iter())
    }
}

/// Two words of a seed, from an octet on.
fn words(seed: &[u8; 32], at: usize) -> (u64, u64) {
    let word = |at: usize| seed[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    (word(at), word(at + 8))
}

/// The payload that a sealed text claims to carry, not yet believed.
pub(super) fn peek<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != ((N + 8) * 8).div_ceil(5) {
        return None;
    }
    let mut payload = [0; N];
    let (mut bits, mut have, mut at) = (0u32, 0, 0);
    for &b in text {
        let value = match b {
            b'a'..=b'z' => b - b'a',
            b'2'..=b'7' => b - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        have += 5;
        if have >= 8 && at < N {
            have -= 8;
            payload[at] = (bits >> have) as u8;
            at += 1;
        }
    }
    Some(payload)
}

fn base32(bytes: impl Iterator<Item = u8>) -> Sealed {
    let mut text = Sealed::new();
    let (mut bits, mut have) = (0u32, 0);
    for b in bytes {
        bits = bits << 8 | u32::from(b);
        have += 8;
        while have >= 5 {
            have -= 5;
            // 16 bytes are 26 characters: it fits.
            let _ = text.push(ALPHABET[(bits >> have) as usize & 31]);
        }
    }
    if have > 0 {
        let _ = text.push(ALPHABET[(bits << (5 - have)) as usize & 31]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        let secret = Secret::new([7; 32], [7; 32]);
        let text = secret.seal(Purpose::Token, &[1, 2, 3, 4, 5, 6], b"call-id");
        assert_eq!(text.len(), 23, "a token has at most 24 characters");
        assert_eq!(secret.open(Purpose::Token, &text, b"call-id"), Some([1, 2, 3, 4, 5, 6]));
        assert_eq!(secret.open::<6>(Purpose::Token, &text, b"other"), None);
        assert_eq!(secret.open::<6>(Purpose::Nonce, &text, b"call-id"), None);
        for at in 0..text.len() {
            let mut forged = text.clone();
            forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(secret.open::<6>(Purpose::Token, &forged, b"call-id"), None);
        }
        assert_eq!(Secret::new([8; 32], [7; 32]).open::<6>(Purpose::Token, &text, b"call-id"), None);
    }

    #[test]
    fn the_next_process_knows_tokens_and_branches_and_no_nonces_and_repeats_nothing() {
        let (mut before, mut after) = (Secret::new([7; 32], [1; 32]), Secret::new([7; 32], [2; 32]));
        let token = before.seal(Purpose::Token, &[1, 2, 3, 4, 5, 6], b"x");
        assert!(after.open::<6>(Purpose::Token, &token, b"x").is_some());
        assert_eq!(before.tag(&[b"x"]), after.tag(&[b"x"]));
        let branch = before.seal(Purpose::Branch, &[1; 8], b"");
        assert!(after.open::<8>(Purpose::Branch, &branch, b"").is_some());
        let nonce = before.seal(Purpose::Nonce, &[1; 8], b"");
        assert_eq!(after.open::<8>(Purpose::Nonce, &nonce, b""), None);
        assert_ne!(before.fresh(), after.fresh());
    }

    #[test]
    fn branches_and_nonces_have_26_characters() {
        let secret = Secret::new([7; 32], [7; 32]);
        assert_eq!(secret.seal(Purpose::Branch, &[9; 8], b"").len(), 26);
    }
}

//! What nobody else can guess: the numbers of questions, and which of equal hosts comes first.

use std::cell::Cell;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// Numbers from a seed: SipHash-2-4 with the seed as its key, over a counter.
pub(super) struct Random {
    key: [u8; 16],
    drawn: Cell<u64>,
}

impl Random {
    pub(super) fn new(key: [u8; 16]) -> Random {
        Random { key, drawn: Cell::new(0) }
    }

    /// Any number.
    pub(super) fn draw(&self) -> u64 {
        let drawn = self.drawn.get();
        self.drawn.set(drawn.wrapping_add(1));
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(drawn);
        hasher.finish()
    }

    /// A number from 0 to `most`. Of 64 bits, what is left over favours none by more than one in 2³².
    pub(super) fn up_to(&self, most: u32) -> u32 {
        (self.draw() % (u64::from(most) + 1)) as u32
    }
}

//! The switch's tables.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are already hashes, or counters that no outsider chooses.
pub(super) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// The hasher of [`Table`].
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn neighbours_do_not_meet_in_a_table() {
        let spread = BuildHasherDefault::<Spread>::default();
        let hashes: std::collections::BTreeSet<u64> = (0..1000u64)
            .flat_map(|id| [(id, false), (id, true)])
            .map(|key| spread.hash_one(key) & 0xffff)
            .collect();
        assert!(hashes.len() > 1900, "{} of 2000 low halves differ", hashes.len());
    }
}

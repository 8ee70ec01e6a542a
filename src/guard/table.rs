//! What is known of sources, in tables that never grow.

use super::prefix::{Prefix, Source};

/// A value for each of at most `SETS × WAYS` sources, made at start.
///
/// A source belongs to one set, which only who knows the key can tell, and has one of its `WAYS` places.
/// Where all are taken, a newcomer gets the place of whoever ranks lowest: each table says by what, and
/// what that means.
pub(super) struct Table<T, const WAYS: usize, const SETS: usize>(Box<[[Slot<T>; WAYS]]>);

#[derive(Clone, Copy)]
struct Slot<T> {
    source: Prefix,
    value: T,
}

/// Where a source is now.
pub(super) enum Place<'a, T> {
    /// Where it was.
    Own(&'a mut T),
    /// In the place of another, whose value is still there, or in one that was free.
    Taken(&'a mut T),
}

impl<T: Copy, const WAYS: usize, const SETS: usize> Table<T, WAYS, SETS> {
    /// An empty one. `free` stands in free places, and should rank lowest.
    pub(super) fn new(free: T) -> Self {
        Table(vec![[Slot { source: Prefix::NOBODY, value: free }; WAYS]; SETS].into())
    }

    /// What is known of a source.
    pub(super) fn get(&self, source: Source) -> Option<&T> {
        let set = &self.0[Self::set(source)];
        set.iter().find(|slot| slot.source == source.prefix).map(|slot| &slot.value)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, source: Source) -> Option<&mut T> {
        let set = &mut self.0[Self::set(source)];
        set.iter_mut().find(|slot| slot.source == source.prefix).map(|slot| &mut slot.value)
    }

    /// The place of a source, which it is given if it had none.
    pub(super) fn place<R: Ord>(&mut self, source: Source, rank: impl Fn(&T) -> R) -> Place<'_, T> {
        let set = &mut self.0[Self::set(source)];
        if let Some(own) = set.iter().position(|slot| slot.source == source.prefix) {
            return Place::Own(&mut set[own].value);
        }
        let lower = |a: usize, b: usize| if rank(&set[b].value) < rank(&set[a].value) { b } else { a };
        let lowest = &mut set[(1..WAYS).fold(0, lower)];
        lowest.source = source.prefix;
        Place::Taken(&mut lowest.value)
    }

    /// What is known of everybody, and what stands in free places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Prefix, &T)> {
        self.0.iter().flatten().map(|slot| (slot.source, &slot.value))
    }

    fn set(source: Source) -> usize {
        source.hash as usize % SETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::prefix::Key;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn everybody_has_a_place_until_the_lowest_has_to_go() {
        let source = |n| Key::new((3, 4)).source(IpAddr::V4(Ipv4Addr::from_bits(n)));
        let mut table = Table::<u32, 4, 1>::new(0);
        for n in [30, 10, 40, 20] {
            match table.place(source(n), |&value| value) {
                Place::Taken(value) => *value = n,
                Place::Own(_) => panic!("{n} is new"),
            }
        }
        assert!(matches!(table.place(source(10), |&value| value), Place::Own(10)));
        match table.place(source(50), |&value| value) {
            Place::Taken(value) => assert_eq!(std::mem::replace(value, 50), 10),
            Place::Own(_) => panic!("50 is new"),
        }
        assert_eq!((table.get(source(10)), table.get(source(50))), (None, Some(&50)));
        let mut all: Vec<u32> = table.iter().map(|(_, &value)| value).collect();
        all.sort_unstable();
        assert_eq!(all, [20, 30, 40, 50]);
    }
}

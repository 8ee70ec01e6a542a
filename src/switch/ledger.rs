//! Tables whose entries survive: what was touched is put on record if it is not what is there.

use std::collections::BTreeSet;

use super::table::Table;

/// A table by numbers that no outsider chooses.
///
/// Whoever may change an entry touches it. When an input has been dealt with, [`Ledger::touched`] tells what
/// has to be looked at, and [`Ledger::is_noted_as`] whether it is what is on record. So nobody who changes
/// something has to remember that it must survive.
pub(super) struct Ledger<V> {
    table: Table<u64, V>,
    /// With repetitions.
    touched: Vec<u64>,
    /// What is on record: a digest of each form.
    noted: Table<u64, u64>,
    /// Of which it is on record that they are over.
    over: BTreeSet<u64>,
}

impl<V> Default for Ledger<V> {
    fn default() -> Ledger<V> {
        Ledger {
            table: Table::default(),
            touched: Vec::new(),
            noted: Table::default(),
            over: BTreeSet::new(),
        }
    }
}

impl<V> Ledger<V> {
    /// An entry, to be looked at.
    pub(super) fn get(&self, id: &u64) -> Option<&V> {
        self.table.get(id)
    }

    /// An entry, to be changed.
    pub(super) fn get_mut(&mut self, id: &u64) -> Option<&mut V> {
        let found = self.table.get_mut(id);
        if found.is_some() {
            self.touched.push(*id);
        }
        found
    }

    /// Adds an entry.
    pub(super) fn insert(&mut self, id: u64, value: V) {
        self.touched.push(id);
        self.table.insert(id, value);
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, id: &u64) -> Option<V> {
        self.touched.push(*id);
        self.table.remove(id)
    }

    /// Whether there is such an entry.
    pub(super) fn contains_key(&self, id: &u64) -> bool {
        self.table.contains_key(id)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All entries.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.table.values()
    }

    /// The numbers of all entries, in their order.
    pub(super) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.table.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// An entry has to be looked at, since something has changed that it depends on.
    pub(super) fn touch(&mut self, id: u64) {
        self.touched.push(id);
    }

    /// What may differ from what is on record, in the order of numbers, each once.
    pub(super) fn touched(&mut self) -> Vec<u64> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Whether an entry is on record.
    pub(super) fn is_noted(&self, id: u64) -> bool {
        self.noted.contains_key(&id)
    }

    /// Whether the form of an entry that has this digest is what is on record.
    pub(super) fn is_noted_as(&self, id: u64, digest: u64) -> bool {
        self.noted.get(&id) == Some(&digest)
    }

    /// The form of this digest is put on record.
    pub(super) fn note(&mut self, id: u64, digest: u64) {
        self.noted.insert(id, digest);
    }

    /// An entry does not survive, or not any more. Whether that is to be put on record.
    pub(super) fn note_gone(&mut self, id: u64) -> bool {
        self.over.remove(&id);
        self.noted.remove(&id).is_some()
    }

    /// An entry that is on record is over. Whether that is news.
    pub(super) fn note_over(&mut self, id: u64) -> bool {
        self.is_noted(id) && self.over.insert(id)
    }

    /// A form of this digest is on record, written by the process before; it is looked at when this one goes on.
    pub(super) fn recall(&mut self, id: u64, digest: u64) {
        self.noted.insert(id, digest);
        self.touched.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_is_looked_at_and_what_differs_is_noted() {
        let mut ledger = Ledger::default();
        ledger.insert(7, "a");
        ledger.insert(5, "b");
        assert_eq!(ledger.get(&7), Some(&"a"));
        assert!(ledger.get_mut(&7).is_some() && ledger.get_mut(&9).is_none());
        assert_eq!(ledger.touched(), [5, 7]);
        assert!(ledger.touched().is_empty());
        assert!(!ledger.is_noted_as(7, 1));
        ledger.note(7, 1);
        assert!(ledger.is_noted_as(7, 1) && !ledger.is_noted_as(7, 2) && !ledger.is_noted_as(5, 1));
        ledger.note(7, 2);
        assert!(ledger.is_noted_as(7, 2) && !ledger.is_noted_as(7, 1));
        assert!(!ledger.note_gone(5), "it never was on record");
        assert!(ledger.is_noted(7) && !ledger.is_noted(5));
        assert!(ledger.note_over(7) && !ledger.note_over(7) && !ledger.note_over(5));
        assert_eq!(ledger.remove(&7), Some("a"));
        assert_eq!(ledger.touched(), [7]);
        assert!(ledger.note_gone(7) && !ledger.note_gone(7));
    }

    #[test]
    fn what_is_recalled_and_the_same_is_not_written_again() {
        let mut ledger = Ledger::default();
        ledger.recall(7, 1);
        ledger.recall(8, 1);
        ledger.insert(7, ());
        assert_eq!(ledger.touched(), [7, 8]);
        assert!(ledger.is_noted_as(7, 1) && ledger.note_gone(8));
    }
}

//! Bounded lists of the nearest points seen so far.
//!
//! The order is (rank, index), a total one, so the content after any number of insertions does not depend on their
//! order: this is what makes the parallel searches deterministic.

/// One list per row, each a binary heap with the worst entry first.
pub(crate) struct Heaps {
    pub(crate) k: usize,
    pub(crate) ranks: Vec<f32>,
    pub(crate) ids: Vec<u32>,
}

/// Mutable view of one list.
pub(crate) struct HeapMut<'a> {
    pub(crate) ranks: &'a mut [f32],
    pub(crate) ids: &'a mut [u32],
}

impl Heaps {
    pub(crate) fn new(rows: usize, k: usize) -> Self {
        Self {
            k,
            ranks: vec![f32::INFINITY; rows * k],
            ids: vec![u32::MAX; rows * k],
        }
    }

    pub(crate) fn ids(&self, row: usize) -> &[u32] {
        &self.ids[row * self.k..(row + 1) * self.k]
    }

    /// The rank to beat.
    pub(crate) fn worst(&self, row: usize) -> f32 {
        self.ranks[row * self.k]
    }

    /// Rows in groups of `rows`, each mutable on its own.
    pub(crate) fn groups(&mut self, rows: usize) -> Vec<HeapMut<'_>> {
        let size = rows * self.k;
        let pairs = self.ranks.chunks_mut(size).zip(self.ids.chunks_mut(size));
        pairs.map(|(ranks, ids)| HeapMut { ranks, ids }).collect()
    }
}

impl HeapMut<'_> {
    /// List `row` of a group.
    #[inline]
    pub(crate) fn row(&mut self, row: usize, k: usize) -> HeapMut<'_> {
        let range = row * k..(row + 1) * k;
        HeapMut {
            ranks: &mut self.ranks[range.clone()],
            ids: &mut self.ids[range],
        }
    }

    /// Whether (rank, id) belongs into the list.
    #[inline]
    pub(crate) fn accepts(&self, rank: f32, id: u32) -> bool {
        (rank, id) < (self.ranks[0], self.ids[0])
    }

    /// Replaces the worst entry when the new one is better. The caller sees to it that an id comes once.
    #[inline]
    pub(crate) fn push(&mut self, rank: f32, id: u32) -> bool {
        if !self.accepts(rank, id) {
            return false;
        }
        let (k, mut at) = (self.ids.len(), 0);
        loop {
            let mut child = 2 * at + 1;
            if child >= k {
                break;
            }
            if child + 1 < k && self.key(child + 1) > self.key(child) {
                child += 1;
            }
            if (rank, id) >= self.key(child) {
                break;
            }
            (self.ranks[at], self.ids[at]) = self.key(child);
            at = child;
        }
        (self.ranks[at], self.ids[at]) = (rank, id);
        true
    }

    #[inline]
    fn key(&self, at: usize) -> (f32, u32) {
        (self.ranks[at], self.ids[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};

    #[test]
    fn keeps_the_smallest_in_any_order() {
        let mut items: Vec<(f32, u32)> = (0..200_u32).map(|i| ((i % 23) as f32, i)).collect();
        let mut expected = items.clone();
        expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
        expected.truncate(9);
        for seed in 0..20 {
            Stream::new(seed, Purpose::Audit).shuffle(&mut items);
            let mut heaps = Heaps::new(1, 9);
            let mut groups = heaps.groups(1);
            items.iter().for_each(|&(r, i)| {
                groups[0].push(r, i);
            });
            let mut got: Vec<(f32, u32)> = heaps
                .ranks
                .iter()
                .copied()
                .zip(heaps.ids(0).iter().copied())
                .collect();
            got.sort_by(|a, b| a.partial_cmp(b).unwrap());
            assert_eq!(got, expected);
        }
    }
}

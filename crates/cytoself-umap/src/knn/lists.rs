//! Sorted neighbour lists that are improved in batches of proposals.
//!
//! A proposal says that two points are so far apart. Proposals are made in parallel against lists that nobody changes
//! meanwhile, and then applied by the owners of the lists. As a list is ordered by (rank, index), a total order, the
//! outcome depends neither on the threads nor on the order of the proposals.

use rayon::prelude::*;

use super::Knn;
use crate::source::Space;

/// Set in an index until the entry has taken part in a join.
const FRESH: u32 = 1 << 31;
/// Lists of one owner.
const OWNED: usize = 2048;

/// One neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) rank: f32,
    tagged: u32,
}

impl Entry {
    const EMPTY: Self = Self {
        rank: f32::INFINITY,
        tagged: !FRESH,
    };

    pub(crate) fn id(self) -> u32 {
        self.tagged & !FRESH
    }

    pub(crate) fn is_fresh(self) -> bool {
        self.tagged & FRESH != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.id() == Self::EMPTY.id()
    }

    /// An entry without a rank, for lists turned round.
    pub(crate) fn reverse(id: u32, fresh: bool) -> Self {
        Self {
            rank: 0.0,
            tagged: if fresh { id | FRESH } else { id },
        }
    }

    fn key(self) -> (f32, u32) {
        (self.rank, self.id())
    }
}

/// Neighbour lists of equal length, nearest first; a point is not in its own list.
pub(crate) struct Lists {
    k: usize,
    entries: Vec<Entry>,
    /// Rank of the last entry of each list: small enough to stay in the cache.
    worst: Vec<f32>,
}

/// Proposals of one task, sorted by the owner of the list they are for.
pub(crate) struct Proposals {
    owners: Vec<Vec<(u32, u32, f32)>>,
}

impl Lists {
    /// Lists of at most 2^31 - 2 points.
    pub(crate) fn new(n: usize, k: usize) -> Self {
        Self {
            k,
            entries: vec![Entry::EMPTY; n * k],
            worst: vec![f32::INFINITY; n],
        }
    }

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() / self.k
    }

    pub(crate) fn row(&self, i: usize) -> &[Entry] {
        &self.entries[i * self.k..(i + 1) * self.k]
    }

    /// The lists, to mark entries; after insertions call [`Lists::refresh`].
    pub(crate) fn rows_mut(&mut self) -> rayon::slice::ChunksMut<'_, Entry> {
        self.entries.par_chunks_mut(self.k)
    }

    /// Looks up the last ranks again.
    pub(crate) fn refresh(&mut self) {
        let lasts = self.entries.iter().skip(self.k - 1).step_by(self.k);
        self.worst = lasts.map(|e| e.rank).collect();
    }

    pub(crate) fn proposals(&self) -> Proposals {
        Proposals {
            owners: vec![Vec::new(); self.len().div_ceil(OWNED)],
        }
    }

    /// Proposes each of the two points to the other, where it may be welcome.
    #[inline]
    pub(crate) fn propose(&self, to: &mut Proposals, i: u32, j: u32, rank: f32) {
        if rank <= self.worst[i as usize] {
            to.owners[i as usize / OWNED].push((i, j, rank));
        }
        if rank <= self.worst[j as usize] {
            to.owners[j as usize / OWNED].push((j, i, rank));
        }
    }

    /// Applies the proposals of several tasks and counts the changes.
    pub(crate) fn apply(&mut self, proposals: &[Proposals]) -> usize {
        let k = self.k;
        let counts: Vec<usize> = self
            .entries
            .par_chunks_mut(OWNED * k)
            .zip(self.worst.par_chunks_mut(OWNED))
            .enumerate()
            .map(|(owner, (rows, worst))| {
                let all = proposals.iter().flat_map(|p| &p.owners[owner]);
                let mut changes = 0;
                for &(i, j, rank) in all {
                    let own = i as usize - owner * OWNED;
                    let row = &mut rows[own * k..][..k];
                    // Most proposals of a batch have been overtaken.
                    if rank <= worst[own] && insert(row, rank, j) {
                        worst[own] = row[k - 1].rank;
                        changes += 1;
                    }
                }
                changes
            })
            .collect();
        counts.iter().sum()
    }

    /// Lists from candidates per point, ranked in `space`.
    pub(crate) fn ranked<'a, S: Space>(
        space: &S,
        candidates: impl Fn(usize) -> &'a [u32] + Sync,
        k: usize,
    ) -> Self {
        let mut lists = Self::new(space.len(), k);
        lists.rows_mut().enumerate().with_min_len(64).for_each_init(
            Default::default,
            |(scratch, ids, ranks), (i, row)| {
                let ids: &mut Vec<u32> = ids;
                ids.clear();
                let others = candidates(i).iter().copied();
                ids.extend(others.filter(|&j| j != Knn::MISSING && j as usize != i));
                space.ranks(i, ids, scratch, ranks);
                for (&j, &rank) in ids.iter().zip(&*ranks) {
                    insert(row, rank, j);
                }
            },
        );
        lists.refresh();
        lists
    }

    /// The graph, each point first in its own row.
    pub(crate) fn to_knn<S: Space>(&self, space: &S) -> Knn {
        let rows: Vec<(Vec<u32>, Vec<f32>)> = (0..self.len())
            .into_par_iter()
            .map(|i| {
                let own = (i as u32, 0.0);
                let found = self
                    .row(i)
                    .iter()
                    .filter(|e| !e.is_empty())
                    .map(|e| (e.id(), space.distance(e.rank)));
                std::iter::once(own).chain(found).unzip()
            })
            .collect();
        super::exact::assemble(&rows, self.k + 1)
    }
}

/// Puts a neighbour into its place unless it is there already or too far.
#[inline]
pub(crate) fn insert(row: &mut [Entry], rank: f32, id: u32) -> bool {
    let key = (rank, id);
    let Some(last) = row.last() else { return false };
    if key >= last.key() {
        return false;
    }
    let at = row.partition_point(|e| e.key() < key);
    if row[at].key() == key {
        return false;
    }
    row.copy_within(at..row.len() - 1, at + 1);
    row[at] = Entry {
        rank,
        tagged: id | FRESH,
    };
    true
}

/// The entry takes part in no further join as a fresh one.
pub(crate) fn settle(entry: &mut Entry) {
    entry.tagged &= !FRESH;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stays_sorted_and_free_of_doubles() {
        let mut row = [Entry::EMPTY; 3];
        assert!(insert(&mut row, 2.0, 7) && insert(&mut row, 1.0, 9) && insert(&mut row, 2.0, 3));
        assert!(!insert(&mut row, 2.0, 7) && !insert(&mut row, 2.0, 8));
        assert!(insert(&mut row, 2.0, 5));
        assert_eq!(row.map(Entry::key), [(1.0, 9), (2.0, 3), (2.0, 5)]);
        settle(&mut row[0]);
        assert!(!row[0].is_fresh() && row[1].is_fresh() && row[0].id() == 9);
    }
}

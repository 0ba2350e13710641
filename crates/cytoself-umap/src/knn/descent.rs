//! NN-descent: a neighbour of a neighbour is likely a neighbour.
//!
//! # References
//! Dong, Moses, Li 2011, doi:10.1145/1963405.1963487; trees first, as in pynndescent.
//!
//! Differs from pynndescent: proposals are applied in batches of fixed size by the owners of the lists, so that the
//! result does not depend on the number of threads.

use rayon::prelude::*;

use super::Knn;
use super::lists::{Entry, Lists, insert, settle};
use super::trees::leaves;
use crate::UmapError;
use crate::progress::Ticker;
use crate::rng::{Purpose, Stream, mix64};
use crate::source::Space;

/// Vertices between two applications of proposals, and vertices of one task.
const BATCH: usize = 1 << 14;
const TASK: usize = 256;
/// The search ends when fewer entries than this share change in a round.
const DELTA: f64 = 0.001;
/// Trees for the first lists.
const TREES: usize = 8;
/// Candidates of one kind that take part in a vertex's join.
const CANDIDATES: usize = 30;

/// The `k` nearest points of every point, the point itself first, from random trees.
pub(crate) fn from_trees<S: Space>(
    space: &S,
    k: usize,
    seed: u64,
    mut ticker: Ticker<'_>,
) -> Result<Knn, UmapError> {
    let mut lists = Lists::new(space.len(), k - 1);
    let stream = Stream::new(seed, Purpose::Trees);
    let leaf = (2 * k).max(30);
    for tree in 0..TREES {
        ticker.at(tree, 2 * TREES)?;
        let groups = leaves(space, leaf, stream.fork(tree as u64));
        for batch in groups.chunks(BATCH / 8) {
            let tasks: Vec<_> = batch
                .par_chunks(TASK / 8)
                .map(|groups| all_pairs(space, &lists, groups))
                .collect();
            lists.apply(&tasks);
        }
    }
    fill(space, &mut lists, stream.fork(u64::MAX));
    improve(space, &mut lists, seed, ticker.stage(500, 1000))?;
    Ok(lists.to_knn(space))
}

/// All pairs within groups.
fn all_pairs<S: Space>(space: &S, lists: &Lists, groups: &[Vec<u32>]) -> super::lists::Proposals {
    let mut proposals = lists.proposals();
    for group in groups {
        for (a, &i) in group.iter().enumerate() {
            for &j in &group[..a] {
                lists.propose(&mut proposals, i, j, space.rank(i as usize, j as usize));
            }
        }
    }
    proposals
}

/// Random neighbours where the trees found too few.
fn fill<S: Space>(space: &S, lists: &mut Lists, stream: Stream) {
    let n = lists.len();
    lists
        .rows_mut()
        .enumerate()
        .with_min_len(64)
        .for_each(|(i, row)| {
            let mut tries = 0;
            while row.last().is_some_and(|e| e.is_empty()) && tries < 8 * row.len() {
                let j = stream.below((i * 1024 + tries) as u64, n);
                if j != i {
                    insert(row, space.rank(i, j), j as u32);
                }
                tries += 1;
            }
        });
}

/// Joins until nearly nothing changes.
pub(crate) fn improve<S: Space>(
    space: &S,
    lists: &mut Lists,
    seed: u64,
    mut ticker: Ticker<'_>,
) -> Result<(), UmapError> {
    let n = lists.len();
    let rounds = (usize::BITS - n.leading_zeros()).max(5) as usize;
    let limit = (DELTA * (n * lists.k()) as f64) as usize;
    let stream = Stream::new(seed, Purpose::Descent);
    for round in 0..rounds {
        let joins = Joins::new(lists, stream.at(round as u64));
        let mut changes = 0;
        for (b, batch) in joins.fresh.chunks(BATCH).enumerate() {
            ticker.at(round * 100 + 100 * b * BATCH / n, rounds * 100)?;
            let tasks: Vec<_> = batch
                .par_chunks(TASK)
                .enumerate()
                .map(|(t, fresh)| {
                    let first = b * BATCH + t * TASK;
                    join(
                        space,
                        lists,
                        fresh,
                        &joins.settled[first..first + fresh.len()],
                    )
                })
                .collect();
            changes += lists.apply(&tasks);
        }
        if changes <= limit {
            break;
        }
    }
    Ok(())
}

/// Who meets whom in one round: per vertex its fresh and its settled neighbours in either direction.
struct Joins {
    fresh: Vec<Vec<u32>>,
    settled: Vec<Vec<u32>>,
}

impl Joins {
    /// Chooses the candidates by lot and settles the entries that were chosen.
    fn new(lists: &mut Lists, key: u64) -> Self {
        let reverse = Reverse::new(lists);
        let (fresh, settled) = lists
            .rows_mut()
            .enumerate()
            .with_min_len(64)
            .map(|(i, row)| {
                let both = |want: bool| {
                    let forward = row
                        .iter()
                        .filter(move |e| !e.is_empty() && e.is_fresh() == want)
                        .map(|e| e.id());
                    forward.chain(
                        reverse
                            .row(i)
                            .iter()
                            .filter(move |e| e.is_fresh() == want)
                            .map(|e| e.id()),
                    )
                };
                let chosen = (draw(both(true), i, key), draw(both(false), i, key));
                row.iter_mut()
                    .filter(|e| chosen.0.contains(&e.id()))
                    .for_each(settle);
                chosen
            })
            .unzip();
        Self { fresh, settled }
    }
}

/// At most [`CANDIDATES`] of the ids, by the lowest hash of the pair.
fn draw(ids: impl Iterator<Item = u32>, i: usize, key: u64) -> Vec<u32> {
    let lot = |j: u32| {
        let (low, high) = ((i as u64).min(u64::from(j)), (i as u64).max(u64::from(j)));
        mix64(key ^ (high << 32 | low))
    };
    let mut all: Vec<(u64, u32)> = ids.map(|j| (lot(j), j)).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(CANDIDATES);
    all.into_iter().map(|(_, j)| j).collect()
}

/// The lists turned round: who has a vertex as neighbour.
struct Reverse {
    offsets: Vec<usize>,
    entries: Vec<Entry>,
}

impl Reverse {
    fn new(lists: &Lists) -> Self {
        let n = lists.len();
        let mut offsets = vec![0_usize; n + 1];
        let filled = |i: usize| lists.row(i).iter().copied().filter(|e| !e.is_empty());
        for i in 0..n {
            filled(i).for_each(|e| offsets[e.id() as usize + 1] += 1);
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut entries = vec![Entry::reverse(0, false); offsets[n]];
        for i in 0..n {
            for e in filled(i) {
                let at = &mut next[e.id() as usize];
                entries[*at] = Entry::reverse(i as u32, e.is_fresh());
                *at += 1;
            }
        }
        Self { offsets, entries }
    }

    fn row(&self, i: usize) -> &[Entry] {
        &self.entries[self.offsets[i]..self.offsets[i + 1]]
    }
}

/// Fresh with fresh and fresh with settled, for some vertices.
fn join<S: Space>(
    space: &S,
    lists: &Lists,
    fresh: &[Vec<u32>],
    settled: &[Vec<u32>],
) -> super::lists::Proposals {
    let mut proposals = lists.proposals();
    for (fresh, settled) in fresh.iter().zip(settled) {
        for (a, &i) in fresh.iter().enumerate() {
            for &j in fresh[..a].iter().chain(settled).filter(|&&j| j != i) {
                lists.propose(&mut proposals, i, j, space.rank(i as usize, j as usize));
            }
        }
    }
    proposals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knn::{audit, self_knn};
    use crate::metric::Metric;
    use crate::silent;
    use crate::source::{DenseSpace, PointSource};
    use ndarray::Array2;

    #[test]
    fn recall_is_high_for_every_metric_and_bits_are_the_same_on_any_threads() {
        let s = Stream::new(2, Purpose::Noise);
        let x = Array2::from_shape_fn((3000, 8), |(i, j)| s.normal((i * 8 + j) as u64));
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        for metric in Metric::ALL {
            let space = DenseSpace::new(points, metric);
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| from_trees(&space, 11, 5, Ticker::new(&mut silent())).unwrap())
            };
            let found = run(1);
            assert_eq!(found, run(3));
            let truth = self_knn(&space, 11, Ticker::new(&mut silent())).unwrap();
            let recall = audit(&truth, &(0..3000).collect::<Vec<_>>(), &found);
            assert!(recall.value >= 0.98, "{metric}: {recall:?}");
        }
    }

    #[test]
    fn duplicates_do_not_overflow() {
        let x = Array2::from_shape_fn((400, 2), |(i, _)| (i % 3) as f32);
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        let space = DenseSpace::new(points, Metric::Euclidean);
        let knn = from_trees(&space, 10, 5, Ticker::new(&mut silent())).unwrap();
        assert!(knn.distances().iter().all(|d| *d == 0.0));
    }
}

//! NN-descent: a neighbour of a neighbour is likely a neighbour.
//!
//! # References
//! Dong, Moses, Li 2011, doi:10.1145/1963405.1963487; trees first, as in pynndescent.
//!
//! Differs from pynndescent: proposals are applied in batches of fixed size by the owners of the lists, so that the
//! result does not depend on the number of threads.

use rayon::prelude::*;

use super::Knn;
use super::exact::by_rank;
use super::lists::{Entry, Lists, Proposals, insert, settle};
use super::trees::leaves;
use crate::UmapError;
use crate::progress::Ticker;
use crate::rng::{Purpose, Stream, mix64};
use crate::source::{Scratch, Space};

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
) -> Result<Lists, UmapError> {
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
    Ok(lists)
}

/// All pairs within groups.
fn all_pairs<S: Space>(space: &S, lists: &Lists, groups: &[Vec<u32>]) -> Proposals {
    let mut proposals = lists.proposals();
    let mut scratch = Scratch::default();
    for group in groups {
        space.joins(group, group.len(), &mut scratch, |i, j, rank| {
            lists.propose(&mut proposals, i, j, rank);
        });
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
    lists.refresh();
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
fn join<S: Space>(space: &S, lists: &Lists, fresh: &[Vec<u32>], settled: &[Vec<u32>]) -> Proposals {
    let mut proposals = lists.proposals();
    let (mut points, mut scratch) = (Vec::new(), Scratch::default());
    for (fresh, settled) in fresh.iter().zip(settled) {
        points.clear();
        points.extend_from_slice(fresh);
        points.extend_from_slice(settled);
        space.joins(&points, fresh.len(), &mut scratch, |i, j, rank| {
            if i != j {
                lists.propose(&mut proposals, i, j, rank);
            }
        });
    }
    proposals
}

/// The `width` nearest among the neighbours of every point and their neighbours, `[n * width]`, in no order.
///
/// Joins cost the square of the length of the lists; a few more neighbours are had for less in this way.
pub(crate) fn widened<S: Space>(space: &S, lists: &Lists, width: usize) -> Vec<u32> {
    let mut out = vec![Knn::MISSING; lists.len() * width];
    let rows = out.par_chunks_mut(width).enumerate();
    // One buffer of marks per task.
    let rows = rows.with_min_len((lists.len() / 64).max(1024));
    let buffers = || (vec![u32::MAX; lists.len()], Vec::new());
    rows.for_each_init(buffers, |(seen, found), (i, out)| {
        found.clear();
        seen[i] = i as u32;
        let own = lists.row(i).iter().filter(|e| !e.is_empty());
        for near in own.clone() {
            seen[near.id() as usize] = i as u32;
            found.push((near.rank, near.id()));
        }
        for far in own.flat_map(|e| lists.row(e.id() as usize)) {
            if !far.is_empty() && seen[far.id() as usize] != i as u32 {
                seen[far.id() as usize] = i as u32;
                found.push((space.rank(i, far.id() as usize), far.id()));
            }
        }
        if found.len() > width {
            found.select_nth_unstable_by(width, by_rank);
        }
        out.iter_mut().zip(&*found).for_each(|(o, f)| *o = f.1);
    });
    out
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
                let lists = pool.install(|| from_trees(&space, 11, 5, Ticker::new(&mut silent())));
                lists.unwrap().to_knn(&space)
            };
            let found = run(1);
            assert_eq!(found, run(3));
            let truth = self_knn(&space, 11, Ticker::new(&mut silent())).unwrap();
            let recall = audit(&truth, &(0..3000).collect::<Vec<_>>(), &found);
            assert!(recall.value >= 0.98, "{metric}: {recall:?}");
        }
    }

    #[test]
    fn widened_lists_hold_the_neighbours_of_longer_ones() {
        let s = Stream::new(9, Purpose::Noise);
        let x = Array2::from_shape_fn((2000, 5), |(i, j)| s.normal((i * 5 + j) as u64));
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        let space = DenseSpace::new(points, Metric::Euclidean);
        let lists = from_trees(&space, 16, 5, Ticker::new(&mut silent())).unwrap();
        let wide = widened(&space, &lists, 30);
        let truth = self_knn(&space, 31, Ticker::new(&mut silent())).unwrap();
        let held = |i: usize| {
            let row = &wide[i * 30..(i + 1) * 30];
            truth
                .indices()
                .row(i)
                .iter()
                .skip(1)
                .filter(|j| row.contains(j))
                .count()
        };
        let share = (0..2000).map(held).sum::<usize>() as f64 / 60_000.0;
        // Five dimensions of noise are hard: 0.970 was found.
        assert!(share > 0.96, "{share}");
    }

    #[test]
    fn duplicates_do_not_overflow() {
        let x = Array2::from_shape_fn((400, 2), |(i, _)| (i % 3) as f32);
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        let space = DenseSpace::new(points, Metric::Euclidean);
        let lists = from_trees(&space, 10, 5, Ticker::new(&mut silent())).unwrap();
        let knn = lists.to_knn(&space);
        assert!(knn.distances().iter().all(|d| *d == 0.0));
    }
}

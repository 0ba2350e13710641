//! All pairs in blocks, with an exact second ranking of the candidates.
//!
//! A block of ranks comes from one matrix product and may be off by the rounding of the product. Each row keeps twice as
//! many candidates as it needs, ranks these by direct differences, and is accepted only if no point outside the
//! candidates can be nearer; otherwise the row is ranked directly against all points.

use ndarray::Array2;
use rayon::prelude::*;

use super::Knn;
use super::heap::{HeapMut, Heaps};
use crate::UmapError;
use crate::layout::tournament;
use crate::progress::Ticker;
use crate::source::{Scratch, Space};

/// Rows of a block.
const BLOCK: usize = 512;

/// Candidates kept per row.
fn candidates(k: usize) -> usize {
    2 * k + 8
}

/// The `k` nearest points of every point within one set, the point itself first.
pub(crate) fn self_knn<S: Space>(
    space: &S,
    k: usize,
    ticker: Ticker<'_>,
) -> Result<Knn, UmapError> {
    let heaps = nearest(space, candidates(k), ticker)?;
    Ok(assemble(&finish(space, &heaps, k, true), k))
}

/// About the `width` nearest other points of every point: block ranks decide, rounding included.
pub(crate) fn nearest<S: Space>(
    space: &S,
    width: usize,
    mut ticker: Ticker<'_>,
) -> Result<Heaps, UmapError> {
    let n = space.len();
    let mut heaps = Heaps::new(n, width.min(n));
    let rounds = tournament(n.div_ceil(BLOCK));
    for (done, round) in rounds.iter().enumerate() {
        ticker.at(done, rounds.len())?;
        let width = heaps.k;
        let mut groups: Vec<Option<HeapMut<'_>>> =
            heaps.groups(BLOCK).into_iter().map(Some).collect();
        let tasks: Vec<_> = round
            .iter()
            .filter_map(|&(a, b)| {
                Some((
                    a,
                    b,
                    groups[a].take()?,
                    if a == b { None } else { groups[b].take() },
                ))
            })
            .collect();
        tasks
            .into_par_iter()
            .for_each_init(Workspace::default, |work, (a, b, rows, columns)| {
                work.pair(space, [a, b], width, rows, columns);
            });
    }
    Ok(heaps)
}

/// The `k` nearest reference points of every query, nearest first; with `skip_self`, query i is reference point i and
/// stands first in its own row.
pub(crate) fn cross_knn<S: Space>(
    space: &S,
    k: usize,
    skip_self: bool,
    mut ticker: Ticker<'_>,
) -> Result<Knn, UmapError> {
    let (queries, n) = (space.queries(), space.len());
    let mut heaps = Heaps::new(queries, candidates(k).min(n));
    let width = heaps.k;
    // Batches of rows, so that the callback is asked now and then.
    let batch = 64;
    // Each group passes over all points: few groups, and yet some work for every thread.
    let mut groups = heaps.groups(queries.div_ceil(4).clamp(32, BLOCK));
    let rows = groups.first().map_or(1, |g| g.ids.len() / width);
    let total = groups.len();
    for (b, chunk) in groups.chunks_mut(batch).enumerate() {
        ticker.at(b * batch, total)?;
        chunk
            .par_iter_mut()
            .enumerate()
            .for_each_init(Workspace::default, |work, (g, heap)| {
                let start = (b * batch + g) * rows;
                let end = start + heap.ids.len() / width;
                for first in (0..n).step_by(BLOCK) {
                    work.fill(space, start..end, first..(first + BLOCK).min(n));
                    work.offer_rows(heap, width, start, first, skip_self);
                }
            });
    }
    Ok(assemble(&finish(space, &heaps, k, skip_self), k))
}

/// Buffers of one worker.
#[derive(Default)]
struct Workspace {
    scratch: Scratch,
    values: Vec<f32>,
    columns: usize,
    worst: Vec<f32>,
}

impl Workspace {
    fn fill<S: Space>(
        &mut self,
        space: &S,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
    ) {
        self.columns = columns.len();
        self.values.resize(rows.len() * columns.len(), 0.0);
        space.block(rows, columns, &mut self.scratch, &mut self.values);
    }

    /// One pair of blocks of one set; `columns` is `None` on the diagonal.
    fn pair<S: Space>(
        &mut self,
        space: &S,
        blocks: [usize; 2],
        k: usize,
        mut rows: HeapMut<'_>,
        columns: Option<HeapMut<'_>>,
    ) {
        let [a, b] = blocks.map(|b| b * BLOCK);
        let height = rows.ids.len() / k;
        let width = columns.as_ref().map_or(height, |c| c.ids.len() / k);
        self.fill(space, a..a + height, b..b + width);
        self.offer_rows(&mut rows, k, a, b, true);
        if let Some(columns) = columns {
            self.offer_columns(columns, k, a);
        }
    }

    fn offer_rows(
        &self,
        heap: &mut HeapMut<'_>,
        k: usize,
        first_row: usize,
        first_column: usize,
        skip_self: bool,
    ) {
        for (r, values) in self.values.chunks_exact(self.columns).enumerate() {
            let own = if skip_self { first_row + r } else { usize::MAX };
            let mut list = heap.row(r, k);
            for (c, &value) in values.iter().enumerate() {
                // One comparison decides nearly always; the id is looked at on ties only.
                if value <= list.ranks[0] && first_column + c != own {
                    list.push(value, (first_column + c) as u32);
                }
            }
        }
    }

    fn offer_columns(&mut self, mut heap: HeapMut<'_>, k: usize, first_row: usize) {
        self.worst.clear();
        self.worst.extend(heap.ranks.iter().step_by(k));
        for (r, values) in self.values.chunks_exact(self.columns).enumerate() {
            let id = (first_row + r) as u32;
            for (c, &value) in values.iter().enumerate() {
                if value <= self.worst[c] {
                    let mut list = heap.row(c, k);
                    list.push(value, id);
                    self.worst[c] = list.ranks[0];
                }
            }
        }
    }
}

/// Ranks the candidates of every row exactly and keeps the nearest.
fn finish<S: Space>(
    space: &S,
    heaps: &Heaps,
    k: usize,
    with_self: bool,
) -> Vec<(Vec<u32>, Vec<f32>)> {
    let others = if with_self { k - 1 } else { k };
    (0..space.queries())
        .into_par_iter()
        .with_min_len(16)
        .map(|i| {
            let ids = heaps.ids(i).iter().copied().filter(|&j| j != u32::MAX);
            let mut best: Vec<(f32, u32)> = ids.map(|j| (space.rank(i, j as usize), j)).collect();
            best.sort_unstable_by(by_rank);
            if !certain(space, heaps, i, &best, others) {
                let own = if with_self { i } else { usize::MAX };
                best = (0..space.len())
                    .filter(|&j| j != own)
                    .map(|j| (space.rank(i, j), j as u32))
                    .collect();
                best.sort_unstable_by(by_rank);
            }
            best.truncate(others);
            let own = with_self.then_some((0.0, i as u32));
            let row = own.into_iter().chain(best);
            row.map(|(rank, j)| (j, space.distance(rank))).unzip()
        })
        .collect()
}

pub(crate) fn by_rank(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// Whether no point outside the candidates can be among the `others` nearest.
fn certain<S: Space>(
    space: &S,
    heaps: &Heaps,
    i: usize,
    best: &[(f32, u32)],
    others: usize,
) -> bool {
    let limit = heaps.worst(i);
    if best.len() < heaps.k || limit == f32::INFINITY || others == 0 {
        // The list is not full: every point is a candidate.
        return true;
    }
    best.get(others - 1)
        .is_none_or(|kth| kth.0 < limit - space.slack(i, limit))
}

/// Rows of (index, distance) as a graph; short rows are filled with missing neighbours.
pub(crate) fn assemble(rows: &[(Vec<u32>, Vec<f32>)], k: usize) -> Knn {
    let mut indices = Array2::from_elem((rows.len(), k), Knn::MISSING);
    let mut distances = Array2::from_elem((rows.len(), k), f32::INFINITY);
    for (r, (ids, values)) in rows.iter().enumerate() {
        for (c, (&j, &d)) in ids.iter().zip(values).take(k).enumerate() {
            indices[[r, c]] = j;
            distances[[r, c]] = d;
        }
    }
    Knn { indices, distances }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::rng::{Purpose, Stream};
    use crate::silent;
    use crate::source::{CodeSpace, DenseSpace, PointSource};

    fn plain<S: Space>(space: &S, k: usize) -> Vec<Vec<(f32, u32)>> {
        (0..space.queries())
            .map(|i| {
                let mut all: Vec<(f32, u32)> = (0..space.len())
                    .filter(|&j| j != i)
                    .map(|j| (space.rank(i, j), j as u32))
                    .collect();
                all.sort_by(by_rank);
                all.truncate(k - 1);
                all
            })
            .collect()
    }

    fn same<S: Space>(space: &S, k: usize) {
        let knn = self_knn(space, k, Ticker::new(&mut silent())).unwrap();
        let crossed = cross_knn(space, k, true, Ticker::new(&mut silent())).unwrap();
        assert_eq!(knn, crossed);
        for (i, row) in plain(space, k).iter().enumerate() {
            assert_eq!(
                (knn.indices[[i, 0]], knn.distances[[i, 0]]),
                (i as u32, 0.0)
            );
            for (c, &(rank, j)) in row.iter().enumerate() {
                assert_eq!(
                    (knn.indices[[i, c + 1]], knn.distances[[i, c + 1]]),
                    (j, space.distance(rank))
                );
            }
        }
    }

    #[test]
    fn dense_blocks_equal_the_direct_search_for_every_metric() {
        let s = Stream::new(3, Purpose::Noise);
        // Far from the origin, with duplicates and exact ties: the hard case for matrix products.
        let x = Array2::from_shape_fn((700, 19), |(i, j)| {
            1000.0 + (s.normal(((i / 3) * 19 + j) as u64) * 4.0).round()
        });
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        for metric in Metric::ALL {
            same(&DenseSpace::new(points, metric), 7);
        }
    }

    #[test]
    fn codes_equal_their_expansion() {
        let s = Stream::new(4, Purpose::Noise);
        let codes =
            Array2::from_shape_fn((600, 21), |(i, j)| s.below((i * 21 + j) as u64, 40) as u16);
        let book = Array2::from_shape_fn((40, 6), |(i, j)| s.fork(1).normal((i * 6 + j) as u64));
        let source = PointSource::codes(codes.view(), book.view()).unwrap();
        let PointSource::Codes(points) = &source else {
            unreachable!()
        };
        let expanded = Array2::from_shape_fn((600, 126), |(i, j)| {
            book[[codes[[i, j / 6]] as usize, j % 6]]
        });
        let dense = PointSource::dense(expanded.view()).unwrap();
        let PointSource::Dense(dense) = &dense else {
            unreachable!()
        };
        for metric in Metric::ALL {
            let space = CodeSpace::new(points, metric);
            same(&space, 6);
            let reference = DenseSpace::new(dense, metric);
            for (i, j) in [(0, 1), (5, 500), (77, 78)] {
                let (a, b) = (
                    space.distance(space.rank(i, j)),
                    reference.distance(reference.rank(i, j)),
                );
                assert!((a - b).abs() < 2e-5 * b.max(1.0), "{metric}: {a} {b}");
                assert_eq!(space.rank(i, j), space.rank(j, i));
            }
        }
    }

    #[test]
    fn fewer_points_than_neighbours() {
        let x = ndarray::array![[0.0_f32], [1.0], [3.0]];
        let source = PointSource::dense(x.view()).unwrap();
        let PointSource::Dense(points) = &source else {
            unreachable!()
        };
        let knn = self_knn(
            &DenseSpace::new(points, Metric::Euclidean),
            3,
            Ticker::new(&mut silent()),
        )
        .unwrap();
        assert_eq!(
            knn.indices,
            ndarray::array![[0, 1, 2], [1, 0, 2], [2, 1, 0]]
        );
    }
}

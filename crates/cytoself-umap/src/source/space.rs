//! What the searches need to know of a set of points.

use std::ops::Range;

use ndarray::Array2;

use crate::knn::project_by_rows;

/// Buffers of one worker, reused from block to block.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) left: Vec<f32>,
    pub(crate) right: Vec<f32>,
    pub(crate) sums: Vec<f32>,
    pub(crate) codes: Vec<u16>,
}

/// Queries against reference points; a search within one set has the same set on both sides.
///
/// *Rank* stands for the distance where only the order matters (the square, for the Euclidean one).
pub(crate) trait Space: Sync {
    /// Number of queries.
    fn queries(&self) -> usize;

    /// Number of reference points.
    fn len(&self) -> usize;

    /// Work of one `rank`, in multiply-adds of a dense row.
    fn cost(&self) -> usize;

    /// Rank of reference point `j` seen from query `i`; symmetric to the bit when both sides are one set.
    fn rank(&self, i: usize, j: usize) -> f32;

    /// [`Space::rank`] from query `i` to each of some reference points.
    fn ranks(&self, i: usize, points: &[u32], _scratch: &mut Scratch, out: &mut Vec<f32>) {
        out.clear();
        out.extend(points.iter().map(|&j| self.rank(i, j as usize)));
    }

    /// Calls `each` with every pair (a, b) and its rank, a among the first `heads` of the reference points, b after a.
    fn joins(
        &self,
        points: &[u32],
        heads: usize,
        _scratch: &mut Scratch,
        mut each: impl FnMut(u32, u32, f32),
    ) {
        for (a, &i) in points[..heads].iter().enumerate() {
            for &j in &points[a + 1..] {
                each(i, j, self.rank(i as usize, j as usize));
            }
        }
    }

    /// The distance that a rank stands for.
    fn distance(&self, rank: f32) -> f32;

    /// Ranks of a block, row-major, each within [`Space::slack`] of [`Space::rank`].
    fn block(
        &self,
        queries: Range<usize>,
        points: Range<usize>,
        scratch: &mut Scratch,
        out: &mut [f32],
    );

    /// How far an entry of a block in query row `i` may be from the rank when its value is about `rank`.
    fn slack(&self, i: usize, rank: f32) -> f32;

    /// Reference points as rows of numbers, where that is possible: `points.len()` rows.
    fn expand(&self, points: &[usize]) -> Option<Array2<f32>>;

    /// Columns of [`Space::expand`]; 0 where that is not possible or its Euclidean distances mean nothing.
    fn features(&self) -> usize;

    /// Products of every reference point's expansion with the rows of `basis`, up to one constant per row of `basis`.
    fn project(&self, basis: &Array2<f32>) -> Array2<f32>
    where
        Self: Sized,
    {
        project_by_rows(self, basis)
    }
}

/// A block computed pair by pair.
pub(crate) fn block_by_pairs<S: Space>(
    space: &S,
    queries: Range<usize>,
    points: Range<usize>,
    out: &mut [f32],
) {
    for (row, i) in out.chunks_exact_mut(points.len()).zip(queries) {
        for (value, j) in row.iter_mut().zip(points.clone()) {
            *value = space.rank(i, j);
        }
    }
}

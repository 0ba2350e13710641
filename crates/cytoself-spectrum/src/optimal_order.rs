use rayon::prelude::*;

use crate::wide::wide;
use crate::{CondensedDistances, Linkage, SpectrumError};

/// Rows per task of the min-plus products.
const ROWS: usize = 16;

/// Orders the leaves of a tree so that the path through neighbours is as short as any order of that tree allows.
///
/// Each of the `n - 1` inner nodes may swap its two sides; of the `2^(n-1)` orders the one with the smallest sum of
/// distances between neighbours is found by dynamic programming: the best path within a node from leaf `u` to leaf
/// `w` is the best over the inner ends `m`, `k` of `best(u..m) + d(m, k) + best(k..w)`, two min-plus products per
/// node. O(n^3) time in the worst case, two `n x n` tables of memory.
///
/// Differs from SciPy's `optimal_leaf_ordering`, whose pruning misses the optimum for about half of small trees; the
/// length here is never above SciPy's.
///
/// # Errors
/// - the tree and the distances have different numbers of points.
///
/// # References
/// Bar-Joseph, Gifford & Jaakkola, "Fast optimal leaf ordering for hierarchical clustering", Bioinformatics 17
/// (2001), doi:10.1093/bioinformatics/17.suppl_1.S22.
///
/// # Example
/// ```
/// use cytoself_spectrum::{CondensedDistances, Method, linkage, optimal_leaf_order};
/// // Points on a line at 0, 10, 1, 9.
/// let distances = CondensedDistances::new(4, vec![10.0, 1.0, 9.0, 9.0, 1.0, 8.0])?;
/// let tree = linkage(&distances, Method::Average)?;
/// let order = optimal_leaf_order(&tree, &distances)?;
/// assert_eq!(order, [0, 2, 3, 1]);
/// assert_eq!(distances.path_length(&order), 10.0);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn optimal_leaf_order(
    tree: &Linkage,
    distances: &CondensedDistances,
) -> Result<Vec<usize>, SpectrumError> {
    if tree.points() != distances.points() {
        let what = "points of the distances for this tree";
        return Err(SpectrumError::Shape {
            what,
            expected: tree.points(),
            found: distances.points(),
        });
    }
    let mut paths = Paths::new(tree, distances);
    for merge in 0..tree.merges().len() {
        paths.join(tree.points() + merge);
    }
    Ok(paths.trace())
}

/// The tables of the dynamic programme, over positions in the plain leaf order: there every node is a range.
struct Paths<'a> {
    tree: &'a Linkage,
    leaves: Vec<usize>,
    /// Range of positions of each node.
    spans: Vec<(usize, usize)>,
    /// Distances between positions, `[n, n]`.
    gaps: Vec<f64>,
    /// Best path between two positions that are on different sides of their lowest common node, `[n, n]`.
    best: Vec<f64>,
}

impl<'a> Paths<'a> {
    fn new(tree: &'a Linkage, distances: &CondensedDistances) -> Self {
        let leaves = tree.leaves();
        let n = leaves.len();
        let mut gaps = vec![0.0; n * n];
        gaps.par_chunks_mut(n.max(1))
            .zip(&leaves)
            .for_each(|(row, &i)| {
                row.iter_mut()
                    .zip(&leaves)
                    .for_each(|(gap, &j)| *gap = distances.get(i, j));
            });
        let mut best = vec![f64::INFINITY; n * n];
        (0..n).for_each(|i| best[i * n + i] = 0.0);
        Self {
            tree,
            spans: spans(tree, &leaves),
            leaves,
            gaps,
            best,
        }
    }

    fn n(&self) -> usize {
        self.leaves.len()
    }

    /// Where the other end of a path within `node` may lie when one end is at `position`.
    fn opposite(&self, node: usize, position: usize) -> (usize, usize) {
        match self.tree.children(node) {
            None => self.spans[node],
            Some([left, right]) => {
                let span = self.spans[left];
                if (span.0..span.1).contains(&position) {
                    self.spans[right]
                } else {
                    span
                }
            }
        }
    }

    /// Fills the table for the pairs that meet in `node`.
    fn join(&mut self, node: usize) {
        let Some([left, right]) = self.tree.children(node) else {
            return;
        };
        let (rows, columns) = (self.spans[left], self.spans[right]);
        let width = columns.1 - columns.0;
        let n = self.n();
        let mut block = vec![0.0; (rows.1 - rows.0) * width];
        let fill = |(at, out): (usize, &mut [f64])| {
            wide(
                #[inline(always)]
                || self.join_rows([left, right], rows.0 + at * ROWS, out),
            );
        };
        block
            .par_chunks_mut(ROWS * width)
            .enumerate()
            .for_each(fill);
        for (row, values) in (rows.0..rows.1).zip(block.chunks_exact(width)) {
            self.best[row * n + columns.0..row * n + columns.1].copy_from_slice(values);
            (columns.0..columns.1)
                .zip(values)
                .for_each(|(column, &value)| self.best[column * n + row] = value);
        }
    }

    /// Best paths from the positions `first..` on the left to every position on the right.
    #[inline(always)]
    fn join_rows(&self, [left, right]: [usize; 2], first: usize, out: &mut [f64]) {
        let (n, columns) = (self.n(), self.spans[right]);
        let width = columns.1 - columns.0;
        let mut reach = vec![0.0; width];
        for (from, out) in (first..).zip(out.chunks_exact_mut(width)) {
            reach.fill(f64::INFINITY);
            let inner = self.opposite(left, from);
            for end in inner.0..inner.1 {
                add_row(
                    &mut reach,
                    self.best[from * n + end],
                    &self.gaps[end * n + columns.0..end * n + columns.1],
                );
            }
            out.fill(f64::INFINITY);
            let Some([a, b]) = self.tree.children(right) else {
                out.copy_from_slice(&reach);
                continue;
            };
            for (near, far) in [
                (self.spans[a], self.spans[b]),
                (self.spans[b], self.spans[a]),
            ] {
                let out = &mut out[far.0 - columns.0..far.1 - columns.0];
                for start in near.0..near.1 {
                    add_row(
                        out,
                        reach[start - columns.0],
                        &self.best[start * n + far.0..start * n + far.1],
                    );
                }
            }
        }
    }

    /// The order of the best path, by following the minima back from the root.
    fn trace(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.n());
        let root = self.tree.root();
        let Some([left, right]) = self.tree.children(root) else {
            return self.leaves.clone();
        };
        let (from, to) = self.shortest(self.spans[left], self.spans[right], |u, w| {
            self.best[u * self.n() + w]
        });
        let mut stack = vec![(root, from, to)];
        while let Some((node, from, to)) = stack.pop() {
            let Some([left, right]) = self.tree.children(node) else {
                order.push(self.leaves[from]);
                continue;
            };
            let span = self.spans[left];
            let (first, second) = if (span.0..span.1).contains(&from) {
                (left, right)
            } else {
                (right, left)
            };
            let n = self.n();
            let (end, start) = self.shortest(
                self.opposite(first, from),
                self.opposite(second, to),
                |m, k| self.best[from * n + m] + self.gaps[m * n + k] + self.best[k * n + to],
            );
            stack.push((second, start, to));
            stack.push((first, from, end));
        }
        order
    }

    /// First pair of the smallest length.
    fn shortest(
        &self,
        us: (usize, usize),
        ws: (usize, usize),
        length: impl Fn(usize, usize) -> f64,
    ) -> (usize, usize) {
        let mut found = (us.0, ws.0);
        let mut smallest = f64::INFINITY;
        for u in us.0..us.1 {
            for w in ws.0..ws.1 {
                let length = length(u, w);
                if length < smallest {
                    (smallest, found) = (length, (u, w));
                }
            }
        }
        found
    }
}

/// `out = min(out, offset + row)`, element by element.
#[inline(always)]
fn add_row(out: &mut [f64], offset: f64, row: &[f64]) {
    for (out, value) in out.iter_mut().zip(row) {
        let length = offset + value;
        *out = if length < *out { length } else { *out };
    }
}

/// Range of positions in `leaves` under each node.
fn spans(tree: &Linkage, leaves: &[usize]) -> Vec<(usize, usize)> {
    let mut spans = vec![(0, 0); tree.points()];
    leaves
        .iter()
        .enumerate()
        .for_each(|(position, &leaf)| spans[leaf] = (position, position + 1));
    for merge in tree.merges() {
        let [a, b] = merge.children.map(|child| spans[child]);
        spans.push((a.0.min(b.0), a.1.max(b.1)));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, linkage};
    use proptest::prelude::*;

    /// All orders of a tree, by swapping the sides of every node.
    fn all_orders(tree: &Linkage) -> Vec<Vec<usize>> {
        let mut orders: Vec<Vec<Vec<usize>>> = (0..tree.points()).map(|p| vec![vec![p]]).collect();
        for merge in tree.merges() {
            let [left, right] = merge.children;
            let mut joined = Vec::new();
            for l in &orders[left] {
                for r in &orders[right] {
                    joined.push([l.as_slice(), r].concat());
                    joined.push([r.as_slice(), l].concat());
                }
            }
            orders.push(joined);
        }
        orders.pop().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn no_order_of_the_tree_is_shorter(n in 2usize..9, seed in prop::collection::vec(0.0f64..1.0, 36), method in 0usize..4) {
            let method = [Method::Average, Method::Single, Method::Complete, Method::Ward][method];
            let distances = CondensedDistances::new(n, seed[..n * (n - 1) / 2].to_vec()).unwrap();
            let tree = linkage(&distances, method).unwrap();
            let order = optimal_leaf_order(&tree, &distances).unwrap();
            let shortest = all_orders(&tree).iter().map(|o| distances.path_length(o)).fold(f64::INFINITY, f64::min);
            prop_assert!(distances.path_length(&order) <= shortest + 1e-12);
            prop_assert!(all_orders(&tree).contains(&order));
        }
    }

    #[test]
    fn small_trees() {
        for n in [1, 2] {
            let distances = CondensedDistances::new(n, vec![1.0; n * (n - 1) / 2]).unwrap();
            let tree = linkage(&distances, Method::Average).unwrap();
            assert_eq!(optimal_leaf_order(&tree, &distances).unwrap().len(), n);
        }
    }
}

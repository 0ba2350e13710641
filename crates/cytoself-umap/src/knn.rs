//! Nearest neighbours: the graph, its searches and their audit.

mod audit;
mod descent;
mod exact;
mod heap;
mod lists;
mod sketch;
mod trees;

use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2};

use crate::UmapError;
use crate::hash::content_hash;

pub use audit::Recall;

pub(crate) use audit::audit;
pub(crate) use descent::{from_trees, improve, widened};
pub(crate) use exact::{cross_knn, nearest, self_knn};
pub(crate) use lists::Lists;
pub(crate) use sketch::{project_by_rows, sketch};

/// How to look for nearest neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KnnMethod {
    /// Exact where that takes seconds, else NN-descent.
    #[default]
    Auto,
    /// All pairs, in blocks.
    Exact,
    /// Neighbours of neighbours until nothing improves.
    Descent,
}

impl KnnMethod {
    /// The name on the command line and in a model file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Exact => "exact",
            Self::Descent => "descent",
        }
    }
}

impl fmt::Display for KnnMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KnnMethod {
    type Err = UmapError;

    fn from_str(name: &str) -> Result<Self, UmapError> {
        [Self::Auto, Self::Exact, Self::Descent]
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| UmapError::parameter("knn", name, "auto, exact or descent"))
    }
}

/// The nearest neighbours of every point.
///
/// **Shapes** indices `[n, k] u32`, distances `[n, k] f32`; a row is sorted by (distance, index). In a search within one
/// set the point itself stands first, as in umap-learn, so `k` counts it. A missing neighbour is [`Knn::MISSING`] at an
/// infinite distance, at the end of its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Knn {
    indices: Array2<u32>,
    distances: Array2<f32>,
}

impl Knn {
    /// The index that stands for "no neighbour".
    pub const MISSING: u32 = u32::MAX;

    /// Neighbour lists made elsewhere; [`crate::PointSource::neighbours`] checks them.
    ///
    /// # Errors
    /// - [`UmapError::Shape`]: the two arrays differ in shape.
    pub fn new(indices: Array2<u32>, distances: Array2<f32>) -> Result<Self, UmapError> {
        if indices.dim() != distances.dim() {
            let text = |d: (usize, usize)| format!("[{}, {}]", d.0, d.1);
            return Err(UmapError::shape(
                "the neighbour distances",
                text(indices.dim()),
                text(distances.dim()),
            ));
        }
        Ok(Self { indices, distances })
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.nrows()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Neighbours per point, the point itself included.
    #[must_use]
    pub fn k(&self) -> usize {
        self.indices.ncols()
    }

    /// Indices, `[n, k]`.
    #[must_use]
    pub fn indices(&self) -> ArrayView2<'_, u32> {
        self.indices.view()
    }

    /// Distances, `[n, k]`.
    #[must_use]
    pub fn distances(&self) -> ArrayView2<'_, f32> {
        self.distances.view()
    }

    /// The first `k` columns.
    pub(crate) fn truncated(&self, k: usize) -> Self {
        let columns = ndarray::s![.., ..k.min(self.k())];
        Self {
            indices: self.indices.slice(columns).to_owned(),
            distances: self.distances.slice(columns).to_owned(),
        }
    }

    /// Neighbours farther than `limit` become missing.
    pub(crate) fn cut(&mut self, limit: f32) {
        for (d, i) in self.distances.iter_mut().zip(&mut self.indices) {
            if *d >= limit {
                (*d, *i) = (f32::INFINITY, Self::MISSING);
            }
        }
    }

    pub(crate) fn content_hash(&self) -> u64 {
        let indices: Vec<u32> = self.indices.iter().copied().collect();
        let distances: Vec<f32> = self.distances.iter().copied().collect();
        content_hash("neighbours", self.indices.dim(), &indices, |v| *v)
            ^ content_hash("distances", self.distances.dim(), &distances, |v| {
                v.to_bits()
            })
            .rotate_left(1)
    }

    pub(crate) fn check(&self) -> Result<(), UmapError> {
        let (n, k) = self.indices.dim();
        if n == 0 || k == 0 {
            return Err(UmapError::Empty {
                what: "the neighbour lists",
                rows: n,
                columns: k,
            });
        }
        for row in 0..n {
            if let Some(reason) = self.fault(row) {
                return Err(UmapError::Precomputed { row, reason });
            }
        }
        Ok(())
    }

    fn fault(&self, row: usize) -> Option<String> {
        let mut last = 0.0;
        for (column, (&i, &d)) in self
            .indices
            .row(row)
            .iter()
            .zip(self.distances.row(row))
            .enumerate()
        {
            if d.is_nan() || d < last {
                return Some(format!(
                    "distance {d} in column {column}: expected distances in increasing order"
                ));
            }
            if i == Self::MISSING && d != f32::INFINITY {
                return Some(format!(
                    "column {column} is missing at distance {d}; expected an infinite distance"
                ));
            }
            if i != Self::MISSING && i as usize >= self.len() {
                return Some(format!(
                    "neighbour {i} in column {column}, and there are {} points",
                    self.len()
                ));
            }
            last = d;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn unsorted_and_dangling_lists_are_named() {
        let knn = |i, d| Knn::new(i, d).unwrap().check();
        assert!(knn(array![[0, 1], [1, 0]], array![[0.0, 1.0], [0.0, 1.0]]).is_ok());
        assert!(
            knn(array![[0, 1], [1, 2]], array![[0.0, 1.0], [0.0, 1.0]])
                .unwrap_err()
                .to_string()
                .starts_with("row 1")
        );
        assert!(knn(array![[0, 1], [1, 0]], array![[0.0, 1.0], [2.0, 1.0]]).is_err());
        assert!(
            knn(
                array![[0, 1], [1, u32::MAX]],
                array![[0.0, 1.0], [0.0, f32::INFINITY]]
            )
            .is_ok()
        );
    }
}

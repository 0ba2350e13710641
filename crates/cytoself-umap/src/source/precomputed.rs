//! Distances and neighbour lists computed elsewhere.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, CowArray, Ix2};

use super::space::{Scratch, Space, block_by_pairs};
use super::{not_empty, row_major};
use crate::hash::content_hash;
use crate::{Knn, UmapError};

/// What is known instead of points.
#[derive(Debug, Clone)]
pub enum Precomputed<'a> {
    /// All distances, `[n, n]`.
    Distances(CowArray<'a, f32, Ix2>),
    /// The nearest neighbours of every point.
    Neighbours(Knn),
}

impl<'a> Precomputed<'a> {
    pub(crate) fn distances(distances: CowArray<'a, f32, Ix2>) -> Result<Self, UmapError> {
        not_empty("the distances", &distances)?;
        let (rows, columns) = distances.dim();
        if rows != columns {
            return Err(UmapError::shape(
                "the distances",
                format!("[{rows}, {rows}]"),
                format!("[{rows}, {columns}]"),
            ));
        }
        let distances = row_major(distances);
        for (row, values) in distances.rows().into_iter().enumerate() {
            let reason = if values[row] != 0.0 {
                format!(
                    "the distance of the point to itself is {}, expected 0",
                    values[row]
                )
            } else if let Some(j) = values.iter().position(|v| v.is_nan() || *v < 0.0) {
                format!("column {j} is {}, expected a distance", values[j])
            } else {
                continue;
            };
            return Err(UmapError::Precomputed { row, reason });
        }
        Ok(Self::Distances(distances))
    }

    pub(crate) fn neighbours(knn: Knn) -> Result<Self, UmapError> {
        knn.check()?;
        Ok(Self::Neighbours(knn))
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Distances(d) => d.nrows(),
            Self::Neighbours(k) => k.len(),
        }
    }

    /// Never true: there is at least one point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn content_hash(&self) -> u64 {
        match self {
            Self::Distances(d) => {
                content_hash("distances", d.dim(), d.as_slice().unwrap_or(&[]), |v| {
                    v.to_bits()
                })
            }
            Self::Neighbours(k) => k.content_hash(),
        }
    }
}

/// A full matrix as a space to search.
pub(crate) struct DistanceSpace<'a>(pub(crate) ArrayView2<'a, f32>);

impl Space for DistanceSpace<'_> {
    fn queries(&self) -> usize {
        self.0.nrows()
    }

    fn len(&self) -> usize {
        self.0.ncols()
    }

    fn cost(&self) -> usize {
        1
    }

    fn rank(&self, i: usize, j: usize) -> f32 {
        self.0[[i, j]]
    }

    fn distance(&self, rank: f32) -> f32 {
        rank
    }

    fn block(&self, queries: Range<usize>, points: Range<usize>, _: &mut Scratch, out: &mut [f32]) {
        block_by_pairs(self, queries, points, out);
    }

    fn slack(&self, _: usize, _: f32) -> f32 {
        0.0
    }

    fn features(&self) -> usize {
        0
    }

    fn expand(&self, _: &[usize]) -> Option<Array2<f32>> {
        None
    }
}

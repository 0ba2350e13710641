//! The fuzzy simplicial set: neighbour distances turned into symmetric membership strengths.

mod smooth;
mod union;

use crate::Knn;

pub(crate) use smooth::{mean_distance, smooth_knn, strengths};
use union::union;

pub(crate) use union::symmetrise;

/// A symmetric weighted graph in compressed rows: row i holds the neighbours of vertex i in increasing order.
#[derive(Debug, Clone, PartialEq)]
pub struct FuzzyGraph {
    pub(crate) offsets: Vec<usize>,
    pub(crate) columns: Vec<u32>,
    pub(crate) weights: Vec<f32>,
}

impl FuzzyGraph {
    /// Number of vertices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no vertex.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of stored entries: each edge counts twice.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.columns.len()
    }

    /// Neighbours of a vertex and the strengths of its edges, in (0, 1].
    #[must_use]
    pub fn row(&self, vertex: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[vertex]..self.offsets[vertex + 1];
        (&self.columns[range.clone()], &self.weights[range])
    }

    /// Row by row construction.
    pub(crate) fn from_rows(rows: impl IntoIterator<Item = (Vec<u32>, Vec<f32>)>) -> Self {
        let mut graph = Self {
            offsets: vec![0],
            columns: Vec::new(),
            weights: Vec::new(),
        };
        for (columns, weights) in rows {
            graph.columns.extend(columns);
            graph.weights.extend(weights);
            graph.offsets.push(graph.columns.len());
        }
        graph
    }
}

/// The graph of `knn`: memberships exp(-(d - rho) / sigma), then the mix of fuzzy union and intersection.
///
/// # References
/// McInnes, Healy, Melville 2018, arXiv:1802.03426, algorithms 2 and 3.
pub(crate) fn fuzzy_graph(knn: &Knn, local_connectivity: f64, set_op_mix_ratio: f64) -> FuzzyGraph {
    let smooth = smooth_knn(knn, local_connectivity, mean_distance(knn));
    union(knn, &strengths(knn, &smooth, true), set_op_mix_ratio as f32)
}

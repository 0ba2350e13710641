use ndarray::{Array2, ArrayView2, Axis};

use crate::{CondensedDistances, Correlation, Linkage, Method, SpectrumError};
use crate::{euclidean_distances, linkage, optimal_leaf_order, pearson_columns};

/// Which order of the leaves the spectra are read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LeafOrdering {
    /// Smaller label left, as SciPy and seaborn, hence cytoself.
    #[default]
    Plain,
    /// The shortest path that the tree allows ([`optimal_leaf_order`]).
    Optimal,
}

/// How codes are clustered.
///
/// # Defaults
/// - 11 clusters (the paper, Fig. 4a);
/// - plain leaf order;
/// - average linkage.
///
/// # Example
/// ```
/// use cytoself_spectrum::{BiclusteringParams, LeafOrdering};
/// let params = BiclusteringParams::default().clusters(4).ordering(LeafOrdering::Optimal).check()?;
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BiclusteringParams {
    clusters: usize,
    ordering: LeafOrdering,
    method: Method,
}

impl Default for BiclusteringParams {
    fn default() -> Self {
        Self {
            clusters: 11,
            ordering: LeafOrdering::Plain,
            method: Method::Average,
        }
    }
}

impl BiclusteringParams {
    /// Number of feature clusters to cut.
    #[must_use]
    pub fn clusters(mut self, clusters: usize) -> Self {
        self.clusters = clusters;
        self
    }

    /// Order of the leaves.
    #[must_use]
    pub fn ordering(mut self, ordering: LeafOrdering) -> Self {
        self.ordering = ordering;
        self
    }

    /// Linkage method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// - 0 clusters.
    pub fn check(self) -> Result<ValidBiclusteringParams, SpectrumError> {
        if self.clusters == 0 {
            let (name, found, expected) = ("clusters", "0".to_string(), "at least 1");
            return Err(SpectrumError::Parameter {
                name,
                found,
                expected,
            });
        }
        Ok(ValidBiclusteringParams(self))
    }
}

/// Checked [`BiclusteringParams`].
#[derive(Debug, Clone, PartialEq)]
pub struct ValidBiclusteringParams(BiclusteringParams);

/// The codes of a codebook, correlated, clustered, ordered and cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Biclustering {
    /// Correlation of the codes in their original order.
    pub correlation: Correlation,
    /// Euclidean distances between the rows of the correlation matrix.
    pub distances: CondensedDistances,
    /// The tree of codes.
    pub linkage: Linkage,
    /// Codes from left to right.
    pub order: Vec<usize>,
    /// Cluster of each code in the original order, numbered from 1 as SciPy's `fcluster`.
    pub clusters: Vec<usize>,
}

impl Biclustering {
    /// Clusters codes by the similarity of their use over proteins.
    ///
    /// # Shapes
    /// `histograms: [proteins, codes]`, mean counts per crop; rows of proteins without crops must be left out.
    ///
    /// # Errors
    /// - fewer than two proteins or no code;
    /// - a histogram is NaN or infinite.
    ///
    /// # Example
    /// ```
    /// use cytoself_spectrum::{Biclustering, BiclusteringParams};
    /// let histograms = ndarray::array![[4.0, 0.0, 3.0, 1.0], [0.0, 5.0, 1.0, 4.0], [3.0, 1.0, 3.0, 1.0]];
    /// let params = BiclusteringParams::default().clusters(2).check()?;
    /// let found = Biclustering::of(histograms.view(), &params)?;
    /// // Codes 0 and 2 go together, 1 and 3 against them.
    /// assert_eq!(found.order, [1, 3, 0, 2]);
    /// assert_eq!(found.clusters, [2, 1, 2, 1]);
    /// # Ok::<(), cytoself_spectrum::SpectrumError>(())
    /// ```
    pub fn of(
        histograms: ArrayView2<'_, f64>,
        params: &ValidBiclusteringParams,
    ) -> Result<Self, SpectrumError> {
        Self::of_correlation(pearson_columns(histograms)?, params)
    }

    /// Clusters the codes by the codebook vectors themselves, `[codes, dimensions]`, instead of by their use.
    ///
    /// Differs from cytoself, whose `use_codebook` correlates the dimensions of the vectors.
    ///
    /// # Errors
    /// - fewer than two dimensions or no code;
    /// - a vector has a NaN or infinite entry.
    pub fn of_codebook(
        codebook: ArrayView2<'_, f64>,
        params: &ValidBiclusteringParams,
    ) -> Result<Self, SpectrumError> {
        Self::of_correlation(pearson_columns(codebook.t())?, params)
    }

    fn of_correlation(
        correlation: Correlation,
        params: &ValidBiclusteringParams,
    ) -> Result<Self, SpectrumError> {
        let params = &params.0;
        let distances = euclidean_distances(correlation.matrix.view())?;
        let linkage = linkage(&distances, params.method)?;
        let order = match params.ordering {
            LeafOrdering::Plain => linkage.leaves(),
            LeafOrdering::Optimal => optimal_leaf_order(&linkage, &distances)?,
        };
        let clusters = linkage.cut(params.clusters)?;
        Ok(Self {
            correlation,
            distances,
            linkage,
            order,
            clusters,
        })
    }

    /// The correlation matrix with rows and columns in leaf order.
    #[must_use]
    pub fn ordered_correlation(&self) -> Array2<f64> {
        self.correlation
            .matrix
            .select(Axis(0), &self.order)
            .select(Axis(1), &self.order)
    }

    /// The feature clusters in the order of the spectra: the cluster's number and its range of positions.
    ///
    /// A subtree is contiguous in every leaf order, so each cluster is one range. The paper names them i, ii, iii, ...
    #[must_use]
    pub fn segments(&self) -> Vec<(usize, std::ops::Range<usize>)> {
        let mut segments: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
        for (position, &code) in self.order.iter().enumerate() {
            let cluster = self.clusters[code];
            match segments.last_mut() {
                Some((last, range)) if *last == cluster => range.end = position + 1,
                _ => segments.push((cluster, position..position + 1)),
            }
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histograms() -> Array2<f64> {
        Array2::from_shape_fn((30, 64), |(i, j)| {
            (((i * 7 + j % 5 * 31) % 17) as f64 + 0.3 * ((i * j) as f64).sin()).max(0.0)
        })
    }

    #[test]
    fn every_code_has_one_place_and_one_segment() {
        for ordering in [LeafOrdering::Plain, LeafOrdering::Optimal] {
            let params = BiclusteringParams::default()
                .ordering(ordering)
                .check()
                .unwrap();
            let found = Biclustering::of(histograms().view(), &params).unwrap();
            let mut order = found.order.clone();
            order.sort_unstable();
            assert!(order.into_iter().eq(0..64));
            let segments = found.segments();
            assert_eq!(segments.len(), 11);
            assert_eq!(segments.last().unwrap().1.end, 64);
        }
    }

    #[test]
    fn same_bits_with_one_and_three_threads() {
        let params = BiclusteringParams::default()
            .ordering(LeafOrdering::Optimal)
            .check()
            .unwrap();
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| Biclustering::of(histograms().view(), &params).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn codes_are_correlated_by_their_vectors_not_the_dimensions() {
        let codebook = Array2::from_shape_fn((20, 6), |(i, j)| ((i * 5 + j * 3) % 7) as f64);
        let found = Biclustering::of_codebook(
            codebook.view(),
            &BiclusteringParams::default().check().unwrap(),
        )
        .unwrap();
        assert_eq!(found.correlation.matrix.dim(), (20, 20));
    }
}

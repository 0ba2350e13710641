use crate::{Linkage, SpectrumError};

impl Linkage {
    /// Cuts the tree into at most `clusters` flat clusters, as SciPy's `fcluster(..., criterion="maxclust")`.
    ///
    /// The cut is at the lowest height that leaves no more than `clusters`; merges of equal height stay together, so
    /// there can be fewer. Clusters are numbered from 1 in SciPy's order.
    ///
    /// The eleven clusters of the paper were cut by hand; this is the reproducible substitute.
    ///
    /// # Errors
    /// - `clusters` is 0.
    ///
    /// # Example
    /// ```
    /// use cytoself_spectrum::Linkage;
    /// let tree = Linkage::from_scipy(ndarray::array![[1.0, 2.0, 1.0, 2.0], [0.0, 3.0, 5.0, 3.0]].view())?;
    /// assert_eq!(tree.cut(2)?, [2, 1, 1]);
    /// assert_eq!(tree.cut(1)?, [1, 1, 1]);
    /// # Ok::<(), cytoself_spectrum::SpectrumError>(())
    /// ```
    pub fn cut(&self, clusters: usize) -> Result<Vec<usize>, SpectrumError> {
        if clusters == 0 {
            let (name, found, expected) = ("clusters", "0".to_string(), "at least 1");
            return Err(SpectrumError::Parameter {
                name,
                found,
                expected,
            });
        }
        if clusters >= self.points() {
            return Ok((1..=self.points()).collect());
        }
        let heights = self.monotone_heights();
        let cutoff = lowest_cut(&heights, self.points(), clusters);
        Ok(number_clusters(self, &heights, cutoff))
    }
}

/// The lowest merge height whose cut leaves at most `clusters`.
///
/// Cutting at height `t` undoes every merge above it; each undone merge adds one cluster.
fn lowest_cut(heights: &[f64], points: usize, clusters: usize) -> f64 {
    let mut sorted = heights.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[points - clusters - 1]
}

/// Numbers the clusters in the order in which SciPy's traversal finishes them: a subtree before the point beside it.
fn number_clusters(tree: &Linkage, heights: &[f64], cutoff: f64) -> Vec<usize> {
    enum Visit {
        Enter { label: usize, inside: bool },
        Point { label: usize, inside: bool },
    }
    let mut numbers = vec![1; tree.points()];
    let mut found = 0;
    let mut stack = vec![Visit::Enter {
        label: tree.root(),
        inside: false,
    }];
    while let Some(visit) = stack.pop() {
        match visit {
            Visit::Point { label, inside } => {
                found += usize::from(!inside);
                numbers[label] = found;
            }
            Visit::Enter { label, inside } => {
                let Some(children) = tree.children(label) else {
                    continue;
                };
                let starts = !inside && heights[label - tree.points()] <= cutoff;
                found += usize::from(starts);
                let inside = inside || starts;
                // Pushed in reverse: subtrees left to right first, then points left to right.
                let is_point = |c: &usize| *c < tree.points();
                stack.extend(
                    children
                        .iter()
                        .rev()
                        .filter(|c| is_point(c))
                        .map(|&label| Visit::Point { label, inside }),
                );
                stack.extend(
                    children
                        .iter()
                        .rev()
                        .filter(|c| !is_point(c))
                        .map(|&label| Visit::Enter { label, inside }),
                );
            }
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CondensedDistances, Method, linkage};

    fn tree(points: &[f64]) -> Linkage {
        let pairs = (0..points.len()).flat_map(|i| (i + 1..points.len()).map(move |j| (i, j)));
        let distances = pairs.map(|(i, j)| (points[i] - points[j]).abs()).collect();
        linkage(
            &CondensedDistances::new(points.len(), distances).unwrap(),
            Method::Average,
        )
        .unwrap()
    }

    // Expected numbers: scipy 1.17.1, fcluster(linkage(x, "average"), t, "maxclust").
    #[test]
    fn numbers_are_scipys() {
        let tree = tree(&[0.0, 10.0, 0.5, 11.0, 30.0, 0.75]);
        assert_eq!(tree.cut(1).unwrap(), [1, 1, 1, 1, 1, 1]);
        assert_eq!(tree.cut(2).unwrap(), [1, 1, 1, 1, 2, 1]);
        assert_eq!(tree.cut(3).unwrap(), [1, 2, 1, 2, 3, 1]);
        assert_eq!(tree.cut(4).unwrap(), [1, 2, 1, 3, 4, 1]);
        assert_eq!(tree.cut(6).unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn equal_heights_stay_together() {
        let tree = tree(&[0.0, 0.0, 0.0, 1.0]);
        assert_eq!(tree.cut(3).unwrap(), [1, 1, 1, 2]);
    }

    #[test]
    fn no_cluster_is_an_error() {
        assert!(tree(&[0.0, 1.0]).cut(0).is_err());
    }
}

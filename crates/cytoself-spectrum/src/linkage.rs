use ndarray::{Array2, ArrayView2};

use crate::{CondensedDistances, SpectrumError};

/// How the distance of two clusters follows from the distances of their members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Method {
    /// Mean over all pairs (UPGMA): seaborn's `clustermap` default, hence cytoself's.
    #[default]
    Average,
    /// Nearest pair.
    Single,
    /// Farthest pair.
    Complete,
    /// Growth of the within-cluster variance.
    Ward,
}

/// Two clusters become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The clusters, smaller label first: below `n` a point, `n + i` the cluster made by merge `i`.
    pub children: [usize; 2],
    /// Distance at which they meet.
    pub height: f64,
    /// Points in the new cluster.
    pub size: usize,
}

/// A binary tree over `n` points: `n - 1` merges by increasing height.
#[derive(Debug, Clone, PartialEq)]
pub struct Linkage {
    points: usize,
    merges: Vec<Merge>,
}

/// Builds the tree of a set of points by agglomerative clustering.
///
/// Equal distances (unused codes are equal rows) are resolved by the nearest-neighbour chain, always in the same way.
///
/// # Errors
/// - there is no point.
///
/// # References
/// Müllner, "Modern hierarchical, agglomerative clustering algorithms", arXiv:1109.2378.
///
/// # Example
/// ```
/// use cytoself_spectrum::{CondensedDistances, Method, linkage};
/// let distances = CondensedDistances::new(3, vec![4.0, 6.0, 1.0])?;
/// let tree = linkage(&distances, Method::Average)?;
/// assert_eq!(tree.to_scipy(), ndarray::array![[1.0, 2.0, 1.0, 2.0], [0.0, 3.0, 5.0, 3.0]]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn linkage(distances: &CondensedDistances, method: Method) -> Result<Linkage, SpectrumError> {
    let points = distances.points();
    if points == 0 {
        return Err(SpectrumError::TooFew {
            what: "points to cluster",
            needed: 1,
            found: 0,
        });
    }
    let method = match method {
        Method::Average => kodama::Method::Average,
        Method::Single => kodama::Method::Single,
        Method::Complete => kodama::Method::Complete,
        Method::Ward => kodama::Method::Ward,
    };
    let mut values = distances.values().to_vec();
    let tree = kodama::linkage(&mut values, points, method);
    let merges = tree
        .steps()
        .iter()
        .map(|step| Merge {
            children: [step.cluster1, step.cluster2],
            height: step.dissimilarity,
            size: step.size,
        })
        .collect();
    Ok(Linkage { points, merges })
}

impl Linkage {
    /// Reads a tree in SciPy's layout, `[n - 1, 4]`: two clusters, height, size.
    ///
    /// # Errors
    /// - the matrix does not have four columns;
    /// - a row merges a cluster that does not exist yet or was merged before, or has a wrong size or height.
    pub fn from_scipy(matrix: ArrayView2<'_, f64>) -> Result<Self, SpectrumError> {
        if matrix.ncols() != 4 {
            let what = "columns of the linkage matrix";
            return Err(SpectrumError::Shape {
                what,
                expected: 4,
                found: matrix.ncols(),
            });
        }
        let points = matrix.nrows() + 1;
        let mut sizes = vec![1; points];
        let mut merged = vec![false; 2 * points - 1];
        let mut merges = Vec::with_capacity(points - 1);
        for (row, values) in matrix.outer_iter().enumerate() {
            let merge = read_merge(row, [values[0], values[1]], values[2], &sizes, &mut merged)?;
            if values[3] != merge.size as f64 {
                return Err(SpectrumError::NotATree {
                    row,
                    problem: "the size is not the sum of its parts",
                });
            }
            sizes.push(merge.size);
            merges.push(merge);
        }
        Ok(Self { points, merges })
    }

    /// The tree in SciPy's layout, `[n - 1, 4]`.
    #[must_use]
    pub fn to_scipy(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.merges.len(), 4), |(row, column)| {
            let merge = &self.merges[row];
            match column {
                0 | 1 => merge.children[column] as f64,
                2 => merge.height,
                _ => merge.size as f64,
            }
        })
    }

    /// Number of points.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// The merges by increasing height.
    #[must_use]
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The two clusters that made cluster `label`; `None` for a point.
    #[must_use]
    pub fn children(&self, label: usize) -> Option<[usize; 2]> {
        let merge = label.checked_sub(self.points)?;
        self.merges.get(merge).map(|m| m.children)
    }

    /// Label of the cluster that holds everything.
    #[must_use]
    pub fn root(&self) -> usize {
        self.points + self.merges.len() - 1
    }

    /// The points from left to right with the smaller label always on the left, as SciPy's `leaves_list`.
    ///
    /// # Example
    /// ```
    /// use cytoself_spectrum::Linkage;
    /// let tree = Linkage::from_scipy(ndarray::array![[1.0, 2.0, 1.0, 2.0], [0.0, 3.0, 5.0, 3.0]].view())?;
    /// assert_eq!(tree.leaves(), [0, 1, 2]);
    /// # Ok::<(), cytoself_spectrum::SpectrumError>(())
    /// ```
    #[must_use]
    pub fn leaves(&self) -> Vec<usize> {
        let mut leaves = Vec::with_capacity(self.points);
        let mut stack = vec![self.root()];
        while let Some(label) = stack.pop() {
            match self.children(label) {
                Some([left, right]) => stack.extend([right, left]),
                None => leaves.push(label),
            }
        }
        leaves
    }

    /// Largest merge height at or below each merge; equals the heights unless the tree has inversions.
    pub(crate) fn monotone_heights(&self) -> Vec<f64> {
        let mut heights: Vec<f64> = Vec::with_capacity(self.merges.len());
        for merge in &self.merges {
            let below = merge
                .children
                .iter()
                .filter_map(|c| c.checked_sub(self.points))
                .map(|m| heights[m]);
            heights.push(below.fold(merge.height, f64::max));
        }
        heights
    }
}

fn read_merge(
    row: usize,
    labels: [f64; 2],
    height: f64,
    sizes: &[usize],
    merged: &mut [bool],
) -> Result<Merge, SpectrumError> {
    let fail = |problem| Err(SpectrumError::NotATree { row, problem });
    let mut children = [0; 2];
    for (child, label) in children.iter_mut().zip(labels) {
        if !(label >= 0.0 && label < sizes.len() as f64 && label.fract() == 0.0) {
            return fail("it merges a cluster that does not exist yet");
        }
        *child = label as usize;
        if std::mem::replace(&mut merged[*child], true) {
            return fail("it merges a cluster that was merged before");
        }
    }
    if !(height.is_finite() && height >= 0.0) {
        return fail("its height is not a distance");
    }
    let size = sizes[children[0]] + sizes[children[1]];
    children.sort_unstable();
    Ok(Merge {
        children,
        height,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn one_point_is_a_tree_without_merges() {
        let tree = linkage(
            &CondensedDistances::new(1, vec![]).unwrap(),
            Method::Average,
        )
        .unwrap();
        assert_eq!(tree.leaves(), [0]);
        assert_eq!(tree.to_scipy().dim(), (0, 4));
    }

    #[test]
    fn scipy_layout_round_trip() {
        let distances = CondensedDistances::new(5, (1..=10).map(f64::from).collect()).unwrap();
        for method in [
            Method::Average,
            Method::Single,
            Method::Complete,
            Method::Ward,
        ] {
            let tree = linkage(&distances, method).unwrap();
            assert_eq!(Linkage::from_scipy(tree.to_scipy().view()).unwrap(), tree);
        }
    }

    #[test]
    fn what_is_not_a_tree_is_refused() {
        for bad in [
            array![[0.0, 3.0, 1.0, 2.0], [1.0, 2.0, 2.0, 3.0]],
            array![[0.0, 1.0, 1.0, 2.0], [1.0, 3.0, 2.0, 3.0]],
            array![[0.0, 1.0, 1.0, 2.0], [2.0, 3.0, f64::NAN, 3.0]],
            array![[0.0, 1.0, 1.0, 2.0], [2.0, 3.0, 2.0, 4.0]],
            array![[0.0, 0.5, 1.0, 2.0], [2.0, 3.0, 2.0, 3.0]],
        ] {
            assert!(Linkage::from_scipy(bad.view()).is_err(), "{bad}");
        }
    }
}

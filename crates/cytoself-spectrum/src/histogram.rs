use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;

use crate::SpectrumError;

/// Counts how often each code occurs in each crop (cytoself's `vqindhist`).
///
/// # Shapes
/// `indices: [n, positions]`, returns `[n, codes]`; every row sums to `positions`.
///
/// # Errors
/// - an index is not below `codes`.
///
/// # Example
/// ```
/// let indices = ndarray::array![[0u16, 2, 2], [1, 1, 1]];
/// let histograms = cytoself_spectrum::code_histograms(indices.view(), 3)?;
/// assert_eq!(histograms, ndarray::array![[1, 0, 2], [0, 3, 0]]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn code_histograms(
    indices: ArrayView2<'_, u16>,
    codes: usize,
) -> Result<Array2<u32>, SpectrumError> {
    let mut histograms = Array2::<u32>::zeros((indices.nrows(), codes));
    let rows = histograms
        .as_slice_mut()
        .unwrap_or_default()
        .par_chunks_mut(codes.max(1));
    rows.enumerate().try_for_each(|(row, histogram)| {
        for &index in indices.row(row) {
            let found = usize::from(index);
            *histogram
                .get_mut(found)
                .ok_or(SpectrumError::CodeOutOfRange { row, found, codes })? += 1;
        }
        Ok(())
    })?;
    Ok(histograms)
}

/// Code histograms summed per group (protein, localisation family) from a stream of crops, in memory that does not
/// grow with the number of crops.
///
/// Counts are whole numbers, so the result does not depend on the order of the blocks.
///
/// # Example
/// ```
/// use cytoself_spectrum::HistogramAccumulator;
/// let mut sums = HistogramAccumulator::new(2, 3);
/// sums.add(&[0, 0], ndarray::array![[0u16, 2], [2, 2]].view())?;
/// sums.add(&[1], ndarray::array![[1u16, 1]].view())?;
/// assert_eq!(sums.means(), ndarray::array![[0.5, 0.0, 1.5], [0.0, 2.0, 0.0]]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramAccumulator {
    sums: Array2<u64>,
    crops: Vec<u64>,
}

impl HistogramAccumulator {
    /// An empty accumulator of `groups` histograms over `codes` codes.
    #[must_use]
    pub fn new(groups: usize, codes: usize) -> Self {
        Self {
            sums: Array2::zeros((groups, codes)),
            crops: vec![0; groups],
        }
    }

    /// Adds one block of crops; `groups[i]` is the group of row `i` of `indices: [n, positions]`.
    ///
    /// # Errors
    /// - `groups` and `indices` differ in length;
    /// - a group or a code index is out of range. The accumulator then holds the rows before that one.
    pub fn add(
        &mut self,
        groups: &[usize],
        indices: ArrayView2<'_, u16>,
    ) -> Result<(), SpectrumError> {
        if groups.len() != indices.nrows() {
            let what = "one group per row of indices";
            return Err(SpectrumError::Shape {
                what,
                expected: indices.nrows(),
                found: groups.len(),
            });
        }
        for (row, (&group, indices)) in groups.iter().zip(indices.outer_iter()).enumerate() {
            self.add_row(row, group, indices.iter().copied())?;
        }
        Ok(())
    }

    fn add_row(
        &mut self,
        row: usize,
        group: usize,
        indices: impl Iterator<Item = u16>,
    ) -> Result<(), SpectrumError> {
        let (groups, codes) = self.sums.dim();
        let crops = self
            .crops
            .get_mut(group)
            .ok_or(SpectrumError::GroupOutOfRange {
                row,
                found: group,
                groups,
            })?;
        let mut sums = self.sums.row_mut(group);
        for index in indices {
            let found = usize::from(index);
            *sums
                .get_mut(found)
                .ok_or(SpectrumError::CodeOutOfRange { row, found, codes })? += 1;
        }
        *crops += 1;
        Ok(())
    }

    /// Adds what another accumulator of the same shape has counted.
    ///
    /// # Errors
    /// - the shapes differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), SpectrumError> {
        for (what, expected, found) in [
            (
                "groups of the merged histograms",
                self.sums.nrows(),
                other.sums.nrows(),
            ),
            (
                "codes of the merged histograms",
                self.sums.ncols(),
                other.sums.ncols(),
            ),
        ] {
            if expected != found {
                return Err(SpectrumError::Shape {
                    what,
                    expected,
                    found,
                });
            }
        }
        self.sums += &other.sums;
        self.crops
            .iter_mut()
            .zip(&other.crops)
            .for_each(|(mine, theirs)| *mine += theirs);
        Ok(())
    }

    /// Crops seen per group.
    #[must_use]
    pub fn crops(&self) -> &[u64] {
        &self.crops
    }

    /// Occurrences of each code over all groups; a zero is a code that is never used.
    #[must_use]
    pub fn usage(&self) -> Array1<u64> {
        self.sums.sum_axis(ndarray::Axis(0))
    }

    /// Mean histogram of each group, `[groups, codes]`: mean occurrences per crop.
    ///
    /// The row of a group without crops is zero; [`HistogramAccumulator::crops`] tells it from a real one.
    ///
    /// Differs from cytoself, where such a row is NaN and turns every correlation into zero.
    #[must_use]
    pub fn means(&self) -> Array2<f64> {
        let mut means = self.sums.mapv(|count| count as f64);
        for (mut row, &crops) in means.outer_iter_mut().zip(&self.crops) {
            row /= crops.max(1) as f64;
        }
        means
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn an_index_outside_the_codebook_is_named() {
        let error = code_histograms(array![[0u16, 1], [1, 7]].view(), 4).unwrap_err();
        assert_eq!(
            error,
            SpectrumError::CodeOutOfRange {
                row: 1,
                found: 7,
                codes: 4
            }
        );
    }

    #[test]
    fn groups_must_exist() {
        let mut sums = HistogramAccumulator::new(1, 4);
        let error = sums.add(&[1], array![[0u16]].view()).unwrap_err();
        assert_eq!(
            error,
            SpectrumError::GroupOutOfRange {
                row: 0,
                found: 1,
                groups: 1
            }
        );
        assert!(sums.add(&[0, 0], array![[0u16]].view()).is_err());
    }

    #[test]
    fn a_group_without_crops_is_zero_not_nan() {
        let sums = HistogramAccumulator::new(2, 2);
        assert_eq!(sums.means(), array![[0.0, 0.0], [0.0, 0.0]]);
        assert_eq!(sums.crops(), [0, 0]);
    }

    proptest! {
        #[test]
        fn streamed_in_any_blocks_equals_at_once(rows in prop::collection::vec((0usize..3, [0u16..9, 0..9, 0..9]), 1..40), cut in 0usize..40) {
            let groups: Vec<usize> = rows.iter().map(|r| r.0).collect();
            let indices = Array2::from_shape_fn((rows.len(), 3), |(i, j)| rows[i].1[j]);
            let cut = cut.min(rows.len());
            let (first, second) = indices.view().split_at(ndarray::Axis(0), cut);
            let mut a = HistogramAccumulator::new(3, 9);
            a.add(&groups, indices.view()).unwrap();
            let mut b = HistogramAccumulator::new(3, 9);
            b.add(&groups[cut..], second).unwrap();
            let mut c = HistogramAccumulator::new(3, 9);
            c.add(&groups[..cut], first).unwrap();
            b.merge(&c).unwrap();
            prop_assert_eq!(&a, &b);
            let histograms = code_histograms(indices.view(), 9).unwrap();
            prop_assert!(histograms.outer_iter().all(|h| h.sum() == 3));
            prop_assert_eq!(a.usage().sum(), 3 * rows.len() as u64);
        }
    }
}

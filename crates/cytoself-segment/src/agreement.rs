//! How well two label images of the same field agree.

use std::collections::HashMap;

use ndarray::ArrayView2;

use crate::error::{SegmentError, check_shape};
use crate::label::relabel;

/// Intersection over union of every overlapping pair of a true and a predicted region, with the two counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    truth: usize,
    predicted: usize,
    overlaps: Vec<f64>,
}

impl Agreement {
    /// Compares `predicted` with `truth`.
    ///
    /// **Shapes** both `[h, w]`, 0 for background.
    ///
    /// # Errors
    /// - [`SegmentError::ShapeMismatch`]: the shapes differ.
    ///
    /// # Example
    /// ```
    /// use cytoself_segment::Agreement;
    /// use ndarray::array;
    ///
    /// let truth = array![[1, 1, 1, 0, 2]];
    /// let found = array![[7, 7, 0, 0, 0]];
    /// let agreement = Agreement::new(truth.view(), found.view())?;
    /// assert_eq!(agreement.matches(0.5).f1(), 2.0 / 3.0);
    /// assert_eq!(agreement.matches(0.7).f1(), 0.0);
    /// # Ok::<(), cytoself_segment::SegmentError>(())
    /// ```
    pub fn new(
        truth: ArrayView2<'_, u32>,
        predicted: ArrayView2<'_, u32>,
    ) -> Result<Self, SegmentError> {
        check_shape("predicted", truth.shape(), predicted.shape())?;
        let ((truth, n), (predicted, m)) = (relabel(truth), relabel(predicted));
        let (mut true_area, mut predicted_area) = (vec![0_usize; n + 1], vec![0_usize; m + 1]);
        let mut shared: HashMap<(u32, u32), usize> = HashMap::new();
        for (&t, &p) in truth.iter().zip(&predicted) {
            true_area[t as usize] += 1;
            predicted_area[p as usize] += 1;
            if t > 0 && p > 0 {
                *shared.entry((t, p)).or_default() += 1;
            }
        }
        let iou = |((t, p), &n): (&(u32, u32), &usize)| {
            n as f64 / (true_area[*t as usize] + predicted_area[*p as usize] - n) as f64
        };
        let mut overlaps: Vec<f64> = shared.iter().map(iou).collect();
        overlaps.sort_by(f64::total_cmp);
        Ok(Self {
            truth: n,
            predicted: m,
            overlaps,
        })
    }

    /// Pairs whose overlap exceeds `iou` (at least 0.5, where a region can have one partner only).
    #[must_use]
    pub fn matches(&self, iou: f64) -> Matches {
        let iou = iou.max(0.5);
        let matched = self
            .overlaps
            .iter()
            .filter(|&&o| if iou > 0.5 { o > iou - 1e-9 } else { o > 0.5 })
            .count();
        Matches {
            matched,
            missed: self.truth - matched,
            extra: self.predicted - matched,
        }
    }
}

/// Regions matched, missed and extra at one overlap; sums over images with `+`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Matches {
    /// True regions with a partner.
    pub matched: usize,
    /// True regions without.
    pub missed: usize,
    /// Predicted regions without.
    pub extra: usize,
}

impl Matches {
    /// Harmonic mean of precision and recall; 1 where both images are empty.
    #[must_use]
    pub fn f1(&self) -> f64 {
        ratio(
            2 * self.matched,
            2 * self.matched + self.missed + self.extra,
        )
    }

    /// Matched over matched, missed and extra ("average precision" of the 2018 Data Science Bowl).
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        ratio(self.matched, self.matched + self.missed + self.extra)
    }
}

impl std::ops::Add for Matches {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            matched: self.matched + other.matched,
            missed: self.missed + other.missed,
            extra: self.extra + other.extra,
        }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn identical_images_agree_whatever_the_numbers() {
        let a = array![[1, 1, 0], [0, 0, 2]];
        let b = array![[9, 9, 0], [0, 0, 4]];
        let found = Agreement::new(a.view(), b.view()).unwrap();
        assert_eq!(
            found.matches(1.0),
            Matches {
                matched: 2,
                missed: 0,
                extra: 0
            }
        );
        assert_eq!(found.matches(0.9).average_precision(), 1.0);
        assert!(Agreement::new(a.view(), array![[1]].view()).is_err());
    }
}

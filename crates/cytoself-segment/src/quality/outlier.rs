//! How far a row of features lies from the others.

use ndarray::{ArrayView1, ArrayView2};

/// Rows needed to know what is usual.
const FEWEST: usize = 5;
/// Standard deviation of a normal distribution per median absolute deviation.
const PER_DEVIATION: f64 = 1.4826;
/// A single feature cannot count for more than this many deviations.
const LARGEST: f64 = 10.0;

/// One number per row: the root mean square of its features' distances from their medians, in robust standard
/// deviations (median absolute deviation x 1.4826).
///
/// About 1 for ordinary rows; a row far off in one of five features by 10 deviations has 4.5. Features that do not
/// vary are left out. With fewer than 5 rows all scores are 0.
///
/// **Shapes** `features: [n, f]` -> `n` scores.
///
/// # Example
/// ```
/// use cytoself_segment::outlier_scores;
/// use ndarray::array;
///
/// let sizes = array![[10.0], [11.0], [12.0], [9.0], [10.0], [30.0]];
/// let scores = outlier_scores(sizes.view());
/// assert!(scores[5] > 9.0 && scores[..5].iter().all(|&s| s < 2.0));
/// ```
#[must_use]
pub fn outlier_scores(features: ArrayView2<'_, f64>) -> Vec<f64> {
    let rows = features.nrows();
    let mut sums = vec![0.0; rows];
    let mut used = 0;
    if rows < FEWEST {
        return sums;
    }
    for column in features.columns() {
        let middle = median(column.to_vec());
        let spread = PER_DEVIATION * median(column.mapv(|v| (v - middle).abs()).to_vec());
        if spread > 0.0 {
            add_squares(&mut sums, column, middle, spread);
            used += 1;
        }
    }
    sums.iter()
        .map(|s| (s / f64::from(used.max(1))).sqrt())
        .collect()
}

fn add_squares(sums: &mut [f64], column: ArrayView1<'_, f64>, middle: f64, spread: f64) {
    for (sum, value) in sums.iter_mut().zip(column) {
        *sum += ((value - middle) / spread).clamp(-LARGEST, LARGEST).powi(2);
    }
}

/// The middle value; of an even number the mean of both middle ones; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn few_rows_and_constant_features_say_nothing() {
        assert_eq!(
            outlier_scores(Array2::from_elem((4, 2), 1.0).view()),
            [0.0; 4]
        );
        assert_eq!(
            outlier_scores(Array2::from_elem((9, 2), 1.0).view()),
            [0.0; 9]
        );
        assert_eq!(median(vec![]), 0.0);
    }
}

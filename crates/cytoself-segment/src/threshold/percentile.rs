//! Percentiles with linear interpolation.

use ndarray::ArrayView2;

use super::histogram::Histogram;

/// The `percent`-th percentile of an image, linearly interpolated between ranks as by NumPy's default.
///
/// `percent` is clamped to 0..100. An empty image returns 0.
///
/// **Shapes** `image: [h, w]`, finite.
///
/// # Example
/// ```
/// use cytoself_segment::percentile;
/// use ndarray::array;
///
/// let image = array![[4.0, 1.0], [2.0, 3.0]];
/// assert_eq!(percentile(image.view(), 50.0), 2.5);
/// ```
#[must_use]
pub fn percentile(image: ArrayView2<'_, f64>, percent: f64) -> f64 {
    let image = image.as_standard_layout();
    let values = image.as_slice().unwrap_or_default();
    let Some(histogram) = Histogram::new(values) else {
        return values.first().copied().unwrap_or(0.0);
    };
    let position = percent.clamp(0.0, 100.0) / 100.0 * (values.len() - 1) as f64;
    let rank = position.floor() as usize;
    let [low, high] = histogram.ranked_pair(rank);
    low + (high - low) * (position - rank as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn equals_sorting() {
        let image = Array2::from_shape_fn((19, 23), |(y, x)| {
            ((y * 7919 + x * 104_729) % 997) as f64 - 400.0
        });
        let mut sorted: Vec<f64> = image.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        for percent in [0.0, 7.0, 33.3, 50.0, 99.0, 100.0] {
            let at: f64 = percent / 100.0 * 436.0;
            let i = at as usize;
            let expected = sorted[i] + (sorted[(i + 1).min(436)] - sorted[i]) * at.fract();
            assert!((percentile(image.view(), percent) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn constant_and_empty() {
        assert_eq!(percentile(Array2::from_elem((2, 3), 4.0).view(), 7.0), 4.0);
        assert_eq!(percentile(Array2::zeros((0, 3)).view(), 7.0), 0.0);
    }
}

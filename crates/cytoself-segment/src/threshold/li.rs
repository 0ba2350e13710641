//! Li's minimum cross-entropy threshold.

use ndarray::ArrayView2;

use super::histogram::Histogram;

const MAX_STEPS: usize = 10_000;

/// Threshold that minimises the cross-entropy between an image and its two-level version (Li and Lee, 1993),
/// found by the fixed-point iteration of Li and Tam (1998) from the image's mean.
///
/// The iteration ends where the two classes no longer change, which is its exact fixed point.
/// A constant image returns its value (so that no pixel is above), an empty one 0.
///
/// **Shapes** `image: [h, w]`, finite. Foreground is `image > threshold`.
///
/// # References
/// - Li CH, Lee CK (1993), doi:10.1016/0031-3203(93)90115-D
/// - Li CH, Tam PKS (1998), doi:10.1016/S0167-8655(98)00057-9
///
/// # Example
/// ```
/// use cytoself_segment::li_threshold;
/// use ndarray::array;
///
/// let image = array![[1.0, 2.0, 1.0], [90.0, 100.0, 95.0]];
/// let threshold = li_threshold(image.view());
/// assert!(threshold > 2.0 && threshold < 90.0);
/// ```
#[must_use]
pub fn li_threshold(image: ArrayView2<'_, f64>) -> f64 {
    let image = image.as_standard_layout();
    let values = image.as_slice().unwrap_or_default();
    let Some(histogram) = Histogram::new(values) else {
        return values.first().copied().unwrap_or(0.0);
    };
    let classes = Classes {
        sums: histogram.sums(),
        total: values.len(),
        histogram,
    };
    classes.threshold() + classes.histogram.low()
}

/// The two classes that a threshold makes; values are relative to the smallest.
struct Classes<'a> {
    histogram: Histogram<'a>,
    sums: Vec<f64>,
    total: usize,
}

impl Classes<'_> {
    fn sum(&self) -> f64 {
        self.sums[self.sums.len() - 1]
    }

    /// Moves the threshold to the logarithmic mean of the class means until the classes stay.
    fn threshold(&self) -> f64 {
        let total = self.total as f64;
        let mut threshold = self.sum() / total;
        let mut last = f64::NAN;
        // The values of the bin looked at last: near its end the iteration stays in one.
        let (mut bin, mut values) = (usize::MAX, Vec::new());
        for _ in 0..MAX_STEPS {
            let i = self.histogram.bin_of(threshold + self.histogram.low());
            if i != bin {
                (bin, values) = (i, self.histogram.values(i));
            }
            let (count, sum) = self.up_to(threshold, bin, &values);
            let back = sum / count;
            // The logarithm of zero ends the iteration: the background holds only the smallest value.
            if count == last || count == 0.0 || count == total || back <= 0.0 {
                break;
            }
            last = count;
            let fore = (self.sum() - sum) / (total - count);
            threshold = (back - fore) / (back.ln() - fore.ln());
        }
        threshold
    }

    /// Number and sum of the values that are not above a threshold, which lies in a bin of these values.
    fn up_to(&self, threshold: f64, bin: usize, values: &[f64]) -> (f64, f64) {
        let low = self.histogram.low();
        let below = values.iter().map(|v| v - low).filter(|&v| v <= threshold);
        let start = (self.histogram.start(bin) as f64, self.sums[bin]);
        below.fold(start, |(count, sum), v| (count + 1.0, sum + v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// The iteration as it is written in the paper, over all pixels.
    fn reference(image: &Array2<f64>) -> f64 {
        let low = image.iter().copied().fold(f64::INFINITY, f64::min);
        let values: Vec<f64> = image.iter().map(|v| v - low).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let mut t = mean(&values);
        for _ in 0..1000 {
            let (back, fore): (Vec<f64>, Vec<f64>) = values.iter().partition(|&&v| v <= t);
            let (b, f) = (mean(&back), mean(&fore));
            if b == 0.0 {
                break;
            }
            t = (b - f) / (b.ln() - f.ln());
        }
        t + low
    }

    #[test]
    fn equals_the_iteration_over_all_pixels() {
        for seed in 0..8_usize {
            let image = Array2::from_shape_fn((37, 41), |(y, x)| {
                let noise = ((y * 7919 + x * 104_729 + seed * 31) % 1009) as f64 / 1009.0;
                if (y / 9 + x / 7) % 3 == 0 {
                    40.0 + 20.0 * noise
                } else {
                    3.0 + 4.0 * noise
                }
            });
            let (a, b) = (li_threshold(image.view()), reference(&image));
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }

    #[test]
    fn degenerate_images() {
        assert_eq!(li_threshold(Array2::from_elem((3, 3), 5.0).view()), 5.0);
        assert_eq!(li_threshold(Array2::zeros((0, 0)).view()), 0.0);
        let two = ndarray::array![[1.0, 1.0, 2.0]];
        assert!((1.0..2.0).contains(&li_threshold(two.view())));
    }
}

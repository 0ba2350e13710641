//! The local threshold.

use ndarray::{Array2, ArrayView2, Zip};

use super::Local;
use crate::filter::gaussian;
use crate::threshold::{li_threshold, percentile};

/// Rounds of classification; the classes hardly change after the second.
const ROUNDS: usize = 2;
/// Weight of the mean over the whole image where a class is absent around a pixel.
const FAR: f64 = 1e-3;

/// Pixels brighter than a given share of the contrast between the nuclei and the background around them; returns the
/// mask and the global threshold that it starts from.
///
/// Li's threshold makes a first guess of both classes. Their local means (Gaussian-weighted over pixels of the class
/// alone, over about a nucleus' diameter) give every pixel its own threshold, `b + contrast * (n - b)`, and with it
/// better classes, twice. So a dim nucleus beside a bright one, or in a dark corner, gets a threshold of its own.
///
/// **Shapes** `image: [h, w]`, finite -> `[h, w]`.
#[must_use]
pub fn local_foreground(image: ArrayView2<'_, f64>, method: &Local) -> (Array2<bool>, f64) {
    let blurred = gaussian(image, method.blur());
    let threshold = li_threshold(blurred.view());
    let darkest = percentile(blurred.view(), 1.0);
    let floor = darkest + (threshold - darkest) * method.floor();
    let mut mask = blurred.mapv(|v| v > threshold);
    for _ in 0..ROUNDS {
        let nuclei = class_mean(&blurred, &mask, true, method.neighbourhood());
        let background = class_mean(&blurred, &mask, false, method.neighbourhood());
        Zip::from(&mut mask)
            .and(&blurred)
            .and(&nuclei)
            .and(&background)
            .for_each(|m, &v, &n, &b| {
                *m = v > floor && v > b + method.params().contrast * (n - b).max(0.0);
            });
    }
    (mask, threshold)
}

/// Mean of the pixels of one class around every pixel.
fn class_mean(image: &Array2<f64>, mask: &Array2<bool>, class: bool, sigma: f64) -> Array2<f64> {
    let weights = mask.mapv(|m| if m == class { 1.0 } else { 0.0 });
    let values = &weights * image;
    let mean = values.sum() / weights.sum().max(1.0);
    let (weights, values) = (
        gaussian(weights.view(), sigma),
        gaussian(values.view(), sigma),
    );
    Zip::from(&values)
        .and(&weights)
        .map_collect(|&v, &w| (v + FAR * mean) / (w + FAR))
}

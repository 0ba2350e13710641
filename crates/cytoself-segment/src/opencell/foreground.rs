//! Step 1: what is not background.

use ndarray::{Array2, ArrayView2};

use super::OpenCell;
use crate::filter::gaussian;
use crate::mask::erode_cross;
use crate::threshold::li_threshold;

/// Blurs (sigma 5), thresholds with Li's method and erodes by the 3x3 cross; returns the mask and the threshold.
///
/// **Shapes** `image: [h, w]`, finite -> `[h, w]`.
#[must_use]
pub fn background_mask(image: ArrayView2<'_, f64>, chain: &OpenCell) -> (Array2<bool>, f64) {
    let blurred = gaussian(image, chain.blur());
    let threshold = li_threshold(blurred.view()) * chain.params().threshold_factor;
    (
        erode_cross(blurred.mapv(|v| v > threshold).view()),
        threshold,
    )
}

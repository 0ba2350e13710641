//! Step 7: touching nuclei are split.

use ndarray::{Array2, ArrayView2};

use super::OpenCell;
use crate::distance::distance_transform;
use crate::error::SegmentError;
use crate::filter::gaussian;
use crate::peaks::{find_peaks, seed_image};
use crate::watershed::{WatershedParams, watershed};

/// Splits regions by a compact watershed on the distance to their outline.
///
/// Seeds are the peaks, at least 15 px apart, of the distance map blurred with sigma 1 (not scaled).
///
/// Differs from OpenCell: seeds near the edge of the image count, and the labels are kept rather than made again from
/// the binary image, so that nuclei stay apart even without a line.
///
/// **Shapes** `mask: [h, w]` -> labels `[h, w]`.
///
/// # Errors
/// - [`SegmentError::ShapeMismatch`]: never, as all arrays come from `mask`.
pub fn split_nuclei(
    mask: ArrayView2<'_, bool>,
    chain: &OpenCell,
) -> Result<Array2<u32>, SegmentError> {
    let distance = gaussian(distance_transform(mask).view(), 1.0);
    let inside = mask.mapv(u32::from);
    let peaks = find_peaks(distance.view(), inside.view(), chain.seed_distance());
    let seeds = seed_image(&peaks, mask.dim());
    let params = WatershedParams {
        compactness: chain.params().compactness,
        line: chain.params().line,
    };
    watershed(distance.mapv(|v| -v).view(), seeds.view(), mask, params)
}

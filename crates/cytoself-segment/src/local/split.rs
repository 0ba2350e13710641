//! Touching nuclei are split by brightness and shape together.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};

use super::Local;
use crate::distance::distance_transform;
use crate::error::SegmentError;
use crate::filter::{gaussian, laplacian};
use crate::peaks::{find_peaks, seed_image};
use crate::threshold::percentile;
use crate::watershed::{WatershedParams, watershed};

/// Splits regions by a watershed on the mean of two maps: the Laplacian of Gaussian of the image at the size of nuclei
/// (bright blobs) and the distance to the outline (round shapes), each scaled to about 1 inside a nucleus.
///
/// **Shapes** `image: [h, w]`, `mask: [h, w]` -> labels `[h, w]`.
///
/// # Errors
/// - [`SegmentError::ShapeMismatch`]: the two differ in shape.
pub fn split_by_blobs(
    image: ArrayView2<'_, f64>,
    mask: ArrayView2<'_, bool>,
    method: &Local,
) -> Result<Array2<u32>, SegmentError> {
    crate::error::check_shape("mask", image.shape(), mask.shape())?;
    let blobs = laplacian(gaussian(image, method.log_blur()).view());
    let depth = gaussian(distance_transform(mask).view(), method.distance_blur());
    let strongest = strongest(&blobs, mask);
    let weight = method.log_weight();
    let radius = method.params().diameter / 2.0;
    let surface = Zip::from(&blobs)
        .and(&depth)
        .map_collect(|b, d| -weight * b / strongest - (1.0 - weight) * d / radius);
    let inside = mask.mapv(u32::from);
    let peaks = find_peaks(
        surface.mapv(|v| -v).view(),
        inside.view(),
        method.seed_distance(),
    );
    let seeds = seed_image(&peaks, mask.dim());
    watershed(
        surface.view(),
        seeds.view(),
        mask,
        WatershedParams {
            compactness: 0.0,
            line: false,
        },
    )
}

/// What a strong blob of this image measures: the 95th percentile inside the mask.
fn strongest(blobs: &Array2<f64>, mask: ArrayView2<'_, bool>) -> f64 {
    let inside: Array1<f64> = blobs
        .iter()
        .zip(mask)
        .filter(|(_, inside)| **inside)
        .map(|(&v, _)| v)
        .collect();
    percentile(inside.insert_axis(Axis(0)).view(), 95.0).max(1e-9)
}

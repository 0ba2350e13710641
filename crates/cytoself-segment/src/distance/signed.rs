//! The signed distance to the outline of the nuclei.

use ndarray::{Array2, ArrayView2};

use super::euclidean::distances;
use super::rows::Sides;

/// Signed Euclidean distance of every pixel to the boundary of the labelled regions: positive inside, negative outside.
///
/// Inside a region it is the distance to the nearest background pixel, outside minus the distance to the nearest
/// labelled pixel, so it is never 0 and steps from 1 to -1 across an outline. Labels that touch each other without
/// a line count as one region. Where there is no label (or nothing else) the distance is the image's diagonal.
/// cytoself stores it in pixels and multiplies it by 0.01 when it loads a crop.
///
/// **Shapes** `labels: [h, w]` -> `[h, w]`. **Units** pixels.
///
/// # References
/// - Kobayashi et al. 2022, Methods, "Image preprocessing", doi:10.1038/s41592-022-01541-z
///
/// # Example
/// ```
/// use cytoself_segment::signed_distance;
/// use ndarray::array;
///
/// let labels = array![[0, 0, 1, 1, 1, 0]];
/// assert_eq!(signed_distance(labels.view()), array![[-2.0, -1.0, 1.0, 2.0, 1.0, -1.0]]);
/// ```
#[must_use]
pub fn signed_distance(labels: ArrayView2<'_, u32>) -> Array2<f32> {
    let mut out = Array2::zeros(labels.dim());
    let inside = labels.mapv(|l| l > 0);
    distances(inside.view(), Sides::Both, &mut out, |inside, distance| {
        (if inside { distance } else { -distance }) as f32
    });
    out
}

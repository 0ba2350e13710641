//! Which of two segmentations looks more like nuclei.

use ndarray::ArrayView2;

use super::Method;
use crate::label::regions;
use crate::quality::solidity;
use crate::steps::SegmentationSteps;

/// How much the regions of a label image look like nuclei, 0..1: the mean share of its convex hull that a region fills,
/// weighted by area.
///
/// Nuclei are convex; merged nuclei, ragged outlines and cut ones are not. An image without regions has 0.
///
/// **Shapes** `labels: [h, w]`.
#[must_use]
pub fn plausibility(labels: ArrayView2<'_, u32>) -> f64 {
    let found = regions(labels);
    let area: f64 = found.iter().map(|r| r.area as f64).sum();
    let convex: f64 = found
        .iter()
        .map(|r| r.area as f64 * solidity(labels, r))
        .sum();
    if area > 0.0 { convex / area } else { 0.0 }
}

/// The more plausible result; the published chain on a tie.
pub(super) fn choose(
    _image: ArrayView2<'_, f32>,
    _diameter: f64,
    opencell: SegmentationSteps,
    local: SegmentationSteps,
) -> (Method, SegmentationSteps) {
    if plausibility(local.watershed.view()) > plausibility(opencell.watershed.view()) {
        (Method::Local, local)
    } else {
        (Method::OpenCell, opencell)
    }
}

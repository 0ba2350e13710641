//! Which of two segmentations looks more like nuclei.

use ndarray::{Array2, ArrayView2};

use super::Method;
use crate::error::{SegmentError, check_shape};
use crate::filter::gaussian;
use crate::label::regions;
use crate::quality::solidity;
use crate::steps::SegmentationSteps;

/// Blur before gradients are taken, pixels.
const BLUR: f64 = 1.0;
/// Exponent of the sharpness; fixed on the even-numbered images of a public collection, see docs/benchmarks/segment.md.
const SHARPNESS_WEIGHT: f64 = 0.05;

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

/// How sharply the image falls at the outlines: the mean gradient along them over the difference between the mean inside
/// and the mean outside, per pixel.
///
/// Outlines that run beside the true ones, and lines cut through nuclei, have less. Not above 0 where the regions are not
/// brighter than the rest.
///
/// **Shapes** `image: [h, w]`, `labels: [h, w]`.
///
/// # Errors
/// - [`SegmentError::ShapeMismatch`]: the two differ in shape.
///
/// # Example
/// ```
/// use cytoself_segment::outline_sharpness;
/// use ndarray::Array2;
///
/// let disk = |radius: f32| Array2::from_shape_fn((60, 60), |(y, x)| u32::from((y as f32 - 30.0).hypot(x as f32 - 30.0) <= radius));
/// let image = disk(15.0).mapv(|l| 10.0 + 90.0 * l as f32);
/// let [right, wide] = [15.0, 20.0].map(|r| outline_sharpness(image.view(), disk(r).view()).unwrap());
/// assert!(right > 0.2 && wide < 0.1);
/// ```
pub fn outline_sharpness(
    image: ArrayView2<'_, f32>,
    labels: ArrayView2<'_, u32>,
) -> Result<f64, SegmentError> {
    check_shape("labels", image.shape(), labels.shape())?;
    let smooth = gaussian(image.mapv(f64::from).view(), BLUR);
    let (h, w) = image.dim();
    let (mut gradient, mut outline) = (0.0, 0_u64);
    let (mut sums, mut counts) = ([0.0; 2], [0_u64; 2]);
    for ((y, x), &label) in labels.indexed_iter() {
        let inside = usize::from(label > 0);
        sums[inside] += f64::from(image[[y, x]]);
        counts[inside] += 1;
        let (down, right) = ((y + 1).min(h - 1), (x + 1).min(w - 1));
        // One pixel per place where labels meet; of the two at the far side of a nucleus, the outer one.
        if label > 0 && (labels[[down, x]] != label || labels[[y, right]] != label) {
            gradient += slope(&smooth, y, x);
            outline += 1;
        }
    }
    let mean = |i: usize| sums[i] / counts[i].max(1) as f64;
    let contrast = mean(1) - mean(0);
    Ok(if contrast > 0.0 && outline > 0 {
        gradient / outline as f64 / contrast
    } else {
        0.0
    })
}

/// Length of the gradient by central differences.
fn slope(image: &Array2<f64>, y: usize, x: usize) -> f64 {
    let (h, w) = image.dim();
    let (up, down) = (y.saturating_sub(1), (y + 1).min(h - 1));
    let (left, right) = (x.saturating_sub(1), (x + 1).min(w - 1));
    let dy = image[[down, x]] - image[[up, x]];
    let dx = image[[y, right]] - image[[y, left]];
    dy.hypot(dx) / 2.0
}

/// The result whose regions are more convex and whose outlines are sharper; the published chain on a tie.
pub(super) fn choose(
    image: ArrayView2<'_, f32>,
    opencell: SegmentationSteps,
    local: SegmentationSteps,
) -> Result<(Method, SegmentationSteps), SegmentError> {
    let score = |steps: &SegmentationSteps| {
        let labels = steps.watershed.view();
        let sharpness = outline_sharpness(image, labels)?;
        Ok::<_, SegmentError>(plausibility(labels) * sharpness.powf(SHARPNESS_WEIGHT))
    };
    if score(&local)? > score(&opencell)? {
        Ok((Method::Local, local))
    } else {
        Ok((Method::OpenCell, opencell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_regions_or_contrast() {
        let image = Array2::from_elem((4, 5), 3.0f32);
        let none = Array2::<u32>::zeros((4, 5));
        let sharpness = |labels: &Array2<u32>| outline_sharpness(image.view(), labels.view());
        assert_eq!(sharpness(&none).unwrap(), 0.0);
        assert_eq!(sharpness(&Array2::ones((4, 5))).unwrap(), 0.0);
        assert_eq!(plausibility(none.view()), 0.0);
        assert!(sharpness(&Array2::zeros((2, 2))).is_err());
    }
}

//! The size of nuclei, guessed from the image.

use ndarray::{Array2, ArrayView2, s};

use crate::distance::distance_transform;
use crate::error::{SegmentError, check_image};
use crate::filter::gaussian;
use crate::label::{Connectivity, label_components};
use crate::mask::fill_holes;
use crate::peaks::find_peaks;
use crate::threshold::li_threshold;

/// Images whose shorter side exceeds this are halved first.
const LARGE: usize = 700;
/// Range of the estimate, in pixels.
const RANGE: (f64, f64) = (6.0, 200.0);
/// The blurred distance at the middle of a nucleus, doubled, falls short of its diameter by this factor.
const SHORTFALL: f64 = 1.15;
/// Peaks of the distance map below this are noise.
const LOWEST_PEAK: f64 = 1.5;

/// Estimates the typical diameter of the nuclei in a field without being told anything.
///
/// A Li mask of the lightly blurred image gives a distance map; its peaks are the radii of nuclei. The median of the
/// peaks, each weighted by its height (so that specks do not vote nuclei down), gives a first diameter, which sets
/// blur and peak distance of a second pass.
///
/// **Shapes** `image: [h, w]`. **Units** pixels; between 6 and 200.
///
/// # Errors
/// - [`SegmentError::EmptyImage`], [`SegmentError::NotFinite`]: see there.
///
/// # Example
/// ```
/// use cytoself_segment::estimate_diameter;
/// use ndarray::Array2;
///
/// let disks = Array2::from_shape_fn((200, 200), |(y, x)| {
///     let (dy, dx) = ((y % 50) as f32 - 25.0, (x % 50) as f32 - 25.0);
///     if dy * dy + dx * dx <= 15.0 * 15.0 { 100.0 } else { 1.0 }
/// });
/// let diameter = estimate_diameter(disks.view())?;
/// assert!((diameter - 30.0).abs() < 6.0);
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
pub fn estimate_diameter(image: ArrayView2<'_, f32>) -> Result<f64, SegmentError> {
    check_image(image)?;
    let mut image = image.mapv(f64::from);
    let mut factor = 1.0;
    if image.nrows().min(image.ncols()) > LARGE {
        image = halve(&image);
        factor = 2.0;
    }
    let first = pass(&image, 1.5, 4);
    let second = pass(
        &image,
        (first / 20.0).max(1.0),
        ((first / 4.0) as usize).max(2),
    );
    Ok((second * factor).clamp(RANGE.0, RANGE.1))
}

fn pass(image: &Array2<f64>, sigma: f64, min_distance: usize) -> f64 {
    let blurred = gaussian(image.view(), sigma);
    let threshold = li_threshold(blurred.view());
    let mask = fill_holes(blurred.mapv(|v| v > threshold).view());
    let distance = gaussian(distance_transform(mask.view()).view(), 1.0);
    let regions = label_components(mask.view(), Connectivity::Eight);
    let peaks = find_peaks(distance.view(), regions.image().view(), min_distance);
    let radii: Vec<f64> = peaks.iter().map(|p| p.value).collect();
    2.0 * SHORTFALL * weighted_median(radii)
}

/// Median of the values, each weighted by itself; values below the noise are left out if others remain.
fn weighted_median(mut values: Vec<f64>) -> f64 {
    if values.iter().any(|&v| v >= LOWEST_PEAK) {
        values.retain(|&v| v >= LOWEST_PEAK);
    }
    values.sort_by(f64::total_cmp);
    let half = values.iter().sum::<f64>() / 2.0;
    let mut sum = 0.0;
    let middle = values.iter().find(|&&v| {
        sum += v;
        sum >= half
    });
    // No peak at all: an arbitrary small radius, as good as any other for an image without nuclei.
    middle.copied().unwrap_or(5.0)
}

fn halve(image: &Array2<f64>) -> Array2<f64> {
    let (h, w) = (image.nrows() / 2, image.ncols() / 2);
    let part = |y: usize, x: usize| image.slice(s![y..2 * h; 2, x..2 * w; 2]);
    (&part(0, 0) + &part(0, 1) + part(1, 0) + part(1, 1)) / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_empty_fields() {
        let dark = Array2::zeros((20, 20));
        assert_eq!(estimate_diameter(dark.view()).unwrap(), 11.5);
        let disks = Array2::from_shape_fn((800, 800), |(y, x)| {
            let (dy, dx) = ((y % 160) as f32 - 80.0, (x % 160) as f32 - 80.0);
            if dy * dy + dx * dx <= 40.0 * 40.0 {
                100.0
            } else {
                1.0
            }
        });
        // The value of the scikit-image comparator for this image.
        let found = estimate_diameter(disks.view()).unwrap();
        assert!((found - 96.4153).abs() < 1e-3, "{found}");
        assert!(matches!(
            estimate_diameter(Array2::zeros((0, 5)).view()),
            Err(SegmentError::EmptyImage { .. })
        ));
    }

    #[test]
    fn heavy_values_decide() {
        assert_eq!(weighted_median(vec![1.0, 2.0, 2.0, 10.0]), 10.0);
        assert_eq!(weighted_median(vec![1.0, 1.2]), 1.2);
        assert_eq!(weighted_median(vec![]), 5.0);
    }
}

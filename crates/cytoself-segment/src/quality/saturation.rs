//! Clipped intensities.

use ndarray::ArrayView2;

/// The value at which an image is clipped, or `None` when its brightest value is not a pile-up.
///
/// An image counts as clipped when its maximum is shared by at least 10 pixels and by more than twice as many as the
/// 1/64 of its range below has.
///
/// **Shapes** `image: [h, w]`, before any averaging.
///
/// # Example
/// ```
/// use cytoself_segment::saturation_level;
/// use ndarray::Array2;
///
/// let ramp = Array2::from_shape_fn((64, 64), |(y, x)| (y + x) as f32);
/// assert_eq!(saturation_level(ramp.view()), None);
/// assert_eq!(saturation_level(ramp.mapv(|v| v.min(90.0)).view()), Some(90.0));
/// ```
#[must_use]
pub fn saturation_level(image: ArrayView2<'_, f32>) -> Option<f32> {
    let range = crate::normalize::IntensityRange::of(image);
    if range.low >= range.high {
        return None;
    }
    let below = range.high - (range.high - range.low) / 64.0;
    let at_top = image.iter().filter(|&&v| v == range.high).count();
    let near_top = image
        .iter()
        .filter(|&&v| v >= below && v < range.high)
        .count();
    (at_top >= 10 && at_top > 2 * near_top).then_some(range.high)
}

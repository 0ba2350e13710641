//! Scaling of intensities to 0..1.

use ndarray::{ArrayView2, ArrayViewMut2};

/// Over which pixels the darkest and the brightest value are taken; the paper does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalization {
    /// Each crop by itself (the default): expression level is lost, pattern is kept.
    #[default]
    Crop,
    /// The whole field of view: cells of a field keep their relative level.
    Fov,
}

/// The lowest and the highest value of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntensityRange {
    /// Lowest value.
    pub low: f32,
    /// Highest value.
    pub high: f32,
}

impl IntensityRange {
    /// The range of an image; NaN is passed over, an empty image has the range 0..0.
    #[must_use]
    pub fn of(image: ArrayView2<'_, f32>) -> Self {
        let start = (f32::INFINITY, f32::NEG_INFINITY);
        let (low, high) = image
            .iter()
            .fold(start, |(low, high), &v| (v.min(low), v.max(high)));
        if low <= high {
            Self { low, high }
        } else {
            Self {
                low: 0.0,
                high: 0.0,
            }
        }
    }

    /// Maps the range to 0..1; values outside are clamped, and an image without contrast becomes 0.
    ///
    /// # Example
    /// ```
    /// use cytoself_segment::IntensityRange;
    /// use ndarray::array;
    ///
    /// let mut crop = array![[100.0, 150.0, 300.0]];
    /// IntensityRange::of(crop.view()).apply(crop.view_mut());
    /// assert_eq!(crop, array![[0.0, 0.25, 1.0]]);
    /// ```
    pub fn apply(&self, mut image: ArrayViewMut2<'_, f32>) {
        let Self { low, high } = *self;
        if low < high {
            image.mapv_inplace(|v| ((v - low) / (high - low)).clamp(0.0, 1.0));
        } else {
            image.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn flat_and_empty_images() {
        let mut flat = Array2::from_elem((2, 2), 7.0);
        IntensityRange::of(flat.view()).apply(flat.view_mut());
        assert_eq!(flat, Array2::zeros((2, 2)));
        assert_eq!(
            IntensityRange::of(Array2::zeros((0, 3)).view()),
            IntensityRange {
                low: 0.0,
                high: 0.0
            }
        );
    }

    #[test]
    fn the_range_of_a_field_keeps_levels_apart() {
        let field = IntensityRange {
            low: 0.0,
            high: 10.0,
        };
        let mut crop = array![[5.0, 20.0]];
        field.apply(crop.view_mut());
        assert_eq!(crop, array![[0.5, 1.0]]);
    }
}

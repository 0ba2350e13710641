//! What can be wrong with an image or a parameter.

use thiserror::Error;

/// Why an image could not be processed.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// An axis of the image has length zero.
    #[error("image is empty: {height} x {width} px, expected at least 1 x 1")]
    EmptyImage {
        /// Rows found.
        height: usize,
        /// Columns found.
        width: usize,
    },
    /// A pixel is NaN or infinite.
    #[error(
        "pixel (row {row}, column {column}) is {value}, expected finite values; repair or mask the image first"
    )]
    NotFinite {
        /// Row of the first such pixel.
        row: usize,
        /// Column of the first such pixel.
        column: usize,
        /// Its value.
        value: f64,
    },
    /// Two arrays that belong together differ in shape.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    ShapeMismatch {
        /// Which argument.
        what: &'static str,
        /// Shape that was expected.
        expected: Vec<usize>,
        /// Shape that was found.
        found: Vec<usize>,
    },
    /// A parameter is outside its range.
    #[error("{name} = {value}, expected {expected}")]
    BadParameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values that are allowed.
        expected: &'static str,
    },
}

/// Fails unless both axes have pixels and every pixel is finite.
pub(crate) fn check_image(image: ndarray::ArrayView2<'_, f32>) -> Result<(), SegmentError> {
    let (height, width) = image.dim();
    if height == 0 || width == 0 {
        return Err(SegmentError::EmptyImage { height, width });
    }
    // Without a branch per pixel; the place of a fault is looked for only when there is one.
    if image.fold(true, |fine, v| fine & v.is_finite()) {
        return Ok(());
    }
    match image.indexed_iter().find(|(_, v)| !v.is_finite()) {
        Some(((row, column), &value)) => Err(SegmentError::NotFinite {
            row,
            column,
            value: f64::from(value),
        }),
        None => Ok(()),
    }
}

/// Fails unless `found` equals `expected`.
pub(crate) fn check_shape(
    what: &'static str,
    expected: &[usize],
    found: &[usize],
) -> Result<(), SegmentError> {
    if expected == found {
        return Ok(());
    }
    Err(SegmentError::ShapeMismatch {
        what,
        expected: expected.to_vec(),
        found: found.to_vec(),
    })
}

//! One call for all methods, and the choice between them.

mod choice;
mod params;

pub use choice::{outline_sharpness, plausibility};
pub use params::{Method, SegmentParams};

use ndarray::{Array2, ArrayView2};

use crate::diameter::estimate_diameter;
use crate::error::SegmentError;
use crate::local::LocalParams;
use crate::opencell::OpenCellParams;
use crate::steps::SegmentationSteps;

/// Nuclei of a field and how they were found.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Labels 1, 2, ..., 0 for background.
    pub labels: Array2<u32>,
    /// The method that found them; never [`Method::Auto`].
    pub method: Method,
    /// Diameter of nuclei that was given or estimated, in pixels.
    pub diameter: f64,
    /// The intermediate images of that method.
    pub steps: SegmentationSteps,
}

/// Finds the nuclei of a field.
///
/// Without a diameter it is estimated from the image ([`estimate_diameter`]). [`Method::Auto`] runs both methods and
/// takes the result whose regions look more like nuclei ([`plausibility`], and a little [`outline_sharpness`]).
///
/// **Shapes** `image: [h, w]` (DNA stain, any scale of intensity) -> labels `[h, w]`.
///
/// # Errors
/// - [`SegmentError::EmptyImage`], [`SegmentError::NotFinite`]: the image is empty or has such a pixel;
/// - [`SegmentError::BadParameter`]: the diameter is outside 1.2..=3000 px.
///
/// # Example
/// ```
/// use cytoself_segment::{SegmentParams, segment};
/// use ndarray::Array2;
///
/// let field = Array2::from_shape_fn((120, 120), |(y, x)| {
///     let (dy, dx) = ((y % 60) as f32 - 30.0, (x % 60) as f32 - 30.0);
///     200.0 / (1.0 + ((dy * dy + dx * dx).sqrt() - 14.0).exp()) + 10.0
/// });
/// let found = segment(field.view(), &SegmentParams::default())?;
/// assert_eq!(found.labels.iter().max(), Some(&4));
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
pub fn segment(
    image: ArrayView2<'_, f32>,
    params: &SegmentParams,
) -> Result<Segmentation, SegmentError> {
    let diameter = match params.diameter {
        Some(diameter) => diameter,
        None => estimate_diameter(image)?,
    };
    let opencell = || {
        OpenCellParams::default()
            .diameter(diameter)
            .check()?
            .steps(image)
    };
    let local = || {
        LocalParams::default()
            .diameter(diameter)
            .check()?
            .steps(image)
    };
    let (method, steps) = match params.method {
        Method::OpenCell => (Method::OpenCell, opencell()?),
        Method::Local => (Method::Local, local()?),
        Method::Auto => {
            let (opencell, local) = rayon::join(opencell, local);
            choice::choose(image, opencell?, local?)?
        }
    };
    Ok(Segmentation {
        labels: steps.labels(params.keep_edges),
        method,
        diameter,
        steps,
    })
}

//! The nucleus segmentation of OpenCell, step by step.

mod foreground;
mod params;
mod refine;
mod split;

pub use foreground::background_mask;
pub use params::{OpenCell, OpenCellParams};
pub use refine::{clean_mask, refine_mask};
pub use split::split_nuclei;

use ndarray::{Array2, ArrayView2};

use crate::error::{SegmentError, check_image};
use crate::steps::SegmentationSteps;

impl OpenCell {
    /// Nuclei of a field: labels 1, 2, ... row by row of their seeds, 0 for background.
    ///
    /// **Shapes** `image: [h, w]` (DNA stain, any scale of intensity) -> labels `[h, w]`.
    ///
    /// # Errors
    /// - [`SegmentError::EmptyImage`]: an axis has length zero;
    /// - [`SegmentError::NotFinite`]: a pixel is NaN or infinite.
    pub fn segment(&self, image: ArrayView2<'_, f32>) -> Result<Array2<u32>, SegmentError> {
        Ok(self.steps(image)?.labels(self.params().keep_edges))
    }

    /// As [`OpenCell::segment`], with every intermediate mask.
    ///
    /// # Errors
    /// As [`OpenCell::segment`].
    pub fn steps(&self, image: ArrayView2<'_, f32>) -> Result<SegmentationSteps, SegmentError> {
        check_image(image)?;
        let image = image.mapv(f64::from);
        let (background, threshold) = background_mask(image.view(), self);
        let refined = refine_mask(image.view(), background.view(), self);
        let cleaned = clean_mask(refined.view(), self);
        let watershed = split_nuclei(cleaned.view(), self)?;
        Ok(SegmentationSteps {
            threshold,
            background,
            refined,
            cleaned,
            watershed,
        })
    }
}

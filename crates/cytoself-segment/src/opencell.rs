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
use crate::label::{relabel, remove_edge_labels};

/// What the chain made of an image, stage by stage.
#[derive(Debug, Clone)]
pub struct OpenCellSteps {
    /// Li threshold of the blurred image, in units of the image.
    pub threshold: f64,
    /// Blurred image above the threshold, eroded by one pixel.
    pub background: Array2<bool>,
    /// Outlines refined by the Laplacian of Gaussian.
    pub refined: Array2<bool>,
    /// Without small regions.
    pub cleaned: Array2<bool>,
    /// Touching nuclei split; regions at the edge of the image still present.
    pub watershed: Array2<u32>,
}

impl OpenCell {
    /// Nuclei of a field: labels 1, 2, ... row by row of their seeds, 0 for background.
    ///
    /// **Shapes** `image: [h, w]` (DNA stain, any scale of intensity) -> labels `[h, w]`.
    ///
    /// # Errors
    /// - [`SegmentError::EmptyImage`]: an axis has length zero;
    /// - [`SegmentError::NotFinite`]: a pixel is NaN or infinite.
    pub fn segment(&self, image: ArrayView2<'_, f32>) -> Result<Array2<u32>, SegmentError> {
        Ok(self.finish(&self.steps(image)?))
    }

    /// As [`OpenCell::segment`], with every intermediate mask.
    ///
    /// # Errors
    /// As [`OpenCell::segment`].
    pub fn steps(&self, image: ArrayView2<'_, f32>) -> Result<OpenCellSteps, SegmentError> {
        check_image(image)?;
        let image = image.mapv(f64::from);
        let (background, threshold) = background_mask(image.view(), self);
        let refined = refine_mask(image.view(), background.view(), self);
        let cleaned = clean_mask(refined.view(), self);
        let watershed = split_nuclei(cleaned.view(), self)?;
        Ok(OpenCellSteps {
            threshold,
            background,
            refined,
            cleaned,
            watershed,
        })
    }

    /// The final labels of a run of [`OpenCell::steps`].
    #[must_use]
    pub fn finish(&self, steps: &OpenCellSteps) -> Array2<u32> {
        if self.params().keep_edges {
            return relabel(steps.watershed.view()).0;
        }
        relabel(remove_edge_labels(steps.watershed.view()).view()).0
    }
}

//! Segmentation with a local threshold and seeds from the Laplacian of Gaussian.

mod foreground;
mod params;
mod split;

pub use foreground::local_foreground;
pub use params::{Local, LocalParams};
pub use split::split_by_blobs;

use ndarray::{Array2, ArrayView2};

use crate::error::{SegmentError, check_image};
use crate::label::{Connectivity, label_components};
use crate::mask::fill_small_holes;
use crate::steps::SegmentationSteps;

impl Local {
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

    /// As [`Local::segment`], with every intermediate mask.
    ///
    /// # Errors
    /// As [`Local::segment`].
    pub fn steps(&self, image: ArrayView2<'_, f32>) -> Result<SegmentationSteps, SegmentError> {
        check_image(image)?;
        let image = image.mapv(f64::from);
        let (background, threshold) = local_foreground(image.view(), self);
        let refined = fill_small_holes(background.view(), self.hole_area());
        let regions = label_components(refined.view(), Connectivity::Four);
        let areas = regions.areas();
        let cleaned = regions.retain(|l| areas[l as usize] as f64 >= self.nucleus_area());
        let watershed = split_by_blobs(image.view(), cleaned.view(), self)?;
        Ok(SegmentationSteps {
            threshold,
            background,
            refined,
            cleaned,
            watershed,
        })
    }
}

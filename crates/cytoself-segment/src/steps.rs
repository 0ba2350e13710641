//! What a segmentation made of an image, stage by stage.

use ndarray::Array2;

use crate::label::{relabel, remove_edge_labels};

/// The intermediate images of [`crate::OpenCell::steps`] and [`crate::Local::steps`].
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentationSteps {
    /// Li threshold of the blurred image, in units of the image.
    pub threshold: f64,
    /// What is brighter than the background.
    pub background: Array2<bool>,
    /// With refined outlines.
    pub refined: Array2<bool>,
    /// Without small regions.
    pub cleaned: Array2<bool>,
    /// Touching nuclei split; regions at the edge of the image still present.
    pub watershed: Array2<u32>,
}

impl SegmentationSteps {
    /// The final labels 1, 2, ...: those of the watershed, without the regions at the edge unless `keep_edges`.
    #[must_use]
    pub fn labels(&self, keep_edges: bool) -> Array2<u32> {
        if keep_edges {
            return relabel(self.watershed.view()).0;
        }
        relabel(remove_edge_labels(self.watershed.view()).view()).0
    }
}

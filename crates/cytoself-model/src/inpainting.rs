//! Paired cell inpainting: the baseline of the paper's comparison.
//!
//! From one cell with its protein and its markers, and another cell of the same image with its markers only, the network
//! predicts the other cell's protein. What it must carry over from the first cell is where the protein is; the activations of
//! the third to fifth convolution of the first cell's encoder are the features.
//!
//! # References
//! Lu, Kraus, Cooper, Moses: Learning unsupervised feature representations for single cell microscopy images with paired cell
//! inpainting, PLOS Computational Biology 2019, doi:10.1371/journal.pcbi.1007348.

mod config;
mod features;
mod folder;
mod network;
mod pairs;
mod trainer;

pub use config::InpaintingConfig;
pub use features::{FEATURES, InpaintingEmbedder};
pub use folder::InpaintingFolder;
pub use network::InpaintingModel;
pub use trainer::{InpaintingObserver, InpaintingOutcome, InpaintingRow, InpaintingTrainer};

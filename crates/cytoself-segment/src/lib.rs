//! Nucleus segmentation, signed distance and single-cell crops for fluorescence microscopy.
//!
//! Use this crate directly when you have a DNA-stained field as an array and want its nuclei as labels, their signed
//! distance map, or crops around them; nothing here opens a file. It is also the first stage of cytoself: fields in,
//! crops with provenance out.
//!
//! - [`segment`] finds nuclei without being told anything; it chooses between two methods.
//! - [`OpenCellParams`] is the published chain: Li threshold, outlines from the Laplacian of Gaussian, gaps cut out,
//!   compact watershed. Every step of it is a public function of this crate.
//! - [`LocalParams`] is for uneven light and nuclei of very different brightness.
//! - [`estimate_diameter`] guesses the size of nuclei, which sets the scale of the chain.
//! - [`signed_distance`] is the third channel that cytoself reads.
//! - [`crop_windows`], [`project`] and [`IntensityRange`] make normalised crops out of z-stacks.
//! - [`assess_nuclei`] and [`classify_field`] say which nuclei and fields to leave out.
//! - [`Agreement`] compares two label images.
//!
//! Images are `[h, w]` arrays, row by row; lengths are in pixels; label images are `u32` with 0 for background.
//!
//! # Example
//! ```
//! use cytoself_segment::{OpenCellParams, estimate_diameter, regions};
//! use ndarray::Array2;
//!
//! // Nine bright disks of 40 px on a dim field.
//! let field = Array2::from_shape_fn((300, 300), |(y, x)| {
//!     let (dy, dx) = ((y % 100) as f32 - 50.0, (x % 100) as f32 - 50.0);
//!     200.0 / (1.0 + ((dy * dy + dx * dx).sqrt() - 20.0).exp()) + 10.0
//! });
//! let diameter = estimate_diameter(field.view())?;
//! let nuclei = OpenCellParams::default().diameter(diameter).check()?.segment(field.view())?;
//! let found = regions(nuclei.view());
//! assert_eq!(found.len(), 9);
//! assert!((found[4].centroid[0] - 150.0).abs() < 0.5);
//! # Ok::<(), cytoself_segment::SegmentError>(())
//! ```
#![deny(unsafe_code)]

mod agreement;
mod cells;
mod crop;
mod diameter;
mod distance;
mod error;
mod filter;
mod label;
mod local;
mod mask;
mod method;
mod normalize;
mod opencell;
mod peaks;
mod project;
mod quality;
mod stack;
mod steps;
mod threshold;
mod watershed;

pub use agreement::{Agreement, Matches};
pub use cells::{CellParams, Marker, cell_outlines, mask_neighbours};
pub use crop::{CropWindow, crop_windows};
pub use diameter::estimate_diameter;
pub use distance::{distance_transform, signed_distance};
pub use error::SegmentError;
pub use filter::{gaussian, laplacian};
pub use label::{
    BoundingBox, Components, Connectivity, Region, import_labels, keep_labels, label_components,
    regions, relabel, remove_edge_labels, touching_edge,
};
pub use local::{Local, LocalParams, local_foreground, split_by_blobs};
pub use mask::{close_disk, dilate_disk, erode_cross, erode_disk, fill_holes, fill_small_holes};
pub use method::{Method, SegmentParams, Segmentation, outline_sharpness, plausibility, segment};
pub use normalize::{IntensityRange, Normalization};
pub use opencell::{
    OpenCell, OpenCellParams, background_mask, clean_mask, refine_mask, split_nuclei,
};
pub use peaks::{Peak, find_peaks, seed_image};
pub use project::{Intensity, ProjectionOrder, downsample_mean, project, project_max, raise};
pub use quality::{
    FieldClass, FieldParams, NucleusQuality, QualityFlags, QualityLimits, assess_nuclei,
    classify_field, outlier_scores, saturation_level, solidity,
};
pub use stack::{nuclei_in_3d, signed_distance_3d, slices_around};
pub use steps::SegmentationSteps;
pub use threshold::{li_threshold, percentile};
pub use watershed::{WatershedParams, watershed};

//! Label images: `[h, w]` of `u32`, 0 for background, one number per region.

mod components;
mod edge;
mod foreign;
mod region;

pub use components::{Components, Connectivity, label_components};
pub use edge::{keep_labels, relabel, remove_edge_labels, touching_edge};
pub use foreign::import_labels;
pub use region::{BoundingBox, Region, regions};

//! Binary masks: erosion, closing, holes.

mod bit_rows;
mod holes;
mod morphology;

pub use holes::{fill_holes, fill_small_holes};
pub use morphology::{close_disk, dilate_disk, erode_cross, erode_disk};

//! Stacks: nuclei and their distance in three dimensions.

mod distance;
mod nuclei;

pub use distance::signed_distance_3d;
pub use nuclei::{nuclei_in_3d, slices_around};

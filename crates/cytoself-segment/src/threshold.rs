//! Thresholds and order statistics.

mod histogram;
mod li;
mod percentile;

pub use li::li_threshold;
pub use percentile::percentile;

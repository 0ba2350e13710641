//! Training and embedding, as `train`, `embed`, `throughput` and `quickstart` run them.

pub mod device;
pub mod embed;
pub mod held_out;
mod memory;
mod ranks;
mod report;
mod resume;
mod split;
pub mod throughput;
pub mod train;

pub use report::total_seconds;

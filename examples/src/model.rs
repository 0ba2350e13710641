//! Training and embedding, as `train`, `embed`, `throughput` and `quickstart` run them.

pub mod embed;
mod report;
mod split;
pub mod throughput;
pub mod train;

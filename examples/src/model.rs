//! Training and embedding, as `train`, `embed` and `quickstart` run them.

pub mod embed;
mod report;
mod split;
pub mod train;

//! The public interface, held to what umap-learn's own tests expect and to what it does not promise.

mod aligned;
mod common;
mod fit;
mod transform;

//! From embeddings to coordinates.

use std::ops::ControlFlow;

use cytoself_io::EmbeddingStore;
use cytoself_umap::UmapParams;
use ndarray::Array2;

use crate::cli::Failure;
use crate::points::Points;

/// Places the given rows of a representation, e.g. `vqvec2`, on a map; returns coordinates and how they were found.
///
/// # Errors
/// - the store has no such representation;
/// - a parameter of the map is out of range;
/// - `progress` breaks.
pub fn place(
    store: &EmbeddingStore,
    representation: &str,
    rows: &[usize],
    params: UmapParams,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(Array2<f32>, String), Failure> {
    let model = Points::read(store, representation, rows)?.map(params, progress)?;
    Ok((model.embedding().to_owned(), model.report().to_string()))
}

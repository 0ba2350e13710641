//! From embeddings to coordinates.

use std::ops::ControlFlow;

use cytoself_io::EmbeddingStore;
use cytoself_umap::{ParamGuard, PointSource, UmapParams};
use ndarray::{Array2, Axis};

use crate::cli::Failure;

/// Places the given rows of a representation, e.g. `vqvec2`, on a map; returns coordinates and how they were found.
///
/// Quantised representations go to UMAP as codes and are never expanded.
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
    let params = params.check()?;
    let model = match coded(store, representation) {
        Some((codes, level)) => {
            let codes = store.indices(&codes)?.select(Axis(0), rows);
            params.fit(
                &PointSource::codes(codes.view(), store.codebook(level)?)?,
                progress,
            )?
        }
        None => {
            let points = store.dense(representation)?.select(Axis(0), rows);
            params.fit(&PointSource::dense(points.view())?, progress)?
        }
    };
    Ok((model.embedding().to_owned(), model.report().to_string()))
}

/// The codes from which the store makes a representation, and their level.
fn coded(store: &EmbeddingStore, representation: &str) -> Option<(String, u32)> {
    let level = representation.strip_prefix("vqvec")?;
    let codes = format!("vqind{level}");
    let stored = store.arrays().any(|name| name == codes);
    Some((codes, level.parse().ok()?)).filter(|_| stored)
}

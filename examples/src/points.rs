//! Rows of a representation, as UMAP takes them.

use std::ops::ControlFlow;

use cytoself_io::EmbeddingStore;
use cytoself_umap::{ParamGuard, PointSource, UmapModel, UmapParams};
use ndarray::{Array2, Axis};

use crate::cli::Failure;

/// Some rows of a representation in memory; quantised vectors stay codes and are never expanded.
pub enum Points {
    /// Codes `[n, p]` and the codebook `[k, d]`.
    Codes(Array2<u16>, Array2<f32>),
    /// Vectors `[n, d]`.
    Dense(Array2<f32>),
}

impl Points {
    /// Reads `rows` of a representation, e.g. `vqvec2`.
    ///
    /// # Errors
    /// - the store has no such representation.
    pub fn read(
        store: &EmbeddingStore,
        representation: &str,
        rows: &[usize],
    ) -> Result<Self, Failure> {
        Ok(match coded(store, representation) {
            Some((codes, level)) => Self::Codes(
                store.indices(&codes)?.select(Axis(0), rows),
                store.codebook(level)?.to_owned(),
            ),
            None => Self::Dense(store.dense(representation)?.select(Axis(0), rows)),
        })
    }

    /// The points for UMAP.
    ///
    /// # Errors
    /// - there are none, or a value is not finite.
    pub fn source(&self) -> Result<PointSource<'_>, Failure> {
        Ok(match self {
            Self::Codes(codes, codebook) => PointSource::codes(codes.view(), codebook.view())?,
            Self::Dense(points) => PointSource::dense(points.view())?,
        })
    }

    /// A map of the points.
    ///
    /// # Errors
    /// - a parameter is out of range;
    /// - `progress` breaks.
    pub fn map(
        &self,
        params: UmapParams,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<UmapModel, Failure> {
        Ok(params.check()?.fit(&self.source()?, progress)?)
    }
}

/// The codes from which the store makes a representation, and their level.
fn coded(store: &EmbeddingStore, representation: &str) -> Option<(String, u32)> {
    let level = representation.strip_prefix("vqvec")?;
    let codes = format!("vqind{level}");
    let stored = store.arrays().any(|name| name == codes);
    Some((codes, level.parse().ok()?)).filter(|_| stored)
}

//! UMAP and AlignedUMAP: seeded and parallel at once, the same bits at any thread count.
//!
//! Use this crate directly when you want a two-dimensional map of many points, from Rust, reproducibly. It stands alone:
//! arrays in, arrays out; it opens no file, prints nothing and uses rayon's current pool.
//!
//! The way of a fit: [`PointSource`] (dense rows, code indices with a codebook, or distances) -> neighbours ([`Knn`], with
//! a measured [`Recall`]) -> [`FuzzyGraph`] -> [`Init`] -> layout -> [`UmapModel`].
//!
//! # Example
//! ```
//! use cytoself_umap::{ParamGuard, PointSource, UmapParams, silent};
//! use ndarray::Array2;
//!
//! let points = Array2::from_shape_fn((100, 4), |(i, j)| ((i * (j + 1)) as f32 * 0.1).sin());
//! let fit = || UmapParams::default().seed(7).check()?.fit(&PointSource::dense(points.view())?, &mut silent());
//! // The same seed gives the same bits.
//! assert_eq!(fit()?.embedding(), fit()?.embedding());
//! # Ok::<(), cytoself_umap::UmapError>(())
//! ```
#![deny(missing_docs)]
// The descent search, transform and AlignedUMAP, which use the rest, follow.
#![allow(dead_code, unused_imports)]

mod curve;
mod error;
mod fuzzy;
mod hash;
mod init;
mod knn;
mod layout;
mod linalg;
mod math;
mod metric;
mod model;
mod params;
mod progress;
mod rng;
mod source;

pub use curve::Curve;
pub use error::UmapError;
pub use fuzzy::FuzzyGraph;
pub use init::{Init, InitReport};
pub use knn::{Knn, KnnMethod, Recall};
pub use metric::Metric;
pub use model::{FitReport, KnnReport, UmapModel};
pub use params::{ParamGuard, UmapParams, ValidUmapParams};
pub use progress::{Progress, silent};
pub use source::{CodePoints, DensePoints, PointSource, Precomputed};

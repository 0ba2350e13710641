//! UMAP and AlignedUMAP: seeded and parallel at once, the same bits at any thread count.
//!
//! Use this crate directly when you want a two-dimensional map of many points, from Rust, reproducibly. It stands alone:
//! arrays in, arrays out; it opens no file, prints nothing and uses rayon's current pool.
//!
//! The way of a fit: [`PointSource`] (dense rows, code indices with a codebook, or distances) -> neighbours ([`Knn`], with
//! a measured [`Recall`]) -> [`FuzzyGraph`] -> [`Init`] -> layout -> [`UmapModel`].
//!
//! `docs/umap.md` in the repository says where it differs from umap-learn, and why.
//!
//! # Example
//! ```
//! use std::ops::ControlFlow;
//!
//! use cytoself_umap::{KnnMethod, Metric, ParamGuard, PointSource, Target, UmapModel, UmapParams, silent};
//! use ndarray::{Array2, s};
//!
//! fn main() -> Result<(), cytoself_umap::UmapError> {
//!     // 120 points on three arcs in five dimensions.
//!     let points = Array2::from_shape_fn((120, 5), |(i, j)| {
//!         let (arc, t) = (i % 3, (i / 3) as f32 * 0.05);
//!         (t * (j + 1) as f32).sin() + 4.0 * arc as f32
//!     });
//!     // Every tenth point is kept back.
//!     let kept: Vec<usize> = (0..120).filter(|i| i % 10 != 0).collect();
//!     let old = points.select(ndarray::Axis(0), &kept);
//!     let new = points.slice(s![..;10, ..]).to_owned();
//!     let source = PointSource::dense(old.view())?;
//!
//!     // Parameters are checked before anything is computed.
//!     let params = UmapParams::default().n_neighbors(10).min_dist(0.05).metric(Metric::Euclidean).seed(7).check()?;
//!
//!     // The callback sees thousandths of the whole and may stop the fit.
//!     let mut last = 0;
//!     let mut progress = |done: u64, _total: u64| {
//!         last = done;
//!         ControlFlow::Continue(())
//!     };
//!     let model = params.fit(&source, &mut progress)?;
//!     assert_eq!((last, model.embedding().dim()), (1000, (108, 2)));
//!
//!     // What was done is part of the result.
//!     let report = model.report();
//!     assert_eq!(report.knn.method, Some(KnnMethod::Exact));
//!     assert_eq!((report.init.used, report.init.components, report.isolated), ("spectral", 3, 0));
//!
//!     // The same seed gives the same bits, on any number of threads.
//!     assert_eq!(params.fit(&source, &mut silent())?.embedding(), model.embedding());
//!
//!     // Any search can be asked for; what is approximate is measured.
//!     let quick = UmapParams::default().knn(KnnMethod::Descent).check()?.fit(&source, &mut silent())?;
//!     let recall = quick.report().knn.recall.expect("a search was made");
//!     assert!(recall.value > 0.95);
//!
//!     // New points go onto the map, which stays as it is.
//!     let placed = model.transform(&source, &PointSource::dense(new.view())?, &mut silent())?;
//!     assert_eq!(placed.dim(), (12, 2));
//!
//!     // A stored model, with its points, places to the bit as this one.
//!     let mut file = Vec::new();
//!     model.save(&mut file, Some(&source))?;
//!     let (stored, its_points) = UmapModel::load(&mut file.as_slice())?;
//!     let its_points = its_points.expect("the points were stored");
//!     let again = stored.transform(&its_points, &PointSource::dense(new.view())?, &mut silent())?;
//!     assert_eq!(again, placed);
//!
//!     // Known classes pull the map along; unknown ones are `None`.
//!     let classes = Target::Classes(kept.iter().map(|i| (i % 2 == 0).then_some((i % 3) as u32)).collect());
//!     let supervised = params.fit_supervised(&source, &classes, &mut silent())?;
//!     assert_eq!(supervised.embedding().nrows(), 108);
//!     Ok(())
//! }
//! ```
#![deny(missing_docs)]

mod aligned;
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
mod simd;
mod source;
mod supervised;

pub use aligned::{AlignedParams, Relation, ValidAlignedParams};
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
pub use supervised::Target;

//! Feature spectra: what a codebook says about a protein.
//!
//! Every crop is quantised into code indices. Counting them gives a histogram per crop; the mean over the crops of a
//! protein is the protein's raw spectrum. Codes that rise and fall together over the proteins are related, so the
//! codes are ordered by a hierarchical clustering of their Pearson correlations, and a *feature spectrum* is a
//! histogram read in that order.
//!
//! | step | item |
//! |---|---|
//! | code indices to histograms, streamed | [`code_histograms`], [`HistogramAccumulator`] |
//! | Pearson correlation of codes over proteins | [`pearson_columns`] |
//! | Euclidean distances of the rows of that matrix | [`euclidean_distances`] |
//! | average linkage, SciPy layout | [`linkage`], [`Linkage`] |
//! | order of the leaves, plain or optimal | [`Linkage::leaves`], [`optimal_leaf_order`] |
//! | cut into eleven feature clusters | [`Linkage::cut`] |
//! | all of these at once | [`Biclustering`] |
//! | spectra, consensus of families, correlation of one protein with every family | [`FeatureSpectra`] |
//! | spread of single cells within a protein | [`dispersion`] |
//! | representative crops of a feature cluster | [`cluster_shares`], [`representatives`] |
//!
//! Use this crate directly when the arrays are at hand; the binaries `spectrum` and `biclust` join it with the stores
//! of `cytoself-io`. It opens no file and prints nothing.
//!
//! # References
//! Kobayashi, Cheveralls, Leonetti & Royer, "Self-supervised deep learning encodes high-resolution features of
//! protein subcellular localization", Nature Methods 2022, doi:10.1038/s41592-022-01541-z, Methods, "Feature spectrum".

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod biclustering;
mod correlation;
mod cut;
mod dispersion;
mod distance;
mod error;
mod histogram;
mod linkage;
mod optimal_order;
mod panels;
mod representative;
mod spectra;
mod wide;

pub use biclustering::{Biclustering, BiclusteringParams, LeafOrdering, ValidBiclusteringParams};
pub use correlation::{Correlation, pearson, pearson_columns};
pub use dispersion::{Dispersion, dispersion};
pub use distance::{CondensedDistances, euclidean_distances};
pub use error::SpectrumError;
pub use histogram::{HistogramAccumulator, code_histograms};
pub use linkage::{Linkage, Merge, Method, linkage};
pub use optimal_order::optimal_leaf_order;
pub use representative::{cluster_shares, representatives};
pub use spectra::{FamilyCorrelation, FeatureSpectra};

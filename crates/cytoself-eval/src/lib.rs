//! How good an embedding of protein images is: clustering scores, retrieval, classification, agreement, and how sure one can be.
//!
//! | question | item |
//! |---|---|
//! | are classes compact and apart? (the paper's score) | [`clustering_score`] |
//! | the same, by the textbook | [`silhouette_samples`] |
//! | is an image among images of its own class? | [`nearest_neighbours`], [`classify`] |
//! | can a straight line tell the classes apart? | [`linear_probe`] |
//! | which clusters are there, and do they agree with annotations? | [`leiden`], [`Agreement`] |
//! | are fellows (subunits of a complex) found by similarity? | [`average_precision`], [`PairRecovery`] |
//! | does the test know the training? | [`Leakage`] |
//! | can the plate be taken out? | [`correct_batches`], of [`principal_components`] |
//! | does a map keep neighbourhoods? | [`trustworthiness`] |
//! | how sure is a score? | [`Interval`], [`bootstrap`], [`NestedMean`] |
//! | could it be chance? | [`PermutationTest`] |
//!
//! Use this crate directly when the arrays are at hand; the binaries `score` and `evaluate` join it with files. It
//! opens no file and prints nothing. Every random step takes a seed, and the same seed gives the same bits at any
//! number of threads.
//!
//! # References
//! Kobayashi, Cheveralls, Leonetti & Royer, Nature Methods 2022, doi:10.1038/s41592-022-01541-z, Methods, "Clustering
//! score".

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod agreement;
mod batch;
mod bootstrap;
mod classification;
mod cluster_score;
mod components;
mod confusion;
mod distance;
mod error;
mod geometric_median;
mod labels;
mod leakage;
mod leiden;
mod neighbours;
mod nested;
mod pairs;
mod permutation;
mod probe;
mod random;
mod retrieval;
mod silhouette;
mod symmetric;
mod trustworthiness;

pub use agreement::Agreement;
pub use batch::{BatchCorrection, correct_batches};
pub use bootstrap::{BootstrapParams, Interval, bootstrap};
pub use classification::{Classification, classify};
pub use cluster_score::{Centre, ClusteringScore, clustering_score, clustering_score_of_rows};
pub use components::principal_components;
pub use confusion::{ClassScores, Confusion};
pub use distance::Coordinate;
pub use error::EvalError;
pub use geometric_median::geometric_median;
pub use labels::Labels;
pub use leakage::{CropOrigin, Leakage};
pub use leiden::{Graph, LeidenParams, leiden};
pub use neighbours::{Exclusions, Neighbours, nearest_neighbours};
pub use nested::NestedMean;
pub use pairs::PairRecovery;
pub use permutation::PermutationTest;
pub use probe::{ProbeParams, linear_probe};
pub use retrieval::{Retrieval, average_precision, cosine_similarities};
pub use silhouette::silhouette_samples;
pub use trustworthiness::trustworthiness;

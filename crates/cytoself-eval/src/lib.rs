//! How good an embedding of protein images is: clustering scores, retrieval, classification, agreement, and how sure one can be.
//!
//! | question | item |
//! |---|---|
//! | are classes compact and apart? (the paper's score) | [`clustering_score`] |
//! | the same, by the textbook | [`silhouette_samples`] |
//! | is an image among images of its own class? | [`nearest_neighbours`], [`classify`] |
//! | do clusters agree with annotations? | [`Agreement`] |
//! | does a map keep neighbourhoods? | [`trustworthiness`] |
//! | how sure is a score? | [`Interval`], [`bootstrap`] |
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
mod bootstrap;
mod classification;
mod cluster_score;
mod confusion;
mod distance;
mod error;
mod geometric_median;
mod labels;
mod neighbours;
mod permutation;
mod random;
mod silhouette;
mod trustworthiness;

pub use agreement::Agreement;
pub use bootstrap::{BootstrapParams, Interval, bootstrap};
pub use classification::{Classification, classify};
pub use cluster_score::{Centre, ClusteringScore, clustering_score};
pub use confusion::{ClassScores, Confusion};
pub use distance::Coordinate;
pub use error::EvalError;
pub use geometric_median::geometric_median;
pub use labels::Labels;
pub use neighbours::{Exclusions, Neighbours, nearest_neighbours};
pub use permutation::PermutationTest;
pub use silhouette::silhouette_samples;
pub use trustworthiness::trustworthiness;

//! Split vector quantisation: exact nearest-code search and training of a codebook.
//!
//! Use it directly to quantise arrays ([`SplitQuantizer`]) or to search nearest codes ([`CpuSearch`]); the network in `cytoself-model`
//! uses its operation on candle tensors (`candle::split_quantize`, feature `candle`).
//!
//! The answer of every search is exact: the code with the smallest squared distance in double precision, of equals the lowest index.
//!
//! - Search: [`Codebook`], [`NearestCode`] and its implementations [`CpuSearch`], [`ScalarSearch`], `cuda::CudaSearch`.
//! - Quantise: [`SplitQuantizer`] gives indices, quantised vectors, squared error and histograms in one pass, and the soft histogram
//!   with them where it is wanted ([`SplitQuantizer::quantize_soft`], [`softmax_assignment`]); [`CodeUsage`] and [`perplexity`] how many codes are in use.
//! - Train: [`codebook_gradient`], [`commitment_gradient`], [`softmax_gradient`]; [`MovingAverage`] with unused codes replaced;
//!   [`kmeans`] for the start.
//! - Work on codes alone: [`CodeDistances`] for exact distances between quantised rows, [`unpack`] for their vectors.
//!
//! # Features
//! - `candle`: the quantiser as a candle operation with gradients.
//! - `cuda`: the search and its training on an NVIDIA GPU, in module `cuda`. It builds and starts without CUDA; the driver is opened
//!   when it is asked for.
//! - `candle-cuda`: both, and the operation on candle's CUDA tensors. It needs a CUDA toolkit to build.

#[cfg(feature = "candle")]
pub mod candle;
mod code_distances;
mod codebook;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod ema;
mod error;
mod gradient;
mod kmeans;
mod nearest;
mod quantizer;
mod random;
pub mod reference;
mod scatter;
mod softmax;
mod statistics;
mod sums;
mod vectors;

pub use code_distances::{CodeDistances, CodeIndex, unpack};
pub use codebook::Codebook;
pub use cpu::{CpuSearch, Simd};
pub use ema::{EmaParams, EmaStep, MovingAverage};
pub use error::VqError;
pub use gradient::{codebook_gradient, commitment_gradient};
pub use kmeans::{KmeansParams, kmeans};
pub use nearest::{NearestCode, ScalarSearch, SearchOutput};
pub use quantizer::{Quantization, SplitQuantizer};
pub use softmax::{SoftmaxAssignment, SoftmaxGradient, softmax_assignment, softmax_gradient};
pub use statistics::{CodeUsage, histograms, perplexity, total_counts};
pub use sums::CodeSums;
pub use vectors::Vectors;

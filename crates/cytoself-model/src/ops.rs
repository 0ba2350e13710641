//! The operations of the network: plain functions on slices with a thin candle operation over each.
//!
//! candle's own convolution, batch normalisation, SiLU and resizing are not used anywhere in this crate: they are 2 to 350 times
//! slower than PyTorch on a CPU, or have no gradient. Each operation here comes twice: as a function on slices (`conv2d_forward`,
//! `conv2d_input_gradient`, ...), which is what does the work, and as a function on candle tensors (`conv2d`) that records itself
//! for `Tensor::backward`, or on a [`Tape`], which is faster. Use the latter to build networks; the former for tests, benches and other front ends.
//!
//! All maps are f32, contiguous, `[n, c, h, w]`. Work is cut into chunks that do not depend on the number of threads and partial
//! sums are added in a fixed order, so a result has the same bits at any thread count. Vector code is chosen at run time
//! ([`InstructionSet::detect`]): AVX-512, AVX2 with FMA, else portable code.
//!
//! With the feature `candle-cuda` the functions on tensors take tensors on an NVIDIA GPU too; [`Precision`] says how it multiplies.

mod arrange;
mod batch_norm;
pub(crate) mod blocked;
mod buffer;
mod conv;
#[cfg(feature = "candle-cuda")]
pub(crate) mod cuda;
mod depthwise;
mod dropout;
mod elementwise;
mod geometry;
mod interleave;
mod linear;
mod loss;
mod matrix;
mod optimizer;
mod pool;
mod precision;
pub mod reference;
mod resize;
mod rng;
mod simd;
mod squeeze_excite;
mod tape;
mod tensor;
#[cfg(test)]
mod testing;

pub(crate) use arrange::{channels_last, exchange, reshape, scale};
pub(crate) use batch_norm::FixedNorm;
pub use batch_norm::{
    Activation, BatchNormGradients, BatchNormMode, BatchNormRunning, BatchStatistics, MapShape,
    SumOverParts, batch_norm, batch_norm_backward, batch_norm_forward, batch_statistics,
    with_parts,
};
pub(crate) use buffer::scratch;
pub(crate) use conv::conv2d_normalized;
pub use conv::{
    ConvAlgorithm, conv2d, conv2d_forward, conv2d_input_gradient, conv2d_weight_gradient,
};
#[cfg(feature = "candle-cuda")]
pub(crate) use cuda::Gpu;
#[cfg(feature = "nccl")]
pub(crate) use cuda::nccl::{World, identity, new_world};
pub use depthwise::{
    depthwise_conv2d, depthwise_forward, depthwise_input_gradient, depthwise_weight_gradient,
};
pub use dropout::{dropout, dropout_forward, stochastic_depth};
pub(crate) use dropout::{dropout_part, stochastic_depth_part};
pub use elementwise::{add, bias_add, concat_channels, relu, silu, silu_backward, silu_forward};
pub use geometry::{ConvGeometry, Padding};
pub use linear::{
    LinearShape, linear, linear_forward, linear_input_gradient, linear_weight_gradient,
};
pub(crate) use loss::hits;
pub use loss::{cross_entropy, cross_entropy_forward, mse, mse_forward};
pub use optimizer::{Adam, AdamParams, adam_step};
pub(crate) use pool::global_max;
pub use pool::{max_pool2, max_pool2_backward, max_pool2_forward};
pub use precision::Precision;
pub use resize::{
    resize_bilinear, resize_bilinear_backward, resize_bilinear_forward, resize_nearest,
    resize_nearest_backward, resize_nearest_forward,
};
pub use rng::RngKey;
pub use simd::InstructionSet;
pub use squeeze_excite::squeeze_excite;
pub use tape::{Tape, record};
pub(crate) use tape::{empty_store, on_tape, push, untracked};
pub(crate) use tensor::with as with_values;

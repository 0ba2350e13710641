//! The operations on an NVIDIA GPU: convolutions by cuDNN, dense layers by cuBLAS, everything else by the kernels of `../kernels`.
//!
//! A file per operation, beside the file of the operation on the processor. Everything is enqueued on candle's stream of the device and
//! returns at once, but for the uploads of [`upload`], which have a stream of their own; nothing falls back to the processor. Arrays are passed as [`Address`]es: the tensors that own them live until the
//! launch has been enqueued, and memory is given back in the order of the stream.

#[macro_use]
mod launch;
pub(crate) mod arrange;
pub(crate) mod batch_norm;
pub(crate) mod conv;
pub(crate) mod depthwise;
mod dnn;
pub(crate) mod download;
pub(crate) mod elementwise;
mod gpu;
pub(crate) mod graph;
pub(crate) mod linear;
pub(crate) mod loss;
#[cfg(feature = "nccl")]
pub(crate) mod nccl;
pub(crate) mod optimizer;
mod parts;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod resize;
mod source;
pub(crate) mod squeeze_excite;
pub(crate) mod upload;

pub(crate) use gpu::Gpu;
use launch::{Address, each, every, u32_of};

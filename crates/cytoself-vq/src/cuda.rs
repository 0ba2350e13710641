//! The search and its training on an NVIDIA GPU, by kernels of our own.
//!
//! Nothing of CUDA is needed to build or to start: the driver is opened when [`CudaDevice::new`] asks for it, and so is NVRTC, which
//! compiles the kernels for the GPU at hand. Where NVRTC is missing, a PTX that is part of this library takes its place.
//!
//! Every answer is that of the processor, bit for bit: scores whose difference lies within the error of the arithmetic are settled in
//! double precision on the GPU, at each [`CudaPrecision`].
//!
//! # Example
//! ```no_run
//! use std::sync::Arc;
//! use cytoself_vq::{Codebook, NearestCode, Vectors};
//! use cytoself_vq::cuda::{CudaDevice, CudaPrecision, CudaSearch};
//!
//! let device = Arc::new(CudaDevice::new(0, None)?);
//! let codebook = Codebook::uniform(2048, 64, 1)?;
//! let search = CudaSearch::new(device, codebook, CudaPrecision::F32)?;
//! let z = vec![0.0; 625 * 64];
//! assert_eq!(search.nearest(&Vectors::planes(&z, 1, 1, 64, 625)?)?.len(), 625);
//! # Ok::<(), cytoself_vq::VqError>(())
//! ```

mod device;
mod kernels;
mod launch;
mod layout;
mod memory;
mod search;
#[cfg(feature = "candle-cuda")]
mod summary;
mod training;

pub use device::CudaDevice;
pub use kernels::{KernelOrigin, KernelSource};
#[cfg(feature = "candle-cuda")]
pub(crate) use launch::DeviceSearch;
#[cfg(feature = "candle-cuda")]
pub(crate) use memory::VectorView;
pub use memory::{DeviceCodes, DeviceVectors};
pub use search::{CudaPrecision, CudaSearch};
#[cfg(feature = "candle-cuda")]
pub(crate) use summary::{DeviceSummary, Summary};

use crate::error::VqError;

/// Names the step at which CUDA failed.
pub(crate) fn at<E: std::error::Error + Send + Sync + 'static>(
    step: &'static str,
) -> impl Fn(E) -> VqError {
    move |source| VqError::Cuda {
        step,
        source: Box::new(source),
    }
}

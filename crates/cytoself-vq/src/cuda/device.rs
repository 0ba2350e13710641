//! A GPU with its kernels.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
use cudarc::driver::{CudaContext, CudaFunction, CudaStream};

use super::at;
use super::kernels::{KernelOrigin, SPLIT_QUANTIZE};
use crate::error::VqError;

/// The kernels by name, in the order of [`Kernels`].
pub(super) const KERNELS: [&str; 10] = [
    "prepare_codes",
    "nearest_f32",
    "nearest_tf32x3",
    "nearest_tf32",
    "nearest_bf16",
    "merge_splits",
    "code_sums",
    "codebook_gradient",
    "commitment_gradient",
    "summarise",
];

/// The first compute capability with asynchronous copies and TF32: Ampere.
const OLDEST: (i32, i32) = (8, 0);

/// A GPU, one of its streams and the kernels of this crate on it.
pub struct CudaDevice {
    pub(super) stream: Arc<CudaStream>,
    pub(super) kernels: Kernels,
    pub(super) multiprocessors: u32,
    name: String,
    capability: (i32, i32),
    origin: KernelOrigin,
}

/// The kernels, ready to launch.
pub(super) struct Kernels {
    pub(super) prepare_codes: CudaFunction,
    /// In the order of [`super::CudaPrecision`].
    pub(super) nearest: [CudaFunction; 4],
    pub(super) merge_splits: CudaFunction,
    pub(super) code_sums: CudaFunction,
    pub(super) codebook_gradient: CudaFunction,
    pub(super) commitment_gradient: CudaFunction,
    #[cfg(feature = "candle-cuda")]
    pub(super) summarise: CudaFunction,
}

impl CudaDevice {
    /// Opens GPU `ordinal`, counted from 0, and makes its kernels ready.
    ///
    /// `cache` is a folder where compiled kernels are kept from one program to the next; without it NVRTC compiles them each time,
    /// which takes about a second.
    ///
    /// # Errors
    /// - [`VqError::NoCudaDriver`]: there is no NVIDIA driver;
    /// - [`VqError::NoCudaDevice`]: there is no such GPU;
    /// - [`VqError::OldCudaDevice`]: the GPU is older than Ampere;
    /// - [`VqError::Cuda`]: the driver refused something.
    pub fn new(ordinal: usize, cache: Option<&Path>) -> Result<Self, VqError> {
        if !driver_is_there() {
            return Err(VqError::NoCudaDriver);
        }
        let found = match CudaContext::device_count() {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.0 == cudarc::driver::sys::CUresult::CUDA_ERROR_NO_DEVICE => 0,
            Err(error) => return Err(at("starting the driver")(error)),
        };
        if ordinal >= found {
            return Err(VqError::NoCudaDevice { ordinal, found });
        }
        let context = CudaContext::new(ordinal).map_err(at("opening the GPU"))?;
        // SAFETY: all memory of this context is used on one stream, whose order needs no events.
        unsafe { context.disable_event_tracking() };
        Self::on_stream(context.default_stream(), cache)
    }

    /// Makes the kernels ready on a stream that exists already.
    pub(crate) fn on_stream(
        stream: Arc<CudaStream>,
        cache: Option<&Path>,
    ) -> Result<Self, VqError> {
        let context = Arc::clone(stream.context());
        let asking = at("asking the GPU what it is");
        let name = context.name().map_err(&asking)?;
        let capability = context.compute_capability().map_err(&asking)?;
        let multiprocessors = context
            .attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(&asking)?;
        if capability < OLDEST {
            return Err(VqError::OldCudaDevice { name, capability });
        }
        let (module, origin) = SPLIT_QUANTIZE.load(&context, capability, cache)?;
        let function = |name| {
            module
                .load_function(name)
                .map_err(at("looking up a kernel"))
        };
        let kernels = Kernels {
            prepare_codes: function(KERNELS[0])?,
            nearest: [
                function(KERNELS[1])?,
                function(KERNELS[2])?,
                function(KERNELS[3])?,
                function(KERNELS[4])?,
            ],
            merge_splits: function(KERNELS[5])?,
            code_sums: function(KERNELS[6])?,
            codebook_gradient: function(KERNELS[7])?,
            commitment_gradient: function(KERNELS[8])?,
            #[cfg(feature = "candle-cuda")]
            summarise: function(KERNELS[9])?,
        };
        Ok(Self {
            stream,
            kernels,
            multiprocessors: u32::try_from(multiprocessors).unwrap_or(1).max(1),
            name,
            capability,
            origin,
        })
    }

    /// What the driver calls the GPU.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compute capability, major and minor.
    #[must_use]
    pub fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Streaming multiprocessors.
    #[must_use]
    pub fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// Where the kernels come from.
    #[must_use]
    pub fn kernel_origin(&self) -> &KernelOrigin {
        &self.origin
    }

    /// Waits until everything that was enqueued is done.
    ///
    /// # Errors
    /// - [`VqError::Cuda`]: something that was enqueued has failed.
    pub fn wait(&self) -> Result<(), VqError> {
        self.stream.synchronize().map_err(at("waiting for the GPU"))
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaDevice")
            .field("name", &self.name)
            .field("capability", &self.capability)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Whether the driver can be opened; cudarc panics where it cannot.
#[cfg(not(feature = "candle-cuda"))]
fn driver_is_there() -> bool {
    // SAFETY: opens the driver's library, whose initialisation has no conditions.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

/// The driver is linked with the program, which would not have started without it.
#[cfg(feature = "candle-cuda")]
fn driver_is_there() -> bool {
    true
}

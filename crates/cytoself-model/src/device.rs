//! Where a network lives.

use std::path::Path;

use candle_core::Device;

use crate::ModelError;
use crate::ops::Precision;

/// Opens the device that `name` asks for: `cpu`, `cuda` (the first GPU) or `cuda:K`, counted from 0.
///
/// `precision` is that of convolutions and dense layers on the GPU, for as long as the device is used. `cache` is a folder where the
/// kernels that are compiled for this GPU are kept from one program to the next; without it that takes a few seconds each time.
///
/// # Errors
/// - [`ModelError::Device`]: the name is no device, or the GPU cannot be used: the text says what is missing;
/// - [`ModelError::Config`]: a precision other than f32 on the processor.
///
/// # Example
/// ```
/// use cytoself_model::{open_device, ops::Precision};
/// assert!(open_device("cpu", Precision::F32, None)?.is_cpu());
/// assert!(open_device("gpu", Precision::F32, None).is_err());
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
pub fn open_device(
    name: &str,
    precision: Precision,
    cache: Option<&Path>,
) -> Result<Device, ModelError> {
    let refused = |message: String| ModelError::Device {
        name: name.to_string(),
        message,
    };
    if name == "cpu" {
        if precision != Precision::F32 {
            let expected = "f32 on the processor; tf32 and bf16 are for a GPU (device cuda)";
            return Err(ModelError::config("precision", expected, precision));
        }
        return Ok(Device::Cpu);
    }
    let ordinal = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|k| k.parse().ok()),
        None => None,
    };
    let Some(ordinal) = ordinal else {
        return Err(refused("expected cpu, cuda or cuda:K".to_string()));
    };
    open_cuda(ordinal, precision, cache).map_err(refused)
}

#[cfg(not(feature = "candle-cuda"))]
fn open_cuda(_: usize, _: Precision, _: Option<&Path>) -> Result<Device, String> {
    Err("this program was built without CUDA; build it with --features candle-cuda (docs/gpu.md says how), or compute on the cpu".to_string())
}

/// The GPU with a stream of its own, our kernels and cuDNN.
#[cfg(feature = "candle-cuda")]
fn open_cuda(ordinal: usize, precision: Precision, cache: Option<&Path>) -> Result<Device, String> {
    use cudarc::driver::CudaContext;
    use cudarc::driver::sys::CUresult::{CUDA_ERROR_NO_DEVICE, CUDA_ERROR_STUB_LIBRARY};

    let one_line = |error: &dyn std::fmt::Display| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_string()
    };
    let found = match CudaContext::device_count() {
        Ok(count) => usize::try_from(count).unwrap_or(0),
        Err(error) if error.0 == CUDA_ERROR_NO_DEVICE => 0,
        Err(error) if error.0 == CUDA_ERROR_STUB_LIBRARY => {
            return Err("libcuda.so.1 is the stub that programs are linked with; let LD_LIBRARY_PATH name the driver's own".to_string());
        }
        Err(error) => {
            return Err(format!(
                "the NVIDIA driver does not start: {}",
                one_line(&error)
            ));
        }
    };
    if ordinal >= found {
        return Err(format!(
            "there is no GPU {ordinal}: the NVIDIA driver sees {found}, counted from 0"
        ));
    }
    let device = Device::new_cuda_with_stream(ordinal).map_err(|e| one_line(&e))?;
    let Device::Cuda(gpu) = &device else {
        return Err("candle gave another device".to_string());
    };
    // SAFETY: everything on this device happens on its one stream, whose order needs no events, but for the copies of
    // `ops::cuda::upload`, which orders its own stream by events.
    unsafe { gpu.disable_event_tracking() };
    keep_memory(gpu).map_err(|e| format!("asking for its memory: {}", one_line(&e)))?;
    crate::ops::Gpu::prepare(gpu, precision, cache).map_err(|e| one_line(&e))?;
    Ok(device)
}

/// Lets the driver keep the memory that tensors give back, instead of returning it to the system at every wait.
#[cfg(feature = "candle-cuda")]
fn keep_memory(gpu: &candle_core::CudaDevice) -> Result<(), cudarc::driver::DriverError> {
    use cudarc::driver::result::{device, mem_pool};
    use cudarc::driver::sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;

    let stream = gpu.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut all = u64::MAX;
    // SAFETY: the device is open; the attribute is a 64-bit count of bytes, copied during the call.
    unsafe {
        let pool = device::get_default_mem_pool(context.cu_device())?;
        mem_pool::set_attribute(
            pool,
            CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut all).cast(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_refused_in_one_line() {
        for name in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = open_device(name, Precision::F32, None).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("expected cpu, cuda or cuda:K"), "{text}");
        }
        let error = open_device("cpu", Precision::Bf16, None).unwrap_err();
        assert!(error.to_string().contains("bf16"), "{error}");
        let error = open_device("cuda:99", Precision::F32, None).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

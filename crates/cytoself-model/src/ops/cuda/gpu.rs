//! A GPU with what the operations need on it.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{
    CudaDevice, CudaStorage, Device, Error, Layout, Result, Shape, Storage, Tensor, bail,
};
use cudarc::cublas::sys::cublasSetWorkspace_v2;
use cudarc::driver::{
    CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DeviceRepr, ValidAsZeroBits,
};
use cytoself_vq::candle::prepare_cuda;
use cytoself_vq::cuda::CudaPrecision;

use super::Address;
use super::dnn::Dnn;
use super::source::OPS;
use crate::ops::Precision;

/// The GPUs that have been opened.
static OPEN: Mutex<Vec<Arc<Gpu>>> = Mutex::new(Vec::new());

/// A device of candle's with our kernels, cuDNN, and the precision that its convolutions and products are computed in.
pub(crate) struct Gpu {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    precision: Precision,
    dnn: Mutex<Dnn>,
    /// Of cuBLAS, which would otherwise reserve memory of its own in every capture.
    _workspace: CudaSlice<u8>,
    /// While a step is captured: its number, and where that of each replay will be.
    captured_step: Mutex<Option<(u64, Address)>>,
}

/// Bytes of the workspace of cuBLAS: what its manual recommends for compute capability 9.0.
const PRODUCTS: usize = 32 << 20;

/// Lends cuBLAS memory for as long as candle uses `device`.
fn lend_workspace(device: &CudaDevice, stream: &Arc<CudaStream>) -> Result<CudaSlice<u8>> {
    // SAFETY: a workspace has no content until cuBLAS writes it.
    let workspace = unsafe { stream.alloc::<u8>(PRODUCTS) }.w()?;
    let at = workspace.device_ptr(stream).0 as *mut c_void;
    // SAFETY: the handle lives in candle's device, and computes in the order of the stream that the memory was reserved in, and that
    // gives it back.
    let lent = unsafe { cublasSetWorkspace_v2(*device.cublas_handle().handle(), at, PRODUCTS) };
    lent.result()
        .map_err(|e| Error::Msg(format!("cuBLAS, its workspace: {e}")))?;
    Ok(workspace)
}

impl Gpu {
    /// Makes a device ready, or ready again with another precision; `cache` is a folder where compiled kernels are kept.
    ///
    /// # Errors
    /// - the driver, cuDNN or the compiler of the kernels refuses something.
    pub(crate) fn prepare(
        device: &CudaDevice,
        precision: Precision,
        cache: Option<&Path>,
    ) -> Result<()> {
        let stream = device.cuda_stream();
        let context = Arc::clone(stream.context());
        let capability = context.compute_capability().w()?;
        let (module, _) = OPS.load(&context, capability, cache)?;
        let search = match precision {
            Precision::F32 => CudaPrecision::F32,
            // The answer is the same; tensor cores are faster at finding it.
            Precision::Tf32 | Precision::Bf16 => CudaPrecision::Tf32,
        };
        prepare_cuda(device, cache, search)?;
        let gpu = Arc::new(Self {
            device: device.clone(),
            dnn: Mutex::new(Dnn::new(&stream)?),
            _workspace: lend_workspace(device, &stream)?,
            captured_step: Mutex::new(None),
            stream,
            module,
            functions: Mutex::new(HashMap::new()),
            precision,
        });
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|g| g.device.id() != device.id());
        open.push(gpu);
        Ok(())
    }

    /// The GPU behind a device of candle's, made ready in single precision if nobody did it before.
    ///
    /// # Errors
    /// As [`Gpu::prepare`].
    pub(crate) fn of(device: &CudaDevice) -> Result<Arc<Self>> {
        let known = || {
            let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
            open.iter().find(|g| g.device.id() == device.id()).cloned()
        };
        if let Some(gpu) = known() {
            return Ok(gpu);
        }
        Self::prepare(device, Precision::F32, None)?;
        match known() {
            Some(gpu) => Ok(gpu),
            None => bail!("the GPU has just been prepared"),
        }
    }

    /// The GPU that holds `t`.
    ///
    /// # Errors
    /// - `t` is elsewhere;
    /// - as [`Gpu::prepare`].
    pub(crate) fn holding(t: &Tensor) -> Result<Arc<Self>> {
        match t.device() {
            Device::Cuda(device) => Self::of(device),
            _ => bail!("a tensor on the GPU was expected"),
        }
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(super) fn device(&self) -> &CudaDevice {
        &self.device
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    pub(super) fn dnn(&self) -> &Mutex<Dnn> {
        &self.dnn
    }

    /// Says that step `number` is being captured, whose number will be at `place` in each replay; or that none is.
    pub(super) fn capture_step(&self, step: Option<(u64, Address)>) {
        let mut captured = self
            .captured_step
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *captured = step;
    }

    /// Where the number of step `number` is, while that is being captured.
    pub(super) fn place_of_step(&self, number: u64) -> Address {
        let captured = self
            .captured_step
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        captured
            .filter(|(captured, _)| *captured == number)
            .map_or(Address::NONE, |(_, place)| place)
    }

    /// A kernel by name.
    pub(super) fn function(&self, name: &'static str) -> Result<CudaFunction> {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let function = self.module.load_function(name).w()?;
        functions.insert(name, function.clone());
        Ok(function)
    }

    /// An array of `n` values that a kernel is going to write.
    pub(super) fn buffer<T: DeviceRepr>(&self, n: usize) -> Result<CudaSlice<T>> {
        // SAFETY: as on the processor, the kernels that receive a buffer write every value before anything reads it.
        unsafe { self.stream.alloc(n.max(1)) }.w()
    }

    /// An array of `n` zeros.
    pub(super) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, n: usize) -> Result<CudaSlice<T>> {
        self.stream.alloc_zeros(n.max(1)).w()
    }

    /// Copies values to the GPU.
    pub(super) fn upload<T: DeviceRepr>(&self, values: &[T]) -> Result<CudaSlice<T>> {
        self.stream.clone_htod(values).w()
    }

    /// Where an array begins.
    pub(super) fn at<T>(&self, array: &CudaSlice<T>) -> Address {
        Address(array.device_ptr(&self.stream).0)
    }

    /// Where the argument of a `cuda_fwd` begins.
    ///
    /// # Errors
    /// - it is not contiguous, or of another type.
    pub(super) fn argument(&self, storage: &CudaStorage, layout: &Layout) -> Result<Address> {
        self.begin::<f32>(storage, layout)
    }

    fn begin<T: CudaDType>(&self, storage: &CudaStorage, layout: &Layout) -> Result<Address> {
        let Some((from, to)) = layout.contiguous_offsets() else {
            bail!(
                "a contiguous tensor was expected, found the strides {:?} for the shape {:?}",
                layout.stride(),
                layout.dims()
            )
        };
        let values = storage.as_cuda_slice::<T>()?.slice(from..to);
        Ok(Address(values.device_ptr(&self.stream).0))
    }

    /// Where the values of a contiguous tensor begin; the tensor must outlive the launch that reads them.
    ///
    /// # Errors
    /// - the tensor is elsewhere, not contiguous or of another type.
    pub(super) fn values(&self, t: &Tensor) -> Result<Address> {
        self.values_of::<f32>(t)
    }

    /// As [`Gpu::values`], of another type.
    ///
    /// # Errors
    /// As [`Gpu::values`].
    pub(super) fn values_of<T: CudaDType>(&self, t: &Tensor) -> Result<Address> {
        let (storage, layout) = t.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => self.begin::<T>(storage, layout),
            _ => bail!("a tensor on the GPU was expected"),
        }
    }

    /// The result of a `cuda_fwd`.
    pub(super) fn stored(
        &self,
        values: CudaSlice<f32>,
        shape: impl Into<Shape>,
    ) -> Result<(CudaStorage, Shape)> {
        let storage = CudaStorage::wrap_cuda_slice(values, self.device.clone());
        Ok((storage, shape.into()))
    }

    /// A tensor without history.
    pub(super) fn tensor(&self, values: CudaSlice<f32>, shape: impl Into<Shape>) -> Tensor {
        let storage = CudaStorage::wrap_cuda_slice(values, self.device.clone());
        Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
    }
}

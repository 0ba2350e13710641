//! The quantiser on candle's CUDA tensors, by the kernels of [`crate::cuda`] on candle's stream.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda::{CudaDType, DeviceId};
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, CustomOp2, DType, Error, Layout, Result, Shape,
    Storage, Tensor,
};
use cudarc::driver::{CudaSlice, CudaView};

use super::tally::Tally;
use super::{QuantizeOptions, Quantized};
use crate::codebook::Codebook;
use crate::cuda::{
    self, CudaPrecision, DeviceCodes, DeviceSearch, DeviceSummary, Summary, VectorView,
};
use crate::error::VqError;
use crate::vectors::{VectorShape, Vectors};

/// The kernels on the devices that candle has opened.
static PREPARED: Mutex<Vec<Prepared>> = Mutex::new(Vec::new());

#[derive(Clone)]
struct Prepared {
    id: DeviceId,
    kernels: Arc<cuda::CudaDevice>,
    precision: CudaPrecision,
}

/// Makes the kernels of [`split_quantize`](super::split_quantize) ready on a device, which otherwise happens at its first use, without
/// a cache and in [`CudaPrecision::F32`]. The precision never changes an answer, see [`crate::cuda`].
///
/// `cache` is a folder where compiled kernels are kept from one program to the next.
///
/// # Errors
/// - [`VqError::OldCudaDevice`]: the GPU is older than Ampere;
/// - [`VqError::Cuda`]: the driver refused something.
pub fn prepare_cuda(
    device: &CudaDevice,
    cache: Option<&Path>,
    precision: CudaPrecision,
) -> std::result::Result<(), VqError> {
    let kernels = Arc::new(cuda::CudaDevice::on_stream(device.cuda_stream(), cache)?);
    let id = device.id();
    let mut all = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|p| p.id != id);
    all.push(Prepared {
        id,
        kernels,
        precision,
    });
    Ok(())
}

fn prepared(device: &CudaDevice) -> std::result::Result<Prepared, VqError> {
    let known = || {
        let all = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|p| p.id == device.id()).cloned()
    };
    if let Some(found) = known() {
        return Ok(found);
    }
    prepare_cuda(device, None, CudaPrecision::F32)?;
    known().ok_or_else(|| Error::Msg("the GPU has just been prepared".into()).into())
}

/// [`split_quantize`](super::split_quantize) of tensors on a GPU.
pub(super) fn split_quantize(
    z: &Tensor,
    codebook: &Tensor,
    options: &QuantizeOptions,
) -> std::result::Result<Quantized, VqError> {
    let ((b, _, h, w), (codes, dim)) = (z.dims4()?, codebook.dims2()?);
    if options.soft() {
        let refused = "the soft assignment is computed on the processor only";
        return Err(Error::Msg(refused.into()).into());
    }
    if b * h * w == 0 || codes == 0 {
        let refused = "split_quantize on a GPU needs at least one vector and one code";
        return Err(Error::Msg(refused.into()).into());
    }
    let split = options.split;
    let shape = VectorShape {
        images: b,
        split,
        positions: h * w,
        dim,
        position_stride: 1,
        component_stride: h * w,
    };
    let device = z.device().as_cuda_device()?.clone();
    let Prepared {
        kernels, precision, ..
    } = prepared(&device)?;
    let stream = device.cuda_stream();
    let (z, codebook) = (z.contiguous()?, codebook.contiguous()?);
    let copying = cuda::at("copying on the GPU");

    let rows = with(&codebook, |rows| stream.clone_dtod(&rows).map_err(&copying))?;
    let search = DeviceSearch::new(kernels, rows, codes, dim, precision)?;
    let mut found = search.reserve(shape, true, true)?;
    with(&z, |data| {
        search.enqueue(&VectorView { data, shape }, &mut found)
    })?;
    let (summary, losses) = search.summarise(&found)?;
    let unread = Unread {
        summary,
        vectors: z.detach(),
        codebook: codebook.detach(),
        shape,
        read: OnceLock::new(),
    };

    let counts = found.counters.slice(..b * codes);
    let counts = stream.clone_dtod(&counts).map_err(&copying)?;
    let histogram = tensor(counts, &device, (b, codes)).to_dtype(DType::F32)?;
    let indices = stream.clone_dtod(&found.indices).map_err(&copying)?;
    let indices = tensor(indices, &device, (b, split, h, w));
    let values = found.quantized.take();
    let quantized = z.apply_op1(StraightThrough(Mutex::new(values)))?;
    let losses = z.apply_op2(
        &codebook,
        QuantizationLoss {
            losses: Mutex::new(Some(losses)),
            trains_codes: options.quantization_cost != 0.0,
            search,
            found,
            shape,
        },
    )?;
    let losses = options.weigh(&losses, false)?;
    Ok(Quantized {
        quantized,
        indices,
        histogram,
        softmax_histogram: None,
        loss: losses.total,
        commitment_loss: losses.commitment,
        quantization_loss: losses.quantization,
        softmax_loss: None,
        tally: Tally::unread(unread),
    })
}

/// What a search says of the batch, on the GPU until it is asked for.
#[derive(Debug)]
pub(super) struct Unread {
    summary: DeviceSummary,
    vectors: Tensor,
    codebook: Tensor,
    shape: VectorShape,
    read: OnceLock<Vec<u32>>,
}

impl Unread {
    /// How often each code occurs; waits for the search at the first call.
    pub(super) fn counts(&self) -> std::result::Result<&[u32], VqError> {
        if let Some(counts) = self.read.get() {
            return Ok(counts);
        }
        let summary = self.summary.read()?;
        refuse_no_numbers(&summary, &self.vectors, &self.codebook, self.shape)?;
        Ok(self.read.get_or_init(|| summary.counts))
    }

    /// A copy of what is to be read.
    pub(super) fn words(&self) -> std::result::Result<Tensor, VqError> {
        let words = self.summary.copy()?;
        let (count, device) = (words.len(), self.vectors.device().as_cuda_device()?);
        Ok(tensor(words, device, count))
    }
}

/// Uses of each code from the values of [`Unread::words`]; none if a vector or a code was not finite.
pub(super) fn counts_in(words: &[u32]) -> Option<Vec<u32>> {
    let summary = Summary::read(words, u32::MAX as usize)?;
    let finite = summary.not_finite.is_none() && summary.largest_norm.is_finite();
    finite.then_some(summary.counts)
}

/// The error that names a value that is not finite, which only the processor can find.
fn refuse_no_numbers(
    summary: &Summary,
    z: &Tensor,
    codebook: &Tensor,
    shape: VectorShape,
) -> std::result::Result<(), VqError> {
    if !summary.largest_norm.is_finite() {
        // Codes so large that their norm is not a number in single precision are searched all the same.
        let (codes, dim) = codebook.dims2()?;
        Codebook::new(codebook.flatten_all()?.to_vec1()?, codes, dim)?;
    }
    let Some(vector) = summary.not_finite else {
        return Ok(());
    };
    let values = z.flatten_all()?.to_vec1::<f32>()?;
    let VectorShape {
        images,
        split,
        positions,
        dim,
        ..
    } = shape;
    let vectors = Vectors::planes(&values, images, split, dim, positions)?;
    vectors.non_finite(vector).map_or(Ok(()), Err)
}

/// Hands the values of a contiguous f32 tensor on a GPU to `f`.
fn with<T, E: From<Error>>(
    tensor: &Tensor,
    f: impl FnOnce(CudaView<'_, f32>) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::Msg("expected a tensor on the GPU".into()).into());
    };
    f(view(storage, layout)?)
}

fn view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    let (from, to) = layout
        .contiguous_offsets()
        .ok_or(Error::RequiresContiguous {
            op: "split_quantize",
        })?;
    Ok(storage.as_cuda_slice::<f32>()?.slice(from..to))
}

fn tensor<T: CudaDType>(
    values: CudaSlice<T>,
    device: &CudaDevice,
    shape: impl Into<Shape>,
) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(values, device.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

fn not_here<T>() -> Result<T> {
    Err(Error::Msg("this operation is for the GPU".into()))
}

/// Replaces its argument by the codes that the search has already found; the gradient passes unchanged.
struct StraightThrough(Mutex<Option<CudaSlice<f32>>>);

impl CustomOp1 for StraightThrough {
    fn name(&self) -> &'static str {
        "straight_through"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here()
    }

    fn cuda_fwd(&self, z: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let quantized = self.0.lock().ok().and_then(|mut q| q.take());
        let values = quantized.ok_or_else(|| Error::Msg("straight_through runs once".into()))?;
        let storage = CudaStorage::wrap_cuda_slice(values, z.device().clone());
        Ok((storage, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.clone()))
    }
}

/// `[commitment, quantisation, 0]`, as `loss::QuantizationLoss` on the processor.
struct QuantizationLoss {
    /// Until the operation runs.
    losses: Mutex<Option<CudaSlice<f32>>>,
    /// Whether the loss has a gradient into the codebook.
    trains_codes: bool,
    search: DeviceSearch,
    found: DeviceCodes,
    shape: VectorShape,
}

impl CustomOp2 for QuantizationLoss {
    fn name(&self) -> &'static str {
        "quantization_loss"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        not_here()
    }

    fn cuda_fwd(
        &self,
        z: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = z.device();
        let losses = self.losses.lock().ok().and_then(|mut l| l.take());
        let losses = losses.ok_or_else(|| Error::Msg("quantization_loss runs once".into()))?;
        let storage = CudaStorage::wrap_cuda_slice(losses, device.clone());
        Ok((storage, Shape::from(3)))
    }

    fn bwd(
        &self,
        z: &Tensor,
        codebook: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let device = z.device().as_cuda_device()?;
        let scale = 1.0 / (self.shape.len() * self.shape.dim) as f64;
        let shape = self.shape;
        let (into_z, into_codes) = with(z, |data| -> std::result::Result<_, VqError> {
            let vectors = VectorView { data, shape };
            let search = &self.search;
            let into_z = search.commitment_gradient(&vectors, &self.found, scale)?;
            let into_codes = self
                .trains_codes
                .then(|| search.codebook_gradient(&vectors, &self.found, scale))
                .transpose()?;
            Ok((into_z, into_codes))
        })?;
        // The gradient into the losses stays where it is: reading it would stop the GPU.
        let weighed = |slice, like: &Tensor, loss: usize| {
            tensor(slice, device, like.shape()).broadcast_mul(&gradient.narrow(0, loss, 1)?)
        };
        let into_codes = into_codes.map(|g| weighed(g, codebook, 1));
        Ok((Some(weighed(into_z, z, 0)?), into_codes.transpose()?))
    }
}

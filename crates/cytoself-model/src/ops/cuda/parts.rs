//! Sums per channel of a batch that is spread over several ranks.

use candle_core::cuda::WrapErr;
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Result, Storage, Tensor};
use cudarc::driver::CudaSlice;

use super::{Gpu, each, u32_of};
use crate::ops::SumOverParts;

/// Sums `partial` `[c, chunks, 2]` over chunks and over all parts of the batch, `[c, 2]`; `count`, if it is asked for, becomes the values
/// per channel of all parts. Waits for the GPU where the parts meet in the memory of the processor.
///
/// # Errors
/// - a part is lost, or the driver refuses a copy.
pub(super) fn sum_over_parts(
    gpu: &Gpu,
    all: &dyn SumOverParts,
    partial: &CudaSlice<f64>,
    [c, chunks]: [usize; 2],
    count: Option<&mut f64>,
) -> Result<Tensor> {
    let sums = gpu.buffer::<f64>(2 * c)?;
    launch!(
        gpu,
        "chunk_sums",
        each(2 * c),
        [
            gpu.at(partial),
            u32_of(c)?,
            u32_of(chunks)?,
            u32_of(2)?,
            gpu.at(&sums)
        ]
    );
    let sums = tensor(gpu, sums, c);
    let own = count.as_deref().copied();
    if let Some((sums, values)) = all.sum_on_gpu(&sums, own.unwrap_or_default())? {
        if let Some(count) = count {
            *count = values;
        }
        return Ok(sums);
    }
    let mut values: Vec<f64> = own.into_iter().collect();
    values.extend(sums.flatten_all()?.to_vec1::<f64>()?);
    all.sum(&mut values)?;
    let (head, sums) = values.split_at(values.len() - 2 * c);
    if let (Some(count), [summed]) = (count, head) {
        *count = *summed;
    }
    Ok(tensor(gpu, gpu.stream().clone_htod(sums).w()?, c))
}

fn tensor(gpu: &Gpu, sums: CudaSlice<f64>, c: usize) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(sums, gpu.device().clone());
    Tensor::from_storage(Storage::Cuda(storage), (c, 2), BackpropOp::none(), false)
}

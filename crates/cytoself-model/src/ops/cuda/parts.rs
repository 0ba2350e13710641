//! Sums per channel of a batch that is spread over several ranks.

use candle_core::Result;
use candle_core::cuda::WrapErr;
use cudarc::driver::CudaSlice;

use super::{Gpu, each, u32_of};
use crate::ops::SumOverParts;

/// Sums `partial` `[c, chunks, 2]` over chunks and over all parts of the batch, `[c, 2]`; `also` are numbers of the host that are
/// summed over the parts on the way. Waits for the GPU, because the parts meet in the memory of the processor.
///
/// # Errors
/// - a part is lost, or the driver refuses a copy.
pub(super) fn sum_over_parts(
    gpu: &Gpu,
    all: &dyn SumOverParts,
    partial: &CudaSlice<f64>,
    [c, chunks]: [usize; 2],
    also: &mut [f64],
) -> Result<CudaSlice<f64>> {
    let mut sums = gpu.buffer::<f64>(2 * c)?;
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
    let mut values = also.to_vec();
    values.extend(gpu.stream().clone_dtoh(&sums).w()?);
    all.sum(&mut values)?;
    let (summed, own) = values.split_at(also.len());
    also.copy_from_slice(summed);
    gpu.stream().memcpy_htod(own, &mut sums).w()?;
    Ok(sums)
}

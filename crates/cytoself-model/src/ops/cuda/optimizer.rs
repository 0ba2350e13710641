//! One step of Adam on all parameters at once.

use candle_core::cuda::WrapErr;
use candle_core::{Result, Tensor};
use cudarc::driver::CudaSlice;

use super::{Gpu, launch};

/// Values that a block takes.
const PIECE: usize = 8192;

/// The two running means of a parameter.
pub(crate) type Means = [CudaSlice<f32>; 2];

/// Means at 0 for the variable `like`.
pub(crate) fn zeros(like: &Tensor) -> Result<Means> {
    let gpu = Gpu::holding(like)?;
    let n = like.elem_count();
    Ok([gpu.zeros(n)?, gpu.zeros(n)?])
}

/// The values of a mean, `n` of them.
pub(crate) fn download(like: &Tensor, mean: &CudaSlice<f32>) -> Result<Vec<f32>> {
    let gpu = Gpu::holding(like)?;
    let values = gpu
        .stream()
        .clone_dtoh(&mean.slice(..like.elem_count()))
        .w()?;
    gpu.stream().synchronize().w()?;
    Ok(values)
}

/// A mean of the given values.
pub(crate) fn upload(like: &Tensor, values: &[f32]) -> Result<CudaSlice<f32>> {
    if values.is_empty() {
        return Gpu::holding(like)?.zeros(0);
    }
    Gpu::holding(like)?.upload(values)
}

/// A parameter, its gradient and its means.
pub(crate) struct Parameter<'a> {
    pub(crate) weights: &'a Tensor,
    pub(crate) gradient: Tensor,
    pub(crate) means: &'a Means,
}

/// Steps all `parameters`, which are on one GPU, with the seven numbers of a step.
pub(crate) fn step(parameters: &[Parameter<'_>], factors: [f32; 7]) -> Result<()> {
    let Some(first) = parameters.first() else {
        return Ok(());
    };
    let gpu = &Gpu::holding(first.weights)?;
    let (mut slots, mut blocks) = (Vec::new(), Vec::new());
    for (place, p) in parameters.iter().enumerate() {
        let count = p.weights.elem_count();
        slots.extend([
            gpu.values(p.weights)?.0,
            gpu.values(&p.gradient)?.0,
            gpu.at(&p.means[0]).0,
            gpu.at(&p.means[1]).0,
            count as u64,
        ]);
        for piece in 0..count.div_ceil(PIECE) {
            blocks.extend([launch::u32_of(place)?, launch::u32_of(piece)?]);
        }
    }
    if blocks.is_empty() {
        return Ok(());
    }
    let grid = [blocks.len() / 2, 1];
    let (slots, blocks, factors) = (
        gpu.upload(&slots)?,
        gpu.upload(&blocks)?,
        gpu.upload(&factors)?,
    );
    launch!(
        gpu,
        "adam_many",
        grid,
        [gpu.at(&slots), gpu.at(&blocks), gpu.at(&factors)]
    );
    Ok(())
}

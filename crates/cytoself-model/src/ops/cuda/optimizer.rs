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

/// Which block of a launch takes which piece of which parameter: the same from step to step, and too much to send each time.
#[derive(Debug)]
pub(crate) struct Pieces {
    counts: Vec<usize>,
    blocks: CudaSlice<u32>,
}

impl Pieces {
    fn new(gpu: &Gpu, counts: Vec<usize>) -> Result<Self> {
        let blocks = blocks(&counts)?;
        Ok(Self {
            counts,
            blocks: gpu.upload(&blocks)?,
        })
    }
}

/// Pairs of a parameter's place and the number of a piece of it.
fn blocks(counts: &[usize]) -> Result<Vec<u32>> {
    let mut blocks = Vec::new();
    for (place, count) in counts.iter().enumerate() {
        for piece in 0..count.div_ceil(PIECE) {
            blocks.extend([launch::u32_of(place)?, launch::u32_of(piece)?]);
        }
    }
    Ok(blocks)
}

/// Steps all `parameters`, which are on one GPU, with the seven numbers of a step; `pieces` are those of the last step.
pub(crate) fn step(
    parameters: &[Parameter<'_>],
    factors: [f32; 7],
    pieces: &mut Option<Pieces>,
) -> Result<()> {
    let Some(first) = parameters.first() else {
        return Ok(());
    };
    let gpu = &Gpu::holding(first.weights)?;
    let counts: Vec<usize> = parameters.iter().map(|p| p.weights.elem_count()).collect();
    let grid: usize = counts.iter().map(|count| count.div_ceil(PIECE)).sum();
    if grid == 0 {
        return Ok(());
    }
    let mut slots = Vec::with_capacity(5 * parameters.len());
    for (p, count) in parameters.iter().zip(&counts) {
        slots.extend([
            gpu.values(p.weights)?.0,
            gpu.values(&p.gradient)?.0,
            gpu.at(&p.means[0]).0,
            gpu.at(&p.means[1]).0,
            *count as u64,
        ]);
    }
    let pieces = match pieces {
        Some(known) if known.counts == counts => known,
        other => other.insert(Pieces::new(gpu, counts)?),
    };
    let (slots, factors) = (gpu.upload(&slots)?, gpu.upload(&factors)?);
    launch!(
        gpu,
        "adam_many",
        [grid, 1],
        [gpu.at(&slots), gpu.at(&pieces.blocks), gpu.at(&factors)]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_piece() {
        let found = blocks(&[1, 0, PIECE, 2 * PIECE + 1]).unwrap();
        assert_eq!(found, [0, 0, 2, 0, 3, 0, 3, 1, 3, 2]);
    }
}

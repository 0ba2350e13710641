//! One step of Adam on all parameters at once.

use std::sync::Arc;

use candle_core::cuda::WrapErr;
use candle_core::{CudaDevice, Result, Tensor, bail};
use cudarc::driver::CudaSlice;

use super::graph::Place;
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

fn counts(parameters: &[Parameter<'_>]) -> Vec<usize> {
    parameters.iter().map(|p| p.weights.elem_count()).collect()
}

/// Blocks of a launch.
fn grid(counts: &[usize]) -> usize {
    counts.iter().map(|count| count.div_ceil(PIECE)).sum()
}

/// The addresses of each parameter, its gradient and its means, and how many values it has.
fn slots(gpu: &Gpu, parameters: &[Parameter<'_>]) -> Result<Vec<u64>> {
    let mut slots = Vec::with_capacity(5 * parameters.len());
    for p in parameters {
        slots.extend([
            gpu.values(p.weights)?.0,
            gpu.values(&p.gradient)?.0,
            gpu.at(&p.means[0]).0,
            gpu.at(&p.means[1]).0,
            p.weights.elem_count() as u64,
        ]);
    }
    Ok(slots)
}

/// Steps all `parameters`, which are on one GPU, with the seven numbers of a step; `pieces` are those of the last step.
pub(crate) fn step(
    parameters: &[Parameter<'_>],
    factors: [f32; 7],
    pieces: &mut Option<Arc<Pieces>>,
) -> Result<()> {
    let Some(first) = parameters.first() else {
        return Ok(());
    };
    let gpu = &Gpu::holding(first.weights)?;
    let counts = counts(parameters);
    let grid = grid(&counts);
    if grid == 0 {
        return Ok(());
    }
    let pieces = match pieces {
        Some(known) if known.counts == counts => known,
        other => other.insert(Arc::new(Pieces::new(gpu, counts)?)),
    };
    let (slots, factors) = (gpu.upload(&slots(gpu, parameters)?)?, gpu.upload(&factors)?);
    launch!(
        gpu,
        "adam_many",
        [grid, 1],
        [gpu.at(&slots), gpu.at(&pieces.blocks), gpu.at(&factors)]
    );
    Ok(())
}

/// What a step in a graph reads besides parameters and gradients, at addresses that stay.
pub(crate) struct Fixed {
    pieces: Arc<Pieces>,
    slots: CudaSlice<u64>,
    /// What `slots` has to hold, once it is known and can be sent.
    addresses: Vec<u64>,
    /// The step that was taken last, and the bits of the learning rate, f64.
    clock: Place,
    factors: CudaSlice<f32>,
}

impl Fixed {
    /// For steps like the last one.
    pub(crate) fn new(device: &CudaDevice, pieces: &Arc<Pieces>) -> Result<Self> {
        let gpu = &Gpu::of(device)?;
        let fixed = Self {
            slots: gpu.zeros(5 * pieces.counts.len())?,
            pieces: Arc::clone(pieces),
            addresses: Vec::new(),
            clock: Place::new(device, 2)?,
            factors: gpu.zeros(7)?,
        };
        // For nothing but the kernel, which the driver must have loaded before a capture.
        fixed.make_factors(gpu, [0.0; 4])?;
        Ok(fixed)
    }

    fn make_factors(&self, gpu: &Gpu, [beta1, beta2, eps, weight_decay]: [f64; 4]) -> Result<()> {
        launch!(
            gpu,
            "adam_factors",
            [1, 1],
            [
                self.clock.at(gpu),
                beta1,
                beta2,
                eps,
                weight_decay,
                gpu.at(&self.factors)
            ]
        );
        Ok(())
    }

    /// What the next step goes by: `steps` taken so far.
    pub(crate) fn set(&mut self, steps: u64, learning_rate: f64) -> Result<()> {
        self.clock.set(&[steps, learning_rate.to_bits()])
    }

    /// Sends the addresses that a captured step has seen; after the capture, before the first replay.
    pub(crate) fn send_addresses(&mut self) -> Result<()> {
        let stream = Arc::clone(self.slots.stream());
        stream.memcpy_htod(&self.addresses, &mut self.slots).w()
    }
}

/// As [`step`], captured: the seven numbers are made on the GPU from `[beta1, beta2, eps, weight decay]`.
///
/// # Errors
/// - the step is unlike the one that `fixed` was made for.
pub(crate) fn captured_step(
    parameters: &[Parameter<'_>],
    settings: [f64; 4],
    fixed: &mut Fixed,
) -> Result<()> {
    let Some(first) = parameters.first() else {
        bail!("Adam: a step without gradients");
    };
    let gpu = &Gpu::holding(first.weights)?;
    let counts = counts(parameters);
    if fixed.pieces.counts != counts {
        bail!("Adam: other gradients than in the step before");
    }
    fixed.addresses = slots(gpu, parameters)?;
    fixed.make_factors(gpu, settings)?;
    launch!(
        gpu,
        "adam_many",
        [grid(&counts), 1],
        [
            gpu.at(&fixed.slots),
            gpu.at(&fixed.pieces.blocks),
            gpu.at(&fixed.factors)
        ]
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

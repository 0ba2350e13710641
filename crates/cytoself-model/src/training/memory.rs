//! How much memory a training step takes, before it is taken.

use candle_core::{DType, Tensor};

use super::read_ahead::AHEAD;
use crate::ModelError;
use crate::layers::{Noise, Pass};
use crate::loss::LossWeights;
use crate::model::Model;
use crate::ops::record;
use crate::parameters::Kind;

/// Bytes of a number.
const F32: usize = size_of::<f32>();

/// The memory of a training step as a function of the batch.
///
/// It is counted, not guessed: the forward pass of one crop and of two is recorded, and the backward pass is gone through with the
/// sizes on the tape. What is not counted are the kernels' own buffers (a few megabytes per thread), the allocator's waste and
/// the program itself.
///
/// # Example
/// ```
/// use candle_core::Device;
/// use cytoself_model::{Config, Model, StepMemory};
///
/// let mut config = Config::preset("torch-micro")?;
/// config.model.classes = 5;
/// let model = Model::new(&config.model, 42, &Device::Cpu)?;
/// let memory = StepMemory::of(&model)?;
/// assert!(memory.bytes(32, 1) > memory.bytes(16, 2));
/// // 32 crops in two batches of 16, whose gradients are averaged, need less.
/// assert_eq!(memory.fitting(32, 1, memory.bytes(16, 2)), Some(16));
/// assert_eq!(memory.fitting(32, 1, 1000), None);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMemory {
    /// Weights, running statistics, the optimizer's means.
    fixed: usize,
    /// Gradients that wait for the other batches of their step.
    waiting: usize,
    /// What writing and reading a checkpoint takes instead of maps and gradients.
    checkpoint: usize,
    /// Crops that the loader holds ready, per crop of a batch.
    loader: usize,
    /// Maps and gradients at the moments of the backward pass, of one crop and of two.
    moments: Vec<[usize; 2]>,
}

impl StepMemory {
    /// Counts the memory of a step of `model`, whose weights and statistics stay as they are.
    ///
    /// # Errors
    /// - the network has nothing to train.
    pub fn of(model: &Model) -> Result<Self, ModelError> {
        let all: usize = model
            .parameters()
            .iter()
            .map(|p| p.value.elem_count() * F32)
            .sum();
        let trained = model.parameters().trained_values() * F32;
        let [one, two] = [moments(model, 1)?, moments(model, 2)?];
        Ok(Self {
            fixed: all + 2 * trained,
            waiting: trained,
            // The optimizer's file: its bytes and its tensors, beside what is there already.
            checkpoint: 4 * trained,
            loader: (AHEAD + 2) * crop(model).iter().product::<usize>() * F32,
            moments: one.into_iter().zip(two).map(|(a, b)| [a, b]).collect(),
        })
    }

    /// The largest number of bytes alive at once, with batches of `batch` crops of which `accumulate` make a step.
    #[must_use]
    pub fn bytes(&self, batch: usize, accumulate: usize) -> usize {
        let step = self.moments.iter().map(|&[one, two]| {
            let per_crop = two.saturating_sub(one);
            one.saturating_sub(per_crop) + batch * per_crop
        });
        let step = step.max().unwrap_or(0).max(self.checkpoint);
        let waiting = if accumulate > 1 { self.waiting } else { 0 };
        self.fixed + waiting + batch * self.loader + step
    }

    /// The largest batch that needs at most `limit` bytes when a step still takes `batch * accumulate` crops: a divisor of
    /// `batch`, with so many more batches per step. None if not even one crop fits.
    #[must_use]
    pub fn fitting(&self, batch: usize, accumulate: usize, limit: usize) -> Option<usize> {
        let divisors = (1..=batch).rev().filter(|n| batch.is_multiple_of(*n));
        divisors
            .into_iter()
            .find(|&n| self.bytes(n, accumulate * (batch / n)) <= limit)
    }
}

/// Channels, height and width of a crop.
fn crop(model: &Model) -> [usize; 3] {
    let [h, w] = model.config().input;
    [model.config().channels.len(), h, w]
}

/// The moments of a backward pass of `n` crops.
fn moments(model: &Model, n: usize) -> Result<Vec<usize>, ModelError> {
    let buffers: Vec<_> = model
        .parameters()
        .iter()
        .filter(|p| p.kind == Kind::Buffer)
        .collect();
    // The pass updates them.
    let before: Vec<Tensor> = buffers
        .iter()
        .map(|p| p.value.copy())
        .collect::<Result<_, _>>()?;
    let found = record_moments(model, n);
    for (buffer, value) in buffers.iter().zip(&before) {
        buffer.value.set(value)?;
    }
    found
}

fn record_moments(model: &Model, n: usize) -> Result<Vec<usize>, ModelError> {
    let [c, h, w] = crop(model);
    let images = Tensor::zeros((n, c, h, w), DType::F32, model.device())?;
    let labels = Tensor::zeros(n, DType::U32, model.device())?;
    let pass = Pass::train(Noise { seed: 0, step: 0 });
    let ((forward, loss), tape) = record(|| -> Result<_, ModelError> {
        let forward = model.forward(&images, &pass)?;
        let (loss, _) = model.loss(&forward, &images, &labels, &LossWeights::new(1.0))?;
        Ok((forward, loss))
    })?;
    let mut held: Vec<&Tensor> = forward.logits.iter().flatten().collect();
    held.extend(&forward.inner);
    held.extend(&forward.reconstruction);
    let mut graphs = 0;
    for level in &forward.levels {
        held.push(&level.encoded);
        if let Some(quantized) = &level.quantized {
            held.extend([
                &quantized.quantized,
                &quantized.histogram,
                &quantized.indices,
            ]);
            // The quantiser's own graph holds a copy of the encoder's output.
            graphs += level.encoded.elem_count() * F32;
        }
    }
    let moments = tape.backward_memory(&loss, &held);
    Ok(moments.into_iter().map(|m| m + graphs).collect())
}

//! Training steps that a GPU replays as a CUDA graph.

use candle_core::backprop::GradStore;
use candle_core::{CudaDevice, Device, Tensor};
use cytoself_vq::candle::Tally;

use crate::ModelError;
use crate::layers::{Noise, Pass};
use crate::loss::LossWeights;
use crate::measures::{Measures, Names};
use crate::metrics::Metrics;
use crate::model::{Forward, Model};
use crate::ops::cuda::graph::{Graph, Place, capture, copy, keep_uploads};
use crate::ops::cuda::optimizer::Fixed;
use crate::ops::{Adam, record};

/// The steps of one network and one optimizer, which stay the same from step to step.
///
/// The first step of a number of crops is computed as ever, the second in a row is captured, all further ones are replayed. Steps of
/// another number of crops are the caller's.
pub(super) struct StepGraph {
    device: CudaDevice,
    state: State,
    /// Why steps are not captured, until it is told.
    refused: Option<String>,
}

/// Training steps of a network on a GPU that are replayed as a CUDA graph, for a loop of one's own; [`Trainer`](super::Trainer) does the
/// same with [`Placement::with_cuda_graph`](super::Placement::with_cuda_graph).
///
/// The first step of a number of crops is computed as ever, the second in a row is captured, all further ones are replayed.
pub struct GraphSteps {
    model: Model,
    adam: Adam,
    graph: StepGraph,
}

impl GraphSteps {
    /// Steps of `model` by `adam`, which optimizes its weights.
    ///
    /// # Errors
    /// - the network is not on a GPU.
    pub fn new(model: Model, adam: Adam) -> Result<Self, ModelError> {
        match model.device() {
            Device::Cuda(device) => Ok(Self {
                graph: StepGraph::new(device.clone()),
                model,
                adam,
            }),
            _ => Err(crate::embed::no_gpu_for_a_graph()),
        }
    }

    /// Takes a step and waits for its measures; the loss is NaN if a vector or a code was not finite.
    ///
    /// # Shapes
    /// `images: [n, c, h, w]` f32, `labels: [n]` u32, both where the network is.
    ///
    /// # Errors
    /// - an operation fails; where only the capture does, [`GraphSteps::refused`] says why, and the step is taken without.
    pub fn step(
        &mut self,
        images: &Tensor,
        labels: &Tensor,
        weights: &LossWeights,
        noise: Noise,
    ) -> Result<Metrics, ModelError> {
        let step = Step {
            images,
            labels,
            weights,
            noise,
        };
        let Self { model, adam, graph } = self;
        if let Some(taken) = graph.step(model, adam, step)? {
            return Ok(taken.metrics);
        }
        let (products, names) = compute(model, step, |gradients| adam.step(gradients))?;
        Ok(products.read(&names)?.metrics)
    }

    /// Why steps are not captured, in one line, once.
    pub fn refused(&mut self) -> Option<String> {
        self.graph.refused()
    }

    /// The network.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

enum State {
    Waiting(Option<First>),
    Ready(Box<Ready>),
    Refused,
}

/// A batch to be trained on.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) images: &'a Tensor,
    pub(super) labels: &'a Tensor,
    pub(super) weights: &'a LossWeights,
    pub(super) noise: Noise,
}

/// What a step says of its batch.
pub(super) struct Taken {
    /// The loss is NaN if a vector or a code was not finite.
    pub(super) metrics: Metrics,
    /// Uses of each code, per level; none where quantisation is off.
    pub(super) uses: [Option<Vec<u64>>; 2],
    /// The encoders' outputs where codes may be replaced by them, until the next step.
    pub(super) encoded: [Option<Tensor>; 2],
}

/// A step that was computed: what it left becomes what the graph writes to.
struct First {
    crops: usize,
    products: Products,
    names: Names,
}

struct Ready {
    first: First,
    graph: Graph,
    images: Tensor,
    labels: Tensor,
    step: Place,
    adam: Fixed,
    weights: LossWeights,
    seed: u64,
}

impl Step<'_> {
    fn crops(&self) -> usize {
        self.images.dims().first().copied().unwrap_or(0)
    }
}

impl StepGraph {
    pub(super) fn new(device: CudaDevice) -> Self {
        Self {
            device,
            state: State::Waiting(None),
            refused: None,
        }
    }

    /// Why steps are not captured, once.
    pub(super) fn refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    /// Takes a step, with the learning rate that `adam` has been set to; none if it is the caller's.
    ///
    /// # Errors
    /// - an operation fails; not the capture, after which all steps are the caller's.
    pub(super) fn step(
        &mut self,
        model: &Model,
        adam: &mut Adam,
        step: Step<'_>,
    ) -> Result<Option<Taken>, ModelError> {
        match std::mem::replace(&mut self.state, State::Refused) {
            State::Refused => return Ok(None),
            State::Ready(ready) => self.state = State::Ready(ready),
            State::Waiting(Some(first)) if first.crops == step.crops() => {
                match Ready::new(&self.device, model, adam, step, first) {
                    Ok(ready) => self.state = State::Ready(Box::new(ready)),
                    Err(error) => {
                        let line = error.to_string();
                        let line = line.lines().next().unwrap_or_default();
                        self.refused = Some(format!("no CUDA graph: {line}; going on without"));
                        return Ok(None);
                    }
                }
            }
            State::Waiting(_) => {
                let first = First::new(&self.device, model, adam, step)?;
                let taken = first.products.read(&first.names)?;
                self.state = State::Waiting(Some(first));
                return Ok(Some(taken));
            }
        }
        match &mut self.state {
            State::Ready(ready) if ready.fits(&step) => ready.replay(adam, step).map(Some),
            _ => Ok(None),
        }
    }
}

impl First {
    fn new(
        device: &CudaDevice,
        model: &Model,
        adam: &mut Adam,
        step: Step<'_>,
    ) -> Result<Self, ModelError> {
        let _uploads = keep_uploads(device);
        let (products, names) = compute(model, step, |gradients| adam.step(gradients))?;
        Ok(Self {
            crops: step.crops(),
            products,
            names,
        })
    }
}

impl Ready {
    /// Captures a step; it takes place when it is replayed.
    fn new(
        device: &CudaDevice,
        model: &Model,
        adam: &Adam,
        step: Step<'_>,
        first: First,
    ) -> Result<Self, ModelError> {
        let (images, labels) = (step.images.copy()?, step.labels.copy()?);
        let (place, mut fixed) = (Place::new(device, 1)?, adam.fixed(device)?);
        let own = Step {
            images: &images,
            labels: &labels,
            ..step
        };
        let graph = capture(device, (step.noise.step, &place), || {
            let (products, _) = compute(model, own, |g| adam.capture_step(g, &mut fixed))?;
            products.copy_to(&first.products)
        })?;
        fixed.send_addresses()?;
        Ok(Self {
            first,
            graph,
            images,
            labels,
            step: place,
            adam: fixed,
            weights: *step.weights,
            seed: step.noise.seed,
        })
    }

    fn fits(&self, step: &Step<'_>) -> bool {
        self.images.dims() == step.images.dims()
            && self.weights == *step.weights
            && self.seed == step.noise.seed
    }

    fn replay(&mut self, adam: &mut Adam, step: Step<'_>) -> Result<Taken, ModelError> {
        copy(step.images, &self.images)?;
        copy(step.labels, &self.labels)?;
        self.step.set(&[step.noise.step])?;
        self.adam.set(adam.steps(), adam.params().learning_rate)?;
        self.graph.replay()?;
        adam.replayed();
        self.first.products.read(&self.first.names)
    }
}

/// A step up to what is to be read of it.
fn compute(
    model: &Model,
    step: Step<'_>,
    update: impl FnOnce(&GradStore) -> candle_core::Result<()>,
) -> Result<(Products, Names), ModelError> {
    let pass = Pass::train(step.noise);
    let ((forward, loss, measures), tape) = record(|| -> Result<_, ModelError> {
        let forward = model.forward(step.images, &pass)?;
        let (loss, measures) =
            model.loss_unread(&forward, step.images, step.labels, step.weights)?;
        Ok((forward, loss, measures))
    })?;
    update(&tape.backward(&loss)?)?;
    Ok((
        Products::of(model, &forward, &measures)?,
        Names::of(&measures),
    ))
}

/// What is read of a step, on the GPU.
struct Products {
    scalars: Tensor,
    /// Of the levels that quantise.
    words: [Option<Tensor>; 2],
    encoded: [Option<Tensor>; 2],
}

impl Products {
    fn of(model: &Model, forward: &Forward, measures: &Measures) -> Result<Self, ModelError> {
        let (mut words, mut encoded) = ([None, None], [None, None]);
        for (index, level) in forward.levels.iter().enumerate() {
            if let Some(quantized) = &level.quantized {
                words[index] = quantized.tally.words()?;
            }
            if model.config().levels[index].quantizer.revive_after > 0 {
                encoded[index] = Some(level.encoded.detach());
            }
        }
        Ok(Self {
            scalars: measures.joined()?,
            words,
            encoded,
        })
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let levels = self.words.iter().chain(&self.encoded).flatten();
        std::iter::once(&self.scalars).chain(levels)
    }

    fn copy_to(&self, kept: &Self) -> Result<(), ModelError> {
        for (from, to) in self.tensors().zip(kept.tensors()) {
            copy(from, to)?;
        }
        Ok(())
    }

    /// Waits for the step.
    fn read(&self, names: &Names) -> Result<Taken, ModelError> {
        let scalars = self.scalars.to_vec1::<f32>()?;
        let mut counts = Vec::with_capacity(2);
        let mut uses = [None, None];
        let mut finite = true;
        for (words, uses) in self.words.iter().zip(&mut uses) {
            let Some(words) = words else {
                continue;
            };
            match Tally::counts_in(&words.to_vec1()?) {
                Some(found) => {
                    *uses = Some(found.iter().map(|n| u64::from(*n)).collect());
                    counts.push(found);
                }
                None => finite = false,
            }
        }
        let mut metrics = names.metrics(&scalars, &counts);
        if !finite {
            metrics.set("loss", f64::NAN);
        }
        Ok(Taken {
            metrics,
            uses,
            encoded: self.encoded.clone(),
        })
    }
}

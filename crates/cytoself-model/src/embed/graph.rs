//! Batches that a GPU embeds by replaying a CUDA graph.

use candle_core::{CudaDevice, Tensor};

use super::output::Computed;
use super::{Embedder, OutputName};
use crate::ModelError;
use crate::ops::cuda::graph::{Graph, Place, capture, copy, keep_uploads};

/// The batches of one network, whose tensors stay the same.
///
/// The first batch of a size and a list of outputs is computed as ever, the second in a row is captured, all further ones are replayed.
pub(super) struct EmbedGraph {
    device: CudaDevice,
    state: State,
    told: Box<dyn Fn(&str) + Send + Sync>,
}

enum State {
    Waiting(Option<First>),
    Ready(Box<Ready>),
    Refused,
}

/// A batch that was computed: its results become what the graph writes to.
struct First {
    images: Vec<usize>,
    outputs: Vec<OutputName>,
    results: Computed,
}

struct Ready {
    first: First,
    graph: Graph,
    images: Tensor,
    _step: Place,
}

impl First {
    fn fits(&self, images: &Tensor, outputs: &[OutputName]) -> bool {
        self.images == images.dims() && self.outputs == outputs
    }
}

impl EmbedGraph {
    pub(super) fn new(device: CudaDevice, told: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self {
            device,
            state: State::Waiting(None),
            told,
        }
    }

    /// The results of a batch, to be sent on their way before the next one; none if it is to be computed without a graph.
    pub(super) fn compute(
        &mut self,
        embedder: &Embedder,
        images: &Tensor,
        outputs: &[OutputName],
    ) -> Result<Option<Computed>, ModelError> {
        match std::mem::replace(&mut self.state, State::Refused) {
            State::Refused => return Ok(None),
            State::Ready(ready) => self.state = State::Ready(ready),
            State::Waiting(Some(first)) if first.fits(images, outputs) => {
                match Ready::new(&self.device, embedder, images, first) {
                    Ok(ready) => self.state = State::Ready(Box::new(ready)),
                    Err(error) => {
                        let line = error.to_string();
                        let line = line.lines().next().unwrap_or_default();
                        (self.told)(&format!("no CUDA graph: {line}; going on without"));
                        return Ok(None);
                    }
                }
            }
            State::Waiting(_) => {
                let _uploads = keep_uploads(&self.device);
                let results = embedder.compute(images, outputs)?;
                self.state = State::Waiting(Some(First {
                    images: images.dims().to_vec(),
                    outputs: outputs.to_vec(),
                    results: results.clone(),
                }));
                return Ok(Some(results));
            }
        }
        match &self.state {
            State::Ready(ready) if ready.first.fits(images, outputs) => {
                copy(images, &ready.images)?;
                ready.graph.replay()?;
                Ok(Some(ready.first.results.again(images)))
            }
            _ => Ok(None),
        }
    }
}

impl Ready {
    fn new(
        device: &CudaDevice,
        embedder: &Embedder,
        images: &Tensor,
        first: First,
    ) -> Result<Self, ModelError> {
        let images = images.copy()?;
        // Nothing is random in an embedding.
        let step = Place::new(device, 1)?;
        let graph = capture(device, (0, &step), || {
            let results = embedder.compute(&images, &first.outputs)?;
            for (from, to) in results.tensors().zip(first.results.tensors()) {
                copy(from, to)?;
            }
            Ok::<(), ModelError>(())
        })?;
        Ok(Self {
            first,
            graph,
            images,
            _step: step,
        })
    }
}

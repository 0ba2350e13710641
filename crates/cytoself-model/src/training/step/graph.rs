//! Steps by a CUDA graph.

use candle_core::Device;

use super::{Stepper, follow_codes};
use crate::ModelError;
use crate::layers::Noise;
use crate::loss::LossWeights;
use crate::training::checkpoint::TrainingState;
use crate::training::graph::{Step, StepGraph};
use crate::training::loader::Batch;

impl Stepper {
    /// Captures steps from now on, or says why it cannot.
    pub(super) fn capture(&mut self) {
        let averages = self.model.config().levels.iter();
        let averages = averages.map(|l| l.quantizer.averages());
        let reason = if !self.ranks.alone() {
            "several ranks sum their gradients"
        } else if self.training.accumulate > 1 {
            "a step takes several batches"
        } else if averages.into_iter().any(|a| a) {
            "codes follow moving averages, which are computed on the processor"
        } else if let Device::Cuda(device) = self.model.device() {
            self.graph = Some(StepGraph::new(device.clone()));
            return;
        } else {
            "the network is not on a GPU"
        };
        self.notice = Some(format!("no CUDA graph: {reason}"));
    }

    /// As [`Stepper::train`] by a graph; false if the batch is to be trained on without.
    pub(super) fn train_by_graph(
        &mut self,
        batch: &Batch,
        weights: &LossWeights,
        state: &mut TrainingState,
    ) -> Result<bool, ModelError> {
        let Some(graph) = &mut self.graph else {
            return Ok(false);
        };
        let step = Step {
            images: &batch.images,
            labels: &batch.labels,
            weights,
            noise: Noise {
                seed: state.seed,
                step: state.step,
            },
        };
        let rate = self.training.learning_rate(state);
        self.optimizer.set_learning_rate(rate);
        let taken = graph.step(&self.model, &mut self.optimizer, step)?;
        self.notice = graph.refused().or(self.notice.take());
        let Some(taken) = taken else {
            return Ok(false);
        };
        state.optimizer_steps += 1;
        if !taken.metrics.loss().is_finite() {
            return Err(ModelError::Diverged {
                epoch: state.epoch + 1,
                batch: state.batch,
                loss: taken.metrics.loss(),
                kept: state.epoch,
            });
        }
        let encoded = taken.encoded.each_ref().map(Option::as_ref);
        let on = (&self.ranks, batch.share);
        let averages = &mut self.averages;
        follow_codes(&self.model, averages, encoded, &taken.uses, state, on)?;
        self.model.parameters().count_batch()?;
        state.step += 1;
        state.partial.add(&taken.metrics);
        Ok(true)
    }
}

//! One training step, one evaluation.

use std::collections::HashMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use cytoself_vq::VqError;

use super::averages::{Averages, is_average};
use super::checkpoint::{ModelFolder, TrainingState};
use super::codes::follow_codes;
use super::loader::Batch;
use crate::ModelError;
use crate::config::{Config, OptimizerKind, TrainingConfig};
use crate::layers::{Noise, Pass};
use crate::loss::LossWeights;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::ops::{Adam, AdamParams, record};

/// The network and its optimizer, with gradients that wait for their step.
pub(super) struct Stepper {
    pub(super) model: Model,
    optimizer: Adam,
    averages: Averages,
    training: TrainingConfig,
    waiting: Option<(GradStore, usize)>,
}

impl Stepper {
    pub(super) fn new(model: Model, config: &Config) -> Result<Self, ModelError> {
        let training = config.training.clone();
        let weight_decay = match training.optimizer {
            OptimizerKind::Adam => 0.0,
            OptimizerKind::Adamw => training.weight_decay,
        };
        let params = AdamParams {
            learning_rate: training.learning_rate,
            beta1: training.beta1,
            beta2: training.beta2,
            eps: training.epsilon,
            weight_decay,
        };
        let named = model
            .parameters()
            .weights()
            .filter(|p| !is_average(model.config(), &p.name))
            .map(|p| (p.name.clone(), p.value.clone()))
            .collect();
        let optimizer = Adam::new(named, params)?;
        Ok(Self {
            averages: Averages::new(&model)?,
            model,
            optimizer,
            training,
            waiting: None,
        })
    }

    /// Replaces the checkpoint in `folder`; `best` says that these weights are the best so far.
    pub(super) fn checkpoint(
        &self,
        folder: &ModelFolder,
        state: &TrainingState,
        best: bool,
    ) -> Result<(), ModelError> {
        let mut kept = self.optimizer.state()?;
        kept.extend(self.averages.state()?);
        folder.checkpoint(&self.model, &kept, state, best)
    }

    /// Goes back to the state of a checkpoint after `steps` steps.
    pub(super) fn load_state(
        &mut self,
        tensors: &HashMap<String, Tensor>,
        steps: u64,
    ) -> Result<(), ModelError> {
        self.optimizer.load_state(tensors, steps)?;
        self.averages.load_state(tensors, steps)
    }

    /// Whether all gradients have had their step.
    pub(super) fn is_between_steps(&self) -> bool {
        self.waiting.is_none()
    }

    /// Trains on a batch; `flush` steps even if fewer batches than `accumulate` wait.
    pub(super) fn train(
        &mut self,
        batch: &Batch,
        weights: &LossWeights,
        state: &mut TrainingState,
        flush: bool,
    ) -> Result<(), ModelError> {
        let pass = Pass::train(Noise {
            seed: state.seed,
            step: state.step,
        });
        let diverged = |loss| ModelError::Diverged {
            epoch: state.epoch + 1,
            batch: state.batch,
            loss,
            kept: state.epoch,
        };
        let recorded = record(|| -> Result<_, ModelError> {
            let forward = self.model.forward(&batch.images, &pass)?;
            let (loss, metrics) =
                self.model
                    .loss(&forward, &batch.images, &batch.labels, weights)?;
            Ok((forward, loss, metrics))
        });
        let ((forward, loss, metrics), tape) = recorded.map_err(|e| {
            if is_not_finite(&e) {
                diverged(f64::NAN)
            } else {
                e
            }
        })?;
        if !metrics.loss().is_finite() {
            return Err(diverged(metrics.loss()));
        }
        self.accumulate(tape.backward(&loss)?)?;
        self.averages.collect(&forward)?;
        if flush
            || self
                .waiting
                .as_ref()
                .is_some_and(|(_, n)| *n >= self.training.accumulate)
        {
            self.step(state)?;
        }
        follow_codes(&self.model, &mut self.averages, &forward, state)?;
        self.model.parameters().count_batch()?;
        state.step += 1;
        state.partial.add(&metrics);
        Ok(())
    }

    fn accumulate(&mut self, gradients: GradStore) -> Result<(), ModelError> {
        self.waiting = match self.waiting.take() {
            None => Some((gradients, 1)),
            Some((mut sum, count)) => {
                for p in self.model.parameters().weights() {
                    if let (Some(a), Some(b)) = (sum.get(&p.value), gradients.get(&p.value)) {
                        let added = (a + b)?;
                        sum.insert(&p.value, added);
                    }
                }
                Some((sum, count + 1))
            }
        };
        Ok(())
    }

    fn step(&mut self, state: &mut TrainingState) -> Result<(), ModelError> {
        let Some((mut gradients, count)) = self.waiting.take() else {
            return Ok(());
        };
        if count > 1 {
            for p in self.model.parameters().weights() {
                if let Some(sum) = gradients.get(&p.value) {
                    let mean = (sum / count as f64)?;
                    gradients.insert(&p.value, mean);
                }
            }
        }
        let warmup = self.training.schedule.warmup_steps as f64;
        let rise = ((state.optimizer_steps + 1) as f64 / warmup.max(1.0)).min(1.0);
        self.optimizer
            .set_learning_rate(state.schedule.learning_rate() * rise);
        self.optimizer.step(&gradients)?;
        self.averages.step()?;
        state.optimizer_steps += 1;
        Ok(())
    }
}

/// Measures of a batch in evaluation mode.
pub(super) fn measure(
    model: &Model,
    images: &Tensor,
    labels: &Tensor,
    weights: &LossWeights,
) -> Result<Metrics, ModelError> {
    let not_a_number = || {
        let mut metrics = Metrics::default();
        metrics.set("loss", f64::NAN);
        metrics
    };
    match model.forward(images, &Pass::evaluate()) {
        Ok(forward) => Ok(model.loss(&forward, images, labels, weights)?.1),
        Err(e) if is_not_finite(&e) => Ok(not_a_number()),
        Err(e) => Err(e),
    }
}

/// The quantiser refuses vectors that are not numbers; for a training that is a loss that is not a number.
fn is_not_finite(error: &ModelError) -> bool {
    let ModelError::Quantizer(error) = error else {
        return false;
    };
    matches!(
        **error,
        VqError::NonFiniteVector { .. } | VqError::NonFiniteCode { .. }
    )
}

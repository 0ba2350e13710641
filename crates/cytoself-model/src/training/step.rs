//! One training step, one evaluation.

#[cfg(feature = "candle-cuda")]
mod graph;

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use cytoself_vq::VqError;

use super::averages::{Averages, is_average};
use super::checkpoint::{ModelFolder, TrainingState};
use super::codes::follow_codes;
use super::exchange::{Exchange, ExchangeTime};
use super::loader::Batch;
use super::placement::Placement;
use super::ranks::{Pooled, Ranks};
use super::share::Share;
use super::team::agree;
use crate::ModelError;
use crate::config::{Config, OptimizerKind, TrainingConfig};
use crate::layers::{Noise, Pass};
use crate::loss::LossWeights;
use crate::measures::Measures;
use crate::metrics::Metrics;
use crate::model::{Forward, Model};
use crate::ops::{self, Adam, AdamParams, SumOverParts, Tape, record};

/// The network and its optimizer, with gradients that wait for their step.
pub(super) struct Stepper {
    pub(super) model: Model,
    optimizer: Adam,
    averages: Averages,
    training: TrainingConfig,
    waiting: Option<(GradStore, usize)>,
    ranks: Ranks,
    /// None where there is but one rank.
    exchange: Option<Exchange>,
    #[cfg(feature = "candle-cuda")]
    graph: Option<super::graph::StepGraph>,
    /// What the caller should hear, until it is told.
    pub(super) notice: Option<String>,
    /// Whether this rank wants to stop; the others learn of it in the next batch.
    pub(super) stop: bool,
}

impl Stepper {
    pub(super) fn new(model: Model, config: &Config, ranks: Ranks) -> Result<Self, ModelError> {
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
            ranks,
            exchange: None,
            #[cfg(feature = "candle-cuda")]
            graph: None,
            notice: None,
            stop: false,
        })
    }

    /// Makes ready to sum gradients over the ranks of `placement`, and for a CUDA graph; all ranks call it together, before the first
    /// step.
    pub(super) fn connect(&mut self, placement: &Placement) -> Result<(), ModelError> {
        #[cfg(feature = "candle-cuda")]
        if placement.cuda_graph() {
            self.capture();
        }
        if !self.ranks.alone() {
            let exchange = Exchange::new(self.ranks.clone(), placement);
            self.exchange = Some(agree(self.ranks.team(), exchange)?);
        }
        Ok(())
    }

    /// What the sums of gradients took since the last call.
    pub(super) fn exchange_time(&mut self) -> ExchangeTime {
        let time = self.exchange.as_mut().map(Exchange::time);
        time.unwrap_or_default()
    }

    /// Replaces the checkpoint in `folder`; `best` says that these weights are the best so far. No rank goes on before rank 0 has
    /// written it.
    pub(super) fn checkpoint(
        &self,
        folder: &ModelFolder,
        state: &TrainingState,
        best: bool,
    ) -> Result<(), ModelError> {
        self.ranks.check_same(self.model.parameters())?;
        let written = if self.ranks.writes() {
            self.write(folder, state, best)
        } else {
            Ok(())
        };
        agree(self.ranks.team(), written)
    }

    fn write(
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

    /// Trains on a batch; `flush` steps even if fewer batches than `accumulate` wait. False, and nothing trained, if a rank wants to
    /// stop.
    pub(super) fn train(
        &mut self,
        batch: &Batch,
        weights: &LossWeights,
        state: &mut TrainingState,
        flush: bool,
    ) -> Result<bool, ModelError> {
        #[cfg(feature = "candle-cuda")]
        if self.train_by_graph(batch, weights, state)? {
            return Ok(true);
        }
        let share = batch.share;
        let (kept, number) = (state.epoch, state.batch);
        let diverged = move |loss| ModelError::Diverged {
            epoch: kept + 1,
            batch: number,
            loss,
            kept,
        };
        let gpus = self.exchange.as_ref().and_then(Exchange::on_gpus);
        let parts = self.ranks.statistics(share, gpus);
        let parts = parts.filter(|_| self.training.sync_batch_norm);
        let cause = |e| match &parts {
            Some(parts) => parts.cause(e),
            None => e,
        };
        let shared = parts.clone().map(|p| p as Arc<dyn SumOverParts>);
        let recorded = ops::with_parts(shared, || self.forward(batch, weights, state));
        let not_finite = |e| match is_not_finite(&e) {
            true => diverged(f64::NAN),
            false => e,
        };
        let ((forward, loss, measures), tape) = recorded.map_err(cause).map_err(not_finite)?;
        let codes = self.model.codes();
        let (ranks, stop) = (self.ranks.clone(), self.stop);
        let pool = || -> Result<Pooled, ModelError> {
            let metrics = measures.read().map_err(not_finite)?;
            let pooled = ranks.pool(&metrics, Some(&forward), codes, share, stop)?;
            if !pooled.metrics.loss().is_finite() {
                return Err(diverged(pooled.metrics.loss()));
            }
            Ok(pooled)
        };
        // A GPU that is alone is waited for once, when all of the step is under way: what a loss that is no number does to the weights
        // is lost with them.
        let early = match ranks.alone() && !self.model.device().is_cpu() {
            true => None,
            false => Some(pool()?),
        };
        if early.as_ref().is_some_and(|pooled| pooled.stop) {
            return Ok(false);
        }
        let waiting = self.waiting.as_ref().map_or(0, |(_, n)| *n);
        let last = flush || waiting + 1 >= self.training.accumulate;
        let gradients = self.backward(tape, &loss, share, last).map_err(cause)?;
        self.averages.collect(&forward, share.count > 0)?;
        match last {
            true => self.step(gradients, state)?,
            false => self.waiting = Some((gradients, waiting + 1)),
        }
        let pooled = early.map_or_else(pool, Ok)?;
        let uses = &pooled.uses;
        let on = (&self.ranks, share);
        let encoded = forward.levels.each_ref().map(|l| Some(&l.encoded));
        follow_codes(&self.model, &mut self.averages, encoded, uses, state, on)?;
        if !self.training.sync_batch_norm {
            self.ranks.average_buffers(self.model.parameters(), share)?;
        }
        self.model.parameters().count_batch()?;
        state.step += 1;
        state.partial.add(&pooled.metrics);
        Ok(true)
    }

    /// The forward pass of this rank's share, the loss that it adds to the batch's, and its measures.
    #[allow(clippy::type_complexity)] // what is recorded, and the tape
    fn forward(
        &self,
        batch: &Batch,
        weights: &LossWeights,
        state: &TrainingState,
    ) -> Result<((Forward, Tensor, Measures), Tape), ModelError> {
        let Batch {
            images,
            labels,
            share,
        } = batch;
        let noise = Noise {
            seed: state.seed,
            step: state.step,
        };
        let pass = Pass::train(noise).part(share.first as u64);
        record(|| {
            let forward = self.model.forward(images, &pass)?;
            let (mut loss, measures) = self.model.loss_unread(&forward, images, labels, weights)?;
            if share.count != share.total {
                loss = ops::scale(&loss, share.weight())?;
            }
            Ok((forward, loss, measures))
        })
    }

    /// The gradients of the batches since the last step, this one's included: their sum, or if it is the `last` before a step the mean
    /// over batches and sum over ranks.
    fn backward(
        &mut self,
        tape: Tape,
        loss: &Tensor,
        share: Share,
        last: bool,
    ) -> Result<GradStore, ModelError> {
        let mut store = ops::empty_store(loss)?;
        let waiting = self.waiting.take();
        let joined = |variable: &Tensor, gradient: Tensor| -> Result<Tensor, ModelError> {
            // The batch statistics of the others reach the crop of a rank without one, which is none of the batch.
            let gradient = match share.count {
                0 => gradient.zeros_like()?,
                _ => gradient,
            };
            let earlier = waiting
                .as_ref()
                .map(|(sums, n)| (sums.get(variable), n + 1));
            Ok(match earlier {
                Some((Some(earlier), _)) if !last => (earlier + gradient)?,
                Some((Some(earlier), n)) => ((earlier + gradient)? / n as f64)?,
                _ => gradient,
            })
        };
        match self.exchange.as_mut().filter(|_| last) {
            None => tape.backward_each(loss, &mut |variable, gradient| {
                store.insert(variable, joined(variable, gradient)?);
                Ok::<(), ModelError>(())
            })?,
            Some(exchange) => {
                let mut pass = exchange.pass(tape.variables(), self.model.parameters())?;
                tape.backward_each(loss, &mut |variable, gradient| {
                    pass.add(variable, joined(variable, gradient)?)
                })?;
                pass.finish(&mut store)?;
            }
        }
        Ok(store)
    }

    fn step(&mut self, gradients: GradStore, state: &mut TrainingState) -> Result<(), ModelError> {
        let rate = self.training.learning_rate(state);
        self.optimizer.set_learning_rate(rate);
        self.optimizer.step(&gradients)?;
        self.averages.step(self.ranks.team())?;
        state.optimizer_steps += 1;
        Ok(())
    }
}

impl TrainingConfig {
    /// The step length of the next step.
    fn learning_rate(&self, state: &TrainingState) -> f64 {
        let warmup = self.schedule.warmup_steps as f64;
        let rise = ((state.optimizer_steps + 1) as f64 / warmup.max(1.0)).min(1.0);
        state.schedule.learning_rate() * rise
    }
}

/// Measures of a batch in evaluation mode over all ranks; none if one of them wants to stop.
pub(super) fn measure(
    model: &Model,
    batch: &Batch,
    weights: &LossWeights,
    ranks: &Ranks,
    stop: bool,
) -> Result<Option<Metrics>, ModelError> {
    let Batch {
        images,
        labels,
        share,
    } = batch;
    let measured = model
        .forward(images, &Pass::evaluate())
        .and_then(|forward| {
            let metrics = model.loss(&forward, images, labels, weights)?.1;
            Ok((metrics, forward))
        });
    let (metrics, forward) = match measured {
        Ok((metrics, forward)) => (metrics, Some(forward)),
        Err(e) if is_not_finite(&e) => {
            let mut metrics = Metrics::default();
            metrics.set("loss", f64::NAN);
            (metrics, None)
        }
        Err(e) => return Err(e),
    };
    let pooled = ranks.pool(&metrics, forward.as_ref(), model.codes(), *share, stop)?;
    Ok((!pooled.stop).then_some(pooled.metrics))
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

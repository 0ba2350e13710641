//! The training loop.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cytoself_io::Split;

use super::checkpoint::{ModelFolder, TrainingState};
use super::data::TrainingData;
use super::fingerprint::check_ranks;
use super::history::HistoryRow;
use super::loader::{Plan, for_each_batch};
use super::memory::StepMemory;
use super::outcome::{Ending, EpochReport, TrainingObserver, TrainingOutcome};
use super::placement::Placement;
use super::ranks::Ranks;
use super::step::{Stepper, measure};
use super::team::agree;
use super::variance::variance;
use crate::ModelError;
use crate::config::{AugmentationGroup, Config, VarianceRule};
use crate::loss::LossWeights;
use crate::metrics::{MeanMetrics, Metrics};
use crate::model::Model;

/// Trains a network into a model folder.
///
/// After each epoch the folder holds a checkpoint from which [`Trainer::resume`] goes on to the same bits as a training that
/// was never interrupted.
///
/// # References
/// Kobayashi et al. (2022), doi:10.1038/s41592-022-01541-z, Methods: Adam, 4e-4, x0.1 after 4 epochs, stop after 12.
pub struct Trainer<'a> {
    folder: ModelFolder,
    config: Config,
    data: &'a TrainingData<'a>,
    stepper: Stepper,
    state: TrainingState,
    ranks: Ranks,
}

/// What one pass over a split took and gave.
struct PassResult {
    metrics: Metrics,
    time: Duration,
    wait: Duration,
}

impl<'a> Trainer<'a> {
    /// Starts a training in the empty folder `path`, on the CPU: writes the settings, complete, and the initial weights.
    ///
    /// The number of classes, the channels and the crop's size of `config` must be those of `data`.
    ///
    /// # Errors
    /// - the configuration is impossible or does not fit the data;
    /// - the crops cannot be read;
    /// - the folder cannot be written.
    pub fn start(
        path: &Path,
        config: Config,
        data: &'a TrainingData<'a>,
    ) -> Result<Self, ModelError> {
        Self::start_at(path, config, data, &Placement::default())
    }

    /// As [`Trainer::start`], computing where and with whom `placement` says: all ranks call it alike, rank 0 writes the folder.
    ///
    /// # Errors
    /// As [`Trainer::start`], and
    /// - [`ModelError::Inconsistent`]: the ranks were not started alike;
    /// - [`ModelError::Lost`]: another rank failed.
    pub fn start_at(
        path: &Path,
        config: Config,
        data: &'a TrainingData<'a>,
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        let ranks = Ranks::new(Arc::clone(placement.team()));
        let checked = config
            .check()
            .and_then(|()| check_data(&config, data))
            .and_then(|()| check_placement(placement));
        agree(ranks.team(), checked)?;
        check_ranks(ranks.team(), &config, data, None)?;
        let found = agree(ranks.team(), variances(&config, data))?;
        let created = if ranks.writes() {
            ModelFolder::create(path, &config, data.proteins()).map(|_| ())
        } else {
            Ok(())
        };
        agree(ranks.team(), created)?;
        let folder = ModelFolder::open(path)?;
        let model = Model::new(&config.model, config.training.seed, placement.device())?;
        let codes = [0, 1].map(|l| config.model.levels[l].quantizer.codes);
        let t = &config.training;
        let state = TrainingState::new(t.seed, found, t.learning_rate, codes);
        let mut stepper = Stepper::new(model, &config, ranks.clone())?;
        stepper.connect(placement)?;
        stepper.checkpoint(&folder, &state, true)?;
        Ok(Self {
            folder,
            config,
            data,
            stepper,
            state,
            ranks,
        })
    }

    /// Goes on with the training in the folder `path`, on the CPU, up to `epochs` epochs if given.
    ///
    /// # Errors
    /// - the folder is no model folder, or a file of it is missing or damaged;
    /// - the data have other channels, sizes or proteins.
    pub fn resume(
        path: &Path,
        data: &'a TrainingData<'a>,
        epochs: Option<usize>,
    ) -> Result<Self, ModelError> {
        Self::resume_at(path, data, epochs, &Placement::default())
    }

    /// As [`Trainer::resume`], computing where and with whom `placement` says. The number of ranks may be another than before: the
    /// batches are the same, cut into other shares.
    ///
    /// # Errors
    /// As [`Trainer::resume`], and
    /// - [`ModelError::Inconsistent`]: the ranks were not started alike, or read different checkpoints;
    /// - [`ModelError::Lost`]: another rank failed.
    pub fn resume_at(
        path: &Path,
        data: &'a TrainingData<'a>,
        epochs: Option<usize>,
        placement: &Placement,
    ) -> Result<Self, ModelError> {
        let ranks = Ranks::new(Arc::clone(placement.team()));
        // Rank 0 mends what a kill left; only then the others look.
        let mended = if ranks.writes() {
            mend(path, data, epochs)
        } else {
            Ok(())
        };
        agree(ranks.team(), mended)?;
        let read = || -> Result<_, ModelError> {
            let folder = ModelFolder::open(path)?;
            let mut config = folder.config()?;
            check_data(&config, data)?;
            check_placement(placement)?;
            config.training.epochs = epochs.unwrap_or(config.training.epochs);
            let state = folder.state()?;
            let model = Model::with_weights(&config.model, &folder.last()?, placement.device())?;
            let mut stepper = Stepper::new(model, &config, ranks.clone())?;
            stepper.load_state(folder.optimizer()?.tensors(), state.optimizer_steps)?;
            Ok(Self {
                folder,
                config,
                data,
                stepper,
                state,
                ranks: ranks.clone(),
            })
        };
        let mut found = agree(ranks.team(), read())?;
        check_ranks(ranks.team(), &found.config, data, Some(&found.state))?;
        ranks.check_same(found.stepper.model.parameters())?;
        found.stepper.connect(placement)?;
        Ok(found)
    }

    /// The settings of this training.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the training stands.
    #[must_use]
    pub fn state(&self) -> &TrainingState {
        &self.state
    }

    /// The memory that a step of this training takes.
    ///
    /// # Errors
    /// As [`StepMemory::of`].
    pub fn memory(&self) -> Result<StepMemory, ModelError> {
        StepMemory::of(&self.stepper.model)
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// - [`ModelError::Diverged`]: a loss is not a number; the last checkpoint is kept;
    /// - [`ModelError::Cancelled`]: the observer stopped it;
    /// - a crop cannot be read, or the folder not be written.
    pub fn run(
        &mut self,
        observer: &mut dyn TrainingObserver,
    ) -> Result<TrainingOutcome, ModelError> {
        while self.state.epoch < self.config.training.epochs && !self.state.stopped {
            self.reopen();
            self.epoch(observer)?;
        }
        if !self.state.finished {
            self.finish()?;
        }
        let ending = if self.state.stopped {
            Ending::EarlyStop
        } else {
            Ending::Complete
        };
        Ok(TrainingOutcome {
            ending,
            epochs: self.state.epoch,
            best_epoch: self.state.best_epoch,
            best_loss: self.state.schedule.best().unwrap_or(f64::NAN),
            test: self.state.history.rows.last().and_then(|r| r.test),
        })
    }

    /// Makes a finished training one that goes on: the test measures belong to the last row only.
    fn reopen(&mut self) {
        self.state.finished = false;
        for row in &mut self.state.history.rows {
            row.test = None;
        }
    }

    fn epoch(&mut self, observer: &mut dyn TrainingObserver) -> Result<(), ModelError> {
        let learning_rate = self.state.schedule.learning_rate();
        let train = self.train_pass(observer)?;
        let exchange = self.stepper.exchange_time();
        let model = self.stepper.model.frozen()?;
        let mut progress = |b, n| observer.batch(b, n);
        let validation = self.evaluate(Split::Validation, &model, &mut progress)?;
        let Some(validation) = validation else {
            return Err(self.cancelled());
        };
        let verdict = self
            .state
            .schedule
            .record(validation.metrics.loss(), &self.config.training.schedule);
        let row = HistoryRow {
            epoch: self.state.epoch + 1,
            train: train.metrics,
            validation: validation.metrics,
            learning_rate,
            test: None,
            dead_codes: [0, 1].map(|l| self.state.code_uses[l].iter().filter(|u| **u == 0).count()),
        };
        self.state.close_epoch(row, &verdict);
        self.stepper
            .checkpoint(&self.folder, &self.state, verdict.best)?;
        if let Some(row) = self.state.history.rows.last() {
            observer.epoch(&EpochReport {
                row,
                verdict,
                train_time: train.time,
                wait_time: train.wait,
                exchange_time: exchange.taken,
                exchange_wait: exchange.waited,
                validation_time: validation.time,
                crops: self.data.rows(Split::Train).len(),
            });
        }
        Ok(())
    }

    fn train_pass(
        &mut self,
        observer: &mut dyn TrainingObserver,
    ) -> Result<PassResult, ModelError> {
        let start = Instant::now();
        let plan = self.plan(Split::Train, self.state.epoch as u64);
        let (batches, first) = (plan.batches(self.data), self.state.batch);
        let weights = self.weights(self.state.variance[Split::Train as usize]);
        let mut wait = Duration::ZERO;
        let Self {
            data,
            stepper,
            state,
            folder,
            config,
            ranks,
        } = self;
        let device = stepper.model.device().clone();
        let every = config.training.checkpoint_batches;
        let flow = for_each_batch(data, &plan, first, &device, &mut wait, |index, batch| {
            let last = index + 1 == batches;
            if !stepper.train(&batch, &weights, state, last)? {
                return Ok(ControlFlow::Break(()));
            }
            if let Some(text) = stepper.notice.take() {
                observer.notice(&text);
            }
            state.batch = index + 1;
            if every > 0 && !last && (index + 1) % every == 0 && stepper.is_between_steps() {
                stepper.checkpoint(folder, state, false)?;
            }
            let flow = observer.batch(index as u64 + 1, batches as u64);
            Ok(together(flow, ranks, &mut stepper.stop))
        })?;
        if flow.is_break() {
            return Err(self.cancelled());
        }
        Ok(PassResult {
            metrics: self.state.partial.mean(),
            time: start.elapsed(),
            wait,
        })
    }

    /// Test measures with the best weights, then the last word to disk.
    fn finish(&mut self) -> Result<(), ModelError> {
        // All epochs are done: whoever wants to stop now gets the end.
        self.stepper.stop = false;
        if !self.data.rows(Split::Test).is_empty() && !self.state.history.rows.is_empty() {
            let device = self.stepper.model.device();
            let best = Model::with_weights(&self.config.model, &self.folder.best()?, device)?;
            self.ranks.check_same(best.parameters())?;
            let mut progress = |_, _| ControlFlow::Continue(());
            let test = self.evaluate(Split::Test, &best.frozen()?, &mut progress)?;
            if let (Some(row), Some(test)) = (self.state.history.rows.last_mut(), test) {
                row.test = Some(test.metrics);
            }
        }
        self.state.finished = true;
        let written = if self.ranks.writes() {
            self.folder
                .write_state(&self.state)
                .and_then(|()| self.folder.write_history(&self.state.history))
        } else {
            Ok(())
        };
        agree(self.ranks.team(), written)
    }

    /// Means over the batches of a split in evaluation mode; none if `progress` broke off.
    fn evaluate(
        &mut self,
        split: Split,
        model: &Model,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<PassResult>, ModelError> {
        let start = Instant::now();
        let epoch = match split {
            Split::Test => 0,
            _ => self.state.epoch as u64,
        };
        let plan = self.plan(split, epoch);
        let weights = self.weights(self.state.variance[split as usize]);
        let batches = plan.batches(self.data) as u64;
        let (mut mean, mut wait) = (MeanMetrics::default(), Duration::ZERO);
        let (ranks, stop) = (&self.ranks, &mut self.stepper.stop);
        let device = model.device();
        let flow = for_each_batch(self.data, &plan, 0, device, &mut wait, |index, batch| {
            let Some(metrics) = measure(model, &batch, &weights, ranks, *stop)? else {
                return Ok(ControlFlow::Break(()));
            };
            mean.add(&metrics);
            let flow = progress(index as u64 + 1, batches);
            Ok(together(flow, ranks, stop))
        })?;
        let result = PassResult {
            metrics: mean.mean(),
            time: start.elapsed(),
            wait,
        };
        Ok(flow.is_continue().then_some(result))
    }

    fn plan(&self, split: Split, epoch: u64) -> Plan {
        let t = &self.config.training;
        let augmented = match split {
            Split::Train => true,
            Split::Validation => t.augment_validation,
            Split::Test => false,
        };
        Plan {
            split,
            batch: t.batch,
            seed: t.seed,
            epoch,
            shuffle: split == Split::Train,
            augmentation: if augmented {
                t.augmentation
            } else {
                AugmentationGroup::None
            },
            rank: [self.ranks.team().rank(), self.ranks.team().size()],
        }
    }

    fn weights(&self, variance: f64) -> LossWeights {
        let t = &self.config.training;
        LossWeights {
            variance,
            identification: t.identification_weight,
            quantizer: t.quantizer_weight,
        }
    }

    fn cancelled(&self) -> ModelError {
        let kept = format!(
            "the checkpoint of epoch {} in {}; go on with --resume",
            self.state.history.rows.len(),
            self.folder.path().display()
        );
        ModelError::Cancelled { kept }
    }
}

/// What the observer's answer means here: alone it holds at once; one of several ranks goes on until all know of it.
fn together(flow: ControlFlow<()>, ranks: &Ranks, stop: &mut bool) -> ControlFlow<()> {
    if ranks.alone() {
        return flow;
    }
    *stop |= flow.is_break();
    ControlFlow::Continue(())
}

/// Completes a checkpoint whose writing was cut off, and writes what the state and `epochs` say into the other files.
fn mend(path: &Path, data: &TrainingData, epochs: Option<usize>) -> Result<(), ModelError> {
    let folder = ModelFolder::open(path)?;
    let mut config = folder.config()?;
    check_data(&config, data)?;
    let state = folder.state()?;
    if let Some(epochs) = epochs
        && epochs != config.training.epochs
    {
        config.training.epochs = epochs;
        config.check()?;
        folder.set_config(&config)?;
    }
    folder.write_history(&state.history)
}

fn variances(config: &Config, data: &TrainingData) -> Result<[f64; 3], ModelError> {
    let seed = config.training.seed;
    match config.training.variance {
        VarianceRule::Fixed(value) => Ok([value; 3]),
        VarianceRule::Training => Ok([variance(data, Split::Train, seed)?; 3]),
        VarianceRule::Split => {
            let of = |split| variance(data, split, seed);
            // Data without test crops have no test variance; nothing will ask for it.
            let test = if data.rows(Split::Test).is_empty() {
                1.0
            } else {
                of(Split::Test)?
            };
            Ok([of(Split::Train)?, of(Split::Validation)?, test])
        }
    }
}

fn check_placement(placement: &Placement) -> Result<(), ModelError> {
    if placement.cuda_graph() && placement.device().is_cpu() {
        return Err(crate::embed::no_gpu_for_a_graph());
    }
    Ok(())
}

fn check_data(config: &Config, data: &TrainingData) -> Result<(), ModelError> {
    let model = &config.model;
    let fits = model.channels == data.channels()
        && model.input == data.crop_shape()
        && model.classes == data.proteins().len();
    if model.normalization != data.normalization() {
        return Err(ModelError::Data {
            expected: format!("crops normalised by the rule {:?}", model.normalization),
            found: format!("the rule {:?}", data.normalization()),
            hint: "give TrainingData::normalized the network's rule".to_string(),
        });
    }
    if fits {
        return Ok(());
    }
    let words = |channels: &[String], [h, w]: [usize; 2], classes: usize| {
        format!(
            "{classes} proteins, channels {}, crops of {h}x{w} px",
            channels.join(",")
        )
    };
    Err(ModelError::Data {
        expected: words(&model.channels, model.input, model.classes),
        found: words(data.channels(), data.crop_shape(), data.proteins().len()),
        hint: "the configuration and the data must agree".to_string(),
    })
}

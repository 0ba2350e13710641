//! The baseline's training.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::Device;
use cytoself_io::Split;
use serde::{Deserialize, Serialize};

use super::config::InpaintingConfig;
use super::folder::{InpaintingFolder, State};
use super::network::InpaintingModel;
use super::pairs::{Batch, Pairs, Plan};
use crate::ModelError;
use crate::layers::Pass;
use crate::ops::{self, Adam, AdamParams, record};
use crate::training::TrainingData;
use crate::training::read_ahead::read_ahead;

/// Seconds of work that a kill may cost at most, about.
const BETWEEN_CHECKPOINTS: f64 = 60.0;

/// Validation pairs that are looked at, evenly spread: enough for a curve, too few to take the training's time.
const VALIDATED: usize = 256;

/// An epoch, perhaps cut short by the time allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InpaintingRow {
    /// Counted from 1.
    pub epoch: usize,
    /// Batches done in it.
    pub batches: usize,
    /// Mean squared error of the training batches.
    #[serde(with = "crate::exact")]
    pub training: f64,
    /// Mean squared error of the validation batches, of 256 pairs at most.
    #[serde(with = "crate::exact")]
    pub validation: f64,
    /// Seconds of work since training began.
    #[serde(with = "crate::exact")]
    pub seconds: f64,
}

impl InpaintingRow {
    pub(super) const HEADER: &str = "epoch,batches,train_mse,val_mse,seconds";

    pub(super) fn to_csv(&self) -> String {
        let Self {
            epoch,
            batches,
            training,
            validation,
            seconds,
        } = self;
        format!("{epoch},{batches},{training},{validation},{seconds:.3}")
    }
}

/// Follows a training and may stop it.
pub trait InpaintingObserver {
    /// A batch is done; `batch` of `batches` in this epoch. Break stops the training after a checkpoint.
    fn batch(&mut self, batch: u64, batches: u64) -> ControlFlow<()>;

    /// An epoch is done and its checkpoint is on disk.
    fn epoch(&mut self, row: &InpaintingRow);
}

/// A training that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct InpaintingOutcome {
    /// Optimizer steps.
    pub steps: u64,
    /// Seconds of work, those before a resume too.
    pub seconds: f64,
    /// Epochs; the last may have been cut short.
    pub history: Vec<InpaintingRow>,
}

/// Trains the baseline into a folder, from which it goes on to the same bits as a training that was never interrupted (where
/// epochs end it; seconds depend on the machine).
pub struct InpaintingTrainer<'a> {
    folder: InpaintingFolder,
    config: InpaintingConfig,
    data: &'a TrainingData<'a>,
    model: InpaintingModel,
    optimizer: Adam,
    state: State,
    last_checkpoint: f64,
}

impl<'a> InpaintingTrainer<'a> {
    /// Starts a training in the empty folder `path`.
    ///
    /// # Errors
    /// - the configuration is impossible or does not fit the data;
    /// - the folder cannot be written.
    pub fn start(
        path: &Path,
        config: InpaintingConfig,
        data: &'a TrainingData<'a>,
    ) -> Result<Self, ModelError> {
        config.check()?;
        check_data(&config, data)?;
        let model = InpaintingModel::new(&config, &Device::Cpu)?;
        let folder = InpaintingFolder::create(path, &config)?;
        let optimizer = optimizer(&model, &config)?;
        let state = State::new();
        folder.checkpoint(&model, &optimizer, &state)?;
        Ok(Self {
            folder,
            config,
            data,
            model,
            optimizer,
            state,
            last_checkpoint: 0.0,
        })
    }

    /// Goes on with the training in the folder `path`, up to `epochs` epochs if given.
    ///
    /// # Errors
    /// - the folder is no baseline's, or a file of it is damaged;
    /// - the data have other channels or sizes.
    pub fn resume(
        path: &Path,
        data: &'a TrainingData<'a>,
        epochs: Option<usize>,
    ) -> Result<Self, ModelError> {
        let folder = InpaintingFolder::open(path)?;
        let mut config = folder.config()?;
        check_data(&config, data)?;
        let mut state = folder.state()?;
        if let Some(epochs) = epochs
            && epochs != config.epochs
        {
            config.epochs = epochs;
            config.check()?;
            folder.set_config(&config)?;
            state.finished &= state.epoch >= epochs;
        }
        let (weights, moments) = folder.tensors()?;
        let model = InpaintingModel::with_weights(&config, &weights, &Device::Cpu)?;
        let mut optimizer = optimizer(&model, &config)?;
        optimizer.load_state(&moments, state.steps)?;
        let last_checkpoint = state.seconds;
        Ok(Self {
            folder,
            config,
            data,
            model,
            optimizer,
            state,
            last_checkpoint,
        })
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// - [`ModelError::Diverged`]: a loss is not a number; the last checkpoint is kept;
    /// - [`ModelError::Cancelled`]: the observer stopped it;
    /// - a crop cannot be read, or the folder not be written.
    pub fn run(
        &mut self,
        observer: &mut dyn InpaintingObserver,
    ) -> Result<InpaintingOutcome, ModelError> {
        let training = Pairs::new(self.data, Split::Train);
        let validation = Pairs::new(self.data, Split::Validation);
        while !self.state.finished && self.state.epoch < self.config.epochs {
            self.epoch(&training, &validation, observer)?;
        }
        Ok(InpaintingOutcome {
            steps: self.state.steps,
            seconds: self.state.seconds,
            history: self.state.history.clone(),
        })
    }

    fn epoch(
        &mut self,
        training: &Pairs<'_>,
        validation: &Pairs<'_>,
        observer: &mut dyn InpaintingObserver,
    ) -> Result<(), ModelError> {
        let plan = self.plan(self.state.epoch as u64, true);
        let order = training.order(&plan);
        let batches = training.batches(plan.batch);
        let (mut wait, mut stopped) = (Duration::ZERO, false);
        let mut start = Instant::now();
        // Whether the time or the user ended it is known already.
        let _ = read_ahead(
            self.state.batch..batches,
            |index| training.make(&order, index, &plan),
            &mut wait,
            |index, pixels| {
                self.step(&training.batch(pixels, &Device::Cpu)?)?;
                self.state.batch = index + 1;
                self.state.seconds += start.elapsed().as_secs_f64();
                start = Instant::now();
                if self.is_out_of_time() {
                    return Ok(ControlFlow::Break(()));
                }
                stopped = observer.batch(index as u64 + 1, batches as u64).is_break();
                if stopped || self.state.seconds > self.last_checkpoint + BETWEEN_CHECKPOINTS {
                    self.checkpoint()?;
                }
                let flow = if stopped {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                };
                Ok(flow)
            },
        )?;
        if stopped {
            let kept = format!(
                "batch {} of epoch {} in {}; go on with --resume",
                self.state.batch,
                self.state.epoch + 1,
                self.folder.path().display()
            );
            return Err(ModelError::Cancelled { kept });
        }
        let start = Instant::now();
        let mse = self.validate(validation)?;
        self.state.seconds += start.elapsed().as_secs_f64();
        self.close_epoch(mse)?;
        if let Some(row) = self.state.history.last() {
            observer.epoch(row);
        }
        Ok(())
    }

    fn close_epoch(&mut self, validation: f64) -> Result<(), ModelError> {
        let state = &mut self.state;
        state.epoch += 1;
        state.history.push(InpaintingRow {
            epoch: state.epoch,
            batches: state.batch,
            training: state.partial / state.batch.max(1) as f64,
            validation,
            seconds: state.seconds,
        });
        (state.batch, state.partial) = (0, 0.0);
        self.state.finished = self.is_out_of_time() || self.state.epoch >= self.config.epochs;
        self.checkpoint()
    }

    fn step(&mut self, batch: &Batch) -> Result<(), ModelError> {
        let pass = Pass {
            train: true,
            ..Pass::evaluate()
        };
        let (loss, tape) = record(|| -> Result<_, ModelError> {
            let predicted = self.model.forward(&batch.source, &batch.markers, &pass)?;
            Ok(ops::mse(&predicted, &batch.protein)?)
        })?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(ModelError::Diverged {
                epoch: self.state.epoch + 1,
                batch: self.state.batch,
                loss: value,
                kept: self.state.epoch,
            });
        }
        self.optimizer.step(&tape.backward(&loss)?)?;
        self.model.parameters().count_batch()?;
        self.state.steps += 1;
        self.state.partial += value;
        Ok(())
    }

    /// Mean squared error of the validation pairs, which are the same in every epoch.
    fn validate(&self, pairs: &Pairs<'_>) -> Result<f64, ModelError> {
        let model = self.model.frozen()?;
        let plan = self.plan(0, false);
        let all = pairs.order(&plan);
        let count = all.len().min(VALIDATED);
        let order: Vec<usize> = (0..count).map(|at| all[at * all.len() / count]).collect();
        let (mut wait, mut sum) = (Duration::ZERO, 0.0);
        let batches = count.div_ceil(plan.batch);
        // No batch breaks off.
        let _ = read_ahead(
            0..batches,
            |index| pairs.make(&order, index, &plan),
            &mut wait,
            |_, pixels| {
                let batch = pairs.batch(pixels, &Device::Cpu)?;
                let predicted = model.forward(&batch.source, &batch.markers, &Pass::evaluate())?;
                sum += f64::from(ops::mse(&predicted, &batch.protein)?.to_scalar::<f32>()?);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(sum / batches.max(1) as f64)
    }

    fn plan(&self, epoch: u64, training: bool) -> Plan {
        Plan {
            seed: self.config.seed,
            epoch,
            batch: self.config.batch,
            training,
        }
    }

    fn is_out_of_time(&self) -> bool {
        self.config
            .seconds
            .is_some_and(|limit| self.state.seconds >= limit)
    }

    fn checkpoint(&mut self) -> Result<(), ModelError> {
        self.last_checkpoint = self.state.seconds;
        self.folder
            .checkpoint(&self.model, &self.optimizer, &self.state)
    }
}

fn optimizer(model: &InpaintingModel, config: &InpaintingConfig) -> Result<Adam, ModelError> {
    let named = model.parameters().weights();
    let named = named.map(|p| (p.name.clone(), p.value.clone())).collect();
    let params = AdamParams {
        beta1: config.beta1,
        // Keras' constant.
        eps: 1e-7,
        ..AdamParams::adam(config.learning_rate)
    };
    Ok(Adam::new(named, params)?)
}

fn check_data(config: &InpaintingConfig, data: &TrainingData<'_>) -> Result<(), ModelError> {
    let fits = config.channels() == data.channels()
        && config.input == data.crop_shape()
        && config.normalization == data.normalization();
    if fits {
        return Ok(());
    }
    let words = |channels: &[String], [h, w]: [usize; 2]| {
        format!("channels {}, crops of {h}x{w} px", channels.join(","))
    };
    Err(ModelError::Data {
        expected: words(&config.channels(), config.input),
        found: words(data.channels(), data.crop_shape()),
        hint: "the configuration and the data must agree, the normalisation too".to_string(),
    })
}

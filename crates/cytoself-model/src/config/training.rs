//! The training's settings.

use serde::{Deserialize, Serialize};

use super::check::within;
use crate::ModelError;

/// How the network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Seed of the initial weights, the order of crops, the augmentation and the dropout.
    pub seed: u64,
    /// Passes over the training crops, at most.
    pub epochs: usize,
    /// Crops in a batch.
    pub batch: usize,
    /// Batches whose gradients are averaged for one optimizer step.
    pub accumulate: usize,
    /// Optimizer.
    pub optimizer: OptimizerKind,
    /// First learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay (AdamW only).
    pub weight_decay: f64,
    /// Weight of the identification losses.
    pub identification_weight: f64,
    /// Weight of the quantisers' losses.
    pub quantizer_weight: f64,
    /// Augmentation of the training crops.
    pub augmentation: AugmentationGroup,
    /// Whether the validation crops are augmented too (both codes of the paper do; it only adds noise).
    pub augment_validation: bool,
    /// What the reconstruction loss is divided by.
    pub variance: VarianceRule,
    /// Write a checkpoint after this many batches too, not only after each epoch; 0: only after each epoch.
    pub checkpoint_batches: usize,
    /// Whether ranks that train together share the statistics of batch normalisation, so that they train as one rank would with the
    /// whole batch; if not, each normalises its share of the batch by itself.
    pub sync_batch_norm: bool,
    /// Learning rate and early stop.
    pub schedule: ScheduleConfig,
}

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba, arXiv:1412.6980).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).
    Adamw,
}

/// Which transformations a crop may undergo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentationGroup {
    /// None.
    None,
    /// The eight symmetries of the square, equally likely (the paper); of a crop that is not square, four.
    Dihedral,
    /// Identity, half turn and the two flips, which is what the PyTorch code's transform amounts to.
    TorchSubset,
}

/// What the reconstruction loss is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VarianceRule {
    /// The variance of the training crops, in every split (TensorFlow code).
    Training,
    /// Each split's own variance (PyTorch code).
    Split,
    /// This number.
    Fixed(f64),
}

/// Learning rate and early stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// What counts as progress and when the count restarts.
    pub rule: PlateauRule,
    /// The learning rate is multiplied by this.
    pub factor: f64,
    /// Epochs without progress before that.
    pub patience: usize,
    /// Progress is a decrease by more than this.
    pub min_delta: f64,
    /// The learning rate never falls below this.
    pub min_learning_rate: f64,
    /// Epochs without progress before training stops; 0: never.
    pub stop_patience: usize,
    /// The first epochs do not count.
    pub ignore_first: usize,
    /// Steps in which the learning rate rises from 0; 0: none (the paper).
    pub warmup_steps: usize,
}

/// When the count of epochs without progress restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlateauRule {
    /// After progress and after a reduction (the paper; Keras).
    Paper,
    /// After a reduction only (the PyTorch code).
    Torch,
}

impl TrainingConfig {
    /// Checks that the training can run.
    ///
    /// # Errors
    /// - a setting has an impossible value; the error names it.
    pub fn check(&self) -> Result<(), ModelError> {
        for (name, value) in [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("accumulate", self.accumulate),
        ] {
            if value == 0 {
                return Err(ModelError::config(
                    format!("training.{name}"),
                    "at least 1",
                    value,
                ));
            }
        }
        within("training.learning_rate", self.learning_rate, 0.0, 1e3)?;
        within("training.beta1", self.beta1, 0.0, 0.999_999)?;
        within("training.beta2", self.beta2, 0.0, 0.999_999_9)?;
        within("training.weight_decay", self.weight_decay, 0.0, 1e3)?;
        within(
            "training.identification_weight",
            self.identification_weight,
            0.0,
            1e6,
        )?;
        within("training.quantizer_weight", self.quantizer_weight, 0.0, 1e6)?;
        within("training.schedule.factor", self.schedule.factor, 0.0, 1.0)?;
        if let VarianceRule::Fixed(variance) = self.variance {
            within(
                "training.variance.fixed",
                variance,
                f64::MIN_POSITIVE,
                f64::MAX,
            )?;
        }
        Ok(())
    }
}

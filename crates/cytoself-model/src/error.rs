//! What can go wrong in the model, its training and its files.

use std::path::{Path, PathBuf};

use cytoself_io::IoError;
use cytoself_vq::VqError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A setting has a value that the network or the training cannot have.
    #[error("configuration, {field}: expected {expected}, found {found}")]
    Config {
        /// The setting, e.g. `model.levels[1].quantizer.split`.
        field: String,
        /// What the setting has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A configuration is not valid TOML or has an unknown setting.
    #[error("configuration: {0}")]
    Toml(String),
    /// A preset that does not exist.
    #[error("preset {found:?} does not exist; choose one of {known}")]
    UnknownPreset {
        /// The name asked for.
        found: String,
        /// The names that exist.
        known: String,
    },
    /// A tensor has another shape than the network expects.
    #[error("{what}: expected shape {expected:?}, found {found:?}; {hint}")]
    Shape {
        /// The tensor or array.
        what: String,
        /// The shape expected.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
        /// What to do about it.
        hint: String,
    },
    /// Weights lack tensors that the network has.
    #[error(
        "{path}: {count} tensors of the network are missing, the first is {first}; were the weights made with another configuration?"
    )]
    MissingTensors {
        /// The weights.
        path: PathBuf,
        /// The first tensor missing.
        first: String,
        /// How many are missing.
        count: usize,
    },
    /// Weights have tensors that the network lacks.
    #[error(
        "{path}: {count} tensors are not part of the network, the first is {first}; were the weights made with another configuration?"
    )]
    ExtraTensors {
        /// The weights.
        path: PathBuf,
        /// The first tensor not known.
        first: String,
        /// How many are not known.
        count: usize,
    },
    /// A file is damaged or of another kind.
    #[error("{path}: {message}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The crops do not fit the model.
    #[error("data: expected {expected}, found {found}; {hint}")]
    Data {
        /// What the model needs.
        expected: String,
        /// What the data have.
        found: String,
        /// What to do about it.
        hint: String,
    },
    /// A device that cannot be used.
    #[error("device {name}: {message}")]
    Device {
        /// The device asked for.
        name: String,
        /// Why it cannot be used, and what to do.
        message: String,
    },
    /// The loss is not a number: training stopped, the last good checkpoint is kept.
    #[error(
        "training diverged: the loss of epoch {epoch}, batch {batch} is {loss}; the checkpoint of epoch {kept} is kept; try a lower learning rate"
    )]
    Diverged {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The batch in the epoch, counted from 0.
        batch: usize,
        /// The loss.
        loss: f64,
        /// The last epoch whose checkpoint is in the model folder (0: the initial weights).
        kept: usize,
    },
    /// The caller asked to stop.
    #[error("stopped on request; kept: {kept}")]
    Cancelled {
        /// What is complete on disk.
        kept: String,
    },
    /// The ranks of a training were not started alike.
    #[error(
        "rank {rank} has another {what} than rank 0: expected {expected}, found {found}; start all ranks with the same program, flags and files"
    )]
    Inconsistent {
        /// What differs.
        what: String,
        /// The first rank that differs.
        rank: usize,
        /// What rank 0 has.
        expected: String,
        /// What that rank has.
        found: String,
    },
    /// Another rank of the training ended.
    #[error("rank {rank} of the training ended: {reason}")]
    Lost {
        /// The rank.
        rank: usize,
        /// Why, as far as it is known.
        reason: String,
    },
    /// Reading crops or writing embeddings failed.
    #[error(transparent)]
    Io(Box<IoError>),
    /// The quantiser failed.
    #[error(transparent)]
    Quantizer(Box<VqError>),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl From<IoError> for ModelError {
    fn from(error: IoError) -> Self {
        Self::Io(Box::new(error))
    }
}

impl From<VqError> for ModelError {
    fn from(error: VqError) -> Self {
        Self::Quantizer(Box::new(error))
    }
}

impl ModelError {
    /// Whether every rank of the training has this error, so that one of them need report it.
    #[must_use]
    pub fn is_common(&self) -> bool {
        matches!(
            self,
            Self::Inconsistent { .. } | Self::Lost { .. } | Self::Cancelled { .. }
        )
    }

    pub(crate) fn config(
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Config {
            field: field.into(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }

    pub(crate) fn format(path: &Path, message: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_path_buf(),
            message: message.into(),
        }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File {
            path: path.to_path_buf(),
            source,
        }
    }
}

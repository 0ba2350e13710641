//! The baseline on disk: settings, and one file that holds weights, optimizer and state, so that one rename replaces them all.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::config::InpaintingConfig;
use super::network::InpaintingModel;
use super::trainer::InpaintingRow;
use crate::ModelError;
use crate::ops::Adam;
use crate::weights::{Weights, metadata, save};

/// The format of the state in `checkpoint.safetensors`.
const FORMAT: u32 = 1;
const CONFIG: &str = "inpainting.toml";
const CHECKPOINT: &str = "checkpoint.safetensors";
const HISTORY: &str = "history.csv";
/// What the names of the optimizer's tensors start with.
const MOMENTS: [&str; 2] = ["exp_avg.", "exp_avg_sq."];

/// Where a training stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    pub(super) version: String,
    /// Complete epochs.
    pub(super) epoch: usize,
    /// Batches done in the epoch after them.
    pub(super) batch: usize,
    /// Optimizer steps.
    pub(super) steps: u64,
    /// Seconds of training and validation that led here.
    #[serde(with = "crate::exact")]
    pub(super) seconds: f64,
    /// Sum of the losses of the epoch that is not complete.
    #[serde(with = "crate::exact")]
    pub(super) partial: f64,
    pub(super) finished: bool,
    pub(super) history: Vec<InpaintingRow>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_string(),
            epoch: 0,
            batch: 0,
            steps: 0,
            seconds: 0.0,
            partial: 0.0,
            finished: false,
            history: Vec::new(),
        }
    }
}

/// A baseline's folder: `inpainting.toml`, `checkpoint.safetensors`, `history.csv`.
#[derive(Debug, Clone)]
pub struct InpaintingFolder {
    path: PathBuf,
}

impl InpaintingFolder {
    /// The folder at `path`.
    ///
    /// # Errors
    /// - there is no `inpainting.toml`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if path.join(CONFIG).is_file() {
            return Ok(Self {
                path: path.to_path_buf(),
            });
        }
        let hint = "not a baseline's folder: inpainting.toml is missing; give the folder that inpaint wrote";
        Err(ModelError::format(path, hint))
    }

    pub(super) fn create(path: &Path, config: &InpaintingConfig) -> Result<Self, ModelError> {
        let folder = Self {
            path: path.to_path_buf(),
        };
        folder.set_config(config)?;
        Ok(folder)
    }

    /// Writes the settings anew.
    pub(super) fn set_config(&self, config: &InpaintingConfig) -> Result<(), ModelError> {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!(
            "# Written by cytoself {version}, complete.\n{}",
            config.to_toml()
        );
        self.replace(CONFIG, &text)
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings.
    ///
    /// # Errors
    /// - the file cannot be read or is not a configuration.
    pub fn config(&self) -> Result<InpaintingConfig, ModelError> {
        let path = self.path.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(ModelError::file(&path))?;
        InpaintingConfig::from_toml(&text).map_err(|e| ModelError::format(&path, e.to_string()))
    }

    /// Epochs with their losses and times, and whether training came to its end.
    ///
    /// # Errors
    /// - the checkpoint cannot be read.
    pub fn history(&self) -> Result<(Vec<InpaintingRow>, bool), ModelError> {
        let state = self.state()?;
        Ok((state.history, state.finished))
    }

    /// The weights and the optimizer's tensors of the last checkpoint.
    pub(super) fn tensors(&self) -> Result<(Weights, HashMap<String, Tensor>), ModelError> {
        let path = self.path.join(CHECKPOINT);
        let all = Weights::read(&path)?;
        let is_moment = |name: &String| MOMENTS.iter().any(|m| name.starts_with(m));
        let (moments, weights) = all
            .tensors()
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .partition(|(name, _)| is_moment(name));
        Ok((Weights::new(path, weights), moments))
    }

    pub(super) fn state(&self) -> Result<State, ModelError> {
        let path = self.path.join(CHECKPOINT);
        let text = metadata(&path)?.unwrap_or_default();
        let state: State = serde_json::from_str(&text)
            .map_err(|e| ModelError::format(&path, format!("not the state of a training: {e}")))?;
        if state.format != FORMAT {
            let message = format!(
                "expected format {FORMAT}, found {}; go on with version {}",
                state.format, state.version
            );
            return Err(ModelError::format(&path, message));
        }
        Ok(state)
    }

    /// Replaces the checkpoint.
    pub(super) fn checkpoint(
        &self,
        model: &InpaintingModel,
        optimizer: &Adam,
        state: &State,
    ) -> Result<(), ModelError> {
        let note = serde_json::to_string(state)
            .map_err(|e| ModelError::format(&self.path, e.to_string()))?;
        let moments = optimizer.state()?;
        let weights = model.parameters().iter();
        let weights = weights.map(|p| (p.name.as_str(), p.value.as_tensor().clone()));
        let tensors = weights.chain(moments.iter().map(|(n, t)| (n.as_str(), t.clone())));
        let path = self.path.join(format!("{CHECKPOINT}.new"));
        save(&path, tensors, &note)?;
        self.rename(CHECKPOINT)?;
        let rows = state.history.iter().map(InpaintingRow::to_csv);
        let table: String = std::iter::once(InpaintingRow::HEADER.to_string())
            .chain(rows)
            .map(|line| line + "\n")
            .collect();
        self.replace(HISTORY, &table)
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), ModelError> {
        let path = self.path.join(format!("{name}.new"));
        fs::write(&path, text).map_err(ModelError::file(&path))?;
        self.rename(name)
    }

    fn rename(&self, name: &str) -> Result<(), ModelError> {
        let path = self.path.join(name);
        fs::rename(self.path.join(format!("{name}.new")), &path).map_err(ModelError::file(&path))
    }
}

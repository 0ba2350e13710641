//! The model folder, and checkpoints that a kill at any moment leaves consistent.
//!
//! A checkpoint is several files. They are written beside the old ones as `NAME.new`, then `state.json` is replaced in
//! one rename: that is the moment at which the new checkpoint exists. Only then the other files are renamed. Every
//! weights file names the moment it belongs to; whoever finds a file older than `state.json` completes the renames.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::history::{History, HistoryRow};
use super::schedule::{Schedule, Verdict};
use crate::ModelError;
use crate::config::Config;
use crate::metrics::MeanMetrics;
use crate::model::Model;
use crate::weights::{Weights, metadata, save};

/// The format of `state.json`.
const STATE_FORMAT: u32 = 1;
const CONFIG: &str = "config.toml";
const PROTEINS: &str = "proteins.txt";
const STATE: &str = "state.json";
const HISTORY: &str = "history.csv";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";

/// Where a training stands; with the weights and the optimizer's tensors, everything that a resumed run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Version of this file's format.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// Complete epochs.
    pub epoch: usize,
    /// Batches done in the epoch after them; order and augmentation of crops follow from seed and epoch.
    pub batch: usize,
    /// Batches since training began; the counter of dropout and stochastic depth.
    pub step: u64,
    /// Optimizer steps since training began.
    pub optimizer_steps: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Variances that divide the reconstruction loss: train, val, test.
    #[serde(with = "crate::exact")]
    pub variance: [f64; 3],
    /// Learning rate and early stop.
    pub schedule: Schedule,
    /// The best epoch; 0: none yet, `best.safetensors` holds the initial weights.
    pub best_epoch: usize,
    /// Whether the early stop was reached.
    pub stopped: bool,
    /// Whether training ended and the test measures are known.
    pub finished: bool,
    /// Means of the epoch that is not complete.
    pub partial: MeanMetrics,
    /// Uses of each code in the epoch that is not complete, per level.
    pub code_uses: [Vec<u64>; 2],
    /// Batches since each code was last used, per level; counted only where unused codes are replaced.
    pub code_ages: [Vec<u32>; 2],
    /// All complete epochs.
    pub history: History,
}

impl TrainingState {
    pub(super) fn new(
        seed: u64,
        variance: [f64; 3],
        learning_rate: f64,
        codes: [usize; 2],
    ) -> Self {
        Self {
            format: STATE_FORMAT,
            version: env!("CARGO_PKG_VERSION").to_string(),
            epoch: 0,
            batch: 0,
            step: 0,
            optimizer_steps: 0,
            seed,
            variance,
            schedule: Schedule::new(learning_rate),
            best_epoch: 0,
            stopped: false,
            finished: false,
            partial: MeanMetrics::default(),
            code_uses: codes.map(|n| vec![0; n]),
            code_ages: codes.map(|n| vec![0; n]),
            history: History::default(),
        }
    }

    /// Ends the epoch that `row` describes.
    pub(super) fn close_epoch(&mut self, row: HistoryRow, verdict: &Verdict) {
        self.epoch += 1;
        self.batch = 0;
        self.partial = MeanMetrics::default();
        self.code_uses.iter_mut().for_each(|uses| uses.fill(0));
        self.stopped = verdict.stop;
        if verdict.best {
            self.best_epoch = self.epoch;
        }
        self.history.rows.push(row);
    }
}

/// What a weights file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    format: u32,
    version: String,
    /// Batches since training began: the moment that the file belongs to.
    step: u64,
    epoch: usize,
    seed: u64,
}

/// A trained model on disk.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    path: PathBuf,
}

impl ModelFolder {
    /// The model folder at `path`.
    ///
    /// # Errors
    /// - there is no `config.toml`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let config = path.join(CONFIG);
        if config.is_file() {
            return Ok(Self {
                path: path.to_path_buf(),
            });
        }
        Err(ModelError::format(
            path,
            "not a model folder: config.toml is missing; give the folder that train wrote",
        ))
    }

    /// Starts a model folder with its settings; `path` must be a folder.
    pub(super) fn create(
        path: &Path,
        config: &Config,
        proteins: &[String],
    ) -> Result<Self, ModelError> {
        let folder = Self {
            path: path.to_path_buf(),
        };
        folder.write(CONFIG, &config_text(config))?;
        let mut names = proteins.join("\n");
        names.push('\n');
        folder.write(PROTEINS, &names)?;
        Ok(folder)
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's settings.
    ///
    /// # Errors
    /// - the file cannot be read or is not a configuration.
    pub fn config(&self) -> Result<Config, ModelError> {
        let path = self.path.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(ModelError::file(&path))?;
        Config::from_toml(&text).map_err(|e| ModelError::format(&path, e.to_string()))
    }

    /// Writes the settings anew.
    pub(super) fn set_config(&self, config: &Config) -> Result<(), ModelError> {
        self.write(CONFIG, &config_text(config))
    }

    /// The proteins in the order of the labels.
    ///
    /// # Errors
    /// - the file cannot be read.
    pub fn proteins(&self) -> Result<Vec<String>, ModelError> {
        let path = self.path.join(PROTEINS);
        let text = fs::read_to_string(&path).map_err(ModelError::file(&path))?;
        Ok(text.lines().map(str::to_string).collect())
    }

    /// The weights of the best epoch.
    ///
    /// # Errors
    /// - the file cannot be read.
    pub fn best(&self) -> Result<Weights, ModelError> {
        Weights::read(&self.path.join(BEST))
    }

    /// The weights of the last checkpoint.
    ///
    /// # Errors
    /// - the file cannot be read.
    pub fn last(&self) -> Result<Weights, ModelError> {
        Weights::read(&self.path.join(LAST))
    }

    /// Where training stands. Completes a checkpoint whose writing was cut off.
    ///
    /// # Errors
    /// - a file is missing, damaged, of a later version, or older than `state.json`.
    pub fn state(&self) -> Result<TrainingState, ModelError> {
        let path = self.path.join(STATE);
        let text = fs::read_to_string(&path).map_err(ModelError::file(&path))?;
        let state: TrainingState = serde_json::from_str(&text)
            .map_err(|e| ModelError::format(&path, format!("not the state of a training: {e}")))?;
        if state.format != STATE_FORMAT {
            let message = format!(
                "expected format {STATE_FORMAT}, found {}; resume with the version that wrote it ({})",
                state.format, state.version
            );
            return Err(ModelError::format(&path, message));
        }
        self.complete(LAST, |note| note.step == state.step)?;
        self.complete(OPTIMIZER, |note| note.step == state.step)?;
        self.complete(BEST, |note| note.epoch == state.best_epoch)?;
        Ok(state)
    }

    /// The optimizer's tensors.
    pub(super) fn optimizer(&self) -> Result<Weights, ModelError> {
        Weights::read(&self.path.join(OPTIMIZER))
    }

    /// Replaces the checkpoint with the model's tensors and those of its optimizer; `best` says that these weights are the best
    /// so far.
    pub(super) fn checkpoint(
        &self,
        model: &Model,
        optimizer: &[(String, Tensor)],
        state: &TrainingState,
        best: bool,
    ) -> Result<(), ModelError> {
        let note = Note {
            format: STATE_FORMAT,
            version: state.version.clone(),
            step: state.step,
            epoch: state.epoch,
            seed: state.seed,
        };
        let note = serde_json::to_string(&note)
            .map_err(|e| ModelError::format(&self.path, e.to_string()))?;
        let parameters = || {
            model
                .parameters()
                .iter()
                .map(|p| (p.name.as_str(), p.value.as_tensor().clone()))
        };
        let mut renamed = vec![LAST, OPTIMIZER];
        self.stage(LAST, parameters(), &note)?;
        let kept = optimizer.iter().map(|(n, t)| (n.as_str(), t.clone()));
        self.stage(OPTIMIZER, kept, &note)?;
        if best {
            self.stage(BEST, parameters(), &note)?;
            renamed.push(BEST);
        }
        self.write_state(state)?;
        for name in renamed {
            self.rename(name)?;
        }
        self.write(HISTORY, &state.history.to_csv())
    }

    /// Replaces `state.json` alone, and the history that it holds.
    pub(super) fn write_state(&self, state: &TrainingState) -> Result<(), ModelError> {
        let text = serde_json::to_string_pretty(state)
            .map_err(|e| ModelError::format(&self.path, e.to_string()))?;
        self.write(STATE, &text)
    }

    /// Writes the history's table from the state.
    pub(super) fn write_history(&self, history: &History) -> Result<(), ModelError> {
        self.write(HISTORY, &history.to_csv())
    }

    fn stage<'a>(
        &self,
        name: &str,
        tensors: impl Iterator<Item = (&'a str, Tensor)>,
        note: &str,
    ) -> Result<(), ModelError> {
        let path = self.path.join(format!("{name}.new"));
        save(&path, tensors, note)?;
        sync(&path)
    }

    /// Writes a small file and replaces the old one in one rename.
    fn write(&self, name: &str, text: &str) -> Result<(), ModelError> {
        let path = self.path.join(format!("{name}.new"));
        fs::write(&path, text).map_err(ModelError::file(&path))?;
        sync(&path)?;
        self.rename(name)
    }

    fn rename(&self, name: &str) -> Result<(), ModelError> {
        let path = self.path.join(name);
        fs::rename(self.path.join(format!("{name}.new")), &path).map_err(ModelError::file(&path))
    }

    /// Makes sure that the file `name` belongs to the state: completes its rename if that was cut off.
    fn complete(&self, name: &str, belongs: impl Fn(&Note) -> bool) -> Result<(), ModelError> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        if read_note(&path).is_some_and(|n| belongs(&n)) {
            return Ok(());
        }
        if read_note(&new).is_some_and(|n| belongs(&n)) {
            return self.rename(name);
        }
        Err(ModelError::format(
            &path,
            "does not belong to state.json; was a file of the folder replaced? Train anew with --overwrite",
        ))
    }
}

fn config_text(config: &Config) -> String {
    format!(
        "# Written by cytoself {}. Complete: nothing is left to defaults.\n{}",
        env!("CARGO_PKG_VERSION"),
        config.to_toml()
    )
}

/// None for a file that is missing or cut off.
fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_str(&metadata(path).ok()??).ok()
}

fn sync(path: &Path) -> Result<(), ModelError> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(ModelError::file(path))
}

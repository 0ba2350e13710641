//! Reading and writing named tensors: `.safetensors`, PyTorch's `.pt` state dicts, and Keras' `.h5`.

mod keras;
mod safetensors;
mod torch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use crate::ModelError;
use crate::config::ModelConfig;

pub use self::safetensors::{metadata, save};

/// Named tensors read from a file.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    /// Where each tensor lay in an HDF5 file; empty for other files.
    datasets: HashMap<String, String>,
}

impl Weights {
    /// Reads a `.safetensors` file; a `.pt`, `.pth` or `.chkp` state dict or checkpoint of PyTorch; or the `.h5` weights of the
    /// TensorFlow release. A checkpoint's state dict is taken from its entry `model_state_dict`. Weights of TensorFlow get PyTorch's
    /// names and layouts; they need a network of TensorFlow's arithmetic, such as the preset `paper`.
    ///
    /// A pickled module (PyTorch's `torch.save(model)`) holds code and is refused: save its `state_dict()` instead.
    ///
    /// # Errors
    /// - the file cannot be read, is damaged, or is of another kind.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let mut datasets = HashMap::new();
        let tensors = match extension.as_str() {
            "safetensors" => safetensors::read(path, &Device::Cpu)?,
            "pt" | "pth" | "chkp" | "ckpt" => torch::read(path)?,
            "h5" | "hdf5" => {
                let imported = keras::read(path)?;
                datasets = imported.datasets;
                imported.tensors
            }
            other => {
                let message = format!(
                    "expected weights named .safetensors, .pt, .pth, .chkp or .h5, found .{other}"
                );
                return Err(ModelError::format(path, message));
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            tensors,
            datasets,
        })
    }

    /// Tensors that were read from `path` already.
    pub(crate) fn new(path: PathBuf, tensors: HashMap<String, Tensor>) -> Self {
        Self {
            path,
            tensors,
            datasets: HashMap::new(),
        }
    }

    /// Refuses a network that computes something else with these weights than the program that trained them.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        if self.datasets.is_empty() {
            Ok(())
        } else {
            keras::check(config)
        }
    }

    /// The tensor `name` in the words of the file.
    pub(crate) fn place(&self, name: &str) -> String {
        match self.datasets.get(name) {
            Some(dataset) => format!("dataset {dataset} (here {name})"),
            None => format!("tensor {name}"),
        }
    }

    /// The tensors by PyTorch's names.
    #[must_use]
    pub fn tensors(&self) -> &HashMap<String, Tensor> {
        &self.tensors
    }

    /// Where the tensors came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of proteins that the heads tell apart; none without heads.
    #[must_use]
    pub fn classes(&self) -> Option<usize> {
        let last = |name: &&String| name.starts_with("fc_layers.") && name.ends_with(".bias");
        let name = self.tensors.keys().filter(last).max()?;
        self.tensors[name].dims().first().copied()
    }
}

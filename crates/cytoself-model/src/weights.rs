//! Reading and writing named tensors: `.safetensors`, and PyTorch's `.pt` state dicts.

mod safetensors;
mod torch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use crate::ModelError;

pub use self::safetensors::{metadata, save};

/// Named tensors read from a file.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Weights {
    /// Reads a `.safetensors` file, or a `.pt`, `.pth` or `.chkp` state dict or checkpoint of PyTorch. A checkpoint's
    /// state dict is taken from its entry `model_state_dict`.
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
        let tensors = match extension.as_str() {
            "safetensors" => safetensors::read(path, &Device::Cpu)?,
            "pt" | "pth" | "chkp" | "ckpt" => torch::read(path)?,
            other => {
                let message = format!(
                    "expected weights named .safetensors, .pt, .pth or .chkp, found .{other}"
                );
                return Err(ModelError::format(path, message));
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            tensors,
        })
    }

    /// Tensors that were read from `path` already.
    pub(crate) fn new(path: PathBuf, tensors: HashMap<String, Tensor>) -> Self {
        Self { path, tensors }
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

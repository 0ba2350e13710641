//! PyTorch's zip of a pickled state dict.

use std::collections::HashMap;
use std::path::Path;

use candle_core::pickle::PthTensors;
use candle_core::{DType, Tensor};

use crate::ModelError;

/// The entry of cytoself's checkpoints that holds the weights.
const CHECKPOINT_ENTRY: &str = "model_state_dict";

pub(super) fn read(path: &Path) -> Result<HashMap<String, Tensor>, ModelError> {
    std::fs::File::open(path).map_err(ModelError::file(path))?;
    let plain = read_entry(path, None)?;
    let tensors = if plain.is_empty() {
        read_entry(path, Some(CHECKPOINT_ENTRY))?
    } else {
        plain
    };
    if tensors.is_empty() {
        let message = format!(
            "expected a PyTorch state dict, or a checkpoint with the entry {CHECKPOINT_ENTRY}, found no tensor; save model.state_dict()"
        );
        return Err(ModelError::format(path, message));
    }
    Ok(tensors)
}

fn read_entry(path: &Path, entry: Option<&str>) -> Result<HashMap<String, Tensor>, ModelError> {
    let damaged =
        |e: candle_core::Error| ModelError::format(path, format!("not a PyTorch state dict: {e}"));
    let file = match PthTensors::new(path, entry) {
        Ok(file) => file,
        // A checkpoint without that entry: reported by the caller as a file without tensors.
        Err(_) if entry.is_some() => return Ok(HashMap::new()),
        Err(e) => return Err(damaged(e)),
    };
    let mut tensors = HashMap::new();
    for name in file.tensor_infos().keys() {
        if let Some(tensor) = file.get(name).map_err(damaged)? {
            let dtype = if tensor.dtype() == DType::I64 {
                DType::I64
            } else {
                DType::F32
            };
            tensors.insert(name.clone(), tensor.to_dtype(dtype)?);
        }
    }
    Ok(tensors)
}

//! The named tensors of a network, in the order and with the names of PyTorch's state dict.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};

use crate::ModelError;
use crate::weights::Weights;

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Trained.
    Weight,
    /// A running statistic of a batch norm.
    Buffer,
    /// PyTorch's count of batches seen.
    Counter,
}

/// A named tensor of a network.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// PyTorch's name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// The values, shared with the layer that uses them.
    pub value: Var,
}

/// All tensors of a network, ordered.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    entries: Vec<Parameter>,
    index: HashMap<String, usize>,
}

impl Parameters {
    pub(crate) fn push(&mut self, name: String, kind: Kind, value: Var) {
        self.index.insert(name.clone(), self.entries.len());
        self.entries.push(Parameter { name, kind, value });
    }

    /// All tensors in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.entries.iter()
    }

    /// The trained tensors in order.
    pub fn weights(&self) -> impl Iterator<Item = &Parameter> {
        self.entries.iter().filter(|p| p.kind == Kind::Weight)
    }

    /// A tensor by PyTorch's name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// Number of trained values.
    #[must_use]
    pub fn trained_values(&self) -> usize {
        self.weights().map(|p| p.value.elem_count()).sum()
    }

    /// Adds one to every count of batches seen.
    pub(crate) fn count_batch(&self) -> Result<(), ModelError> {
        for p in self.entries.iter().filter(|p| p.kind == Kind::Counter) {
            let seen = p.value.to_scalar::<i64>()?;
            p.value.set(&Tensor::new(seen + 1, p.value.device())?)?;
        }
        Ok(())
    }

    /// Copies `weights` into the network. Missing counters become 0; any other difference is an error.
    ///
    /// # Errors
    /// - a tensor of the network is missing, or one is there that the network lacks;
    /// - a shape differs.
    pub fn assign(&self, weights: &Weights) -> Result<(), ModelError> {
        let (tensors, path) = (weights.tensors(), weights.path());
        let required = self.entries.iter().filter(|p| p.kind != Kind::Counter);
        let missing: Vec<&str> = required
            .map(|p| p.name.as_str())
            .filter(|n| !tensors.contains_key(*n))
            .collect();
        if let Some(first) = missing.first() {
            let first = (*first).to_string();
            return Err(ModelError::MissingTensors {
                path: path.to_path_buf(),
                first,
                count: missing.len(),
            });
        }
        let mut extra: Vec<&String> = tensors
            .keys()
            .filter(|n| !self.index.contains_key(*n))
            .collect();
        extra.sort();
        if let Some(first) = extra.first() {
            let first = (*first).clone();
            return Err(ModelError::ExtraTensors {
                path: path.to_path_buf(),
                first,
                count: extra.len(),
            });
        }
        self.entries.iter().try_for_each(|p| assign_one(p, weights))
    }
}

fn assign_one(parameter: &Parameter, weights: &Weights) -> Result<(), ModelError> {
    let own = &parameter.value;
    let Some(given) = weights.tensors().get(&parameter.name) else {
        own.set(&own.zeros_like()?)?;
        return Ok(());
    };
    if given.dims() != own.dims() {
        return Err(ModelError::Shape {
            what: format!(
                "{}: {}",
                weights.path().display(),
                weights.place(&parameter.name)
            ),
            expected: own.dims().to_vec(),
            found: given.dims().to_vec(),
            hint: "were the weights made with another configuration?".to_string(),
        });
    }
    let dtype = if parameter.kind == Kind::Counter {
        DType::I64
    } else {
        DType::F32
    };
    own.set(
        &given
            .to_dtype(dtype)?
            .to_device(own.device())?
            .contiguous()?,
    )?;
    Ok(())
}

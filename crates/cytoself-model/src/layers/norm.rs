//! Batch norm with its activation.

use candle_core::Tensor;

use super::Pass;
use super::builder::{Builder, Init};
use crate::ModelError;
use crate::ops::{self, Activation, BatchNormMode, BatchNormRunning, FixedNorm};

/// Batch norm over channels, then an optional residual, then an optional SiLU.
pub(crate) struct Norm {
    affine: Option<(Tensor, Tensor)>,
    running: BatchNormRunning,
    epsilon: f64,
    momentum: f64,
    activation: Activation,
}

impl Norm {
    pub(crate) fn new(
        b: &mut Builder,
        name: &str,
        channels: usize,
        affine: bool,
        activation: Activation,
    ) -> Result<Self, ModelError> {
        let affine = if affine {
            let weight = b.weight(format!("{name}.weight"), &[channels], Init::Constant(1.0))?;
            Some((
                weight,
                b.weight(format!("{name}.bias"), &[channels], Init::Constant(0.0))?,
            ))
        } else {
            None
        };
        let mean = b.buffer(format!("{name}.running_mean"), channels, 0.0)?;
        let var = b.buffer(format!("{name}.running_var"), channels, 1.0)?;
        b.counter(format!("{name}.num_batches_tracked"))?;
        let running = BatchNormRunning { mean, var };
        Ok(Self {
            affine,
            running,
            epsilon: b.norm.epsilon,
            momentum: b.norm.momentum,
            activation,
        })
    }

    /// The same as a line per channel, where it takes its statistics from no batch, on the CPU, and nobody asks for its gradients.
    pub(crate) fn fixed(&self, x: &Tensor, pass: &Pass) -> Result<Option<FixedNorm>, ModelError> {
        let affine = self.affine.as_ref().map(|(w, b)| (w, b));
        let free = affine.is_none_or(|(w, b)| ops::untracked([w, b]));
        if pass.train || !free || !x.device().is_cpu() {
            return Ok(None);
        }
        let norm = FixedNorm::new(affine, &self.running, self.epsilon, self.activation)?;
        Ok(Some(norm))
    }

    /// `act(bn(x) + residual)`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        pass: &Pass,
    ) -> Result<Tensor, ModelError> {
        let mode = if pass.train {
            BatchNormMode::Train {
                momentum: self.momentum,
            }
        } else {
            BatchNormMode::Eval
        };
        let affine = self.affine.as_ref().map(|(w, b)| (w, b));
        Ok(ops::batch_norm(
            x,
            affine,
            &self.running,
            mode,
            self.epsilon,
            residual,
            self.activation,
        )?)
    }
}

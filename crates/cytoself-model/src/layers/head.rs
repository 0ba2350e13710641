//! A level's identification head.

use candle_core::Tensor;

use super::Pass;
use super::builder::{Builder, Init};
use crate::ModelError;
use crate::config::{FlattenOrder, HeadConfig, HeadInit};
use crate::ops;

/// Dropout and one linear layer, or dropout, linear, ReLU, dropout, linear.
pub(crate) struct Head {
    layers: Vec<Layer>,
    flatten: FlattenOrder,
}

struct Layer {
    dropout: f64,
    stream: u32,
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    pub(crate) fn new(
        b: &mut Builder,
        name: &str,
        config: &HeadConfig,
        flatten: FlattenOrder,
        inputs: usize,
        classes: usize,
    ) -> Result<Self, ModelError> {
        let mut layers = Vec::with_capacity(2);
        // PyTorch's list is dropout (0), linear (1), ReLU (2), dropout (3), linear (4).
        let widths = match config.hidden {
            None => vec![(1, inputs, classes, config.input_dropout)],
            Some(hidden) => vec![
                (1, inputs, hidden, config.input_dropout),
                (4, hidden, classes, config.hidden_dropout),
            ],
        };
        for (place, inputs, outputs, dropout) in widths {
            let half = match config.init {
                HeadInit::Torch => 1.0 / (outputs as f64).sqrt(),
                HeadInit::Glorot => (6.0 / (inputs + outputs) as f64).sqrt(),
            };
            let name = format!("{name}.fc_list.{place}");
            let weight = b.weight(
                format!("{name}.weight"),
                &[outputs, inputs],
                Init::Uniform(half),
            )?;
            let bias = b.weight(format!("{name}.bias"), &[outputs], Init::Constant(0.0))?;
            layers.push(Layer {
                dropout,
                stream: b.stream(),
                weight,
                bias,
            });
        }
        Ok(Self { layers, flatten })
    }

    /// Logits `[n, classes]` of a representation `[n, c, h, w]`.
    pub(crate) fn forward(
        &self,
        representation: &Tensor,
        pass: &Pass,
    ) -> Result<Tensor, ModelError> {
        let ordered = match self.flatten {
            FlattenOrder::ChannelFirst => representation.clone(),
            FlattenOrder::ChannelLast => ops::channels_last(representation)?,
        };
        let images = ordered.dim(0)?;
        let mut y = ops::reshape(&ordered, (images, ordered.elem_count() / images.max(1)))?;
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                y = ops::relu(&y)?;
            }
            if let (Some(key), true) = (pass.key(layer.stream), layer.dropout > 0.0) {
                y = ops::dropout_part(&y, layer.dropout, key, pass.first)?;
            }
            y = ops::linear(&y, &layer.weight, Some(&layer.bias))?;
        }
        Ok(y)
    }
}

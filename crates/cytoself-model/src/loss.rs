//! The total loss and the measures of a batch.

use candle_core::Tensor;

use crate::ModelError;
use crate::metrics::Metrics;
use crate::model::{Forward, Model};
use crate::ops;

/// Weights of the terms of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// The reconstruction's squared error is divided by this.
    pub variance: f64,
    /// Weight of the identification losses.
    pub identification: f64,
    /// Weight of the quantisers' losses.
    pub quantizer: f64,
}

impl LossWeights {
    /// All weights 1 and the given variance.
    #[must_use]
    pub fn new(variance: f64) -> Self {
        Self {
            variance,
            identification: 1.0,
            quantizer: 1.0,
        }
    }
}

impl Model {
    /// The loss of a forward pass, ready for `backward`, and its parts:
    /// `mse(reconstruction, image) / variance + mse(decoder 2, target) + quantisers + cross entropies`.
    ///
    /// # Shapes
    /// `images: [n, c, h, w]` f32, `labels: [n]` u32.
    ///
    /// # Errors
    /// - the labels do not fit the images or the number of classes.
    pub fn loss(
        &self,
        forward: &Forward,
        images: &Tensor,
        labels: &Tensor,
        weights: &LossWeights,
    ) -> Result<(Tensor, Metrics), ModelError> {
        let mut metrics = Metrics::default();
        let mut terms: Vec<Tensor> = Vec::with_capacity(6);
        if let Some(reconstruction) = &forward.reconstruction {
            let error = ops::scale(&ops::mse(reconstruction, images)?, 1.0 / weights.variance)?;
            metrics.set("reconstruction1_loss", value(&error)?);
            terms.push(error);
        }
        if let Some(inner) = &forward.inner {
            let error = ops::mse(inner, self.inner_target(&forward.levels[0]))?;
            metrics.set("reconstruction2_loss", value(&error)?);
            terms.push(error);
        }
        for (level, number) in forward.levels.iter().zip(1..) {
            if let Some(q) = &level.quantized {
                metrics.set(&format!("perplexity{number}"), q.perplexity);
                metrics.set(&format!("vq{number}_loss"), value(&q.loss)?);
                metrics.set(
                    &format!("vq{number}_commitment_loss"),
                    value(&q.commitment_loss)?,
                );
                metrics.set(
                    &format!("vq{number}_quantization_loss"),
                    value(&q.quantization_loss)?,
                );
                terms.push(ops::scale(&q.loss, weights.quantizer)?);
            }
        }
        for (logits, number) in forward.logits.iter().zip(1..) {
            if let Some(logits) = logits {
                let entropy = ops::cross_entropy(logits, labels)?;
                metrics.set(&format!("fc{number}_loss"), value(&entropy)?);
                metrics.set(&format!("fc{number}_accuracy"), accuracy(logits, labels)?);
                terms.push(ops::scale(&entropy, weights.identification)?);
            }
        }
        let mut terms = terms.into_iter();
        let Some(mut total) = terms.next() else {
            return Err(ModelError::config(
                "model",
                "at least one decoder, head or quantiser to train",
                "none",
            ));
        };
        for term in terms {
            total = ops::add(&total, &term)?;
        }
        metrics.set("loss", value(&total)?);
        Ok((total, metrics))
    }
}

fn value(scalar: &Tensor) -> Result<f64, ModelError> {
    Ok(f64::from(scalar.to_scalar::<f32>()?))
}

/// Share of rows whose largest logit is the label's.
fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<f64, ModelError> {
    let (rows, labels) = (logits.to_vec2::<f32>()?, labels.to_vec1::<u32>()?);
    let right = rows
        .iter()
        .zip(&labels)
        .filter(|(row, label)| largest(row) == Some(**label as usize))
        .count();
    Ok(right as f64 / rows.len().max(1) as f64)
}

/// Index of the first largest value.
pub(crate) fn largest(row: &[f32]) -> Option<usize> {
    let start = (!row.is_empty()).then_some(0)?;
    Some(
        row.iter()
            .enumerate()
            .fold(start, |best, (i, v)| if *v > row[best] { i } else { best }),
    )
}

//! The total loss and the measures of a batch.

use candle_core::Tensor;

use crate::ModelError;
use crate::measures::Measures;
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
        let (total, measures) = self.loss_unread(forward, images, labels, weights)?;
        Ok((total, measures.read()?))
    }

    /// As [`Model::loss`], without waiting for a GPU: what it tells only when it is asked, [`Measures::read`] says.
    ///
    /// # Errors
    /// As [`Model::loss`].
    pub fn loss_unread(
        &self,
        forward: &Forward,
        images: &Tensor,
        labels: &Tensor,
        weights: &LossWeights,
    ) -> Result<(Tensor, Measures), ModelError> {
        let mut measures = Measures::default();
        let mut terms: Vec<Tensor> = Vec::with_capacity(6);
        if let Some(reconstruction) = &forward.reconstruction {
            let error = ops::scale(&ops::mse(reconstruction, images)?, 1.0 / weights.variance)?;
            measures.scalar("reconstruction1_loss", &error);
            terms.push(error);
        }
        if let Some(inner) = &forward.inner {
            let error = ops::mse(inner, self.inner_target(&forward.levels[0]))?;
            measures.scalar("reconstruction2_loss", &error);
            terms.push(error);
        }
        for (level, number) in forward.levels.iter().zip(1..) {
            if let Some(q) = &level.quantized {
                measures.tally(format!("perplexity{number}"), &q.tally);
                measures.scalar(format!("vq{number}_loss"), &q.loss);
                measures.scalar(format!("vq{number}_commitment_loss"), &q.commitment_loss);
                let quantization = format!("vq{number}_quantization_loss");
                measures.scalar(quantization, &q.quantization_loss);
                terms.push(ops::scale(&q.loss, weights.quantizer)?);
            }
        }
        for (logits, number) in forward.logits.iter().zip(1..) {
            if let Some(logits) = logits {
                let entropy = ops::cross_entropy(logits, labels)?;
                measures.scalar(format!("fc{number}_loss"), &entropy);
                let (hits, rows) = (ops::hits(logits, labels)?, logits.dim(0)?);
                measures.share(format!("fc{number}_accuracy"), &hits, rows);
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
        measures.scalar("loss", &total);
        Ok((total, measures))
    }
}

//! The parts of the network, each built from its settings into named parameters.

mod builder;
mod conv;
mod decoder;
mod encoder;
mod head;
mod mbconv;
mod norm;
mod packed;
mod plan;
mod upsample;

pub(crate) use builder::Builder;
pub(crate) use conv::{Conv, ConvShape};
pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;
pub(crate) use head::Head;
pub(crate) use norm::Norm;
pub(crate) use plan::{DecoderPlan, encoder_blocks};
pub(crate) use upsample::upsample;

use crate::ops::{ConvAlgorithm, RngKey};

/// How a forward pass runs.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Batch statistics and their update, or the running statistics.
    pub train: bool,
    /// Key of dropout and stochastic depth; none: both are off.
    pub noise: Option<Noise>,
    /// Algorithm of the 3x3 convolutions; encoders that evaluate without gradients on a processor have one of their own.
    pub algorithm: ConvAlgorithm,
    /// Place of the first image in the batch, of which these images may be a part: what is random about an image follows from
    /// its place.
    pub first: u64,
}

/// Seed and step of a training pass; every layer adds its own stream.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// The training's seed.
    pub seed: u64,
    /// The number of the batch since training began.
    pub step: u64,
}

impl Pass {
    /// Evaluation: running statistics, nothing random.
    #[must_use]
    pub fn evaluate() -> Self {
        Self {
            train: false,
            noise: None,
            algorithm: ConvAlgorithm::Auto,
            first: 0,
        }
    }

    /// Training with dropout and stochastic depth.
    #[must_use]
    pub fn train(noise: Noise) -> Self {
        Self {
            train: true,
            noise: Some(noise),
            algorithm: ConvAlgorithm::Auto,
            first: 0,
        }
    }

    /// The same pass with another convolution algorithm.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: ConvAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The same pass over a part of a batch that begins with its image `first`.
    #[must_use]
    pub fn part(mut self, first: u64) -> Self {
        self.first = first;
        self
    }

    /// The key of the random layer `stream` of the network.
    pub(crate) fn key(&self, stream: u32) -> Option<RngKey> {
        self.noise.map(|n| RngKey {
            seed: n.seed,
            stream: u64::from(stream),
            step: n.step,
        })
    }
}

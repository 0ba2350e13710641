//! The network's settings.

use serde::{Deserialize, Serialize};

use super::InputNormalization;
use super::check::{positive, within};
use super::level::LevelConfig;
use crate::ModelError;

/// The network: two levels, level 1 (index 0) fine, level 2 (index 1) global.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Names of the image channels, in the order of the input.
    pub channels: Vec<String>,
    /// Height and width of a crop in px.
    pub input: [usize; 2],
    /// What is done to the crops of a store before the network sees them.
    #[serde(default)]
    pub normalization: InputNormalization,
    /// How many proteins the heads tell apart; 0 until the data are known.
    pub classes: usize,
    /// Order in which a representation is flattened for the heads.
    pub flatten: FlattenOrder,
    /// Padding of convolutions with stride 2.
    pub padding: PaddingRule,
    /// Constants of every batch norm.
    pub norm: NormConfig,
    /// How the global quantised map is brought to the fine map's size.
    pub upsampling: Upsampling,
    /// What decoder 2 has to reproduce.
    pub inner_target: InnerTarget,
    /// The fine level, then the global level.
    pub levels: [LevelConfig; 2],
}

/// Order in which a representation is flattened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlattenOrder {
    /// (channel, h, w), as PyTorch.
    ChannelFirst,
    /// (h, w, channel), as TensorFlow.
    ChannelLast,
}

/// Padding of convolutions with stride 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingRule {
    /// k / 2 on every side, as PyTorch.
    Symmetric,
    /// One less at the top and left where the map's side is even, as TensorFlow.
    Tensorflow,
}

/// Constants of batch normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormConfig {
    /// Added to the variance.
    pub epsilon: f64,
    /// Weight of a new batch in the running statistics (PyTorch's convention; 1 - momentum in Keras).
    pub momentum: f64,
}

/// How the global quantised map is brought to the fine map's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upsampling {
    /// Nearest neighbour, floor(i * in / out) (PyTorch code).
    Nearest,
    /// Bilinear with half-pixel centres.
    Bilinear,
    /// Bilinear without half-pixel centres (TensorFlow 1's `image.resize`, which the TensorFlow code calls).
    BilinearLegacy,
}

/// What decoder 2 has to reproduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InnerTarget {
    /// The quantised level 1 (PyTorch code).
    Quantized,
    /// The output of encoder 1 (TensorFlow code).
    Encoder,
}

impl ModelConfig {
    /// Number of values in a level's flattened representation.
    #[must_use]
    pub fn representation(&self, level: usize) -> usize {
        let [h, w] = self.embedding(level);
        self.levels[level].quantizer.width() * h * w
    }

    /// Height and width of a level's representation: what the strides leave of the input.
    #[must_use]
    pub fn embedding(&self, level: usize) -> [usize; 2] {
        self.levels
            .iter()
            .take(level + 1)
            .fold(self.input, |size, l| l.encoder.output_size(size))
    }

    /// The same network for crops of another size. Where the strides would leave fewer than 3 positions on a side of
    /// the global representation, the last strides become 1.
    #[must_use]
    pub fn with_input(mut self, input: [usize; 2]) -> Self {
        self.input = input;
        while self.embedding(1).into_iter().min() < Some(3) {
            match self.levels[1]
                .encoder
                .stages
                .iter_mut()
                .rev()
                .find(|s| s.stride > 1)
            {
                Some(stage) => stage.stride = 1,
                None => break,
            }
        }
        self
    }

    /// Input channels of decoder `level`.
    pub(crate) fn decoder_input(&self, level: usize) -> usize {
        let own = self.levels[level].quantizer.width();
        if level == 0 {
            own + self.levels[1].quantizer.width()
        } else {
            own
        }
    }

    /// Output channels and size of decoder `level`.
    pub(crate) fn decoder_output(&self, level: usize) -> (usize, [usize; 2]) {
        match level {
            0 => (self.channels.len(), self.input),
            _ => (self.levels[0].quantizer.width(), self.embedding(0)),
        }
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// - a setting has an impossible value; the error names it.
    pub fn check(&self) -> Result<(), ModelError> {
        positive("model.channels (count)", self.channels.len())?;
        for side in self.input {
            positive("model.input", side)?;
        }
        within("model.norm.momentum", self.norm.momentum, 0.0, 1.0)?;
        within("model.norm.epsilon", self.norm.epsilon, 1e-12, 1.0)?;
        for (i, level) in self.levels.iter().enumerate() {
            let input = match i {
                0 => self.channels.len(),
                _ => self.levels[0].quantizer.width(),
            };
            level.check(&format!("model.levels[{i}]"), input)?;
        }
        Ok(())
    }
}

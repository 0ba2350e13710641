//! The settings of one level of the network: encoder, quantiser, head, decoder.

use serde::{Deserialize, Serialize};

use super::check::{odd, positive, within};
use crate::ModelError;

/// One level: its encoder, quantiser, identification head and decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelConfig {
    /// The encoder.
    pub encoder: EncoderConfig,
    /// The quantiser; the encoder's output has `split * dimension` channels.
    pub quantizer: QuantizerConfig,
    /// The identification head.
    pub head: HeadConfig,
    /// The decoder.
    pub decoder: DecoderConfig,
}

/// A piece of EfficientNet: stem, stages of MBConv blocks, a 1x1 convolution on top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// The 3x3 convolution in front of the stages.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stem: Option<StemConfig>,
    /// Stochastic depth of the last block; block i of n gets `i / n` of it.
    pub stochastic_depth: f64,
    /// The stages.
    pub stages: Vec<StageConfig>,
}

/// The convolution in front of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StemConfig {
    /// Output channels.
    pub channels: usize,
    /// Stride.
    pub stride: usize,
}

/// A stage of MBConv blocks; stride and change of channels belong to its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The hidden channels are `expand * input`; 1: no expansion.
    pub expand: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Nominal input channels: they set the hidden width and the squeeze, even where the true input is wider
    /// (the first stage of the TensorFlow encoder 2, which has no stem).
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Number of blocks.
    pub repeats: usize,
}

/// A split quantiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizerConfig {
    /// False: the encoder's output is used as it is (ablation).
    pub enabled: bool,
    /// Number of codes.
    pub codes: usize,
    /// Length of a code.
    pub dimension: usize,
    /// Pieces into which the channels of a position are cut; 1: no split.
    pub split: usize,
    /// Weight of the commitment loss.
    pub commitment_cost: f64,
    /// Codes start uniform in plus or minus this.
    pub init: f64,
    /// Share of the old average that each step keeps where the codes are moving averages of the vectors that chose them;
    /// 0: the codes are trained by gradient (the paper).
    pub ema_decay: f64,
    /// A code unused for this many training batches is replaced by a vector that the encoder just made; 0: never (the
    /// paper).
    pub revive_after: usize,
}

/// Whether a part is trained, only there, or absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Built, computed and part of the loss.
    Train,
    /// Built so that weights of the reference fit, never computed.
    Idle,
    /// Not built.
    Absent,
}

/// An identification head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Whether the head is trained.
    pub activity: Activity,
    /// Width of the hidden layer; absent: one linear layer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hidden: Option<usize>,
    /// Dropout of the head's input.
    pub input_dropout: f64,
    /// Dropout in front of the last layer of a head with a hidden layer.
    pub hidden_dropout: f64,
    /// Initial weights.
    pub init: HeadInit,
}

/// Initial weights of a head's layers; biases start at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadInit {
    /// Uniform in plus or minus 1 / sqrt(outputs).
    Torch,
    /// Uniform in plus or minus sqrt(6 / (inputs + outputs)).
    Glorot,
}

/// A decoder of residual blocks, each doubling the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Whether the decoder is trained.
    pub activity: Activity,
    /// Order of resizing and padding.
    pub style: DecoderStyle,
    /// First convolution; absent: the blocks start at the input's width.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<FirstConv>,
    /// Blocks halve the width down to this.
    pub minimum: usize,
    /// Residual units in a block.
    pub units: usize,
    /// Whether the convolutions have a bias.
    pub bias: bool,
    /// Whether the batch norms have weights.
    pub affine: bool,
}

/// First convolution of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstConv {
    /// Output channels.
    pub channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
}

/// Order of resizing and padding in a decoder's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderStyle {
    /// Resize to the block's target, keep that size (PyTorch code).
    Resize,
    /// Double, run the residual units at that size, cut to the target in the block's last convolution (TensorFlow
    /// code).
    Double,
}

impl QuantizerConfig {
    /// Channels of the level's representation.
    #[must_use]
    pub fn width(&self) -> usize {
        self.split * self.dimension
    }

    /// Whether the codes are moving averages, which no gradient reaches.
    #[must_use]
    pub fn averages(&self) -> bool {
        self.enabled && self.ema_decay > 0.0
    }
}

impl LevelConfig {
    /// Checks the settings of a level whose encoder reads `input` channels.
    pub(super) fn check(&self, at: &str, input: usize) -> Result<(), ModelError> {
        self.encoder.check(at, input)?;
        let q = &self.quantizer;
        for (name, value) in [
            ("codes", q.codes),
            ("dimension", q.dimension),
            ("split", q.split),
        ] {
            positive(&format!("{at}.quantizer.{name}"), value)?;
        }
        if q.codes > 1 << 16 {
            return Err(ModelError::config(
                format!("{at}.quantizer.codes"),
                "at most 65536 (indices are stored as u16)",
                q.codes,
            ));
        }
        within(
            &format!("{at}.quantizer.ema_decay"),
            q.ema_decay,
            0.0,
            0.999_999,
        )?;
        within(
            &format!("{at}.head.input_dropout"),
            self.head.input_dropout,
            0.0,
            0.999,
        )?;
        within(
            &format!("{at}.head.hidden_dropout"),
            self.head.hidden_dropout,
            0.0,
            0.999,
        )?;
        positive(&format!("{at}.decoder.minimum"), self.decoder.minimum)?;
        if let Some(first) = self.decoder.first {
            odd(&format!("{at}.decoder.first.kernel"), first.kernel)?;
            positive(&format!("{at}.decoder.first.channels"), first.channels)?;
        }
        Ok(())
    }
}

impl EncoderConfig {
    /// Height and width of the output for an input of `size`.
    #[must_use]
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        let strides = self
            .stem
            .iter()
            .map(|s| s.stride)
            .chain(self.stages.iter().map(|s| s.stride));
        strides.fold(size, |size, stride| size.map(|s| s.div_ceil(stride.max(1))))
    }

    fn check(&self, at: &str, input: usize) -> Result<(), ModelError> {
        within(
            &format!("{at}.encoder.stochastic_depth"),
            self.stochastic_depth,
            0.0,
            0.999,
        )?;
        if let Some(stem) = self.stem {
            positive(&format!("{at}.encoder.stem.channels"), stem.channels)?;
            positive(&format!("{at}.encoder.stem.stride"), stem.stride)?;
        }
        if self.stages.is_empty() {
            return Err(ModelError::config(
                format!("{at}.encoder.stages"),
                "at least one stage",
                "none",
            ));
        }
        let mut width = self.stem.map_or(input, |stem| stem.channels);
        for (i, stage) in self.stages.iter().enumerate() {
            let at = format!("{at}.encoder.stages[{i}]");
            odd(&format!("{at}.kernel"), stage.kernel)?;
            let values = [
                stage.expand,
                stage.stride,
                stage.input,
                stage.output,
                stage.repeats,
            ];
            for (name, value) in ["expand", "stride", "input", "output", "repeats"]
                .into_iter()
                .zip(values)
            {
                positive(&format!("{at}.{name}"), value)?;
            }
            if stage.expand == 1 && stage.input != width {
                return Err(ModelError::config(
                    format!("{at}.input"),
                    format!("{width}, what the stage reads, as it does not expand"),
                    stage.input,
                ));
            }
            width = stage.output;
        }
        Ok(())
    }
}

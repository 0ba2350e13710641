//! A level's encoder.

use candle_core::{DType, Device, Tensor};

use super::Pass;
use super::builder::Builder;
use super::conv::{ConvNorm, ConvShape};
use super::mbconv::MbConv;
use super::packed::PackedEncoder;
use super::plan::{encoder_blocks, same_padding};
use crate::ModelError;
use crate::config::EncoderConfig;
use crate::ops::{self, Activation};

/// Stem, MBConv blocks, 1x1 convolution on top.
pub(crate) struct Encoder {
    stem: Option<ConvNorm>,
    blocks: Vec<MbConv>,
    top: ConvNorm,
    input: [usize; 3],
    /// Made once, for weights that stay.
    packed: Option<PackedEncoder>,
}

impl Encoder {
    /// An encoder for `channels` channels of `size`, with `output` channels.
    pub(crate) fn new(
        b: &mut Builder,
        name: &str,
        config: &EncoderConfig,
        mut channels: usize,
        mut size: [usize; 2],
        output: usize,
    ) -> Result<Self, ModelError> {
        let input = [channels, size[0], size[1]];
        let mut stem = None;
        if let Some(s) = config.stem {
            let padding = same_padding(b.padding, 3, s.stride, size);
            let shape = ConvShape {
                input: channels,
                output: s.channels,
                kernel: 3,
                stride: s.stride,
                padding,
            };
            stem = Some(ConvNorm::encoder(
                b,
                &format!("{name}.features.0"),
                shape,
                false,
                Activation::Silu,
            )?);
            (channels, size) = (s.channels, size.map(|side| side.div_ceil(s.stride)));
        }
        let plans = encoder_blocks(config, channels, size);
        let blocks = plans
            .iter()
            .map(|plan| {
                MbConv::new(
                    b,
                    &format!("{name}.features.{}.{}", plan.stage, plan.index),
                    plan,
                )
            })
            .collect::<Result<_, _>>()?;
        let last = plans.last().map_or(channels, |plan| plan.output);
        let name = format!("{name}.features.{}", config.stages.len() + 1);
        let top = ConvNorm::encoder(
            b,
            &name,
            ConvShape::same(last, output, 1),
            false,
            Activation::Silu,
        )?;
        Ok(Self {
            stem,
            blocks,
            top,
            input,
            packed: None,
        })
    }

    /// Packs the weights as they are now for all evaluations to come; on a GPU, or of weights with gradients, nothing happens.
    pub(crate) fn pack(&mut self, device: &Device) -> Result<(), ModelError> {
        let [channels, height, width] = self.input;
        let none = Tensor::zeros((0, channels, height, width), DType::F32, device)?;
        self.packed = self.packed(&none, &Pass::evaluate())?;
        Ok(())
    }

    /// The encoder for images such as `x`, packed; `None` where gradients are wanted, or statistics of a batch, or on a GPU.
    fn packed(&self, x: &Tensor, pass: &Pass) -> Result<Option<PackedEncoder>, ModelError> {
        let stem = match &self.stem {
            Some(stem) => match stem.described(x, pass)? {
                Some(described) => Some(described),
                None => return Ok(None),
            },
            None => None,
        };
        let blocks = self.blocks.iter().map(|b| b.described(x, pass));
        let blocks: Option<Vec<_>> = blocks.collect::<Result<_, _>>()?;
        let (Some(blocks), Some(top)) = (blocks, self.top.described(x, pass)?) else {
            return Ok(None);
        };
        PackedEncoder::new(self.input, stem.as_ref(), &blocks, &top).map(Some)
    }

    /// The encoder's output for images of the size that it was built for.
    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        if !pass.train && pass.noise.is_none() && ops::untracked([x]) {
            if let Some(packed) = &self.packed {
                return packed.forward(x);
            }
            if let Some(packed) = self.packed(x, pass)? {
                return packed.forward(x);
            }
        }
        let mut y = match &self.stem {
            Some(stem) => stem.forward(x, None, pass)?,
            None => x.clone(),
        };
        for block in &self.blocks {
            y = block.forward(&y, pass)?;
        }
        self.top.forward(&y, None, pass)
    }
}

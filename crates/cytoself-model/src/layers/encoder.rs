//! A level's encoder.

use candle_core::Tensor;

use super::Pass;
use super::builder::Builder;
use super::conv::{ConvNorm, ConvShape};
use super::mbconv::MbConv;
use super::plan::{encoder_blocks, same_padding};
use crate::ModelError;
use crate::config::EncoderConfig;
use crate::ops::Activation;

/// Stem, MBConv blocks, 1x1 convolution on top.
pub(crate) struct Encoder {
    stem: Option<ConvNorm>,
    blocks: Vec<MbConv>,
    top: ConvNorm,
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
        Ok(Self { stem, blocks, top })
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
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

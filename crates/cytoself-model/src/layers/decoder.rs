//! A level's decoder.

use candle_core::Tensor;

use super::Pass;
use super::builder::Builder;
use super::conv::{Conv, ConvNorm, ConvShape};
use super::norm::Norm;
use super::plan::DecoderPlan;
use crate::ModelError;
use crate::config::DecoderConfig;
use crate::ops::{self, Activation};

/// Blocks of resize, residual units and a narrowing convolution; decoder 1 ends in a linear convolution.
pub(crate) struct Decoder {
    first: Option<ConvNorm>,
    blocks: Vec<Block>,
    output: Option<Conv>,
}

struct Block {
    resized: [usize; 2],
    units: Vec<ResidualUnit>,
    last: ConvNorm,
}

/// `silu(x + bn(conv(silu(bn(conv(x))))))`.
struct ResidualUnit {
    inner: ConvNorm,
    conv: Conv,
    norm: Norm,
}

impl ResidualUnit {
    fn new(
        b: &mut Builder,
        name: &str,
        width: usize,
        config: &DecoderConfig,
    ) -> Result<Self, ModelError> {
        let shape = ConvShape::same(width, width, 3);
        let names = [format!("{name}.conv1.conv"), format!("{name}.conv1.bn")];
        Ok(Self {
            inner: ConvNorm::decoder(b, [&names[0], &names[1]], shape, config.bias, config.affine)?,
            conv: Conv::decoder(b, &format!("{name}.conv2"), shape, config.bias)?,
            norm: Norm::new(
                b,
                &format!("{name}.bn2"),
                width,
                config.affine,
                Activation::Silu,
            )?,
        })
    }

    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        let inner = self.inner.forward(x, None, pass)?;
        self.norm
            .forward(&self.conv.forward(&inner, pass)?, Some(x), pass)
    }
}

impl Decoder {
    pub(crate) fn new(
        b: &mut Builder,
        name: &str,
        config: &DecoderConfig,
        plan: &DecoderPlan,
    ) -> Result<Self, ModelError> {
        let name = format!("{name}.decoder");
        let mut first = None;
        if let Some(f) = config.first {
            let names = [
                format!("{name}.dec_first.conv"),
                format!("{name}.dec_first.bn"),
            ];
            let shape = ConvShape::same(plan.input, f.channels, f.kernel);
            first = Some(ConvNorm::decoder(
                b,
                [&names[0], &names[1]],
                shape,
                config.bias,
                config.affine,
            )?);
        }
        let mut blocks = Vec::with_capacity(plan.blocks.len());
        for (i, block) in plan.blocks.iter().enumerate() {
            let name = format!("{name}.resrep{}", i + 1);
            let units = (1..=config.units)
                .map(|u| {
                    ResidualUnit::new(b, &format!("{name}.res_repeat.res{u}"), block.width, config)
                })
                .collect::<Result<_, _>>()?;
            let names = [format!("{name}last.conv"), format!("{name}last.bn")];
            let shape = ConvShape {
                padding: block.padding,
                ..ConvShape::same(block.width, block.output, 3)
            };
            let last =
                ConvNorm::decoder(b, [&names[0], &names[1]], shape, config.bias, config.affine)?;
            blocks.push(Block {
                resized: block.resized,
                units,
                last,
            });
        }
        let output = match plan.linear {
            Some(channels) => {
                let shape = ConvShape::same(plan.last_width(), channels, 3);
                Some(Conv::decoder(
                    b,
                    &format!("{name}.output_conv"),
                    shape,
                    config.bias,
                )?)
            }
            None => None,
        };
        Ok(Self {
            first,
            blocks,
            output,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        let mut y = match &self.first {
            Some(first) => first.forward(x, None, pass)?,
            None => x.clone(),
        };
        for block in &self.blocks {
            y = ops::resize_bilinear(&y, block.resized[0], block.resized[1])?;
            for unit in &block.units {
                y = unit.forward(&y, pass)?;
            }
            y = block.last.forward(&y, None, pass)?;
        }
        match &self.output {
            Some(output) => output.forward(&y, pass),
            None => Ok(y),
        }
    }
}

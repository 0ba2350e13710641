//! Convolution, batch norm and activation as one layer.

use candle_core::Tensor;

use super::Pass;
use super::builder::{Builder, Init};
use super::norm::Norm;
use super::packed::Described;
use crate::ModelError;
use crate::ops::{self, Activation, Padding};

/// A convolution, dense or depthwise, with an optional bias.
pub(crate) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: usize,
    padding: Padding,
    depthwise: bool,
}

/// Shape of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
}

impl ConvShape {
    /// Stride 1, size kept.
    pub(crate) fn same(input: usize, output: usize, kernel: usize) -> Self {
        let half = kernel / 2;
        let padding = Padding {
            top: half,
            bottom: half,
            left: half,
            right: half,
        };
        Self {
            input,
            output,
            kernel,
            stride: 1,
            padding,
        }
    }
}

impl Conv {
    /// A dense convolution of a decoder: Xavier, bias at 0.
    pub(crate) fn decoder(
        b: &mut Builder,
        name: &str,
        shape: ConvShape,
        bias: bool,
    ) -> Result<Self, ModelError> {
        let dims = [shape.output, shape.input, shape.kernel, shape.kernel];
        let weight = b.weight(format!("{name}.weight"), &dims, Init::xavier(&dims))?;
        let bias = if bias {
            Some(b.weight(format!("{name}.bias"), &[shape.output], Init::Constant(0.0))?)
        } else {
            None
        };
        Ok(Self {
            weight,
            bias,
            stride: shape.stride,
            padding: shape.padding,
            depthwise: false,
        })
    }

    /// A convolution of an encoder: Kaiming by outputs, no bias.
    pub(crate) fn encoder(
        b: &mut Builder,
        name: &str,
        shape: ConvShape,
        depthwise: bool,
    ) -> Result<Self, ModelError> {
        let input = if depthwise { 1 } else { shape.input };
        let dims = [shape.output, input, shape.kernel, shape.kernel];
        let weight = b.weight(
            format!("{name}.weight"),
            &dims,
            Init::kaiming_fan_out(&dims),
        )?;
        Ok(Self {
            weight,
            bias: None,
            stride: shape.stride,
            padding: shape.padding,
            depthwise,
        })
    }

    /// `norm(conv(x) + residual)` in one pass; `None` for depthwise ones, and where it would lose gradients or the bias.
    fn normalized(
        &self,
        x: &Tensor,
        norm: &Norm,
        residual: Option<&Tensor>,
        pass: &Pass,
    ) -> Result<Option<Tensor>, ModelError> {
        let inputs = [Some(x), Some(&self.weight), residual]
            .into_iter()
            .flatten();
        if self.depthwise || self.bias.is_some() || !ops::untracked(inputs) {
            return Ok(None);
        }
        let Some(norm) = norm.fixed(x, pass)? else {
            return Ok(None);
        };
        let (w, step) = (&self.weight, (self.stride, self.padding));
        let y = ops::conv2d_normalized(x, w, step, pass.algorithm, &norm, residual)?;
        Ok(Some(y))
    }

    /// Side of the kernel.
    fn kernel(&self) -> usize {
        self.weight.dims().last().copied().unwrap_or_default()
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        let y = if self.depthwise {
            ops::depthwise_conv2d(x, &self.weight, self.stride, self.padding)?
        } else {
            ops::conv2d(x, &self.weight, self.stride, self.padding, pass.algorithm)?
        };
        match &self.bias {
            Some(bias) => Ok(ops::bias_add(&y, bias)?),
            None => Ok(y),
        }
    }
}

/// A convolution followed by batch norm and an activation.
pub(crate) struct ConvNorm {
    conv: Conv,
    norm: Norm,
}

impl ConvNorm {
    /// In an encoder: `{name}.0` and `{name}.1`.
    pub(crate) fn encoder(
        b: &mut Builder,
        name: &str,
        shape: ConvShape,
        depthwise: bool,
        activation: Activation,
    ) -> Result<Self, ModelError> {
        let conv = Conv::encoder(b, &format!("{name}.0"), shape, depthwise)?;
        let norm = Norm::new(b, &format!("{name}.1"), shape.output, true, activation)?;
        Ok(Self { conv, norm })
    }

    /// In a decoder: with the names given.
    pub(crate) fn decoder(
        b: &mut Builder,
        [conv, norm]: [&str; 2],
        shape: ConvShape,
        bias: bool,
        affine: bool,
    ) -> Result<Self, ModelError> {
        let conv = Conv::decoder(b, conv, shape, bias)?;
        let norm = Norm::new(b, norm, shape.output, affine, Activation::Silu)?;
        Ok(Self { conv, norm })
    }

    /// What is packed for evaluation; `None` where it would lose gradients, or statistics of a batch.
    pub(crate) fn described(
        &self,
        x: &Tensor,
        pass: &Pass,
    ) -> Result<Option<Described<'_>>, ModelError> {
        let conv = &self.conv;
        if conv.bias.is_some() || !ops::untracked([x, &conv.weight]) {
            return Ok(None);
        }
        Ok(self.norm.fixed(x, pass)?.map(|norm| Described {
            weight: &conv.weight,
            norm,
            kernel: conv.kernel(),
            stride: conv.stride,
            padding: conv.padding,
        }))
    }

    /// `act(bn(conv(x)) + residual)`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        pass: &Pass,
    ) -> Result<Tensor, ModelError> {
        match self.conv.normalized(x, &self.norm, residual, pass)? {
            Some(y) => Ok(y),
            None => self
                .norm
                .forward(&self.conv.forward(x, pass)?, residual, pass),
        }
    }
}

//! EfficientNet's inverted bottleneck with squeeze-and-excitation.

use candle_core::Tensor;

use super::Pass;
use super::builder::{Builder, Init};
use super::conv::{ConvNorm, ConvShape};
use super::packed::DescribedBlock;
use super::plan::{BlockPlan, same_padding};
use crate::ModelError;
use crate::ops::{self, Activation};

/// Expansion 1x1, depthwise k x k, squeeze-and-excitation, projection 1x1, residual.
///
/// # References
/// Tan and Le, EfficientNet (2019), arXiv:1905.11946.
pub(crate) struct MbConv {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    squeeze: [Tensor; 4],
    project: ConvNorm,
    residual: bool,
    drop: f64,
    stream: u32,
}

impl MbConv {
    pub(crate) fn new(b: &mut Builder, name: &str, plan: &BlockPlan) -> Result<Self, ModelError> {
        let mut parts = 0..;
        let mut next = || format!("{name}.block.{}", parts.next().unwrap_or_default());
        let expand = if plan.expands {
            let shape = ConvShape::same(plan.input, plan.hidden, 1);
            Some(ConvNorm::encoder(
                b,
                &next(),
                shape,
                false,
                Activation::Silu,
            )?)
        } else {
            None
        };
        let shape = ConvShape {
            input: plan.hidden,
            output: plan.hidden,
            kernel: plan.kernel,
            stride: plan.stride,
            padding: same_padding(b.padding, plan.kernel, plan.stride, plan.size_in),
        };
        let depthwise = ConvNorm::encoder(b, &next(), shape, true, Activation::Silu)?;
        let squeeze = squeeze_weights(b, &next(), plan)?;
        let shape = ConvShape::same(plan.hidden, plan.output, 1);
        let project = ConvNorm::encoder(b, &next(), shape, false, Activation::None)?;
        let stream = b.stream();
        Ok(Self {
            expand,
            depthwise,
            squeeze,
            project,
            residual: plan.residual(),
            drop: plan.drop,
            stream,
        })
    }

    /// What is packed for evaluation; `None` as [`ConvNorm::described`].
    pub(crate) fn described(
        &self,
        x: &Tensor,
        pass: &Pass,
    ) -> Result<Option<DescribedBlock<'_>>, ModelError> {
        let expand = match &self.expand {
            Some(expand) => match expand.described(x, pass)? {
                Some(described) => Some(described),
                None => return Ok(None),
            },
            None => None,
        };
        let parts = (
            self.depthwise.described(x, pass)?,
            self.project.described(x, pass)?,
        );
        let (Some(depthwise), Some(project)) = parts else {
            return Ok(None);
        };
        Ok(ops::untracked(&self.squeeze).then_some(DescribedBlock {
            expand,
            depthwise,
            squeeze: &self.squeeze,
            project,
            residual: self.residual,
        }))
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        let expanded = match &self.expand {
            Some(expand) => expand.forward(x, None, pass)?,
            None => x.clone(),
        };
        let filtered = self.depthwise.forward(&expanded, None, pass)?;
        let [w1, b1, w2, b2] = &self.squeeze;
        let gated = ops::squeeze_excite(&filtered, w1, b1, w2, b2)?;
        if !self.residual {
            return self.project.forward(&gated, None, pass);
        }
        match pass.key(self.stream) {
            Some(key) if self.drop > 0.0 => {
                let branch = self.project.forward(&gated, None, pass)?;
                let kept = ops::stochastic_depth_part(&branch, self.drop, key, pass.first)?;
                Ok(ops::add(&kept, x)?)
            }
            _ => self.project.forward(&gated, Some(x), pass),
        }
    }
}

/// Weights of the two 1x1 convolutions of the gate, in the order of PyTorch's state dict.
fn squeeze_weights(
    b: &mut Builder,
    name: &str,
    plan: &BlockPlan,
) -> Result<[Tensor; 4], ModelError> {
    let (down, up) = (
        [plan.squeeze, plan.hidden, 1, 1],
        [plan.hidden, plan.squeeze, 1, 1],
    );
    Ok([
        b.weight(
            format!("{name}.fc1.weight"),
            &down,
            Init::kaiming_fan_out(&down),
        )?,
        b.weight(
            format!("{name}.fc1.bias"),
            &[plan.squeeze],
            Init::Constant(0.0),
        )?,
        b.weight(
            format!("{name}.fc2.weight"),
            &up,
            Init::kaiming_fan_out(&up),
        )?,
        b.weight(
            format!("{name}.fc2.bias"),
            &[plan.hidden],
            Init::Constant(0.0),
        )?,
    ])
}

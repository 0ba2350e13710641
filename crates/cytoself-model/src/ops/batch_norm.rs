//! Batch normalisation fused with the addition of a residual and the activation.

mod backward;
mod fixed;
mod kernels;
mod plain;
mod shared;

pub(crate) use fixed::{Finish, FixedNorm};
pub use plain::{
    BatchNormGradients, BatchStatistics, MapShape, batch_norm_backward, batch_norm_forward,
    batch_statistics,
};
#[cfg(feature = "candle-cuda")]
pub(super) use shared::parts;
pub use shared::{SumOverParts, with_parts};

use self::backward::Backward;
use self::shared::Parts;
use super::arrange::join;
use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::simd::InstructionSet;
use super::tape::{apply1, apply2, apply3};
use super::tensor::{like, slice, stored, with, with3};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, Var, bail,
};
use std::sync::OnceLock;

/// What follows a normalisation in the same pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x * sigmoid(x)`.
    Silu,
}

/// The running mean and variance of a batch normalisation.
#[derive(Clone, Debug)]
pub struct BatchNormRunning {
    /// Mean per channel, `[c]`.
    pub mean: Var,
    /// Unbiased variance per channel, `[c]`.
    pub var: Var,
}

impl BatchNormRunning {
    /// Mean 0 and variance 1, as PyTorch begins.
    ///
    /// # Errors
    /// * candle cannot allocate the variables.
    pub fn new(channels: usize, device: &candle_core::Device) -> Result<Self> {
        let dtype = candle_core::DType::F32;
        Ok(Self {
            mean: Var::zeros(channels, dtype, device)?,
            var: Var::ones(channels, dtype, device)?,
        })
    }

    /// Moves the running values towards a batch's by `momentum`, PyTorch's way: the variance enters unbiased.
    fn update(&self, statistics: &BatchStatistics, count: f64, momentum: f64) -> Result<()> {
        let unbias = count / (count - 1.0).max(1.0);
        let blend = |old: &Var, new: &[f32], factor: f64| {
            let old_values: Vec<f32> = old.to_vec1()?;
            let mixed = old_values.iter().zip(new).map(|(o, n)| {
                (f64::from(*o) * (1.0 - momentum) + f64::from(*n) * factor * momentum) as f32
            });
            old.set(&Tensor::from_iter(mixed, old.device())?)
        };
        blend(&self.mean, &statistics.mean, 1.0)?;
        blend(&self.var, &statistics.variance, unbias)
    }
}

/// Where the statistics come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatchNormMode {
    /// From the batch; the running values move towards them by `momentum` (PyTorch's convention: 0.1 keeps nine tenths).
    Train {
        /// The share of the new values.
        momentum: f64,
    },
    /// From the batch; the running values stay.
    Batch,
    /// From the running values.
    Eval,
}

/// `act(batch_norm(x) + residual)`.
///
/// # Shapes
/// `x`, `residual`, result: `[n, c, h, w]`; `affine` = (scale, offset), each `[c]`; running values `[c]`; all f32.
///
/// # Errors
/// * a shape differs from the above;
/// * `x` is empty in a mode that takes statistics from the batch.
///
/// # References
/// Ioffe and Szegedy 2015, arXiv:1502.03167.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use cytoself_model::ops::{Activation, BatchNormMode, BatchNormRunning, batch_norm};
/// let x = Tensor::new(&[1f32, 3.], &Device::Cpu)?.reshape((1, 1, 1, 2))?;
/// let running = BatchNormRunning::new(1, &Device::Cpu)?;
/// let y = batch_norm(&x, None, &running, BatchNormMode::Train { momentum: 0.1 }, 0.0, None, Activation::None)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-1., 1.]);
/// assert_eq!(running.mean.to_vec1::<f32>()?, [0.2]); // 0.9 x 0 + 0.1 x 2
/// assert_eq!(running.var.to_vec1::<f32>()?, [1.1]); // 0.9 x 1 + 0.1 x 2 (unbiased)
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn batch_norm(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    running: &BatchNormRunning,
    mode: BatchNormMode,
    eps: f64,
    residual: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let vectors = affine
        .into_iter()
        .flat_map(|(g, b)| [g, b])
        .chain([running.mean.as_tensor(), running.var.as_tensor()]);
    for v in vectors {
        if v.dims() != [c] {
            bail!(
                "batch_norm: {c} values per channel vector were expected, found the shape {:?}",
                v.dims()
            );
        }
    }
    if residual.is_some_and(|r| r.dims() != x.dims()) {
        bail!(
            "batch_norm: the residual must have the shape {:?}",
            x.dims()
        );
    }
    #[cfg(feature = "candle-cuda")]
    if x.device().is_cuda() {
        return cuda::batch_norm::batch_norm(x, affine, running, mode, eps, residual, activation);
    }
    let x = x.contiguous()?;
    let mut parts = None;
    let statistics = match mode {
        BatchNormMode::Eval => BatchStatistics {
            mean: running.mean.to_vec1()?,
            variance: running.var.to_vec1()?,
        },
        _ if x.elem_count() == 0 => bail!("batch_norm: statistics of an empty batch"),
        _ => with(&x, |x| {
            let (shape, isa) = ([n, c, h * w], InstructionSet::detect());
            let Some(all) = shared::parts() else {
                return Ok(batch_statistics(x, shape, isa));
            };
            let (statistics, found) = Parts::statistics(all, x, shape, isa)?;
            parts = Some(found);
            Ok::<_, candle_core::Error>(statistics)
        })??,
    };
    if let BatchNormMode::Train { momentum } = mode {
        let count = parts.as_ref().map_or((n * h * w) as f64, |p| p.count);
        running.update(&statistics, count, momentum)?;
    }
    let op = BatchNorm {
        shape: [n, c, h * w],
        statistics,
        eps: eps as f32,
        activation,
        batch_mode: mode != BatchNormMode::Eval,
        parts,
        second_is_affine: affine.is_some(),
        affine: OnceLock::new(),
    };
    // candle's operations take three tensors: scale and offset travel as one.
    let affine = affine.map(|(g, b)| join(&[g, b])).transpose()?;
    let residual = residual.map(Tensor::contiguous).transpose()?;
    match (affine, residual) {
        (None, None) => apply1(&x, op),
        (Some(a), None) => apply2(&x, &a, op),
        (None, Some(r)) => apply2(&x, &r, op),
        (Some(a), Some(r)) => apply3(&x, &a, &r, op),
    }
}

struct BatchNorm {
    shape: MapShape,
    statistics: BatchStatistics,
    eps: f32,
    activation: Activation,
    batch_mode: bool,
    /// The other parts of the batch, if it is spread over ranks.
    parts: Option<Parts>,
    second_is_affine: bool,
    /// Scale and offset as they were in the forward pass: the optimizer may change the variable in between.
    affine: OnceLock<Vec<f32>>,
}

impl BatchNorm {
    fn split_affine(&self) -> Option<(&[f32], &[f32])> {
        self.affine.get().map(|a| a.split_at(self.shape[1]))
    }

    fn forward(
        &self,
        x: &[f32],
        residual: Option<&[f32]>,
        shape: &Shape,
    ) -> Result<(CpuStorage, Shape)> {
        let mut y = output(x.len());
        let isa = InstructionSet::detect();
        batch_norm_forward(
            x,
            self.shape,
            &self.statistics,
            self.eps,
            self.split_affine(),
            residual,
            self.activation,
            isa,
            &mut y,
        );
        stored(y, shape.clone())
    }

    fn keep_affine(&self, affine: &[f32]) {
        self.affine.get_or_init(|| affine.to_vec());
    }

    /// The gradients of x, of the packed scale and offset, and of the residual.
    fn backward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let isa = InstructionSet::detect();
        let affine = self.split_affine();
        let (shape, statistics, act) = (self.shape, &self.statistics, self.activation);
        let g = with3(x, dy, residual, |x, dy, residual| {
            let pass = Backward {
                x,
                dy,
                shape,
                statistics,
                eps: self.eps,
                affine,
                residual,
                activation: act,
                isa,
            };
            match &self.parts {
                None => pass.run(self.batch_mode, None),
                Some(parts) => pass.run(self.batch_mode, Some(&mut |sums| parts.sum(sums))),
            }
        })??;
        let packed: Vec<f32> = [g.gamma, g.beta].concat();
        let dresidual = g.residual.map(|r| like(r, x)).transpose()?;
        Ok((
            like(g.x, x)?,
            Tensor::from_vec(packed, 2 * shape[1], x.device())?,
            dresidual,
        ))
    }
}

impl CustomOp1 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(slice(x, xl)?, None, xl.shape())
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.backward(x, None, dy)?.0))
    }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        other: &CpuStorage,
        ol: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, other) = (slice(x, xl)?, slice(other, ol)?);
        if self.second_is_affine {
            self.keep_affine(other);
            return self.forward(x, None, xl.shape());
        }
        self.forward(x, Some(other), xl.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        other: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let residual = (!self.second_is_affine).then_some(other);
        let (dx, daffine, dresidual) = self.backward(x, residual, dy)?;
        Ok((
            Some(dx),
            dresidual.or(self.second_is_affine.then_some(daffine)),
        ))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    #[rustfmt::skip] // the trait's flat list of six
    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, a: &CpuStorage, al: &Layout, r: &CpuStorage, rl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.keep_affine(slice(a, al)?);
        self.forward(slice(x, xl)?, Some(slice(r, rl)?), xl.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        _a: &Tensor,
        r: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, daffine, dresidual) = self.backward(x, Some(r), dy)?;
        Ok((Some(dx), Some(daffine), dresidual))
    }
}

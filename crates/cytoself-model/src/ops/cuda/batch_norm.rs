//! Batch normalisation fused with the addition of a residual and the activation.

use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};
use cudarc::driver::CudaSlice;

use super::launch::chunks;
use super::parts::sum_over_parts;
use super::{Address, Gpu, each, every, u32_of};
use crate::ops::arrange::join;
use crate::ops::batch_norm::parts;
use crate::ops::tape::{apply1, apply2, apply3};
use crate::ops::{Activation, BatchNormMode, BatchNormRunning, SumOverParts};

/// [`crate::ops::batch_norm`] on a GPU; the shapes have been checked.
pub(crate) fn batch_norm(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    running: &BatchNormRunning,
    mode: BatchNormMode,
    eps: f64,
    residual: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let op = BatchNorm {
        sizes: Sizes { n, c, plane: h * w },
        running: running.clone(),
        mode,
        eps: eps as f32,
        activation,
        second_is_affine: affine.is_some(),
        parts: parts().filter(|_| mode != BatchNormMode::Eval),
        kept: OnceLock::new(),
    };
    let x = x.contiguous()?;
    let affine = affine.map(|(g, b)| join(&[g, b])).transpose()?;
    let residual = residual.map(Tensor::contiguous).transpose()?;
    match (affine, residual) {
        (None, None) => apply1(&x, op),
        (Some(a), None) => apply2(&x, &a, op),
        (None, Some(r)) => apply2(&x, &r, op),
        (Some(a), Some(r)) => apply3(&x, &a, &r, op),
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    c: usize,
    plane: usize,
}

impl Sizes {
    fn planes(self) -> usize {
        self.n * self.c
    }

    fn values(self) -> usize {
        self.planes() * self.plane
    }

    /// Values per channel.
    fn count(self) -> usize {
        self.n * self.plane
    }

    fn chunks(self) -> usize {
        chunks(self.count())
    }
}

/// What the backward pass reads: the optimizer may change scale and offset in between.
struct Kept {
    /// Mean and variance of the batch; in evaluation those of the running values, which stay, are meant.
    batch: Option<[CudaSlice<f32>; 2]>,
    /// `[c, 2]`: scale and offset of the whole normalisation.
    line: CudaSlice<f32>,
    /// Values per channel, of all parts of the batch.
    count: f64,
}

struct BatchNorm {
    sizes: Sizes,
    running: BatchNormRunning,
    mode: BatchNormMode,
    eps: f32,
    activation: Activation,
    second_is_affine: bool,
    /// The other parts of the batch, if it is spread over ranks.
    parts: Option<Arc<dyn SumOverParts>>,
    kept: OnceLock<Kept>,
}

/// The number of an activation in the kernels.
fn code(activation: Activation) -> u32 {
    match activation {
        Activation::None => 0,
        Activation::Silu => 1,
    }
}

impl BatchNorm {
    /// The statistics and the line that they give with scale and offset.
    fn statistics(&self, gpu: &Gpu, x: Address, affine: Address) -> Result<Kept> {
        let Sizes { n, c, plane } = self.sizes;
        let (gamma, beta) = match affine {
            Address::NONE => (Address::NONE, Address::NONE),
            packed => (packed, packed.after(c)),
        };
        let line = gpu.buffer(2 * c)?;
        let running = [
            gpu.values(self.running.mean.as_tensor())?,
            gpu.values(self.running.var.as_tensor())?,
        ];
        if self.mode == BatchNormMode::Eval {
            launch!(
                gpu,
                "bn_line",
                each(c),
                [
                    running[0],
                    running[1],
                    gamma,
                    beta,
                    self.eps,
                    u32_of(c)?,
                    gpu.at(&line)
                ]
            );
            return Ok(Kept {
                batch: None,
                line,
                count: self.sizes.count() as f64,
            });
        }
        let (running, momentum) = match self.mode {
            BatchNormMode::Train { momentum } => (running, momentum),
            _ => ([Address::NONE; 2], 0.0),
        };
        let chunks = self.sizes.chunks();
        let partial = gpu.buffer::<f64>(c * chunks * 2)?;
        let (mean, variance) = (gpu.buffer(c)?, gpu.buffer(c)?);
        launch!(
            gpu,
            "bn_moments",
            [c * chunks, 1],
            [
                x,
                u32_of(n)?,
                u32_of(c)?,
                u32_of(plane)?,
                u32_of(chunks)?,
                gpu.at(&partial)
            ]
        );
        let mut count = self.sizes.count() as f64;
        let shared = self.shared(gpu, &partial, Some(&mut count))?;
        let (sums, chunks) = match &shared {
            Some(sums) => (gpu.values_of::<f64>(sums)?, 1),
            None => (gpu.at(&partial), chunks),
        };
        launch!(
            gpu,
            "bn_finish",
            each(c),
            [
                sums,
                u32_of(chunks)?,
                u32_of(c)?,
                count,
                gamma,
                beta,
                self.eps,
                momentum,
                running[0],
                running[1],
                gpu.at(&mean),
                gpu.at(&variance),
                gpu.at(&line)
            ]
        );
        Ok(Kept {
            batch: Some([mean, variance]),
            line,
            count,
        })
    }

    /// Partial sums over all parts of the batch, if it is spread over ranks; see [`sum_over_parts`].
    fn shared(
        &self,
        gpu: &Gpu,
        partial: &CudaSlice<f64>,
        count: Option<&mut f64>,
    ) -> Result<Option<Tensor>> {
        let shape = [self.sizes.c, self.sizes.chunks()];
        let sum =
            |all: &Arc<dyn SumOverParts>| sum_over_parts(gpu, all.as_ref(), partial, shape, count);
        self.parts.as_ref().map(sum).transpose()
    }

    /// Where the mean and the variance of the forward pass are.
    fn moments(&self, gpu: &Gpu, kept: &Kept) -> Result<[Address; 2]> {
        Ok(match &kept.batch {
            Some([mean, variance]) => [gpu.at(mean), gpu.at(variance)],
            None => [
                gpu.values(self.running.mean.as_tensor())?,
                gpu.values(self.running.var.as_tensor())?,
            ],
        })
    }

    fn forward(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        affine: Option<(&CudaStorage, &Layout)>,
        residual: Option<(&CudaStorage, &Layout)>,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = &Gpu::of(x.device())?;
        let values = self.sizes.values();
        if values == 0 {
            if self.mode == BatchNormMode::Eval {
                return gpu.stored(gpu.zeros(0)?, xl.shape().clone());
            }
            bail!("batch_norm: statistics of an empty batch");
        }
        let given = |part: Option<(&CudaStorage, &Layout)>| {
            part.map_or(Ok(Address::NONE), |(s, l)| gpu.argument(s, l))
        };
        let (x, affine, residual) = (gpu.argument(x, xl)?, given(affine)?, given(residual)?);
        let kept = self.statistics(gpu, x, affine)?;
        let y = gpu.buffer(values)?;
        launch!(
            gpu,
            "bn_forward",
            every(values),
            [
                x,
                gpu.at(&kept.line),
                residual,
                code(self.activation),
                u32_of(self.sizes.c)?,
                u32_of(self.sizes.plane)?,
                u32_of(self.sizes.planes())?,
                gpu.at(&y)
            ]
        );
        self.kept.get_or_init(|| kept);
        gpu.stored(y, xl.shape().clone())
    }

    /// The gradients of x, of the packed scale and offset, and of the residual.
    fn backward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let gpu = &Gpu::holding(x)?;
        let Some(kept) = self.kept.get() else {
            bail!("batch_norm: backward before forward")
        };
        let (x, dy) = (x.contiguous()?, dy.contiguous()?);
        let residual = residual.map(Tensor::contiguous).transpose()?;
        let (sizes, activation) = (self.sizes, code(self.activation));
        // With an activation the gradient of the residual is no longer that of the result, and has been through the activation.
        let through = match (&residual, self.activation) {
            (Some(_), Activation::Silu) => Some(gpu.buffer::<f32>(sizes.values())?),
            _ => None,
        };
        let added = residual
            .as_ref()
            .map_or(Ok(Address::NONE), |r| gpu.values(r))?;
        let g = through.as_ref().map_or(Address::NONE, |g| gpu.at(g));
        let (c, chunks) = (sizes.c, sizes.chunks());
        let [mean, variance] = self.moments(gpu, kept)?;
        let partial = gpu.buffer::<f64>(c * chunks * 2)?;
        launch!(
            gpu,
            "bn_backward_sums",
            [c * chunks, 1],
            [
                gpu.values(&x)?,
                gpu.values(&dy)?,
                added,
                mean,
                gpu.at(&kept.line),
                activation,
                u32_of(sizes.n)?,
                u32_of(c)?,
                u32_of(sizes.plane)?,
                u32_of(chunks)?,
                g,
                gpu.at(&partial)
            ]
        );
        let (daffine, coefficients) = (gpu.buffer(2 * c)?, gpu.buffer::<f32>(3 * c)?);
        let finish = |sums: Address, chunks, affine: [Address; 2], coefficients| {
            launch!(
                gpu,
                "bn_backward_finish",
                each(c),
                [
                    sums,
                    u32_of(chunks)?,
                    u32_of(c)?,
                    kept.count,
                    u32::from(self.mode != BatchNormMode::Eval),
                    mean,
                    variance,
                    gpu.at(&kept.line),
                    self.eps,
                    affine[0],
                    affine[1],
                    coefficients
                ]
            );
            Result::Ok(())
        };
        let affine = [gpu.at(&daffine), gpu.at(&daffine).after(c)];
        let own = gpu.at(&partial);
        match self.shared(gpu, &partial, None)? {
            None => finish(own, chunks, affine, gpu.at(&coefficients))?,
            Some(sums) => {
                // The gradients of scale and offset are this part's, which are summed with all others.
                finish(own, chunks, affine, Address::NONE)?;
                let sums = gpu.values_of::<f64>(&sums)?;
                finish(sums, 1, [Address::NONE; 2], gpu.at(&coefficients))?;
            }
        }
        let dx = gpu.buffer(sizes.values())?;
        // Past the activation already: neither it nor the residual is needed any more.
        let (upstream, added, activation) = match g {
            Address::NONE => (gpu.values(&dy)?, added, activation),
            g => (g, Address::NONE, 0),
        };
        launch!(
            gpu,
            "bn_backward_dx",
            every(sizes.values()),
            [
                gpu.values(&x)?,
                upstream,
                added,
                gpu.at(&kept.line),
                gpu.at(&coefficients),
                activation,
                u32_of(sizes.c)?,
                u32_of(sizes.plane)?,
                u32_of(sizes.planes())?,
                gpu.at(&dx)
            ]
        );
        let dresidual = match (through, &residual) {
            (Some(g), _) => Some(gpu.tensor(g, x.shape())),
            (None, Some(_)) => Some(dy.clone()),
            (None, None) => None,
        };
        Ok((
            gpu.tensor(dx, x.shape()),
            gpu.tensor(daffine, 2 * sizes.c),
            dresidual,
        ))
    }
}

fn not_here<T>() -> Result<T> {
    bail!("batch_norm: this operation is for the GPU")
}

impl CustomOp1 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here()
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, xl, None, None)
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
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        not_here()
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        other: &CudaStorage,
        ol: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        match self.second_is_affine {
            true => self.forward(x, xl, Some((other, ol)), None),
            false => self.forward(x, xl, None, Some((other, ol))),
        }
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
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here()
    }

    #[rustfmt::skip] // as above
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, a: &CudaStorage, al: &Layout, r: &CudaStorage, rl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, xl, Some((a, al)), Some((r, rl)))
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

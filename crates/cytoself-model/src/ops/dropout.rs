//! Dropout and stochastic depth; the masks are recomputed from their key, never stored.

use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda::random::Drop;
use super::rng::RngKey;
use super::tape::apply1;
use super::tensor::{like, slice, stored, with};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Values per task, a multiple of the four of a random block.
const CHUNK: usize = 1 << 14;

/// `y = x / (1 - p)` where the key's value at `index / unit` is at least `p`, else 0; forward and backward are the same map.
///
/// # Shapes
/// Slices of equal length; `unit` neighbouring values share one draw (1: dropout; the size of a sample: stochastic depth). The first
/// draw is that of index 0.
pub fn dropout_forward(x: &[f32], p: f32, key: RngKey, unit: usize, y: &mut [f32]) {
    dropout_from(x, p, key, unit, 0, y);
}

/// As [`dropout_forward`], of values whose first draw is that of index `first`.
fn dropout_from(x: &[f32], p: f32, key: RngKey, unit: usize, first: u64, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    let keep = 1.0 / (1.0 - p);
    if unit == 1 {
        return y
            .par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .enumerate()
            .for_each(|(chunk, (y, x))| {
                key.fill_uniform(first + (chunk * CHUNK) as u64, y);
                y.iter_mut()
                    .zip(x)
                    .for_each(|(y, x)| *y = if *y >= p { x * keep } else { 0.0 });
            });
    }
    y.par_chunks_mut(unit.max(1))
        .zip(x.par_chunks(unit.max(1)))
        .enumerate()
        .for_each(|(i, (y, x))| match key.uniform(first + i as u64) >= p {
            true => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * keep),
            false => y.fill(0.0),
        });
}

/// Sets each value to 0 with probability `p` and scales the others by `1 / (1 - p)`; `p = 0` returns `x` itself.
///
/// # Errors
/// * `p` is not in [0, 1).
///
/// # References
/// Srivastava et al. 2014, JMLR 15:1929.
///
/// # Example
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cytoself_model::ops::{RngKey, dropout};
/// let ones = Tensor::ones(1000, DType::F32, &Device::Cpu)?;
/// let y = dropout(&ones, 0.5, RngKey { seed: 1, stream: 0, step: 0 })?.to_vec1::<f32>()?;
/// assert!(y.iter().all(|v| *v == 0. || *v == 2.));
/// assert!((400..600).contains(&y.iter().filter(|v| **v == 0.).count()));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dropout(x: &Tensor, p: f64, key: RngKey) -> Result<Tensor> {
    dropout_part(x, p, key, 0)
}

/// As [`dropout`], where `x` is a part of a batch that begins with its sample `first`: the parts draw what the whole would have drawn.
pub(crate) fn dropout_part(x: &Tensor, p: f64, key: RngKey, first: u64) -> Result<Tensor> {
    let size = x.elem_count() / x.dims().first().copied().unwrap_or(1).max(1);
    apply(x, p, key, 1, first * size as u64)
}

/// Drops whole samples (rows of the first dimension) with probability `p` and scales the others by `1 / (1 - p)`.
///
/// # Errors
/// * `p` is not in [0, 1), or `x` has no dimension.
///
/// # References
/// Huang et al. 2016, arXiv:1603.09382, in the form of one draw per sample.
pub fn stochastic_depth(x: &Tensor, p: f64, key: RngKey) -> Result<Tensor> {
    stochastic_depth_part(x, p, key, 0)
}

/// As [`stochastic_depth`], of a part of a batch; see [`dropout_part`].
pub(crate) fn stochastic_depth_part(x: &Tensor, p: f64, key: RngKey, first: u64) -> Result<Tensor> {
    let samples = x.dim(0)?;
    apply(x, p, key, x.elem_count() / samples.max(1), first)
}

fn apply(x: &Tensor, p: f64, key: RngKey, unit: usize, first: u64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        bail!("dropout: the probability must be in [0, 1), found {p}");
    }
    if p == 0.0 || x.elem_count() == 0 {
        return Ok(x.clone());
    }
    apply1(
        &x.contiguous()?,
        Dropout {
            p: p as f32,
            key,
            unit,
            first,
        },
    )
}

struct Dropout {
    p: f32,
    key: RngKey,
    unit: usize,
    /// Index of the first draw.
    first: u64,
}

#[cfg(feature = "candle-cuda")]
impl Dropout {
    fn on_gpu(&self) -> Drop {
        Drop {
            p: self.p,
            key: self.key,
            unit: self.unit,
            first: self.first,
        }
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, xl)?;
        let mut y = output(x.len());
        dropout_from(x, self.p, self.key, self.unit, self.first, &mut y);
        stored(y, xl.shape().clone())
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_gpu().forward(x, xl)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            return self.on_gpu().backward(dy).map(Some);
        }
        let mut dx = output(x.elem_count());
        with(dy, |dy| {
            dropout_from(dy, self.p, self.key, self.unit, self.first, &mut dx)
        })?;
        like(dx, x).map(Some)
    }
}

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
/// Slices of equal length; `unit` neighbouring values share one draw (1: dropout; the size of a sample: stochastic depth).
pub fn dropout_forward(x: &[f32], p: f32, key: RngKey, unit: usize, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    let keep = 1.0 / (1.0 - p);
    if unit == 1 {
        return y
            .par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .enumerate()
            .for_each(|(chunk, (y, x))| {
                key.fill_uniform((chunk * CHUNK) as u64, y);
                y.iter_mut()
                    .zip(x)
                    .for_each(|(y, x)| *y = if *y >= p { x * keep } else { 0.0 });
            });
    }
    y.par_chunks_mut(unit.max(1))
        .zip(x.par_chunks(unit.max(1)))
        .enumerate()
        .for_each(|(i, (y, x))| match key.uniform(i as u64) >= p {
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
    apply(x, p, key, 1)
}

/// Drops whole samples (rows of the first dimension) with probability `p` and scales the others by `1 / (1 - p)`.
///
/// # Errors
/// * `p` is not in [0, 1), or `x` has no dimension.
///
/// # References
/// Huang et al. 2016, arXiv:1603.09382, in the form of one draw per sample.
pub fn stochastic_depth(x: &Tensor, p: f64, key: RngKey) -> Result<Tensor> {
    let samples = x.dim(0)?;
    apply(x, p, key, x.elem_count() / samples.max(1))
}

fn apply(x: &Tensor, p: f64, key: RngKey, unit: usize) -> Result<Tensor> {
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
        },
    )
}

struct Dropout {
    p: f32,
    key: RngKey,
    unit: usize,
}

#[cfg(feature = "candle-cuda")]
impl Dropout {
    fn on_gpu(&self) -> Drop {
        Drop {
            p: self.p,
            key: self.key,
            unit: self.unit,
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
        dropout_forward(x, self.p, self.key, self.unit, &mut y);
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
            dropout_forward(dy, self.p, self.key, self.unit, &mut dx)
        })?;
        like(dx, x).map(Some)
    }
}

//! Squeeze and excitation: channels scaled by a gate computed from their means.

mod kernels;

use super::arrange::join;
use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::elementwise::{silu_backward, silu_forward};
use super::linear::{linear_forward, linear_input_gradient, linear_weight_gradient};
use super::simd::InstructionSet;
use super::tape::apply2;
use super::tensor::{like, slice, stored, with3};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::OnceLock;

/// `x * sigmoid(w2 silu(w1 mean(x) + b1) + b2)`, the mean over each map.
///
/// # Shapes
/// `x: [n, c, h, w]`, `w1: [r, c, 1, 1]`, `b1: [r]`, `w2: [c, r, 1, 1]`, `b2: [c]`.
///
/// # Errors
/// * the shapes do not fit.
///
/// # References
/// Hu et al. 2018, arXiv:1709.01507, with SiLU inside as in EfficientNet (arXiv:1905.11946).
pub fn squeeze_excite(
    x: &Tensor,
    w1: &Tensor,
    b1: &Tensor,
    w2: &Tensor,
    b2: &Tensor,
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let r = b1.elem_count();
    let fits = w1.elem_count() == r * c
        && w2.elem_count() == r * c
        && b2.dims() == [c]
        && w1.dim(0)? == r
        && w2.dim(0)? == c;
    if !fits || h * w == 0 {
        bail!(
            "squeeze_excite: the weights {:?} {:?} {:?} {:?} do not fit the map {:?}",
            w1.dims(),
            b1.dims(),
            w2.dims(),
            b2.dims(),
            x.dims()
        );
    }
    // candle's operations take three tensors: the four parameters travel as one.
    let packed = join(&[w1, b1, w2, b2])?;
    apply2(
        &x.contiguous()?,
        &packed,
        SqueezeExcite {
            n,
            c,
            r,
            plane: h * w,
            kept: OnceLock::new(),
            #[cfg(feature = "candle-cuda")]
            on_gpu: OnceLock::new(),
        },
    )
}

/// What the backward pass reuses.
struct Kept {
    means: Vec<f32>,
    hidden: Vec<f32>,
    active: Vec<f32>,
    gates: Vec<f32>,
}

struct SqueezeExcite {
    n: usize,
    c: usize,
    r: usize,
    plane: usize,
    kept: OnceLock<Kept>,
    #[cfg(feature = "candle-cuda")]
    on_gpu: OnceLock<cuda::squeeze_excite::Kept>,
}

impl SqueezeExcite {
    fn parameters<'a>(&self, packed: &'a [f32]) -> [&'a [f32]; 4] {
        let (w1, rest) = packed.split_at(self.r * self.c);
        let (b1, rest) = rest.split_at(self.r);
        let (w2, b2) = rest.split_at(self.r * self.c);
        [w1, b1, w2, b2]
    }

    #[cfg(feature = "candle-cuda")]
    fn sizes(&self) -> cuda::squeeze_excite::Sizes {
        cuda::squeeze_excite::Sizes {
            n: self.n,
            c: self.c,
            r: self.r,
            plane: self.plane,
        }
    }

    fn squeeze(&self, to: usize) -> [usize; 3] {
        [self.n, self.c + self.r - to, to]
    }

    fn gates(&self, x: &[f32], packed: &[f32]) -> Kept {
        let [w1, b1, w2, b2] = self.parameters(packed);
        let (plane, isa) = (self.plane, InstructionSet::detect());
        let mean = |map: &[f32]| {
            // SAFETY: the pointer is to as many values.
            let sum = unsafe { kernels::sum(isa, map.as_ptr(), map.len()) };
            (sum / plane as f64) as f32
        };
        let means: Vec<f32> = x.par_chunks(plane).with_min_len(16).map(mean).collect();
        let (mut hidden, mut active, mut gates) = (
            output(self.n * self.r),
            output(self.n * self.r),
            output(self.n * self.c),
        );
        linear_forward(&means, w1, Some(b1), self.squeeze(self.r), &mut hidden);
        silu_forward(&hidden, isa, &mut active);
        linear_forward(&active, w2, Some(b2), self.squeeze(self.c), &mut gates);
        gates
            .iter_mut()
            .for_each(|g| *g = 1.0 / (1.0 + (-*g).exp()));
        Kept {
            means,
            hidden,
            active,
            gates,
        }
    }

    /// The gradients of x and of the packed parameters.
    fn backward(&self, x: &[f32], packed: &[f32], dy: &[f32], kept: &Kept) -> (Vec<f32>, Vec<f32>) {
        let (plane, isa) = (self.plane, InstructionSet::detect());
        let [w1, _, w2, _] = self.parameters(packed);
        // In f64: what the products of a map leave of each other meets large hidden values in the gradient of the weights.
        let dot = |(x, dy): (&[f32], &[f32])| {
            x.iter().zip(dy).map(|(x, d)| f64::from(x * d)).sum::<f64>() as f32
        };
        let mut dlogits: Vec<f32> = x
            .par_chunks(plane)
            .zip(dy.par_chunks(plane))
            .with_min_len(16)
            .map(dot)
            .collect();
        dlogits
            .iter_mut()
            .zip(&kept.gates)
            .for_each(|(d, g)| *d *= g * (1.0 - g));
        let (mut dactive, mut dhidden, mut dmeans) = (
            output(self.n * self.r),
            output(self.n * self.r),
            output(self.n * self.c),
        );
        linear_input_gradient(&dlogits, w2, self.squeeze(self.c), &mut dactive);
        silu_backward(&kept.hidden, &dactive, isa, &mut dhidden);
        linear_input_gradient(&dhidden, w1, self.squeeze(self.r), &mut dmeans);
        let mut dpacked = vec![0.0; packed.len()];
        let (dw1, rest) = dpacked.split_at_mut(self.r * self.c);
        let (db1, rest) = rest.split_at_mut(self.r);
        let (dw2, db2) = rest.split_at_mut(self.r * self.c);
        linear_weight_gradient(&kept.means, &dhidden, self.squeeze(self.r), dw1);
        linear_weight_gradient(&kept.active, &dlogits, self.squeeze(self.c), dw2);
        add_rows(&dhidden, db1);
        add_rows(&dlogits, db2);
        let mut dx = output(x.len());
        dx.par_chunks_mut(plane)
            .zip(dy.par_chunks(plane))
            .with_min_len(16)
            .enumerate()
            .for_each(|(i, (dx, dy))| {
                line(isa, dy, kept.gates[i], dmeans[i] / plane as f32, dx);
            });
        (dx, dpacked)
    }
}

/// `y = scale * x + offset`.
fn line(isa: InstructionSet, x: &[f32], scale: f32, offset: f32, y: &mut [f32]) {
    let n = x.len().min(y.len());
    // SAFETY: both pointers are to `n` values at least.
    unsafe { kernels::line(isa, x.as_ptr(), n, scale, offset, y.as_mut_ptr()) };
}

/// Adds every row of `rows` to `sum`.
fn add_rows(rows: &[f32], sum: &mut [f32]) {
    for row in rows.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
}

impl CustomOp2 for SqueezeExcite {
    fn name(&self) -> &'static str {
        "squeeze_excite"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        p: &CpuStorage,
        pl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, packed) = (slice(x, xl)?, slice(p, pl)?);
        let kept = self.gates(x, packed);
        let (mut y, isa) = (output(x.len()), InstructionSet::detect());
        y.par_chunks_mut(self.plane)
            .zip(x.par_chunks(self.plane))
            .with_min_len(16)
            .zip(&kept.gates)
            .for_each(|((y, x), gate)| line(isa, x, *gate, 0.0, y));
        self.kept.get_or_init(|| kept);
        stored(y, xl.shape().clone())
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        p: &CudaStorage,
        pl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (kept, result) = self.sizes().forward(x, xl, p, pl)?;
        if let Some(kept) = kept {
            self.on_gpu.get_or_init(|| kept);
        }
        Ok(result)
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "candle-cuda")]
        if let Some(kept) = self.on_gpu.get() {
            let (dx, dpacked) = self.sizes().backward(x, packed, dy, kept)?;
            return Ok((Some(dx), Some(dpacked)));
        }
        let Some(kept) = self.kept.get() else {
            bail!("squeeze_excite: backward before forward")
        };
        let (dx, dpacked) = with3(x, packed, Some(dy), |x, p, dy| {
            self.backward(x, p, dy.unwrap_or_default(), kept)
        })?;
        Ok((Some(like(dx, x)?), Some(like(dpacked, packed)?)))
    }
}

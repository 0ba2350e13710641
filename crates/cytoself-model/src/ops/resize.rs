//! Resizing of maps by any factor.

mod axis;
mod columns;

use super::buffer::{output, scratch};
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::tape::apply1;
use super::tensor::{like, slice, stored, with};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Maps per task.
const PLANES: usize = 8;

/// Resizes maps bilinearly, `from` -> `to` (rows, columns), half-pixel centres.
///
/// # Panics
/// If the slices do not hold the same number of whole maps.
pub fn resize_bilinear_forward(x: &[f32], from: [usize; 2], to: [usize; 2], y: &mut [f32]) {
    let (rows, columns) = (axis::linear(from[0], to[0]), axis::linear(from[1], to[1]));
    let ([h, w], [h2, w2]) = (from, to);
    assert_eq!(x.len() / (h * w), y.len() / (h2 * w2));
    y.par_chunks_mut(h2 * w2 * PLANES)
        .zip(x.par_chunks(h * w * PLANES))
        .for_each(|(y, x)| {
            scratch(h * w2, |wide| {
                for (y, x) in y.chunks_exact_mut(h2 * w2).zip(x.chunks_exact(h * w)) {
                    for (wide, x) in wide.chunks_exact_mut(w2).zip(x.chunks_exact(w)) {
                        columns::stretch(x, &columns, wide);
                    }
                    for (y, &(a, b, f)) in y.chunks_exact_mut(w2).zip(&rows) {
                        let (upper, lower) = (&wide[a * w2..][..w2], &wide[b * w2..][..w2]);
                        y.iter_mut()
                            .zip(upper)
                            .zip(lower)
                            .for_each(|((y, u), l)| *y = u + f * (l - u));
                    }
                }
            });
        });
}

/// The adjoint of [`resize_bilinear_forward`].
///
/// # Panics
/// If the slices do not hold the same number of whole maps.
pub fn resize_bilinear_backward(dy: &[f32], from: [usize; 2], to: [usize; 2], dx: &mut [f32]) {
    let (rows, columns) = (axis::linear(from[0], to[0]), axis::linear(from[1], to[1]));
    let ([h, w], [h2, w2]) = (from, to);
    assert_eq!(dx.len() / (h * w), dy.len() / (h2 * w2));
    dx.par_chunks_mut(h * w * PLANES)
        .zip(dy.par_chunks(h2 * w2 * PLANES))
        .for_each(|(dx, dy)| {
            scratch(h * w2, |wide| {
                for (dx, dy) in dx.chunks_exact_mut(h * w).zip(dy.chunks_exact(h2 * w2)) {
                    wide.fill(0.0);
                    for (dy, &(a, b, f)) in dy.chunks_exact(w2).zip(&rows) {
                        wide[a * w2..][..w2]
                            .iter_mut()
                            .zip(dy)
                            .for_each(|(o, d)| *o += (1.0 - f) * d);
                        wide[b * w2..][..w2]
                            .iter_mut()
                            .zip(dy)
                            .for_each(|(o, d)| *o += f * d);
                    }
                    for (dx, wide) in dx.chunks_exact_mut(w).zip(wide.chunks_exact(w2)) {
                        columns::gather(wide, &columns, dx);
                    }
                }
            });
        });
}

/// Resizes maps by repetition: output row `i` is input row `floor(i * h / h2)`, columns alike.
///
/// # Panics
/// If the slices do not hold the same number of whole maps.
pub fn resize_nearest_forward(x: &[f32], from: [usize; 2], to: [usize; 2], y: &mut [f32]) {
    let (rows, columns) = (axis::nearest(from[0], to[0]), axis::nearest(from[1], to[1]));
    let ([h, w], [h2, w2]) = (from, to);
    assert_eq!(x.len() / (h * w), y.len() / (h2 * w2));
    y.par_chunks_mut(h2 * w2)
        .zip(x.par_chunks(h * w))
        .with_min_len(PLANES)
        .for_each(|(y, x)| {
            for (y, row) in y.chunks_exact_mut(w2).zip(&rows) {
                let x = &x[row * w..][..w];
                y.iter_mut().zip(&columns).for_each(|(y, c)| *y = x[*c]);
            }
        });
}

/// The adjoint of [`resize_nearest_forward`].
///
/// # Panics
/// If the slices do not hold the same number of whole maps.
pub fn resize_nearest_backward(dy: &[f32], from: [usize; 2], to: [usize; 2], dx: &mut [f32]) {
    let (rows, columns) = (axis::nearest(from[0], to[0]), axis::nearest(from[1], to[1]));
    let ([h, w], [h2, w2]) = (from, to);
    assert_eq!(dx.len() / (h * w), dy.len() / (h2 * w2));
    dx.par_chunks_mut(h * w)
        .zip(dy.par_chunks(h2 * w2))
        .with_min_len(PLANES)
        .for_each(|(dx, dy)| {
            dx.fill(0.0);
            for (dy, row) in dy.chunks_exact(w2).zip(&rows) {
                let dx = &mut dx[row * w..][..w];
                dy.iter().zip(&columns).for_each(|(d, c)| dx[*c] += d);
            }
        });
}

/// Resizes `x: [n, c, h, w]` to `[n, c, height, width]` bilinearly with half-pixel centres (PyTorch's `align_corners=False`).
///
/// # Errors
/// * `x` does not have four dimensions, or a side is 0.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[[[0f32, 4.]]]], &Device::Cpu)?;
/// let y = cytoself_model::ops::resize_bilinear(&x, 1, 4)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0., 1., 3., 4.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn resize_bilinear(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    apply(x, height, width, Kind::Bilinear)
}

/// Resizes `x: [n, c, h, w]` to `[n, c, height, width]` by repetition, any factor.
///
/// # Errors
/// * `x` does not have four dimensions, or a side is 0.
pub fn resize_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    apply(x, height, width, Kind::Nearest)
}

fn apply(x: &Tensor, height: usize, width: usize, kind: Kind) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if h * w * height * width == 0 {
        bail!("resize: maps of {h} x {w} cannot become {height} x {width}");
    }
    if [h, w] == [height, width] {
        return Ok(x.clone());
    }
    apply1(
        &x.contiguous()?,
        Resize {
            from: [h, w],
            to: [height, width],
            kind,
        },
    )
}

#[derive(Clone, Copy)]
enum Kind {
    Bilinear,
    Nearest,
}

struct Resize {
    from: [usize; 2],
    to: [usize; 2],
    kind: Kind,
}

#[cfg(feature = "candle-cuda")]
impl Kind {
    fn kernels(self) -> cuda::resize::Kernels {
        match self {
            Self::Bilinear => cuda::resize::BILINEAR,
            Self::Nearest => cuda::resize::NEAREST,
        }
    }
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, _, _) = xl.shape().dims4()?;
        let mut y = output(n * c * self.to[0] * self.to[1]);
        let run = match self.kind {
            Kind::Bilinear => resize_bilinear_forward,
            Kind::Nearest => resize_nearest_forward,
        };
        run(slice(x, xl)?, self.from, self.to, &mut y);
        stored(y, (n, c, self.to[0], self.to[1]))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::resize::forward(self.kind.kernels(), x, xl, self.from, self.to)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            let dx = cuda::resize::backward(self.kind.kernels(), x, dy, self.from, self.to)?;
            return Ok(Some(dx));
        }
        let mut dx = output(x.elem_count());
        let run = match self.kind {
            Kind::Bilinear => resize_bilinear_backward,
            Kind::Nearest => resize_nearest_backward,
        };
        with(dy, |dy| run(dy, self.from, self.to, &mut dx))?;
        like(dx, x).map(Some)
    }
}

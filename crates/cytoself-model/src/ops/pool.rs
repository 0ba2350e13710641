//! Pooling by the maximum.

#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::tape::apply1;
use super::tensor::{like, slice, stored, with, with2};

/// Planes that a task takes at least.
const PLANES: usize = 4;

/// Offset in the map of the first largest of the four values of a window.
fn largest(x: &[f32], w: usize, corner: usize) -> usize {
    let mut best = corner;
    for at in [corner + 1, corner + w, corner + w + 1] {
        // Written so that a NaN is found.
        if x[at] > x[best] || x[at].is_nan() {
            best = at;
        }
    }
    best
}

/// Largest values of windows of 2 x 2; an odd last row or column is dropped.
///
/// # Panics
/// If the slices do not hold the same number of whole maps.
pub fn max_pool2_forward(x: &[f32], [h, w]: [usize; 2], y: &mut [f32]) {
    let (h2, w2) = (h / 2, w / 2);
    assert_eq!(x.len() / (h * w), y.len() / (h2 * w2));
    y.par_chunks_mut(h2 * w2)
        .zip(x.par_chunks(h * w))
        .with_min_len(PLANES)
        .for_each(|(y, x)| {
            for (i, y) in y.chunks_exact_mut(w2).enumerate() {
                for (j, y) in y.iter_mut().enumerate() {
                    *y = x[largest(x, w, 2 * i * w + 2 * j)];
                }
            }
        });
}

/// The gradient of [`max_pool2_forward`]: all of it goes to the first largest value of a window.
///
/// # Panics
/// If the slices do not hold the same number of whole maps.
pub fn max_pool2_backward(x: &[f32], dy: &[f32], [h, w]: [usize; 2], dx: &mut [f32]) {
    let (h2, w2) = (h / 2, w / 2);
    assert!(x.len() == dx.len() && x.len() / (h * w) == dy.len() / (h2 * w2));
    dx.par_chunks_mut(h * w)
        .zip(x.par_chunks(h * w))
        .zip(dy.par_chunks(h2 * w2))
        .with_min_len(PLANES)
        .for_each(|((dx, x), dy)| {
            dx.fill(0.0);
            for (i, dy) in dy.chunks_exact(w2).enumerate() {
                for (j, dy) in dy.iter().enumerate() {
                    dx[largest(x, w, 2 * i * w + 2 * j)] = *dy;
                }
            }
        });
}

/// Halves maps `x: [n, c, h, w]` by the largest of each window of 2 x 2; an odd last row or column is dropped.
///
/// # Errors
/// * `x` does not have four dimensions, or a side is below 2.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[[[1f32, 4., 9.], [3., 2., 9.]]]], &Device::Cpu)?;
/// let y = cytoself_model::ops::max_pool2(&x)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [4.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn max_pool2(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if h < 2 || w < 2 {
        bail!("max_pool2: maps of {h} x {w} cannot be halved");
    }
    apply1(&x.contiguous()?, MaxPool2)
}

struct MaxPool2;

impl CustomOp1 for MaxPool2 {
    fn name(&self) -> &'static str {
        "max_pool2"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = xl.shape().dims4()?;
        let mut y = output(n * c * (h / 2) * (w / 2));
        max_pool2_forward(slice(x, xl)?, [h, w], &mut y);
        stored(y, (n, c, h / 2, w / 2))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::pool::max_pool2(x, xl)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            return cuda::pool::max_pool2_backward(x, dy).map(Some);
        }
        let (_, _, h, w) = x.dims4()?;
        let mut dx = output(x.elem_count());
        with2(x, dy, |x, dy| max_pool2_backward(x, dy, [h, w], &mut dx))?;
        like(dx, x).map(Some)
    }
}

/// The largest value of every map of `x: [n, c, h, w]`, as `[n, c]` in row-major order; outside of any gradient.
///
/// # Errors
/// * `x` does not have four dimensions.
pub(crate) fn global_max(x: &Tensor) -> Result<Vec<f32>> {
    #[cfg(feature = "candle-cuda")]
    if x.device().is_cuda() {
        return cuda::pool::global_max(x);
    }
    let (_, _, h, w) = x.dims4()?;
    with(x, |x| {
        x.par_chunks((h * w).max(1))
            .with_min_len(PLANES)
            .map(|plane| plane.iter().copied().fold(f32::NEG_INFINITY, f32::max))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_first_largest_gets_the_gradient() {
        let x = [1f32, 1., 0., 5., 1., 0., 7., 5., 9., 9., 9., 9.];
        let x = Var::from_slice(&x, (1, 1, 3, 4), &Device::Cpu).unwrap();
        let y = max_pool2(&x).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [1., 7.]);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let dx = gradients.get(&x).unwrap().flatten_all().unwrap();
        let expected = [1f32, 0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 0.];
        assert_eq!(dx.to_vec1::<f32>().unwrap(), expected);
        assert_eq!(global_max(&x).unwrap(), [9.]);
    }

    #[test]
    fn maps_too_small_are_refused() {
        let x = Tensor::zeros((1, 1, 1, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(max_pool2(&x).is_err());
    }
}

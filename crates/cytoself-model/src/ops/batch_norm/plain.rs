//! Batch normalisation on slices.

use super::backward::Backward;
use super::{Activation, kernels};
use crate::ops::buffer::Shared;
use crate::ops::simd::InstructionSet;
use rayon::prelude::*;

/// The shape `[batch, channels, plane]` of the maps, `plane` = h x w.
pub type MapShape = [usize; 3];

/// What each channel is normalised with.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStatistics {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// Biased variance per channel (divided by the count).
    pub variance: Vec<f32>,
}

/// Mean and biased variance of every channel over images and pixels, summed in f64.
///
/// # Panics
/// If `x` does not have the length of `shape`.
///
/// # Example
/// ```
/// use cytoself_model::ops::{InstructionSet, batch_statistics};
/// let statistics = batch_statistics(&[1., 3., 5., 7.], [2, 1, 2], InstructionSet::detect());
/// assert_eq!((statistics.mean[0], statistics.variance[0]), (4., 5.));
/// ```
pub fn batch_statistics(x: &[f32], shape: MapShape, isa: InstructionSet) -> BatchStatistics {
    let (mean, variance) = moments(x, shape, isa)
        .into_iter()
        .map(|[mean, variance]| (mean as f32, variance as f32))
        .unzip();
    BatchStatistics { mean, variance }
}

/// As [`batch_statistics`] in double precision, `[mean, variance]` per channel.
pub(super) fn moments(x: &[f32], shape: MapShape, isa: InstructionSet) -> Vec<[f64; 2]> {
    let [batch, channels, plane] = shape;
    assert_eq!(x.len(), batch * channels * plane, "maps");
    let moments = |c: usize| {
        let shift = x.get(c * plane).copied().unwrap_or(0.0);
        let (mut sum, mut square) = (0.0, 0.0);
        for image in 0..batch {
            let map = &x[(image * channels + c) * plane..][..plane];
            // SAFETY: `map` has `plane` values.
            let [s, q] = unsafe { kernels::sums(isa, map.as_ptr(), plane, shift) };
            sum += s;
            square += q;
        }
        let count = (batch * plane) as f64;
        let mean = sum / count;
        [
            f64::from(shift) + mean,
            (square / count - mean * mean).max(0.0),
        ]
    };
    (0..channels).into_par_iter().map(moments).collect()
}

/// The line `scale * x + offset` of one channel.
pub(super) fn line(
    statistics: &BatchStatistics,
    affine: Option<(&[f32], &[f32])>,
    eps: f32,
    c: usize,
) -> (f32, f32) {
    let inverse = 1.0 / (statistics.variance[c] + eps).sqrt();
    let (gamma, beta) = affine.map_or((1.0, 0.0), |(g, b)| (g[c], b[c]));
    let scale = gamma * inverse;
    (scale, beta - statistics.mean[c] * scale)
}

/// `y = act(gamma (x - mean) / sqrt(variance + eps) + beta + residual)`.
///
/// # Panics
/// If a slice does not have the length of `shape`.
#[allow(clippy::too_many_arguments)] // one fused pass
pub fn batch_norm_forward(
    x: &[f32],
    shape: MapShape,
    statistics: &BatchStatistics,
    eps: f32,
    affine: Option<(&[f32], &[f32])>,
    residual: Option<&[f32]>,
    activation: Activation,
    isa: InstructionSet,
    y: &mut [f32],
) {
    let [batch, channels, plane] = shape;
    assert!(
        x.len() == batch * channels * plane
            && y.len() == x.len()
            && residual.is_none_or(|r| r.len() == x.len()),
        "maps"
    );
    let out = Shared::new(y);
    (0..channels).into_par_iter().for_each(|c| {
        let (scale, offset) = line(statistics, affine, eps, c);
        for start in (0..batch).map(|image| (image * channels + c) * plane) {
            let residual = residual.map_or(std::ptr::null(), |r| r[start..].as_ptr());
            // SAFETY: one task per channel; all slices have `plane` values from `start`.
            unsafe {
                kernels::normalize(
                    isa,
                    x[start..].as_ptr(),
                    plane,
                    scale,
                    offset,
                    residual,
                    activation,
                    out.at(start),
                )
            };
        }
    });
}

/// What [`batch_norm_backward`] returns.
#[derive(Clone, Debug)]
pub struct BatchNormGradients {
    /// Of the input.
    pub x: Vec<f32>,
    /// Of the residual, if there was one.
    pub residual: Option<Vec<f32>>,
    /// Of the scale per channel.
    pub gamma: Vec<f32>,
    /// Of the offset per channel.
    pub beta: Vec<f32>,
}

/// All gradients of [`batch_norm_forward`]; `batch_mode` says that the statistics came from `x` itself.
///
/// # Panics
/// If a slice does not have the length of `shape`.
///
/// # References
/// Ioffe and Szegedy 2015, arXiv:1502.03167, section 3: the gradient through the batch statistics.
#[allow(clippy::too_many_arguments)] // one fused pass
pub fn batch_norm_backward(
    x: &[f32],
    dy: &[f32],
    shape: MapShape,
    statistics: &BatchStatistics,
    eps: f32,
    affine: Option<(&[f32], &[f32])>,
    residual: Option<&[f32]>,
    activation: Activation,
    batch_mode: bool,
    isa: InstructionSet,
) -> BatchNormGradients {
    let pass = Backward {
        x,
        dy,
        shape,
        statistics,
        eps,
        affine,
        residual,
        activation,
        isa,
    };
    pass.run::<std::convert::Infallible>(batch_mode, None)
        .unwrap_or_else(|never| match never {})
}

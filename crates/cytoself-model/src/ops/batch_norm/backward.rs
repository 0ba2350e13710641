//! The backward pass of batch normalisation, of a whole batch or of a part of one.

use rayon::prelude::*;

use super::plain::{BatchNormGradients, BatchStatistics, MapShape, line};
use super::{Activation, kernels};
use crate::ops::buffer::{Shared, output};
use crate::ops::simd::InstructionSet;

/// What a backward pass reads.
pub(super) struct Backward<'a> {
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) shape: MapShape,
    pub(super) statistics: &'a BatchStatistics,
    pub(super) eps: f32,
    pub(super) affine: Option<(&'a [f32], &'a [f32])>,
    pub(super) residual: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) isa: InstructionSet,
}

/// Sums over all parts of a batch what this part contributes, `[sum, product]` per channel, and returns the count of values per
/// channel in all parts.
pub(super) type SumParts<'a, E> = &'a mut dyn FnMut(&mut [[f64; 2]]) -> Result<f64, E>;

impl Backward<'_> {
    /// All gradients; with `share`, of a batch of which this is a part.
    pub(super) fn run<E>(
        &self,
        batch_mode: bool,
        share: Option<SumParts<'_, E>>,
    ) -> Result<BatchNormGradients, E> {
        let [batch, channels, plane] = self.shape;
        let (x, residual) = (self.x, self.residual);
        assert!(
            x.len() == batch * channels * plane
                && self.dy.len() == x.len()
                && residual.is_none_or(|r| r.len() == x.len()),
            "maps"
        );
        let mut dx = output(x.len());
        let mut dresidual = residual.map(|_| output(x.len()));
        let out = Shared::new(&mut dx);
        // The slopes go into the residual's gradient, which they are, or else into dx, where the second pass overwrites them.
        let slope = dresidual.as_deref_mut().map_or(out, Shared::new);
        let count = (batch * plane) as f64;
        let sums = match share.filter(|_| batch_mode) {
            None => (0..channels)
                .into_par_iter()
                .map(|c| {
                    let sums = self.slopes(c, slope);
                    self.combine(c, batch_mode.then_some((sums, count)), slope, out);
                    sums
                })
                .collect(),
            Some(share) => {
                let own: Vec<[f64; 2]> = (0..channels)
                    .into_par_iter()
                    .map(|c| self.slopes(c, slope))
                    .collect();
                let mut all = own.clone();
                let count = share(&mut all)?;
                (0..channels)
                    .into_par_iter()
                    .for_each(|c| self.combine(c, Some((all[c], count)), slope, out));
                own
            }
        };
        let gradients = |c: usize| ((sums[c][1] * self.inverse(c)) as f32, sums[c][0] as f32);
        let (gamma, beta) = (0..channels).map(gradients).unzip();
        Ok(BatchNormGradients {
            x: dx,
            residual: dresidual,
            gamma,
            beta,
        })
    }

    fn inverse(&self, c: usize) -> f64 {
        1.0 / (f64::from(self.statistics.variance[c]) + f64::from(self.eps)).sqrt()
    }

    /// Where the maps of channel `c` begin.
    fn starts(&self, c: usize) -> impl Iterator<Item = usize> + use<> {
        let [batch, channels, plane] = self.shape;
        (0..batch).map(move |image| (image * channels + c) * plane)
    }

    /// First pass over channel `c`: the gradient before the activation into `slope`, its sum and that of its product with x - mean.
    fn slopes(&self, c: usize, slope: Shared) -> [f64; 2] {
        let (scale, offset) = line(self.statistics, self.affine, self.eps, c);
        let (mut sum, mut product) = (0.0, 0.0);
        for start in self.starts(c) {
            let r = self
                .residual
                .map_or(std::ptr::null(), |r| r[start..].as_ptr());
            let (x, dy) = (self.x[start..].as_ptr(), self.dy[start..].as_ptr());
            // SAFETY: one task per channel; all slices have `plane` values from `start`.
            let [s, q] = unsafe {
                kernels::slopes(
                    self.isa,
                    x,
                    dy,
                    self.shape[2],
                    self.statistics.mean[c],
                    scale,
                    offset,
                    r,
                    self.activation,
                    slope.at(start),
                )
            };
            sum += s;
            product += q;
        }
        [sum, product]
    }

    /// Second pass over channel `c`: the gradient of x; `batch` are the sums over the batch and its count, if the statistics are its.
    fn combine(&self, c: usize, batch: Option<([f64; 2], f64)>, slope: Shared, out: Shared) {
        let (scale, _) = line(self.statistics, self.affine, self.eps, c);
        let inverse = self.inverse(c);
        // dx = scale (g - mean(g) - xhat mean(g xhat)), xhat = (x - mean) inverse
        let (mut b, mut shift) = (0.0, 0.0);
        if let Some(([sum, product], count)) = batch {
            b = -f64::from(scale) * product / count * inverse * inverse;
            shift = -f64::from(scale) * sum / count - b * f64::from(self.statistics.mean[c]);
        }
        for start in self.starts(c) {
            // SAFETY: one task per channel; all slices have `plane` values from `start`.
            unsafe {
                kernels::combine(
                    self.isa,
                    self.x[start..].as_ptr(),
                    slope.at(start),
                    self.shape[2],
                    scale,
                    b as f32,
                    shift as f32,
                    out.at(start),
                )
            };
        }
    }
}

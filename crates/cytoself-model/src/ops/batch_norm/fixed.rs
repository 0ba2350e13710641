//! Normalisation with running statistics, by the convolution whose output it takes while that is still in the cache.

use super::plain::line;
use super::{Activation, BatchNormRunning, BatchStatistics, kernels};
use crate::ops::buffer::Shared;
use crate::ops::simd::InstructionSet;
use candle_core::{Result, Tensor, bail};
use std::ops::Range;

/// A batch normalisation by its running statistics, and the activation after it.
pub(crate) struct FixedNorm {
    /// Scale and offset per channel.
    lines: Vec<(f32, f32)>,
    activation: Activation,
}

impl FixedNorm {
    /// Of the running statistics as they are now.
    pub(crate) fn new(
        affine: Option<(&Tensor, &Tensor)>,
        running: &BatchNormRunning,
        eps: f64,
        activation: Activation,
    ) -> Result<Self> {
        let statistics = BatchStatistics {
            mean: running.mean.to_vec1()?,
            variance: running.var.to_vec1()?,
        };
        let affine = match affine {
            Some((scale, offset)) => Some((scale.to_vec1()?, offset.to_vec1()?)),
            None => None,
        };
        let affine = affine
            .as_ref()
            .map(|(g, b): &(Vec<f32>, Vec<f32>)| (&g[..], &b[..]));
        let channels = statistics.mean.len();
        if affine.is_some_and(|(g, b)| g.len() != channels || b.len() != channels) {
            bail!("batch_norm: {channels} values per channel vector were expected");
        }
        let lines = (0..channels)
            .map(|c| line(&statistics, affine, eps as f32, c))
            .collect();
        Ok(Self { lines, activation })
    }

    /// Scale and offset per channel.
    pub(crate) fn lines(&self) -> &[(f32, f32)] {
        &self.lines
    }

    /// What follows.
    pub(crate) fn activation(&self) -> Activation {
        self.activation
    }

    /// With `residual`, of the maps' shape, added before the activation.
    pub(crate) fn with<'a>(&'a self, residual: Option<&'a [f32]>) -> Finish<'a> {
        Finish {
            norm: self,
            residual,
            isa: InstructionSet::detect(),
        }
    }
}

/// What is done to maps once they are computed.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    norm: &'a FixedNorm,
    residual: Option<&'a [f32]>,
    isa: InstructionSet,
}

impl Finish<'_> {
    /// Whether it is meant for maps of `channels` channels and `length` values in all.
    pub(crate) fn fits(&self, channels: usize, length: usize) -> bool {
        self.norm.lines.len() == channels && self.residual.is_none_or(|r| r.len() == length)
    }

    /// `maps = act(scale maps + offset + residual)` for `n` values of each of `channels`, the first of which begin at `start`, the next
    /// `plane` behind.
    ///
    /// # Safety
    /// It [fits](Finish::fits) the maps, the values lie within them, and no other task uses these.
    pub(crate) unsafe fn apply(
        &self,
        maps: Shared,
        start: usize,
        plane: usize,
        channels: Range<usize>,
        n: usize,
    ) {
        for (place, channel) in channels.enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.apply_to(maps, start + place * plane, channel, n) };
        }
    }

    /// [`Finish::apply`] of one channel.
    ///
    /// # Safety
    /// As above.
    unsafe fn apply_to(&self, maps: Shared, start: usize, channel: usize, n: usize) {
        let (scale, offset) = self.norm.lines[channel];
        let residual = self
            .residual
            .map_or(std::ptr::null(), |r| r[start..][..n].as_ptr());
        // SAFETY: the caller's promise; the kernel reads each value before it writes it.
        unsafe {
            let values = maps.at(start);
            let activation = self.norm.activation;
            kernels::normalize(
                self.isa, values, n, scale, offset, residual, activation, values,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::*;
    use crate::ops::{
        BatchNormMode, ConvAlgorithm, Padding, batch_norm, conv2d, conv2d_normalized,
    };

    const EPS: f64 = 1e-3;

    fn ramp(shape: &[usize], step: usize) -> Tensor {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n)
            .map(|i| (i * step % 89) as f32 / 40.0 - 1.0)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn running(channels: usize) -> BatchNormRunning {
        let var = (ramp(&[channels], 5).abs().unwrap() + 0.5).unwrap();
        BatchNormRunning {
            mean: Var::from_tensor(&ramp(&[channels], 3)).unwrap(),
            var: Var::from_tensor(&var).unwrap(),
        }
    }

    fn bits(t: &Tensor) -> Vec<u32> {
        let values: Vec<f32> = t.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// Every combination of scale and offset, residual and activation, of `channels` channels.
    fn each(
        channels: usize,
        check: impl Fn(&FixedNorm, &dyn Fn(&Tensor, Option<&Tensor>) -> Tensor),
    ) {
        let (scale, offset) = (ramp(&[channels], 7), ramp(&[channels], 11));
        let running = running(channels);
        for affine in [None, Some((&scale, &offset))] {
            for activation in [Activation::None, Activation::Silu] {
                let norm = FixedNorm::new(affine, &running, EPS, activation).unwrap();
                check(&norm, &|y, residual| {
                    let mode = BatchNormMode::Eval;
                    batch_norm(y, affine, &running, mode, EPS, residual, activation).unwrap()
                });
            }
        }
    }

    #[test]
    fn a_convolution_that_normalises_gives_the_same_bits() {
        // 1x1, in blocks and small; patches; Winograd; several images in one product; no input channel.
        for (batch, input, output, side, kernel, stride) in [
            (2, 5, 40, 47, 1, 1),
            (2, 5, 7, 40, 1, 1),
            (3, 16, 9, 4, 1, 1),
            (2, 3, 8, 13, 3, 2),
            (1, 16, 12, 25, 3, 1),
            (5, 16, 9, 7, 3, 1),
            (2, 0, 3, 4, 1, 1),
        ] {
            let x = ramp(&[batch, input, side, side], 13);
            let w = ramp(&[output, input, kernel, kernel], 17);
            let (padding, auto) = (Padding::uniform(kernel / 2), ConvAlgorithm::Auto);
            let plain = conv2d(&x, &w, stride, padding, auto).unwrap();
            let other = ramp(plain.dims(), 19);
            each(output, |norm, expected| {
                for residual in [None, Some(&other)] {
                    let step = (stride, padding);
                    let y = conv2d_normalized(&x, &w, step, auto, norm, residual).unwrap();
                    assert_eq!(bits(&y), bits(&expected(&plain, residual)));
                }
            });
        }
    }

    #[test]
    fn a_residual_of_another_shape_is_refused() {
        let (x, w) = (ramp(&[1, 2, 3, 3], 1), ramp(&[2, 2, 1, 1], 1));
        let norm = FixedNorm::new(None, &running(2), EPS, Activation::None).unwrap();
        let step = (1, Padding::NONE);
        let other = ramp(&[1, 2, 3, 2], 1);
        let found = conv2d_normalized(&x, &w, step, ConvAlgorithm::Auto, &norm, Some(&other));
        assert!(found.is_err());
    }
}

//! The operation that gives the squared losses and their gradients.

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

use super::with_values;
use crate::codebook::Codebook;
use crate::gradient::{codebook_gradient, commitment_gradient};
use crate::vectors::Vectors;

/// `(commitment, quantisation)`: both are the mean squared error; the gradient of the first goes into the vectors, of the second into
/// the codebook.
pub(super) struct QuantizationLoss {
    mean: f64,
    indices: Vec<u32>,
    codebook: Codebook,
    split: usize,
}

impl QuantizationLoss {
    pub(super) fn new(mean: f64, indices: Vec<u32>, codebook: Codebook, split: usize) -> Self {
        Self {
            mean,
            indices,
            codebook,
            split,
        }
    }

    /// `2 scale (z - q)` in the layout of `z`.
    fn commitment_gradient(&self, z: &Tensor, scale: f64) -> Result<Tensor> {
        let (b, _, h, w) = z.dims4()?;
        let gradient = with_values(z, |values| {
            let vectors = Vectors::planes(values, b, self.split, self.codebook.dim(), h * w)?;
            commitment_gradient(&vectors, &self.indices, &self.codebook, scale)
        })?;
        Tensor::from_vec(gradient, z.shape(), &Device::Cpu)
    }

    fn codebook_gradient(&self, z: &Tensor, scale: f64) -> Result<Tensor> {
        let (b, _, h, w) = z.dims4()?;
        let gradient = with_values(z, |values| {
            let vectors = Vectors::planes(values, b, self.split, self.codebook.dim(), h * w)?;
            codebook_gradient(&vectors, &self.indices, &self.codebook, scale)
        })?;
        Tensor::from_vec(
            gradient,
            (self.codebook.codes(), self.codebook.dim()),
            &Device::Cpu,
        )
    }
}

impl CustomOp2 for QuantizationLoss {
    fn name(&self) -> &'static str {
        "quantization_loss"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mean = self.mean as f32;
        Ok((CpuStorage::F32(vec![mean, mean]), Shape::from(2)))
    }

    fn bwd(
        &self,
        z: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.to_vec1::<f32>()?;
        let scale = |g: f32| f64::from(g) / z.elem_count().max(1) as f64;
        let into_z = self.commitment_gradient(z, scale(gradient[0]))?;
        let into_codes = self.codebook_gradient(z, scale(gradient[1]))?;
        Ok((Some(into_z), Some(into_codes)))
    }
}

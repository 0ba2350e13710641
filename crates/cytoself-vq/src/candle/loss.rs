//! The operation that gives the losses and their gradients.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

use super::with_values;
use crate::error::VqError;
use crate::gradient::{codebook_gradient, commitment_gradient};
use crate::quantizer::SplitQuantizer;
use crate::softmax::softmax_gradient;
use crate::vectors::Vectors;

/// The values of the losses, which the search has already given.
#[derive(Clone, Copy)]
pub(super) struct Losses {
    /// Mean squared error.
    pub(super) squared: f64,
    /// Mean cross-entropy of the soft assignment, if wanted.
    pub(super) cross_entropy: Option<f64>,
}

/// `[commitment, quantisation, softmax]`: the first two are the mean squared error, with gradient into the vectors and into the
/// codebook; the last has gradient into both.
pub(super) struct QuantizationLoss {
    values: Losses,
    indices: Vec<u32>,
    quantizer: Arc<SplitQuantizer>,
}

impl QuantizationLoss {
    pub(super) fn new(values: Losses, indices: Vec<u32>, quantizer: Arc<SplitQuantizer>) -> Self {
        Self {
            values,
            indices,
            quantizer,
        }
    }

    /// Gradients into the vectors and, if a loss that trains it is wanted, into the codebook, for the gradients `g` of the three
    /// losses.
    fn gradients(
        &self,
        vectors: &Vectors<'_>,
        g: [f64; 3],
    ) -> std::result::Result<(Vec<f32>, Option<Vec<f32>>), VqError> {
        let codebook = self.quantizer.codebook();
        let values = (vectors.len() * vectors.dim()).max(1) as f64;
        let mut into_z = commitment_gradient(vectors, &self.indices, codebook, g[0] / values)?;
        let soft = self.values.cross_entropy.is_some() && g[2] != 0.0;
        if g[1] == 0.0 && !soft {
            return Ok((into_z, None));
        }
        let mut into_codes = codebook_gradient(vectors, &self.indices, codebook, g[1] / values)?;
        if soft {
            let scale = g[2] / vectors.len().max(1) as f64;
            let soft = softmax_gradient(self.quantizer.search(), vectors, &self.indices, scale)?;
            into_z
                .iter_mut()
                .zip(soft.vectors)
                .for_each(|(a, b)| *a += b);
            into_codes
                .iter_mut()
                .zip(soft.codebook)
                .for_each(|(a, b)| *a += b);
        }
        Ok((into_z, Some(into_codes)))
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
        let Losses {
            squared,
            cross_entropy,
        } = self.values;
        let losses = [squared, squared, cross_entropy.unwrap_or(0.0)].map(|v| v as f32);
        Ok((CpuStorage::F32(losses.to_vec()), Shape::from(losses.len())))
    }

    fn bwd(
        &self,
        z: &Tensor,
        codebook: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (b, _, h, w) = z.dims4()?;
        let g = gradient.to_vec1::<f32>()?;
        let g = std::array::from_fn(|i| f64::from(g[i]));
        let (into_z, into_codes) = with_values(z, |values| {
            let (split, dim) = (self.quantizer.split(), self.quantizer.codebook().dim());
            self.gradients(&Vectors::planes(values, b, split, dim, h * w)?, g)
        })?;
        let into_z = Tensor::from_vec(into_z, z.shape(), &Device::Cpu)?;
        // Settled codes stand here as an empty tensor.
        let into_codes = into_codes
            .filter(|_| codebook.elem_count() > 0)
            .map(|g| Tensor::from_vec(g, codebook.shape(), &Device::Cpu))
            .transpose()?;
        Ok((Some(into_z), into_codes))
    }
}

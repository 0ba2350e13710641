//! Split quantisation as an operation on candle tensors, with straight-through gradient.

#[cfg(feature = "candle-cuda")]
mod cuda;
mod loss;
mod straight_through;
mod tally;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

#[cfg(feature = "candle-cuda")]
pub use self::cuda::prepare_cuda;
use self::loss::{Losses, QuantizationLoss};
use self::straight_through::StraightThrough;
pub use self::tally::Tally;
use crate::codebook::Codebook;
use crate::error::VqError;
use crate::quantizer::SplitQuantizer;
use crate::vectors::Vectors;

/// Settings of [`split_quantize`].
///
/// # Defaults
/// `split` 1, `commitment_cost` 0.25, `quantization_cost` 1, `softmax_cost` 0 and no soft histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct QuantizeOptions {
    /// Chunks per position.
    pub split: usize,
    /// Weight of the commitment loss in the loss.
    pub commitment_cost: f64,
    /// Weight of the quantization loss in the loss; at 0 the loss does not train the codebook, which is then for a
    /// [`MovingAverage`](crate::MovingAverage) to do.
    pub quantization_cost: f64,
    /// Weight of the softmax loss in the loss; at 0 it is computed only for `softmax_histogram`.
    pub softmax_cost: f64,
    /// Whether to sum the soft assignments per image, which takes several times as long as the search.
    pub softmax_histogram: bool,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        // 0.25: van den Oord et al., arXiv:1711.00937, section 3.2, and both cytoself implementations.
        Self {
            split: 1,
            commitment_cost: 0.25,
            quantization_cost: 1.0,
            softmax_cost: 0.0,
            softmax_histogram: false,
        }
    }
}

impl QuantizeOptions {
    /// Sets the number of chunks per position.
    #[must_use]
    pub fn split(mut self, split: usize) -> Self {
        self.split = split;
        self
    }

    /// Sets the weight of the commitment loss.
    #[must_use]
    pub fn commitment_cost(mut self, cost: f64) -> Self {
        self.commitment_cost = cost;
        self
    }

    /// Sets the weight of the quantization loss.
    #[must_use]
    pub fn quantization_cost(mut self, cost: f64) -> Self {
        self.quantization_cost = cost;
        self
    }

    /// Sets the weight of the softmax loss.
    #[must_use]
    pub fn softmax_cost(mut self, cost: f64) -> Self {
        self.softmax_cost = cost;
        self
    }

    /// Asks for the soft histogram.
    #[must_use]
    pub fn softmax_histogram(mut self, wanted: bool) -> Self {
        self.softmax_histogram = wanted;
        self
    }

    fn soft(&self) -> bool {
        self.softmax_histogram || self.softmax_cost != 0.0
    }
}

/// What [`split_quantize`] returns; `b` images, `k` codes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Quantized {
    /// The codes in the place of the vectors, shape of `z`; gradients pass straight through to `z`.
    pub quantized: Tensor,
    /// Index of the code of each chunk, u32 `[b, split, h, w]`.
    pub indices: Tensor,
    /// How often each code occurs in each image, f32 `[b, k]`.
    pub histogram: Tensor,
    /// Sum over the vectors of each image of `softmax(-|z - c|^2)`, f32 `[b, k]` without gradient; `None` unless asked for.
    pub softmax_histogram: Option<Tensor>,
    /// `quantization_cost * quantization_loss + commitment_cost * commitment_loss + softmax_cost * softmax_loss`, a scalar.
    pub loss: Tensor,
    /// `mean((q - z)^2)` with gradient into `z`, a scalar.
    pub commitment_loss: Tensor,
    /// `mean((q - z)^2)` with gradient into the codebook, a scalar.
    pub quantization_loss: Tensor,
    /// Mean of `-ln softmax(-|z - c|^2)` at the nearest code, with gradient into both, a scalar; `None` unless it was computed.
    pub softmax_loss: Option<Tensor>,
    /// How often each code occurs in the batch.
    pub tally: Tally,
}

/// Quantises `z` by the nearest codes.
///
/// **Shapes** `z: [b, split * d, h, w]` f32, `codebook: [k, d]` f32, both on the processor or, with feature `candle-cuda`, on one GPU.
///
/// The channels of a position are `split` consecutive chunks of `d`. Gradients: of `quantized` straight through into `z`; of
/// `commitment_loss` into `z`; of `quantization_loss` into `codebook`; of `softmax_loss` into both.
///
/// # Differs from cytoself
/// `quantized` is the code itself; the reference computes `z + (q - z)`, which differs from it by rounding.
///
/// # Errors
/// - [`VqError::Channels`]: the channels are not `split * d`;
/// - [`VqError::NonFiniteVector`], [`VqError::NonFiniteCode`]: a value is NaN or infinite (on a GPU told by [`Tally::counts`], as
///   nothing here waits for it);
/// - [`VqError::Candle`]: wrong rank or data type, tensors on different devices, or the soft assignment asked for on a GPU.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use cytoself_vq::candle::{QuantizeOptions, split_quantize};
///
/// let codebook = Var::from_slice(&[0f32, 0., 1., 1.], (2, 2), &Device::Cpu)?;
/// let z = Var::from_slice(&[0.1f32, 0.9, 0.2, 1.0], (1, 2, 1, 2), &Device::Cpu)?;
/// let found = split_quantize(&z, &codebook, &QuantizeOptions::default())?;
/// assert_eq!(found.indices.flatten_all()?.to_vec1::<u32>()?, [0, 1]);
/// let gradients = found.loss.backward()?;
/// let into_codes = gradients.get(&codebook).unwrap().to_vec2::<f32>()?;
/// assert!((into_codes[0][0] - 2.0 * (0.0 - 0.1) / 4.0).abs() < 1e-7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn split_quantize(
    z: &Tensor,
    codebook: &Tensor,
    options: &QuantizeOptions,
) -> Result<Quantized, VqError> {
    let (_, channels, _, _) = z.dims4()?;
    let (_, dim) = codebook.dims2()?;
    let split = options.split;
    if split == 0 || dim.checked_mul(split) != Some(channels) {
        return Err(VqError::Channels {
            channels,
            split,
            dim,
        });
    }
    #[cfg(feature = "candle-cuda")]
    if z.device().is_cuda() {
        return cuda::split_quantize(z, codebook, options);
    }
    on_processor(z, "z")?;
    let settled = SettledCodebook::new(codebook, split)?;
    quantize(z, codebook, &settled.quantizer, options)
}

/// Codes that stay as they are, brought into the order of the search once for many calls.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use cytoself_vq::candle::{QuantizeOptions, SettledCodebook, split_quantize};
///
/// let codebook = Tensor::new(&[[0f32, 0.], [1., 1.]], &Device::Cpu)?;
/// let z = Tensor::new(&[0.1f32, 0.9, 0.2, 1.0], &Device::Cpu)?.reshape((1, 2, 1, 2))?;
/// let settled = SettledCodebook::new(&codebook, 1)?;
/// let found = settled.split_quantize(&z, &QuantizeOptions::default())?;
/// assert_eq!(found.indices.flatten_all()?.to_vec1::<u32>()?, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SettledCodebook {
    quantizer: Arc<SplitQuantizer>,
}

impl SettledCodebook {
    /// Of `codebook: [k, d]`, f32 on the processor, as it is now.
    ///
    /// # Errors
    /// - [`VqError::NonFiniteCode`]: a value is NaN or infinite;
    /// - [`VqError::Parameter`]: `split` is 0;
    /// - [`VqError::Candle`]: wrong rank, data type or device.
    pub fn new(codebook: &Tensor, split: usize) -> Result<Self, VqError> {
        on_processor(codebook, "codebook")?;
        let (codes, dim) = codebook.dims2()?;
        let rows = Codebook::new(codebook.flatten_all()?.to_vec1()?, codes, dim)?;
        let quantizer = Arc::new(SplitQuantizer::new(rows, split)?);
        Ok(Self { quantizer })
    }

    /// [`split_quantize`] by these codes, without gradient into them; the split is that of [`SettledCodebook::new`].
    ///
    /// # Errors
    /// As [`split_quantize`].
    pub fn split_quantize(
        &self,
        z: &Tensor,
        options: &QuantizeOptions,
    ) -> Result<Quantized, VqError> {
        let codebook = self.quantizer.codebook();
        let (channels, dim, split) = (z.dims4()?.1, codebook.dim(), self.quantizer.split());
        if dim.checked_mul(split) != Some(channels) {
            return Err(VqError::Channels {
                channels,
                split,
                dim,
            });
        }
        on_processor(z, "z")?;
        // The losses ask for codes as a tensor, and take no value from it.
        let none = Tensor::zeros((0, dim), DType::F32, &Device::Cpu)?;
        quantize(z, &none, &self.quantizer, options)
    }
}

/// [`split_quantize`] on the processor, once everything fits.
fn quantize(
    z: &Tensor,
    codebook: &Tensor,
    quantizer: &Arc<SplitQuantizer>,
    options: &QuantizeOptions,
) -> Result<Quantized, VqError> {
    let (b, _, h, w) = z.dims4()?;
    let (split, codes) = (quantizer.split(), quantizer.codebook().codes());
    let dim = quantizer.codebook().dim();
    let z = z.contiguous()?;
    let (found, soft) = with_values(&z, |values| {
        let vectors = Vectors::planes(values, b, split, dim, h * w)?;
        if options.soft() {
            let (found, soft) = quantizer.quantize_soft(&vectors)?;
            Ok((found, Some(soft)))
        } else {
            Ok((quantizer.quantize(&vectors)?, None))
        }
    })?;
    let tally = Tally::of(&found.histogram, codes);
    let mean = found.mean_squared_error();
    let cross_entropy = soft.as_ref().map(|s| s.cross_entropy);
    let softmax_histogram = soft
        .map(|s| Tensor::from_vec(s.histogram, (b, codes), &Device::Cpu))
        .transpose()?;

    let histogram: Vec<f32> = found.histogram.iter().map(|&count| count as f32).collect();
    let histogram = Tensor::from_vec(histogram, (b, codes), &Device::Cpu)?;
    let indices = Tensor::from_slice(&found.indices, (b, split, h, w), &Device::Cpu)?;
    let quantized = z.apply_op1(StraightThrough::new(found.quantized))?;
    let values = Losses {
        squared: mean,
        cross_entropy,
    };
    let losses = z.apply_op2(
        &codebook.contiguous()?,
        QuantizationLoss::new(values, found.indices, quantizer.clone()),
    )?;
    let losses = options.weigh(&losses, cross_entropy.is_some())?;
    Ok(Quantized {
        quantized,
        indices,
        histogram,
        softmax_histogram,
        loss: losses.total,
        commitment_loss: losses.commitment,
        quantization_loss: losses.quantization,
        softmax_loss: losses.softmax,
        tally,
    })
}

/// The losses, each a scalar.
struct Weighed {
    total: Tensor,
    commitment: Tensor,
    quantization: Tensor,
    softmax: Option<Tensor>,
}

impl QuantizeOptions {
    /// Takes `losses` = `[commitment, quantization, softmax]` apart and adds them up with their weights.
    fn weigh(&self, losses: &Tensor, soft: bool) -> candle_core::Result<Weighed> {
        let (commitment, quantization) = (losses.get(0)?, losses.get(1)?);
        let mut total = (&commitment * self.commitment_cost)?;
        if self.quantization_cost != 0.0 {
            total = ((&quantization * self.quantization_cost)? + total)?;
        }
        let softmax = soft.then(|| losses.get(2)).transpose()?;
        if let Some(softmax) = &softmax {
            total = (total + (softmax * self.softmax_cost)?)?;
        }
        Ok(Weighed {
            total,
            commitment,
            quantization,
            softmax,
        })
    }
}

fn on_processor(tensor: &Tensor, name: &str) -> Result<(), VqError> {
    if !tensor.device().is_cpu() {
        return Err(candle_core::Error::Msg(format!("{name} must be on the processor")).into());
    }
    if tensor.dtype() != DType::F32 {
        return Err(candle_core::Error::UnexpectedDType {
            msg: "split_quantize",
            expected: DType::F32,
            got: tensor.dtype(),
        }
        .into());
    }
    Ok(())
}

/// Hands the values of a contiguous f32 tensor on the processor to `f`.
pub(crate) fn with_values<T>(
    tensor: &Tensor,
    f: impl FnOnce(&[f32]) -> Result<T, VqError>,
) -> Result<T, VqError> {
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        return Err(candle_core::Error::Msg("expected a tensor on the processor".into()).into());
    };
    f(contiguous(storage, layout)?)
}

/// The values behind a contiguous layout.
pub(crate) fn contiguous<'a>(
    storage: &'a candle_core::CpuStorage,
    layout: &candle_core::Layout,
) -> candle_core::Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    let (from, to) = layout
        .contiguous_offsets()
        .ok_or(candle_core::Error::RequiresContiguous {
            op: "split_quantize",
        })?;
    Ok(&values[from..to])
}

impl From<VqError> for candle_core::Error {
    fn from(error: VqError) -> Self {
        match error {
            VqError::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}

//! The losses.

use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::elementwise::CHUNK;
use super::tape::{apply1, apply2};
use super::tensor::{gradient, like, slice, stored, with};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// The mean of the squared differences of two slices of equal length, summed in f64 in a fixed order.
pub fn mse_forward(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let square = |(a, b): (&[f32], &[f32])| {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
    };
    let parts: Vec<f64> = a
        .par_chunks(CHUNK)
        .zip(b.par_chunks(CHUNK))
        .map(square)
        .collect();
    (parts.iter().sum::<f64>() / a.len() as f64) as f32
}

/// `mean((a - b)^2)` as a scalar; both sides receive gradient.
///
/// # Errors
/// * the shapes differ, or the tensors are empty.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// let (a, b) = (Tensor::new(&[1f32, 2.], &Device::Cpu)?, Tensor::new(&[1f32, 5.], &Device::Cpu)?);
/// assert_eq!(cytoself_model::ops::mse(&a, &b)?.to_scalar::<f32>()?, 4.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn mse(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() || a.elem_count() == 0 {
        bail!(
            "mse: the shapes {:?} and {:?} must be equal and not empty",
            a.dims(),
            b.dims()
        );
    }
    apply2(&a.contiguous()?, &b.contiguous()?, Mse)
}

struct Mse;

impl CustomOp2 for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        stored(vec![mse_forward(slice(a, al)?, slice(b, bl)?)], ())
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        al: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::loss::mse(a, al, b, bl)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "candle-cuda")]
        if a.device().is_cuda() {
            return cuda::loss::mse_backward(a, b, dy);
        }
        let factor = 2.0 * dy.to_scalar::<f32>()? / a.elem_count() as f32;
        let difference = |x: &Tensor, y: &Tensor| {
            gradient(x, x, y, |x, y, d| {
                let chunks = d
                    .par_chunks_mut(CHUNK)
                    .zip(x.par_chunks(CHUNK))
                    .zip(y.par_chunks(CHUNK));
                chunks.for_each(|((d, x), y)| {
                    d.iter_mut()
                        .zip(x)
                        .zip(y)
                        .for_each(|((d, x), y)| *d = factor * (x - y))
                });
            })
        };
        Ok((difference(a, b)?, difference(b, a)?))
    }
}

/// The logarithm of the sum of the exponentials of a row, in f64.
fn log_sum_exp(row: &[f32]) -> f64 {
    let top = row.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    let sum: f64 = row.iter().map(|v| f64::from(v - top).exp()).sum();
    f64::from(top) + sum.ln()
}

/// The mean over rows of `log sum exp(logits) - logits[label]`.
///
/// # Shapes
/// `logits: [n, classes]`, `labels: n` values below `classes`.
///
/// # Panics
/// If a label is not below `classes`.
pub fn cross_entropy_forward(logits: &[f32], labels: &[u32], classes: usize) -> f32 {
    let row = |(row, label): (&[f32], &u32)| log_sum_exp(row) - f64::from(row[*label as usize]);
    let parts: Vec<f64> = logits.par_chunks(classes).zip(labels).map(row).collect();
    (parts.iter().sum::<f64>() / labels.len() as f64) as f32
}

/// Cross entropy of softmax(`logits`) against the true classes, mean over the batch, as a scalar.
///
/// # Shapes
/// `logits: [n, classes] f32`, `labels: [n] u32`.
///
/// # Errors
/// * the shapes do not fit, the batch is empty, the labels are not u32, or one is not below the number of classes. On a GPU, where
///   reading the labels would stop it, the loss is NaN in the last case.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::new(&[[0f32, 0.]], &Device::Cpu)?;
/// let loss = cytoself_model::ops::cross_entropy(&logits, &Tensor::new(&[1u32], &Device::Cpu)?)?;
/// assert!((loss.to_scalar::<f32>()? - 2f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (n, classes) = logits.dims2()?;
    if labels.dims() != [n] || n == 0 || labels.dtype() != DType::U32 {
        bail!(
            "cross_entropy: {n} labels (u32, at least one) were expected, found {:?} of {:?}",
            labels.dims(),
            labels.dtype()
        );
    }
    #[cfg(feature = "candle-cuda")]
    if logits.device().is_cuda() {
        return cuda::loss::cross_entropy(logits, labels);
    }
    let values: Vec<u32> = labels.to_vec1()?;
    if let Some((row, label)) = values
        .iter()
        .enumerate()
        .find(|(_, l)| **l as usize >= classes)
    {
        bail!("cross_entropy: row {row} has the label {label}, but there are {classes} classes");
    }
    apply1(
        &logits.contiguous()?,
        CrossEntropy {
            labels: values,
            classes,
        },
    )
}

/// How many rows of `logits: [n, classes]` have their first largest value at their label, as a scalar f32; exact up to 2^24 rows.
pub(crate) fn hits(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "candle-cuda")]
    if logits.device().is_cuda() {
        return cuda::loss::hits(logits, labels);
    }
    let (rows, labels) = (logits.to_vec2::<f32>()?, labels.to_vec1::<u32>()?);
    let right = rows
        .iter()
        .zip(&labels)
        .filter(|(row, label)| largest(row) == Some(**label as usize))
        .count();
    Tensor::new(right as f32, logits.device())
}

/// Index of the first largest value.
fn largest(row: &[f32]) -> Option<usize> {
    let start = (!row.is_empty()).then_some(0)?;
    Some(
        row.iter()
            .enumerate()
            .fold(start, |best, (i, v)| if *v > row[best] { i } else { best }),
    )
}

struct CrossEntropy {
    labels: Vec<u32>,
    classes: usize,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        stored(
            vec![cross_entropy_forward(
                slice(x, xl)?,
                &self.labels,
                self.classes,
            )],
            (),
        )
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let factor = f64::from(dy.to_scalar::<f32>()?) / self.labels.len() as f64;
        let mut dx = output(x.elem_count());
        with(x, |x| {
            dx.par_chunks_mut(self.classes)
                .zip(x.par_chunks(self.classes))
                .zip(&self.labels)
                .for_each(|((dx, x), label)| {
                    let total = log_sum_exp(x);
                    dx.iter_mut()
                        .zip(x)
                        .for_each(|(d, x)| *d = (factor * (f64::from(*x) - total).exp()) as f32);
                    dx[*label as usize] -= factor as f32;
                });
        })?;
        like(dx, x).map(Some)
    }
}

//! Activations, bias, joining of channels.

use super::buffer::output;
#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::simd::math::{silu as silu_lanes, silu_slope};
use super::simd::{InstructionSet, kernel};
use super::tape::{apply1, apply2, tracks};
use super::tensor::{gradient, like, slice, stored, with, with2};
#[cfg(feature = "candle-cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Values per task.
pub(crate) const CHUNK: usize = 1 << 14;

kernel! {
    unsafe fn silu_forward_kernel<L>(x: *const f32, n: usize, y: *mut f32) {
        let mut i = 0;
        while i + L::N <= n {
            let [v] = silu_lanes::<L, 1>([L::load(x.add(i))]);
            L::store(y.add(i), v);
            i += L::N;
        }
        if i < n {
            let [v] = silu_lanes::<L, 1>([L::load_part(x.add(i), n - i)]);
            L::store_part(y.add(i), n - i, v);
        }
    }
}

kernel! {
    unsafe fn silu_backward_kernel<L>(x: *const f32, dy: *const f32, n: usize, dx: *mut f32) {
        let mut i = 0;
        while i + L::N <= n {
            let [slope] = silu_slope::<L, 1>([L::load(x.add(i))]);
            L::store(dx.add(i), L::mul(L::load(dy.add(i)), slope));
            i += L::N;
        }
        if i < n {
            let m = n - i;
            let [slope] = silu_slope::<L, 1>([L::load_part(x.add(i), m)]);
            L::store_part(dx.add(i), m, L::mul(L::load_part(dy.add(i), m), slope));
        }
    }
}

/// `y = x * sigmoid(x)` on slices of equal length.
pub fn silu_forward(x: &[f32], isa: InstructionSet, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    // SAFETY: both chunks have the same length.
    x.par_chunks(CHUNK)
        .zip(y.par_chunks_mut(CHUNK))
        .for_each(|(x, y)| unsafe {
            silu_forward_kernel(isa, x.as_ptr(), x.len(), y.as_mut_ptr())
        });
}

/// The gradient of [`silu_forward`], on slices of equal length.
pub fn silu_backward(x: &[f32], dy: &[f32], isa: InstructionSet, dx: &mut [f32]) {
    assert!(x.len() == dy.len() && x.len() == dx.len());
    let chunks = x
        .par_chunks(CHUNK)
        .zip(dy.par_chunks(CHUNK))
        .zip(dx.par_chunks_mut(CHUNK));
    // SAFETY: the three chunks have the same length.
    chunks.for_each(|((x, dy), dx)| unsafe {
        silu_backward_kernel(isa, x.as_ptr(), dy.as_ptr(), x.len(), dx.as_mut_ptr())
    });
}

/// `x * sigmoid(x)`, any shape.
///
/// # Errors
/// * the tensor is not f32 on the CPU.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// let y = cytoself_model::ops::silu(&Tensor::new(&[0f32, 1.], &Device::Cpu)?)?.to_vec1::<f32>()?;
/// assert!(y[0] == 0. && (y[1] - 0.731_058_6).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn silu(x: &Tensor) -> Result<Tensor> {
    apply1(&x.contiguous()?, Silu)
}

struct Silu;

impl CustomOp1 for Silu {
    fn name(&self) -> &'static str {
        "silu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, xl)?;
        let mut y = output(x.len());
        silu_forward(x, InstructionSet::detect(), &mut y);
        stored(y, xl.shape().clone())
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::elementwise::silu(x, xl)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            let dx = tracks(x).then(|| cuda::elementwise::silu_backward(x, dy));
            return dx.transpose();
        }
        gradient(x, x, dy, |x, dy, dx| {
            silu_backward(x, dy, InstructionSet::detect(), dx)
        })
    }
}

/// `max(x, 0)`, any shape.
///
/// # Errors
/// * the tensor is not f32 on the CPU.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    apply1(&x.contiguous()?, Relu)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        // Written so that a NaN stays a NaN.
        stored(
            slice(x, xl)?
                .iter()
                .map(|v| if *v < 0.0 { 0.0 } else { *v })
                .collect(),
            xl.shape().clone(),
        )
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::elementwise::relu(x, xl)
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "candle-cuda")]
        if y.device().is_cuda() {
            return cuda::elementwise::relu_backward(y, dy).map(Some);
        }
        let keep = |(y, d): (&f32, &f32)| if *y > 0.0 { *d } else { 0.0 };
        let dx = with2(y, dy, |y, dy| y.iter().zip(dy).map(keep).collect())?;
        like(dx, y).map(Some)
    }
}

/// `a + b`, of one shape.
///
/// # Errors
/// * the shapes differ, or a tensor is not f32 on the CPU.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("add: the shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    apply2(&a.contiguous()?, &b.contiguous()?, Add)
}

/// As [`add`], for gradients: leaves no trace on a tape or in a graph.
pub(crate) fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Add)
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (slice(a, al)?, slice(b, bl)?);
        let mut y = output(a.len());
        let chunks = y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK));
        chunks.zip(b.par_chunks(CHUNK)).for_each(|((y, a), b)| {
            y.iter_mut()
                .zip(a)
                .zip(b)
                .for_each(|((y, a), b)| *y = a + b);
        });
        stored(y, al.shape().clone())
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        al: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::elementwise::add(a, al, b, bl)
    }

    fn bwd(
        &self,
        _a: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(dy.clone()), Some(dy.clone())))
    }
}

/// `y[n, c, h, w] = x[n, c, h, w] + b[c]`.
///
/// # Errors
/// * `x` does not have four dimensions or `b` not one value per channel.
pub fn bias_add(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (_, c, _, _) = x.dims4()?;
    if b.dims() != [c] {
        bail!(
            "bias_add: {c} values were expected, found the shape {:?}",
            b.dims()
        );
    }
    apply2(&x.contiguous()?, &b.contiguous()?, BiasAdd)
}

struct BiasAdd;

impl CustomOp2 for BiasAdd {
    fn name(&self) -> &'static str {
        "bias_add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, b, (_, _, h, w)) = (slice(x, xl)?, slice(b, bl)?, xl.shape().dims4()?);
        let plane = (h * w).max(1);
        let mut y = output(x.len());
        y.par_chunks_mut(plane)
            .zip(x.par_chunks(plane))
            .enumerate()
            .for_each(|(i, (y, x))| {
                let b = b[i % b.len()];
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x + b);
            });
        stored(y, xl.shape().clone())
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::elementwise::bias_add(x, xl, b, bl)
    }

    fn bwd(
        &self,
        x: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "candle-cuda")]
        if x.device().is_cuda() {
            let db = cuda::elementwise::bias_gradient(dy)?;
            return Ok((Some(dy.clone()), Some(db)));
        }
        let (n, c, h, w) = x.dims4()?;
        let sum = |map: &[f32]| map.iter().map(|v| f64::from(*v)).sum::<f64>();
        let db: Vec<f32> = with(dy, |dy| {
            let channel = |c0: usize| {
                (0..n)
                    .map(|i| sum(&dy[(i * c + c0) * h * w..][..h * w]))
                    .sum::<f64>() as f32
            };
            (0..c).into_par_iter().map(channel).collect()
        })?;
        Ok((Some(dy.clone()), Some(like(db, b)?)))
    }
}

/// Joins maps of equal size along their channels.
///
/// # Shapes
/// `parts[i]: [n, c_i, h, w]` -> `[n, sum of c_i, h, w]`.
///
/// # Errors
/// * there is no part, or two differ in anything but channels.
pub fn concat_channels(parts: &[&Tensor]) -> Result<Tensor> {
    let Some((first, rest)) = parts.split_first() else {
        bail!("concat_channels: nothing to join")
    };
    let mut joined = (*first).clone();
    for part in rest {
        let ((n, _, h, w), (n2, _, h2, w2)) = (joined.dims4()?, part.dims4()?);
        if (n, h, w) != (n2, h2, w2) {
            bail!(
                "concat_channels: the maps {:?} and {:?} differ in more than channels",
                joined.dims(),
                part.dims()
            );
        }
        joined = apply2(&joined.contiguous()?, &part.contiguous()?, Concat)?;
    }
    Ok(joined)
}

struct Concat;

/// Elements of one image.
fn image_length(shape: &Shape) -> Result<usize> {
    let (_, c, h, w) = shape.dims4()?;
    Ok((c * h * w).max(1))
}

impl CustomOp2 for Concat {
    fn name(&self) -> &'static str {
        "concat_channels"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, ca, h, w), (_, cb, _, _)) = (al.shape().dims4()?, bl.shape().dims4()?);
        let (a, b, la, lb) = (slice(a, al)?, slice(b, bl)?, ca * h * w, cb * h * w);
        let mut y = output(a.len() + b.len());
        y.par_chunks_mut((la + lb).max(1))
            .enumerate()
            .for_each(|(i, y)| {
                y[..la].copy_from_slice(&a[i * la..][..la]);
                y[la..].copy_from_slice(&b[i * lb..][..lb]);
            });
        stored(y, (n, ca + cb, h, w))
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        al: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::elementwise::concat(a, al, b, bl)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (la, lb) = (image_length(a.shape())?, image_length(b.shape())?);
        #[cfg(feature = "candle-cuda")]
        if a.device().is_cuda() {
            let da = tracks(a).then(|| cuda::elementwise::concat_gradient(a, dy, 0));
            let db = tracks(b).then(|| cuda::elementwise::concat_gradient(b, dy, la));
            return Ok((da.transpose()?, db.transpose()?));
        }
        let part = |t: &Tensor, from: usize, length: usize| -> Result<Option<Tensor>> {
            if !tracks(t) {
                return Ok(None);
            }
            let mut d = output(t.elem_count());
            with(dy, |dy| {
                let images = d.par_chunks_mut(length).zip(dy.par_chunks(la + lb));
                images.for_each(|(d, dy)| d.copy_from_slice(&dy[from..from + length]));
            })?;
            like(d, t).map(Some)
        };
        Ok((part(a, 0, la)?, part(b, la, lb)?))
    }
}

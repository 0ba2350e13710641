//! Between candle tensors and slices.

use super::buffer::output;
use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};

/// The values of a contiguous f32 tensor's storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!(
            "a contiguous tensor was expected, found the strides {:?} for the shape {:?}",
            layout.stride(),
            layout.dims()
        ),
    }
}

/// Runs `f` on the values of a CPU tensor, copied first if it is not contiguous.
pub(crate) fn with<R>(t: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let t = t.contiguous()?;
    let (storage, layout) = t.storage_and_layout();
    match &*storage {
        Storage::Cpu(s) => Ok(f(slice(s, layout)?)),
        _ => bail!("the tensor must be on the CPU"),
    }
}

/// As [`with`], for two tensors.
pub(crate) fn with2<R>(a: &Tensor, b: &Tensor, f: impl FnOnce(&[f32], &[f32]) -> R) -> Result<R> {
    with(a, |a| with(b, |b| f(a, b)))?
}

/// As [`with`], for two tensors and perhaps a third.
pub(crate) fn with3<R>(
    a: &Tensor,
    b: &Tensor,
    c: Option<&Tensor>,
    f: impl FnOnce(&[f32], &[f32], Option<&[f32]>) -> R,
) -> Result<R> {
    match c {
        Some(c) => with2(a, b, |a, b| with(c, |c| f(a, b, Some(c))))?,
        None => with2(a, b, |a, b| f(a, b, None)),
    }
}

/// The gradient of `t` that `write` fills from the values of `a` and `b`; none if `t` takes no part in the gradient.
pub(crate) fn gradient(
    t: &Tensor,
    a: &Tensor,
    b: &Tensor,
    write: impl FnOnce(&[f32], &[f32], &mut [f32]),
) -> Result<Option<Tensor>> {
    if !super::tape::tracks(t) {
        return Ok(None);
    }
    let mut values = output(t.elem_count());
    with2(a, b, |a, b| write(a, b, &mut values))?;
    like(values, t).map(Some)
}

/// A tensor of the values and the shape of `like`.
pub(crate) fn like(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), like.device())
}

/// The result of a `cpu_fwd`.
pub(crate) fn stored(values: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), shape.into()))
}

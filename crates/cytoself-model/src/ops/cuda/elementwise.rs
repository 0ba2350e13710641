//! Activations, sums, bias, joining of channels.

use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

use super::arrange::{Rows, copy_rows};
use super::launch::chunks;
use super::{Address, Gpu, each, every, u32_of};
use candle_core::backend::BackendStorage;

/// A kernel `(x, m, y)`.
fn map(name: &'static str, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let (n, x) = (layout.shape().elem_count(), gpu.argument(x, layout)?);
    let y = gpu.buffer(n)?;
    if n > 0 {
        launch!(gpu, name, every(n), [x, n as u64, gpu.at(&y)]);
    }
    gpu.stored(y, layout.shape().clone())
}

/// A kernel `(a, b, m, y)` on tensors of one shape.
fn map2(name: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let gpu = &Gpu::holding(a)?;
    let (a, b, n) = (a.contiguous()?, b.contiguous()?, a.elem_count());
    let y = gpu.buffer(n)?;
    if n > 0 {
        launch!(
            gpu,
            name,
            every(n),
            [gpu.values(&a)?, gpu.values(&b)?, n as u64, gpu.at(&y)]
        );
    }
    Ok(gpu.tensor(y, a.shape()))
}

pub(crate) fn silu(x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    map("silu_forward", x, layout)
}

pub(crate) fn silu_backward(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    map2("silu_backward", x, dy)
}

pub(crate) fn relu(x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    map("relu_forward", x, layout)
}

pub(crate) fn relu_backward(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    map2("relu_backward", y, dy)
}

pub(crate) fn add(
    a: &CudaStorage,
    al: &Layout,
    b: &CudaStorage,
    bl: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(a.device())?;
    let (n, a, b) = (
        al.shape().elem_count(),
        gpu.argument(a, al)?,
        gpu.argument(b, bl)?,
    );
    let y = gpu.buffer(n)?;
    if n > 0 {
        launch!(gpu, "add", every(n), [a, b, n as u64, gpu.at(&y)]);
    }
    gpu.stored(y, al.shape().clone())
}

pub(crate) fn bias_add(
    x: &CudaStorage,
    xl: &Layout,
    b: &CudaStorage,
    bl: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let (n, c, h, w) = xl.shape().dims4()?;
    let values = n * c * h * w;
    let (x, b, y) = (
        gpu.argument(x, xl)?,
        gpu.argument(b, bl)?,
        gpu.buffer(values)?,
    );
    if values > 0 {
        launch!(
            gpu,
            "bias_add",
            every(values),
            [x, b, u32_of(c)?, u32_of(h * w)?, u32_of(n * c)?, gpu.at(&y)]
        );
    }
    gpu.stored(y, xl.shape().clone())
}

/// The gradient of a bias: the sums of the channels of `dy: [n, c, h, w]`.
pub(crate) fn bias_gradient(dy: &Tensor) -> Result<Tensor> {
    let gpu = &Gpu::holding(dy)?;
    let (n, c, h, w) = dy.dims4()?;
    if dy.elem_count() == 0 {
        return Ok(gpu.tensor(gpu.zeros(c)?, c));
    }
    let (dy, parts, sums) = (dy.contiguous()?, chunks(n * h * w), gpu.buffer(c)?);
    let partial = gpu.buffer::<f64>(c * parts)?;
    launch!(
        gpu,
        "channel_sums",
        [c * parts, 1],
        [
            gpu.values(&dy)?,
            u32_of(n)?,
            u32_of(c)?,
            u32_of(h * w)?,
            u32_of(parts)?,
            gpu.at(&partial)
        ]
    );
    sum_chunks(gpu, gpu.at(&partial), [c, parts, 1], gpu.at(&sums))?;
    Ok(gpu.tensor(sums, c))
}

/// Sums `partial: f64 [rows, chunks, width]` over the chunks into f32.
pub(super) fn sum_chunks(
    gpu: &Gpu,
    partial: Address,
    [rows, chunks, width]: [usize; 3],
    sums: Address,
) -> Result<()> {
    launch!(
        gpu,
        "chunk_sums_f32",
        each(rows * width),
        [
            partial,
            u32_of(rows)?,
            u32_of(chunks)?,
            u32_of(width)?,
            sums
        ]
    );
    Ok(())
}

pub(crate) fn concat(
    a: &CudaStorage,
    al: &Layout,
    b: &CudaStorage,
    bl: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(a.device())?;
    let ((n, ca, h, w), (_, cb, _, _)) = (al.shape().dims4()?, bl.shape().dims4()?);
    let (la, lb) = (ca * h * w, cb * h * w);
    let y = gpu.buffer(n * (la + lb))?;
    for (part, start, length) in [
        (gpu.argument(a, al)?, 0, la),
        (gpu.argument(b, bl)?, la, lb),
    ] {
        let from = Rows {
            array: part,
            start: 0,
            pitch: length,
        };
        let to = Rows {
            array: gpu.at(&y),
            start,
            pitch: la + lb,
        };
        copy_rows(gpu, from, to, n, length)?;
    }
    gpu.stored(y, (n, ca + cb, h, w))
}

/// The part of `dy` that belongs to `t`, whose images begin `start` values into those of `dy`.
pub(crate) fn concat_gradient(t: &Tensor, dy: &Tensor, start: usize) -> Result<Tensor> {
    let gpu = &Gpu::holding(t)?;
    let dy = dy.contiguous()?;
    let n = t.dim(0)?;
    let (length, pitch) = (t.elem_count() / n.max(1), dy.elem_count() / n.max(1));
    let d = gpu.buffer(t.elem_count())?;
    let from = Rows {
        array: gpu.values(&dy)?,
        start,
        pitch,
    };
    let to = Rows {
        array: gpu.at(&d),
        start: 0,
        pitch: length,
    };
    copy_rows(gpu, from, to, n, length)?;
    Ok(gpu.tensor(d, t.shape()))
}

//! Resizing of maps by any factor.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

use super::{Address, Gpu, every, u32_of};

/// Kernels of one way of resizing: forward, backward.
pub(crate) type Kernels = [&'static str; 2];

pub(crate) const BILINEAR: Kernels = ["resize_bilinear", "resize_bilinear_backward"];
pub(crate) const NEAREST: Kernels = ["resize_nearest", "resize_nearest_backward"];

fn run(
    gpu: &Gpu,
    name: &'static str,
    [x, y]: [Address; 2],
    planes: usize,
    from: [usize; 2],
    to: [usize; 2],
    written: usize,
) -> Result<()> {
    if written == 0 {
        return Ok(());
    }
    launch!(
        gpu,
        name,
        every(written),
        [
            x,
            y,
            u32_of(planes)?,
            u32_of(from[0])?,
            u32_of(from[1])?,
            u32_of(to[0])?,
            u32_of(to[1])?
        ]
    );
    Ok(())
}

pub(crate) fn forward(
    kernels: Kernels,
    x: &CudaStorage,
    xl: &Layout,
    from: [usize; 2],
    to: [usize; 2],
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let (n, c, _, _) = xl.shape().dims4()?;
    let written = n * c * to[0] * to[1];
    let y = gpu.buffer(written)?;
    let arrays = [gpu.argument(x, xl)?, gpu.at(&y)];
    run(gpu, kernels[0], arrays, n * c, from, to, written)?;
    gpu.stored(y, (n, c, to[0], to[1]))
}

pub(crate) fn backward(
    kernels: Kernels,
    x: &Tensor,
    dy: &Tensor,
    from: [usize; 2],
    to: [usize; 2],
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let (n, c, _, _) = x.dims4()?;
    let dy = dy.contiguous()?;
    let dx = gpu.buffer(x.elem_count())?;
    let arrays = [gpu.values(&dy)?, gpu.at(&dx)];
    run(gpu, kernels[1], arrays, n * c, from, to, x.elem_count())?;
    Ok(gpu.tensor(dx, x.shape()))
}

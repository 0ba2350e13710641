//! Pooling by the maximum.

use candle_core::backend::BackendStorage;
use candle_core::cuda::WrapErr;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

use super::{Gpu, every, u32_of};

pub(crate) fn max_pool2(x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(x.device())?;
    let (n, c, h, w) = xl.shape().dims4()?;
    let written = n * c * (h / 2) * (w / 2);
    let (x, y) = (gpu.argument(x, xl)?, gpu.buffer(written)?);
    if written > 0 {
        launch!(
            gpu,
            "max_pool2",
            every(written),
            [x, u32_of(n * c)?, u32_of(h)?, u32_of(w)?, gpu.at(&y)]
        );
    }
    gpu.stored(y, (n, c, h / 2, w / 2))
}

pub(crate) fn max_pool2_backward(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let (n, c, h, w) = x.dims4()?;
    let (x, dy, dx) = (
        x.contiguous()?,
        dy.contiguous()?,
        gpu.buffer(x.elem_count())?,
    );
    if x.elem_count() > 0 {
        launch!(
            gpu,
            "max_pool2_backward",
            every(x.elem_count()),
            [
                gpu.values(&x)?,
                gpu.values(&dy)?,
                u32_of(n * c)?,
                u32_of(h)?,
                u32_of(w)?,
                gpu.at(&dx)
            ]
        );
    }
    Ok(gpu.tensor(dx, x.shape()))
}

/// The largest value of every map, copied back.
pub(crate) fn global_max(x: &Tensor) -> Result<Vec<f32>> {
    let gpu = &Gpu::holding(x)?;
    let (n, c, h, w) = x.dims4()?;
    if n * c == 0 {
        return Ok(Vec::new());
    }
    let (x, y) = (x.contiguous()?, gpu.buffer::<f32>(n * c)?);
    launch!(
        gpu,
        "global_max",
        [(n * c).div_ceil(8), 1],
        [gpu.values(&x)?, u32_of(n * c)?, u32_of(h * w)?, gpu.at(&y)]
    );
    let values = gpu.stream().clone_dtoh(&y).w()?;
    gpu.stream().synchronize().w()?;
    Ok(values)
}

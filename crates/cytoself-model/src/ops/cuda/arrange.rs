//! Values in another order.

use candle_core::{Result, Shape, Tensor};
use cudarc::driver::CudaSlice;

use super::{Address, Gpu, every, launch, u32_of};

/// `x: [batch, rows, columns]` with the last two exchanged, as a tensor of `shape` without history.
///
/// # Errors
/// - `x` is not a contiguous f32 tensor on the GPU.
pub(crate) fn transpose(
    x: &Tensor,
    [batch, rows, columns]: [usize; 3],
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    let gpu = &Gpu::holding(x)?;
    let x = x.contiguous()?;
    let y = gpu.buffer(x.elem_count())?;
    if x.elem_count() > 0 {
        launch!(
            gpu,
            "transpose",
            launch::tiles(batch, rows, columns),
            [
                gpu.values(&x)?,
                u32_of(batch)?,
                u32_of(rows)?,
                u32_of(columns)?,
                gpu.at(&y)
            ]
        );
    }
    Ok(gpu.tensor(y, shape))
}

/// Where rows lie: the first value, and from one row to the next.
pub(super) struct Rows {
    pub(super) array: Address,
    pub(super) start: usize,
    pub(super) pitch: usize,
}

/// Copies `rows` rows of `length` values.
pub(super) fn copy_rows(gpu: &Gpu, from: Rows, to: Rows, rows: usize, length: usize) -> Result<()> {
    if rows * length > 0 {
        launch!(
            gpu,
            "copy_rows",
            every(rows * length),
            [
                from.array,
                from.start as u64,
                from.pitch as u64,
                to.array,
                to.start as u64,
                to.pitch as u64,
                rows as u64,
                length as u64
            ]
        );
    }
    Ok(())
}

/// `[planes, h, w]` within zeros: `[planes, h2, w2]`, the first value at `[top, left]`.
pub(super) fn pad(
    gpu: &Gpu,
    x: Address,
    planes: usize,
    [h, w]: [usize; 2],
    [h2, w2]: [usize; 2],
    [top, left]: [usize; 2],
) -> Result<CudaSlice<f32>> {
    let (wide, high) = (
        gpu.zeros::<f32>(planes * h * w2)?,
        gpu.zeros(planes * h2 * w2)?,
    );
    copy_rows(
        gpu,
        rows(x, 0, w),
        rows(gpu.at(&wide), left, w2),
        planes * h,
        w,
    )?;
    copy_rows(
        gpu,
        rows(gpu.at(&wide), 0, h * w2),
        rows(gpu.at(&high), top * w2, h2 * w2),
        planes,
        h * w2,
    )?;
    Ok(high)
}

/// The other way round: what lies within the frame.
pub(super) fn crop(
    gpu: &Gpu,
    framed: Address,
    x: Address,
    planes: usize,
    [h, w]: [usize; 2],
    [h2, w2]: [usize; 2],
    [top, left]: [usize; 2],
) -> Result<()> {
    let wide = gpu.buffer::<f32>(planes * h * w2)?;
    copy_rows(
        gpu,
        rows(framed, top * w2, h2 * w2),
        rows(gpu.at(&wide), 0, h * w2),
        planes,
        h * w2,
    )?;
    copy_rows(
        gpu,
        rows(gpu.at(&wide), left, w2),
        rows(x, 0, w),
        planes * h,
        w,
    )
}

fn rows(array: Address, start: usize, pitch: usize) -> Rows {
    Rows {
        array,
        start,
        pitch,
    }
}

//! The losses.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use cudarc::driver::CudaSlice;

use super::{Address, Gpu, every, u32_of};
use crate::ops::tape::{apply1, tracks};

/// `partial` summed and divided, as a scalar.
fn mean(gpu: &Gpu, partial: Address, count: usize, divisor: usize) -> Result<(CudaStorage, Shape)> {
    gpu.stored(divided_sum(gpu, partial, count, divisor)?, ())
}

fn divided_sum(
    gpu: &Gpu,
    partial: Address,
    count: usize,
    divisor: usize,
) -> Result<CudaSlice<f32>> {
    let y = gpu.buffer(1)?;
    launch!(
        gpu,
        "mean",
        [1, 1],
        [partial, u32_of(count)?, divisor as f64, gpu.at(&y)]
    );
    Ok(y)
}

pub(crate) fn mse(
    a: &CudaStorage,
    al: &Layout,
    b: &CudaStorage,
    bl: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = &Gpu::of(a.device())?;
    let m = al.shape().elem_count();
    let chunks = m.div_ceil(8192).clamp(1, 1024);
    let partial = gpu.buffer::<f64>(chunks)?;
    launch!(
        gpu,
        "mse_partial",
        [chunks, 1],
        [
            gpu.argument(a, al)?,
            gpu.argument(b, bl)?,
            m as u64,
            u32_of(chunks)?,
            gpu.at(&partial)
        ]
    );
    mean(gpu, gpu.at(&partial), chunks, m)
}

pub(crate) fn mse_backward(
    a: &Tensor,
    b: &Tensor,
    dy: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let gpu = &Gpu::holding(a)?;
    let (a, b, dy) = (a.contiguous()?, b.contiguous()?, dy.contiguous()?);
    let m = a.elem_count();
    let wanted = |t: &Tensor| tracks(t).then(|| gpu.buffer::<f32>(m)).transpose();
    let (da, db) = (wanted(&a)?, wanted(&b)?);
    let place = |d: &Option<CudaSlice<f32>>| d.as_ref().map_or(Address::NONE, |d| gpu.at(d));
    if da.is_some() || db.is_some() {
        launch!(
            gpu,
            "mse_backward",
            every(m),
            [
                gpu.values(&a)?,
                gpu.values(&b)?,
                m as u64,
                gpu.values(&dy)?,
                place(&da),
                place(&db)
            ]
        );
    }
    let tensor = |d: Option<CudaSlice<f32>>| d.map(|d| gpu.tensor(d, a.shape()));
    Ok((tensor(da), tensor(db)))
}

/// How many rows of `logits: [rows, classes]` have their first largest value at their label, as a scalar.
pub(crate) fn hits(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let gpu = &Gpu::holding(logits)?;
    let (rows, classes) = logits.dims2()?;
    let (logits, labels) = (logits.contiguous()?, labels.contiguous()?);
    let hits = gpu.buffer::<f64>(rows)?;
    launch!(
        gpu,
        "row_hits",
        [rows, 1],
        [
            gpu.values(&logits)?,
            gpu.values_of::<u32>(&labels)?,
            u32_of(rows)?,
            u32_of(classes)?,
            gpu.at(&hits)
        ]
    );
    let count = divided_sum(gpu, gpu.at(&hits), rows, 1)?;
    Ok(gpu.tensor(count, ()))
}

/// Cross entropy of `logits: [rows, classes]`; NaN if a label is no class.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let op = CrossEntropy {
        labels: labels.contiguous()?,
        totals: OnceLock::new(),
    };
    apply1(&logits.contiguous()?, op)
}

struct CrossEntropy {
    labels: Tensor,
    /// The logarithm of the sum of the exponentials of each row.
    totals: OnceLock<CudaSlice<f64>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("cross_entropy: this operation is for the GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = &Gpu::of(x.device())?;
        let (rows, classes) = xl.shape().dims2()?;
        let (losses, totals) = (gpu.buffer::<f64>(rows)?, gpu.buffer::<f64>(rows)?);
        launch!(
            gpu,
            "cross_entropy_rows",
            [rows, 1],
            [
                gpu.argument(x, xl)?,
                gpu.values_of::<u32>(&self.labels)?,
                u32_of(rows)?,
                u32_of(classes)?,
                gpu.at(&losses),
                gpu.at(&totals),
                Address::NONE
            ]
        );
        self.totals.get_or_init(|| totals);
        mean(gpu, gpu.at(&losses), rows, rows)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let gpu = &Gpu::holding(x)?;
        let Some(totals) = self.totals.get() else {
            bail!("cross_entropy: backward before forward")
        };
        let (rows, classes) = x.dims2()?;
        let (x, dy) = (x.contiguous()?, dy.contiguous()?);
        let dx = gpu.buffer(rows * classes)?;
        launch!(
            gpu,
            "cross_entropy_backward",
            [rows, 1],
            [
                gpu.values(&x)?,
                gpu.values_of::<u32>(&self.labels)?,
                gpu.at(totals),
                u32_of(rows)?,
                u32_of(classes)?,
                gpu.values(&dy)?,
                gpu.at(&dx)
            ]
        );
        Ok(Some(gpu.tensor(dx, x.shape())))
    }
}

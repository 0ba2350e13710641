//! Dropout and stochastic depth; the masks are computed from their key, the same as on the processor.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};
use cudarc::driver::CudaSlice;

use super::{Address, Gpu, every, u32_of};
use crate::ops::RngKey;

/// How much is dropped, by which draws from `first` on; `unit` neighbouring values share one.
#[derive(Clone, Copy)]
pub(crate) struct Drop {
    pub(crate) p: f32,
    pub(crate) key: RngKey,
    pub(crate) unit: usize,
    pub(crate) first: u64,
}

impl Drop {
    fn run(&self, gpu: &Gpu, x: Address, n: usize) -> Result<CudaSlice<f32>> {
        let y = gpu.buffer(n)?;
        let RngKey { seed, stream, step } = self.key;
        if n == 0 {
            return Ok(y);
        }
        // In a graph the step of each replay is read there.
        let place = gpu.place_of_step(step);
        if self.unit == 1 {
            launch!(
                gpu,
                "dropout",
                every(n),
                [
                    x,
                    n as u64,
                    self.p,
                    seed,
                    stream,
                    step,
                    place,
                    self.first,
                    gpu.at(&y)
                ]
            );
            return Ok(y);
        }
        let samples = n / self.unit;
        launch!(
            gpu,
            "stochastic_depth",
            [self.unit.div_ceil(1024).clamp(1, 1024), samples.min(65535)],
            [
                x,
                u32_of(samples)?,
                self.unit as u64,
                self.p,
                seed,
                stream,
                step,
                place,
                self.first,
                gpu.at(&y)
            ]
        );
        Ok(y)
    }

    pub(crate) fn forward(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = &Gpu::of(x.device())?;
        let y = self.run(gpu, gpu.argument(x, xl)?, xl.shape().elem_count())?;
        gpu.stored(y, xl.shape().clone())
    }

    pub(crate) fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        let gpu = &Gpu::holding(dy)?;
        let dy = dy.contiguous()?;
        let dx = self.run(gpu, gpu.values(&dy)?, dy.elem_count())?;
        Ok(gpu.tensor(dx, dy.shape()))
    }
}

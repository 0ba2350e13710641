//! Squeeze and excitation.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};
use cudarc::driver::CudaSlice;

use super::{Address, Gpu, each, every, u32_of};

/// Images, channels, squeezed channels, values of a map.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) n: usize,
    pub(crate) c: usize,
    pub(crate) r: usize,
    pub(crate) plane: usize,
}

/// What the backward pass reuses.
pub(crate) struct Kept {
    means: CudaSlice<f32>,
    hidden: CudaSlice<f32>,
    active: CudaSlice<f32>,
    gates: CudaSlice<f32>,
}

impl Sizes {
    fn planes(self) -> usize {
        self.n * self.c
    }

    fn values(self) -> usize {
        self.planes() * self.plane
    }

    /// Where w1, b1, w2 and b2 begin among the packed parameters.
    fn parameters(self, packed: Address) -> [Address; 4] {
        let Self { c, r, .. } = self;
        [0, r * c, r * c + r, 2 * r * c + r].map(|start| packed.after(start))
    }

    fn gates(self, gpu: &Gpu, x: Address, packed: Address) -> Result<Kept> {
        let Self { n, c, r, plane } = self;
        let [w1, b1, w2, b2] = self.parameters(packed);
        let kept = Kept {
            means: gpu.buffer(n * c)?,
            hidden: gpu.buffer(n * r)?,
            active: gpu.buffer(n * r)?,
            gates: gpu.buffer(n * c)?,
        };
        launch!(
            gpu,
            "global_mean",
            [self.planes().div_ceil(8), 1],
            [
                x,
                u32_of(self.planes())?,
                u32_of(plane)?,
                gpu.at(&kept.means)
            ]
        );
        launch!(
            gpu,
            "se_gates",
            [n, 1],
            [
                gpu.at(&kept.means),
                w1,
                b1,
                w2,
                b2,
                u32_of(n)?,
                u32_of(c)?,
                u32_of(r)?,
                gpu.at(&kept.hidden),
                gpu.at(&kept.active),
                gpu.at(&kept.gates)
            ]
        );
        Ok(kept)
    }

    pub(crate) fn forward(
        self,
        x: &CudaStorage,
        xl: &Layout,
        packed: &CudaStorage,
        pl: &Layout,
    ) -> Result<(Option<Kept>, (CudaStorage, Shape))> {
        let gpu = &Gpu::of(x.device())?;
        let (x, packed) = (gpu.argument(x, xl)?, gpu.argument(packed, pl)?);
        let y = gpu.buffer(self.values())?;
        if self.values() == 0 {
            return Ok((None, gpu.stored(y, xl.shape().clone())?));
        }
        let kept = self.gates(gpu, x, packed)?;
        launch!(
            gpu,
            "se_scale",
            every(self.values()),
            [
                x,
                gpu.at(&kept.gates),
                u32_of(self.plane)?,
                u32_of(self.planes())?,
                gpu.at(&y)
            ]
        );
        Ok((Some(kept), gpu.stored(y, xl.shape().clone())?))
    }

    /// The gradients of x and of the packed parameters.
    pub(crate) fn backward(
        self,
        x: &Tensor,
        packed: &Tensor,
        dy: &Tensor,
        kept: &Kept,
    ) -> Result<(Tensor, Tensor)> {
        let Self { n, c, r, plane } = self;
        let gpu = &Gpu::holding(x)?;
        let (x, packed, dy) = (x.contiguous()?, packed.contiguous()?, dy.contiguous()?);
        let [w1, _, w2, _] = self.parameters(gpu.values(&packed)?);
        let dlogits = gpu.buffer::<f32>(n * c)?;
        launch!(
            gpu,
            "se_dlogits",
            [self.planes().div_ceil(8), 1],
            [
                gpu.values(&x)?,
                gpu.values(&dy)?,
                gpu.at(&kept.gates),
                u32_of(self.planes())?,
                u32_of(plane)?,
                gpu.at(&dlogits)
            ]
        );
        let (dhidden, dmeans) = (gpu.buffer::<f32>(n * r)?, gpu.buffer::<f32>(n * c)?);
        launch!(
            gpu,
            "se_gates_backward",
            [n, 1],
            [
                gpu.at(&dlogits),
                gpu.at(&kept.hidden),
                w1,
                w2,
                u32_of(n)?,
                u32_of(c)?,
                u32_of(r)?,
                gpu.at(&dhidden),
                gpu.at(&dmeans)
            ]
        );
        let dpacked = gpu.buffer(packed.elem_count())?;
        let [dw1, db1, dw2, db2] = self.parameters(gpu.at(&dpacked));
        let first = [gpu.at(&dhidden), gpu.at(&kept.means)];
        outer_sums(gpu, first, [n, r, c], [dw1, db1])?;
        let second = [gpu.at(&dlogits), gpu.at(&kept.active)];
        outer_sums(gpu, second, [n, c, r], [dw2, db2])?;
        let dx = gpu.buffer(self.values())?;
        launch!(
            gpu,
            "se_dx",
            every(self.values()),
            [
                gpu.values(&dy)?,
                gpu.at(&kept.gates),
                gpu.at(&dmeans),
                u32_of(plane)?,
                u32_of(self.planes())?,
                gpu.at(&dx)
            ]
        );
        Ok((
            gpu.tensor(dx, x.shape()),
            gpu.tensor(dpacked, packed.shape()),
        ))
    }
}

/// `out = a^T b` over `n` rows and the sums of the columns of `a`.
fn outer_sums(
    gpu: &Gpu,
    [a, b]: [Address; 2],
    [n, rows, columns]: [usize; 3],
    [out, sums]: [Address; 2],
) -> Result<()> {
    launch!(
        gpu,
        "outer_sums",
        each(rows * columns),
        [a, b, u32_of(n)?, u32_of(rows)?, u32_of(columns)?, out, sums]
    );
    Ok(())
}

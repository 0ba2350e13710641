//! Launches: addresses, sizes, grids.

use candle_core::{Result, bail};
use cudarc::driver::{DeviceRepr, LaunchConfig};

/// Threads of a block, for all kernels.
pub(super) const THREADS: usize = 256;

/// Where an array begins in the memory of the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Address(pub(super) u64);

// SAFETY: one 64-bit word, which is what a kernel takes as a pointer.
unsafe impl DeviceRepr for Address {}

impl Address {
    /// No array, where a kernel takes one or none.
    pub(super) const NONE: Self = Self(0);

    /// The address `values` f32 further.
    pub(super) fn after(self, values: usize) -> Self {
        Self(self.0 + 4 * values as u64)
    }
}

/// A count as the kernels take it.
///
/// # Errors
/// - it is 2^31 or more.
pub(super) fn u32_of(count: usize) -> Result<u32> {
    match u32::try_from(count) {
        Ok(count) if count <= i32::MAX as u32 => Ok(count),
        _ => bail!("{count} is more than a GPU takes at once; use a smaller batch"),
    }
}

/// Blocks of a loop over `m` values.
pub(super) fn every(m: usize) -> [usize; 2] {
    [m.div_ceil(1024).clamp(1, 16384), 1]
}

/// Blocks that have a thread for each of `m` items.
pub(super) fn each(m: usize) -> [usize; 2] {
    [m.div_ceil(THREADS).max(1), 1]
}

/// Blocks of a loop over 32 x 32 tiles of `batch` matrices.
pub(super) fn tiles(batch: usize, rows: usize, columns: usize) -> [usize; 2] {
    let all = batch * rows.div_ceil(32) * columns.div_ceil(32);
    [all.clamp(1, 65536), 1]
}

/// Parts that the sum over a channel of `values` is taken in.
pub(super) fn chunks(values: usize) -> usize {
    values.div_ceil(8192).clamp(1, 256)
}

/// The grid of `[x, y]` blocks.
pub(super) fn grid([x, y]: [usize; 2]) -> Result<LaunchConfig> {
    Ok(LaunchConfig {
        grid_dim: (u32_of(x)?, u32_of(y)?, 1),
        block_dim: (THREADS as u32, 1, 1),
        shared_mem_bytes: 0,
    })
}

/// Enqueues a kernel: its name, the blocks in x and y, the arguments in the order of its parameters.
///
/// The types of the arguments are checked against the kernels' text by `tests/cuda_launches.rs`.
macro_rules! launch {
    ($gpu:expr, $name:expr, $blocks:expr, [$($argument:expr),+ $(,)?]) => {{
        use cudarc::driver::PushKernelArg as _;
        let gpu: &super::Gpu = $gpu;
        let function = gpu.function($name)?;
        let grid = super::launch::grid($blocks)?;
        // SAFETY: the arguments are those of the kernel in number, order and type, the arrays have the sizes that they speak of, and
        // the grid is the one that `kernels/README.md` asks for.
        let started = unsafe {
            gpu.stream().launch_builder(&function)$(.arg(&$argument))+.launch(grid)
        };
        candle_core::cuda::WrapErr::w(started)?;
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_what_they_must() {
        assert_eq!(every(1025), [2, 1]);
        assert_eq!(every(usize::MAX >> 8), [16384, 1]);
        assert_eq!(each(257), [2, 1]);
        assert_eq!(tiles(2, 33, 1), [4, 1]);
        assert_eq!(chunks(8193), 2);
        assert!(u32_of(1 << 31).is_err());
    }
}

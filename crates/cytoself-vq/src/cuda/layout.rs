//! The shape of a batch as the kernels take it.

use cudarc::driver::DeviceRepr;

use crate::error::VqError;
use crate::vectors::VectorShape;

/// Vectors of a block of the search kernels.
pub(super) const QUERIES: u32 = 64;
/// Codes of a panel.
pub(super) const CODES: u32 = 128;
/// Threads of a block.
pub(super) const THREADS: u32 = 256;
/// 32-bit words of what one split of the codes leaves behind for each vector.
pub(super) const PARTIAL_WORDS: usize = 3;
/// More splits than this cost more in merging than they gain.
const MAX_SPLITS: u32 = 16;
/// Blocks that one multiprocessor works on at a time.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 2;

/// `struct Layout` of the kernels.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) vectors: u32,
    split: u32,
    positions: u32,
    pub(super) dim: u32,
    pub(super) codes: u32,
    position_stride: u32,
    component_stride: u32,
    pub(super) splits: u32,
}

// SAFETY: eight `u32` in the order of the C struct, without padding.
unsafe impl DeviceRepr for Layout {}

impl Layout {
    /// The layout of a batch on a GPU of `multiprocessors`, with the codes split where the vectors alone leave it idle.
    pub(super) fn new(
        shape: &VectorShape,
        codes: usize,
        multiprocessors: u32,
    ) -> Result<Self, VqError> {
        let vectors = limited("vectors", shape.len())?;
        let codes = limited("codes", codes)?;
        let blocks = vectors.div_ceil(QUERIES).max(1);
        let splits = (BLOCKS_PER_MULTIPROCESSOR * multiprocessors).div_ceil(blocks);
        Ok(Self {
            vectors,
            split: limited("split", shape.split)?,
            positions: limited("positions", shape.positions)?,
            dim: limited("dim", shape.dim)?,
            codes,
            position_stride: limited("position stride", shape.position_stride)?,
            component_stride: limited("component stride", shape.component_stride)?,
            splits: splits.clamp(1, MAX_SPLITS.min(codes.div_ceil(CODES))),
        })
    }

    /// Blocks that share the vectors out.
    pub(super) fn blocks(&self) -> u32 {
        self.vectors.div_ceil(QUERIES)
    }
}

fn limited(name: &'static str, value: usize) -> Result<u32, VqError> {
    u32::try_from(value)
        .ok()
        .filter(|&v| v <= i32::MAX as u32)
        .ok_or_else(|| VqError::Parameter {
            name,
            value: value.to_string(),
            expected: "at most 2^31 - 1 on a GPU; pass the batch in parts",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(images: usize, positions: usize) -> VectorShape {
        VectorShape {
            images,
            split: 1,
            positions,
            dim: 64,
            position_stride: 1,
            component_stride: positions,
        }
    }

    #[test]
    fn splits_fill_the_gpu() {
        let splits = |images| Layout::new(&shape(images, 625), 2048, 132).unwrap().splits;
        assert_eq!(splits(1), 16, "10 blocks alone would leave most of it idle");
        assert_eq!(splits(16), 2);
        assert_eq!(splits(256), 1);
        assert_eq!(Layout::new(&shape(1, 1), 100, 132).unwrap().splits, 1);
    }

    #[test]
    fn too_much_for_an_index_is_refused() {
        let error = Layout::new(&shape(1 << 20, 1 << 12), 4, 1).unwrap_err();
        assert!(matches!(
            error,
            VqError::Parameter {
                name: "vectors",
                ..
            }
        ));
    }
}

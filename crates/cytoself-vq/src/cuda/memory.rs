//! Batches and results that stay on the GPU.

use cudarc::driver::{CudaSlice, CudaView};

use super::at;
use super::device::CudaDevice;
use super::layout::{Layout, PARTIAL_WORDS};
use crate::error::VqError;
use crate::vectors::{VectorShape, Vectors};

/// A batch of vectors in the memory of a GPU.
#[derive(Debug)]
pub struct DeviceVectors {
    pub(super) data: CudaSlice<f32>,
    pub(super) shape: VectorShape,
}

impl DeviceVectors {
    /// Copies a batch to the GPU.
    ///
    /// # Errors
    /// - [`VqError::Cuda`]: the memory does not suffice, or the copy failed.
    pub fn new(device: &CudaDevice, vectors: &Vectors<'_>) -> Result<Self, VqError> {
        let copying = at("copying vectors to the GPU");
        let stream = &device.stream;
        // An empty allocation is an error to the driver.
        let data = if vectors.data().is_empty() {
            stream.alloc_zeros(1).map_err(copying)?
        } else {
            stream.clone_htod(vectors.data()).map_err(copying)?
        };
        Ok(Self {
            data,
            shape: *vectors.shape(),
        })
    }

    pub(super) fn view(&self) -> VectorView<'_> {
        VectorView {
            data: self.data.as_view(),
            shape: self.shape,
        }
    }

    /// The number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A batch of vectors in memory that belongs to somebody else.
#[derive(Debug)]
pub(crate) struct VectorView<'a> {
    pub(crate) data: CudaView<'a, f32>,
    pub(crate) shape: VectorShape,
}

/// What a search leaves in the memory of a GPU; made once, it serves any number of searches of the same shape.
#[derive(Debug)]
pub struct DeviceCodes {
    pub(super) shape: VectorShape,
    pub(super) layout: Layout,
    pub(crate) indices: CudaSlice<u32>,
    pub(super) squared_distances: CudaSlice<f32>,
    pub(crate) quantized: Option<CudaSlice<f32>>,
    /// `[images, codes]` if wanted, then one word: the complement of the first vector that is not finite, or 0.
    pub(crate) counters: CudaSlice<u32>,
    pub(super) histogram: bool,
    /// What each split of the codes has found; a single word where there is but one.
    pub(super) partial: CudaSlice<u32>,
}

impl DeviceCodes {
    pub(super) fn new(
        device: &CudaDevice,
        shape: VectorShape,
        codes: usize,
        [quantized, histogram]: [bool; 2],
    ) -> Result<Self, VqError> {
        let layout = Layout::new(&shape, codes, device.multiprocessors)?;
        let allocating = at("reserving memory on the GPU");
        let stream = &device.stream;
        let vectors = shape.len().max(1);
        let partial = if layout.splits > 1 {
            PARTIAL_WORDS * vectors * layout.splits as usize
        } else {
            1
        };
        let counters = if histogram { shape.images * codes } else { 0 } + 1;
        let values = (shape.len() * shape.dim).max(1);
        let quantized = quantized.then(|| stream.alloc_zeros(values));
        Ok(Self {
            shape,
            layout,
            indices: stream.alloc_zeros(vectors).map_err(&allocating)?,
            squared_distances: stream.alloc_zeros(vectors).map_err(&allocating)?,
            quantized: quantized.transpose().map_err(&allocating)?,
            counters: stream.alloc_zeros(counters).map_err(&allocating)?,
            histogram,
            partial: stream.alloc_zeros(partial).map_err(&allocating)?,
        })
    }

    /// The number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parts that the codes are searched in at the same time, to fill the GPU with a small batch.
    #[must_use]
    pub fn splits(&self) -> u32 {
        self.layout.splits
    }
}

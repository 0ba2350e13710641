//! The sums and gradients of training on the GPU.

use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

use super::at;
use super::launch::DeviceSearch;
use super::layout::THREADS;
use super::memory::{DeviceCodes, DeviceVectors, VectorView};
use super::search::CudaSearch;
use crate::error::VqError;
use crate::sums::CodeSums;

/// Counts and sums per code in the memory of a GPU.
struct DeviceSums {
    counts: CudaSlice<u32>,
    sums: CudaSlice<f64>,
}

impl CudaSearch {
    /// [`CodeSums::new`] of vectors and codes on the GPU; the same bits.
    ///
    /// # Errors
    /// As [`CudaSearch::enqueue`].
    pub fn code_sums(
        &self,
        vectors: &DeviceVectors,
        found: &DeviceCodes,
    ) -> Result<CodeSums, VqError> {
        let there = self.there.sums(&vectors.view(), found)?;
        let stream = &self.device().stream;
        let copying = at("copying sums from the GPU");
        let result = CodeSums {
            counts: stream.clone_dtoh(&there.counts).map_err(&copying)?,
            sums: stream.clone_dtoh(&there.sums).map_err(&copying)?,
        };
        self.device().wait()?;
        Ok(result)
    }

    /// [`crate::codebook_gradient`] of vectors and codes on the GPU; the same bits.
    ///
    /// # Errors
    /// As [`CudaSearch::enqueue`].
    pub fn codebook_gradient(
        &self,
        vectors: &DeviceVectors,
        found: &DeviceCodes,
        scale: f64,
    ) -> Result<Vec<f32>, VqError> {
        self.bring_back(
            &self
                .there
                .codebook_gradient(&vectors.view(), found, scale)?,
        )
    }

    /// [`crate::commitment_gradient`] of vectors and codes on the GPU; the same bits.
    ///
    /// # Errors
    /// As [`CudaSearch::enqueue`].
    pub fn commitment_gradient(
        &self,
        vectors: &DeviceVectors,
        found: &DeviceCodes,
        scale: f64,
    ) -> Result<Vec<f32>, VqError> {
        if vectors.is_empty() {
            return Ok(Vec::new());
        }
        self.bring_back(
            &self
                .there
                .commitment_gradient(&vectors.view(), found, scale)?,
        )
    }

    fn bring_back(&self, values: &CudaSlice<f32>) -> Result<Vec<f32>, VqError> {
        let copied = self.device().stream.clone_dtoh(values);
        let copied = copied.map_err(at("copying a gradient from the GPU"))?;
        self.device().wait()?;
        Ok(copied)
    }
}

impl DeviceSearch {
    fn sums(&self, vectors: &VectorView<'_>, found: &DeviceCodes) -> Result<DeviceSums, VqError> {
        self.check(vectors, found)?;
        let stream = &self.device.stream;
        let allocating = at("reserving memory for sums");
        let codes = self.codes.codes;
        let mut result = DeviceSums {
            counts: stream.alloc_zeros(codes).map_err(&allocating)?,
            sums: stream
                .alloc_zeros(codes * self.codes.dim)
                .map_err(&allocating)?,
        };
        let mut arguments = stream.launch_builder(&self.device.kernels.code_sums);
        arguments
            .arg(&vectors.data)
            .arg(&found.layout)
            .arg(&found.indices)
            .arg(&mut result.counts)
            .arg(&mut result.sums);
        // SAFETY: the arguments are those of the kernel; a block per code writes one count and `dim` sums.
        unsafe { arguments.launch(blocks(found.layout.codes)) }.map_err(at("summing by code"))?;
        Ok(result)
    }

    /// The gradient into the codebook, left on the GPU.
    pub(crate) fn codebook_gradient(
        &self,
        vectors: &VectorView<'_>,
        found: &DeviceCodes,
        scale: f64,
    ) -> Result<CudaSlice<f32>, VqError> {
        let DeviceSums { counts, sums } = self.sums(vectors, found)?;
        let stream = &self.device.stream;
        let values = sums.len();
        let mut gradient = stream
            .alloc_zeros(values)
            .map_err(at("reserving memory for a gradient"))?;
        let mut arguments = stream.launch_builder(&self.device.kernels.codebook_gradient);
        arguments
            .arg(&self.codes.rows)
            .arg(&counts)
            .arg(&sums)
            .arg(&found.layout.codes)
            .arg(&found.layout.dim)
            .arg(&scale)
            .arg(&mut gradient);
        // SAFETY: the arguments are those of the kernel, which goes as far as `codes * dim`.
        unsafe { arguments.launch(blocks(each(values)?)) }
            .map_err(at("making the codebook gradient"))?;
        Ok(gradient)
    }

    /// The gradient into the vectors, left on the GPU in their layout.
    pub(crate) fn commitment_gradient(
        &self,
        vectors: &VectorView<'_>,
        found: &DeviceCodes,
        scale: f64,
    ) -> Result<CudaSlice<f32>, VqError> {
        self.check(vectors, found)?;
        let stream = &self.device.stream;
        let values = vectors.shape.len() * vectors.shape.dim;
        let mut gradient = stream
            .alloc_zeros(values.max(1))
            .map_err(at("reserving memory for a gradient"))?;
        if values == 0 {
            return Ok(gradient);
        }
        let factor = (2.0 * scale) as f32;
        let mut arguments = stream.launch_builder(&self.device.kernels.commitment_gradient);
        arguments
            .arg(&vectors.data)
            .arg(&found.layout)
            .arg(&found.indices)
            .arg(&self.codes.rows)
            .arg(&factor)
            .arg(&mut gradient);
        // SAFETY: the arguments are those of the kernel, which goes as far as `vectors * dim`.
        unsafe { arguments.launch(blocks(each(values)?)) }
            .map_err(at("making the commitment gradient"))?;
        Ok(gradient)
    }
}

/// Blocks that have a thread for each of `values`.
fn each(values: usize) -> Result<u32, VqError> {
    let blocks = u32::try_from(values.div_ceil(THREADS as usize)).ok();
    blocks
        .filter(|&b| b <= i32::MAX as u32)
        .ok_or_else(|| VqError::Parameter {
            name: "values",
            value: values.to_string(),
            expected: "at most 2^39 on a GPU; pass the batch in parts",
        })
}

fn blocks(count: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

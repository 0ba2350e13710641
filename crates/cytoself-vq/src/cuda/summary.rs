//! What the host wants to know of a search whose results stay on the GPU.

use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

use super::at;
use super::launch::DeviceSearch;
use super::layout::THREADS;
use super::memory::DeviceCodes;
use crate::error::VqError;

/// Words before the counts.
const HEAD: usize = 4;

/// Sums over a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    /// Sum of the squared distances of all vectors to their codes.
    pub(crate) squared_error: f64,
    /// The first vector that is not finite.
    pub(crate) not_finite: Option<usize>,
    /// The largest squared norm of a code, rounded up.
    pub(crate) largest_norm: f32,
    /// How often each code occurs.
    pub(crate) counts: Vec<u32>,
}

impl DeviceSearch {
    /// Waits for a search with histogram and sums it up.
    pub(crate) fn summary(&self, found: &DeviceCodes) -> Result<Summary, VqError> {
        let stream = &self.device.stream;
        let codes = found.layout.codes;
        let (vectors, images) = (found.layout.vectors, found.shape.images as u32);
        let mut words: CudaSlice<u32> = stream
            .alloc_zeros(HEAD + codes as usize)
            .map_err(at("reserving memory for sums"))?;
        let grid = LaunchConfig {
            grid_dim: (1 + codes.div_ceil(THREADS), 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut arguments = stream.launch_builder(&self.device.kernels.summarise);
        arguments
            .arg(&found.squared_distances)
            .arg(&vectors)
            .arg(&found.counters)
            .arg(&images)
            .arg(&codes)
            .arg(&self.codes.largest)
            .arg(&mut words);
        // SAFETY: the arguments are those of the kernel; a search with histogram has `images * codes + 1` counters and as many
        // distances as vectors, and `words` holds what the kernel writes.
        unsafe { arguments.launch(grid) }.map_err(at("summing a search up"))?;
        let words = stream
            .clone_dtoh(&words)
            .map_err(at("copying sums from the GPU"))?;
        self.device.wait()?;
        Ok(Summary::of(&words, vectors as usize))
    }
}

impl Summary {
    fn of(words: &[u32], vectors: usize) -> Self {
        let (head, counts) = words.split_at(HEAD);
        let vector = !head[2] as usize;
        Self {
            squared_error: f64::from_bits(u64::from(head[0]) | u64::from(head[1]) << 32),
            not_finite: (vector < vectors).then_some(vector),
            largest_norm: f32::from_bits(head[3]),
            counts: counts.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_the_kernel_writes_them() {
        let bits = 2.5f64.to_bits();
        let words = [
            bits as u32,
            (bits >> 32) as u32,
            !7,
            4f32.to_bits(),
            1,
            0,
            9,
        ];
        let found = Summary::of(&words, 10);
        assert_eq!((found.squared_error, found.largest_norm), (2.5, 4.0));
        assert_eq!((found.not_finite, found.counts), (Some(7), vec![1, 0, 9]));
        assert_eq!(Summary::of(&[0, 0, 0, 0], 10).not_finite, None);
    }
}

//! What the host wants to know of a search whose results stay on the GPU.

use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

use super::at;
use super::launch::DeviceSearch;
use super::layout::THREADS;
use super::memory::DeviceCodes;
use crate::error::VqError;

/// Words before the counts: the sum of the squared distances (two), the word about vectors that are not finite, the largest norm.
const HEAD: usize = 4;

/// Sums over a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    /// The first vector that is not finite.
    pub(crate) not_finite: Option<usize>,
    /// The largest squared norm of a code, rounded up.
    pub(crate) largest_norm: f32,
    /// How often each code occurs.
    pub(crate) counts: Vec<u32>,
}

/// A [`Summary`] that is on the GPU, or will be when the stream comes to it.
#[derive(Debug)]
pub(crate) struct DeviceSummary {
    words: CudaSlice<u32>,
    vectors: usize,
}

impl DeviceSummary {
    /// Waits for it.
    pub(crate) fn read(&self) -> Result<Summary, VqError> {
        let stream = self.words.stream();
        let copying = at("copying sums from the GPU");
        let words = stream.clone_dtoh(&self.words).map_err(&copying)?;
        stream.synchronize().map_err(&copying)?;
        Ok(Summary::of(&words, self.vectors))
    }

    /// A copy of the words that [`DeviceSummary::read`] reads, on the GPU.
    #[cfg(feature = "candle-cuda")]
    pub(crate) fn copy(&self) -> Result<CudaSlice<u32>, VqError> {
        let copied = self.words.stream().clone_dtod(&self.words);
        copied.map_err(at("copying sums on the GPU"))
    }
}

impl DeviceSearch {
    /// Sums a search with histogram up, and makes its three losses: twice the mean squared distance of a value, and 0. Returns at once.
    pub(crate) fn summarise(
        &self,
        found: &DeviceCodes,
    ) -> Result<(DeviceSummary, CudaSlice<f32>), VqError> {
        let stream = &self.device.stream;
        let reserving = at("reserving memory for sums");
        let values = (found.shape.len() * found.shape.dim) as f64;
        let codes = found.layout.codes;
        let (vectors, images) = (found.layout.vectors, found.shape.images as u32);
        let mut words: CudaSlice<u32> = stream
            .alloc_zeros(HEAD + codes as usize)
            .map_err(&reserving)?;
        let mut losses: CudaSlice<f32> = stream.alloc_zeros(3).map_err(&reserving)?;
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
            .arg(&values)
            .arg(&mut words)
            .arg(&mut losses);
        // SAFETY: the arguments are those of the kernel; a search with histogram has `images * codes + 1` counters and as many
        // distances as vectors, and `words` and `losses` hold what the kernel writes.
        unsafe { arguments.launch(grid) }.map_err(at("summing a search up"))?;
        let vectors = vectors as usize;
        Ok((DeviceSummary { words, vectors }, losses))
    }
}

impl Summary {
    /// As [`DeviceSummary::read`], of words that have been read; none of fewer words than a summary has.
    #[cfg(feature = "candle-cuda")]
    pub(crate) fn read(words: &[u32], vectors: usize) -> Option<Self> {
        (words.len() >= HEAD).then(|| Self::of(words, vectors))
    }

    fn of(words: &[u32], vectors: usize) -> Self {
        let (head, counts) = words.split_at(HEAD);
        let vector = !head[2] as usize;
        Self {
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
        let words = [0, 0, !7, 4f32.to_bits(), 1, 0, 9];
        let found = Summary::of(&words, 10);
        assert_eq!(found.largest_norm, 4.0);
        assert_eq!((found.not_finite, found.counts), (Some(7), vec![1, 0, 9]));
        assert_eq!(Summary::of(&[0, 0, 0, 0], 10).not_finite, None);
    }
}

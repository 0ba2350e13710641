//! How often each code occurs in a batch.

use std::sync::Arc;

#[cfg(feature = "candle-cuda")]
use super::cuda::Unread;
use crate::error::VqError;
use crate::statistics::{perplexity, total_counts};

/// How often each code occurs in a batch.
///
/// On a GPU the numbers are on the way when [`split_quantize`](super::split_quantize) returns: whoever asks first waits for the GPU, and
/// learns then of vectors or codes that are not finite.
#[derive(Debug, Clone)]
pub struct Tally(Source);

#[derive(Debug, Clone)]
enum Source {
    Read(Arc<Vec<u32>>),
    #[cfg(feature = "candle-cuda")]
    OnTheWay(Arc<Unread>),
}

impl Tally {
    /// Sums `histogram`, `[images, codes]`, over the images.
    pub(super) fn of(histogram: &[u32], codes: usize) -> Self {
        Self(Source::Read(Arc::new(total_counts(histogram, codes))))
    }

    #[cfg(feature = "candle-cuda")]
    pub(super) fn unread(unread: Unread) -> Self {
        Self(Source::OnTheWay(Arc::new(unread)))
    }

    /// Uses of each code.
    ///
    /// # Errors
    /// On a GPU
    /// - [`VqError::NonFiniteVector`], [`VqError::NonFiniteCode`]: a value is NaN or infinite;
    /// - `VqError::Cuda`: the driver refused something (feature `cuda`).
    pub fn counts(&self) -> Result<&[u32], VqError> {
        match &self.0 {
            Source::Read(counts) => Ok(counts),
            #[cfg(feature = "candle-cuda")]
            Source::OnTheWay(unread) => unread.counts(),
        }
    }

    /// What is to be read of a batch that a GPU counts, as a tensor of its own there, u32; [`Tally::counts_in`] reads its values. None on
    /// the processor.
    ///
    /// # Errors
    /// - [`VqError::Cuda`]: the driver refused something.
    #[cfg(feature = "candle-cuda")]
    pub fn words(&self) -> Result<Option<candle_core::Tensor>, VqError> {
        match &self.0 {
            Source::Read(_) => Ok(None),
            Source::OnTheWay(unread) => unread.words().map(Some),
        }
    }

    /// Uses of each code from the values of [`Tally::words`]; none if a vector or a code was not finite.
    #[cfg(feature = "candle-cuda")]
    #[must_use]
    pub fn counts_in(words: &[u32]) -> Option<Vec<u32>> {
        super::cuda::counts_in(words)
    }

    /// The perplexity of the codes over the batch.
    ///
    /// # Errors
    /// As [`Tally::counts`].
    pub fn perplexity(&self) -> Result<f64, VqError> {
        Ok(perplexity(self.counts()?.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_summed_over_images() {
        let tally = Tally::of(&[1, 0, 2, 1, 0, 0], 3);
        assert_eq!(tally.counts().unwrap(), [2, 0, 2]);
        assert!((tally.perplexity().unwrap() - 2.0).abs() < 1e-8);
        assert!(Tally::of(&[], 0).counts().unwrap().is_empty());
    }
}

//! Split quantisation: every chunk of every position by one codebook.

use crate::codebook::Codebook;
use crate::cpu::CpuSearch;
use crate::error::VqError;
use crate::nearest::{NearestCode, SearchOutput};
use crate::statistics::{histograms, perplexity, total_counts};
use crate::vectors::Vectors;

/// Quantises images or rows whose channels are cut into `split` chunks of the codebook's width.
///
/// # References
/// Split quantisation: Kobayashi et al., "Self-supervised deep learning encodes high-resolution features of protein subcellular
/// localization", Nature Methods 2022, doi:10.1038/s41592-022-01541-z, Methods. VQ-VAE: van den Oord et al., arXiv:1711.00937.
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, SplitQuantizer};
///
/// let codebook = Codebook::new(vec![0.0, 0.0, 1.0, 1.0], 2, 2)?;
/// let quantizer = SplitQuantizer::new(codebook, 2)?;
/// // One image of 1 x 2 pixels with four channels: two chunks of two.
/// let z = [0.1, 0.9, 0.2, 1.0, 0.8, 0.0, 1.0, 0.3];
/// let found = quantizer.quantize_images(&z, 1, 2)?;
/// assert_eq!(found.indices, [0, 1, 1, 0]); // chunk 0 of both pixels, then chunk 1
/// assert_eq!(found.quantized, [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
/// assert_eq!(found.histogram, [2, 2]);
/// assert!((found.perplexity() - 2.0).abs() < 1e-8);
/// assert!((found.mean_squared_error() - 0.19 / 8.0).abs() < 1e-7);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SplitQuantizer<S = CpuSearch> {
    search: S,
    split: usize,
}

impl SplitQuantizer<CpuSearch> {
    /// A quantiser on the processor.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: `split` is 0.
    pub fn new(codebook: Codebook, split: usize) -> Result<Self, VqError> {
        Self::with_search(CpuSearch::new(codebook), split)
    }
}

impl<S: NearestCode> SplitQuantizer<S> {
    /// A quantiser over any search.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: `split` is 0.
    pub fn with_search(search: S, split: usize) -> Result<Self, VqError> {
        if split == 0 {
            return Err(VqError::Parameter {
                name: "split",
                value: "0".into(),
                expected: "at least 1",
            });
        }
        Ok(Self { search, split })
    }

    /// The codes.
    #[must_use]
    pub fn codebook(&self) -> &Codebook {
        self.search.codebook()
    }

    /// The search.
    #[must_use]
    pub fn search(&self) -> &S {
        &self.search
    }

    /// Chunks per position.
    #[must_use]
    pub fn split(&self) -> usize {
        self.split
    }

    /// Quantises images with channels first: `z: [images, split * dim, positions]`.
    ///
    /// # Errors
    /// - [`VqError::Length`]: the number of values does not fit;
    /// - [`VqError::NonFiniteVector`]: a value is NaN or infinite.
    pub fn quantize_images(
        &self,
        z: &[f32],
        images: usize,
        positions: usize,
    ) -> Result<Quantization, VqError> {
        self.quantize(&Vectors::planes(
            z,
            images,
            self.split,
            self.codebook().dim(),
            positions,
        )?)
    }

    /// Quantises rows: `z: [rows, split * dim]`.
    ///
    /// # Errors
    /// As [`SplitQuantizer::quantize_images`].
    pub fn quantize_rows(&self, z: &[f32], rows: usize) -> Result<Quantization, VqError> {
        self.quantize_images(z, rows, 1)
    }

    /// Quantises vectors of any layout; their own split counts.
    ///
    /// # Errors
    /// As [`NearestCode::search`].
    pub fn quantize(&self, vectors: &Vectors<'_>) -> Result<Quantization, VqError> {
        self.quantize_by(vectors, |output| self.search.search(vectors, output))
    }

    /// Quantises by whatever `search` finds.
    pub(crate) fn quantize_by(
        &self,
        vectors: &Vectors<'_>,
        search: impl FnOnce(SearchOutput<'_>) -> Result<(), VqError>,
    ) -> Result<Quantization, VqError> {
        let codes = self.codebook().codes();
        let mut indices = vec![0; vectors.len()];
        let mut squared_distances = vec![0.0; vectors.len()];
        let mut quantized = vec![0.0; vectors.data().len()];
        let output = SearchOutput {
            indices: &mut indices,
            squared_distances: &mut squared_distances,
            quantized: Some(&mut quantized),
        };
        search(output)?;
        let histogram = histograms(&indices, vectors.images(), codes)?;
        let squared_error = squared_distances.iter().map(|&d| f64::from(d)).sum();
        Ok(Quantization {
            indices,
            squared_distances,
            quantized,
            histogram,
            squared_error,
            codes,
        })
    }
}

/// What quantisation found, in one pass over the vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// Index of the nearest code, `[images, split, positions]`.
    pub indices: Vec<u32>,
    /// Squared distance of each vector to its code, `[images, split, positions]`.
    pub squared_distances: Vec<f32>,
    /// The codes in the place and layout of the vectors.
    pub quantized: Vec<f32>,
    /// How often each code occurs in each image, `[images, codes]`.
    pub histogram: Vec<u32>,
    /// The sum of `squared_distances`.
    pub squared_error: f64,
    /// Codes of the codebook.
    pub codes: usize,
}

impl Quantization {
    /// The squared error per value: commitment and codebook loss both have this value. 0 for an empty batch.
    #[must_use]
    pub fn mean_squared_error(&self) -> f64 {
        if self.quantized.is_empty() {
            0.0
        } else {
            self.squared_error / self.quantized.len() as f64
        }
    }

    /// The perplexity of the codes over the batch; see [`perplexity`].
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        perplexity(total_counts(&self.histogram, self.codes))
    }
}

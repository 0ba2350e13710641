//! The search on the GPU.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::at;
use super::device::CudaDevice;
use super::launch::DeviceSearch;
use super::memory::{DeviceCodes, DeviceVectors};
use crate::codebook::Codebook;
use crate::error::VqError;
use crate::nearest::{NearestCode, SearchOutput, check};
use crate::quantizer::Quantization;
use crate::vectors::Vectors;

/// The arithmetic of the scores; every one gives the same answer, because near ties are settled in double precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CudaPrecision {
    /// Fused multiply-add in single precision.
    #[default]
    F32,
    /// Tensor cores, three TF32 products for each: nearly single precision.
    Tf32x3,
    /// Tensor cores in TF32: more near ties to settle.
    Tf32,
    /// Tensor cores in bfloat16: many more.
    Bf16,
}

impl CudaPrecision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32x3, Self::Tf32, Self::Bf16];

    const NAMES: [&str; 4] = ["f32", "tf32x3", "tf32", "bf16"];

    /// Its number in the kernels.
    pub(super) fn variant(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for CudaPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES[*self as usize])
    }
}

impl FromStr for CudaPrecision {
    type Err = VqError;

    fn from_str(text: &str) -> Result<Self, VqError> {
        let found = Self::ALL.into_iter().find(|p| p.to_string() == text);
        found.ok_or_else(|| VqError::Parameter {
            name: "precision",
            value: text.into(),
            expected: "f32, tf32x3, tf32 or bf16",
        })
    }
}

/// The search on a GPU.
///
/// As a [`NearestCode`] it copies vectors to the GPU and results back; [`CudaSearch::enqueue`] works on what is there already.
#[derive(Debug)]
pub struct CudaSearch {
    pub(super) there: DeviceSearch,
    codebook: Codebook,
}

impl CudaSearch {
    /// A search in `codebook` on `device`.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: more codes or components than a GPU takes;
    /// - [`VqError::Cuda`]: the memory does not suffice, or the driver refused something.
    pub fn new(
        device: Arc<CudaDevice>,
        codebook: Codebook,
        precision: CudaPrecision,
    ) -> Result<Self, VqError> {
        let rows = device
            .stream
            .clone_htod(codebook.as_slice())
            .map_err(at("copying the codebook to the GPU"))?;
        let (codes, dim) = (codebook.codes(), codebook.dim());
        let there = DeviceSearch::new(device, rows, codes, dim, precision)?;
        Ok(Self { there, codebook })
    }

    /// The GPU.
    #[must_use]
    pub fn device(&self) -> &Arc<CudaDevice> {
        &self.there.device
    }

    /// The arithmetic of the scores.
    #[must_use]
    pub fn precision(&self) -> CudaPrecision {
        self.there.precision
    }

    /// Reserves the memory for the results of `vectors`: indices and distances, and if wanted the codes in the place of the vectors
    /// and the histogram of each image.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: the batch is too large for a GPU;
    /// - [`VqError::Cuda`]: the memory does not suffice.
    pub fn reserve(
        &self,
        vectors: &DeviceVectors,
        quantized: bool,
        histogram: bool,
    ) -> Result<DeviceCodes, VqError> {
        self.there.reserve(vectors.shape, quantized, histogram)
    }

    /// Starts a search and returns at once; [`CudaSearch::download`] waits for it and reports vectors that are not finite.
    ///
    /// # Errors
    /// - [`VqError::Dimension`]: vectors and codes differ in their number of components;
    /// - [`VqError::Length`]: `out` was reserved for another batch;
    /// - [`VqError::Cuda`]: the driver refused something.
    pub fn enqueue(&self, vectors: &DeviceVectors, out: &mut DeviceCodes) -> Result<(), VqError> {
        self.there.enqueue(&vectors.view(), out)
    }

    /// Waits for a search and copies its results; `vectors` are the ones that were searched, for the error that names a value.
    ///
    /// # Errors
    /// - as [`CudaSearch::enqueue`];
    /// - [`VqError::NonFiniteVector`]: a value is NaN or infinite.
    pub fn download(
        &self,
        found: &DeviceCodes,
        vectors: &Vectors<'_>,
    ) -> Result<Quantization, VqError> {
        let codes = self.codebook.codes();
        let mut result = Quantization {
            indices: vec![0; found.len()],
            squared_distances: vec![0.0; found.len()],
            quantized: Vec::new(),
            histogram: Vec::new(),
            squared_error: 0.0,
            codes,
        };
        if found.quantized.is_some() {
            result.quantized = vec![0.0; found.len() * found.shape.dim];
        }
        let output = SearchOutput {
            indices: &mut result.indices,
            squared_distances: &mut result.squared_distances,
            quantized: found
                .quantized
                .is_some()
                .then_some(&mut result.quantized[..]),
        };
        let mut counters = self.copy_results(found, vectors, output)?;
        counters.pop();
        result.histogram = counters;
        result.squared_error = result.squared_distances.iter().map(|&d| f64::from(d)).sum();
        Ok(result)
    }

    /// Copies results back and returns the counters.
    fn copy_results(
        &self,
        found: &DeviceCodes,
        vectors: &Vectors<'_>,
        output: SearchOutput<'_>,
    ) -> Result<Vec<u32>, VqError> {
        check(&self.codebook, vectors, &output)?;
        let stream = &self.there.device.stream;
        let copying = at("copying results from the GPU");
        let counters = stream.clone_dtoh(&found.counters).map_err(&copying)?;
        if found.is_empty() {
            return Ok(counters);
        }
        let vector = !counters.last().copied().unwrap_or(0) as usize;
        if vector < vectors.len()
            && let Some(error) = vectors.non_finite(vector)
        {
            return Err(error);
        }
        stream
            .memcpy_dtoh(&found.indices, output.indices)
            .map_err(&copying)?;
        stream
            .memcpy_dtoh(&found.squared_distances, output.squared_distances)
            .map_err(&copying)?;
        if let (Some(from), Some(to)) = (&found.quantized, output.quantized) {
            stream.memcpy_dtoh(from, to).map_err(&copying)?;
        }
        self.there.device.wait()?;
        Ok(counters)
    }
}

impl NearestCode for CudaSearch {
    fn codebook(&self) -> &Codebook {
        &self.codebook
    }

    fn search(&self, vectors: &Vectors<'_>, output: SearchOutput<'_>) -> Result<(), VqError> {
        check(&self.codebook, vectors, &output)?;
        if vectors.is_empty() {
            return Ok(());
        }
        let there = DeviceVectors::new(&self.there.device, vectors)?;
        let mut found = self.reserve(&there, output.quantized.is_some(), false)?;
        self.enqueue(&there, &mut found)?;
        self.copy_results(&found, vectors, output).map(drop)
    }
}

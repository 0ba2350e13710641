//! The search on the GPU.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

use super::at;
use super::device::CudaDevice;
use super::layout::{CODES, Layout, THREADS};
use super::memory::{DeviceCodes, DeviceVectors};
use crate::codebook::Codebook;
use crate::error::VqError;
use crate::nearest::{NearestCode, SearchOutput, check};
use crate::quantizer::Quantization;
use crate::vectors::Vectors;

/// No memory, where a kernel takes a pointer or nothing.
const NOTHING: u64 = 0;

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
    fn variant(self) -> i32 {
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
    device: Arc<CudaDevice>,
    codebook: Codebook,
    pub(super) codes: DeviceCodebook,
    precision: CudaPrecision,
}

/// A codebook as the kernels read it.
#[derive(Debug)]
pub(super) struct DeviceCodebook {
    /// `[codes, dim]`.
    pub(super) rows: CudaSlice<f32>,
    /// `[panels, dim, CODES]`.
    panels: CudaSlice<f32>,
    /// `-|c|^2 / 2`, `[panels * CODES]`.
    half_norms: CudaSlice<f32>,
    /// The bits of the largest `|c|^2`.
    largest: CudaSlice<u32>,
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
        let codes = DeviceCodebook::new(&device, rows, codebook.codes(), codebook.dim())?;
        Ok(Self {
            device,
            codebook,
            codes,
            precision,
        })
    }

    /// The GPU.
    #[must_use]
    pub fn device(&self) -> &Arc<CudaDevice> {
        &self.device
    }

    /// The arithmetic of the scores.
    #[must_use]
    pub fn precision(&self) -> CudaPrecision {
        self.precision
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
        let codes = self.codebook.codes();
        DeviceCodes::new(&self.device, vectors.shape, codes, [quantized, histogram])
    }

    /// Starts a search and returns at once; [`CudaSearch::download`] waits for it and reports vectors that are not finite.
    ///
    /// # Errors
    /// - [`VqError::Dimension`]: vectors and codes differ in their number of components;
    /// - [`VqError::Length`]: `out` was reserved for another batch;
    /// - [`VqError::Cuda`]: the driver refused something.
    pub fn enqueue(&self, vectors: &DeviceVectors, out: &mut DeviceCodes) -> Result<(), VqError> {
        self.check(vectors, out)?;
        if vectors.is_empty() {
            return Ok(());
        }
        let stream = &self.device.stream;
        stream
            .memset_zeros(&mut out.counters)
            .map_err(at("clearing memory on the GPU"))?;
        let layout = out.layout;
        let search = &self.device.kernels.nearest[self.precision as usize];
        self.launch(search, None, vectors, out, (layout.blocks(), layout.splits))?;
        if layout.splits > 1 {
            let merge = &self.device.kernels.merge_splits;
            let variant = self.precision.variant();
            self.launch(merge, Some(variant), vectors, out, (layout.blocks(), 1))?;
        }
        Ok(())
    }

    /// Launches a search or a merge, which take the same arguments; the merge begins with the variant.
    fn launch(
        &self,
        function: &cudarc::driver::CudaFunction,
        variant: Option<i32>,
        vectors: &DeviceVectors,
        out: &mut DeviceCodes,
        (x, y): (u32, u32),
    ) -> Result<(), VqError> {
        let layout: Layout = out.layout;
        let counts = out.counters.len() - 1;
        let (mut histogram, mut bad) = out.counters.split_at_mut(counts);
        let mut arguments = self.device.stream.launch_builder(function);
        if let Some(variant) = &variant {
            arguments.arg(variant);
        }
        arguments
            .arg(&vectors.data)
            .arg(&layout)
            .arg(&self.codes.rows)
            .arg(&self.codes.panels)
            .arg(&self.codes.half_norms)
            .arg(&self.codes.largest)
            .arg(&mut out.partial)
            .arg(&mut out.indices)
            .arg(&mut out.squared_distances);
        match &mut out.quantized {
            Some(quantized) => arguments.arg(quantized),
            None => arguments.arg(&NOTHING),
        };
        if out.histogram {
            arguments.arg(&mut histogram);
        } else {
            arguments.arg(&NOTHING);
        }
        arguments.arg(&mut bad);
        let grid = LaunchConfig {
            grid_dim: (x, y, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments are those of the kernel in number, order and type; `check` has compared the shapes that the kernels
        // index by, and `DeviceCodes::new` has reserved memory for them.
        unsafe { arguments.launch(grid) }.map_err(at("starting the search"))?;
        Ok(())
    }

    pub(super) fn check(&self, vectors: &DeviceVectors, out: &DeviceCodes) -> Result<(), VqError> {
        if vectors.shape.dim != self.codebook.dim() {
            return Err(VqError::Dimension {
                expected: self.codebook.dim(),
                found: vectors.shape.dim,
            });
        }
        let fits = out.shape == vectors.shape && out.layout.codes as usize == self.codebook.codes();
        if !fits {
            return Err(VqError::Length {
                what: "results on the GPU",
                shape: format!("[{}]", vectors.len()),
                expected: vectors.len(),
                found: out.len(),
            });
        }
        Ok(())
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
        let stream = &self.device.stream;
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
        self.device.wait()?;
        Ok(counters)
    }
}

impl DeviceCodebook {
    /// Lays `rows: [codes, dim]` out for the kernels.
    pub(super) fn new(
        device: &CudaDevice,
        rows: CudaSlice<f32>,
        codes: usize,
        dim: usize,
    ) -> Result<Self, VqError> {
        let too_large = |name, value: usize| VqError::Parameter {
            name,
            value: value.to_string(),
            expected: "at most 2^31 - 129 on a GPU",
        };
        let count = u32::try_from(codes).map_err(|_| too_large("codes", codes))?;
        let width = u32::try_from(dim).map_err(|_| too_large("dim", dim))?;
        let padded = count
            .checked_next_multiple_of(CODES)
            .filter(|&padded| padded <= i32::MAX as u32)
            .ok_or_else(|| too_large("codes", codes))?;
        let allocating = at("reserving memory for the codebook");
        let stream = &device.stream;
        let mut prepared = Self {
            rows,
            panels: stream
                .alloc_zeros(padded as usize * dim)
                .map_err(&allocating)?,
            half_norms: stream.alloc_zeros(padded as usize).map_err(&allocating)?,
            largest: stream.alloc_zeros(1).map_err(&allocating)?,
        };
        let grid = LaunchConfig {
            grid_dim: (padded.div_ceil(THREADS), 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut arguments = stream.launch_builder(&device.kernels.prepare_codes);
        arguments
            .arg(&prepared.rows)
            .arg(&count)
            .arg(&width)
            .arg(&mut prepared.panels)
            .arg(&mut prepared.half_norms)
            .arg(&mut prepared.largest);
        // SAFETY: the arguments are those of the kernel; it writes `padded * dim`, `padded` and one value.
        unsafe { arguments.launch(grid) }.map_err(at("laying the codebook out"))?;
        Ok(prepared)
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
        let there = DeviceVectors::new(&self.device, vectors)?;
        let mut found = self.reserve(&there, output.quantized.is_some(), false)?;
        self.enqueue(&there, &mut found)?;
        self.copy_results(&found, vectors, output).map(drop)
    }
}

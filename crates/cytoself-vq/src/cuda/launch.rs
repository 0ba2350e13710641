//! A codebook on the GPU and the launches that search it.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

use super::at;
use super::device::CudaDevice;
use super::layout::{CODES, Layout, THREADS};
use super::memory::{DeviceCodes, VectorView};
use super::search::CudaPrecision;
use crate::error::VqError;
use crate::vectors::VectorShape;

/// No memory, where a kernel takes a pointer or nothing.
const NOTHING: u64 = 0;

/// A search of which nothing is on the processor.
#[derive(Debug)]
pub(crate) struct DeviceSearch {
    pub(crate) device: Arc<CudaDevice>,
    pub(super) codes: DeviceCodebook,
    pub(super) precision: CudaPrecision,
}

/// A codebook as the kernels read it.
#[derive(Debug)]
pub(crate) struct DeviceCodebook {
    /// `[codes, dim]`.
    pub(super) rows: CudaSlice<f32>,
    pub(super) codes: usize,
    pub(super) dim: usize,
    /// `[panels, dim, CODES]`.
    panels: CudaSlice<f32>,
    /// `-|c|^2 / 2`, `[panels * CODES]`.
    half_norms: CudaSlice<f32>,
    /// The bits of the largest `|c|^2`.
    pub(super) largest: CudaSlice<u32>,
}

impl DeviceSearch {
    /// A search in the codes `rows: [codes, dim]`.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: more codes or components than a GPU takes;
    /// - [`VqError::Cuda`]: the memory does not suffice, or the driver refused something.
    pub(crate) fn new(
        device: Arc<CudaDevice>,
        rows: CudaSlice<f32>,
        codes: usize,
        dim: usize,
        precision: CudaPrecision,
    ) -> Result<Self, VqError> {
        let codes = DeviceCodebook::new(&device, rows, codes, dim)?;
        Ok(Self {
            device,
            codes,
            precision,
        })
    }

    /// Memory for the results of a batch of the shape.
    pub(crate) fn reserve(
        &self,
        shape: VectorShape,
        quantized: bool,
        histogram: bool,
    ) -> Result<DeviceCodes, VqError> {
        DeviceCodes::new(
            &self.device,
            shape,
            self.codes.codes,
            [quantized, histogram],
        )
    }

    /// Starts a search and returns at once; the last of `out.counters` then tells of a vector that is not finite.
    ///
    /// # Errors
    /// - [`VqError::Dimension`]: vectors and codes differ in their number of components;
    /// - [`VqError::Length`]: `out` was reserved for another batch;
    /// - [`VqError::Cuda`]: the driver refused something.
    pub(crate) fn enqueue(
        &self,
        vectors: &VectorView<'_>,
        out: &mut DeviceCodes,
    ) -> Result<(), VqError> {
        self.check(vectors, out)?;
        if vectors.shape.len() == 0 {
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
        vectors: &VectorView<'_>,
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

    pub(super) fn check(&self, vectors: &VectorView<'_>, out: &DeviceCodes) -> Result<(), VqError> {
        if vectors.shape.dim != self.codes.dim {
            return Err(VqError::Dimension {
                expected: self.codes.dim,
                found: vectors.shape.dim,
            });
        }
        let fits = out.shape == vectors.shape && out.layout.codes as usize == self.codes.codes;
        if !fits {
            return Err(VqError::Length {
                what: "results on the GPU",
                shape: format!("[{}]", vectors.shape.len()),
                expected: vectors.shape.len(),
                found: out.len(),
            });
        }
        Ok(())
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
            codes,
            dim,
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

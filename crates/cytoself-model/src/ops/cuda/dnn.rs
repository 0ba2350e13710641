//! cuDNN: what it needs to know of a convolution, and the workspace it is lent.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

use candle_core::cuda::WrapErr;
use candle_core::{Error, Result, bail};
use cudarc::cudnn::result::{self, CudnnError};
use cudarc::cudnn::sys::{
    self, cudnnConvolutionMode_t, cudnnDataType_t, cudnnDeterminism_t, cudnnMathType_t,
    cudnnStatus_t, cudnnTensorFormat_t,
};
use cudarc::driver::sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::Address;
use crate::ops::ConvGeometry;

/// The largest workspace that an algorithm may ask for.
const LARGEST_WORKSPACE: usize = 2 << 30;

/// Algorithms that are asked for.
const CANDIDATES: usize = 8;

/// What a convolution computes from the two others of map, weights and result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    /// The result.
    Forward,
    /// The gradient of the map.
    Input,
    /// The gradient of the weights.
    Weights,
}

/// How the arrays lie and what their products are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// f32, channels first, fused multiply-add.
    F32,
    /// f32, channels first, tensor cores in TF32.
    Tf32,
    /// bf16, channels last, tensor cores, sums in f32.
    Bf16,
}

/// A handle of cuDNN, the plans of the convolutions seen so far, and one workspace for all.
pub(super) struct Dnn {
    handle: sys::cudnnHandle_t,
    plans: HashMap<(Direction, Format, ConvGeometry), Plan>,
    /// Graphs hold the one that they were captured with.
    workspace: Option<Arc<CudaSlice<u8>>>,
}

// SAFETY: cuDNN lets any thread use a handle and descriptors as long as it is one at a time, which the lock around `Dnn` sees to.
unsafe impl Send for Dnn {}

fn at(step: &'static str) -> impl Fn(CudnnError) -> Error {
    move |error| Error::Msg(format!("cuDNN, {step}: {error}"))
}

impl Dnn {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().w()?;
        let handle = result::create_handle().map_err(at("starting"))?;
        // SAFETY: the handle has just been made; the stream lives as long as candle's device, which the GPU keeps.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }
            .map_err(at("choosing the stream"))?;
        Ok(Self {
            handle,
            plans: HashMap::new(),
            workspace: None,
        })
    }

    /// Enqueues a convolution of the arrays `[x, w, y]`, of which `direction` says which is written.
    ///
    /// # Errors
    /// - cuDNN has no algorithm for it, or the memory does not suffice.
    pub(super) fn convolve(
        &mut self,
        stream: &Arc<CudaStream>,
        direction: Direction,
        geometry: &ConvGeometry,
        format: Format,
        arrays: [Address; 3],
    ) -> Result<()> {
        let key = (direction, format, *geometry);
        if !self.plans.contains_key(&key) {
            let plan = Plan::new(self.handle, direction, geometry, format).map_err(|error| {
                Error::Msg(format!(
                    "{error}; {direction:?} of {geometry:?} as {format:?}"
                ))
            })?;
            self.plans.insert(key, plan);
        }
        let Some(plan) = self.plans.get(&key) else {
            bail!("the plan has just been made")
        };
        let has = self.workspace.as_ref().map_or(0, |w| w.len());
        if has < plan.workspace {
            if stream.capture_status().w()? != CU_STREAM_CAPTURE_STATUS_NONE {
                bail!("cuDNN needs more workspace than before");
            }
            // The old one first, so that its memory can become part of the new one.
            self.workspace = None;
            // SAFETY: a workspace has no content until cuDNN writes it.
            self.workspace = Some(Arc::new(unsafe { stream.alloc(plan.workspace) }.w()?));
        }
        let workspace = self.workspace.as_ref().map(|w| w.device_ptr(stream).0);
        plan.run(self.handle, arrays, Address(workspace.unwrap_or(0)))
    }

    /// The workspace of all convolutions so far.
    pub(super) fn workspace(&self) -> Option<Arc<CudaSlice<u8>>> {
        self.workspace.clone()
    }
}

/// The algorithm of a direction.
#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Input(sys::cudnnConvolutionBwdDataAlgo_t),
    Weights(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm as cuDNN's heuristics rate it.
struct Candidate {
    algorithm: Algorithm,
    status: cudnnStatus_t,
    memory: usize,
    same_bits: bool,
    math: cudnnMathType_t,
}

/// What cuDNN has been told of a convolution, and how it computes it.
struct Plan {
    descriptors: Descriptors,
    algorithm: Algorithm,
    workspace: usize,
}

impl Plan {
    fn new(
        handle: sys::cudnnHandle_t,
        direction: Direction,
        geometry: &ConvGeometry,
        format: Format,
    ) -> Result<Self> {
        let descriptors = Descriptors::new(geometry, format)?;
        let candidates = descriptors.candidates(handle, direction)?;
        let usable = |c: &&Candidate| {
            c.status == cudnnStatus_t::CUDNN_STATUS_SUCCESS && c.memory <= LARGEST_WORKSPACE
        };
        // The same seed gives the same bits, so an algorithm that does not is the last resort.
        let chosen = candidates
            .iter()
            .filter(usable)
            .find(|c| c.same_bits)
            .or_else(|| candidates.iter().find(usable));
        let Some(chosen) = chosen else {
            bail!("cuDNN: no algorithm within 2 GiB of workspace")
        };
        // The rating holds for this kind of arithmetic; single precision is asked for by name.
        if format != Format::F32 {
            descriptors.set_math(chosen.math)?;
        }
        Ok(Self {
            workspace: descriptors.workspace(handle, chosen.algorithm)?,
            algorithm: chosen.algorithm,
            descriptors,
        })
    }

    fn run(
        &self,
        handle: sys::cudnnHandle_t,
        [x, w, y]: [Address; 3],
        workspace: Address,
    ) -> Result<()> {
        let (one, zero) = (1.0f32, 0.0f32);
        let (one, zero): (*const c_void, *const c_void) =
            ((&raw const one).cast(), (&raw const zero).cast());
        let d = &self.descriptors;
        let (space, size) = (workspace.0 as *mut c_void, self.workspace);
        let (x, w, y) = (x.0 as *mut c_void, w.0 as *mut c_void, y.0 as *mut c_void);
        // SAFETY: the descriptors live in the plan and describe the arrays, the workspace has at least the size that the algorithm
        // asked for, and alpha and beta are f32 for all three formats.
        let started = unsafe {
            match self.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, one, d.x, x, d.w, w, d.conv, algorithm, space, size, zero, d.y, y,
                ),
                Algorithm::Input(algorithm) => result::convolution_backward_data(
                    handle, one, d.w, w, d.y, y, d.conv, algorithm, space, size, zero, d.x, x,
                ),
                Algorithm::Weights(algorithm) => result::convolution_backward_filter(
                    handle, one, d.x, x, d.y, y, d.conv, algorithm, space, size, zero, d.w, w,
                ),
            }
        };
        started.map_err(at("starting a convolution"))
    }
}

/// cuDNN's records of the three arrays and of the convolution.
struct Descriptors {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
}

fn int(count: usize) -> Result<c_int> {
    super::u32_of(count).map(|c| c as c_int)
}

fn ints<const N: usize>(counts: [usize; N]) -> Result<[c_int; N]> {
    let mut all = [0; N];
    for (to, count) in all.iter_mut().zip(counts) {
        *to = int(count)?;
    }
    Ok(all)
}

impl Descriptors {
    fn new(g: &ConvGeometry, format: Format) -> Result<Self> {
        let (x, y) = (
            [g.batch, g.in_channels, g.height, g.width],
            [g.batch, g.out_channels, g.out_height(), g.out_width()],
        );
        for values in [x, y].map(|s| s.iter().product::<usize>()) {
            super::u32_of(values)?;
        }
        let w = [g.out_channels, g.in_channels, g.kernel[0], g.kernel[1]];
        let (order, kind) = match format {
            Format::F32 | Format::Tf32 => (
                cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
                cudnnDataType_t::CUDNN_DATA_FLOAT,
            ),
            Format::Bf16 => (
                cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
                cudnnDataType_t::CUDNN_DATA_BFLOAT16,
            ),
        };
        let making = at("describing a convolution");
        let made = Self {
            x: result::create_tensor_descriptor().map_err(&making)?,
            w: result::create_filter_descriptor().map_err(&making)?,
            y: result::create_tensor_descriptor().map_err(&making)?,
            conv: result::create_convolution_descriptor().map_err(&making)?,
        };
        let [top, left] = ints([g.padding.top, g.padding.left])?;
        let stride = int(g.stride)?;
        // SAFETY: the descriptors have just been made.
        unsafe {
            result::set_tensor4d_descriptor(made.x, order, kind, ints(x)?).map_err(&making)?;
            result::set_filter4d_descriptor(made.w, kind, order, ints(w)?).map_err(&making)?;
            result::set_tensor4d_descriptor(made.y, order, kind, ints(y)?).map_err(&making)?;
            result::set_convolution2d_descriptor(
                made.conv,
                top,
                left,
                stride,
                stride,
                1,
                1,
                cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                cudnnDataType_t::CUDNN_DATA_FLOAT,
            )
            .map_err(&making)?;
        }
        made.set_math(match format {
            Format::F32 => cudnnMathType_t::CUDNN_FMA_MATH,
            Format::Tf32 => cudnnMathType_t::CUDNN_DEFAULT_MATH,
            Format::Bf16 => cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        })?;
        Ok(made)
    }

    fn set_math(&self, math: cudnnMathType_t) -> Result<()> {
        // SAFETY: the descriptor lives.
        unsafe { result::set_convolution_math_type(self.conv, math) }
            .map_err(at("choosing the arithmetic"))
    }

    /// The algorithms of a direction, the best first as cuDNN's heuristics see it.
    fn candidates(
        &self,
        handle: sys::cudnnHandle_t,
        direction: Direction,
    ) -> Result<Vec<Candidate>> {
        let asking = at("asking for an algorithm");
        /// Asks, and puts what comes back into one form.
        macro_rules! rated {
            ($ask:ident, $kind:ident, $perf:ty, $a:expr, $b:expr, $c:expr) => {{
                let mut count: c_int = 0;
                // SAFETY: plain numbers, for which zeros are values.
                let mut rated: [$perf; CANDIDATES] = unsafe { std::mem::zeroed() };
                // SAFETY: handle and descriptors live, and `rated` has room for as many as are asked for.
                unsafe {
                    result::$ask(
                        handle,
                        $a,
                        $b,
                        self.conv,
                        $c,
                        CANDIDATES as c_int,
                        &raw mut count,
                        rated.as_mut_ptr(),
                    )
                }
                .map_err(&asking)?;
                let found = rated.iter().take(usize::try_from(count).unwrap_or(0));
                found
                    .map(|r| Candidate {
                        algorithm: Algorithm::$kind(r.algo),
                        status: r.status,
                        memory: r.memory,
                        same_bits: r.determinism == cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                        math: r.mathType,
                    })
                    .collect()
            }};
        }
        Ok(match direction {
            Direction::Forward => rated!(
                get_convolution_forward_algorithm,
                Forward,
                sys::cudnnConvolutionFwdAlgoPerf_t,
                self.x,
                self.w,
                self.y
            ),
            Direction::Input => rated!(
                get_convolution_backward_data_algorithm,
                Input,
                sys::cudnnConvolutionBwdDataAlgoPerf_t,
                self.w,
                self.y,
                self.x
            ),
            Direction::Weights => rated!(
                get_convolution_backward_filter_algorithm,
                Weights,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                self.x,
                self.y,
                self.w
            ),
        })
    }

    fn workspace(&self, handle: sys::cudnnHandle_t, algorithm: Algorithm) -> Result<usize> {
        // SAFETY: handle and descriptors live.
        let size = unsafe {
            match algorithm {
                Algorithm::Forward(a) => result::get_convolution_forward_workspace_size(
                    handle, self.x, self.w, self.conv, self.y, a,
                ),
                Algorithm::Input(a) => result::get_convolution_backward_data_workspace_size(
                    handle, self.w, self.y, self.conv, self.x, a,
                ),
                Algorithm::Weights(a) => result::get_convolution_backward_filter_workspace_size(
                    handle, self.x, self.y, self.conv, self.w, a,
                ),
            }
        };
        size.map_err(at("asking for the workspace"))
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: each was made once and is given back once. What cuDNN says to that helps nobody any more.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_convolution_descriptor(self.conv);
        }
    }
}

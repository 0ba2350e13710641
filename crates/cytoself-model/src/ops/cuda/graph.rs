//! Work that is captured once as a CUDA graph and replayed.
//!
//! While a stream is captured nothing is computed: the driver notes what it is told. Memory that is reserved then belongs to the graph
//! and has the same addresses in every replay; all of it is given back within the capture, so that a graph can be replayed any number of
//! times. What comes in and goes out lies in tensors that were made before.

use std::sync::{Arc, PoisonError};

use candle_core::cuda::WrapErr;
use candle_core::{CudaDevice, DType, Error, Result, Tensor, bail};
use cudarc::driver::sys::CUgraphInstantiate_flags;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use cudarc::driver::{CudaGraph, CudaSlice, result};

use super::{Address, Gpu};

/// Work that can be replayed.
pub(crate) struct Graph {
    graph: CudaGraph,
    /// Memory that the work uses besides its own.
    _workspace: Option<Arc<CudaSlice<u8>>>,
}

// SAFETY: the driver asks that a graph is used by one thread at a time, not by always the same; `&Graph` is not given to other threads, as
// `Graph` is not `Sync`.
unsafe impl Send for Graph {}

/// Numbers on the GPU that the host sets before each replay.
pub(crate) struct Place(CudaSlice<u64>);

impl Place {
    /// Room for `count` numbers.
    pub(crate) fn new(device: &CudaDevice, count: usize) -> Result<Self> {
        Gpu::of(device)?.zeros(count).map(Self)
    }

    /// Sets them, in the order of the stream.
    pub(crate) fn set(&mut self, numbers: &[u64]) -> Result<()> {
        let stream = Arc::clone(self.0.stream());
        stream.memcpy_htod(numbers, &mut self.0).w()
    }

    /// Where they begin.
    pub(super) fn at(&self, gpu: &Gpu) -> Address {
        gpu.at(&self.0)
    }
}

/// Keeps what candle copies to the GPU, so that a capture finds it there: on while the work runs for the first time, and while it is
/// captured.
pub(crate) fn keep_uploads(device: &CudaDevice) -> impl Sized + use<> {
    device.enable_cuda_graph_htod_cache()
}

/// Captures what `work` tells the GPU to do. Random numbers of the step `number` will be those of the number at `step`.
///
/// The work must have run before: algorithms, workspaces and kernels are there.
///
/// # Errors
/// - `work` fails, as whatever waits for the GPU does;
/// - the driver cannot make a graph of it. The GPU has computed nothing then and can go on.
pub(crate) fn capture<E: From<Error>>(
    device: &CudaDevice,
    (number, step): (u64, &Place),
    work: impl FnOnce() -> std::result::Result<(), E>,
) -> std::result::Result<Graph, E> {
    let gpu = &Gpu::of(device)?;
    let stream = gpu.stream();
    stream.context().check_err().w()?;
    let uploads = keep_uploads(device);
    stream
        .begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .w()?;
    gpu.capture_step(Some((number, step.at(gpu))));
    let done = work();
    gpu.capture_step(None);
    let ended = stream.end_capture(CUgraphInstantiate_flags(0));
    drop(uploads);
    // What tensors could not give back in a capture that failed is lost with the graph.
    let dropped = stream.context().check_err();
    done?;
    let graph = ended.w()?;
    dropped.w()?;
    let Some(graph) = graph else {
        return Err(Error::Msg("the driver made no graph".into()).into());
    };
    give_back(gpu)?;
    let dnn = gpu.dnn().lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Graph {
        graph,
        _workspace: dnn.workspace(),
    })
}

/// Returns the memory that the first run has left to the system: a graph has its own.
fn give_back(gpu: &Gpu) -> Result<()> {
    let (stream, context) = (gpu.stream(), gpu.stream().context());
    if !context.has_async_alloc() {
        return Ok(());
    }
    stream.synchronize().w()?;
    // SAFETY: the device is open, and its default pool lives as long as it.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).w()?;
        result::mem_pool::trim_to(pool, 0).w()
    }
}

impl Graph {
    /// Does the work once more; returns at once.
    pub(crate) fn replay(&self) -> Result<()> {
        self.graph.launch().w()
    }
}

/// Copies the values of `from` to the memory of `to`, both contiguous, of one type (f32 or u32) and one size, in the order of the stream.
///
/// # Errors
/// - they are not.
pub(crate) fn copy(from: &Tensor, to: &Tensor) -> Result<()> {
    let gpu = &Gpu::holding(from)?;
    let same = from.dtype() == to.dtype() && from.elem_count() == to.elem_count();
    if !same || Gpu::holding(to)?.device().id() != gpu.device().id() {
        bail!("a copy between tensors of different type, size or device");
    }
    let from = &from.contiguous()?;
    let [source, target] = match from.dtype() {
        DType::F32 => [gpu.values(from)?, gpu.values(to)?],
        DType::U32 => [gpu.values_of::<u32>(from)?, gpu.values_of::<u32>(to)?],
        other => bail!("values of the type {other:?} cannot be copied here"),
    };
    let bytes = from.elem_count() * from.dtype().size_in_bytes();
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: both tensors have that many bytes there; `to` is private to its graph, so nobody counts on its values.
    unsafe { result::memcpy_dtod_async(target.0, source.0, bytes, gpu.stream().cu_stream()) }.w()
}

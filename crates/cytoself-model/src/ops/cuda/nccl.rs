//! Sums over GPUs, by NCCL.

use std::ffi::{CStr, c_char};
use std::sync::Arc;
use std::time::Duration;

use candle_core::cuda::WrapErr;
use candle_core::{CudaDevice, Result, Shape, Tensor, bail};
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
use cudarc::driver::{CudaEvent, CudaSlice, CudaStream};
use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys;

use super::{Address, Gpu};

/// Bytes of the name of a world of GPUs.
const NAME: usize = 128;

/// The GPU that `device` is, in digits that no other has.
///
/// # Errors
/// - the driver refuses to tell.
pub(crate) fn identity(device: &CudaDevice) -> Result<String> {
    let uuid = device.cuda_stream().context().uuid().w()?;
    Ok(uuid.bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The name of a new world, which all ranks need to join it: one of them asks for it.
///
/// # Errors
/// - NCCL finds no way by which GPUs could meet.
pub(crate) fn new_world() -> Result<Vec<u8>> {
    let id = told(result::get_uniqueid(), "naming the ranks")?;
    Ok(id.internal.iter().map(|c| c.cast_unsigned()).collect())
}

/// One rank of several that have a GPU each. All sums are taken on one stream, in the order in which they are asked for.
///
/// Tensors whose sums are asked for are copied behind one another into memory of their own, on the stream of the computations. An event
/// then lets a stream of NCCL's go on with the sum, beside whatever the GPU is told next; another event orders the streams again when
/// the sums are collected. The host waits for nothing.
pub(crate) struct World {
    communicator: sys::ncclComm_t,
    gpu: Arc<Gpu>,
    stream: Arc<CudaStream>,
    open: Vec<Sum>,
    /// When the first of the open sums could begin.
    begun: Option<CudaEvent>,
    /// Times that have not been read.
    marks: Vec<Marks>,
}

/// Sums that are under way, each from its place on.
struct Sum {
    values: CudaSlice<f32>,
    length: usize,
    places: Vec<(usize, Shape)>,
}

/// Points in the work of the two streams.
struct Marks {
    begun: CudaEvent,
    /// The computations want the sums.
    wanted: CudaEvent,
    done: CudaEvent,
}

// SAFETY: a communicator belongs to no thread; NCCL asks that its calls come one at a time, which they do, as this is not `Sync`.
unsafe impl Send for World {}

impl World {
    /// Joins the world `name` as `rank` of `size`; returns when all ranks have come. Sums go on beside the computations if `overlapped`,
    /// else among them.
    ///
    /// # Errors
    /// - `name` is none, another rank fails to come, or NCCL cannot reach it.
    pub(crate) fn join(
        device: &CudaDevice,
        name: &[u8],
        [rank, size]: [usize; 2],
        overlapped: bool,
    ) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let context = gpu.stream().context();
        context.bind_to_thread().w()?;
        let stream = match overlapped {
            true => context.new_stream().w()?,
            false => Arc::clone(gpu.stream()),
        };
        let Ok(bytes) = <[u8; NAME]>::try_from(name) else {
            bail!("NCCL: the ranks' name has {} bytes, not {NAME}", name.len());
        };
        let id = sys::ncclUniqueId {
            internal: bytes.map(|b| b as c_char),
        };
        let (Ok(rank), Ok(size)) = (i32::try_from(rank), i32::try_from(size)) else {
            bail!("NCCL: {size} ranks are too many");
        };
        let mut communicator = std::ptr::null_mut();
        // SAFETY: the place for the handle is written during the call; the GPU's context is this thread's.
        let joined = unsafe { result::comm_init_rank(&raw mut communicator, size, id, rank) };
        told(joined, "joining the ranks")?;
        Ok(Self {
            communicator,
            stream,
            gpu,
            open: Vec::new(),
            begun: None,
            marks: Vec::new(),
        })
    }

    /// Begins the sum of `tensors` (f32) over all ranks, which give tensors of the same shapes in the same order of calls.
    ///
    /// # Errors
    /// - NCCL or the driver refuses something.
    pub(crate) fn begin(&mut self, tensors: &[Tensor]) -> Result<()> {
        let (gpu, main) = (self.gpu.as_ref(), self.gpu.stream());
        let context = main.context();
        context.bind_to_thread().w()?;
        let (mut places, mut end) = (Vec::new(), 0usize);
        for tensor in tensors {
            places.push((end, tensor.shape().clone()));
            // Packs of four values may be read at once where they lie so.
            end += tensor.elem_count().next_multiple_of(4);
        }
        let values = gpu.zeros::<f32>(end)?;
        for (tensor, (place, shape)) in tensors.iter().zip(&places) {
            let tensor = tensor.contiguous()?;
            let (to, from) = (gpu.at(&values).after(*place), gpu.values(&tensor)?);
            let bytes = 4 * shape.elem_count();
            // SAFETY: both arrays have as many values, and are given back in the order of the stream.
            unsafe {
                cudarc::driver::result::memcpy_dtod_async(to.0, from.0, bytes, main.cu_stream())
            }
            .w()?;
        }
        let ready = self.follow()?;
        self.begun.get_or_insert(ready);
        let started = self.sum_at(gpu.at(&values), end, sys::ncclDataType_t::ncclFloat32);
        self.open.push(Sum {
            values,
            length: end,
            places,
        });
        started
    }

    /// Replaces `values` (f64, contiguous) by their sums over all ranks, before whatever the GPU is told next.
    ///
    /// # Errors
    /// - NCCL or the driver refuses something.
    pub(crate) fn sum_now(&self, values: &Tensor) -> Result<()> {
        let main = self.gpu.stream();
        main.context().bind_to_thread().w()?;
        let (at, count) = (self.gpu.values_of::<f64>(values)?, values.elem_count());
        self.follow()?;
        let started = self.sum_at(at, count, sys::ncclDataType_t::ncclFloat64);
        let done = main.context().new_event(None).w()?;
        done.record(&self.stream).w()?;
        main.wait(&done).w()?;
        started
    }

    /// Lets NCCL's stream wait for the computations so far.
    fn follow(&self) -> Result<CudaEvent> {
        let main = self.gpu.stream();
        let ready = main.context().new_event(Some(CU_EVENT_DEFAULT)).w()?;
        ready.record(main).w()?;
        self.stream.wait(&ready).w()?;
        Ok(ready)
    }

    /// Begins the sum over ranks of `count` values of the type `kind`, in place.
    fn sum_at(&self, at: Address, count: usize, kind: sys::ncclDataType_t) -> Result<()> {
        let array = at.0 as *mut std::ffi::c_void;
        // SAFETY: the callers give an array of as many values of that type, which nobody else reads or writes until the streams are in
        // order again, and which lives until then.
        let started = unsafe {
            result::all_reduce(
                array.cast_const(),
                array,
                count,
                kind,
                sys::ncclRedOp_t::ncclSum,
                self.communicator,
                self.stream.cu_stream().cast(),
            )
        };
        told(started, "a sum over ranks").map(|_| ())
    }

    /// The sums begun since the last call; whatever reads them on the GPU waits for them.
    ///
    /// # Errors
    /// - NCCL has lost a rank, or the driver refuses something.
    pub(crate) fn collect(&mut self) -> Result<Vec<Vec<Tensor>>> {
        let mut state = sys::ncclResult_t::ncclSuccess;
        // SAFETY: the communicator has been joined; the place is written during the call.
        let asked = unsafe { sys::ncclCommGetAsyncError(self.communicator, &raw mut state) };
        told(asked.result().and_then(|_| state.result()), "the ranks")?;
        self.order()?;
        let tensors = |sum: Sum| {
            let all = self.gpu.tensor(sum.values, sum.length);
            let own = sum.places.iter().map(|(place, shape)| {
                all.narrow(0, *place, shape.elem_count())?
                    .reshape(shape.clone())
            });
            own.collect::<Result<Vec<Tensor>>>()
        };
        self.open.drain(..).map(tensors).collect()
    }

    /// Lets the computations wait for the sums.
    fn order(&mut self) -> Result<()> {
        let (main, context) = (self.gpu.stream(), self.gpu.stream().context());
        let event = || context.new_event(Some(CU_EVENT_DEFAULT)).w();
        let (wanted, done) = (event()?, event()?);
        wanted.record(main).w()?;
        done.record(&self.stream).w()?;
        main.wait(&done).w()?;
        if let Some(begun) = self.begun.take() {
            self.marks.push(Marks {
                begun,
                wanted,
                done,
            });
        }
        Ok(())
    }

    /// How long the sums took that were collected since the last call, and how long the computations waited for them; waits until they
    /// are over.
    pub(crate) fn time(&mut self) -> [Duration; 2] {
        let mut all = [Duration::ZERO; 2];
        for Marks {
            begun,
            wanted,
            done,
        } in self.marks.drain(..)
        {
            for (sum, start) in all.iter_mut().zip([&begun, &wanted]) {
                // Without a time, or before it, none is told: a training does not end for it.
                let milliseconds = start.elapsed_ms(&done).unwrap_or(0.0).max(0.0);
                *sum += Duration::from_secs_f32(milliseconds / 1e3);
            }
        }
        all
    }
}

impl Drop for World {
    /// Gives up what is under way, so that no rank waits for one that has gone. Failures have nobody to hear of them.
    fn drop(&mut self) {
        if !self.open.is_empty() {
            // Their memory goes back in the order of the computations, which is then behind NCCL's.
            let _ = self.order();
        }
        // SAFETY: the communicator has been joined, and is used no more.
        let _ = unsafe { result::comm_abort(self.communicator) };
    }
}

/// What NCCL says went wrong, in one line.
fn told<T>(answer: std::result::Result<T, NcclError>, doing: &str) -> Result<T> {
    let NcclError(code) = match answer {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    // SAFETY: for every code NCCL has a text that stays.
    let text = unsafe { CStr::from_ptr(sys::ncclGetErrorString(code)) };
    // SAFETY: without a communicator, the last failure of this thread; a text that stays until the next, copied below.
    let last = unsafe { sys::ncclGetLastError(std::ptr::null_mut()) };
    let last = match last.is_null() {
        true => String::new(),
        // SAFETY: as above, and not null.
        false => unsafe { CStr::from_ptr(last) }
            .to_string_lossy()
            .into_owned(),
    };
    let last = last.lines().next().unwrap_or_default().trim();
    bail!(
        "NCCL, {doing}: {}{}{last}; NCCL_DEBUG=INFO makes it tell more",
        text.to_string_lossy(),
        if last.is_empty() { "" } else { ": " }
    )
}

//! Results that are copied from the GPU beside its computations.

use std::sync::Arc;

use candle_core::cuda::WrapErr;
use candle_core::{CudaDevice, DType, Result, Tensor, bail};
use cudarc::driver::sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
use cudarc::driver::{CudaEvent, PinnedHostSlice};

use super::Gpu;
use super::upload::locked;
use crate::feed::pool::{Lent, Pool};

/// Page-locked memory for results on their way from a GPU.
pub(crate) struct Returns {
    gpu: Arc<Gpu>,
    pages: Pool<Pages>,
}

/// Values of a tensor that are being copied, or have been.
pub(crate) struct Download {
    pages: Lent<Pages>,
    count: usize,
}

impl Returns {
    /// Memory for `tensors` tensors on their way at a time; it grows to what they need.
    pub(crate) fn new(device: &CudaDevice, tensors: usize) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let pages: Vec<Pages> = (0..tensors)
            .map(|_| Pages::new(&gpu, 1))
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu,
            pages: Pool::new(pages),
        })
    }

    /// Starts the copy of `t`, f32 or u32, behind what the GPU has been told to do so far. Waits for memory that is not on loan.
    pub(crate) fn start(&self, t: &Tensor) -> Result<Download> {
        let (gpu, stream) = (self.gpu.as_ref(), self.gpu.stream());
        let (t, count) = (t.contiguous()?, t.elem_count());
        let Some(mut pages) = self.pages.lend() else {
            bail!("no memory for results")
        };
        pages.arrived.synchronize().w()?;
        if pages.words.len() < count {
            *pages = Pages::new(gpu, count)?;
        }
        let from = match t.dtype() {
            DType::F32 => gpu.values_of::<f32>(&t)?,
            DType::U32 => gpu.values_of::<u32>(&t)?,
            other => bail!("results of the type {other:?} cannot be copied"),
        };
        let words = &mut pages.words.as_mut_slice().w()?[..count];
        // SAFETY: the tensor has `count` values of four bytes there, and is given back in the order of the stream; the pages are neither
        // read nor written nor unlocked before `arrived`, which is recorded even where the copy was refused.
        let copied =
            unsafe { cudarc::driver::result::memcpy_dtoh_async(words, from.0, stream.cu_stream()) };
        pages.arrived.record(stream).w()?;
        copied.w()?;
        Ok(Download { pages, count })
    }
}

impl Download {
    /// The bits of the values; waits for them.
    pub(crate) fn words(&mut self) -> Result<&[u32]> {
        self.pages.arrived.synchronize().w()?;
        Ok(&self.pages.words.as_slice().w()?[..self.count])
    }
}

struct Pages {
    words: PinnedHostSlice<u32>,
    arrived: CudaEvent,
}

impl Pages {
    fn new(gpu: &Gpu, words: usize) -> Result<Self> {
        let context = gpu.stream().context();
        Ok(Self {
            words: locked(gpu, words)?,
            arrived: context.new_event(Some(CU_EVENT_BLOCKING_SYNC)).w()?,
        })
    }
}

impl Drop for Pages {
    /// No copy may run when the pages are unlocked; a failure has nobody to hear of it, and the driver reports it with the next call.
    fn drop(&mut self) {
        let _ = self.arrived.synchronize();
    }
}

//! Batches that are copied to the GPU beside its computations.

use std::sync::Arc;

use candle_core::cuda::WrapErr;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Result, Storage, Tensor, bail};
use cudarc::driver::sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
use cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DeviceRepr, PinnedHostSlice, ValidAsZeroBits,
};

use super::{Gpu, every, u32_of};
use crate::ModelError;
use crate::feed::Crop;
use crate::feed::pool::{Lent, Pool};

/// Batches that have memory: one that is read, one on its way or waiting, one that is taken.
const SLOTS: usize = 3;

/// The way of batches to a GPU.
///
/// Each batch has a [`Slot`]: page-locked memory that a thread reads it into, and memory on the GPU that a stream for copies fills from
/// there. Two events order the streams. Tensors are never made of a slot's memory: [`Lane::take`] lets the stream of the computations
/// wait for the copy and turns or copies the crops into memory of its own, so a tensor that exists can be read, and a slot can be filled
/// again, by the order of the streams alone.
pub(crate) struct Lane {
    gpu: Arc<Gpu>,
    copies: Arc<CudaStream>,
    slots: Pool<Slot>,
    batch: usize,
    shape: [usize; 3],
}

/// A batch that is being copied, or has been.
pub(crate) struct Upload {
    slot: Lent<Slot>,
    crops: usize,
    /// Whether a crop is turned at all.
    turned: bool,
}

impl Lane {
    /// A way to `device` for batches of up to `batch` crops of `shape` (channels, height, width).
    pub(crate) fn new(device: &CudaDevice, batch: usize, shape: [usize; 3]) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let copies = gpu.stream().context().new_stream().w()?;
        let values = batch * shape.iter().product::<usize>();
        let slots: Vec<Slot> = (0..SLOTS)
            .map(|_| Slot::new(&gpu, values, 2 * batch))
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu,
            copies,
            slots: Pool::new(slots),
            batch,
            shape,
        })
    }

    /// Reads a batch by `fill` and starts its copy. Waits for a slot.
    pub(crate) fn start(
        &self,
        crops: &[Crop],
        fill: impl FnOnce(&mut [f32]) -> std::result::Result<(), ModelError>,
    ) -> std::result::Result<Upload, ModelError> {
        let refused = |text: String| Err(candle_core::Error::Msg(text).into());
        if crops.len() > self.batch {
            return refused(format!(
                "a batch of {} crops in a feed for {}",
                crops.len(),
                self.batch
            ));
        }
        let Some(mut slot) = self.slots.lend() else {
            return refused("the feed has no memory".to_string());
        };
        let values = crops.len() * self.shape.iter().product::<usize>();
        // The last copy out of these pages, of a batch long taken, is over or nearly so.
        slot.uploaded.synchronize().w()?;
        fill(&mut slot.pixels.as_mut_slice().w()?[..values])?;
        let words = slot.words.as_mut_slice().w()?;
        for (i, crop) in crops.iter().enumerate() {
            words[i] = crop.symmetry.bits();
            words[crops.len() + i] = crop.label;
        }
        slot.copy(&self.copies, values, 2 * crops.len())?;
        Ok(Upload {
            slot,
            crops: crops.len(),
            turned: crops.iter().any(|c| c.symmetry.bits() != 0),
        })
    }

    /// The crops of a batch, turned, and their labels.
    pub(crate) fn take(&self, upload: Upload) -> Result<(Tensor, Tensor)> {
        let stream = self.gpu.stream();
        stream.wait(&upload.slot.uploaded).w()?;
        let made = self.tensors(&upload);
        // Even of a batch that failed half-way: the slot goes back, and its next copy waits for what has been started.
        upload.slot.taken.record(stream).w()?;
        made
    }

    fn tensors(&self, upload: &Upload) -> Result<(Tensor, Tensor)> {
        let (n, [c, h, w]) = (upload.crops, self.shape);
        let (gpu, stream) = (self.gpu.as_ref(), self.gpu.stream());
        let values = n * c * h * w;
        if values == 0 {
            bail!("a batch without pixels");
        }
        let slot = &upload.slot;
        let mut images = gpu.buffer::<f32>(values)?;
        if upload.turned {
            launch!(
                gpu,
                "augment",
                every(values),
                [
                    gpu.at(&slot.pixels_there),
                    gpu.at(&slot.words_there),
                    u32_of(n)?,
                    u32_of(c)?,
                    u32_of(h)?,
                    u32_of(w)?,
                    gpu.at(&images)
                ]
            );
        } else {
            let pixels = slot.pixels_there.slice(..values);
            stream.memcpy_dtod(&pixels, &mut images).w()?;
        }
        let labels = stream.clone_dtod(&slot.words_there.slice(n..2 * n)).w()?;
        let labels = CudaStorage::wrap_cuda_slice(labels, gpu.device().clone());
        let labels = Tensor::from_storage(Storage::Cuda(labels), n, BackpropOp::none(), false);
        Ok((gpu.tensor(images, (n, c, h, w)), labels))
    }
}

/// The memory of a batch on its way.
struct Slot {
    pixels: PinnedHostSlice<f32>,
    /// The crops' symmetries, then their labels.
    words: PinnedHostSlice<u32>,
    pixels_there: CudaSlice<f32>,
    words_there: CudaSlice<u32>,
    /// The copy is over: the pages may be written, the memory there be read.
    uploaded: CudaEvent,
    /// The computations have read the memory there: it may be written.
    taken: CudaEvent,
}

impl Slot {
    fn new(gpu: &Gpu, pixels: usize, words: usize) -> Result<Self> {
        let stream = gpu.stream();
        let context = stream.context();
        let slot = Self {
            pixels: locked(gpu, pixels)?,
            words: locked(gpu, words)?,
            pixels_there: gpu.buffer(pixels)?,
            words_there: gpu.buffer(words)?,
            // A thread that waits sleeps.
            uploaded: context.new_event(Some(CU_EVENT_BLOCKING_SYNC)).w()?,
            taken: context.new_event(None).w()?,
        };
        // The memory there exists from here on in the order of the computations' stream.
        slot.taken.record(stream).w()?;
        Ok(slot)
    }

    /// Copies the first values and words, on `copies`, once the memory there has been read.
    fn copy(&mut self, copies: &Arc<CudaStream>, values: usize, words: usize) -> Result<()> {
        copies.wait(&self.taken).w()?;
        let copied = self.enqueue(copies, values, words);
        // Even where a copy was refused: another may have been started.
        self.uploaded.record(copies).w()?;
        copied
    }

    fn enqueue(&mut self, copies: &Arc<CudaStream>, values: usize, words: usize) -> Result<()> {
        let pixels = &self.pixels.as_slice().w()?[..values];
        copies
            .memcpy_htod(pixels, &mut self.pixels_there.slice_mut(..values))
            .w()?;
        let words_here = &self.words.as_slice().w()?[..words];
        copies
            .memcpy_htod(words_here, &mut self.words_there.slice_mut(..words))
            .w()
    }
}

impl Drop for Slot {
    /// No copy may run when the pages are unlocked; a failure has nobody to hear of it, and the driver reports it with the next call.
    fn drop(&mut self) {
        let _ = self.uploaded.synchronize();
    }
}

/// Page-locked memory, zero. Ordinary memory to the processor, which reads it too: not write-combined.
pub(super) fn locked<T: DeviceRepr + ValidAsZeroBits>(
    gpu: &Gpu,
    count: usize,
) -> Result<PinnedHostSlice<T>> {
    let context = gpu.stream().context();
    // SAFETY: all of it is written below, before anybody reads it.
    let mut pages = unsafe { context.alloc_pinned_with_flags::<T>(count.max(1), 0) }.w()?;
    let start = pages.as_mut_ptr().w()?;
    // SAFETY: as many values as have just been reserved, for which all bits 0 are a value.
    unsafe { start.write_bytes(0, count.max(1)) };
    Ok(pages)
}

//! Memory: output buffers without a zeroing pass, scratch that is kept from call to call, pointers for parallel writers.

use std::cell::RefCell;

/// A buffer of `n` values for a kernel that writes every one of them before anything reads them.
pub(crate) fn output(n: usize) -> Vec<f32> {
    let mut v = Vec::with_capacity(n);
    // SAFETY: the capacity was just reserved and f32 has no destructor. The kernels that receive this buffer assign every
    // element (tested against `reference`, which catches an element left out); zeroing first costs up to half of an
    // elementwise operation.
    #[allow(clippy::uninit_vec)]
    unsafe {
        v.set_len(n);
    }
    v
}

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Lends `n` values of this thread's scratch memory, with arbitrary content, for the length of `f`. They begin with a cache line.
pub(crate) fn scratch<R>(n: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let room = n + LINE / size_of::<f32>();
    let mut buffer = FREE.with_borrow_mut(|free| take_fitting(free, room));
    if buffer.len() < room {
        buffer.resize(room, 0.0);
    }
    let first = buffer.as_ptr().align_offset(LINE).min(room - n);
    let result = f(&mut buffer[first..first + n]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

/// The smallest kept buffer that holds `n`, else the largest (it grows), else a new one.
fn take_fitting(free: &mut Vec<Vec<f32>>, n: usize) -> Vec<f32> {
    let fitting = free
        .iter()
        .enumerate()
        .filter(|(_, b)| b.len() >= n)
        .min_by_key(|(_, b)| b.len());
    let index = fitting
        .or_else(|| free.iter().enumerate().max_by_key(|(_, b)| b.len()))
        .map(|(i, _)| i);
    index.map(|i| free.swap_remove(i)).unwrap_or_default()
}

/// A pointer that parallel tasks may share when each writes its own region.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: every use writes disjoint regions per task; stated at each place of use.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The pointer `offset` elements in.
    ///
    /// # Safety
    /// `offset` lies within the slice this was made from.
    #[inline(always)]
    pub(crate) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }

    /// The region `[offset, offset + n)`.
    ///
    /// # Safety
    /// The region lies within the slice this was made from, which is still borrowed, and no other task touches it.
    #[inline(always)]
    pub(crate) unsafe fn region<'a>(self, offset: usize, n: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), n) }
    }
}

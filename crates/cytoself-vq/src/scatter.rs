//! Writing to places that the tasks of a parallel loop share out among themselves.

use std::marker::PhantomData;

/// A slice that several threads write to, each place by one thread.
pub(crate) struct Scatter<'a> {
    start: *mut f32,
    length: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only access is `write`, whose contract forbids two threads at one place.
unsafe impl Send for Scatter<'_> {}
// SAFETY: as above.
unsafe impl Sync for Scatter<'_> {}

impl<'a> Scatter<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            borrow: PhantomData,
        }
    }

    /// # Safety
    /// `at` is less than the length, and no other thread writes to it.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, at: usize, value: f32) {
        debug_assert!(at < self.length);
        // SAFETY: by the contract above.
        unsafe { self.start.add(at).write(value) }
    }
}

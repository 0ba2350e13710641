//! One-threaded matrix products on strided views; parallelism stays with the caller, whose chunks do not depend on the threads.

use gemm::Parallelism;

/// A strided matrix that is only read.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) data: *const f32,
    /// Elements from a row to the next.
    pub(crate) rows: usize,
    /// Elements from a column to the next.
    pub(crate) columns: usize,
}

impl View {
    /// Row-major data with `stride` elements from row to row.
    pub(crate) fn row_major(data: *const f32, stride: usize) -> Self {
        Self {
            data,
            rows: stride,
            columns: 1,
        }
    }

    /// The transpose of [`View::row_major`].
    pub(crate) fn transposed(data: *const f32, stride: usize) -> Self {
        Self {
            data,
            rows: 1,
            columns: stride,
        }
    }
}

/// `out = a b`, or `out += a b` if `accumulate`, with `a: [m, k]`, `b: [k, n]` and a row-major `out` of `out_stride` elements per row.
///
/// # Safety
/// The views and `out` are valid for the shapes, and `out` overlaps neither and is written by no other thread.
pub(crate) unsafe fn multiply(
    [m, n, k]: [usize; 3],
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
    a: View,
    b: View,
) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_stride as isize,
            accumulate,
            a.data,
            a.columns as isize,
            a.rows as isize,
            b.data,
            b.columns as isize,
            b.rows as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

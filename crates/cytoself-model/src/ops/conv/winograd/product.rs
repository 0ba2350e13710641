//! The matrix products of one of the 36 points.

use crate::ops::buffer::scratch;
use crate::ops::simd::{InstructionSet, Lanes, kernel, load_up_to, store_up_to};

/// Rows of a product that are computed together at most. With two vectors of columns, two vectors of the right factor and one of the left
/// they take fifteen of the sixteen registers of AVX2: with all sixteen taken, one sum lives in memory and every step waits for it.
const ROWS: usize = 6;

/// Vectors of columns that are computed together.
const VECTORS: usize = 2;

/// Values of transformed tiles that stay in the first-level cache while the kernels' rows pass over them.
const PANEL_VALUES: usize = 1 << 13;

/// The rows of a product as they are computed together, in groups of nearly one size: (first, how many).
pub(super) fn groups(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(ROWS);
    let bound = move |group: usize| group * rows / count;
    (0..count).map(move |group| (bound(group), bound(group + 1) - bound(group)))
}

/// Calls the instance of a function for the number of rows of a group.
macro_rules! of_rows {
    ($count:expr, $function:ident($($argument:expr),*)) => {
        match $count {
            1 => $function::<L, 1>($($argument),*),
            2 => $function::<L, 2>($($argument),*),
            3 => $function::<L, 3>($($argument),*),
            4 => $function::<L, 4>($($argument),*),
            5 => $function::<L, 5>($($argument),*),
            _ => $function::<L, ROWS>($($argument),*),
        }
    };
}

/// Values from a channel's row of tiles to the next: whole groups of columns, and room for the last vector of `rows` tile rows.
pub(super) fn pitch(isa: InstructionSet, rows: usize, columns: usize) -> usize {
    let past = columns.next_multiple_of(isa.lanes()) - columns;
    (rows * columns + past).next_multiple_of(VECTORS * isa.lanes())
}

/// Values from one of the 36 planes to the next: an odd number of cache lines, so that the planes do not share a cache set.
pub(super) fn plane(channels: usize, pitch: usize) -> usize {
    ((channels * pitch).div_ceil(16) | 1) * 16
}

/// `sums[r] += sum over t of a[r a_row + t a_term] b[t b_term]` for two vectors of columns.
///
/// # Safety
/// The values exist, and the processor has the instructions.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // matrices are clearer by index
unsafe fn add_terms<L: Lanes, const R: usize>(
    sums: &mut [[L::V; VECTORS]; R],
    terms: usize,
    (mut a, a_row, a_term): (*const f32, usize, usize),
    (mut b, b_term): (*const f32, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        for _ in 0..terms {
            let (b0, b1) = (L::load(b), L::load(b.add(L::N)));
            for r in 0..R {
                let value = L::splat(*a.add(r * a_row));
                sums[r][0] = L::fma(value, b0, sums[r][0]);
                sums[r][1] = L::fma(value, b1, sums[r][1]);
            }
            a = a.add(a_term);
            b = b.add(b_term);
        }
    }
}

/// `m[r][j] = sum over c of u[c][r] v[c][j]` for `R` rows and two vectors of `j`.
///
/// # Safety
/// As [`add_terms`].
#[inline(always)]
unsafe fn multiply_rows<L: Lanes, const R: usize>(
    u: *const f32,
    v: *const f32,
    m: *mut f32,
    columns: usize,
    pitch: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::zero(); VECTORS]; R];
        add_terms::<L, R>(&mut sums, columns, (u, 1, R), (v, pitch));
        for (r, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                L::store(m.add(r * pitch + j * L::N), *sum);
            }
        }
    }
}

kernel! {
    /// `m[r][j] = sum over c of u[r][c] v[c][j]` for `j` in `first..last` (a multiple of two vectors apart), with `u` packed by [`groups`].
    unsafe fn multiply_panel<L>(u: *const f32, v: *const f32, m: *mut f32, rows: usize, columns: usize, pitch: usize, first: usize, last: usize) {
        for (row, count) in groups(rows) {
            let (u, m) = (u.add(row * columns), m.add(row * pitch));
            let mut j = first;
            while j < last {
                of_rows!(count, multiply_rows(u, v.add(j), m.add(j), columns, pitch));
                j += VECTORS * L::N;
            }
        }
    }
}

/// `m = u v` with `u: [rows, columns]` packed by [`groups`], each `[columns, its rows]`, `v: [columns, pitch]`, `m: [rows, pitch]`.
pub(super) fn multiply(
    u: &[f32],
    v: &[f32],
    m: &mut [f32],
    [rows, columns, pitch]: [usize; 3],
    isa: InstructionSet,
) {
    let together = VECTORS * isa.lanes();
    assert!(
        u.len() == rows * columns
            && v.len() >= columns * pitch
            && m.len() >= rows * pitch
            && pitch.is_multiple_of(together)
    );
    let step = (PANEL_VALUES / columns.max(1) / together).max(1) * together;
    for first in (0..pitch).step_by(step) {
        let last = (first + step).min(pitch);
        // SAFETY: the lengths were checked above.
        unsafe {
            multiply_panel(
                isa,
                u.as_ptr(),
                v.as_ptr(),
                m.as_mut_ptr(),
                rows,
                columns,
                pitch,
                first,
                last,
            )
        };
    }
}

/// `sums[r][c] = sum over t of a[r][t] turned[t][c]`, added to what is there if `accumulate`, for `R` rows and two vectors of `c`, of which the
/// first `valid` values exist.
///
/// # Safety
/// As [`add_terms`].
#[inline(always)]
#[allow(clippy::too_many_arguments)] // as the kernels
unsafe fn correlate_rows<L: Lanes, const R: usize>(
    a: *const f32,
    pitch: usize,
    turned: *const f32,
    terms: usize,
    sums: *mut f32,
    columns: usize,
    valid: [usize; VECTORS],
    accumulate: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut found = [[L::zero(); VECTORS]; R];
        let at = |r: usize, j: usize| sums.add(r * columns + j * L::N);
        for (r, row) in found.iter_mut().enumerate().filter(|_| accumulate) {
            for (j, sum) in row.iter_mut().enumerate() {
                *sum = load_up_to::<L>(at(r, j), valid[j]);
            }
        }
        add_terms::<L, R>(&mut found, terms, (a, pitch, 1), (turned, VECTORS * L::N));
        for (r, row) in found.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                store_up_to::<L>(at(r, j), valid[j], *sum);
            }
        }
    }
}

kernel! {
    /// `sums[r][c] = sum over t of a[r][t] b[c][t]`, added to what is there if `accumulate`. `turned` holds two vectors of `c` for every `t`, and
    /// for as many more as make whole vectors.
    unsafe fn correlate_all<L>(a: *const f32, b: *const f32, turned: *mut f32, sums: *mut f32, rows: usize, columns: usize, terms: usize, pitch: usize, accumulate: bool) {
        let step = VECTORS * L::N;
        let mut column = 0;
        while column < columns {
            let mut valid = [0; VECTORS];
            for j in 0..VECTORS {
                let first = column + j * L::N;
                valid[j] = columns.saturating_sub(first).min(L::N);
                let (b, to) = (b.add(first * pitch), turned.add(j * L::N));
                let mut t = 0;
                while t < terms && valid[j] == L::N {
                    L::transpose(b.add(t), pitch, |i| to.add((t + i) * step));
                    t += L::N;
                }
                while t < terms {
                    for i in 0..L::N {
                        *to.add(t * step + i) = if i < valid[j] { *b.add(i * pitch + t) } else { 0.0 };
                    }
                    t += 1;
                }
            }
            for (row, count) in groups(rows) {
                let (a, sums) = (a.add(row * pitch), sums.add(row * columns + column));
                of_rows!(count, correlate_rows(a, pitch, turned, terms, sums, columns, valid, accumulate));
            }
            column += step;
        }
    }
}

/// `sums[r][c] = sum over t < terms of a[r][t] b[c][t]`, added to what is there if `accumulate`, with `a: [rows, pitch]`, `b: [columns, pitch]` and
/// `sums: [rows, columns]`.
pub(super) fn correlate(
    a: &[f32],
    b: &[f32],
    sums: &mut [f32],
    [rows, columns, terms, pitch]: [usize; 4],
    accumulate: bool,
    isa: InstructionSet,
) {
    let lanes = isa.lanes();
    assert!(
        a.len() >= rows * pitch
            && b.len() >= columns * pitch
            && sums.len() == rows * columns
            && terms <= pitch
            && pitch.is_multiple_of(lanes)
    );
    scratch(terms.next_multiple_of(lanes) * VECTORS * lanes, |turned| {
        // SAFETY: the lengths were checked above, and `turned` holds whole vectors of terms.
        unsafe {
            correlate_all(
                isa,
                a.as_ptr(),
                b.as_ptr(),
                turned.as_mut_ptr(),
                sums.as_mut_ptr(),
                rows,
                columns,
                terms,
                pitch,
                accumulate,
            )
        };
    });
}

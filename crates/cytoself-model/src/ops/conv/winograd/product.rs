//! The matrix product of one of the 36 points: packed kernels times rows of transformed tiles.

use crate::ops::simd::{InstructionSet, kernel};

/// Rows of the kernels' matrix that are multiplied together; with three vectors of tiles they fill the sixteen registers of AVX2.
pub(super) const ROWS: usize = 4;

/// Vectors of tiles that are multiplied together.
const VECTORS: usize = 3;

/// Values of transformed tiles that stay in the first- and second-level cache while the kernels' rows pass over them.
const PANEL_VALUES: usize = 48 << 10;

/// Values of one packed matrix of `rows x columns`.
pub(super) fn packed_length(rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(ROWS) * columns
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

kernel! {
    /// `m[r][j] = sum over c of u[r][c] v[c][j]` for `j` in `first..last` (a multiple of three vectors apart), with `u` packed by four rows.
    unsafe fn multiply_panel<L>(u: *const f32, v: *const f32, m: *mut f32, rows: usize, columns: usize, pitch: usize, first: usize, last: usize) {
        let mut row = 0;
        while row < rows {
            let a = u.add(row * columns);
            let mut j = first;
            while j < last {
                let mut acc = [[L::zero(); VECTORS]; ROWS];
                let (mut p, mut b) = (a, v.add(j));
                for _ in 0..columns {
                    let (b0, b1, b2) = (L::load(b), L::load(b.add(L::N)), L::load(b.add(2 * L::N)));
                    let mut i = 0;
                    while i < ROWS {
                        let k = L::splat(*p.add(i));
                        acc[i][0] = L::fma(k, b0, acc[i][0]);
                        acc[i][1] = L::fma(k, b1, acc[i][1]);
                        acc[i][2] = L::fma(k, b2, acc[i][2]);
                        i += 1;
                    }
                    p = p.add(ROWS);
                    b = b.add(pitch);
                }
                let valid = (rows - row).min(ROWS);
                let mut i = 0;
                while i < valid {
                    let to = m.add((row + i) * pitch + j);
                    L::store(to, acc[i][0]);
                    L::store(to.add(L::N), acc[i][1]);
                    L::store(to.add(2 * L::N), acc[i][2]);
                    i += 1;
                }
                j += VECTORS * L::N;
            }
            row += ROWS;
        }
    }
}

/// `m = u v` with `u: [rows, columns]` packed, `v: [columns, pitch]`, `m: [rows, pitch]`.
pub(super) fn multiply(
    u: &[f32],
    v: &[f32],
    m: &mut [f32],
    [rows, columns, pitch]: [usize; 3],
    isa: InstructionSet,
) {
    let together = VECTORS * isa.lanes();
    assert!(
        u.len() == packed_length(rows, columns)
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

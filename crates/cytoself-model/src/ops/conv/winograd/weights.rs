//! The transforms of kernels and of their gradients.

use super::product;
use super::transform::{self, POINTS};
use crate::ops::buffer::Shared;
use crate::ops::simd::{InstructionSet, MOST, kernel};
use rayon::prelude::*;

/// The matrix `G` of F(4x4, 3x3).
const G: [[f32; 3]; 6] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Transformed kernels of `rows` output and `columns` input channels, each of the 36 matrices packed for the product.
pub(super) struct PackedKernels<'a> {
    values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl PackedKernels<'_> {
    /// Values of all 36 matrices.
    pub(super) fn length(rows: usize, columns: usize) -> usize {
        POINTS * rows * columns
    }

    /// Matrix `k`.
    pub(super) fn point(&self, k: usize) -> &[f32] {
        let length = self.rows * self.columns;
        &self.values[k * length..][..length]
    }
}

/// Transforms the kernels `w`: `[rows, columns, 3, 3]`, or, `transposed`, `[columns, rows, 3, 3]` rotated by half a turn.
pub(super) fn pack<'a>(
    w: &[f32],
    rows: usize,
    columns: usize,
    transposed: bool,
    isa: InstructionSet,
    memory: &'a mut [f32],
) -> PackedKernels<'a> {
    let plane = rows * columns;
    assert!(
        w.len() == 9 * plane && memory.len() == PackedKernels::length(rows, columns),
        "the kernels' shapes"
    );
    let (row_step, column_step) = match transposed {
        true => (9, 9 * rows),
        false => (9 * columns, 9),
    };
    let groups: Vec<_> = product::groups(rows).collect();
    let out = Shared::new(memory);
    groups
        .into_par_iter()
        .with_min_len(4)
        .for_each(|(first, count)| {
            // SAFETY: the rows of the group exist, and its values of the 36 matrices belong to this task.
            unsafe {
                pack_group(
                    isa,
                    w[first * row_step..].as_ptr(),
                    row_step,
                    column_step,
                    transposed,
                    count,
                    columns,
                    out.at(first * columns),
                    plane,
                )
            };
        });
    PackedKernels {
        values: memory,
        rows,
        columns,
    }
}

kernel! {
    /// `G g G^T` of the kernels of `count` rows, the lanes of a vector: value `k` of row `i` and column `c` to `u[k * plane + c * count + i]`.
    unsafe fn pack_group<L>(w: *const f32, row_step: usize, column_step: usize, rotated: bool, count: usize, columns: usize, u: *mut f32, plane: usize) {
        for column in 0..columns {
            let mut taps = [[0f32; MOST]; 9];
            for i in 0..count {
                let kernel = w.add(i * row_step + column * column_step);
                for t in 0..9 {
                    taps[t][i] = *kernel.add(if rotated { 8 - t } else { t });
                }
            }
            let tap = |t: usize| L::load(taps[t].as_ptr());
            let mut half = [[L::zero(); 6]; 3];
            for j in 0..3 {
                half[j] = transform::kernel_axis::<L>([tap(j), tap(3 + j), tap(6 + j)]);
            }
            // A whole vector where the next columns overwrite what is too much.
            let whole = (columns - column) * count >= L::N;
            for i in 0..6 {
                let values = transform::kernel_axis::<L>([half[0][i], half[1][i], half[2][i]]);
                for j in 0..6 {
                    let to = u.add((i * 6 + j) * plane + column * count);
                    if whole {
                        L::store(to, values[j]);
                    } else {
                        L::store_part(to, count, values[j]);
                    }
                }
            }
        }
    }
}

kernel! {
    /// `G^T u G` for `count` neighbouring kernels, a vector of them at most, whose value `k` is at `u[k * plane ..]`; value `t` of kernel `i` to `w[9 i + t]`.
    unsafe fn gradient_kernel<L>(u: *const f32, plane: usize, count: usize, w: *mut f32) {
        let mut half = [[L::zero(); 6]; 3];
        for i in 0..6 {
            for j in 0..6 {
                let v = L::load_part(u.add((i * 6 + j) * plane), count);
                for q in 0..3 {
                    half[q][j] = L::fma(v, L::splat(G[i][q]), half[q][j]);
                }
            }
        }
        for q in 0..3 {
            for r in 0..3 {
                let mut sum = L::zero();
                for j in 0..6 {
                    sum = L::fma(half[q][j], L::splat(G[j][r]), sum);
                }
                let mut lanes = [0f32; MOST];
                L::store(lanes.as_mut_ptr(), sum);
                for (i, lane) in lanes.iter().enumerate().take(count) {
                    *w.add(9 * i + q * 3 + r) = *lane;
                }
            }
        }
    }
}

/// The gradient `[rows, columns, 3, 3]` of the kernels from that of their transforms, `[36, rows, columns]`.
pub(super) fn gradient(
    u: &[f32],
    rows: usize,
    columns: usize,
    isa: InstructionSet,
    dw: &mut [f32],
) {
    let plane = rows * columns;
    assert!(
        u.len() >= POINTS * plane && dw.len() == 9 * plane,
        "the gradients' shapes"
    );
    let lanes = isa.lanes();
    dw.par_chunks_mut(9 * lanes * 64)
        .enumerate()
        .for_each(|(task, dw)| {
            for (i, dw) in dw.chunks_mut(9 * lanes).enumerate() {
                let first = (task * 64 + i) * lanes;
                // SAFETY: `count` kernels lie at `first` in each of the 36 matrices and in dw.
                unsafe {
                    gradient_kernel(
                        isa,
                        u[first..].as_ptr(),
                        plane,
                        dw.len() / 9,
                        dw.as_mut_ptr(),
                    )
                };
            }
        });
}

//! The transforms of kernels and of their gradients.

use super::product::{ROWS, packed_length};
use super::transform::POINTS;
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
        POINTS * packed_length(rows, columns)
    }

    /// Matrix `k`.
    pub(super) fn point(&self, k: usize) -> &[f32] {
        let length = packed_length(self.rows, self.columns);
        &self.values[k * length..][..length]
    }
}

/// Transforms the kernels `w`: `[rows, columns, 3, 3]`, or, `transposed`, `[columns, rows, 3, 3]` rotated by half a turn.
pub(super) fn pack<'a>(
    w: &[f32],
    rows: usize,
    columns: usize,
    transposed: bool,
    memory: &'a mut [f32],
) -> PackedKernels<'a> {
    let plane = packed_length(rows, columns);
    let out = Shared::new(memory);
    (0..rows.div_ceil(ROWS))
        .into_par_iter()
        .with_min_len(4)
        .for_each(|block| {
            for (column, i) in (0..columns).flat_map(|c| (0..ROWS).map(move |i| (c, i))) {
                let row = block * ROWS + i;
                let at = block * columns * ROWS + column * ROWS + i;
                let kernel = (row < rows).then(|| {
                    let index = if transposed {
                        column * rows + row
                    } else {
                        row * columns + column
                    };
                    &w[index * 9..][..9]
                });
                let values = kernel.map_or([0.0; POINTS], |k| transformed(k, transposed));
                for (k, v) in values.iter().enumerate() {
                    // SAFETY: the block's values of the 36 matrices belong to this task.
                    unsafe { *out.at(k * plane + at) = *v };
                }
            }
        });
    PackedKernels {
        values: memory,
        rows,
        columns,
    }
}

/// `G g G^T`.
#[inline]
fn transformed(kernel: &[f32], rotated: bool) -> [f32; POINTS] {
    let g = |i: usize| kernel[if rotated { 8 - i } else { i }];
    let mut half = [[0.0; 3]; 6];
    for (row, factors) in half.iter_mut().zip(&G) {
        for (j, v) in row.iter_mut().enumerate() {
            *v = factors[0] * g(j) + factors[1] * g(3 + j) + factors[2] * g(6 + j);
        }
    }
    std::array::from_fn(|k| {
        let (row, f) = (&half[k / 6], &G[k % 6]);
        row[0] * f[0] + row[1] * f[1] + row[2] * f[2]
    })
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

//! 3x3 convolution with stride 1 by Winograd's F(4x4, 3x3): 36 products of matrices instead of 9 x 16 per tile, a quarter of the
//! multiplications.
//!
//! The output is cut into 4x4 tiles, each of which needs a 6x6 patch of the input. Input patches, kernels and (for the weights'
//! gradient) output gradients are transformed to 6x6 values; value `k` of all of them forms one of 36 independent matrix products
//! over channels; a second transform gives the 4x4 outputs.
//!
//! # References
//! Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308, section 4.

mod product;
#[cfg(test)]
mod tests;
mod tiling;
mod transform;
mod weights;

use crate::ops::buffer::{Shared, scratch};
use crate::ops::geometry::{ConvGeometry, Padding};
use crate::ops::simd::InstructionSet;
use rayon::prelude::*;
use tiling::Tiling;
use transform::POINTS;
use weights::PackedKernels;

/// Values of transformed inputs and outputs that one task holds: they stay in the second- and third-level cache.
const TASK_VALUES: usize = 1 << 19;

/// Tiles of a task, however many channels they have: each task reads all transformed kernels, or adds to all their gradients.
const TILES: usize = 48;

/// Tasks that even a small layer is cut into.
const MIN_TASKS: usize = 8;

/// Values of partial weight gradients held at a time.
const PARTIALS: usize = 1 << 23;

/// Whether the shape can be computed this way.
pub(crate) fn applies(g: &ConvGeometry) -> bool {
    let Padding {
        top,
        bottom,
        left,
        right,
    } = g.padding;
    g.kernel == [3, 3] && g.stride == 1 && [top, bottom, left, right].iter().all(|p| *p <= 2)
}

/// Tiles of a map below which a product over the patches of several images is faster.
const FEWEST_TILES: usize = 8;

/// Whether it should be faster than the product over patches: every task reads all transformed kernels, so they must either stay in
/// the third-level cache or be used for enough tiles. By arithmetic, not yet by measurement on every shape. The batch has no say, so
/// that an image's result does not depend on it.
pub(crate) fn pays(g: &ConvGeometry) -> bool {
    let channels_suffice = g.in_channels.min(g.out_channels) >= 8;
    let kernels_stay = POINTS * g.in_channels * g.out_channels <= 1 << 20;
    let tiles = g.out_height().div_ceil(4) * g.out_width().div_ceil(4);
    applies(g) && channels_suffice && tiles >= FEWEST_TILES && (kernels_stay || tiles >= 32)
}

/// `y = conv(x, w)`.
pub(crate) fn forward(x: &[f32], w: &[f32], g: &ConvGeometry, isa: InstructionSet, y: &mut [f32]) {
    let (rows, columns) = (g.out_channels, g.in_channels);
    scratch(PackedKernels::length(rows, columns), |memory| {
        let kernels = weights::pack(w, rows, columns, false, isa, memory);
        convolve(x, &kernels, &Tiling::new(g), isa, y);
    });
}

/// The gradient of the input: the convolution of `dy` with the rotated kernels.
pub(crate) fn input_gradient(
    dy: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    isa: InstructionSet,
    dx: &mut [f32],
) {
    let (rows, columns) = (g.in_channels, g.out_channels);
    scratch(PackedKernels::length(rows, columns), |memory| {
        let kernels = weights::pack(w, rows, columns, true, isa, memory);
        convolve(dy, &kernels, &Tiling::adjoint(g), isa, dx);
    });
}

/// Tile rows per task when a tile takes `per_tile` values: about `least` tiles or more, of the numbers up to that the one that
/// leaves the fewest columns of the products unused.
fn rows_per_task(isa: InstructionSet, t: &Tiling, per_tile: usize, least: usize) -> usize {
    let tiles = (TASK_VALUES / per_tile).clamp(least, 512);
    let most = (tiles / t.columns).clamp(1, t.tile_rows().div_ceil(MIN_TASKS));
    let used = |rows: usize| (rows * t.columns * 1000) / product::pitch(isa, rows, t.columns);
    (most.div_ceil(2)..=most)
        .max_by_key(|rows| used(*rows))
        .unwrap_or(most)
}

fn convolve(
    x: &[f32],
    kernels: &PackedKernels<'_>,
    t: &Tiling,
    isa: InstructionSet,
    y: &mut [f32],
) {
    let (inputs, outputs) = (kernels.columns, kernels.rows);
    let rows = rows_per_task(isa, t, POINTS * (inputs + outputs), TILES);
    let out = Shared::new(y);
    (0..t.tile_rows().div_ceil(rows))
        .into_par_iter()
        .for_each(|task| {
            let range = task * rows..((task + 1) * rows).min(t.tile_rows());
            let pitch = product::pitch(isa, range.len(), t.columns);
            let (from, to) = (
                product::plane(inputs, pitch),
                product::plane(outputs, pitch),
            );
            scratch(POINTS * (from + to), |memory| {
                let (v, m) = memory.split_at_mut(POINTS * from);
                for channel in 0..inputs {
                    // SAFETY: `pitch` leaves room for a whole vector past the last tile.
                    unsafe {
                        t.read(
                            x,
                            inputs,
                            channel,
                            range.clone(),
                            isa,
                            v[channel * pitch..].as_mut_ptr(),
                            from,
                        )
                    };
                }
                for k in 0..POINTS {
                    let (v, m) = (&v[k * from..][..from], &mut m[k * to..][..to]);
                    product::multiply(kernels.point(k), v, m, [outputs, inputs, pitch], isa);
                }
                for channel in 0..outputs {
                    // SAFETY: as above; the task writes its own tile rows of every map.
                    unsafe {
                        t.write(
                            m[channel * pitch..].as_ptr(),
                            to,
                            outputs,
                            channel,
                            range.clone(),
                            isa,
                            out,
                        )
                    };
                }
            });
        });
}

/// The gradient of the weights.
pub(crate) fn weight_gradient(
    x: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    isa: InstructionSet,
    dw: &mut [f32],
) {
    let (inputs, outputs, t) = (g.in_channels, g.out_channels, Tiling::new(g));
    let length = POINTS * outputs * inputs;
    let rows = rows_per_task(isa, &t, POINTS * (inputs + outputs), 2 * TILES);
    let parts = (PARTIALS / length.max(1))
        .clamp(1, MIN_TASKS)
        .min(t.tile_rows().div_ceil(rows));
    let per_part = t.tile_rows().div_ceil(parts);
    scratch(parts * length, |sums| {
        sums.par_chunks_exact_mut(length)
            .enumerate()
            .for_each(|(part, sums)| {
                let last = ((part + 1) * per_part).min(t.tile_rows());
                for start in (part * per_part..last).step_by(rows) {
                    let range = start..(start + rows).min(last);
                    add_products(
                        x,
                        dy,
                        &t,
                        range,
                        [outputs, inputs],
                        isa,
                        start > part * per_part,
                        sums,
                    );
                }
                if part * per_part >= last {
                    sums.fill(0.0);
                }
            });
        let (total, others) = sums.split_at_mut(length);
        total
            .par_chunks_mut(4096)
            .enumerate()
            .for_each(|(chunk, total)| {
                for part in others.chunks_exact(length) {
                    total
                        .iter_mut()
                        .zip(&part[chunk * 4096..])
                        .for_each(|(t, p)| *t += p);
                }
            });
        weights::gradient(total, outputs, inputs, isa, dw);
    });
}

/// Adds the products of the tile rows `range` to `sums: [36, outputs, inputs]`, or overwrites it if not `accumulate`.
#[allow(clippy::too_many_arguments)] // one pass
fn add_products(
    x: &[f32],
    dy: &[f32],
    t: &Tiling,
    range: std::ops::Range<usize>,
    [outputs, inputs]: [usize; 2],
    isa: InstructionSet,
    accumulate: bool,
    sums: &mut [f32],
) {
    let tiles = range.len() * t.columns;
    let pitch = product::pitch(isa, range.len(), t.columns);
    let (from, to) = (
        product::plane(inputs, pitch),
        product::plane(outputs, pitch),
    );
    scratch(POINTS * (from + to), |memory| {
        let (v, m) = memory.split_at_mut(POINTS * from);
        let (v_out, m_out) = (Shared::new(v), Shared::new(m));
        (0..inputs).into_par_iter().with_min_len(16).for_each(|c| {
            // SAFETY: the channel's rows of the 36 planes are its own, with room for a whole vector past the last tile.
            unsafe { t.read(x, inputs, c, range.clone(), isa, v_out.at(c * pitch), from) };
        });
        (0..outputs).into_par_iter().with_min_len(16).for_each(|c| {
            // SAFETY: as above.
            unsafe { t.read_gradient(dy, outputs, c, range.clone(), isa, m_out.at(c * pitch), to) };
        });
        sums.par_chunks_exact_mut(outputs * inputs)
            .enumerate()
            .for_each(|(k, sum)| {
                let (a, b) = (&m[k * to..][..to], &v[k * from..][..from]);
                product::correlate(a, b, sum, [outputs, inputs, tiles, pitch], accumulate, isa);
            });
    });
}

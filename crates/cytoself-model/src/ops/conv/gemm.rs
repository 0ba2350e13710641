//! Convolution as a matrix product over patches: any kernel, stride and padding.

use super::im2col::{gather, scatter};
use crate::ops::batch_norm::Finish;
use crate::ops::buffer::{Shared, scratch};
use crate::ops::geometry::ConvGeometry;
use crate::ops::matrix::{View, multiply};
use rayon::prelude::*;
use std::ops::Range;

/// Patches held at a time, in values (1 MiB: stays in the second-level cache beside the weights' panel).
const PATCHES: usize = 1 << 18;

/// Tasks that a small batch is cut into, whatever the number of threads.
const TASKS: usize = 16;

/// Columns of patches that a product should have at least.
const COLUMNS: usize = 256;

/// Values of partial weight gradients held at a time.
const PARTIALS: usize = 1 << 24;

fn patch_length(g: &ConvGeometry) -> usize {
    g.in_channels * g.taps()
}

/// Output rows per block of patches.
fn rows_per_block(g: &ConvGeometry, patch: usize) -> usize {
    (PATCHES / (patch * g.out_width()).max(1)).clamp(1, g.out_height())
}

/// Output rows per task of the forward pass. It does not depend on the batch, so that an image's result does not either.
fn forward_rows(g: &ConvGeometry, patch: usize) -> usize {
    let enough = COLUMNS.div_ceil(g.out_width());
    rows_per_block(g, patch).min(g.out_height().div_ceil(TASKS).max(enough))
}

/// `y = finish(conv(x, w))`.
pub(crate) fn forward(
    x: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    finish: Option<&Finish<'_>>,
    y: &mut [f32],
) {
    let (patch, width, plane) = (patch_length(g), g.out_width(), g.out_plane());
    let rows = forward_rows(g, patch);
    let blocks = g.out_height().div_ceil(rows);
    let out = Shared::new(y);
    (0..g.batch * blocks).into_par_iter().for_each(|task| {
        let (image, first) = (task / blocks, task % blocks * rows);
        let last = (first + rows).min(g.out_height());
        let n = (last - first) * width;
        scratch(patch * n, |patches| {
            gather(
                &x[image * g.in_channels * g.in_plane()..],
                g,
                g.in_channels,
                first..last,
                patches,
                n,
            );
            let (a, b) = (
                View::row_major(w.as_ptr(), patch),
                View::row_major(patches.as_ptr(), n),
            );
            // SAFETY: the task writes rows first..last of its image's maps only; the shapes are those of the slices.
            unsafe {
                multiply(
                    [g.out_channels, n, patch],
                    out.at(image * g.out_channels * plane + first * width),
                    plane,
                    false,
                    a,
                    b,
                )
            };
        });
        let start = image * g.out_channels * plane + first * width;
        // SAFETY: as above.
        finish.inspect(|f| unsafe { f.apply(out, start, plane, 0..g.out_channels, n) });
    });
}

/// The gradient of the input, given that of the output.
pub(crate) fn input_gradient(dy: &[f32], w: &[f32], g: &ConvGeometry, dx: &mut [f32]) {
    let (taps, width, plane) = (g.taps(), g.out_width(), g.out_plane());
    // Small batches are cut over input channels too.
    let channels = g.in_channels.div_ceil(TASKS.div_ceil(g.batch));
    let groups = g.in_channels.div_ceil(channels);
    let rows = rows_per_block(g, channels * taps);
    let out = Shared::new(dx);
    (0..g.batch * groups).into_par_iter().for_each(|task| {
        let (image, first) = (task / groups, task % groups * channels);
        let count = channels.min(g.in_channels - first);
        // SAFETY: the task owns these channels of its image.
        let maps = unsafe {
            out.region(
                (image * g.in_channels + first) * g.in_plane(),
                count * g.in_plane(),
            )
        };
        maps.fill(0.0);
        scratch(count * taps * rows * width, |patches| {
            for top in (0..g.out_height()).step_by(rows) {
                let bottom = (top + rows).min(g.out_height());
                let n = (bottom - top) * width;
                let a = View::transposed(w[first * taps..].as_ptr(), patch_length(g));
                let b = View::row_major(
                    dy[image * g.out_channels * plane + top * width..].as_ptr(),
                    plane,
                );
                // SAFETY: `patches` belongs to this task; the shapes are those of the slices.
                unsafe {
                    multiply(
                        [count * taps, n, g.out_channels],
                        patches.as_mut_ptr(),
                        n,
                        false,
                        a,
                        b,
                    )
                };
                scatter(patches, n, g, count, top..bottom, maps);
            }
        });
    });
}

/// The gradient of the weights, given that of the output.
pub(crate) fn weight_gradient(x: &[f32], dy: &[f32], g: &ConvGeometry, dw: &mut [f32]) {
    let (patch, width, plane) = (patch_length(g), g.out_width(), g.out_plane());
    let rows = rows_per_block(g, patch);
    sum_over_images(g.batch, 1, dw, |images, first, partial| {
        let image = images.start;
        scratch(patch * rows * width, |patches| {
            for top in (0..g.out_height()).step_by(rows) {
                let bottom = (top + rows).min(g.out_height());
                let n = (bottom - top) * width;
                gather(
                    &x[image * g.in_channels * g.in_plane()..],
                    g,
                    g.in_channels,
                    top..bottom,
                    patches,
                    n,
                );
                let a = View::row_major(
                    dy[image * g.out_channels * plane + top * width..].as_ptr(),
                    plane,
                );
                let b = View::transposed(patches.as_ptr(), n);
                // SAFETY: `partial` belongs to this task; the shapes are those of the slices.
                unsafe {
                    multiply(
                        [g.out_channels, patch, n],
                        partial.as_mut_ptr(),
                        patch,
                        !(first && top == 0),
                        a,
                        b,
                    )
                };
            }
        });
    });
}

/// Sums over images with a fixed number of partial sums, added in order: `add(images, first, partial)` adds at most `together` images,
/// or overwrites the partial sum if they are its first.
pub(crate) fn sum_over_images(
    batch: usize,
    together: usize,
    total: &mut [f32],
    add: impl Fn(Range<usize>, bool, &mut [f32]) + Sync,
) {
    let length = total.len();
    let steps = batch.div_ceil(together);
    let parts = (PARTIALS / length.max(1)).clamp(2, TASKS).min(steps);
    let per_part = steps.div_ceil(parts) * together;
    let run = |part: usize, partial: &mut [f32]| {
        let last = ((part + 1) * per_part).min(batch);
        for first in (part * per_part..last).step_by(together) {
            let images = first..(first + together).min(last);
            add(images, first == part * per_part, partial);
        }
    };
    let parts = batch.div_ceil(per_part);
    scratch((parts - 1) * length, |others| {
        rayon::join(
            || run(0, total),
            || {
                others
                    .par_chunks_exact_mut(length)
                    .enumerate()
                    .for_each(|(index, partial)| run(index + 1, partial))
            },
        );
        total
            .par_chunks_mut(4096)
            .enumerate()
            .for_each(|(chunk, sums)| {
                for partial in others.chunks_exact(length) {
                    sums.iter_mut()
                        .zip(&partial[chunk * 4096..])
                        .for_each(|(s, p)| *s += p);
                }
            });
    });
}

//! Convolution of maps so small that a product of one image would spend its time on reading the weights: several images side by side in
//! one product.

use super::gemm::sum_over_images;
use super::im2col::{gather, scatter};
use crate::ops::batch_norm::Finish;
use crate::ops::buffer::{Shared, scratch};
use crate::ops::geometry::ConvGeometry;
use crate::ops::matrix::{View, multiply};
use rayon::prelude::*;
use std::ops::Range;

/// Columns of a product over all its images: few enough to leave tasks for other threads in a small batch.
const COLUMNS: usize = 64;

/// Terms of a sum in a product for the weights' gradient.
const TERMS: usize = 128;

/// Patches of a product at most, in values (2 MiB).
const PATCHES: usize = 1 << 19;

/// Whether two images or more go into a product.
pub(crate) fn pays(g: &ConvGeometry) -> bool {
    together(g, COLUMNS) > 1
}

/// Whether the weights' gradient of a 1x1 convolution gains more than the images cost that are laid side by side for it (measured: at
/// 4 x 4 pixels the backward pass is 1.3 to 1.8 times faster, at 7 x 7 no more).
pub(crate) fn pays_for_weights(g: &ConvGeometry) -> bool {
    together(g, TERMS) >= 8
}

/// Images per product of about `columns` columns. It does not depend on the batch.
fn together(g: &ConvGeometry, columns: usize) -> usize {
    let plane = g.out_plane().max(1);
    let patches = PATCHES / (g.in_channels * g.taps() * plane).max(1);
    columns.div_ceil(plane).min(patches).max(1)
}

/// A group of images as it goes into a product.
struct Group<'a> {
    g: &'a ConvGeometry,
    images: Range<usize>,
}

impl<'a> Group<'a> {
    fn all(g: &'a ConvGeometry, together: usize) -> impl IndexedParallelIterator<Item = Self> {
        let groups = g.batch.div_ceil(together);
        (0..groups).into_par_iter().map(move |group| Self {
            g,
            images: group * together..((group + 1) * together).min(g.batch),
        })
    }

    /// Columns of the product.
    fn columns(&self) -> usize {
        self.images.len() * self.g.out_plane()
    }

    /// Rows of the matrix of patches.
    fn patch(&self) -> usize {
        self.g.in_channels * self.g.taps()
    }

    /// Writes the patches of all images side by side, `[patch, columns]`.
    fn gather(&self, x: &[f32], patches: &mut [f32]) {
        let (g, stride) = (self.g, self.columns());
        for (place, image) in self.images.clone().enumerate() {
            let maps = &x[image * g.in_channels * g.in_plane()..];
            let first = place * g.out_plane();
            let rows = 0..g.out_height();
            gather(maps, g, g.in_channels, rows, &mut patches[first..], stride);
        }
    }

    /// Writes the output maps of all images side by side, `[out_channels, columns]`.
    fn gather_outputs(&self, y: &[f32], columns: &mut [f32]) {
        let (plane, stride) = (self.g.out_plane(), self.columns());
        for (place, image) in self.images.clone().enumerate() {
            let maps = y[image * self.g.out_channels * plane..].chunks_exact(plane);
            for (row, map) in columns.chunks_exact_mut(stride).zip(maps) {
                row[place * plane..][..plane].copy_from_slice(map);
            }
        }
    }
}

/// `y = finish(conv(x, w))`.
pub(crate) fn forward(
    x: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    finish: Option<&Finish<'_>>,
    y: &mut [f32],
) {
    let (plane, length) = (g.out_plane(), g.out_channels * g.out_plane());
    let out = Shared::new(y);
    Group::all(g, together(g, COLUMNS)).for_each(|group| {
        let (patch, n) = (group.patch(), group.columns());
        scratch(patch * n + g.out_channels * n, |memory| {
            let (patches, product) = memory.split_at_mut(patch * n);
            group.gather(x, patches);
            let (a, b) = (
                View::row_major(w.as_ptr(), patch),
                View::row_major(patches.as_ptr(), n),
            );
            // SAFETY: `product` belongs to this task; the shapes are those of the slices.
            unsafe {
                multiply(
                    [g.out_channels, n, patch],
                    product.as_mut_ptr(),
                    n,
                    false,
                    a,
                    b,
                )
            };
            for (place, image) in group.images.clone().enumerate() {
                // SAFETY: the task owns its images.
                let maps = unsafe { out.region(image * length, length) };
                for (map, row) in maps.chunks_exact_mut(plane).zip(product.chunks_exact(n)) {
                    map.copy_from_slice(&row[place * plane..][..plane]);
                }
                // SAFETY: as above.
                finish.inspect(|f| unsafe {
                    f.apply(out, image * length, plane, 0..g.out_channels, plane)
                });
            }
        });
    });
}

/// The gradient of the input, given that of the output.
pub(crate) fn input_gradient(dy: &[f32], w: &[f32], g: &ConvGeometry, dx: &mut [f32]) {
    let (plane, length) = (g.out_plane(), g.in_channels * g.in_plane());
    let out = Shared::new(dx);
    Group::all(g, together(g, COLUMNS)).for_each(|group| {
        let (patch, n) = (group.patch(), group.columns());
        scratch(patch * n + g.out_channels * n, |memory| {
            let (patches, outputs) = memory.split_at_mut(patch * n);
            group.gather_outputs(dy, outputs);
            let (a, b) = (
                View::transposed(w.as_ptr(), patch),
                View::row_major(outputs.as_ptr(), n),
            );
            // SAFETY: `patches` belongs to this task; the shapes are those of the slices.
            unsafe {
                multiply(
                    [patch, n, g.out_channels],
                    patches.as_mut_ptr(),
                    n,
                    false,
                    a,
                    b,
                )
            };
            for (place, image) in group.images.clone().enumerate() {
                // SAFETY: the task owns its images.
                let maps = unsafe { out.region(image * length, length) };
                maps.fill(0.0);
                scatter(
                    &patches[place * plane..],
                    n,
                    g,
                    g.in_channels,
                    0..g.out_height(),
                    maps,
                );
            }
        });
    });
}

/// The gradient of the weights, given that of the output.
pub(crate) fn weight_gradient(x: &[f32], dy: &[f32], g: &ConvGeometry, dw: &mut [f32]) {
    sum_over_images(g.batch, together(g, TERMS), dw, |images, first, partial| {
        let group = Group { g, images };
        let (patch, n) = (group.patch(), group.columns());
        scratch(patch * n + g.out_channels * n, |memory| {
            let (patches, outputs) = memory.split_at_mut(patch * n);
            group.gather(x, patches);
            group.gather_outputs(dy, outputs);
            let (a, b) = (
                View::row_major(outputs.as_ptr(), n),
                View::transposed(patches.as_ptr(), n),
            );
            // SAFETY: `partial` belongs to this task; the shapes are those of the slices.
            unsafe {
                multiply(
                    [g.out_channels, patch, n],
                    partial.as_mut_ptr(),
                    patch,
                    !first,
                    a,
                    b,
                )
            };
        });
    });
}

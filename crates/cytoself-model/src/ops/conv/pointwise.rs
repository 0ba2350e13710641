//! 1x1 convolution: one matrix product per image.

use super::gemm::sum_over_images;
use crate::ops::batch_norm::Finish;
use crate::ops::buffer::Shared;
use crate::ops::geometry::ConvGeometry;
use crate::ops::matrix::{View, multiply};
use rayon::prelude::*;

/// Values that a task computes, about: they stay in the second-level cache until they are finished.
const VALUES: usize = 1 << 16;

/// A task's columns are a multiple of this: whole tiles of the product's inner kernel with AVX2.
const COLUMNS: usize = 16;

/// `out[image] = a maps[image]` for every image, `a: [m, k]`.
fn product(
    a: View,
    [m, k]: [usize; 2],
    maps: &[f32],
    [batch, plane]: [usize; 2],
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let columns = plane.div_ceil((m * plane).div_ceil(VALUES).max(1));
    let columns = columns.next_multiple_of(COLUMNS).max(COLUMNS);
    let blocks = plane.div_ceil(columns);
    let out = Shared::new(out);
    let a = (a.data as usize, a.rows, a.columns); // an address, so that the closure may cross threads
    (0..batch * blocks).into_par_iter().for_each(|task| {
        let (image, first) = (task / blocks, task % blocks * columns);
        let n = columns.min(plane - first);
        let a = View {
            data: a.0 as *const f32,
            rows: a.1,
            columns: a.2,
        };
        let b = View::row_major(maps[image * k * plane + first..].as_ptr(), plane);
        // SAFETY: the task writes these columns of its image only; the shapes are those of the slices.
        unsafe {
            multiply(
                [m, n, k],
                out.at(image * m * plane + first),
                plane,
                false,
                a,
                b,
            )
        };
        let start = image * m * plane + first;
        // SAFETY: as above.
        finish.inspect(|f| unsafe { f.apply(out, start, plane, 0..m, n) });
    });
}

/// `y = finish(conv(x, w))`.
pub(crate) fn forward(
    x: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    finish: Option<&Finish<'_>>,
    y: &mut [f32],
) {
    let weights = View::row_major(w.as_ptr(), g.in_channels);
    product(
        weights,
        [g.out_channels, g.in_channels],
        x,
        [g.batch, g.in_plane()],
        finish,
        y,
    );
}

/// The gradient of the input.
pub(crate) fn input_gradient(dy: &[f32], w: &[f32], g: &ConvGeometry, dx: &mut [f32]) {
    let weights = View::transposed(w.as_ptr(), g.in_channels);
    product(
        weights,
        [g.in_channels, g.out_channels],
        dy,
        [g.batch, g.in_plane()],
        None,
        dx,
    );
}

/// The gradient of the weights.
pub(crate) fn weight_gradient(x: &[f32], dy: &[f32], g: &ConvGeometry, dw: &mut [f32]) {
    let plane = g.in_plane();
    sum_over_images(g.batch, 1, dw, |images, first, partial| {
        let image = images.start;
        let a = View::row_major(dy[image * g.out_channels * plane..].as_ptr(), plane);
        let b = View::transposed(x[image * g.in_channels * plane..].as_ptr(), plane);
        // SAFETY: `partial` belongs to this task; the shapes are those of the slices.
        unsafe {
            multiply(
                [g.out_channels, g.in_channels, plane],
                partial.as_mut_ptr(),
                g.in_channels,
                !first,
                a,
                b,
            )
        };
    });
}

//! Any kernel and stride, without vector code.

use crate::ops::geometry::ConvGeometry;
use rayon::prelude::*;

/// Calls `f(output index, input index, tap)` for every tap that falls inside the map.
fn for_each_tap(g: &ConvGeometry, mut f: impl FnMut(usize, usize, usize)) {
    let (ho, wo) = (g.out_height(), g.out_width());
    for tap in 0..g.taps() {
        let (kh, kw) = (tap / g.kernel[1], tap % g.kernel[1]);
        for i in 0..ho {
            let Some(y) = (i * g.stride + kh)
                .checked_sub(g.padding.top)
                .filter(|y| *y < g.height)
            else {
                continue;
            };
            for j in 0..wo {
                if let Some(x) = (j * g.stride + kw)
                    .checked_sub(g.padding.left)
                    .filter(|x| *x < g.width)
                {
                    f(i * wo + j, y * g.width + x, tap);
                }
            }
        }
    }
}

pub(super) fn forward(x: &[f32], w: &[f32], g: &ConvGeometry, y: &mut [f32]) {
    y.par_chunks_mut(g.out_plane())
        .zip(x.par_chunks(g.in_plane()))
        .enumerate()
        .for_each(|(plane, (y, x))| {
            let w = &w[plane % g.in_channels * g.taps()..][..g.taps()];
            y.fill(0.0);
            for_each_tap(g, |o, i, t| y[o] += w[t] * x[i]);
        });
}

pub(super) fn input_gradient(dy: &[f32], w: &[f32], g: &ConvGeometry, dx: &mut [f32]) {
    dx.par_chunks_mut(g.in_plane())
        .zip(dy.par_chunks(g.out_plane()))
        .enumerate()
        .for_each(|(plane, (dx, dy))| {
            let w = &w[plane % g.in_channels * g.taps()..][..g.taps()];
            dx.fill(0.0);
            for_each_tap(g, |o, i, t| dx[i] += w[t] * dy[o]);
        });
}

pub(super) fn weight_gradient(x: &[f32], dy: &[f32], g: &ConvGeometry, dw: &mut [f32]) {
    dw.par_chunks_mut(g.taps()).enumerate().for_each(|(c, dw)| {
        dw.fill(0.0);
        for plane in (0..g.batch).map(|n| n * g.in_channels + c) {
            let (x, dy) = (
                &x[plane * g.in_plane()..][..g.in_plane()],
                &dy[plane * g.out_plane()..][..g.out_plane()],
            );
            for_each_tap(g, |o, i, t| dw[t] += x[i] * dy[o]);
        }
    });
}

//! Patches of a map as columns of a matrix, and back.

use crate::ops::geometry::ConvGeometry;
use std::ops::Range;

/// The columns `out` of an output row whose tap `offset` falls inside an input row of `width`, `x = out * stride + offset - left`.
fn inside(g: &ConvGeometry, tap: usize) -> Range<usize> {
    let (s, left, width, out) = (g.stride, g.padding.left, g.width, g.out_width());
    let first = left.saturating_sub(tap).div_ceil(s).min(out);
    let last = if width + left > tap {
        (width + left - tap - 1) / s + 1
    } else {
        0
    };
    first..last.min(out).max(first)
}

/// The input row that tap row `kh` of output row `y` reads, if inside.
fn source_row(g: &ConvGeometry, y: usize, kh: usize) -> Option<usize> {
    (y * g.stride + kh)
        .checked_sub(g.padding.top)
        .filter(|row| *row < g.height)
}

/// Writes `columns[(channel, kh, kw), (y, x)]` for the output rows `rows` of the maps `x: [channels, h, w]`; a row of the matrix begins
/// `stride` values after the one before.
pub(crate) fn gather(
    x: &[f32],
    g: &ConvGeometry,
    channels: usize,
    rows: Range<usize>,
    columns: &mut [f32],
    stride: usize,
) {
    let ([kh_n, kw_n], width) = (g.kernel, g.out_width());
    let n = rows.len() * width;
    let matrix = columns.chunks_mut(stride).take(channels * kh_n * kw_n);
    for (index, row) in matrix.map(|row| &mut row[..n]).enumerate() {
        let (c, kh, kw) = (index / (kh_n * kw_n), index / kw_n % kh_n, index % kw_n);
        let map = &x[c * g.in_plane()..][..g.in_plane()];
        let valid = inside(g, kw);
        for (out, y) in row.chunks_exact_mut(width).zip(rows.clone()) {
            let Some(source) = source_row(g, y, kh) else {
                out.fill(0.0);
                continue;
            };
            out[..valid.start].fill(0.0);
            out[valid.end..].fill(0.0);
            if valid.is_empty() {
                continue;
            }
            let from = &map[source * g.width + valid.start * g.stride + kw - g.padding.left..];
            let out = &mut out[valid.clone()];
            match g.stride {
                1 => out.copy_from_slice(&from[..out.len()]),
                s => out
                    .iter_mut()
                    .zip(from.iter().step_by(s))
                    .for_each(|(o, v)| *o = *v),
            }
        }
    }
}

/// Adds `columns` of the output rows `rows` back onto the maps `x`: the adjoint of [`gather`].
pub(crate) fn scatter(
    columns: &[f32],
    stride: usize,
    g: &ConvGeometry,
    channels: usize,
    rows: Range<usize>,
    x: &mut [f32],
) {
    let ([kh_n, kw_n], width) = (g.kernel, g.out_width());
    let n = rows.len() * width;
    let matrix = columns.chunks(stride).take(channels * kh_n * kw_n);
    for (index, row) in matrix.map(|row| &row[..n]).enumerate() {
        let (c, kh, kw) = (index / (kh_n * kw_n), index / kw_n % kh_n, index % kw_n);
        let map = &mut x[c * g.in_plane()..][..g.in_plane()];
        let valid = inside(g, kw);
        if valid.is_empty() {
            continue;
        }
        for (values, y) in row.chunks_exact(width).zip(rows.clone()) {
            let Some(target) = source_row(g, y, kh) else {
                continue;
            };
            let to = &mut map[target * g.width + valid.start * g.stride + kw - g.padding.left..];
            let values = &values[valid.clone()];
            match g.stride {
                1 => to.iter_mut().zip(values).for_each(|(t, v)| *t += v),
                s => to
                    .iter_mut()
                    .step_by(s)
                    .zip(values)
                    .for_each(|(t, v)| *t += v),
            }
        }
    }
}

//! Sums over the taps of a kernel on maps of vectors.

use crate::ops::simd::{InstructionSet, Lanes, kernel};

/// Steps in f32 from row to row and from column to column.
pub(super) type Steps = [usize; 2];

/// One output block: `R` rows of `T` columns.
///
/// # Safety
/// As [`correlate`], for the block's outputs.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // the registers' matrix is clearer by index
unsafe fn block<L: Lanes, const R: usize, const T: usize>(
    taps: &[usize],
    x: *const f32,
    [xr, xc]: Steps,
    w: *const f32,
    y: *mut f32,
    [yr, yc]: Steps,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::zero(); T]; R];
        for (i, tap) in taps.iter().enumerate() {
            let (from, weight) = (x.add(*tap), L::load(w.add(i * L::N)));
            for r in 0..R {
                for t in 0..T {
                    sums[r][t] = L::fma(L::load(from.add(r * xr + t * xc)), weight, sums[r][t]);
                }
            }
        }
        for r in 0..R {
            for t in 0..T {
                L::store(y.add(r * yr + t * yc), sums[r][t]);
            }
        }
    }
}

kernel! {
    unsafe fn correlate_maps<L>(taps: &[usize], x: *const f32, xs: Steps, w: *const f32, y: *mut f32, ys: Steps, size: [usize; 2]) {
        let [rows, columns] = size;
        let (r, t) = match (rows, columns) {
            (_, 8..) => (1, 8),
            (2.., 4..) => (2, 4),
            _ => (1, 1),
        };
        // The last block of a row, and the last rows, overlap those before.
        let mut i = 0;
        while i < rows {
            let top = i.min(rows - r);
            let mut j = 0;
            while j < columns {
                let left = j.min(columns - t);
                let from = x.add(top * xs[0] + left * xs[1]);
                let to = y.add(top * ys[0] + left * ys[1]);
                match (r, t) {
                    (1, 8) => block::<L, 1, 8>(taps, from, xs, w, to, ys),
                    (2, 4) => block::<L, 2, 4>(taps, from, xs, w, to, ys),
                    _ => block::<L, 1, 1>(taps, from, xs, w, to, ys),
                }
                j += t;
            }
            i += r;
        }
    }
}

/// `y[i][j] = sum over t of w[t] x[taps[t] + i xs[0] + j xs[1]]` for `size` outputs, each a vector of channels.
///
/// # Panics
/// If an operand is too short.
pub(super) fn correlate(
    isa: InstructionSet,
    taps: &[usize],
    (x, xs): (&[f32], Steps),
    w: &[f32],
    (y, ys): (&mut [f32], Steps),
    size: [usize; 2],
) {
    let [rows, columns] = size;
    if rows == 0 || columns == 0 {
        return;
    }
    let lanes = isa.lanes();
    let last = |steps: Steps| (rows - 1) * steps[0] + (columns - 1) * steps[1] + lanes;
    let Some(farthest) = taps.iter().max() else {
        for i in 0..rows {
            for j in 0..columns {
                y[i * ys[0] + j * ys[1]..][..lanes].fill(0.0);
            }
        }
        return;
    };
    assert!(farthest + last(xs) <= x.len() && taps.len() * lanes <= w.len() && last(ys) <= y.len());
    // SAFETY: checked above: the farthest tap of the last output bounds the reads of x, `last(ys)` the writes of y.
    unsafe {
        correlate_maps(
            isa,
            taps,
            x.as_ptr(),
            xs,
            w.as_ptr(),
            y.as_mut_ptr(),
            ys,
            size,
        )
    };
}

/// Adds to the sums of `G` taps; `U` columns at a time, each with sums of its own, keep the multiply-adds apart.
///
/// # Safety
/// As [`tap_sums`], for `G` taps.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as above
unsafe fn group<L: Lanes, const G: usize, const U: usize>(
    taps: &[usize],
    x: *const f32,
    [xr, xc]: Steps,
    dy: *const f32,
    [rows, columns]: [usize; 2],
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut total = [[L::zero(); G]; U];
        for i in 0..rows {
            let (x, dy) = (x.add(i * xr), dy.add(i * columns * L::N));
            let mut j = 0;
            while j + U <= columns {
                for u in 0..U {
                    let g = L::load(dy.add((j + u) * L::N));
                    for t in 0..G {
                        let v = L::load(x.add(taps[t] + (j + u) * xc));
                        total[u][t] = L::fma(v, g, total[u][t]);
                    }
                }
                j += U;
            }
            while j < columns {
                let g = L::load(dy.add(j * L::N));
                for t in 0..G {
                    let v = L::load(x.add(taps[t] + j * xc));
                    total[0][t] = L::fma(v, g, total[0][t]);
                }
                j += 1;
            }
        }
        for t in 0..G {
            let mut sum = L::load(sums.add(t * L::N));
            for part in &total {
                sum = L::add(sum, part[t]);
            }
            L::store(sums.add(t * L::N), sum);
        }
    }
}

kernel! {
    unsafe fn tap_sums_of_maps<L>(taps: &[usize], x: *const f32, xs: Steps, dy: *const f32, size: [usize; 2], sums: *mut f32) {
        let mut done = 0;
        while done < taps.len() {
            let (left, sums) = (&taps[done..], sums.add(done * L::N));
            done += match left.len() {
                9 => { group::<L, 9, 1>(left, x, xs, dy, size, sums); 9 }
                5.. => { group::<L, 5, 2>(left, x, xs, dy, size, sums); 5 }
                _ => { group::<L, 1, 4>(left, x, xs, dy, size, sums); 1 }
            };
        }
    }
}

/// `sums[t] += sum over i, j of x[taps[t] + i xs[0] + j xs[1]] dy[i][j]`, vectors of channels.
///
/// # Panics
/// If an operand is too short.
pub(super) fn tap_sums(
    isa: InstructionSet,
    taps: &[usize],
    (x, xs): (&[f32], Steps),
    dy: &[f32],
    size: [usize; 2],
    sums: &mut [f32],
) {
    let [rows, columns] = size;
    if rows == 0 || columns == 0 {
        return;
    }
    let lanes = isa.lanes();
    let last = (rows - 1) * xs[0] + (columns - 1) * xs[1] + lanes;
    let reach = taps.iter().max().map_or(0, |tap| tap + last);
    assert!(
        reach <= x.len() && rows * columns * lanes <= dy.len() && taps.len() * lanes <= sums.len()
    );
    // SAFETY: checked above.
    unsafe {
        tap_sums_of_maps(
            isa,
            taps,
            x.as_ptr(),
            xs,
            dy.as_ptr(),
            size,
            sums.as_mut_ptr(),
        )
    };
}

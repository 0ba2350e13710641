//! Kernels 3x3 and 5x5 with stride 1 and 2 as long vector operations.
//!
//! A zero-padded map is split into its `stride^2` phases (for stride 2: even and odd rows and columns), all with one row pitch. In
//! this layout a tap is a constant shift of the whole map, so each is one multiply-add over contiguous memory, and the columns
//! computed beyond the map's edge are dropped when the result is copied out.

use crate::ops::buffer::{Shared, scratch};
use crate::ops::geometry::ConvGeometry;
use crate::ops::simd::{InstructionSet, N, kernel};
use rayon::prelude::*;

/// Maps per task.
const PLANES: usize = 16;

/// Values that a kernel handles per step; buffers are this much longer than their content.
const STEP: usize = 4 * N;

/// The layout of the phases of one map.
pub(super) struct Plan {
    k: usize,
    s: usize,
    channels: usize,
    planes: usize,
    /// Rows and columns of the input and of the output.
    input: [usize; 2],
    output: [usize; 2],
    /// Zeros above and to the left.
    pad: [usize; 2],
    /// Elements from row to row of a phase.
    pitch: usize,
    /// Rows of a phase.
    rows: usize,
    /// Elements from phase to phase.
    length: usize,
    /// Elements in front of a gradient so that shifts to the left stay inside.
    lead: usize,
}

impl Plan {
    /// A plan, if the shape has vector code.
    pub(super) fn new(g: &ConvGeometry) -> Option<Self> {
        let [k, l] = g.kernel;
        let served = k == l
            && matches!(k, 3 | 5)
            && matches!(g.stride, 1 | 2)
            && g.padding.top < k
            && g.padding.left < k;
        served.then(|| {
            Self::from_sizes(
                k,
                g.stride,
                g.in_channels,
                g.batch * g.in_channels,
                [g.height, g.width],
                [g.out_height(), g.out_width()],
                [g.padding.top, g.padding.left],
            )
        })
    }

    fn from_sizes(
        k: usize,
        s: usize,
        channels: usize,
        planes: usize,
        input: [usize; 2],
        output: [usize; 2],
        pad: [usize; 2],
    ) -> Self {
        let halo = (k - 1) / s;
        let (pitch, rows) = (output[1] + halo, output[0] + halo);
        let length = (rows * pitch + halo).next_multiple_of(N) + STEP + N;
        Self {
            k,
            s,
            channels,
            planes,
            input,
            output,
            pad,
            pitch,
            rows,
            length,
            lead: halo * pitch + halo,
        }
    }

    /// The plan whose forward pass is this one's input gradient (stride 1).
    fn adjoint(&self) -> Self {
        let pad = [self.k - 1 - self.pad[0], self.k - 1 - self.pad[1]];
        Self::from_sizes(
            self.k,
            1,
            self.channels,
            self.planes,
            self.output,
            self.input,
            pad,
        )
    }

    fn in_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn out_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Elements of all phases of a map.
    fn phases_length(&self) -> usize {
        self.s * self.s * self.length
    }

    /// Elements of the output with the phases' pitch.
    fn work(&self) -> usize {
        self.output[0] * self.pitch
    }

    /// Per input row and column phase: the position in the phases and the first input column (`None` if no output reads the row).
    fn row_runs(&self, y: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (s, yy) = (self.s, y + self.pad[0]);
        let row = yy / s;
        (0..s).filter_map(move |q| {
            let first = (q + s - self.pad[1] % s) % s; // the first column x with (x + left) % s == q
            let start = (first + self.pad[1]) / s;
            if row >= self.rows || first >= self.input[1] || start >= self.pitch {
                return None;
            }
            let count = (self.input[1] - first).div_ceil(s).min(self.pitch - start);
            Some((
                (yy % s * s + q) * self.length + row * self.pitch + start,
                first,
                count,
            ))
        })
    }

    /// Splits a map; everything outside it must be zero already.
    fn split(&self, x: &[f32], phases: &mut [f32]) {
        for (y, row) in x.chunks_exact(self.input[1]).enumerate() {
            for (at, first, count) in self.row_runs(y) {
                let to = &mut phases[at..at + count];
                match self.s {
                    1 => to.copy_from_slice(&row[first..first + count]),
                    s => to
                        .iter_mut()
                        .zip(row[first..].iter().step_by(s))
                        .for_each(|(t, v)| *t = *v),
                }
            }
        }
    }

    /// Collects a map from its phases; zero where no output reads.
    fn join(&self, phases: &[f32], x: &mut [f32]) {
        for (y, row) in x.chunks_exact_mut(self.input[1]).enumerate() {
            row.fill(0.0);
            for (at, first, count) in self.row_runs(y) {
                row[first..]
                    .iter_mut()
                    .step_by(self.s)
                    .zip(&phases[at..at + count])
                    .for_each(|(t, v)| *t = *v);
            }
        }
    }

    /// Copies an output map into `pitched` with the phases' pitch; the columns between must be zero already.
    fn spread(&self, y: &[f32], pitched: &mut [f32]) {
        for (row, to) in y
            .chunks_exact(self.output[1])
            .zip(pitched.chunks_mut(self.pitch))
        {
            to[..row.len()].copy_from_slice(row);
        }
    }
}

kernel! {
    /// `out[i] = sum over taps of w[tap] phases[shift(tap) + i]` for `i < n`, rounded up to whole steps.
    unsafe fn correlate<L>(k: usize, s: usize, phases: *const f32, w: *const f32, pitch: usize, length: usize, n: usize, out: *mut f32) {
        let mut i = 0;
        while i < n {
            let mut acc = [L::zero(); 4];
            for kh in 0..k {
                for kw in 0..k {
                    let from = phases.add((kh % s * s + kw % s) * length + kh / s * pitch + kw / s + i);
                    let w = L::splat(*w.add(kh * k + kw));
                    for (t, a) in acc.iter_mut().enumerate() {
                        *a = L::fma(L::load(from.add(t * N)), w, *a);
                    }
                }
            }
            for (t, a) in acc.iter().enumerate() {
                L::store(out.add(i + t * N), *a);
            }
            i += STEP;
        }
    }
}

kernel! {
    /// The adjoint of [`correlate`] for stride 2: `phases[p][i] = sum over the taps of phase p of w[tap] dy[i - shift(tap)]`.
    unsafe fn spread_taps<L>(k: usize, dy: *const f32, w: *const f32, pitch: usize, length: usize, n: usize, phases: *mut f32) {
        for p in 0..4 {
            let mut i = 0;
            while i < n {
                let mut acc = [L::zero(); 4];
                for kh in (p / 2..k).step_by(2) {
                    for kw in (p % 2..k).step_by(2) {
                        let from = dy.add(i).sub(kh / 2 * pitch + kw / 2);
                        let w = L::splat(*w.add(kh * k + kw));
                        for (t, a) in acc.iter_mut().enumerate() {
                            *a = L::fma(L::load(from.add(t * N)), w, *a);
                        }
                    }
                }
                for (t, a) in acc.iter().enumerate() {
                    L::store(phases.add(p * length + i + t * N), *a);
                }
                i += STEP;
            }
        }
    }
}

kernel! {
    /// `sums[tap] += sum over i < n of phases[shift(tap) + i] dy[i]`, with `dy` zero from `n` to the next whole vector.
    unsafe fn tap_sums<L>(k: usize, s: usize, phases: *const f32, dy: *const f32, pitch: usize, length: usize, n: usize, sums: *mut f32) {
        for kh in 0..k {
            let mut acc = [L::zero(); 5];
            let mut from = [phases; 5];
            for (kw, f) in from.iter_mut().enumerate().take(k) {
                *f = phases.add((kh % s * s + kw % s) * length + kh / s * pitch + kw / s);
            }
            let mut i = 0;
            if k == 3 {
                while i < n {
                    let g = L::load(dy.add(i));
                    for t in 0..3 {
                        acc[t] = L::fma(L::load(from[t].add(i)), g, acc[t]);
                    }
                    i += N;
                }
            } else {
                while i < n {
                    let g = L::load(dy.add(i));
                    for t in 0..5 {
                        acc[t] = L::fma(L::load(from[t].add(i)), g, acc[t]);
                    }
                    i += N;
                }
            }
            for (kw, a) in acc.iter().enumerate().take(k) {
                *sums.add(kh * k + kw) += L::sum(*a);
            }
        }
    }
}

/// `y = conv(x, w)`.
pub(super) fn forward(x: &[f32], w: &[f32], p: &Plan, isa: InstructionSet, y: &mut [f32]) {
    let (taps, step) = (p.k * p.k, p.out_plane() * PLANES);
    if step == 0 {
        return;
    }
    y.par_chunks_mut(step)
        .zip(x.par_chunks(p.in_plane() * PLANES))
        .enumerate()
        .for_each(|(task, (y, x))| {
            scratch(p.phases_length() + p.work() + STEP, |memory| {
                let (phases, pitched) = memory.split_at_mut(p.phases_length());
                phases.fill(0.0);
                for (i, (y, x)) in y
                    .chunks_exact_mut(p.out_plane())
                    .zip(x.chunks_exact(p.in_plane()))
                    .enumerate()
                {
                    p.split(x, phases);
                    let w = &w[(task * PLANES + i) % p.channels * taps..][..taps];
                    // SAFETY: `length` leaves room for the largest shift plus whole steps, `pitched` for whole steps.
                    unsafe {
                        correlate(
                            isa,
                            p.k,
                            p.s,
                            phases.as_ptr(),
                            w.as_ptr(),
                            p.pitch,
                            p.length,
                            p.work(),
                            pitched.as_mut_ptr(),
                        )
                    };
                    for (row, from) in y.chunks_exact_mut(p.output[1]).zip(pitched.chunks(p.pitch))
                    {
                        row.copy_from_slice(&from[..row.len()]);
                    }
                }
            });
        });
}

/// The gradient of the input.
pub(super) fn input_gradient(dy: &[f32], w: &[f32], p: &Plan, isa: InstructionSet, dx: &mut [f32]) {
    let taps = p.k * p.k;
    if p.s == 1 {
        let rotated: Vec<f32> = w
            .chunks_exact(taps)
            .flat_map(|w| w.iter().rev().copied())
            .collect();
        return forward(dy, &rotated, &p.adjoint(), isa, dx);
    }
    let step = p.in_plane() * PLANES;
    if step == 0 {
        return;
    }
    dx.par_chunks_mut(step)
        .zip(dy.par_chunks(p.out_plane() * PLANES))
        .enumerate()
        .for_each(|(task, (dx, dy))| {
            scratch(p.phases_length() + p.lead + p.length, |memory| {
                let (phases, pitched) = memory.split_at_mut(p.phases_length());
                pitched.fill(0.0);
                for (i, (dx, dy)) in dx
                    .chunks_exact_mut(p.in_plane())
                    .zip(dy.chunks_exact(p.out_plane()))
                    .enumerate()
                {
                    p.spread(dy, &mut pitched[p.lead..]);
                    let w = &w[(task * PLANES + i) % p.channels * taps..][..taps];
                    let from = pitched[p.lead..].as_ptr();
                    // SAFETY: `lead` values lie in front of `from` and `length` behind it; a phase takes whole steps.
                    unsafe {
                        spread_taps(
                            isa,
                            p.k,
                            from,
                            w.as_ptr(),
                            p.pitch,
                            p.length,
                            p.rows * p.pitch,
                            phases.as_mut_ptr(),
                        )
                    };
                    p.join(phases, dx);
                }
            });
        });
}

/// The gradient of the weights.
pub(super) fn weight_gradient(
    x: &[f32],
    dy: &[f32],
    p: &Plan,
    isa: InstructionSet,
    dw: &mut [f32],
) {
    let (taps, batch) = (p.k * p.k, p.planes / p.channels.max(1));
    let out = Shared::new(dw);
    (0..p.channels)
        .into_par_iter()
        .with_min_len(4)
        .for_each(|c| {
            // SAFETY: one task per channel.
            let sums = unsafe { out.region(c * taps, taps) };
            sums.fill(0.0);
            scratch(p.phases_length() + p.work() + N, |memory| {
                memory.fill(0.0);
                let (phases, pitched) = memory.split_at_mut(p.phases_length());
                for plane in (0..batch).map(|n| n * p.channels + c) {
                    p.split(&x[plane * p.in_plane()..][..p.in_plane()], phases);
                    p.spread(&dy[plane * p.out_plane()..][..p.out_plane()], pitched);
                    // SAFETY: `length` leaves room for the largest shift plus a whole vector, `pitched` for a whole vector of zeros.
                    unsafe {
                        tap_sums(
                            isa,
                            p.k,
                            p.s,
                            phases.as_ptr(),
                            pitched.as_ptr(),
                            p.pitch,
                            p.length,
                            p.work(),
                            sums.as_mut_ptr(),
                        )
                    };
                }
            });
        });
}

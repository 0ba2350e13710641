//! Depthwise convolution with channels side by side in a vector, eight or sixteen.
//!
//! Maps of as many neighbouring channels are interleaved into one zero-padded map of vectors. Every tap is then one multiply-add
//! of whole vectors wherever it falls, with any kernel, stride and map, and without a test for the edge; the transposition
//! costs less than a third of a 3x3 kernel.

use std::ops::Range;

use rayon::prelude::*;

use super::taps::{correlate, tap_sums};
use crate::ops::buffer::{Shared, scratch};
use crate::ops::geometry::ConvGeometry;
use crate::ops::interleave::{gather, places, scatter};
use crate::ops::simd::InstructionSet;

/// Multiply-adds of vectors that are worth a task.
const WORK: usize = 1 << 14;

/// Images whose gradients of the weights are summed by one task; part of the result's bits.
const IMAGES: usize = 8;

/// A map of vectors in a frame of zeros.
struct Frame {
    /// Where the pixels lie.
    places: Vec<usize>,
    /// Columns of the map.
    width: usize,
    /// Vectors from row to row.
    pitch: usize,
    /// f32 in all, and in a vector.
    length: usize,
    lanes: usize,
}

impl Frame {
    /// A map of `size` at `corner` in a frame of `outer` at least.
    fn new(size: [usize; 2], corner: [usize; 2], outer: [usize; 2], lanes: usize) -> Self {
        let rows = outer[0].max(corner[0] + size[0]);
        let pitch = outer[1].max(corner[1] + size[1]);
        Self {
            places: places(size, corner, pitch, lanes),
            width: size[1],
            pitch,
            length: rows * pitch * lanes,
            lanes,
        }
    }

    /// Of the input: outputs read it at `stride` steps from the corner.
    fn input(g: &ConvGeometry, lanes: usize) -> Self {
        let outer = |out: usize, k: usize| (out - 1) * g.stride + k;
        Self::new(
            [g.height, g.width],
            [g.padding.top, g.padding.left],
            [
                outer(g.out_height(), g.kernel[0]),
                outer(g.out_width(), g.kernel[1]),
            ],
            lanes,
        )
    }

    /// Writes the zeros around the map.
    fn clear(&self, memory: &mut [f32]) {
        let mut end = 0;
        for row in self.places.chunks_exact(self.width) {
            memory[end..row[0]].fill(0.0);
            end = row[self.width - 1] + self.lanes;
        }
        memory[end..self.length].fill(0.0);
    }

    /// Offsets of the taps of `input`'s frame.
    fn taps(&self, [kh, kw]: [usize; 2]) -> Vec<usize> {
        (0..kh * kw)
            .map(|tap| (tap / kw * self.pitch + tap % kw) * self.lanes)
            .collect()
    }
}

/// Inputs that the same taps reach: those with one remainder of row and column by the stride.
struct Phase {
    /// Offsets in the framed gradient, and the kernel's tap of each.
    offsets: Vec<usize>,
    kernel: Vec<usize>,
    /// Where the first such input lies in the map of vectors, and how many there are.
    first: usize,
    size: [usize; 2],
}

/// The phases of one axis: first input, inputs, taps with the row or column of the frame that the first input reads through each.
type Axis = Vec<(usize, usize, Vec<(usize, usize)>)>;

fn axis(length: usize, kernel: usize, stride: usize, padding: usize, lead: usize) -> Axis {
    (0..stride)
        .filter_map(|phase| {
            let first = (phase + stride - padding % stride) % stride;
            let count = length.checked_sub(first)?.div_ceil(stride);
            let at = lead + (first + padding) / stride;
            let taps = (phase..kernel)
                .step_by(stride)
                .map(|tap| (tap, at - tap / stride))
                .collect();
            (count > 0).then_some((first, count, taps))
        })
        .collect()
}

/// The frame of the output's gradient and the phases of the input's.
fn adjoint(g: &ConvGeometry, lanes: usize) -> (Frame, Vec<Phase>) {
    let (pad, s) = (&g.padding, g.stride);
    let lead = g.kernel.map(|k| (k - 1) / s);
    let outer = [
        lead[0] + (g.height - 1 + pad.top) / s + 1,
        lead[1] + (g.width - 1 + pad.left) / s + 1,
    ];
    let frame = Frame::new([g.out_height(), g.out_width()], lead, outer, lanes);
    let rows = axis(g.height, g.kernel[0], s, pad.top, lead[0]);
    let columns = axis(g.width, g.kernel[1], s, pad.left, lead[1]);
    let mut phases = Vec::new();
    for (y, height, row_taps) in &rows {
        for (x, width, column_taps) in &columns {
            let taps = row_taps
                .iter()
                .flat_map(|r| column_taps.iter().map(move |c| (r, c)));
            let (offsets, kernel) = taps
                .map(|((kh, row), (kw, column))| {
                    ((row * frame.pitch + column) * lanes, kh * g.kernel[1] + kw)
                })
                .unzip();
            phases.push(Phase {
                offsets,
                kernel,
                first: (y * g.width + x) * lanes,
                size: [*height, *width],
            });
        }
    }
    (frame, phases)
}

/// The weights of `channels` channels from `channel` on, of `all` taps each: those of `taps` as vectors.
fn interleave_weights(
    w: &[f32],
    channel: usize,
    channels: usize,
    taps: &[usize],
    all: usize,
    lanes: usize,
    to: &mut [f32],
) {
    to.fill(0.0);
    let kernels = w[channel * all..][..channels * all].chunks_exact(all);
    for (lane, kernel) in kernels.enumerate() {
        for (v, tap) in to.chunks_exact_mut(lanes).zip(taps) {
            v[lane] = kernel[*tap];
        }
    }
}

/// Calls `f` for every group of `lanes` channels and some images at a time: first channel, channels, images.
fn for_each_group(
    g: &ConvGeometry,
    lanes: usize,
    work: usize,
    f: impl Fn(usize, usize, Range<usize>) + Send + Sync,
) {
    let groups = g.in_channels.div_ceil(lanes);
    let images = (WORK / work.max(1)).clamp(1, g.batch.max(1));
    let parts = g.batch.div_ceil(images);
    (0..groups * parts).into_par_iter().for_each(|task| {
        let (channel, first) = (task / parts * lanes, task % parts * images);
        let channels = lanes.min(g.in_channels - channel);
        f(channel, channels, first..g.batch.min(first + images));
    });
}

/// `y = conv(x, w)`.
pub(super) fn forward(x: &[f32], w: &[f32], g: &ConvGeometry, isa: InstructionSet, y: &mut [f32]) {
    let lanes = isa.lanes();
    let (frame, all, pixels) = (Frame::input(g, lanes), g.taps(), g.out_plane());
    let (taps, order): (_, Vec<usize>) = (frame.taps(g.kernel), (0..all).collect());
    let (xs, ys) = (
        [g.stride * frame.pitch * lanes, g.stride * lanes],
        [g.out_width() * lanes, lanes],
    );
    let out = Shared::new(y);
    let size = [g.out_height(), g.out_width()];
    for_each_group(g, lanes, pixels * all, |channel, channels, images| {
        scratch(frame.length + (pixels + all) * lanes, |memory| {
            let (framed, rest) = memory.split_at_mut(frame.length);
            let (result, weights) = rest.split_at_mut(pixels * lanes);
            interleave_weights(w, channel, channels, &order, all, lanes, weights);
            frame.clear(framed);
            for plane in images.map(|image| image * g.in_channels + channel) {
                let x = &x[plane * g.in_plane()..][..channels * g.in_plane()];
                gather(isa, x, &frame.places, framed);
                correlate(isa, &taps, (framed, xs), weights, (result, ys), size);
                // SAFETY: every task has planes of its own.
                let y = unsafe { out.region(plane * pixels, channels * pixels) };
                scatter(isa, result, pixels, y);
            }
        });
    });
}

/// The gradient of the input.
pub(super) fn input_gradient(
    dy: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    isa: InstructionSet,
    dx: &mut [f32],
) {
    let lanes = isa.lanes();
    let (frame, phases) = adjoint(g, lanes);
    let (all, pixels) = (g.taps(), g.in_plane());
    let (from, to) = (
        [frame.pitch * lanes, lanes],
        [g.stride * g.width * lanes, g.stride * lanes],
    );
    let out = Shared::new(dx);
    let held: Vec<usize> = phases.iter().flat_map(|p| p.kernel.clone()).collect();
    for_each_group(
        g,
        lanes,
        g.out_plane() * all,
        |channel, channels, images| {
            scratch(frame.length + (pixels + held.len()) * lanes, |memory| {
                let (framed, rest) = memory.split_at_mut(frame.length);
                let (result, weights) = rest.split_at_mut(pixels * lanes);
                interleave_weights(w, channel, channels, &held, all, lanes, weights);
                frame.clear(framed);
                for plane in images.map(|image| image * g.in_channels + channel) {
                    let dy = &dy[plane * g.out_plane()..][..channels * g.out_plane()];
                    gather(isa, dy, &frame.places, framed);
                    let (mut weights, dy) = (&*weights, (&*framed, from));
                    for phase in &phases {
                        let (own, others) = weights.split_at(phase.kernel.len() * lanes);
                        let dx = (&mut result[phase.first..], to);
                        correlate(isa, &phase.offsets, dy, own, dx, phase.size);
                        weights = others;
                    }
                    // SAFETY: every task has planes of its own.
                    let dx = unsafe { out.region(plane * pixels, channels * pixels) };
                    scatter(isa, result, pixels, dx);
                }
            });
        },
    );
}

/// The gradient of the weights.
pub(super) fn weight_gradient(
    x: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    isa: InstructionSet,
    dw: &mut [f32],
) {
    let lanes = isa.lanes();
    let (frame, all, pixels) = (Frame::input(g, lanes), g.taps(), g.out_plane());
    let (groups, parts) = (g.in_channels.div_ceil(lanes), g.batch.div_ceil(IMAGES));
    let (taps, xs) = (
        frame.taps(g.kernel),
        [g.stride * frame.pitch * lanes, g.stride * lanes],
    );
    let size = [g.out_height(), g.out_width()];
    let dense = places(size, [0, 0], size[1], lanes);
    let mut sums = vec![0.0; groups * parts * all * lanes];
    sums.par_chunks_exact_mut(all * lanes)
        .with_min_len((WORK / (pixels * all * IMAGES)).max(1))
        .enumerate()
        .for_each(|(task, sums)| {
            let (channel, first) = (task / parts * lanes, task % parts * IMAGES);
            let channels = lanes.min(g.in_channels - channel);
            scratch(frame.length + pixels * lanes, |memory| {
                let (framed, gradient) = memory.split_at_mut(frame.length);
                frame.clear(framed);
                for image in first..g.batch.min(first + IMAGES) {
                    let plane = image * g.in_channels + channel;
                    let x = &x[plane * g.in_plane()..][..channels * g.in_plane()];
                    let dy = &dy[plane * pixels..][..channels * pixels];
                    gather(isa, x, &frame.places, framed);
                    gather(isa, dy, &dense, gradient);
                    tap_sums(isa, &taps, (framed, xs), gradient, size, sums);
                }
            });
        });
    for (c, dw) in dw.chunks_exact_mut(all).enumerate() {
        dw.fill(0.0);
        for part in sums[c / lanes * parts * all * lanes..]
            .chunks_exact(all * lanes)
            .take(parts)
        {
            for (to, v) in dw.iter_mut().zip(part.chunks_exact(lanes)) {
                *to += v[c % lanes];
            }
        }
    }
}

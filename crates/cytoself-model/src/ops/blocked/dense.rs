//! Dense convolutions.

use super::{Layout, tiles};
use crate::ops::batch_norm::{Activation, FixedNorm};
use crate::ops::simd::math::silu;
use crate::ops::simd::{InstructionSet, Lanes, kernel};

/// Pixels whose outputs are summed together; with two vectors of outputs they fill the sixteen registers of AVX2.
const PIXELS: usize = 6;

/// Pixels if the outputs are three vectors.
const PIXELS_OF_THREE: usize = 4;

/// Inputs that stay in the second-level cache while the weights pass over them, in values.
const INPUTS: usize = 1 << 16;

/// Inputs of one tap and one block of channels.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// From the place where a pixel begins to read, in values.
    at: usize,
    channels: usize,
}

/// A convolution with its normalisation and activation, for maps of one size.
pub(crate) struct Dense {
    isa: InstructionSet,
    runs: Vec<Run>,
    /// Vectors of outputs that are computed together.
    panels: Vec<usize>,
    /// Per panel, run and channel its vectors of outputs.
    weights: Vec<f32>,
    offsets: Vec<f32>,
    silu: bool,
    tiles: Vec<(u32, u32)>,
    reads: Vec<u32>,
    writes: Vec<u32>,
    /// Values of an image of the input, of a block and of an image of the output.
    input: usize,
    output_block: usize,
    output: usize,
    /// Tiles whose inputs stay in the cache.
    together: usize,
}

/// Two vectors of outputs at a time, three where their number is odd.
fn panels(blocks: usize) -> Vec<usize> {
    let mut panels = vec![2; blocks / 2];
    if !blocks.is_multiple_of(2) {
        panels.pop();
        panels.push(if blocks == 1 { 1 } else { 3 });
    }
    panels
}

impl Dense {
    /// The convolution with `w: [outputs, inputs, k, k]` and `stride`, its result normalised by `norm`.
    ///
    /// # Panics
    /// If weights, normalisation and layouts do not fit each other.
    pub(crate) fn new(
        w: &[f32],
        norm: &FixedNorm,
        [kernel, stride]: [usize; 2],
        from: &Layout,
        to: &Layout,
    ) -> Self {
        let (isa, lanes) = (to.isa, to.isa.lanes());
        let (inputs, outputs, all) = (from.channels, to.channels, kernel * kernel);
        assert!(
            w.len() == outputs * inputs * all && norm.lines().len() == outputs && to.step == lanes,
            "a convolution's weights, normalisation and maps"
        );
        let taps = from.grid.taps([kernel, kernel], from.step);
        let each = |block: usize| {
            taps.iter()
                .enumerate()
                .map(move |(tap, at)| (block, tap, *at))
        };
        let order: Vec<(usize, usize, usize)> = (0..from.blocks()).flat_map(each).collect();
        let runs: Vec<Run> = order
            .iter()
            .map(|(block, _, at)| Run {
                at: block * from.block() + at,
                channels: from.step.min(inputs - block * from.step),
            })
            .collect();
        let panels = panels(to.blocks());
        let mut weights = Vec::with_capacity(all * inputs * to.blocks() * lanes);
        let mut first = 0;
        for vectors in &panels {
            for ((block, tap, _), run) in order.iter().zip(&runs) {
                for input in block * from.step..block * from.step + run.channels {
                    for output in first..first + vectors * lanes {
                        let weight = norm.lines().get(output).map_or(0.0, |(scale, _)| {
                            scale * w[(output * inputs + input) * all + tap]
                        });
                        weights.push(weight);
                    }
                }
            }
            first += vectors * lanes;
        }
        let mut offsets: Vec<f32> = norm.lines().iter().map(|(_, offset)| *offset).collect();
        offsets.resize(to.blocks() * lanes, 0.0);
        let reads = from.grid.reads(to.grid.size, stride, from.step);
        let writes: Vec<u32> = to.places().iter().map(|p| *p as u32).collect();
        let reach = runs.iter().map(|r| r.at + r.channels).max().unwrap_or(0);
        let last = reads.iter().max().map_or(0, |r| *r as usize);
        assert!(
            last + reach <= from.image() && reads.len() == writes.len(),
            "a convolution that stays in its frame"
        );
        let together = (INPUTS / (PIXELS * inputs)).max(1);
        Self {
            isa,
            runs,
            panels,
            weights,
            offsets,
            silu: norm.activation() == Activation::Silu,
            tiles: tiles(writes.len(), PIXELS),
            reads,
            writes,
            input: from.image(),
            output_block: to.block(),
            output: to.image(),
            together,
        }
    }

    /// `y = act(conv(x) + residual)` for as many images as there are in `y`; `residual` lies as `y`.
    ///
    /// # Panics
    /// If a slice has another number of images.
    pub(crate) fn run(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) {
        let images = y.len() / self.output;
        assert!(
            y.len() == images * self.output
                && x.len() == images * self.input
                && residual.is_none_or(|r| r.len() == y.len()),
            "images of a convolution"
        );
        let residual = residual.map_or(std::ptr::null(), <[f32]>::as_ptr);
        // SAFETY: `new` checked that every read lies in its image, writes are pixels of the output, and this function checked how many images
        // there are.
        unsafe { convolve(self.isa, self, x.as_ptr(), residual, y.as_mut_ptr(), images) };
    }
}

/// The outputs of `P` pixels from `first` on, `V` vectors each from block `block` on.
///
/// # Safety
/// As [`convolve`]; `w` is the panel of this block and the pixels exist.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // the registers' matrix is clearer by index
#[allow(clippy::too_many_arguments)] // as the kernels
unsafe fn tile<L: Lanes, const V: usize, const P: usize>(
    c: &Dense,
    mut w: *const f32,
    x: *const f32,
    first: usize,
    block: usize,
    residual: *const f32,
    y: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut at = [0; P];
        let mut sums = [[L::zero(); V]; P];
        for v in 0..V {
            let offset = L::load(c.offsets.as_ptr().add((block + v) * L::N));
            for p in 0..P {
                sums[p][v] = offset;
            }
        }
        for p in 0..P {
            at[p] = *c.reads.get_unchecked(first + p) as usize;
        }
        for run in &c.runs {
            let mut from = x.add(run.at);
            for _ in 0..run.channels {
                let mut weights = [L::zero(); V];
                for v in 0..V {
                    weights[v] = L::load(w.add(v * L::N));
                }
                for p in 0..P {
                    let value = L::splat(*from.add(at[p]));
                    for v in 0..V {
                        sums[p][v] = L::fma(value, weights[v], sums[p][v]);
                    }
                }
                w = w.add(V * L::N);
                from = from.add(1);
            }
        }
        for p in 0..P {
            let to = block * c.output_block + *c.writes.get_unchecked(first + p) as usize;
            let mut values = sums[p];
            if !residual.is_null() {
                for v in 0..V {
                    let other = L::load(residual.add(to + v * c.output_block));
                    values[v] = L::add(values[v], other);
                }
            }
            if c.silu {
                values = silu::<L, V>(values);
            }
            for v in 0..V {
                L::store(y.add(to + v * c.output_block), values[v]);
            }
        }
    }
}

kernel! {
    /// All outputs of `images` images.
    unsafe fn convolve<L>(c: &Dense, x: *const f32, residual: *const f32, y: *mut f32, images: usize) {
        let all = images * c.tiles.len();
        let depth: usize = c.runs.iter().map(|r| r.channels).sum();
        let mut start = 0;
        while start < all {
            let end = (start + c.together).min(all);
            let (mut w, mut block) = (c.weights.as_ptr(), 0);
            for vectors in &c.panels {
                let (mut image, mut index) = (start / c.tiles.len(), start % c.tiles.len());
                for _ in start..end {
                    let (first, pixels) = c.tiles[index];
                    let (mut first, mut left) = (first as usize, pixels as usize);
                    let (x, y) = (x.add(image * c.input), y.add(image * c.output));
                    let residual = if residual.is_null() { residual } else { residual.add(image * c.output) };
                    while left > 0 {
                        let p = if *vectors == 3 && left > PIXELS_OF_THREE { left.div_ceil(2) } else { left };
                        match (vectors, p) {
                            (1, 1) => tile::<L, 1, 1>(c, w, x, first, block, residual, y),
                            (1, 2) => tile::<L, 1, 2>(c, w, x, first, block, residual, y),
                            (1, 3) => tile::<L, 1, 3>(c, w, x, first, block, residual, y),
                            (1, 4) => tile::<L, 1, 4>(c, w, x, first, block, residual, y),
                            (1, 5) => tile::<L, 1, 5>(c, w, x, first, block, residual, y),
                            (1, _) => tile::<L, 1, PIXELS>(c, w, x, first, block, residual, y),
                            (2, 1) => tile::<L, 2, 1>(c, w, x, first, block, residual, y),
                            (2, 2) => tile::<L, 2, 2>(c, w, x, first, block, residual, y),
                            (2, 3) => tile::<L, 2, 3>(c, w, x, first, block, residual, y),
                            (2, 4) => tile::<L, 2, 4>(c, w, x, first, block, residual, y),
                            (2, 5) => tile::<L, 2, 5>(c, w, x, first, block, residual, y),
                            (2, _) => tile::<L, 2, PIXELS>(c, w, x, first, block, residual, y),
                            (_, 1) => tile::<L, 3, 1>(c, w, x, first, block, residual, y),
                            (_, 2) => tile::<L, 3, 2>(c, w, x, first, block, residual, y),
                            (_, 3) => tile::<L, 3, 3>(c, w, x, first, block, residual, y),
                            _ => tile::<L, 3, PIXELS_OF_THREE>(c, w, x, first, block, residual, y),
                        }
                        first += p;
                        left -= p;
                    }
                    index += 1;
                    if index == c.tiles.len() {
                        (image, index) = (image + 1, 0);
                    }
                }
                w = w.add(depth * vectors * L::N);
                block += vectors;
            }
            start = end;
        }
    }
}

//! Depthwise convolutions, with the sums that squeeze and excitation needs.

use super::{Layout, tiles};
use crate::ops::batch_norm::{Activation, FixedNorm};
use crate::ops::simd::math::silu;
use crate::ops::simd::{InstructionSet, Lanes, kernel};

/// Pixels that are computed together.
const PIXELS: usize = 8;

/// Tiles whose sums are added up before they are added to those of the map.
const TILES: usize = 16;

/// A depthwise convolution with its normalisation and activation, for maps of one size.
pub(crate) struct Filter {
    isa: InstructionSet,
    blocks: usize,
    taps: Vec<usize>,
    /// Per block and tap a vector.
    weights: Vec<f32>,
    offsets: Vec<f32>,
    silu: bool,
    tiles: Vec<(u32, u32)>,
    reads: Vec<u32>,
    input_block: usize,
    output_block: usize,
}

impl Filter {
    /// The convolution with `w: [channels, 1, k, k]` and `stride` into a dense map, its result normalised by `norm`.
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
        let (lanes, all, channels) = (to.isa.lanes(), kernel * kernel, to.channels);
        assert!(
            w.len() == channels * all
                && norm.lines().len() == channels
                && from.channels == channels
                && [from.step, to.step] == [lanes; 2]
                && to.grid.outer == to.grid.size,
            "a depthwise convolution's weights, normalisation and maps"
        );
        let mut weights = vec![0.0; to.blocks() * all * lanes];
        let mut offsets = vec![0.0; to.blocks() * lanes];
        for (channel, (scale, offset)) in norm.lines().iter().enumerate() {
            offsets[channel] = *offset;
            for tap in 0..all {
                let at = (channel / lanes * all + tap) * lanes + channel % lanes;
                weights[at] = scale * w[channel * all + tap];
            }
        }
        let taps = from.grid.taps([kernel, kernel], lanes);
        let reads = from.grid.reads(to.grid.size, stride, lanes);
        let farthest = taps.iter().max().map_or(0, |tap| tap + lanes);
        let last = reads.iter().max().map_or(0, |r| *r as usize);
        assert!(
            last + farthest <= from.block(),
            "a convolution that stays in its frame"
        );
        Self {
            isa: to.isa,
            blocks: to.blocks(),
            taps,
            weights,
            offsets,
            silu: norm.activation() == Activation::Silu,
            tiles: tiles(reads.len(), PIXELS),
            reads,
            input_block: from.block(),
            output_block: to.block(),
        }
    }

    /// `y = act(conv(x))` of one image, and the sum of every map of `y`.
    ///
    /// # Panics
    /// If a slice has another length.
    pub(crate) fn run(&self, x: &[f32], y: &mut [f32], sums: &mut [f32]) {
        assert!(
            x.len() == self.blocks * self.input_block
                && y.len() == self.blocks * self.output_block
                && sums.len() == self.offsets.len(),
            "an image of a depthwise convolution"
        );
        // SAFETY: `new` checked that every read lies in its block, and this function the lengths.
        unsafe {
            filter(
                self.isa,
                self,
                x.as_ptr(),
                y.as_mut_ptr(),
                sums.as_mut_ptr(),
            )
        };
    }
}

/// `P` pixels from `first` on of one block, and their sum.
///
/// # Safety
/// As [`filter`]; the pixels exist.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // the registers are clearer by index
unsafe fn tile<L: Lanes, const P: usize>(
    c: &Filter,
    mut w: *const f32,
    offset: L::V,
    x: *const f32,
    first: usize,
    y: *mut f32,
) -> L::V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut at = [0; P];
        for p in 0..P {
            at[p] = *c.reads.get_unchecked(first + p) as usize;
        }
        let mut sums = [offset; P];
        for tap in &c.taps {
            let (from, weight) = (x.add(*tap), L::load(w));
            for p in 0..P {
                sums[p] = L::fma(L::load(from.add(at[p])), weight, sums[p]);
            }
            w = w.add(L::N);
        }
        let mut total = L::zero();
        for p in 0..P {
            let mut value = [sums[p]];
            if c.silu {
                value = silu::<L, 1>(value);
            }
            L::store(y.add((first + p) * L::N), value[0]);
            total = L::add(total, value[0]);
        }
        total
    }
}

kernel! {
    /// All outputs of an image.
    unsafe fn filter<L>(c: &Filter, x: *const f32, y: *mut f32, sums: *mut f32) {
        for block in 0..c.blocks {
            let w = c.weights.as_ptr().add(block * c.taps.len() * L::N);
            let offset = L::load(c.offsets.as_ptr().add(block * L::N));
            let (x, y) = (x.add(block * c.input_block), y.add(block * c.output_block));
            let mut sum = L::zero();
            for tiles in c.tiles.chunks(TILES) {
                let mut part = L::zero();
                for (first, pixels) in tiles {
                    let first = *first as usize;
                    part = L::add(part, match pixels {
                        1 => tile::<L, 1>(c, w, offset, x, first, y),
                        2 => tile::<L, 2>(c, w, offset, x, first, y),
                        3 => tile::<L, 3>(c, w, offset, x, first, y),
                        4 => tile::<L, 4>(c, w, offset, x, first, y),
                        5 => tile::<L, 5>(c, w, offset, x, first, y),
                        6 => tile::<L, 6>(c, w, offset, x, first, y),
                        7 => tile::<L, 7>(c, w, offset, x, first, y),
                        _ => tile::<L, PIXELS>(c, w, offset, x, first, y),
                    });
                }
                sum = L::add(sum, part);
            }
            L::store(sums.add(block * L::N), sum);
        }
    }
}

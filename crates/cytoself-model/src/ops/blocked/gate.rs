//! Squeeze and excitation.

use super::Layout;
use crate::ops::simd::math::{sigmoid, silu};
use crate::ops::simd::{InstructionSet, MOST, kernel};

/// Rows of the first layer, and blocks of the second, that are summed side by side.
const TOGETHER: usize = 4;

/// The gate of a block, for maps of one size.
pub(crate) struct Gate {
    isa: InstructionSet,
    blocks: usize,
    pixels: usize,
    /// Hidden units, and as they are held: whole vectors and groups of rows.
    hidden: usize,
    rows: usize,
    /// `[rows, blocks * lanes]`, divided by the pixels, and `[rows]`.
    w1: Vec<f32>,
    b1: Vec<f32>,
    /// `[blocks, hidden, lanes]` and `[blocks * lanes]`.
    w2: Vec<f32>,
    b2: Vec<f32>,
}

impl Gate {
    /// The gate `sigmoid(w2 silu(w1 mean + b1) + b2)` with `w1: [hidden, channels]`, `w2: [channels, hidden]`.
    ///
    /// # Panics
    /// If the weights do not fit the map.
    pub(crate) fn new([w1, b1, w2, b2]: [&[f32]; 4], map: &Layout) -> Self {
        let (lanes, channels, hidden) = (map.isa.lanes(), map.channels, b1.len());
        assert!(
            w1.len() == hidden * channels
                && w2.len() == hidden * channels
                && b2.len() == channels
                && map.step == lanes
                && map.grid.outer == map.grid.size,
            "a gate's weights and map"
        );
        let (width, rows) = (map.blocks() * lanes, hidden.next_multiple_of(MOST));
        let mut first = vec![0.0; rows * width];
        let mut second = vec![0.0; width * hidden];
        for unit in 0..hidden {
            for channel in 0..channels {
                let mean = w1[unit * channels + channel] / map.grid.pixels() as f32;
                first[unit * width + channel] = mean;
                let at = (channel / lanes * hidden + unit) * lanes + channel % lanes;
                second[at] = w2[channel * hidden + unit];
            }
        }
        let padded = |values: &[f32], length: usize| {
            let mut values = values.to_vec();
            values.resize(length, 0.0);
            values
        };
        Self {
            isa: map.isa,
            blocks: map.blocks(),
            pixels: map.grid.pixels(),
            hidden,
            rows,
            w1: first,
            b1: padded(b1, rows),
            w2: second,
            b2: padded(b2, width),
        }
    }

    /// Values of working memory.
    pub(crate) fn memory(&self) -> usize {
        self.rows
    }

    /// Multiplies the maps `y` of one image, whose sums are `sums`, by their gates.
    ///
    /// # Panics
    /// If a slice is too short.
    pub(crate) fn run(&self, sums: &[f32], memory: &mut [f32], y: &mut [f32]) {
        assert!(
            sums.len() == self.b2.len()
                && memory.len() >= self.rows
                && y.len() == self.b2.len() * self.pixels,
            "an image of a gate"
        );
        // SAFETY: the lengths were checked.
        unsafe {
            scale_by_gate(
                self.isa,
                self,
                sums.as_ptr(),
                memory.as_mut_ptr(),
                y.as_mut_ptr(),
            )
        };
    }
}

kernel! {
    /// One image.
    unsafe fn scale_by_gate<L>(c: &Gate, sums: *const f32, hidden: *mut f32, y: *mut f32) {
        let width = c.blocks * L::N;
        let mut row = 0;
        while row < c.rows {
            let mut acc = [L::zero(); TOGETHER];
            for block in 0..c.blocks {
                let sum = L::load(sums.add(block * L::N));
                for r in 0..TOGETHER {
                    let w = L::load(c.w1.as_ptr().add((row + r) * width + block * L::N));
                    acc[r] = L::fma(sum, w, acc[r]);
                }
            }
            for r in 0..TOGETHER {
                *hidden.add(row + r) = L::sum(acc[r]) + c.b1[row + r];
            }
            row += TOGETHER;
        }
        let mut row = 0;
        while row < c.rows {
            let [active] = silu::<L, 1>([L::load(hidden.add(row))]);
            L::store(hidden.add(row), active);
            row += L::N;
        }
        let mut block = 0;
        while block < c.blocks {
            let together = TOGETHER.min(c.blocks - block);
            let mut acc = [L::zero(); TOGETHER];
            for t in 0..together {
                acc[t] = L::load(c.b2.as_ptr().add((block + t) * L::N));
            }
            for unit in 0..c.hidden {
                let value = L::splat(*hidden.add(unit));
                for t in 0..together {
                    let w = L::load(c.w2.as_ptr().add(((block + t) * c.hidden + unit) * L::N));
                    acc[t] = L::fma(value, w, acc[t]);
                }
            }
            for t in 0..together {
                let (gate, y) = (sigmoid::<L>(acc[t]), y.add((block + t) * c.pixels * L::N));
                for pixel in 0..c.pixels {
                    let at = y.add(pixel * L::N);
                    L::store(at, L::mul(L::load(at), gate));
                }
            }
            block += together;
        }
    }
}

//! How maps are cut into tiles.

use super::transform;
use crate::ops::buffer::{Shared, scratch};
use crate::ops::geometry::ConvGeometry;
use crate::ops::simd::{InstructionSet, MOST};
use std::ops::Range;

/// The tiles of a convolution: `rows x columns` per image, 4x4 outputs each; tile rows count on over the images.
pub(super) struct Tiling {
    batch: usize,
    input: [usize; 2],
    output: [usize; 2],
    /// Zeros above and to the left of the input.
    pad: [usize; 2],
    rows: usize,
    pub(super) columns: usize,
}

impl Tiling {
    /// The tiles of the output.
    pub(super) fn new(g: &ConvGeometry) -> Self {
        Self::from_sizes(
            g.batch,
            [g.height, g.width],
            [g.out_height(), g.out_width()],
            [g.padding.top, g.padding.left],
        )
    }

    /// The tiles of the input, as the output of the convolution that gives its gradient.
    pub(super) fn adjoint(g: &ConvGeometry) -> Self {
        let pad = [2 - g.padding.top, 2 - g.padding.left];
        Self::from_sizes(
            g.batch,
            [g.out_height(), g.out_width()],
            [g.height, g.width],
            pad,
        )
    }

    fn from_sizes(batch: usize, input: [usize; 2], output: [usize; 2], pad: [usize; 2]) -> Self {
        Self {
            batch,
            input,
            output,
            pad,
            rows: output[0].div_ceil(4),
            columns: output[1].div_ceil(4),
        }
    }

    /// Rows of tiles over all images.
    pub(super) fn tile_rows(&self) -> usize {
        self.batch * self.rows
    }

    /// Values per row of the zero-padded copy that whole vectors of tiles read.
    fn pitch(&self, isa: InstructionSet) -> usize {
        4 * self.columns.next_multiple_of(isa.lanes()) + 8
    }

    /// The runs of tile rows that belong to one image: (image, first row in it, rows, rows before in `range`).
    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let (rows, start) = (self.rows, range.start);
        let mut next = start;
        std::iter::from_fn(move || {
            (next < range.end).then(|| {
                let (image, first, before) = (next / rows, next % rows, next - start);
                let count = (rows - first).min(range.end - next);
                next += count;
                (image, first, count, before)
            })
        })
    }

    /// Copies the `rows` rows of `map` that begin at `top - pad[0]`, shifted right by `pad[1]`, zeros outside as far as tiles read them.
    #[allow(clippy::too_many_arguments)] // one pass
    fn pad(
        &self,
        map: &[f32],
        [height, width]: [usize; 2],
        top: usize,
        pad: [usize; 2],
        rows: usize,
        isa: InstructionSet,
        to: &mut [f32],
    ) {
        let (pitch, used) = (self.pitch(isa), 4 * self.columns + 2);
        assert!(
            pad[1] <= MOST.min(8)
                && width + pad[1] <= used
                && used <= pitch
                && map.len() >= height * width
                && to.len() >= rows * pitch + MOST
        );
        // SAFETY: as asserted.
        unsafe {
            transform::pad(
                isa,
                map.as_ptr(),
                height,
                width,
                top,
                pad[0],
                pad[1],
                rows,
                to.as_mut_ptr(),
                pitch,
                used,
            )
        };
    }

    /// Transforms the input patches of the tile rows `range` of one channel: value `k` of tile `i` goes to `v[k * plane + i]`.
    ///
    /// # Safety
    /// `v` has room for the tiles and a whole vector more in each of the 36 planes, and no other task touches them.
    #[allow(clippy::too_many_arguments)] // one pass
    pub(super) unsafe fn read(
        &self,
        x: &[f32],
        channels: usize,
        channel: usize,
        range: Range<usize>,
        isa: InstructionSet,
        v: *mut f32,
        plane: usize,
    ) {
        let ([h, w], pitch) = (self.input, self.pitch(isa));
        for (image, first, count, before) in self.runs(range) {
            let map = &x[(image * channels + channel) * h * w..][..h * w];
            scratch((4 * count + 2) * pitch + MOST, |padded| {
                self.pad(map, [h, w], 4 * first, self.pad, 4 * count + 2, isa, padded);
                for row in 0..count {
                    let to = (before + row) * self.columns;
                    // SAFETY: `padded` holds 6 rows of `pitch` from this one; the rest is the caller's promise.
                    unsafe {
                        transform::input(
                            isa,
                            padded[4 * row * pitch..].as_ptr(),
                            pitch,
                            self.columns,
                            v.add(to),
                            plane,
                        )
                    };
                }
            });
        }
    }

    /// As [`Tiling::read`] for the 4x4 output gradients.
    ///
    /// # Safety
    /// As [`Tiling::read`].
    #[allow(clippy::too_many_arguments)] // one pass
    pub(super) unsafe fn read_gradient(
        &self,
        dy: &[f32],
        channels: usize,
        channel: usize,
        range: Range<usize>,
        isa: InstructionSet,
        m: *mut f32,
        plane: usize,
    ) {
        let ([h, w], pitch) = (self.output, self.pitch(isa));
        for (image, first, count, before) in self.runs(range) {
            let map = &dy[(image * channels + channel) * h * w..][..h * w];
            scratch(4 * count * pitch + MOST, |padded| {
                self.pad(map, [h, w], 4 * first, [0, 0], 4 * count, isa, padded);
                for row in 0..count {
                    let to = (before + row) * self.columns;
                    // SAFETY: `padded` holds 4 rows of `pitch` from this one; the rest is the caller's promise.
                    unsafe {
                        transform::gradient(
                            isa,
                            padded[4 * row * pitch..].as_ptr(),
                            pitch,
                            self.columns,
                            m.add(to),
                            plane,
                        )
                    };
                }
            });
        }
    }

    /// Transforms the products of the tile rows `range` of one channel to outputs.
    ///
    /// # Safety
    /// `m` holds the tiles and a whole vector more in each of the 36 planes; `y` is valid for all maps, and no other task touches
    /// these rows of this channel.
    #[allow(clippy::too_many_arguments)] // one pass
    pub(super) unsafe fn write(
        &self,
        m: *const f32,
        plane: usize,
        channels: usize,
        channel: usize,
        range: Range<usize>,
        isa: InstructionSet,
        y: Shared,
    ) {
        let [h, w] = self.output;
        for (image, first, count, before) in self.runs(range) {
            for row in 0..count {
                let (from, top) = ((before + row) * self.columns, 4 * (first + row));
                let to = (image * channels + channel) * h * w + top * w;
                // SAFETY: the caller's promise; rows and columns end at the map's edge.
                unsafe {
                    transform::output(
                        isa,
                        m.add(from),
                        plane,
                        self.columns,
                        y.at(to),
                        w,
                        (h - top).min(4),
                    )
                };
            }
        }
    }
}

//! Layers of a trained encoder on maps in blocks of channels.
//!
//! A block holds as many channels as a vector has lanes, side by side: block, row, column, lane. A 1x1 convolution then multiplies
//! vectors of outputs by single inputs straight from the map, with nothing to pack but its weights, once; a depthwise convolution
//! multiplies whole vectors; and normalisation, residual and activation happen in the registers that hold a sum. Maps that a kernel
//! wider than 1 reads lie in a frame of zeros, so that no tap asks for the edge. Weights are fixed: the scale of the normalisation is
//! multiplied into them.
//!
//! An image's values are computed by the same additions in the same order whatever images are beside it.

mod dense;
mod depthwise;
mod gate;
#[cfg(test)]
mod tests;

pub(crate) use dense::Dense;
pub(crate) use depthwise::Filter;
pub(crate) use gate::Gate;

use super::geometry::Padding;
use super::interleave;
use super::simd::InstructionSet;

/// Where the pixels of a map lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Rows and columns of the map.
    pub(crate) size: [usize; 2],
    /// The first pixel's row and column in the frame.
    corner: [usize; 2],
    /// Rows and columns of the frame.
    outer: [usize; 2],
}

impl Grid {
    /// Pixel after pixel, row by row.
    pub(crate) fn dense(size: [usize; 2]) -> Self {
        Self {
            size,
            corner: [0, 0],
            outer: size,
        }
    }

    /// In a frame of zeros that a kernel with `stride` and `padding` reads without leaving it.
    pub(crate) fn framed(size: [usize; 2], kernel: usize, stride: usize, padding: Padding) -> Self {
        let corner = [padding.top, padding.left];
        let outputs = padding.outputs(size, [kernel; 2], stride);
        let outer =
            std::array::from_fn(|a| ((outputs[a] - 1) * stride + kernel).max(corner[a] + size[a]));
        Self {
            size,
            corner,
            outer,
        }
    }

    /// Pixels of the map.
    pub(crate) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Pixels of the frame.
    pub(crate) fn length(&self) -> usize {
        self.outer[0] * self.outer[1]
    }

    /// The place of each pixel, `step` values from column to column.
    fn places(&self, step: usize) -> Vec<usize> {
        interleave::places(self.size, self.corner, self.outer[1], step)
    }

    /// Where output pixels begin to read: those of a kernel with `stride`, for an output of `size`.
    fn reads(&self, size: [usize; 2], stride: usize, step: usize) -> Vec<u32> {
        let pixel = |i: usize| {
            let (row, column) = (i / size[1] * stride, i % size[1] * stride);
            ((row * self.outer[1] + column) * step) as u32
        };
        (0..size[0] * size[1]).map(pixel).collect()
    }

    /// Offsets of the taps of a kernel.
    fn taps(&self, [height, width]: [usize; 2], step: usize) -> Vec<usize> {
        (0..height * width)
            .map(|tap| (tap / width * self.outer[1] + tap % width) * step)
            .collect()
    }

    /// Writes the zeros around `maps` of `step` values per pixel.
    pub(crate) fn clear(&self, step: usize, maps: &mut [f32]) {
        if self.outer == self.size {
            return;
        }
        let ([rows, columns], [top, left]) = (self.size, self.corner);
        let pitch = self.outer[1];
        for map in maps.chunks_exact_mut((self.length() * step).max(1)) {
            let mut end = 0;
            for row in 0..rows {
                let start = ((top + row) * pitch + left) * step;
                map[end..start].fill(0.0);
                end = start + columns * step;
            }
            map[end..].fill(0.0);
        }
    }
}

/// Pixels as they are computed together: about equal runs of `most` at most, (first, how many).
fn tiles(pixels: usize, most: usize) -> Vec<(u32, u32)> {
    let count = pixels.div_ceil(most);
    let bound = |i: usize| i * pixels / count.max(1);
    (0..count)
        .map(|i| (bound(i) as u32, (bound(i + 1) - bound(i)) as u32))
        .collect()
}

/// Maps of images as an encoder reads them.
pub(crate) struct Layout {
    pub(crate) isa: InstructionSet,
    pub(crate) channels: usize,
    pub(crate) grid: Grid,
    /// Values from pixel to pixel: a vector, or a pixel's channels if these are few.
    step: usize,
}

impl Layout {
    /// Blocks of whole vectors.
    pub(crate) fn new(isa: InstructionSet, channels: usize, grid: Grid) -> Self {
        Self {
            isa,
            channels,
            grid,
            step: isa.lanes(),
        }
    }

    /// As [`Layout::new`], or without unused lanes if there are fewer channels than lanes; for dense convolutions only.
    pub(crate) fn narrow(isa: InstructionSet, channels: usize, grid: Grid) -> Self {
        Self {
            step: isa.lanes().min(channels),
            ..Self::new(isa, channels, grid)
        }
    }

    /// Blocks of channels.
    pub(crate) fn blocks(&self) -> usize {
        self.channels.div_ceil(self.step)
    }

    /// Values of a block.
    pub(crate) fn block(&self) -> usize {
        self.grid.length() * self.step
    }

    /// Values of an image.
    pub(crate) fn image(&self) -> usize {
        self.blocks() * self.block()
    }

    /// Writes an image `[channels, h, w]` in this layout.
    pub(crate) fn read(&self, planes: &[f32], places: &[usize], map: &mut [f32]) {
        let (pixels, step) = (self.grid.pixels(), self.step);
        if !self.channels.is_multiple_of(step) {
            let last = (self.blocks() - 1) * self.block();
            map[last..].fill(0.0);
        }
        self.grid.clear(step, map);
        if step < self.isa.lanes() {
            for (channel, plane) in planes.chunks_exact(pixels).enumerate() {
                for (place, value) in places.iter().zip(plane) {
                    map[place + channel] = *value;
                }
            }
            return;
        }
        let blocks = map.chunks_exact_mut(self.block());
        for (planes, block) in planes.chunks(step * pixels).zip(blocks) {
            interleave::gather(self.isa, planes, places, block);
        }
    }

    /// Where [`Layout::read`] writes the pixels.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.grid.places(self.step)
    }

    /// Copies images from dense maps of whole vectors into this layout, whose frame stays as it is.
    ///
    /// # Panics
    /// If there are not as many maps as frames.
    pub(crate) fn copy(&self, from: &[f32], to: &mut [f32]) {
        let ([rows, columns], [top, left]) = (self.grid.size, self.grid.corner);
        let (row, pitch) = (columns * self.step, self.grid.outer[1] * self.step);
        assert!(
            from.len() * self.block() == to.len() * rows * row,
            "maps and frames"
        );
        let maps = from.chunks_exact((rows * row).max(1));
        for (from, to) in maps.zip(to.chunks_exact_mut(self.block().max(1))) {
            let first = top * pitch + left * self.step;
            let lines = to[first..].chunks_mut(pitch);
            for (from, to) in from.chunks_exact(row).zip(lines) {
                to[..row].copy_from_slice(from);
            }
        }
    }

    /// The inverse of [`Layout::read`], for dense maps of whole vectors.
    pub(crate) fn write(&self, map: &[f32], planes: &mut [f32]) {
        let pixels = self.grid.pixels();
        let blocks = map.chunks_exact(self.block());
        for (planes, block) in planes.chunks_mut(self.step * pixels).zip(blocks) {
            interleave::scatter(self.isa, block, pixels, planes);
        }
    }
}

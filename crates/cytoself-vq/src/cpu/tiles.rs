//! Vectors gathered into tiles, with the running best of each.

use crate::vectors::Vectors;

/// The work of one task: `count` vectors from `first`, in tiles of `width` lanes.
pub(super) struct Tiles {
    pub(super) width: usize,
    pub(super) dim: usize,
    /// `[tiles, dim, width]` from `start` on; lanes without a vector are zero.
    buffer: Vec<f32>,
    /// The first place of `buffer` that begins a cache line.
    start: usize,
    /// Best score so far, `[tiles * width]`; likewise the next three.
    pub(super) best: Vec<f32>,
    /// The best score among the codes that did not win.
    pub(super) second: Vec<f32>,
    /// Index of the best code, as the bits of an `f32`.
    pub(super) index: Vec<f32>,
    /// How far a score must lie below the best so that rounding cannot have hidden the nearest code behind it.
    pub(super) slack: Vec<f32>,
    /// Vectors whose scores could overflow: nothing but the exact search is to be trusted.
    pub(super) exact: Vec<bool>,
    /// Squared norms of the last tile, `[width]`.
    pub(super) norms: Vec<f64>,
}

/// Loads that cross a cache line cost double.
const CACHE_LINE: usize = 64;

/// Above this, `|z| |c| + |c|^2 / 2` comes too close to the largest `f32` for scores to stay finite.
const OVERFLOW: f64 = 1e37;

impl Tiles {
    pub(super) fn new(width: usize, dim: usize) -> Self {
        Self {
            width,
            dim,
            buffer: Vec::new(),
            start: 0,
            best: Vec::new(),
            second: Vec::new(),
            index: Vec::new(),
            slack: Vec::new(),
            exact: Vec::new(),
            norms: vec![0.0; width],
        }
    }

    /// The values, `[tiles, dim, width]`, at the beginning of a cache line.
    #[inline(always)]
    pub(super) fn values(&self) -> &[f32] {
        &self.buffer[self.start..]
    }

    fn clear_values(&mut self, length: usize) {
        self.buffer.clear();
        self.buffer
            .resize(length + CACHE_LINE / size_of::<f32>(), 0.0);
        // `align_offset` may refuse, which costs speed and nothing else.
        self.start = self
            .buffer
            .as_ptr()
            .align_offset(CACHE_LINE)
            .min(CACHE_LINE / size_of::<f32>());
        self.buffer.truncate(self.start + length);
    }

    pub(super) fn count(&self) -> usize {
        self.best.len() / self.width
    }

    /// Gathers vectors `first..first + count`; `Err` has the first one with a value that is not finite.
    #[inline(always)]
    pub(super) fn gather(
        &mut self,
        vectors: &Vectors<'_>,
        first: usize,
        count: usize,
        largest_norm: f64,
    ) -> Result<(), usize> {
        let (width, dim) = (self.width, self.dim);
        let lanes = count.next_multiple_of(width);
        self.clear_values(lanes * dim);
        for (state, start) in [
            (&mut self.best, f32::NEG_INFINITY),
            (&mut self.second, f32::NEG_INFINITY),
            (&mut self.index, 0.0),
            (&mut self.slack, 0.0),
        ] {
            state.clear();
            state.resize(lanes, start);
        }
        self.exact.clear();
        self.exact.resize(lanes, false);

        let mut done = 0;
        while done < count {
            let run = copy_run(
                vectors,
                first + done,
                count - done,
                width,
                done,
                &mut self.buffer[self.start..],
            );
            done += run;
        }
        for tile in 0..lanes / width {
            self.bound_tile(tile, count, largest_norm)
                .map_err(|lane| first + lane)?;
        }
        Ok(())
    }

    /// Forgets what has been found, so that the same vectors can be searched once more.
    #[inline(always)]
    pub(super) fn forget(&mut self) {
        self.best.fill(f32::NEG_INFINITY);
        self.second.fill(f32::NEG_INFINITY);
        self.index.fill(0.0);
    }

    /// Fills `slack` and `exact` of one tile; `Err` has the lane of a vector that is not finite.
    #[inline(always)]
    fn bound_tile(&mut self, tile: usize, count: usize, largest_norm: f64) -> Result<(), usize> {
        let (width, dim) = (self.width, self.dim);
        self.norms.fill(0.0);
        for row in self.buffer[self.start + tile * dim * width..][..dim * width].chunks_exact(width)
        {
            for (norm, &value) in self.norms.iter_mut().zip(row) {
                *norm += f64::from(value) * f64::from(value);
            }
        }
        for lane in 0..width.min(count - tile * width) {
            let norm = self.norms[lane];
            let at = tile * width + lane;
            if !norm.is_finite() {
                return Err(at);
            }
            let (slack, exact) = rounding_slack(norm.sqrt(), largest_norm, dim);
            self.slack[at] = slack;
            self.exact[at] = exact;
        }
        Ok(())
    }
}

/// Copies vectors that lie side by side in memory and in one tile; returns how many.
#[inline(always)]
fn copy_run(
    vectors: &Vectors<'_>,
    index: usize,
    left: usize,
    width: usize,
    lane: usize,
    values: &mut [f32],
) -> usize {
    let shape = vectors.shape();
    let (_, _, position) = shape.place(index);
    let within = lane % width;
    let tile = &mut values[(lane - within) * shape.dim..][..shape.dim * width];
    let start = shape.offset(index);
    let data = vectors.data();
    if shape.component_stride != 1 {
        let run = left.min(shape.positions - position).min(width - within);
        for (i, row) in tile.chunks_exact_mut(width).enumerate() {
            let from = start + i * shape.component_stride;
            row[within..within + run].copy_from_slice(&data[from..from + run]);
        }
        run
    } else {
        for (row, &value) in tile
            .chunks_exact_mut(width)
            .zip(&data[start..start + shape.dim])
        {
            row[within] = value;
        }
        1
    }
}

/// How much two scores may differ although the code with the lower one is nearer, and whether scores may overflow.
///
/// A score is `z.c - |c|^2 / 2`, evaluated in `d` steps of `f32`; with `u = 2^-24` its error is at most `(d + 2) u (|z||c| + |c|^2 / 2)`
/// to first order, plus half the smallest `f32` per step where it underflows. The exact search rounds too, in double precision; the
/// last term covers that. Both scores of a pair err, hence the factor 2, and a little more for the terms of second order.
///
/// # References
/// Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1, doi:10.1137/1.9780898718027.
fn rounding_slack(norm: f64, largest_norm: f64, dim: usize) -> (f32, bool) {
    let magnitude = norm * largest_norm + 0.5 * largest_norm * largest_norm;
    if magnitude > OVERFLOW {
        return (0.0, true);
    }
    let steps = dim as f64 + 8.0;
    let single = 0.5 * f64::from(f32::EPSILON) * magnitude;
    let double = 0.5 * f64::EPSILON * (norm + largest_norm) * (norm + largest_norm);
    let underflow = f64::from(f32::from_bits(1));
    ((2.1 * steps * (single + double + underflow)) as f32, false)
}

//! Soft assignments, tile by tile.

use super::{CpuSearch, Simd, kernel, lanes};
use crate::error::VqError;
use crate::exp::exp_non_positive;
use crate::softmax::SoftTile;
use crate::vectors::Vectors;

use super::tiles::Tiles;

/// Rows whose weights are summed in `f32` before the sum goes on in `f64`.
const ROWS_PER_SUM: usize = 64;

/// What becomes of the weights of a tile.
enum Wanted<'a> {
    /// Shares, which sum to 1 in each lane.
    Shares,
    /// Their sums over the lanes, added to `[codes, width / 2]`: the lanes of the first half and of the second one together.
    Sums(&'a mut [f32]),
}

impl CpuSearch {
    /// Hands the soft assignments of vectors `first..first + indices.len()` to `each`, tile by tile; returns their summed
    /// cross-entropy at `indices`.
    pub(crate) fn soft_tiles(
        &self,
        vectors: &Vectors<'_>,
        first: usize,
        indices: &[u32],
        mut each: impl FnMut(&SoftTile<'_>),
    ) -> Result<f64, VqError> {
        self.weigh(vectors, first, indices, |tile, work| {
            let loss = self.soft_tile(tile.tiles, tile.indices, work, Wanted::Shares);
            each(&SoftTile {
                first: tile.first,
                count: tile.indices.len(),
                width: tile.tiles.width,
                shares: &work[..self.codebook.codes() * tile.tiles.width],
            });
            loss
        })
    }

    /// Adds the soft assignments of vectors `first..first + indices.len()` to `sums: [codes]`; returns their summed cross-entropy at
    /// `indices`.
    pub(crate) fn soft_sums(
        &self,
        vectors: &Vectors<'_>,
        first: usize,
        indices: &[u32],
        sums: &mut [f32],
    ) -> Result<f64, VqError> {
        let half = self.simd.blocking().0 / 2;
        let mut by_lane = vec![0.0; self.codebook.codes() * half];
        let loss = self.weigh(vectors, first, indices, |tile, work| {
            self.soft_tile(tile.tiles, tile.indices, work, Wanted::Sums(&mut by_lane))
        })?;
        for (sum, lanes) in sums.iter_mut().zip(by_lane.chunks_exact(half)) {
            *sum += lanes.iter().sum::<f32>();
        }
        Ok(loss)
    }

    /// Gathers tile after tile and hands each to `run` with room for its weights; returns the sum of what `run` gives.
    fn weigh(
        &self,
        vectors: &Vectors<'_>,
        first: usize,
        indices: &[u32],
        mut run: impl FnMut(&Gathered<'_>, &mut [f32]) -> f64,
    ) -> Result<f64, VqError> {
        let width = self.simd.blocking().0;
        let mut tiles = Tiles::new(width, self.codebook.dim());
        let mut work = vec![0.0; self.panels.half_norms.len() * width];
        let mut loss = 0.0;
        for (tile, indices) in indices.chunks(width).enumerate() {
            let at = first + tile * width;
            if let Err(bad) = tiles.gather(vectors, at, indices.len(), self.panels.largest_norm) {
                return vectors.non_finite(bad).map_or(Ok(0.0), Err);
            }
            let gathered = Gathered {
                first: at,
                indices,
                tiles: &tiles,
            };
            loss += run(&gathered, &mut work);
        }
        Ok(loss)
    }

    fn soft_tile(
        &self,
        tiles: &Tiles,
        indices: &[u32],
        work: &mut [f32],
        wanted: Wanted<'_>,
    ) -> f64 {
        match self.simd {
            // SAFETY: the portable lanes need no instruction set; the blocking is that of `Simd::blocking`.
            Simd::Portable => unsafe { soft_portable(self, tiles, indices, work, wanted) },
            // SAFETY: a search only holds an instruction set of this machine.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { soft_avx2(self, tiles, indices, work, wanted) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { soft_avx512(self, tiles, indices, work, wanted) },
        }
    }
}

/// One tile of vectors with the codes at which their cross-entropy is taken.
struct Gathered<'a> {
    first: usize,
    indices: &'a [u32],
    tiles: &'a Tiles,
}

macro_rules! instance {
    ($name:ident, $lanes:ty, $codes:literal, $width:literal $(, $features:literal)?) => {
        /// # Safety
        /// The machine has the instruction set; the panels and the tile have its blocking.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(search: &CpuSearch, tiles: &Tiles, indices: &[u32], work: &mut [f32], wanted: Wanted<'_>) -> f64 {
            let mut top = [0.0; $width];
            // SAFETY: by this function's own contract; `work` has a row of lanes per code of every panel.
            unsafe { kernel::tile_scores::<$lanes, $codes>(tiles, &search.panels, work, &mut top) };
            let (rows, _) = work[..search.codebook.codes() * $width].as_chunks_mut::<$width>();
            normalise(tiles, indices, rows, &top, wanted)
        }
    };
}

instance!(soft_portable, lanes::Portable, 6, 8);
#[cfg(target_arch = "x86_64")]
instance!(soft_avx2, lanes::Avx2, 6, 16, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instance!(soft_avx512, lanes::Avx512, 12, 32, "avx512f");

/// Turns scores `[codes, W]`, whose largest are `top`, into shares or adds their sums; returns the summed cross-entropy at `indices`.
///
/// `-|z - c|^2` is twice the score up to a term that all codes share, which a softmax ignores.
#[inline(always)]
fn normalise<const W: usize>(
    tiles: &Tiles,
    indices: &[u32],
    rows: &mut [[f32; W]],
    top: &[f32; W],
    wanted: Wanted<'_>,
) -> f64 {
    let mut loss = 0.0;
    for (l, &index) in indices.iter().enumerate() {
        loss += 2.0 * (f64::from(top[l]) - f64::from(rows[index as usize][l]));
    }
    let mut sums = [0.0f64; W];
    for rows in rows.chunks_mut(ROWS_PER_SUM) {
        let mut part = [0.0f32; W];
        for row in rows {
            for l in 0..W {
                row[l] = exp_non_positive(2.0 * (row[l] - top[l]));
                part[l] += row[l];
            }
        }
        for l in 0..W {
            sums[l] += f64::from(part[l]);
        }
    }
    let mut factor = [0.0f32; W];
    for l in 0..indices.len() {
        loss += sums[l].ln();
        factor[l] = (1.0 / sums[l]) as f32;
    }
    // Scores that overflow: the distances differ by more than any exponential can show.
    let overflow = tiles.exact.iter().any(|&exact| exact);
    if overflow || matches!(wanted, Wanted::Shares) {
        for row in rows.iter_mut() {
            for l in 0..W {
                row[l] *= factor[l];
            }
        }
        factor.fill(1.0);
    }
    if overflow {
        loss = only_nearest::<W>(tiles, indices, rows);
    }
    if let Wanted::Sums(sums) = wanted {
        for (sums, row) in sums.chunks_exact_mut(W / 2).zip(rows.iter()) {
            for l in 0..W / 2 {
                sums[l] += row[l] * factor[l] + row[l + W / 2] * factor[l + W / 2];
            }
        }
    }
    loss
}

/// Gives vectors whose scores may overflow wholly to their code; the cross-entropy of the others.
fn only_nearest<const W: usize>(tiles: &Tiles, indices: &[u32], rows: &mut [[f32; W]]) -> f64 {
    let mut loss = 0.0;
    for (l, &index) in indices.iter().enumerate() {
        if tiles.exact[l] {
            rows.iter_mut().for_each(|row| row[l] = 0.0);
            rows[index as usize][l] = 1.0;
        } else {
            loss -= f64::from(rows[index as usize][l].max(f32::MIN_POSITIVE)).ln();
        }
    }
    loss
}

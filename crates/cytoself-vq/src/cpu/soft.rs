//! Soft assignments, tile by tile.

use super::{CpuSearch, Simd, kernel, lanes};
use crate::error::VqError;
use crate::exp::exp_non_positive;
use crate::softmax::SoftTile;
use crate::vectors::Vectors;

use super::tiles::Tiles;

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
        let width = self.simd.blocking().0;
        let mut tiles = Tiles::new(width, self.codebook.dim());
        let mut shares = vec![0.0; self.panels.half_norms.len() * width];
        let mut loss = 0.0;
        for (tile, indices) in indices.chunks(width).enumerate() {
            let at = first + tile * width;
            if let Err(bad) = tiles.gather(vectors, at, indices.len(), self.panels.largest_norm) {
                return vectors.non_finite(bad).map_or(Ok(0.0), Err);
            }
            loss += match self.simd {
                // SAFETY: the portable lanes need no instruction set; the blocking is that of `Simd::blocking`.
                Simd::Portable => unsafe { soft_portable(self, &tiles, indices, &mut shares) },
                // SAFETY: a search only holds an instruction set of this machine.
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 => unsafe { soft_avx2(self, &tiles, indices, &mut shares) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Simd::Avx512 => unsafe { soft_avx512(self, &tiles, indices, &mut shares) },
            };
            let shares = &shares[..self.codebook.codes() * width];
            each(&SoftTile {
                first: at,
                count: indices.len(),
                width,
                shares,
            });
        }
        Ok(loss)
    }
}

macro_rules! instance {
    ($name:ident, $lanes:ty, $codes:literal, $width:literal $(, $features:literal)?) => {
        /// # Safety
        /// The machine has the instruction set; the panels and the tile have its blocking.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(search: &CpuSearch, tiles: &Tiles, indices: &[u32], shares: &mut [f32]) -> f64 {
            // SAFETY: by this function's own contract; `shares` has a row of lanes per code of every panel.
            unsafe { kernel::tile_scores::<$lanes, $codes>(tiles, &search.panels, shares) };
            normalise::<$width>(tiles, indices, &mut shares[..search.codebook.codes() * $width])
        }
    };
}

instance!(soft_portable, lanes::Portable, 6, 8);
#[cfg(target_arch = "x86_64")]
instance!(soft_avx2, lanes::Avx2, 6, 16, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instance!(soft_avx512, lanes::Avx512, 12, 32, "avx512f");

/// Turns scores `[codes, W]` into shares; returns the summed cross-entropy at `indices`.
///
/// `-|z - c|^2` is twice the score up to a term that all codes share, which a softmax ignores.
#[inline(always)]
fn normalise<const W: usize>(tiles: &Tiles, indices: &[u32], scores: &mut [f32]) -> f64 {
    let (rows, _) = scores.as_chunks_mut::<W>();
    let mut top = [f32::NEG_INFINITY; W];
    for row in rows.iter() {
        for l in 0..W {
            top[l] = if row[l] > top[l] { row[l] } else { top[l] };
        }
    }
    let mut loss = 0.0;
    for (l, &index) in indices.iter().enumerate() {
        loss += 2.0 * (f64::from(top[l]) - f64::from(rows[index as usize][l]));
    }
    let mut sums = [0.0f64; W];
    for row in rows.iter_mut() {
        for l in 0..W {
            row[l] = exp_non_positive(2.0 * (row[l] - top[l]));
            sums[l] += f64::from(row[l]);
        }
    }
    loss += sums[..indices.len()]
        .iter()
        .map(|sum| sum.ln())
        .sum::<f64>();
    let factor: [f32; W] = std::array::from_fn(|l| {
        if l < indices.len() {
            (1.0 / sums[l]) as f32
        } else {
            0.0
        }
    });
    for row in rows.iter_mut() {
        for l in 0..W {
            row[l] *= factor[l];
        }
    }
    // Scores that overflow: the distances differ by more than any exponential can show.
    if tiles.exact.iter().any(|&exact| exact) {
        return only_nearest::<W>(tiles, indices, rows);
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

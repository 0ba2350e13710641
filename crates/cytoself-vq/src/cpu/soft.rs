//! Soft assignments, tile by tile, in the same pass as the search.
//!
//! A softmax may be shifted by any number, and it need not be the largest score: `e^-d^2` itself serves where a vector has a code within
//! a squared distance of [`FARTHEST`]. Elsewhere the tile is weighed a second time about its own best scores, and the next tile begins
//! with what this one has taught.

use super::answer::{copy_lane, plain_score, settle, write};
use super::{CpuSearch, Scratch, Simd, TaskOutput, kernel, lanes};
use crate::softmax::SoftTile;
use crate::vectors::Vectors;

/// How far from 0 the exponent of the nearest code may lie: far enough from the bounds of the exponential that no weight that counts
/// beside the largest is lost, and that the sum of all stays finite.
const FARTHEST: f32 = 60.0;
/// Weights above this are true, whatever the bounds of the exponential.
const SMALLEST: f32 = 1e-30;

/// The codes at which the cross-entropy is taken.
pub(crate) enum Codes<'a> {
    /// These.
    Given(&'a [u32]),
    /// The nearest ones, which are written here with all else that a search gives.
    Nearest(TaskOutput<'a>),
}

impl Codes<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Given(indices) => indices.len(),
            Self::Nearest(out) => out.indices.len(),
        }
    }

    /// Those of the next tile.
    fn tile(&mut self, first: usize, count: usize) -> Codes<'_> {
        match self {
            Self::Given(indices) => Codes::Given(&indices[first..first + count]),
            Self::Nearest(out) => Codes::Nearest(TaskOutput {
                indices: &mut out.indices[first..first + count],
                distances: &mut out.distances[first..first + count],
                quantized: out.quantized,
            }),
        }
    }
}

/// What becomes of the weights of a tile.
enum Wanted<'a> {
    /// Shares, which sum to 1 in each lane.
    Shares,
    /// Their sums over the lanes, added to `[codes, width / 2]`: the lanes of the first half and of the second one together.
    Sums(&'a mut [f32]),
}

/// Room for one tile after the other.
struct Soft {
    scratch: Scratch,
    /// `[panels * codes of a panel, width]`.
    weights: Vec<f32>,
    /// The squared distance that is expected of a vector to its nearest code.
    expected: f64,
}

impl CpuSearch {
    /// Hands the soft assignments of vectors `first..first + indices.len()` to `each`, tile by tile; returns their summed
    /// cross-entropy at `indices`, or as `Err` a vector that is not finite.
    pub(crate) fn soft_tiles(
        &self,
        vectors: &Vectors<'_>,
        first: usize,
        indices: &[u32],
        mut each: impl FnMut(&SoftTile<'_>),
    ) -> Result<f64, usize> {
        let (width, codes) = (self.simd.blocking().0, self.codebook.codes());
        let mut soft = Soft::new(self);
        let mut loss = 0.0;
        for (tile, indices) in indices.chunks(width).enumerate() {
            let first = first + tile * width;
            let at = Codes::Given(indices);
            loss += self.soft_tile(&mut soft, vectors, first, at, Wanted::Shares)?;
            each(&SoftTile {
                first,
                count: indices.len(),
                width,
                shares: &soft.weights[..codes * width],
            });
        }
        Ok(loss)
    }

    /// Adds the soft assignments of the vectors from `first`, one for each of `at`, to `sums: [codes]`; returns their summed
    /// cross-entropy, or as `Err` a vector that is not finite.
    pub(crate) fn soft_sums(
        &self,
        vectors: &Vectors<'_>,
        first: usize,
        mut at: Codes<'_>,
        sums: &mut [f32],
    ) -> Result<f64, usize> {
        let width = self.simd.blocking().0;
        let mut soft = Soft::new(self);
        let mut by_lane = vec![0.0; self.codebook.codes() * width / 2];
        let mut loss = 0.0;
        for from in (0..at.len()).step_by(width) {
            let count = width.min(at.len() - from);
            let tile = at.tile(from, count);
            let wanted = Wanted::Sums(&mut by_lane);
            loss += self.soft_tile(&mut soft, vectors, first + from, tile, wanted)?;
        }
        for (sum, lanes) in sums.iter_mut().zip(by_lane.chunks_exact(width / 2)) {
            *sum += lanes.iter().sum::<f32>();
        }
        Ok(loss)
    }

    /// `Err` is a vector that is not finite.
    fn soft_tile(
        &self,
        soft: &mut Soft,
        vectors: &Vectors<'_>,
        first: usize,
        at: Codes<'_>,
        wanted: Wanted<'_>,
    ) -> Result<f64, usize> {
        match self.simd {
            // SAFETY: the portable lanes need no instruction set; the blocking is that of `Simd::blocking`.
            Simd::Portable => unsafe { soft_portable(self, soft, vectors, first, at, wanted) },
            // SAFETY: a search only holds an instruction set of this machine.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { soft_avx2(self, soft, vectors, first, at, wanted) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { soft_avx512(self, soft, vectors, first, at, wanted) },
        }
    }
}

impl Soft {
    fn new(search: &CpuSearch) -> Self {
        Self {
            scratch: Scratch::new(search),
            weights: vec![0.0; search.panels.half_norms.len() * search.simd.blocking().0],
            expected: 0.0,
        }
    }
}

macro_rules! instance {
    ($name:ident, $lanes:ty, $codes:literal, $width:literal $(, $features:literal)?) => {
        /// # Safety
        /// The machine has the instruction set; the panels and the tiles have its blocking.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(
            search: &CpuSearch,
            soft: &mut Soft,
            vectors: &Vectors<'_>,
            first: usize,
            at: Codes<'_>,
            wanted: Wanted<'_>,
        ) -> Result<f64, usize> {
            soft.scratch.tiles.gather(vectors, first, at.len(), search.panels.largest_norm)?;
            let mut shift = soft.usual_shift::<$width>();
            let mut sums = [0.0; $width];
            // SAFETY: by this function's own contract; `weights` has a row of lanes per code of every panel.
            unsafe {
                kernel::weigh::<$lanes, $codes>(
                    &mut soft.scratch.tiles, &search.panels, &shift, &mut soft.weights, &mut sums,
                );
                if !soft.within_reach(&shift, at.len()) {
                    shift = std::array::from_fn(|l| -2.0 * soft.scratch.tiles.best[l]);
                    soft.scratch.tiles.forget();
                    kernel::weigh::<$lanes, $codes>(
                        &mut soft.scratch.tiles, &search.panels, &shift, &mut soft.weights, &mut sums,
                    );
                }
            }
            soft.learn(at.len());
            let indices: &[u32] = match at {
                Codes::Given(indices) => indices,
                Codes::Nearest(TaskOutput { indices, distances, quantized }) => {
                    settle(search, &mut soft.scratch, indices);
                    let out = TaskOutput { indices: &mut *indices, distances, quantized };
                    write(search, &mut soft.scratch, vectors, first, out);
                    indices
                }
            };
            Ok(soft.finish::<$width>(search, indices, &shift, &sums, wanted))
        }
    };
}

instance!(soft_portable, lanes::Portable, 6, 8);
#[cfg(target_arch = "x86_64")]
instance!(soft_avx2, lanes::Avx2, 6, 16, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instance!(soft_avx512, lanes::Avx512, 12, 32, "avx512f");

impl Soft {
    /// `expected - |z|^2`, so that the exponent of a code is what its squared distance lacks of the expected one.
    #[inline(always)]
    fn usual_shift<const W: usize>(&self) -> [f32; W] {
        std::array::from_fn(|l| (self.expected - self.scratch.tiles.norms[l]) as f32)
    }

    /// Whether the weights of all vectors are true, and not what stands for those out of range.
    #[inline(always)]
    fn within_reach(&self, shift: &[f32], count: usize) -> bool {
        let tiles = &self.scratch.tiles;
        (0..count).all(|l| tiles.exact[l] || (2.0 * tiles.best[l] + shift[l]).abs() <= FARTHEST)
    }

    /// Takes the mean squared distance of this tile's vectors to their codes for what is expected of the next.
    #[inline(always)]
    fn learn(&mut self, count: usize) {
        let tiles = &self.scratch.tiles;
        let distance = |l: usize| (tiles.norms[l] - 2.0 * f64::from(tiles.best[l])).max(0.0);
        let counted = (0..count).filter(|&l| !tiles.exact[l]);
        let (sum, number) = counted.fold((0.0, 0.0), |(s, n), l| (s + distance(l), n + 1.0));
        if number > 0.0 {
            self.expected = sum / number;
        }
    }

    /// Turns weights into shares or adds their shares up; returns the summed cross-entropy at `indices`.
    ///
    /// `-|z - c|^2` is twice the score up to a term that all codes share, which a softmax ignores.
    #[inline(always)]
    fn finish<const W: usize>(
        &mut self,
        search: &CpuSearch,
        indices: &[u32],
        shift: &[f32; W],
        sums: &[f64; W],
        wanted: Wanted<'_>,
    ) -> f64 {
        let codes = search.codebook.codes();
        let (rows, _) = self.weights[..codes * W].as_chunks_mut::<W>();
        let Scratch { tiles, vector, .. } = &mut self.scratch;
        let mut loss = 0.0;
        let mut factor = [0.0f32; W];
        for (l, &index) in indices.iter().enumerate() {
            if tiles.exact[l] {
                // Scores that overflow: the distances differ by more than any exponential can show.
                rows.iter_mut().for_each(|row| row[l] = 0.0);
                rows[index as usize][l] = 1.0;
                factor[l] = 1.0;
                continue;
            }
            let weight = rows[index as usize][l];
            let exponent = if weight > SMALLEST {
                f64::from(weight).ln()
            } else {
                // Only a code that was given and is not the nearest can be so far away.
                copy_lane(tiles, l, vector);
                let code = &search.codebook.as_slice()[index as usize * tiles.dim..][..tiles.dim];
                2.0 * f64::from(plain_score(vector, code)) + f64::from(shift[l])
            };
            loss += sums[l].ln() - exponent;
            factor[l] = (1.0 / sums[l]) as f32;
        }
        match wanted {
            Wanted::Shares => {
                for row in rows.iter_mut() {
                    for l in 0..W {
                        row[l] *= factor[l];
                    }
                }
            }
            Wanted::Sums(sums) => {
                for (sums, row) in sums.chunks_exact_mut(W / 2).zip(rows.iter()) {
                    for l in 0..W / 2 {
                        sums[l] += row[l] * factor[l] + row[l + W / 2] * factor[l + W / 2];
                    }
                }
            }
        }
        loss
    }
}

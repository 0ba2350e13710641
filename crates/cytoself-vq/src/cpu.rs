//! The search on the processor: a blocked matrix product whose maximum is taken on the way, so that no distance is ever stored.
//!
//! `argmin |z - c|^2 = argmax z.c - |c|^2 / 2`. The product is made in `f32`; a vector whose two best scores lie within the rounding
//! error of each other is searched again in double precision among the codes that rounding could have put in the wrong order. The answer
//! is therefore that of [`crate::reference`], with every instruction set.
//!
//! With AVX2 the product is made in small integers first, three times as fast, which leaves a handful of codes for `f32`; see `screen`.

mod exp;
mod kernel;
mod lanes;
mod panels;
#[cfg(target_arch = "x86_64")]
mod screen;
pub(crate) mod soft;
mod tiles;

use rayon::prelude::*;

use self::panels::Panels;
use self::tiles::Tiles;
use crate::codebook::Codebook;
use crate::error::VqError;
use crate::nearest::{NearestCode, SearchOutput, check};
use crate::reference;
use crate::scatter::Scatter;
use crate::vectors::Vectors;

/// Tiles of vectors per task at most: their values then fit the second-level cache.
const TILES_PER_TASK: usize = 8;
/// Tasks per thread that even out their load.
const TASKS_PER_THREAD: usize = 4;

/// An instruction set that the search is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Simd {
    /// Plain Rust: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// The instruction sets of this machine, the best one last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "other processors have only the portable one")]
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                all.push(Self::Avx512);
            }
        }
        all
    }

    /// The best instruction set of this machine.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// Vectors per tile and codes per panel.
    fn blocking(self) -> (usize, usize) {
        match self {
            Self::Portable => (8, 6),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => (16, 6),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => (32, 12),
        }
    }
}

/// The search on the processor, parallel over the current rayon pool.
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, CpuSearch, NearestCode, Vectors};
///
/// let codebook = Codebook::new(vec![0.0, 0.0, 1.0, 1.0, -2.0, 0.5], 3, 2)?;
/// let search = CpuSearch::new(codebook);
/// let z = [0.9, 0.8, -1.5, 0.0, 0.5, 0.5]; // three vectors; the last one is as near to code 0 as to code 1
/// assert_eq!(search.nearest(&Vectors::rows(&z, 3, 1, 2)?)?, [1, 2, 0]);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CpuSearch {
    codebook: Codebook,
    panels: Panels,
    simd: Simd,
    #[cfg(target_arch = "x86_64")]
    screen: Option<screen::Screen>,
}

impl CpuSearch {
    /// A search in `codebook` with the best instruction set of this machine.
    #[must_use]
    pub fn new(codebook: Codebook) -> Self {
        Self::with_best(codebook, Simd::best())
    }

    /// A search with a chosen instruction set; every one gives the same answer.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: this machine does not have it.
    pub fn with_simd(codebook: Codebook, simd: Simd) -> Result<Self, VqError> {
        if Simd::available().contains(&simd) {
            Ok(Self::with_best(codebook, simd))
        } else {
            let value = format!("{simd:?}");
            Err(VqError::Parameter {
                name: "simd",
                value,
                expected: "an instruction set of this machine",
            })
        }
    }

    fn with_best(codebook: Codebook, simd: Simd) -> Self {
        let panels = Panels::new(&codebook, simd.blocking().1);
        Self {
            #[cfg(target_arch = "x86_64")]
            screen: match simd {
                Simd::Avx2 => screen::Screen::new(&codebook),
                _ => None,
            },
            codebook,
            panels,
            simd,
        }
    }

    /// Leaves out the first pass in small integers; the answer is the same.
    #[must_use]
    pub fn without_screening(mut self) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            self.screen = None;
        }
        self
    }

    /// The instruction set in use.
    #[must_use]
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// Gives the codebook back.
    #[must_use]
    pub fn into_codebook(self) -> Codebook {
        self.codebook
    }

    /// One task: gathers, searches, checks near ties and writes. `Some` is a vector that is not finite.
    fn task(
        &self,
        scratch: &mut Scratch,
        vectors: &Vectors<'_>,
        first: usize,
        out: TaskOutput<'_>,
    ) -> Option<usize> {
        match self.simd {
            // SAFETY: the portable lanes need no instruction set; the blocking is that of `Simd::blocking`.
            Simd::Portable => unsafe { run_portable(self, scratch, vectors, first, out) },
            // SAFETY: `with_simd` and `best` only choose what the machine has.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { run_avx2(self, scratch, vectors, first, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { run_avx512(self, scratch, vectors, first, out) },
        }
    }
}

impl NearestCode for CpuSearch {
    fn codebook(&self) -> &Codebook {
        &self.codebook
    }

    fn search(&self, vectors: &Vectors<'_>, output: SearchOutput<'_>) -> Result<(), VqError> {
        check(&self.codebook, vectors, &output)?;
        let length = task_length(vectors.len(), self.simd.blocking().0);
        let quantized = output.quantized.map(Scatter::new);
        let bad = output
            .indices
            .par_chunks_mut(length)
            .zip(output.squared_distances.par_chunks_mut(length))
            .enumerate()
            .map_init(
                || Scratch::new(self),
                |scratch, (task, (indices, distances))| {
                    let out = TaskOutput {
                        indices,
                        distances,
                        quantized: quantized.as_ref(),
                    };
                    self.task(scratch, vectors, task * length, out)
                },
            )
            .flatten_iter()
            .min();
        bad.and_then(|index| vectors.non_finite(index))
            .map_or(Ok(()), Err)
    }
}

/// Vectors per task: many enough to reuse each code from the cache, few enough to keep all threads busy.
fn task_length(count: usize, width: usize) -> usize {
    let tasks = rayon::current_num_threads() * TASKS_PER_THREAD;
    width * count.div_ceil(width * tasks).clamp(1, TILES_PER_TASK)
}

struct Scratch {
    tiles: Tiles,
    scores: Vec<f32>,
    vector: Vec<f32>,
    candidates: Vec<u32>,
    #[cfg(target_arch = "x86_64")]
    screen: Option<screen::ScreenTile>,
}

impl Scratch {
    fn new(search: &CpuSearch) -> Self {
        let dim = search.codebook.dim();
        Self {
            tiles: Tiles::new(search.simd.blocking().0, dim),
            scores: Vec::with_capacity(search.codebook.codes()),
            vector: vec![0.0; dim],
            candidates: Vec::with_capacity(search.codebook.codes()),
            #[cfg(target_arch = "x86_64")]
            screen: search.screen.as_ref().map(screen::ScreenTile::new),
        }
    }
}

/// Where a task writes what it finds.
pub(crate) struct TaskOutput<'a> {
    pub(crate) indices: &'a mut [u32],
    pub(crate) distances: &'a mut [f32],
    pub(crate) quantized: Option<&'a Scatter<'a>>,
}

macro_rules! instance {
    ($name:ident, $lanes:ty, $codes:literal $(, $features:literal)?) => {
        /// # Safety
        /// The machine has the instruction set; the panels and tiles have its blocking.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(
            search: &CpuSearch,
            scratch: &mut Scratch,
            vectors: &Vectors<'_>,
            first: usize,
            out: TaskOutput<'_>,
        ) -> Option<usize> {
            let gathered = scratch.tiles.gather(vectors, first, out.indices.len(), search.panels.largest_norm);
            if let Err(bad) = gathered {
                return Some(bad);
            }
            if !screened(search, scratch, out.indices) {
                // SAFETY: by this function's own contract.
                unsafe { kernel::search::<$lanes, $codes>(&mut scratch.tiles, &search.panels) };
                settle(search, scratch, out.indices);
            }
            write(search, scratch, vectors, first, out);
            None
        }
    };
}

instance!(run_portable, lanes::Portable, 6);
#[cfg(target_arch = "x86_64")]
instance!(run_avx2, lanes::Avx2, 6, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instance!(run_avx512, lanes::Avx512, 12, "avx512f");

/// Finds the codes of a task by screening; `false` where that does not pay.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn screened(search: &CpuSearch, scratch: &mut Scratch, indices: &mut [u32]) -> bool {
    let Scratch {
        tiles,
        scores,
        vector,
        candidates,
        screen: work,
    } = scratch;
    let (Some(screen), Some(work)) = (&search.screen, work) else {
        return false;
    };
    let codebook = &search.codebook;
    indices
        .chunks_mut(screen::LANES)
        .enumerate()
        .all(|(tile, indices)| {
            let first = tile * screen::LANES;
            let count = indices.len();
            let settle = |lane: usize, candidates: &[u32]| {
                indices[lane] = if let [one] = candidates {
                    *one
                } else {
                    let at = first + lane;
                    let left = candidates.iter().map(|&c| c as usize);
                    copy_lane(tiles, at, vector);
                    if tiles.exact[at] {
                        reference::nearest_of(vector, codebook, left)
                    } else {
                        nearest_within(vector, codebook, tiles.slack[at], left, scores)
                    }
                };
            };
            // SAFETY: only a search with AVX2, whose tiles have these lanes, has a screen.
            unsafe {
                screen::avx2::screen_tile(screen, work, tiles, tile, count, candidates, settle)
            }
        })
}

#[cfg(not(target_arch = "x86_64"))]
fn screened(_: &CpuSearch, _: &mut Scratch, _: &mut [u32]) -> bool {
    false
}

/// Copies one vector out of its tile.
#[inline(always)]
fn copy_lane(tiles: &Tiles, lane: usize, out: &mut [f32]) {
    let (dim, width) = (tiles.dim, tiles.width);
    let tile = &tiles.values()[(lane - lane % width) * dim..][..dim * width];
    for (value, row) in out.iter_mut().zip(tile.chunks_exact(width)) {
        *value = row[lane % width];
    }
}

/// Takes the codes that the `f32` scores have found, after settling near ties.
#[inline(always)]
fn settle(search: &CpuSearch, scratch: &mut Scratch, indices: &mut [u32]) {
    let Scratch {
        tiles,
        scores,
        vector,
        ..
    } = scratch;
    for (lane, index) in indices.iter_mut().enumerate() {
        let near = tiles.best[lane] - tiles.second[lane] <= tiles.slack[lane];
        *index = if tiles.exact[lane] {
            copy_lane(tiles, lane, vector);
            reference::nearest(vector, &search.codebook)
        } else if near {
            copy_lane(tiles, lane, vector);
            let all = 0..search.codebook.codes();
            nearest_within(vector, &search.codebook, tiles.slack[lane], all, scores)
        } else {
            tiles.index[lane].to_bits()
        };
    }
}

/// Writes the results of a task whose indices are found.
#[inline(always)]
fn write(
    search: &CpuSearch,
    scratch: &mut Scratch,
    vectors: &Vectors<'_>,
    first: usize,
    out: TaskOutput<'_>,
) {
    let tiles = &scratch.tiles;
    let (dim, width) = (tiles.dim, tiles.width);
    let groups = out
        .indices
        .chunks(GROUP)
        .zip(out.distances.chunks_mut(GROUP));
    for (group, (indices, distances)) in groups.enumerate() {
        let codes = rows(&search.codebook, indices);
        let lane = group * GROUP;
        let tile = &tiles.values()[(lane - lane % width) * dim..][..dim * width];
        squared_distances(tile, width, lane % width, &codes, distances);
        if let Some(quantized) = out.quantized {
            write_codes(quantized, vectors, first + lane, &codes[..indices.len()]);
        }
    }
}

/// Vectors whose distances are summed side by side; divides the width of every tile.
const GROUP: usize = 4;

/// The codes of a group; lanes without a vector repeat the first.
#[inline(always)]
fn rows<'a>(codebook: &'a Codebook, indices: &[u32]) -> [&'a [f32]; GROUP] {
    let dim = codebook.dim();
    std::array::from_fn(|l| {
        let index = indices.get(l).unwrap_or(&indices[0]);
        &codebook.as_slice()[*index as usize * dim..][..dim]
    })
}

/// [`reference::squared_distance`] of the lanes `first..first + GROUP` of a tile to their codes.
#[inline(always)]
fn squared_distances(
    tile: &[f32],
    width: usize,
    first: usize,
    codes: &[&[f32]; GROUP],
    out: &mut [f32],
) {
    let mut sums = [0.0f64; GROUP];
    for (i, row) in tile.chunks_exact(width).enumerate() {
        let row = &row[first..first + GROUP];
        for l in 0..GROUP {
            let difference = f64::from(row[l]) - f64::from(codes[l][i]);
            sums[l] += difference * difference;
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}

/// Writes the codes of vectors `first..` in the layout of the vectors.
#[inline(always)]
fn write_codes(quantized: &Scatter<'_>, vectors: &Vectors<'_>, first: usize, codes: &[&[f32]]) {
    let shape = vectors.shape();
    for (lane, code) in codes.iter().enumerate() {
        let start = shape.offset(first + lane);
        for (i, &value) in code.iter().enumerate() {
            // SAFETY: each vector has its own places, and `check` has compared the lengths.
            unsafe { quantized.write(start + i * shape.component_stride, value) };
        }
    }
}

/// The exact search among those of `candidates`, which ascend, whose score lies within `slack` of the best one.
#[inline(always)]
fn nearest_within(
    vector: &[f32],
    codebook: &Codebook,
    slack: f32,
    candidates: impl Iterator<Item = usize> + Clone,
    scores: &mut Vec<f32>,
) -> u32 {
    let dim = codebook.dim();
    // Loops instead of iterator adapters, whose closures would be compiled without the instruction set of the caller.
    let mut best = f32::NEG_INFINITY;
    scores.clear();
    for code in candidates.clone() {
        let score = plain_score(vector, &codebook.as_slice()[code * dim..][..dim]);
        scores.push(score);
        best = best.max(score);
    }
    let close = candidates
        .zip(scores.iter())
        .filter(|(_, s)| **s >= best - slack);
    let mut close = close.map(|(code, _)| code);
    match (close.next(), close.next()) {
        (Some(one), None) => one as u32,
        (Some(one), Some(two)) => {
            reference::nearest_of(vector, codebook, [one, two].into_iter().chain(close))
        }
        // Scores that are not numbers: nothing but the definition is to be trusted.
        (None, _) => reference::nearest(vector, codebook),
    }
}

/// `z.c - |c|^2 / 2 = (z - c/2).c`, in eight interleaved sums.
#[inline(always)]
fn plain_score(vector: &[f32], code: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0f32; LANES];
    let (z, z_rest) = vector.as_chunks::<LANES>();
    let (c, c_rest) = code.as_chunks::<LANES>();
    for (z, c) in z.iter().zip(c) {
        for lane in 0..LANES {
            sums[lane] += (z[lane] - 0.5 * c[lane]) * c[lane];
        }
    }
    let mut sum = 0.0;
    for (z, c) in z_rest.iter().zip(c_rest) {
        sum += (z - 0.5 * c) * c;
    }
    for lane in sums {
        sum += lane;
    }
    sum
}

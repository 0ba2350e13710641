//! The search on the processor: a blocked matrix product whose maximum is taken on the way, so that no distance is ever stored.
//!
//! `argmin |z - c|^2 = argmax z.c - |c|^2 / 2`. The product is made in `f32`; a vector whose two best scores lie within the rounding
//! error of each other is searched again in double precision among the codes that rounding could have put in the wrong order. The answer
//! is therefore that of [`crate::reference`], with every instruction set.
//!
//! With AVX2 the product is made in small integers first, three times as fast, which leaves a handful of codes for `f32`; see `screen`.

mod answer;
mod exp;
mod kernel;
mod lanes;
mod panels;
#[cfg(target_arch = "x86_64")]
mod screen;
pub(crate) mod soft;
mod tiles;

use rayon::prelude::*;

use self::answer::{screened, settle, write};
use self::panels::Panels;
use self::tiles::Tiles;
use crate::codebook::Codebook;
use crate::error::VqError;
use crate::nearest::{NearestCode, SearchOutput, check};
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

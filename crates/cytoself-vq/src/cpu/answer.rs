//! From scores to answers: near ties settled, distances and codes written.

#[cfg(target_arch = "x86_64")]
use super::screen;
use super::tiles::Tiles;
use super::{CpuSearch, Scratch, TaskOutput};
use crate::codebook::Codebook;
use crate::reference;
use crate::scatter::Scatter;
use crate::vectors::Vectors;

/// Finds the codes of a task by screening; `false` where that does not pay.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn screened(search: &CpuSearch, scratch: &mut Scratch, indices: &mut [u32]) -> bool {
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
pub(super) fn screened(_: &CpuSearch, _: &mut Scratch, _: &mut [u32]) -> bool {
    false
}

/// Copies one vector out of its tile.
#[inline(always)]
pub(super) fn copy_lane(tiles: &Tiles, lane: usize, out: &mut [f32]) {
    let (dim, width) = (tiles.dim, tiles.width);
    let tile = &tiles.values()[(lane - lane % width) * dim..][..dim * width];
    for (value, row) in out.iter_mut().zip(tile.chunks_exact(width)) {
        *value = row[lane % width];
    }
}

/// Takes the codes that the `f32` scores have found, after settling near ties.
#[inline(always)]
pub(super) fn settle(search: &CpuSearch, scratch: &mut Scratch, indices: &mut [u32]) {
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
pub(super) fn write(
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
pub(super) fn plain_score(vector: &[f32], code: &[f32]) -> f32 {
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

//! The integer scores with AVX2.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi16, _mm256_cmpgt_epi16, _mm256_loadu_si256, _mm256_maddubs_epi16,
    _mm256_max_epi16, _mm256_movemask_epi8, _mm256_packs_epi16, _mm256_permute4x64_epi64,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_storeu_si256,
};

use super::{LANES, MOST_CANDIDATES, PANEL, Screen, ScreenTile};
use crate::cpu::tiles::Tiles;

/// Vectors that are scored together: each code is then loaded once for all of them.
pub(super) const TOGETHER: usize = 4;

/// Screens the first `count` vectors of a tile and hands the candidates of each to `settle`, by lane; `false`, at any moment, when
/// the `f32` kernel should have the tile instead.
///
/// # Safety
/// The machine has AVX2; `tiles` has [`LANES`] lanes and the components of `screen`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(in crate::cpu) unsafe fn screen_tile(
    screen: &Screen,
    work: &mut ScreenTile,
    tiles: &Tiles,
    tile: usize,
    count: usize,
    candidates: &mut Vec<u32>,
    mut settle: impl FnMut(usize, &[u32]),
) -> bool {
    if !work.round(screen, tiles, tile, count) {
        return false;
    }
    let mut found = 0;
    for group in 0..count.div_ceil(TOGETHER) {
        // SAFETY: by the caller's contract; `round` has filled the tile.
        unsafe { score(screen, work, group) };
        for within in 0..TOGETHER.min(count - group * TOGETHER) {
            let lane = group * TOGETHER + within;
            // SAFETY: as above; `score` has filled the scores.
            unsafe { collect(screen, work, within, lane, candidates) };
            found += candidates.len();
            settle(lane, candidates);
        }
        if found > MOST_CANDIDATES * TOGETHER * (group + 1) {
            return false;
        }
    }
    true
}

/// Scores of the vectors `TOGETHER * group..` of a rounded tile against every code.
///
/// # Safety
/// The machine has AVX2; `group < LANES / TOGETHER`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn score(screen: &Screen, work: &mut ScreenTile, group: usize) {
    let (pairs, padded) = (screen.pairs, screen.padded());
    debug_assert!(group < LANES / TOGETHER);
    debug_assert!(work.words.len() == pairs * LANES && work.start.len() == padded);
    debug_assert!(work.scores.len() == TOGETHER * padded);
    let words = work.words.as_ptr();
    for panel in 0..padded / PANEL {
        // SAFETY: a panel has `pairs * PANEL * 2` values and `PANEL` starts; `words` has `LANES` per pair; each of the `TOGETHER` rows
        // of `scores` has `padded` values.
        unsafe {
            let codes = screen.values.as_ptr().add(panel * pairs * PANEL * 2);
            let start = work.start.as_ptr().add(panel * PANEL).cast::<__m256i>();
            let start = [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))];
            let mut sums = [start; TOGETHER];
            for pair in 0..pairs {
                let codes = codes.add(pair * PANEL * 2).cast::<__m256i>();
                let codes = [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))];
                let words = words.add(pair * LANES + group * TOGETHER);
                for (within, sums) in sums.iter_mut().enumerate() {
                    let word = _mm256_set1_epi32(*words.add(within));
                    for h in 0..2 {
                        sums[h] = _mm256_add_epi16(sums[h], _mm256_maddubs_epi16(word, codes[h]));
                    }
                }
            }
            for (within, sums) in sums.iter().enumerate() {
                let to = work
                    .scores
                    .as_mut_ptr()
                    .add(within * padded + panel * PANEL);
                _mm256_storeu_si256(to.cast(), sums[0]);
                _mm256_storeu_si256(to.cast::<__m256i>().add(1), sums[1]);
            }
        }
    }
}

/// The codes of one vector in work that can be its nearest, ascending.
///
/// # Safety
/// The machine has AVX2; `within < TOGETHER`, `lane < LANES`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn collect(
    screen: &Screen,
    work: &ScreenTile,
    within: usize,
    lane: usize,
    out: &mut Vec<u32>,
) {
    let padded = screen.padded();
    out.clear();
    // SAFETY: the rows of `scores` have `padded` values, a multiple of `PANEL`, which is two registers.
    unsafe {
        let scores = work.scores.as_ptr().add(within * padded);
        let load = |panel: usize| {
            let from = scores.add(panel * PANEL).cast::<__m256i>();
            [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))]
        };
        let mut tops = [_mm256_set1_epi16(i16::MIN); 2];
        for panel in 0..padded / PANEL {
            let [low, high] = load(panel);
            tops = [
                _mm256_max_epi16(tops[0], low),
                _mm256_max_epi16(tops[1], high),
            ];
        }
        let mut row = [0i16; LANES];
        let tops = _mm256_max_epi16(tops[0], tops[1]);
        _mm256_storeu_si256(row.as_mut_ptr().cast(), tops);
        let mut best = i32::from(i16::MIN);
        for top in row {
            best = best.max(i32::from(top));
        }
        let below = (best - work.slack[lane] - 1).max(i32::from(i16::MIN)) as i16;
        let bar = _mm256_set1_epi16(below);
        for panel in 0..padded / PANEL {
            let [low, high] = load(panel);
            let [low, high] = [_mm256_cmpgt_epi16(low, bar), _mm256_cmpgt_epi16(high, bar)];
            // Packing works within halves of registers; the permutation puts the four quarters in order.
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(low, high));
            let mut mask = _mm256_movemask_epi8(packed) as u32;
            while mask != 0 {
                out.push((panel * PANEL) as u32 + mask.trailing_zeros());
                mask &= mask - 1;
            }
        }
    }
    // Codes that only fill up the last panel come last.
    while out.last().is_some_and(|&c| c as usize >= screen.codes) {
        out.pop();
    }
}

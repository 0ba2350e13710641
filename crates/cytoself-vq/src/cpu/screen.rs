//! Screening: scores in small integers with a proven bound of their error, which leave a few codes to compare exactly.
//!
//! Vectors and codes are rounded to 7 bits and their products summed in 16; with AVX2 that is 32 products per instruction instead of
//! the 8 of `f32`. With `r` and `s` the units of vectors and codes, `z` and `c` measured from the mean code, the score of a code is
//! the integer `S = round(r z).round(s c) - round(r s |c|^2 / 2)`, and
//! `|S - r s (z.c - |c|^2 / 2)| <= |r z - round(r z)| |s c| + |round(r z)| |s c - round(s c)| + 1/2` (Cauchy-Schwarz). Only codes whose
//! `S` lies within twice that of the best can be the nearest; what the definition of the nearest code rounds is added. Units are chosen so that no sum leaves 16 bits.

pub(super) mod avx2;

use super::tiles::Tiles;
use crate::codebook::{Codebook, squared_norm};

/// Vectors of a tile.
pub(super) const LANES: usize = 16;
/// Codes of a panel: two registers of 16.
pub(super) const PANEL: usize = 32;
/// Scores stay within 16 bits.
const LARGEST_SCORE: f64 = 32_700.0;
/// Vectors are rounded to -63..63 and moved up by this, because the product takes one factor without sign.
const SHIFT: i32 = 64;
/// Smaller codebooks are not worth the preparation.
const FEWEST_CODES: usize = 64;
/// Magnitudes whose squares neither overflow nor vanish in `f32`.
const SIZES: std::ops::RangeInclusive<f64> = 1e-15..=1e15;
/// Codes per vector that may be left over on average; above this the `f32` kernel is faster.
pub(super) const MOST_CANDIDATES: usize = 96;

/// A codebook for screening.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    /// Components in pairs.
    pairs: usize,
    codes: usize,
    /// The mean code, `[2 * pairs]`.
    mean: Vec<f32>,
    /// `round(s c)`, `[panels, pairs, PANEL, 2]`.
    values: Vec<i8>,
    /// `-s |c|^2 / 2`, `[panels * PANEL]`; 0 for the codes that fill up the last panel.
    half_norms: Vec<f32>,
    /// What `SHIFT` adds to the product, with its sign turned, modulo 2^16.
    unshift: Vec<i16>,
    /// The largest `|s c|`.
    largest: f64,
    /// The largest `|round(s c)|`.
    largest_rounded: f64,
    /// The largest `|s c - round(s c)|`.
    residual: f64,
    /// The largest `s |c|^2 / 2`.
    largest_half_norm: f64,
    /// `s`.
    unit: f64,
    /// The norm of the mean code and the largest of a code, both from the origin.
    from_origin: f64,
}

impl Screen {
    /// `None` where screening does not pay or would not be exact.
    pub(super) fn new(codebook: &Codebook) -> Option<Self> {
        let (codes, dim) = (codebook.codes(), codebook.dim());
        if codes < FEWEST_CODES {
            return None;
        }
        let pairs = dim.div_ceil(2);
        let mean = mean_code(codebook, 2 * pairs);
        let centred = |row: &[f32], i: usize| {
            row.get(i)
                .map_or(0.0, |&v| f64::from(v) - f64::from(mean[i]))
        };
        let mut norm = 0.0f64;
        let mut component = 0.0f64;
        for row in codebook.rows() {
            let values = (0..dim).map(|i| centred(row, i));
            norm = norm.max(values.clone().map(|v| v * v).sum());
            component = values.fold(component, |m, v| m.max(v.abs()));
        }
        let norm = norm.sqrt();
        if !SIZES.contains(&norm) {
            return None;
        }
        // Vectors as long as the longest code, with the half norm on top, just fit.
        let unit = (LARGEST_SCORE / 1.5).sqrt().min(127.0 * norm / component) / norm;

        let panels = codes.div_ceil(PANEL);
        let mut screen = Self {
            pairs,
            codes,
            values: vec![0; panels * pairs * PANEL * 2],
            half_norms: vec![0.0; panels * PANEL],
            unshift: vec![0; panels * PANEL],
            largest: unit * norm,
            largest_rounded: 0.0,
            residual: 0.0,
            largest_half_norm: 0.5 * unit * norm * norm,
            unit,
            from_origin: squared_norm(&mean).sqrt() + codebook.largest_norm(),
            mean: Vec::new(),
        };
        for (code, row) in codebook.rows().enumerate() {
            let (mut squares, mut rounded, mut residual, mut sum) = (0.0, 0.0, 0.0, 0i32);
            for i in 0..dim {
                let exact = centred(row, i);
                let value = (unit * exact).round_ties_even();
                squares += exact * exact;
                rounded += value * value;
                residual += (unit * exact - value) * (unit * exact - value);
                sum += value as i32;
                let at = ((code / PANEL * pairs + i / 2) * PANEL + code % PANEL) * 2 + i % 2;
                screen.values[at] = value as i8;
            }
            screen.half_norms[code] = (-0.5 * unit * squares) as f32;
            screen.unshift[code] = (-SHIFT * sum) as i16;
            screen.largest_rounded = screen.largest_rounded.max(rounded.sqrt());
            screen.residual = screen.residual.max(residual.sqrt());
        }
        screen.mean = mean;
        Some(screen)
    }

    /// Codes with those that fill up the last panel.
    fn padded(&self) -> usize {
        self.half_norms.len()
    }
}

/// The mean code, with zeros up to `length`.
fn mean_code(codebook: &Codebook, length: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; length];
    for row in codebook.rows() {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    let codes = codebook.codes() as f64;
    sums.into_iter().map(|sum| (sum / codes) as f32).collect()
}

/// One tile of vectors for screening, and the scores of a few of them.
pub(super) struct ScreenTile {
    /// Pairs of shifted components, each pair twice, `[pairs, LANES]`.
    words: Vec<i32>,
    /// The score of each code before any product, `[padded]`.
    start: Vec<i16>,
    /// Scores of the vectors in work, `[avx2::TOGETHER, padded]`.
    scores: Vec<i16>,
    /// How far below the best score the nearest code can lie.
    slack: [i32; LANES],
}

impl ScreenTile {
    pub(super) fn new(screen: &Screen) -> Self {
        Self {
            words: vec![0; screen.pairs * LANES],
            start: vec![0; screen.padded()],
            scores: vec![0; avx2::TOGETHER * screen.padded()],
            slack: [0; LANES],
        }
    }

    /// Rounds the first `count` vectors of a tile; `false` where their magnitude does not allow it.
    #[inline(always)]
    fn round(&mut self, screen: &Screen, tiles: &Tiles, tile: usize, count: usize) -> bool {
        let dim = tiles.dim;
        let (rows, _) = tiles.values()[tile * dim * LANES..][..dim * LANES].as_chunks::<LANES>();
        let mut norms = [0.0f32; LANES];
        let mut tops = [0.0f32; LANES];
        for (row, &mean) in rows.iter().zip(&screen.mean) {
            for l in 0..LANES {
                let v = row[l] - mean;
                norms[l] += v * v;
                tops[l] = tops[l].max(v.abs());
            }
        }
        // What sums of `dim` squares in f32 may lack.
        let margin = 1.0 + (dim as f64 + 8.0) * f64::from(f32::EPSILON);
        let (mut lengths, mut norm, mut top) = ([0.0; LANES], 0.0f64, 0.0f32);
        for l in 0..count {
            lengths[l] = margin * f64::from(norms[l]).sqrt();
            norm = norm.max(lengths[l]);
            top = top.max(tops[l]);
        }
        if !SIZES.contains(&f64::from(top)) || !SIZES.contains(&norm) {
            return false;
        }
        let half_side = 0.5 * (dim as f64).sqrt();
        let room = LARGEST_SCORE - 1.0 - half_side * screen.largest_rounded;
        let needed = norm * screen.largest_rounded + screen.largest_half_norm;
        let unit = (63.0 / f64::from(top)).min(room / needed) as f32;
        if !(unit > 0.0 && unit.is_finite()) {
            return false;
        }

        let mut residuals = [0.0f32; LANES];
        let pairs = rows.chunks(2).zip(screen.mean.chunks(2));
        for (words, (rows, means)) in self.words.chunks_exact_mut(LANES).zip(pairs) {
            let low = round_row(&rows[0], means[0], unit, &mut residuals);
            let high = match rows.get(1) {
                Some(row) => round_row(row, means[1], unit, &mut residuals),
                None => [SHIFT; LANES],
            };
            for l in 0..LANES {
                let pair = low[l] | high[l] << 8;
                words[l] = pair | pair << 16;
            }
        }
        // The definition of the nearest code rounds too, in double precision: 2^-53 per step of |z - c|^2.
        let definition = (dim as f64 + 8.0) * 0.5 * f64::EPSILON * f64::from(unit) * screen.unit;
        for l in 0..LANES {
            let reach = lengths[l] + screen.from_origin;
            let residual = margin * f64::from(residuals[l]).sqrt();
            let rounded = f64::from(unit) * lengths[l] + residual;
            let error =
                residual * screen.largest + rounded * screen.residual + definition * reach * reach;
            // 1/2 for the half norm; the rest and the factor cover what f32 rounds on the way, all below a thousandth.
            self.slack[l] = (2.0 * (1.001 * error + 0.6)).min(1e6) as i32 + 1;
        }
        let halves = screen.half_norms.iter().zip(&screen.unshift);
        for (start, (&half, &unshift)) in self.start.iter_mut().zip(halves) {
            *start = (to_integer(unit * half) as i16).wrapping_add(unshift);
        }
        self.start[screen.codes..].fill(i16::MIN);
        true
    }
}

/// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn to_integer(value: f32) -> i32 {
    (value + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

/// Rounds and shifts one component of all lanes and adds the squares of what rounding took away.
#[inline(always)]
fn round_row(
    row: &[f32; LANES],
    mean: f32,
    unit: f32,
    residuals: &mut [f32; LANES],
) -> [i32; LANES] {
    let mut shifted = [0; LANES];
    for l in 0..LANES {
        // Lanes without a vector may lie outside.
        let scaled = (unit * (row[l] - mean)).clamp(-63.0, 63.0);
        let rounded = (scaled + ROUND) - ROUND;
        residuals[l] += (scaled - rounded) * (scaled - rounded);
        shifted[l] = to_integer(scaled) + SHIFT;
    }
    shifted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::squared_distance;
    use crate::vectors::Vectors;

    /// The bound holds for the integer scores of every vector and code.
    #[test]
    fn scores_stay_within_their_bound() {
        if !is_x86_feature_detected!("avx2") {
            println!("skipped: no AVX2");
            return;
        }
        for (codes, dim, shift, scale) in
            [(200, 7, 0.0, 1.0), (64, 64, 3.0, 0.2), (97, 30, -50.0, 4.0)]
        {
            let moved = |n: usize, seed, by: f32| -> Vec<f32> {
                let values = Codebook::uniform(n * dim, 1, seed).unwrap();
                let unit = ((n * dim) as f32 / 3.0).sqrt();
                values
                    .as_slice()
                    .iter()
                    .map(|v| by * unit * v + shift)
                    .collect()
            };
            let codebook = Codebook::new(moved(codes, 1, 1.0), codes, dim).unwrap();
            let screen = Screen::new(&codebook).unwrap();
            let data = moved(LANES, 2, scale);
            let vectors = Vectors::rows(&data, LANES, 1, dim).unwrap();
            let mut tiles = Tiles::new(LANES, dim);
            tiles
                .gather(&vectors, 0, LANES, codebook.largest_norm())
                .unwrap();
            let mut tile = ScreenTile::new(&screen);
            assert!(tile.round(&screen, &tiles, 0, LANES));
            for group in 0..LANES / avx2::TOGETHER {
                // SAFETY: AVX2 is there.
                unsafe { avx2::score(&screen, &mut tile, group) };
                for within in 0..avx2::TOGETHER {
                    let lane = group * avx2::TOGETHER + within;
                    let z = &data[lane * dim..(lane + 1) * dim];
                    let scores = &tile.scores[within * screen.padded()..];
                    for (i, a) in codebook.rows().enumerate() {
                        for (j, b) in codebook.rows().enumerate() {
                            let nearer = squared_distance(z, a) < squared_distance(z, b);
                            let apart = i32::from(scores[j]) - i32::from(scores[i]);
                            assert!(!nearer || apart <= tile.slack[lane], "{lane} {i} {j}");
                        }
                    }
                }
            }
        }
    }
}

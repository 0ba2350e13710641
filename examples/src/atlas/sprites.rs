//! Pictures of crops for the page: small tiles on JPEG sheets.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use serde_json::{Value, json};

use crate::cli::Failure;

/// Columns and rows of a picture, pixels.
pub const TILE: usize = 64;
const PER_ROW: usize = 32;
const PER_SHEET: usize = 512;
const QUALITY: u8 = 78;

/// The sheets, and where each point finds its picture.
#[derive(Debug, Clone)]
pub struct Sprites {
    /// JPEG files.
    pub sheets: Vec<Vec<u8>>,
    /// Number of the tile of every point; -1 for none.
    pub slots: Vec<i32>,
}

impl Sprites {
    /// Which points get a picture if there are at most `cap`: all, or evenly spread ones.
    #[must_use]
    pub fn choose(points: usize, cap: usize) -> Vec<usize> {
        let wanted = points.min(cap);
        (0..wanted).map(|i| i * points / wanted).collect()
    }

    /// Draws the chosen points. `tile(points, out)` fills RGB tiles `[points, TILE, TILE, 3]`.
    ///
    /// # Errors
    /// - `tile` fails.
    pub fn draw(
        points: usize,
        chosen: &[usize],
        mut tile: impl FnMut(&[usize], &mut [u8]) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut slots = vec![-1; points];
        let mut sheets = Vec::with_capacity(chosen.len().div_ceil(PER_SHEET));
        let mut tiles = vec![0; PER_SHEET * TILE * TILE * 3];
        for (sheet, group) in chosen.chunks(PER_SHEET).enumerate() {
            tile(group, &mut tiles[..group.len() * TILE * TILE * 3])?;
            sheets.push(encode(&tiles, group.len())?);
            for (at, &point) in group.iter().enumerate() {
                slots[point] = (sheet * PER_SHEET + at) as i32;
            }
        }
        Ok(Self { sheets, slots })
    }

    /// What the page has to know.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({"tile": TILE, "perRow": PER_ROW, "perSheet": PER_SHEET, "sheets": self.sheets.len()})
    }
}

fn encode(tiles: &[u8], count: usize) -> Result<Vec<u8>, Failure> {
    let (width, height) = (PER_ROW.min(count) * TILE, count.div_ceil(PER_ROW) * TILE);
    let mut sheet = vec![0; width * height * 3];
    for (at, tile) in tiles.chunks_exact(TILE * TILE * 3).take(count).enumerate() {
        let (left, top) = (at % PER_ROW * TILE, at / PER_ROW * TILE);
        for (y, row) in tile.chunks_exact(TILE * 3).enumerate() {
            let start = ((top + y) * width + left) * 3;
            sheet[start..start + TILE * 3].copy_from_slice(row);
        }
    }
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder
        .encode(&sheet, width as u16, height as u16, ColorType::Rgb)
        .map_err(Failure::other)?;
    Ok(jpeg)
}

/// One crop as a picture: protein in white, DNA in blue; each stretched from its 1st to its 99.7th percentile.
///
/// # Shapes
/// `protein`, `nucleus`: `[height, width]`; `out`: `[TILE, TILE, 3]`.
pub fn composite(
    protein: &[f32],
    nucleus: Option<&[f32]>,
    [height, width]: [usize; 2],
    out: &mut [u8],
) {
    let protein = stretched(protein, height, width);
    let nucleus = nucleus.map(|n| stretched(n, height, width));
    for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
        let p = protein[i];
        let n = nucleus.as_ref().map_or(0.0, |n| 0.72 * n[i]);
        let byte = |v: f32| (255.0 * v + 0.5) as u8;
        pixel.copy_from_slice(&[byte(p), byte(p.max(0.35 * n)), byte(p.max(n))]);
    }
}

/// Area means on the tile's grid, in 0..1.
fn stretched(image: &[f32], height: usize, width: usize) -> Vec<f32> {
    let mut small = Vec::with_capacity(TILE * TILE);
    for y in 0..TILE {
        let rows = span(y, height);
        for x in 0..TILE {
            let columns = span(x, width);
            let count = (rows.len() * columns.len()) as f32;
            let sum: f32 = rows
                .clone()
                .map(|r| image[r * width..][columns.clone()].iter().sum::<f32>())
                .sum();
            small.push(sum / count);
        }
    }
    let mut sorted: Vec<f32> = small.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() {
        return vec![0.0; TILE * TILE];
    }
    sorted.sort_unstable_by(f32::total_cmp);
    let (low, high) = (
        sorted[sorted.len() / 100],
        sorted[(sorted.len() - 1) * 997 / 1000],
    );
    let scale = 1.0 / (high - low).max(1e-9);
    small
        .iter()
        .map(|v| {
            if v.is_finite() {
                ((v - low) * scale).clamp(0.0, 1.0)
            } else {
                0.0
            }
        })
        .collect()
}

/// The source pixels of tile pixel `at`, at least one.
fn span(at: usize, size: usize) -> std::ops::Range<usize> {
    let start = (at * size / TILE).min(size - 1);
    start..((at + 1) * size).div_ceil(TILE).clamp(start + 1, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pictures_are_spread_evenly() {
        assert_eq!(Sprites::choose(3, 10), [0, 1, 2]);
        assert_eq!(Sprites::choose(10, 4), [0, 2, 5, 7]);
        assert!(Sprites::choose(10, 0).is_empty());
    }

    #[test]
    fn every_point_knows_its_tile() {
        let sprites = Sprites::draw(700, &Sprites::choose(700, 600), |points, out| {
            assert_eq!(out.len(), points.len() * TILE * TILE * 3);
            out.fill(128);
            Ok(())
        })
        .unwrap();
        assert_eq!(sprites.sheets.len(), 2);
        assert!(sprites.sheets.iter().all(|s| s.starts_with(&[0xff, 0xd8])));
        assert_eq!(sprites.slots.iter().filter(|&&s| s >= 0).count(), 600);
        assert_eq!(sprites.slots.iter().max(), Some(&599));
    }

    #[test]
    fn a_bright_half_is_white() {
        let image: Vec<f32> = (0..100 * 100)
            .map(|i| if i % 100 < 50 { 0.0 } else { 3.0 })
            .collect();
        let mut out = vec![0; TILE * TILE * 3];
        composite(&image, None, [100, 100], &mut out);
        assert_eq!(&out[..3], [0, 0, 0]);
        assert_eq!(&out[63 * 3..64 * 3], [255, 255, 255]);
    }
}

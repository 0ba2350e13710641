//! Pictures of the crops behind the points.

use std::collections::HashMap;
use std::path::Path;

use cytoself_io::{CropSource, CropTable, open_crops};
use rayon::prelude::*;

use super::sprites::{Sprites, TILE, composite};
use crate::cli::Failure;

/// Draws at most `cap` of the points from the crops at `path`, found by their names; `None` if no name fits.
///
/// # Errors
/// - the crops cannot be opened or read.
pub fn pictures(path: &Path, points: &CropTable, cap: usize) -> Result<Option<Sprites>, Failure> {
    let source = open_crops(path)?;
    let Some(rows) = rows_of(points, source.table()) else {
        return Ok(None);
    };
    let found: Vec<usize> = (0..rows.len())
        .filter(|&point| rows[point].is_some())
        .collect();
    let chosen: Vec<usize> = Sprites::choose(found.len(), cap)
        .into_iter()
        .map(|i| found[i])
        .collect();
    if chosen.is_empty() {
        return Ok(None);
    }
    let channels = shown_channels(source.as_ref());
    let size = source.crop_shape();
    let area = size[0] * size[1];
    let draw = |group: &[usize], out: &mut [u8]| -> Result<(), Failure> {
        let group: Vec<usize> = group.iter().filter_map(|&point| rows[point]).collect();
        let mut pixels = vec![0.0; group.len() * channels.len() * area];
        source.read_into(&group, &channels, &mut pixels)?;
        let tiles = out.par_chunks_exact_mut(TILE * TILE * 3);
        tiles
            .zip(pixels.par_chunks_exact(channels.len() * area))
            .for_each(|(tile, crop)| {
                let (protein, nucleus) = crop.split_at(area);
                composite(
                    protein,
                    (!nucleus.is_empty()).then_some(nucleus),
                    size,
                    tile,
                );
            });
        Ok(())
    };
    Sprites::draw(points.len(), &chosen, draw).map(Some)
}

/// The protein, and the nucleus if there is one.
fn shown_channels(source: &dyn CropSource) -> Vec<usize> {
    let position = |name: &str| source.channels().iter().position(|channel| channel == name);
    let protein = position("pro").unwrap_or(0);
    let nucleus = position("nuc")
        .or_else(|| position("cell"))
        .filter(|&channel| channel != protein);
    std::iter::once(protein).chain(nucleus).collect()
}

/// The row of the crop of every point.
fn rows_of(points: &CropTable, crops: &CropTable) -> Option<Vec<Option<usize>>> {
    let names = crops.text("crop")?;
    let row: HashMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(row, name)| (name, row))
        .collect();
    Some(
        points
            .text("crop")?
            .iter()
            .map(|name| row.get(name).copied())
            .collect(),
    )
}

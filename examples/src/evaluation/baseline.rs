use std::collections::HashMap;

use cytoself_io::{CropSource, CropTable};
use ndarray::{Array2, ArrayView3, Axis};

use crate::cli::Failure;

/// Crops read at once.
const BLOCK: usize = 256;

/// Rows of another table of the same crops that belong to `rows` of `obs`: by the `crop` column, else by position.
///
/// # Errors
/// - a crop is not in the other table, or the numbers differ and there is no `crop` column.
pub(crate) fn matching_rows(
    obs: &CropTable,
    rows: &[usize],
    others: &CropTable,
) -> Result<Vec<usize>, Failure> {
    let (Some(wanted), Some(offered)) = (obs.text("crop"), others.text("crop")) else {
        if others.len() != obs.len() {
            let text = format!(
                "{} crops for {} embeddings, and no column `crop` to match them by",
                others.len(),
                obs.len()
            );
            return Err(Failure::input(text));
        }
        return Ok(rows.to_vec());
    };
    let index: HashMap<&str, usize> = offered.iter().zip(0..).collect();
    rows.iter()
        .map(|&row| {
            let name = wanted.get(row);
            index.get(name).copied().ok_or_else(|| {
                Failure::input(format!("crop `{name}` (row {row} of the embeddings) is not here; give the crops that were embedded"))
            })
        })
        .collect()
}

/// Both baselines: raw pixels of the protein channel, and size and intensity of every channel.
///
/// # Errors
/// - a crop cannot be read.
pub(super) fn all(
    crops: &dyn CropSource,
    rows: &[usize],
) -> Result<[(&'static str, Array2<f32>); 2], Failure> {
    let channels: Vec<usize> = (0..crops.channels().len()).collect();
    let protein = crops
        .channels()
        .iter()
        .position(|c| c == "pro")
        .unwrap_or(0);
    let [h, w] = crops.crop_shape();
    let mut pixels = Array2::zeros((rows.len(), h * w));
    let mut features = Vec::new();
    let mut width = 0;
    for (block, chunk) in rows.chunks(BLOCK).enumerate() {
        let mut data = vec![0.0; chunk.len() * channels.len() * h * w];
        crops.read_into(chunk, &channels, &mut data)?;
        for (at, crop) in data.chunks_exact(channels.len() * h * w).enumerate() {
            let own = &crop[protein * h * w..(protein + 1) * h * w];
            pixels
                .row_mut(block * BLOCK + at)
                .iter_mut()
                .zip(own)
                .for_each(|(to, from)| *to = *from);
            let image =
                ArrayView3::from_shape((channels.len(), h, w), crop).map_err(Failure::other)?;
            let found = size_and_intensity(image, crops.channels());
            width = found.len();
            features.extend(found);
        }
    }
    let features = Array2::from_shape_vec((rows.len(), width), features).map_err(Failure::other)?;
    Ok([
        ("pixels", pixels),
        ("size_intensity", standardised(features)),
    ])
}

/// Ten numbers per channel that a first look would take: level, spread, quantiles, area, where the light sits.
fn size_and_intensity(image: ArrayView3<'_, f32>, channels: &[String]) -> Vec<f32> {
    image
        .axis_iter(Axis(0))
        .zip(channels)
        .flat_map(|(channel, name)| {
            let mut values: Vec<f32> = channel.iter().copied().collect();
            values.sort_by(f32::total_cmp);
            let count = values.len().max(1) as f32;
            let mean = values.iter().sum::<f32>() / count;
            let deviation =
                (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count).sqrt();
            let quantile = |share: f32| {
                values
                    .get((share * (count - 1.0)).round() as usize)
                    .copied()
                    .unwrap_or(0.0)
            };
            // A distance is positive inside the nucleus; light counts as area above its own mean.
            let border = if name == "nucdist" { 0.0 } else { mean };
            let area = values.iter().filter(|v| **v > border).count() as f32 / count;
            let [off_centre, radius] = moments(channel);
            let five = [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile);
            [mean, deviation, area, off_centre, radius]
                .into_iter()
                .chain(five)
        })
        .collect()
}

/// Distance of the centre of mass from the middle, and the mean distance of the light from it, in crop widths.
fn moments(channel: ndarray::ArrayView2<'_, f32>) -> [f32; 2] {
    let (h, w) = channel.dim();
    let low = channel.iter().copied().fold(f32::INFINITY, f32::min);
    let (mut mass, mut y, mut x) = (0.0f64, 0.0, 0.0);
    for ((i, j), &value) in channel.indexed_iter() {
        let weight = f64::from(value - low);
        (mass, y, x) = (mass + weight, y + weight * i as f64, x + weight * j as f64);
    }
    if mass <= 0.0 {
        return [0.0; 2];
    }
    let (y, x) = (y / mass, x / mass);
    let spread: f64 = channel
        .indexed_iter()
        .map(|((i, j), &v)| f64::from(v - low) * (i as f64 - y).hypot(j as f64 - x))
        .sum();
    let middle = (y - (h as f64 - 1.0) / 2.0).hypot(x - (w as f64 - 1.0) / 2.0);
    [
        (middle / w as f64) as f32,
        (spread / mass / w as f64) as f32,
    ]
}

fn standardised(mut features: Array2<f32>) -> Array2<f32> {
    for mut column in features.axis_iter_mut(Axis(1)) {
        let count = column.len().max(1) as f32;
        let mean = column.sum() / count;
        let deviation =
            (column.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count).sqrt();
        column.mapv_inplace(|v| {
            if deviation > 0.0 {
                (v - mean) / deviation
            } else {
                0.0
            }
        });
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_a_spot() {
        let mut image = ndarray::Array3::<f32>::zeros((1, 11, 11));
        image[[0, 5, 8]] = 2.0;
        let found = size_and_intensity(image.view(), &["pro".to_string()]);
        assert_eq!(found.len(), 10);
        assert!((found[0] - 2.0 / 121.0).abs() < 1e-6);
        assert!((found[2] - 1.0 / 121.0).abs() < 1e-6);
        assert!((found[3] - 3.0 / 11.0).abs() < 1e-6);
        assert_eq!(found[4], 0.0);
    }

    #[test]
    fn a_constant_feature_is_zero() {
        let found = standardised(ndarray::array![[1.0, 5.0], [3.0, 5.0]]);
        assert_eq!(found, ndarray::array![[-1.0, 0.0], [1.0, 0.0]]);
    }
}

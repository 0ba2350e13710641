//! Protein channels of single crops, for pictures.

use cytoself_io::{CropSource, CropTable};
use ndarray::Array2;

use crate::cli::Failure;

/// The protein channel of the crops that belong to `rows` of `obs`, found as [`crate::evaluation`] finds them.
///
/// # Errors
/// - a crop is not among `crops`, or cannot be read.
pub fn protein_images(
    crops: &dyn CropSource,
    obs: &CropTable,
    rows: &[usize],
) -> Result<Vec<Array2<f32>>, Failure> {
    let found = crate::evaluation::matching_rows(obs, rows, crops.table())?;
    let channel = crops
        .channels()
        .iter()
        .position(|c| c == "pro")
        .unwrap_or(0);
    let [h, w] = crops.crop_shape();
    let mut pixels = vec![0.0; found.len() * h * w];
    crops.read_into(&found, &[channel], &mut pixels)?;
    pixels
        .chunks_exact((h * w).max(1))
        .map(|image| Array2::from_shape_vec((h, w), image.to_vec()).map_err(Failure::other))
        .collect()
}

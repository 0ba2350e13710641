//! The variance of the pixels, which scales the reconstruction loss.

use cytoself_io::Split;

use super::data::TrainingData;
use crate::ModelError;
use crate::random::{Stream, Use};

/// Crops read at once.
const CHUNK: usize = 64;
/// Crops looked at, at most: the variance of a few hundred million pixels does not change any more.
const LIMIT: usize = 16_384;

/// Population variance of all pixels of a split, channels pooled; of a seeded sample where the split is large.
///
/// # References
/// Chan, Golub, LeVeque (1983), doi:10.1080/00031305.1983.10483115: merging of partial variances.
pub(super) fn variance(data: &TrainingData, split: Split, seed: u64) -> Result<f64, ModelError> {
    let mut rows = data.rows(split).to_vec();
    if rows.len() > LIMIT {
        Stream::new(seed, Use::Variance, &[split as u64]).shuffle(&mut rows);
        rows.truncate(LIMIT);
        // Neighbouring crops lie in the same shard.
        rows.sort_unstable();
    }
    let (mut count, mut mean, mut squares) = (0.0_f64, 0.0, 0.0);
    for chunk in rows.chunks(CHUNK) {
        let pixels = data.read(chunk)?;
        let n = pixels.len() as f64;
        let chunk_mean = pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / n;
        let chunk_squares: f64 = pixels
            .iter()
            .map(|p| (f64::from(*p) - chunk_mean).powi(2))
            .sum();
        let delta = chunk_mean - mean;
        let total = count + n;
        squares += chunk_squares + delta * delta * count * n / total;
        mean += delta * n / total;
        count = total;
    }
    let variance = squares / count.max(1.0);
    if variance.is_finite() && variance > 0.0 {
        return Ok(variance);
    }
    Err(ModelError::Data {
        expected: format!("{split} crops whose pixels differ"),
        found: format!("a variance of {variance}"),
        hint: "the crops are blank or hold values that are not numbers".to_string(),
    })
}

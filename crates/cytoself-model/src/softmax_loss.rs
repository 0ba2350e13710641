//! The quantiser's softmax loss, which cytoself records and gives the weight 0.

use rayon::prelude::*;

use crate::ModelError;
use crate::model::{Level, Model, check_level};

/// Vectors per task: fixed, so that the sum has the same bits at any thread count.
const CHUNK: usize = 64;

impl Model {
    /// Cross entropy of the softmax of minus the squared distances with the nearest code, mean over vectors; 0 where
    /// quantisation is off.
    ///
    /// Only a measure: the paper and both codes give it no weight, so it has no gradient here and training does not
    /// compute it.
    ///
    /// # Errors
    /// - the level is neither 1 nor 2.
    pub fn softmax_loss(&self, level: &Level, number: usize) -> Result<f64, ModelError> {
        let config = &self.config().levels[check_level(number)?].quantizer;
        if level.quantized.is_none() {
            return Ok(0.0);
        }
        let codes = self.codebook(number)?.flatten_all()?.to_vec1::<f32>()?;
        let (n, _, h, w) = level.encoded.dims4()?;
        let d = config.dimension;
        let vectors = level
            .encoded
            .reshape((n * config.split, d, h * w))?
            .transpose(1, 2)?
            .contiguous()?;
        let vectors = vectors.flatten_all()?.to_vec1::<f32>()?;
        let sums: Vec<f64> = vectors
            .par_chunks(CHUNK * d)
            .map(|chunk| chunk.chunks_exact(d).map(|v| entropy(v, &codes)).sum())
            .collect();
        Ok(sums.iter().sum::<f64>() / (vectors.len() / d) as f64)
    }
}

/// `log(sum exp(-distance)) + smallest distance`.
fn entropy(vector: &[f32], codes: &[f32]) -> f64 {
    let distance = |code: &[f32]| -> f64 {
        code.iter()
            .zip(vector)
            .map(|(c, v)| f64::from(c - v).powi(2))
            .sum()
    };
    let distances: Vec<f64> = codes.chunks_exact(vector.len()).map(distance).collect();
    let smallest = distances.iter().fold(f64::INFINITY, |m, d| m.min(*d));
    distances
        .iter()
        .map(|d| (smallest - d).exp())
        .sum::<f64>()
        .ln()
}

//! The vectors summed by their code: what the codebook gradient, k-means and the moving averages are made of.

use rayon::prelude::*;

use crate::error::VqError;
use crate::statistics::{histograms, total_counts};
use crate::vectors::Vectors;

/// Per code, how many vectors chose it and their sum.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeSums {
    /// Vectors per code, `[codes]`.
    pub counts: Vec<u32>,
    /// Their sums in double precision, `[codes, dim]`.
    pub sums: Vec<f64>,
}

/// Components that one task sums where they lie side by side: one cache line.
const COMPONENTS_PER_TASK: usize = 16;

impl CodeSums {
    /// Sums `vectors` by `indices`, which are in the order of [`Vectors`].
    ///
    /// Each sum runs through the vectors in order, so its bits do not depend on the number of threads.
    ///
    /// # Errors
    /// - [`VqError::Length`]: not one index per vector;
    /// - [`VqError::IndexOutOfRange`]: an index is not below `codes`.
    pub fn new(vectors: &Vectors<'_>, indices: &[u32], codes: usize) -> Result<Self, VqError> {
        if indices.len() != vectors.len() {
            let (expected, found) = (vectors.len(), indices.len());
            return Err(VqError::Length {
                what: "indices",
                shape: format!("[{expected}]"),
                expected,
                found,
            });
        }
        let counts = total_counts(&histograms(indices, 1, codes)?, codes);
        let dim = vectors.dim();
        let width = if vectors.shape().component_stride == 1 {
            COMPONENTS_PER_TASK
        } else {
            1
        };
        let blocks: Vec<Vec<f64>> = (0..dim.div_ceil(width))
            .into_par_iter()
            .map(|block| {
                component_sums(
                    vectors,
                    indices,
                    codes,
                    block * width,
                    width.min(dim - block * width),
                )
            })
            .collect();
        let mut sums = vec![0.0; codes * dim];
        sums.par_chunks_mut(dim)
            .enumerate()
            .for_each(|(code, row)| {
                for (part, block) in row.chunks_mut(width).zip(&blocks) {
                    let count = part.len();
                    part.copy_from_slice(&block[code * count..(code + 1) * count]);
                }
            });
        Ok(Self { counts, sums })
    }
}

/// Sums of the components `first..first + count`, `[codes, count]`.
fn component_sums(
    vectors: &Vectors<'_>,
    indices: &[u32],
    codes: usize,
    first: usize,
    count: usize,
) -> Vec<f64> {
    let shape = vectors.shape();
    let mut sums = vec![0.0f64; codes * count];
    for (run, indices) in indices.chunks(shape.positions.max(1)).enumerate() {
        let start = shape.offset(run * shape.positions) + first * shape.component_stride;
        for (position, &index) in indices.iter().enumerate() {
            let from = start + position * shape.position_stride;
            let row = &mut sums[index as usize * count..][..count];
            for (i, sum) in row.iter_mut().enumerate() {
                *sum += f64::from(vectors.data()[from + i * shape.component_stride]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn sums_by_code_in_every_layout() {
        let (images, split, dim, positions, codes) = (3, 2, 5, 7, 4);
        let mut random = Random::new(1, 0);
        let data: Vec<f32> = (0..images * split * dim * positions)
            .map(|_| random.unit() as f32)
            .collect();
        let vectors = Vectors::planes(&data, images, split, dim, positions).unwrap();
        let indices: Vec<u32> = (0..vectors.len())
            .map(|_| (random.unit() * codes as f64) as u32)
            .collect();
        let found = CodeSums::new(&vectors, &indices, codes).unwrap();
        let mut expected = vec![0.0; codes * dim];
        let mut flat = vec![0.0; vectors.len() * dim];
        for (index, vector) in flat.chunks_exact_mut(dim).enumerate() {
            vectors.copy_to(index, vector);
            for (i, &v) in vector.iter().enumerate() {
                expected[indices[index] as usize * dim + i] += f64::from(v);
            }
        }
        assert_eq!(found.sums, expected);
        let rows = Vectors::rows(&flat, vectors.len(), 1, dim).unwrap();
        assert_eq!(CodeSums::new(&rows, &indices, codes).unwrap(), found);
        assert_eq!(found.counts.iter().sum::<u32>() as usize, vectors.len());
    }
}

//! A codebook from data: k-means++ seeds and Lloyd's iterations.

use rayon::prelude::*;

use crate::codebook::Codebook;
use crate::cpu::CpuSearch;
use crate::error::VqError;
use crate::nearest::{NearestCode, SearchOutput};
use crate::random::Random;
use crate::reference::squared_distance;
use crate::sums::CodeSums;
use crate::vectors::Vectors;

/// Vectors whose weights are summed one after the other, whatever the number of threads.
const CHUNK: usize = 4096;

/// Settings of [`kmeans`].
///
/// # Defaults
/// `iterations` 10, `seed` 42.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KmeansParams {
    /// Lloyd iterations after the seeding; 0 leaves the k-means++ seeds.
    pub iterations: usize,
    /// Seed of the choice of the seeds.
    pub seed: u64,
}

impl Default for KmeansParams {
    fn default() -> Self {
        Self {
            iterations: 10,
            seed: 42,
        }
    }
}

impl KmeansParams {
    /// Sets the number of Lloyd iterations.
    #[must_use]
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A codebook of `codes` rows fitted to `vectors`: k-means++ seeds, then Lloyd's iterations.
///
/// A code that loses all its vectors takes the vector that lies furthest from its own code. Where the vectors have fewer distinct
/// values than `codes`, some codes are equal.
///
/// # Errors
/// - [`VqError::EmptyCodebook`]: `codes` is 0 or there is no vector;
/// - [`VqError::NonFiniteVector`]: a value is NaN or infinite;
/// - [`VqError::Cancelled`]: `progress` broke off; it is called after each seed and iteration with what is done and the total.
///
/// # References
/// Arthur, Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007; Lloyd, "Least squares quantization in PCM", IEEE
/// Transactions on Information Theory 1982, doi:10.1109/TIT.1982.1056489.
///
/// # Example
/// ```
/// use std::ops::ControlFlow;
/// use cytoself_vq::{KmeansParams, Vectors, kmeans};
///
/// let z = [0.0, 1.0, 10.0, 11.0];
/// let codebook = kmeans(&Vectors::rows(&z, 4, 1, 1)?, 2, KmeansParams::default(), &mut |_, _| ControlFlow::Continue(()))?;
/// let mut codes = codebook.as_slice().to_vec();
/// codes.sort_by(f32::total_cmp);
/// assert_eq!(codes, [0.5, 10.5]);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
pub fn kmeans(
    vectors: &Vectors<'_>,
    codes: usize,
    params: KmeansParams,
    progress: &mut dyn FnMut(u64, u64) -> std::ops::ControlFlow<()>,
) -> Result<Codebook, VqError> {
    let dim = vectors.dim();
    if codes == 0 || vectors.is_empty() {
        return Err(VqError::EmptyCodebook {
            codes: codes.min(vectors.len()),
            dim,
        });
    }
    if let Some(error) = (0..vectors.len())
        .into_par_iter()
        .find_map_first(|v| vectors.non_finite(v))
    {
        return Err(error);
    }
    let total = (codes + params.iterations) as u64;
    let mut done = 0;
    let mut advance = || {
        done += 1;
        if progress(done, total).is_break() {
            Err(VqError::Cancelled)
        } else {
            Ok(())
        }
    };
    let mut codebook = seeds(vectors, codes, params.seed, &mut advance)?;
    for _ in 0..params.iterations {
        let next = lloyd(vectors, &codebook)?;
        let settled = next == codebook;
        codebook = next;
        advance()?;
        if settled {
            break;
        }
    }
    Ok(codebook)
}

/// Draws each further code with a chance proportional to the squared distance from the codes so far.
fn seeds(
    vectors: &Vectors<'_>,
    codes: usize,
    seed: u64,
    advance: &mut dyn FnMut() -> Result<(), VqError>,
) -> Result<Codebook, VqError> {
    let dim = vectors.dim();
    let mut random = Random::new(seed, 0);
    let mut chosen = vec![0.0f32; codes * dim];
    let mut distances = vec![f64::INFINITY; vectors.len()];
    let mut next = random.below(vectors.len());
    for code in chosen.chunks_exact_mut(dim) {
        vectors.copy_to(next, code);
        let code = &*code;
        let weights: Vec<f64> = distances
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(chunk, distances)| {
                let mut vector = vec![0.0; dim];
                for (i, distance) in distances.iter_mut().enumerate() {
                    vectors.copy_to(chunk * CHUNK + i, &mut vector);
                    *distance = distance.min(squared_distance(&vector, code));
                }
                distances.iter().sum()
            })
            .collect();
        next = draw(&mut random, &distances, &weights);
        advance()?;
    }
    Codebook::new(chosen, codes, dim)
}

/// An index with a chance proportional to its weight; `sums` are the weights summed by [`CHUNK`]. Uniform when all are 0.
fn draw(random: &mut Random, weights: &[f64], sums: &[f64]) -> usize {
    let total: f64 = sums.iter().sum();
    if total <= 0.0 {
        return random.below(weights.len());
    }
    let mut left = random.unit() * total;
    let mut chunk = 0;
    while chunk + 1 < sums.len() && left >= sums[chunk] {
        left -= sums[chunk];
        chunk += 1;
    }
    let first = chunk * CHUNK;
    let last = weights.len().min(first + CHUNK);
    let mut pick = first;
    for (index, &weight) in weights.iter().enumerate().take(last).skip(first) {
        if weight > 0.0 {
            pick = index;
            if left < weight {
                break;
            }
        }
        left -= weight;
    }
    pick
}

/// Moves every code to the mean of its vectors.
fn lloyd(vectors: &Vectors<'_>, codebook: &Codebook) -> Result<Codebook, VqError> {
    let (codes, dim) = (codebook.codes(), codebook.dim());
    let mut indices = vec![0; vectors.len()];
    let mut distances = vec![0.0; vectors.len()];
    let output = SearchOutput {
        indices: &mut indices,
        squared_distances: &mut distances,
        quantized: None,
    };
    CpuSearch::new(codebook.clone()).search(vectors, output)?;
    let CodeSums { counts, sums } = CodeSums::new(vectors, &indices, codes)?;
    let mut weights = codebook.as_slice().to_vec();
    let mut far: Option<std::vec::IntoIter<usize>> = None;
    for ((code, sum), &count) in weights
        .chunks_exact_mut(dim)
        .zip(sums.chunks_exact(dim))
        .zip(&counts)
    {
        if count > 0 {
            code.iter_mut()
                .zip(sum)
                .for_each(|(c, &s)| *c = (s / f64::from(count)) as f32);
        } else if let Some(vector) = far
            .get_or_insert_with(|| furthest(&distances).into_iter())
            .next()
        {
            vectors.copy_to(vector, code);
        }
    }
    Codebook::new(weights, codes, dim)
}

/// The vectors that are not at their code, the furthest first; of equals the first.
fn furthest(distances: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..distances.len())
        .filter(|&v| distances[v] > 0.0)
        .collect();
    order.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]).then(a.cmp(&b)));
    order
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn clusters() -> Vec<f32> {
        let mut random = Random::new(9, 0);
        let mut data = Vec::new();
        for i in 0..600 {
            for c in 0..3 {
                let centre = if i % 6 == c || i % 6 == c + 3 {
                    20.0 * (1 + i % 6) as f64
                } else {
                    0.0
                };
                data.push((centre + random.unit()) as f32);
            }
        }
        data
    }

    fn fit(threads: usize, codes: usize) -> Codebook {
        let data = clusters();
        let vectors = Vectors::rows(&data, 600, 1, 3).unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            kmeans(&vectors, codes, KmeansParams::default(), &mut |_, _| {
                ControlFlow::Continue(())
            })
            .unwrap()
        })
    }

    #[test]
    fn finds_the_clusters_on_any_number_of_threads() {
        let codebook = fit(1, 6);
        assert_eq!(codebook, fit(3, 6));
        let data = clusters();
        let vectors = Vectors::rows(&data, 600, 1, 3).unwrap();
        let indices = CpuSearch::new(codebook).nearest(&vectors).unwrap();
        let sums = CodeSums::new(&vectors, &indices, 6).unwrap();
        assert_eq!(sums.counts, [100; 6]);
    }

    #[test]
    fn fewer_distinct_vectors_than_codes() {
        let data = [1.0, 1.0, 2.0];
        let vectors = Vectors::rows(&data, 3, 1, 1).unwrap();
        let codebook = kmeans(&vectors, 4, KmeansParams::default(), &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(codebook.as_slice().contains(&1.0) && codebook.as_slice().contains(&2.0));
        let stopped = kmeans(&vectors, 4, KmeansParams::default(), &mut |_, _| {
            ControlFlow::Break(())
        });
        assert!(matches!(stopped, Err(VqError::Cancelled)));
    }
}

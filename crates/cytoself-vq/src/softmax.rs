//! Soft assignment of vectors to codes: `softmax(-|z - c|^2)`.

use rayon::prelude::*;

use crate::cpu::soft::Codes;
use crate::cpu::{CpuSearch, TaskOutput};
use crate::error::VqError;
use crate::nearest::{NearestCode, check as check_search};
use crate::quantizer::{Quantization, SplitQuantizer};
use crate::scatter::Scatter;
use crate::sums::CodeSums;
use crate::vectors::Vectors;

/// Vectors whose soft assignments are summed one after the other: whole tiles, and several chunks in an image of either level.
const CHUNK: usize = 96;
/// Parts of the batch that keep their own sums for the codebook gradient; fixed, so that threads do not change the bits.
const PARTS: usize = 8;

/// The soft assignments of a batch, summed per image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SoftmaxAssignment {
    /// Sum over the vectors of each image of `softmax(-|z - c|^2)`, `[images, codes]`; each row sums to the vectors per image.
    pub histogram: Vec<f32>,
    /// Mean over the vectors of `-ln softmax(-|z - c|^2)` at their code.
    pub cross_entropy: f64,
}

/// Gradients of the summed cross-entropy.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftmaxGradient {
    /// With respect to the vectors, in their layout.
    pub vectors: Vec<f32>,
    /// With respect to the codes, `[codes, dim]`.
    pub codebook: Vec<f32>,
}

/// Assigns every vector softly to all codes; `indices` are the codes at which the cross-entropy is taken.
///
/// Distances are evaluated in `f32`; vectors so large that this overflows count wholly for their code.
///
/// # Errors
/// - [`VqError::Dimension`], [`VqError::Length`], [`VqError::IndexOutOfRange`]: the shapes do not fit;
/// - [`VqError::NonFiniteVector`]: a value is NaN or infinite.
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, CpuSearch, Vectors, softmax_assignment};
///
/// let search = CpuSearch::new(Codebook::new(vec![0.0, 2.0], 2, 1)?);
/// let soft = softmax_assignment(&search, &Vectors::rows(&[1.0], 1, 1, 1)?, &[0])?;
/// assert_eq!(soft.histogram, [0.5, 0.5]);
/// assert!((soft.cross_entropy - 2f64.ln()).abs() < 1e-7);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
pub fn softmax_assignment(
    search: &CpuSearch,
    vectors: &Vectors<'_>,
    indices: &[u32],
) -> Result<SoftmaxAssignment, VqError> {
    check(search, vectors, indices)?;
    let per_image = vectors.per_image();
    let chunks = |image: usize| {
        ranges(image * per_image, (image + 1) * per_image)
            .into_iter()
            .map(|(first, last)| (first, Codes::Given(&indices[first..last])))
            .collect()
    };
    assign(search, vectors, (0..vectors.images()).map(chunks).collect())
}

impl SplitQuantizer<CpuSearch> {
    /// [`SplitQuantizer::quantize`] and [`softmax_assignment`] at the nearest codes, in one pass: every score is computed once.
    ///
    /// # Errors
    /// As [`SplitQuantizer::quantize`].
    ///
    /// # Example
    /// ```
    /// use cytoself_vq::{Codebook, SplitQuantizer, Vectors};
    ///
    /// let quantizer = SplitQuantizer::new(Codebook::new(vec![0.0, 2.0], 2, 1)?, 1)?;
    /// let (found, soft) = quantizer.quantize_soft(&Vectors::rows(&[0.9], 1, 1, 1)?)?;
    /// assert_eq!(found.indices, [0]);
    /// let share = 1.0 / (1.0 + (-0.4f32).exp()); // squared distances 0.81 and 1.21
    /// assert!((soft.histogram[0] - share).abs() < 1e-6);
    /// # Ok::<(), cytoself_vq::VqError>(())
    /// ```
    pub fn quantize_soft(
        &self,
        vectors: &Vectors<'_>,
    ) -> Result<(Quantization, SoftmaxAssignment), VqError> {
        let mut soft = None;
        let found = self.quantize_by(vectors, |output| {
            check_search(self.codebook(), vectors, &output)?;
            let per_image = vectors.per_image().max(1);
            let quantized = output.quantized.map(Scatter::new);
            let images = output
                .indices
                .chunks_mut(per_image)
                .zip(output.squared_distances.chunks_mut(per_image));
            let chunks = images.enumerate().map(|(image, (indices, distances))| {
                let chunks = indices.chunks_mut(CHUNK).zip(distances.chunks_mut(CHUNK));
                let outputs = chunks.enumerate().map(|(chunk, (indices, distances))| {
                    let out = TaskOutput {
                        indices,
                        distances,
                        quantized: quantized.as_ref(),
                    };
                    (image * per_image + chunk * CHUNK, Codes::Nearest(out))
                });
                outputs.collect()
            });
            soft = Some(assign(self.search(), vectors, chunks.collect())?);
            Ok(())
        })?;
        let soft = soft.unwrap_or_default();
        Ok((found, soft))
    }
}

/// Sums the soft assignments of every image; an image is a list of its chunks, each with its first vector.
fn assign(
    search: &CpuSearch,
    vectors: &Vectors<'_>,
    images: Vec<Vec<(usize, Codes<'_>)>>,
) -> Result<SoftmaxAssignment, VqError> {
    let codes = search.codebook().codes();
    let mut histogram = vec![0.0f32; vectors.images() * codes];
    let losses: Vec<Result<f64, usize>> = histogram
        .par_chunks_mut(codes)
        .zip(images)
        .map(|(row, chunks)| {
            let parts: Vec<Result<_, usize>> = chunks
                .into_par_iter()
                .map(|(first, at)| {
                    let mut sums = vec![0.0f32; codes];
                    let loss = search.soft_sums(vectors, first, at, &mut sums)?;
                    Ok((sums, loss))
                })
                .collect();
            let mut loss = 0.0;
            for part in parts {
                let (sums, part) = part?;
                loss += part;
                for (total, sum) in row.iter_mut().zip(sums) {
                    *total += sum;
                }
            }
            Ok(loss)
        })
        .collect();
    let mut total = 0.0;
    for loss in losses {
        match loss {
            Ok(loss) => total += loss,
            Err(bad) => vectors.non_finite(bad).map_or(Ok(()), Err)?,
        }
    }
    let cross_entropy = if vectors.is_empty() {
        0.0
    } else {
        total / vectors.len() as f64
    };
    Ok(SoftmaxAssignment {
        histogram,
        cross_entropy,
    })
}

/// The gradient of `scale * sum_z -ln softmax(-|z - c|^2)[index of z]`.
///
/// # Errors
/// As [`softmax_assignment`].
pub fn softmax_gradient(
    search: &CpuSearch,
    vectors: &Vectors<'_>,
    indices: &[u32],
    scale: f64,
) -> Result<SoftmaxGradient, VqError> {
    let codes = check(search, vectors, indices)?;
    let dim = vectors.dim();
    let part = indices.len().div_ceil(PARTS).max(1);
    let parts: Result<Vec<Part>, VqError> = indices
        .par_chunks(part)
        .enumerate()
        .map(|(at, own)| Part::new(search, vectors, own, at * part))
        .collect();
    let parts = parts?;

    // d/dc = 2 sum (p - 1[index = c]) (z - c), of which the second term is a sum by code.
    let hard = CodeSums::new(vectors, indices, codes)?;
    let mut codebook = vec![0.0f32; codes * dim];
    codebook
        .par_chunks_mut(dim)
        .enumerate()
        .zip(code_rows(search))
        .for_each(|((code, gradient), row)| {
            let mass: f64 = parts.iter().map(|p| f64::from(p.mass[code])).sum();
            for (i, (g, &c)) in gradient.iter_mut().zip(row).enumerate() {
                let soft: f64 = parts
                    .iter()
                    .map(|p| f64::from(p.sums[code * dim + i]))
                    .sum();
                let at = f64::from(c);
                let hard_part = hard.sums[code * dim + i] - f64::from(hard.counts[code]) * at;
                *g = (2.0 * scale * (soft - mass * at - hard_part)) as f32;
            }
        });

    // d/dz = 2 (sum p c - c[index]).
    let factor = (2.0 * scale) as f32;
    let mut gradient = vec![0.0f32; vectors.data().len()];
    let shape = vectors.shape();
    let means = parts.iter().flat_map(|p| p.means.chunks_exact(dim));
    for (vector, (mean, &index)) in means.zip(indices).enumerate() {
        let start = shape.offset(vector);
        let code = &search.codebook().as_slice()[index as usize * dim..][..dim];
        for (i, (&mean, &code)) in mean.iter().zip(code).enumerate() {
            gradient[start + i * shape.component_stride] = factor * (mean - code);
        }
    }
    Ok(SoftmaxGradient {
        vectors: gradient,
        codebook,
    })
}

/// What one part of the batch contributes to the gradients.
struct Part {
    /// `sum p` per code, `[codes]`.
    mass: Vec<f32>,
    /// `sum p z` per code, `[codes, dim]`.
    sums: Vec<f32>,
    /// `sum p c` per vector, `[vectors, dim]`.
    means: Vec<f32>,
}

impl Part {
    fn new(
        search: &CpuSearch,
        vectors: &Vectors<'_>,
        indices: &[u32],
        first: usize,
    ) -> Result<Self, VqError> {
        let codebook = search.codebook();
        let (codes, dim) = (codebook.codes(), codebook.dim());
        let mut part = Self {
            mass: vec![0.0; codes],
            sums: vec![0.0; codes * dim],
            means: vec![0.0; indices.len() * dim],
        };
        let mut vector = vec![0.0; dim];
        for (from, to) in ranges(first, first + indices.len()) {
            let own = &indices[from - first..to - first];
            let done = search.soft_tiles(vectors, from, own, |tile| {
                for lane in 0..tile.count {
                    vectors.copy_to(tile.first + lane, &mut vector);
                    let mean = &mut part.means[(tile.first + lane - first) * dim..][..dim];
                    let rows = codebook.as_slice().chunks_exact(dim);
                    let sums = part.sums.chunks_exact_mut(dim).zip(&mut part.mass);
                    let shares = tile.shares.iter().skip(lane).step_by(tile.width);
                    for ((row, (sum, mass)), &share) in rows.zip(sums).zip(shares) {
                        *mass += share;
                        for i in 0..dim {
                            mean[i] += share * row[i];
                            sum[i] += share * vector[i];
                        }
                    }
                }
            });
            if let Err(bad) = done {
                return vectors.non_finite(bad).map_or(Ok(part), Err);
            }
        }
        Ok(part)
    }
}

/// The soft assignments of a tile of vectors.
pub(crate) struct SoftTile<'a> {
    /// The first vector.
    pub(crate) first: usize,
    /// Vectors in the tile; the other lanes are 0.
    pub(crate) count: usize,
    /// Lanes.
    pub(crate) width: usize,
    /// `[codes, width]`, each lane sums to 1.
    pub(crate) shares: &'a [f32],
}

fn code_rows(search: &CpuSearch) -> rayon::slice::ChunksExact<'_, f32> {
    let codebook = search.codebook();
    codebook.as_slice().par_chunks_exact(codebook.dim())
}

/// `first..last` cut into chunks.
fn ranges(first: usize, last: usize) -> Vec<(usize, usize)> {
    (first..last)
        .step_by(CHUNK)
        .map(|from| (from, last.min(from + CHUNK)))
        .collect()
}

fn check(search: &CpuSearch, vectors: &Vectors<'_>, indices: &[u32]) -> Result<usize, VqError> {
    let codebook = search.codebook();
    crate::gradient::check(vectors, indices, codebook)?;
    Ok(codebook.codes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebook::Codebook;
    use crate::cpu::Simd;
    use crate::random::Random;
    use crate::reference::squared_distance;

    fn example() -> (CpuSearch, Vec<f32>) {
        let (codes, dim) = (13, 5);
        let mut random = Random::new(4, 0);
        let mut draw = |n: usize| {
            (0..n)
                .map(|_| (2.0 * random.unit() - 1.0) as f32)
                .collect::<Vec<_>>()
        };
        let codebook = Codebook::new(draw(codes * dim), codes, dim).unwrap();
        (CpuSearch::new(codebook), draw(3 * 2 * dim * 9))
    }

    fn loss(codebook: &Codebook, vectors: &Vectors<'_>, indices: &[u32]) -> (f64, Vec<f64>) {
        let mut vector = vec![0.0; vectors.dim()];
        let mut histogram = vec![0.0; vectors.images() * codebook.codes()];
        let mut total = 0.0;
        for (v, &index) in indices.iter().enumerate() {
            vectors.copy_to(v, &mut vector);
            let distances: Vec<f64> = codebook
                .rows()
                .map(|row| squared_distance(&vector, row))
                .collect();
            let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
            let weights: Vec<f64> = distances.iter().map(|d| (least - d).exp()).collect();
            let sum: f64 = weights.iter().sum();
            total += sum.ln() + distances[index as usize] - least;
            let row = v / vectors.per_image() * codebook.codes();
            weights
                .iter()
                .enumerate()
                .for_each(|(j, w)| histogram[row + j] += w / sum);
        }
        (total, histogram)
    }

    #[test]
    fn agrees_with_double_precision() {
        let (search, data) = example();
        let vectors = Vectors::planes(&data, 3, 2, 5, 9).unwrap();
        let indices = search.nearest(&vectors).unwrap();
        let found = softmax_assignment(&search, &vectors, &indices).unwrap();
        let (total, histogram) = loss(search.codebook(), &vectors, &indices);
        assert!((found.cross_entropy * 54.0 - total).abs() < 1e-5 * total);
        for (f, e) in found.histogram.iter().zip(histogram) {
            assert!((f64::from(*f) - e).abs() < 2e-6 * (1.0 + e));
        }
    }

    /// Images whose vectors are near codes, far from all, and both, on every instruction set: shifted or not, the softmax is the same.
    #[test]
    fn near_and_far_vectors_agree_with_double_precision() {
        let (codes, dim, images, positions) = (70, 8, 3, 205);
        let mut random = Random::new(9, 0);
        let mut draw = |n: usize, scale: f64| -> Vec<f32> {
            let mut one = || (scale * (2.0 * random.unit() - 1.0)) as f32;
            (0..n).map(|_| one()).collect()
        };
        let codebook = Codebook::new(draw(codes * dim, 1.0), codes, dim).unwrap();
        let mut z = draw(positions * dim, 1.0);
        z.extend(draw(positions * dim, 12.0));
        z.extend((0..positions).flat_map(|i| draw(dim, [0.5, 40.0][i % 2])));
        let vectors = Vectors::rows(&z, images * positions, 1, dim).unwrap();
        for simd in Simd::available() {
            let search = CpuSearch::with_simd(codebook.clone(), simd).unwrap();
            let quantizer = SplitQuantizer::with_search(search, 1).unwrap();
            let (found, soft) = quantizer.quantize_soft(&vectors).unwrap();
            assert_eq!(found, quantizer.quantize(&vectors).unwrap(), "{simd:?}");
            let again = softmax_assignment(quantizer.search(), &vectors, &found.indices);
            assert_eq!(again.unwrap(), soft, "{simd:?}");
            let (total, histogram) = loss(&codebook, &vectors, &found.indices);
            let mean = total / vectors.len() as f64;
            assert!((soft.cross_entropy - mean).abs() < 2e-5 * mean.max(1.0));
            for (f, e) in soft.histogram.iter().zip(histogram) {
                assert!((f64::from(*f) - e).abs() < 2e-4 * (0.01 + e), "{f} {e}");
            }
        }
    }

    /// The cross-entropy at codes that are not the nearest, so far away that their weight vanishes.
    #[test]
    fn cross_entropy_at_codes_far_away() {
        let codebook = Codebook::new(vec![0.0, 9.0, 30.0], 3, 1).unwrap();
        let search = CpuSearch::new(codebook);
        let z = [0.5f32, 0.25];
        let vectors = Vectors::rows(&z, 2, 1, 1).unwrap();
        let soft = softmax_assignment(&search, &vectors, &[2, 1]).unwrap();
        let expected = ((29.5f64.powi(2) - 0.25) + (8.75f64.powi(2) - 0.0625)) / 2.0;
        assert!((soft.cross_entropy - expected).abs() < 1e-6 * expected);
        for (found, expected) in soft.histogram.iter().zip([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-30);
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_named() {
        let (search, mut data) = example();
        let quantizer = SplitQuantizer::with_search(search, 2).unwrap();
        // Image 2, chunk 1, component 3, position 4; and a later one.
        let at = (2 * 10 + 8) * 9 + 4;
        data[at] = f32::NAN;
        data[at + 9] = f32::INFINITY;
        let vectors = Vectors::planes(&data, 3, 2, 5, 9).unwrap();
        let error = quantizer.quantize_soft(&vectors).unwrap_err();
        assert!(matches!(
            error,
            VqError::NonFiniteVector {
                row: 2,
                chunk: 1,
                position: 4,
                component: 3,
                ..
            }
        ));
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (search, data) = example();
        let vectors = Vectors::planes(&data, 3, 2, 5, 9).unwrap();
        let indices = search.nearest(&vectors).unwrap();
        let found = softmax_gradient(&search, &vectors, &indices, 0.5).unwrap();
        let step = 1e-2f32;
        for at in (0..data.len()).step_by(7) {
            let moved = |by: f32| {
                let mut moved = data.clone();
                moved[at] += by;
                loss(
                    search.codebook(),
                    &Vectors::planes(&moved, 3, 2, 5, 9).unwrap(),
                    &indices,
                )
                .0
            };
            let expected = 0.5 * (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!(
                (f64::from(found.vectors[at]) - expected).abs() < 1e-3,
                "{at}"
            );
        }
        for at in 0..search.codebook().as_slice().len() {
            let moved = |by: f32| {
                let mut moved = search.codebook().as_slice().to_vec();
                moved[at] += by;
                loss(&Codebook::new(moved, 13, 5).unwrap(), &vectors, &indices).0
            };
            let expected = 0.5 * (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!(
                (f64::from(found.codebook[at]) - expected).abs() < 5e-3,
                "{at}"
            );
        }
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let (search, data) = example();
        let vectors = Vectors::planes(&data, 3, 2, 5, 9).unwrap();
        let indices = search.nearest(&vectors).unwrap();
        let run = |threads: usize| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| {
                    let soft = softmax_assignment(&search, &vectors, &indices).unwrap();
                    (
                        soft,
                        softmax_gradient(&search, &vectors, &indices, 1.0).unwrap(),
                    )
                })
        };
        assert_eq!(run(1), run(3));
    }
}

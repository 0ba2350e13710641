//! How many codes are in use, and how evenly.

use crate::error::VqError;

/// The perplexity `exp(-sum p ln(p + 1e-10))` of code counts: the number of codes in equally frequent use that would be as varied.
///
/// Counts that sum to 0 give 0.
///
/// # Example
/// ```
/// let even = cytoself_vq::perplexity([5u32, 5, 0, 5, 5]);
/// assert!((even - 4.0).abs() < 1e-8);
/// ```
#[must_use]
pub fn perplexity(counts: impl IntoIterator<Item = u32> + Clone) -> f64 {
    let total: u64 = counts.clone().into_iter().map(u64::from).sum();
    if total == 0 {
        return 0.0;
    }
    let entropy: f64 = counts
        .into_iter()
        .map(|count| {
            let p = f64::from(count) / total as f64;
            -p * (p + 1e-10).ln()
        })
        .sum();
    entropy.exp()
}

/// Sums histograms per image, `[images, codes]`, into the counts of the batch, `[codes]`.
#[must_use]
pub fn total_counts(histogram: &[u32], codes: usize) -> Vec<u32> {
    let mut total = vec![0u32; codes];
    for row in histogram.chunks_exact(codes.max(1)) {
        for (sum, &count) in total.iter_mut().zip(row) {
            *sum = sum.saturating_add(count);
        }
    }
    total
}

/// Counts how often each code occurs in each image: `indices: [images, per_image]` gives `[images, codes]`.
///
/// # Errors
/// - [`VqError::IndexOutOfRange`]: an index is not below `codes`.
pub fn histograms(indices: &[u32], images: usize, codes: usize) -> Result<Vec<u32>, VqError> {
    use rayon::prelude::*;

    if let Some(place) = indices.iter().position(|&index| index as usize >= codes) {
        return Err(VqError::IndexOutOfRange {
            place,
            found: indices[place],
            codes,
        });
    }
    let mut histogram = vec![0u32; images * codes];
    let per_image = indices.len() / images.max(1);
    if per_image > 0 && codes > 0 {
        histogram
            .par_chunks_mut(codes)
            .zip(indices.par_chunks(per_image))
            .for_each(|(counts, indices)| {
                for &index in indices {
                    counts[index as usize] += 1;
                }
            });
    }
    Ok(histogram)
}

/// The use of the codes of a codebook over a set of vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodeUsage {
    /// Codes that occur at least once.
    pub used: usize,
    /// All codes.
    pub codes: usize,
    /// See [`perplexity`].
    pub perplexity: f64,
    /// The share of the most frequent code, 0..1.
    pub largest_share: f64,
}

impl CodeUsage {
    /// The use that `counts: [codes]` describe.
    #[must_use]
    pub fn new(counts: &[u32]) -> Self {
        let total: u64 = counts.iter().copied().map(u64::from).sum();
        let largest = counts.iter().copied().max().unwrap_or(0);
        Self {
            used: counts.iter().filter(|&&c| c > 0).count(),
            codes: counts.len(),
            perplexity: perplexity(counts.iter().copied()),
            largest_share: if total == 0 {
                0.0
            } else {
                f64::from(largest) / total as f64
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_sum_to_the_number_of_vectors() {
        let indices = [0, 2, 2, 1, 1, 1];
        let histogram = histograms(&indices, 2, 3).unwrap();
        assert_eq!(histogram, [1, 0, 2, 0, 3, 0]);
        assert_eq!(total_counts(&histogram, 3), [1, 3, 2]);
        assert!(matches!(
            histograms(&[3], 1, 3),
            Err(VqError::IndexOutOfRange {
                place: 0,
                found: 3,
                codes: 3
            })
        ));
        assert_eq!(histograms(&[], 0, 3).unwrap(), [0u32; 0]);
    }

    #[test]
    fn usage_of_one_code() {
        let usage = CodeUsage::new(&[0, 8, 0]);
        assert_eq!((usage.used, usage.codes, usage.largest_share), (1, 3, 1.0));
        assert!((usage.perplexity - 1.0).abs() < 1e-9);
        assert_eq!(CodeUsage::new(&[0, 0]).perplexity, 0.0);
    }
}

//! Training a codebook by moving averages, with codes that fall out of use brought back.

use crate::codebook::Codebook;
use crate::error::VqError;
use crate::random::Random;
use crate::sums::CodeSums;
use crate::vectors::Vectors;

/// Settings of [`MovingAverage`].
///
/// # Defaults
/// `decay` 0.99, `epsilon` 1e-5, `dead_below` 0 (codes are never moved), `seed` 42.
///
/// # Example
/// ```
/// let params = cytoself_vq::EmaParams::default().decay(0.9).dead_below(0.1).check()?;
/// assert!(cytoself_vq::EmaParams::default().decay(1.5).check().is_err());
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EmaParams {
    /// Share of the old average that is kept at each step, in `[0, 1)`.
    pub decay: f64,
    /// Laplace smoothing of the counts, at least 0.
    pub epsilon: f64,
    /// A code whose average count per step falls below this is replaced by a vector of the batch; at least 0.
    pub dead_below: f64,
    /// Seed of the choice of those vectors.
    pub seed: u64,
}

impl Default for EmaParams {
    fn default() -> Self {
        // 0.99 and 1e-5: van den Oord et al., arXiv:1711.00937, appendix A.1, and its published code.
        Self {
            decay: 0.99,
            epsilon: 1e-5,
            dead_below: 0.0,
            seed: 42,
        }
    }
}

impl EmaParams {
    /// Sets the share of the old average that is kept.
    #[must_use]
    pub fn decay(mut self, decay: f64) -> Self {
        self.decay = decay;
        self
    }

    /// Sets the smoothing of the counts.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the average count below which a code is replaced.
    #[must_use]
    pub fn dead_below(mut self, count: f64) -> Self {
        self.dead_below = count;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: a setting is outside its range.
    pub fn check(self) -> Result<Self, VqError> {
        let error = |name, value: f64, expected| {
            Err(VqError::Parameter {
                name,
                value: value.to_string(),
                expected,
            })
        };
        if !(0.0..1.0).contains(&self.decay) {
            return error("decay", self.decay, "a value in [0, 1)");
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return error("epsilon", self.epsilon, "a value of at least 0");
        }
        if !(self.dead_below >= 0.0 && self.dead_below.is_finite()) {
            return error("dead_below", self.dead_below, "a value of at least 0");
        }
        Ok(self)
    }
}

/// The running state of a codebook that follows the mean of the vectors of each code.
///
/// With `n` the smoothed average count of a code and `m` the average sum of its vectors, the code is `m / n`.
///
/// # References
/// van den Oord et al., "Neural Discrete Representation Learning", arXiv:1711.00937, appendix A.1; replacing unused codes by vectors of
/// the batch: Dhariwal et al., "Jukebox", arXiv:2005.00341, section 3.1.
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, CpuSearch, EmaParams, MovingAverage, NearestCode, Vectors};
///
/// let codebook = Codebook::new(vec![0.0, 10.0], 2, 1)?;
/// let mut average = MovingAverage::new(&codebook, EmaParams::default().decay(0.0).epsilon(0.0))?;
/// let z = [1.0, 3.0, 9.0];
/// let vectors = Vectors::rows(&z, 3, 1, 1)?;
/// let indices = CpuSearch::new(codebook).nearest(&vectors)?;
/// let step = average.update(&vectors, &indices)?;
/// assert_eq!(step.codebook.as_slice(), [2.0, 9.0]); // without decay: one step of k-means
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MovingAverage {
    params: EmaParams,
    codes: usize,
    dim: usize,
    counts: Vec<f64>,
    sums: Vec<f64>,
    steps: u64,
}

/// What one step of [`MovingAverage`] made.
#[derive(Debug, Clone, PartialEq)]
pub struct EmaStep {
    /// The new codes.
    pub codebook: Codebook,
    /// Codes that were replaced by vectors of the batch, ascending.
    pub replaced: Vec<usize>,
}

impl MovingAverage {
    /// Starts from `codebook`, as if each code had been chosen once per step.
    ///
    /// # Errors
    /// As [`EmaParams::check`].
    pub fn new(codebook: &Codebook, params: EmaParams) -> Result<Self, VqError> {
        Ok(Self {
            params: params.check()?,
            codes: codebook.codes(),
            dim: codebook.dim(),
            counts: vec![1.0; codebook.codes()],
            sums: codebook.as_slice().iter().map(|&v| f64::from(v)).collect(),
            steps: 0,
        })
    }

    /// Goes on from a state that was kept: [`MovingAverage::counts`], [`MovingAverage::sums`] and [`MovingAverage::steps`].
    ///
    /// **Shapes** `counts: [codes]`, `sums: [codes, dim]`.
    ///
    /// # Errors
    /// - as [`EmaParams::check`];
    /// - [`VqError::EmptyCodebook`]: `dim` is 0, or there is no code;
    /// - [`VqError::Length`]: not `dim` sums per count.
    pub fn resume(
        params: EmaParams,
        dim: usize,
        counts: Vec<f64>,
        sums: Vec<f64>,
        steps: u64,
    ) -> Result<Self, VqError> {
        let codes = counts.len();
        if codes == 0 || dim == 0 {
            return Err(VqError::EmptyCodebook { codes, dim });
        }
        let expected = codes.saturating_mul(dim);
        if sums.len() != expected {
            return Err(VqError::Length {
                what: "sums",
                shape: format!("[{codes}, {dim}]"),
                expected,
                found: sums.len(),
            });
        }
        Ok(Self {
            params: params.check()?,
            codes,
            dim,
            counts,
            sums,
            steps,
        })
    }

    /// The average count of each code, `[codes]`.
    #[must_use]
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// The average sum of the vectors of each code, `[codes, dim]` row-major.
    #[must_use]
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// Batches taken in.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Puts `vector` in the place of `code`, as if it had been chosen once per step.
    ///
    /// # Errors
    /// - [`VqError::IndexOutOfRange`]: there is no such code;
    /// - [`VqError::Dimension`]: the vector has another number of components.
    pub fn replace(&mut self, code: usize, vector: &[f32]) -> Result<(), VqError> {
        if vector.len() != self.dim {
            return Err(VqError::Dimension {
                expected: self.dim,
                found: vector.len(),
            });
        }
        let (Some(count), Some(sums)) = (
            self.counts.get_mut(code),
            self.sums.chunks_exact_mut(self.dim).nth(code),
        ) else {
            return Err(VqError::IndexOutOfRange {
                place: 0,
                found: u32::try_from(code).unwrap_or(u32::MAX),
                codes: self.codes,
            });
        };
        *count = 1.0;
        sums.iter_mut()
            .zip(vector)
            .for_each(|(sum, &value)| *sum = f64::from(value));
        Ok(())
    }

    /// Takes in a batch and its codes; returns the new codebook.
    ///
    /// # Errors
    /// - as [`CodeSums::new`];
    /// - [`VqError::Dimension`]: vectors and codes differ in their number of components.
    pub fn update(&mut self, vectors: &Vectors<'_>, indices: &[u32]) -> Result<EmaStep, VqError> {
        if vectors.dim() != self.dim {
            return Err(VqError::Dimension {
                expected: self.dim,
                found: vectors.dim(),
            });
        }
        let batch = CodeSums::new(vectors, indices, self.codes)?;
        self.update_with(&batch, vectors)
    }

    /// Takes in the sums of a batch, such as a GPU has made; returns the new codebook.
    ///
    /// `vectors` are those that were summed: unused codes are replaced by some of them.
    ///
    /// # Errors
    /// - [`VqError::Length`]: the sums are those of another codebook;
    /// - [`VqError::Dimension`]: vectors and codes differ in their number of components.
    pub fn update_with(
        &mut self,
        batch: &CodeSums,
        vectors: &Vectors<'_>,
    ) -> Result<EmaStep, VqError> {
        if vectors.dim() != self.dim {
            return Err(VqError::Dimension {
                expected: self.dim,
                found: vectors.dim(),
            });
        }
        let lengths = [
            ("counts", self.codes, batch.counts.len()),
            ("sums", self.codes * self.dim, batch.sums.len()),
        ];
        for (what, expected, found) in lengths {
            if expected != found {
                let shape = format!("[{expected}]");
                return Err(VqError::Length {
                    what,
                    shape,
                    expected,
                    found,
                });
            }
        }
        let (keep, take) = (self.params.decay, 1.0 - self.params.decay);
        for (average, &count) in self.counts.iter_mut().zip(&batch.counts) {
            *average = keep * *average + take * f64::from(count);
        }
        for (average, &sum) in self.sums.iter_mut().zip(&batch.sums) {
            *average = keep * *average + take * sum;
        }
        self.steps += 1;
        let replaced = self.replace_dead(vectors)?;
        let codebook = Codebook::new(self.means(), self.codes, self.dim)?;
        Ok(EmaStep { codebook, replaced })
    }

    /// `sum / count` with smoothed counts.
    fn means(&self) -> Vec<f32> {
        let total: f64 = self.counts.iter().sum();
        let epsilon = self.params.epsilon;
        let scale = total / (total + self.codes as f64 * epsilon);
        let rows = self.sums.chunks_exact(self.dim).zip(&self.counts);
        rows.flat_map(|(sums, &count)| {
            // A code that was never chosen since decay has emptied it keeps the direction of its last sum.
            let smoothed = ((count + epsilon) * scale).max(f64::MIN_POSITIVE);
            sums.iter()
                .map(move |&sum| ((sum / smoothed) as f32).clamp(f32::MIN, f32::MAX))
        })
        .collect()
    }

    /// Puts vectors of the batch, drawn at random, in the place of codes that are hardly chosen.
    fn replace_dead(&mut self, vectors: &Vectors<'_>) -> Result<Vec<usize>, VqError> {
        if self.params.dead_below <= 0.0 || vectors.is_empty() {
            return Ok(Vec::new());
        }
        let dead: Vec<usize> = (0..self.codes)
            .filter(|&c| self.counts[c] < self.params.dead_below)
            .collect();
        let mut random = Random::new(self.params.seed, self.steps);
        let mut vector = vec![0.0; self.dim];
        for &code in &dead {
            vectors.copy_to(random.below(vectors.len()), &mut vector);
            self.replace(code, &vector)?;
        }
        Ok(dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuSearch;
    use crate::nearest::NearestCode;

    #[test]
    fn settles_on_the_mean() {
        let mut codebook = Codebook::new(vec![0.0, 0.5], 1, 2).unwrap();
        let mut average = MovingAverage::new(&codebook, EmaParams::default().decay(0.9)).unwrap();
        let data = [4.0, 0.0, 6.0, 2.0];
        let vectors = Vectors::rows(&data, 2, 1, 2).unwrap();
        for _ in 0..200 {
            codebook = average.update(&vectors, &[0, 0]).unwrap().codebook;
        }
        assert!(
            (codebook.as_slice()[0] - 5.0).abs() < 1e-4
                && (codebook.as_slice()[1] - 1.0).abs() < 1e-4
        );
    }

    #[test]
    fn a_kept_state_goes_on_to_the_same_bits() {
        let codebook = Codebook::new(vec![0.1, 0.7, -0.3, 0.2], 2, 2).unwrap();
        let params = EmaParams::default().decay(0.9);
        let mut whole = MovingAverage::new(&codebook, params).unwrap();
        let data = [4.0, 0.3, 6.0, 2.0];
        let vectors = Vectors::rows(&data, 2, 1, 2).unwrap();
        whole.update(&vectors, &[0, 1]).unwrap();
        let (counts, sums) = (whole.counts().to_vec(), whole.sums().to_vec());
        let mut resumed = MovingAverage::resume(params, 2, counts, sums, whole.steps()).unwrap();
        assert_eq!(resumed, whole);
        assert_eq!(
            resumed.update(&vectors, &[1, 1]).unwrap(),
            whole.update(&vectors, &[1, 1]).unwrap()
        );
        assert!(MovingAverage::resume(params, 2, vec![1.0; 2], vec![0.0; 3], 0).is_err());
    }

    #[test]
    fn a_replaced_code_starts_anew() {
        let codebook = Codebook::new(vec![0.0, 9.0], 2, 1).unwrap();
        let mut average = MovingAverage::new(&codebook, EmaParams::default()).unwrap();
        average.replace(1, &[5.0]).unwrap();
        assert_eq!((average.counts()[1], average.sums()[1]), (1.0, 5.0));
        assert!(average.replace(2, &[5.0]).is_err());
        assert!(average.replace(0, &[5.0, 1.0]).is_err());
    }

    #[test]
    fn dead_codes_come_back() {
        let codebook = Codebook::new(vec![0.0, 1e6, -1e6], 3, 1).unwrap();
        let params = EmaParams::default().decay(0.5).dead_below(0.2);
        let mut average = MovingAverage::new(&codebook, params).unwrap();
        let data: Vec<f32> = (0..40).map(|i| (i % 4) as f32).collect();
        let vectors = Vectors::rows(&data, 40, 1, 1).unwrap();
        let mut search = CpuSearch::new(codebook);
        let mut replaced = Vec::new();
        for _ in 0..12 {
            let indices = search.nearest(&vectors).unwrap();
            let step = average.update(&vectors, &indices).unwrap();
            replaced.extend(step.replaced);
            search = CpuSearch::new(step.codebook);
        }
        assert!(replaced.contains(&1) && replaced.contains(&2));
        let mut used = search.nearest(&vectors).unwrap();
        used.sort_unstable();
        used.dedup();
        assert!(used.len() >= 2);
    }
}

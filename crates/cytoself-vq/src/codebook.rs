//! The table of codes.

use crate::error::VqError;
use crate::random::Random;

/// The largest number of codes: indices travel through signed 32-bit lanes.
pub(crate) const MAX_CODES: usize = i32::MAX as usize;

/// A table of `k` codes with `d` components each, row after row; every value is finite.
///
/// **Shapes** `weights: [k, d]` f32.
///
/// # Example
/// ```
/// use cytoself_vq::Codebook;
///
/// let codebook = Codebook::new(vec![0.0, 0.0, 3.0, 4.0], 2, 2)?;
/// assert_eq!(codebook.row(1), Some(&[3.0, 4.0][..]));
/// assert_eq!(codebook.largest_norm(), 5.0);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    weights: Vec<f32>,
    codes: usize,
    dim: usize,
}

impl Codebook {
    /// A codebook from its values, `[codes, dim]` row-major.
    ///
    /// # Errors
    /// - [`VqError::EmptyCodebook`]: no code or no component;
    /// - [`VqError::TooManyCodes`]: more than 2^31 - 1 codes;
    /// - [`VqError::Length`]: the number of values is not `codes * dim`;
    /// - [`VqError::NonFiniteCode`]: a value is NaN or infinite.
    pub fn new(weights: Vec<f32>, codes: usize, dim: usize) -> Result<Self, VqError> {
        if codes == 0 || dim == 0 {
            return Err(VqError::EmptyCodebook { codes, dim });
        }
        if codes > MAX_CODES {
            return Err(VqError::TooManyCodes {
                codes,
                limit: MAX_CODES,
            });
        }
        if codes.checked_mul(dim) != Some(weights.len()) {
            return Err(VqError::Length {
                what: "codebook",
                shape: format!("[{codes}, {dim}]"),
                expected: codes.saturating_mul(dim),
                found: weights.len(),
            });
        }
        if let Some(at) = weights.iter().position(|v| !v.is_finite()) {
            let value = weights[at];
            return Err(VqError::NonFiniteCode {
                code: at / dim,
                component: at % dim,
                value,
            });
        }
        Ok(Self {
            weights,
            codes,
            dim,
        })
    }

    /// Codes drawn uniformly from `[-sqrt(3 / codes), sqrt(3 / codes))`.
    ///
    /// # Errors
    /// As [`Codebook::new`].
    ///
    /// # References
    /// The initialisation of the PyTorch cytoself; its TensorFlow original draws from ±0.05.
    pub fn uniform(codes: usize, dim: usize, seed: u64) -> Result<Self, VqError> {
        let limit = (3.0 / codes.max(1) as f64).sqrt();
        let mut random = Random::new(seed, 0);
        let weights = (0..codes.saturating_mul(dim))
            .map(|_| (limit * (2.0 * random.unit() - 1.0)) as f32)
            .collect();
        Self::new(weights, codes, dim)
    }

    /// Number of codes, `k`.
    #[must_use]
    pub fn codes(&self) -> usize {
        self.codes
    }

    /// Components per code, `d`.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, `[k, d]` row-major.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.weights
    }

    /// The values of code `index`, or `None` past the end.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.weights.chunks_exact(self.dim).nth(index)
    }

    /// The codes in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.weights.chunks_exact(self.dim)
    }

    /// The largest Euclidean norm of a code.
    #[must_use]
    pub fn largest_norm(&self) -> f64 {
        self.rows().map(squared_norm).fold(0.0, f64::max).sqrt()
    }
}

/// `|v|^2` in double precision.
pub(crate) fn squared_norm(v: &[f32]) -> f64 {
    v.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_searched() {
        assert!(matches!(
            Codebook::new(vec![], 0, 4),
            Err(VqError::EmptyCodebook { codes: 0, dim: 4 })
        ));
        assert!(matches!(
            Codebook::new(vec![0.0; 5], 2, 3),
            Err(VqError::Length {
                expected: 6,
                found: 5,
                ..
            })
        ));
        let error = Codebook::new(vec![0.0, 1.0, f32::NAN, 0.0], 2, 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "code 1 of the codebook is not finite: component 0 is NaN"
        );
    }

    #[test]
    fn uniform_stays_in_its_limits_and_repeats() {
        let a = Codebook::uniform(300, 7, 3).unwrap();
        assert!(a.as_slice().iter().all(|v| v.abs() <= 0.1));
        assert_eq!(a, Codebook::uniform(300, 7, 3).unwrap());
        assert_ne!(a, Codebook::uniform(300, 7, 4).unwrap());
    }
}

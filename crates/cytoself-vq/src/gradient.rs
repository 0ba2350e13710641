//! Gradients of the two squared losses.

use rayon::prelude::*;

use crate::codebook::Codebook;
use crate::error::VqError;
use crate::sums::CodeSums;
use crate::vectors::Vectors;

/// The gradient of `scale * sum |z - q|^2` with respect to the codes: `2 scale sum (c - z)` over the vectors of each code.
///
/// **Shapes** result `[codes, dim]`, like the codebook; codes that no vector chose have gradient 0.
///
/// # Errors
/// As [`CodeSums::new`].
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, Vectors, codebook_gradient};
///
/// let codebook = Codebook::new(vec![1.0, 5.0], 2, 1)?;
/// let z = [0.5, 2.0];
/// let gradient = codebook_gradient(&Vectors::rows(&z, 2, 1, 1)?, &[0, 0], &codebook, 0.5)?;
/// assert_eq!(gradient, [-0.5, 0.0]); // (1 - 0.5) + (1 - 2)
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
pub fn codebook_gradient(
    vectors: &Vectors<'_>,
    indices: &[u32],
    codebook: &Codebook,
    scale: f64,
) -> Result<Vec<f32>, VqError> {
    check(vectors, indices, codebook)?;
    let dim = codebook.dim();
    let CodeSums { counts, sums } = CodeSums::new(vectors, indices, codebook.codes())?;
    let mut gradient = vec![0.0f32; sums.len()];
    gradient
        .par_chunks_mut(dim)
        .zip(sums.par_chunks(dim))
        .zip(codebook.as_slice().par_chunks(dim))
        .zip(&counts)
        .for_each(|(((gradient, sum), code), &count)| {
            for ((g, &s), &c) in gradient.iter_mut().zip(sum).zip(code) {
                *g = (2.0 * scale * (f64::from(count) * f64::from(c) - s)) as f32;
            }
        });
    Ok(gradient)
}

/// The gradient of `scale * sum |z - q|^2` with respect to the vectors: `2 scale (z - q)`.
///
/// **Shapes** the result has the layout of the vectors.
///
/// # Errors
/// - [`VqError::Length`]: not one index per vector;
/// - [`VqError::Dimension`]: vectors and codes differ in their number of components;
/// - [`VqError::IndexOutOfRange`]: an index points past the codebook.
pub fn commitment_gradient(
    vectors: &Vectors<'_>,
    indices: &[u32],
    codebook: &Codebook,
    scale: f64,
) -> Result<Vec<f32>, VqError> {
    check(vectors, indices, codebook)?;
    let shape = *vectors.shape();
    let mut gradient = vec![0.0; vectors.data().len()];
    if gradient.is_empty() {
        return Ok(gradient);
    }
    let factor = (2.0 * scale) as f32;
    let weights = codebook.as_slice();
    // One chunk of one image where channels come first; otherwise one image.
    let vectors_per_run = if shape.position_stride == 1 {
        shape.positions
    } else {
        shape.positions * shape.split
    };
    let values_per_run = vectors_per_run * shape.dim;
    gradient
        .par_chunks_mut(values_per_run)
        .enumerate()
        .for_each(|(run, gradient)| {
            let first = run * vectors_per_run;
            let base = shape.offset(first);
            for (lane, &index) in indices[first..first + vectors_per_run].iter().enumerate() {
                let start = shape.offset(first + lane);
                let code = &weights[index as usize * shape.dim..][..shape.dim];
                for (i, &q) in code.iter().enumerate() {
                    let at = start + i * shape.component_stride;
                    gradient[at - base] = factor * (vectors.data()[at] - q);
                }
            }
        });
    Ok(gradient)
}

/// The checks of everything that takes vectors with their indices.
pub(crate) fn check(
    vectors: &Vectors<'_>,
    indices: &[u32],
    codebook: &Codebook,
) -> Result<(), VqError> {
    if codebook.dim() != vectors.dim() {
        return Err(VqError::Dimension {
            expected: codebook.dim(),
            found: vectors.dim(),
        });
    }
    if indices.len() != vectors.len() {
        let (expected, found) = (vectors.len(), indices.len());
        return Err(VqError::Length {
            what: "indices",
            shape: format!("[{expected}]"),
            expected,
            found,
        });
    }
    let codes = codebook.codes();
    match indices.iter().position(|&index| index as usize >= codes) {
        Some(place) => Err(VqError::IndexOutOfRange {
            place,
            found: indices[place],
            codes,
        }),
        None => Ok(()),
    }
}

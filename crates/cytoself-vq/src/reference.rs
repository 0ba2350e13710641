//! The definition of the nearest code, as plain as it can be written; every kernel must give exactly these answers.

use crate::codebook::Codebook;

/// The squared Euclidean distance in double precision, summed in the order of the components.
///
/// **Shapes** `vector: [d]`, `code: [d]`.
#[must_use]
pub fn squared_distance(vector: &[f32], code: &[f32]) -> f64 {
    vector.iter().zip(code).fold(0.0, |sum, (&z, &c)| {
        let difference = f64::from(z) - f64::from(c);
        sum + difference * difference
    })
}

/// The index of the code with the smallest [`squared_distance`]; of equals, the lowest.
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, reference};
///
/// let codebook = Codebook::new(vec![2.0, 0.0, 1.0, 1.0, 1.0, 1.0], 3, 2)?;
/// assert_eq!(reference::nearest(&[1.0, 0.9], &codebook), 1);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[must_use]
pub fn nearest(vector: &[f32], codebook: &Codebook) -> u32 {
    nearest_of(vector, codebook, 0..codebook.codes())
}

/// [`nearest`] among `candidates`, which ascend.
pub(crate) fn nearest_of(
    vector: &[f32],
    codebook: &Codebook,
    candidates: impl IntoIterator<Item = usize>,
) -> u32 {
    let dim = codebook.dim();
    let mut best = (f64::INFINITY, 0);
    for index in candidates {
        let distance =
            squared_distance(vector, &codebook.as_slice()[index * dim..(index + 1) * dim]);
        if distance < best.0 {
            best = (distance, index);
        }
    }
    best.1 as u32
}

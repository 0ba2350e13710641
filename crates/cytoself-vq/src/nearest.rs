//! The seam between the quantiser and what finds the nearest codes.

use crate::codebook::Codebook;
use crate::error::VqError;
use crate::reference;
use crate::vectors::Vectors;

/// Where a search writes, in the order `(image, chunk, position)`.
#[derive(Debug)]
pub struct SearchOutput<'a> {
    /// Index of the nearest code of each vector, `[vectors.len()]`.
    pub indices: &'a mut [u32],
    /// Squared distance of each vector to its code, `[vectors.len()]`.
    pub squared_distances: &'a mut [f32],
    /// The nearest codes in the layout of the vectors, as many values as they have.
    pub quantized: Option<&'a mut [f32]>,
}

/// An exact search for nearest codes.
///
/// Every implementation gives the answer of [`reference::nearest`]: the smallest squared distance in double precision, of equals the
/// lowest index, whatever the machine, the number of threads or the instruction set.
pub trait NearestCode: Send + Sync {
    /// The codes that are searched.
    fn codebook(&self) -> &Codebook;

    /// Finds the nearest code of every vector.
    ///
    /// # Errors
    /// - [`VqError::Dimension`]: vectors and codes differ in their number of components;
    /// - [`VqError::Length`]: an output has another length than the vectors need;
    /// - [`VqError::NonFiniteVector`]: a value is NaN or infinite; the outputs are then incomplete.
    fn search(&self, vectors: &Vectors<'_>, output: SearchOutput<'_>) -> Result<(), VqError>;

    /// The nearest code of every vector, `[vectors.len()]`.
    ///
    /// # Errors
    /// As [`NearestCode::search`].
    fn nearest(&self, vectors: &Vectors<'_>) -> Result<Vec<u32>, VqError> {
        let mut indices = vec![0; vectors.len()];
        let mut squared_distances = vec![0.0; vectors.len()];
        let output = SearchOutput {
            indices: &mut indices,
            squared_distances: &mut squared_distances,
            quantized: None,
        };
        self.search(vectors, output)?;
        Ok(indices)
    }
}

/// The plain search: one vector after the other, one code after the other, in double precision.
///
/// It is what the fast kernels are compared with; use [`crate::CpuSearch`] for work.
#[derive(Debug, Clone)]
pub struct ScalarSearch(Codebook);

impl ScalarSearch {
    /// A search in `codebook`.
    #[must_use]
    pub fn new(codebook: Codebook) -> Self {
        Self(codebook)
    }
}

impl NearestCode for ScalarSearch {
    fn codebook(&self) -> &Codebook {
        &self.0
    }

    fn search(&self, vectors: &Vectors<'_>, mut output: SearchOutput<'_>) -> Result<(), VqError> {
        check(&self.0, vectors, &output)?;
        let shape = *vectors.shape();
        let mut vector = vec![0.0; shape.dim];
        for index in 0..vectors.len() {
            if let Some(error) = vectors.non_finite(index) {
                return Err(error);
            }
            vectors.copy_to(index, &mut vector);
            let code = reference::nearest(&vector, &self.0);
            let row = self.0.row(code as usize).unwrap_or_default();
            output.indices[index] = code;
            output.squared_distances[index] = reference::squared_distance(&vector, row) as f32;
            if let Some(quantized) = output.quantized.as_deref_mut() {
                let start = shape.offset(index);
                for (i, &value) in row.iter().enumerate() {
                    quantized[start + i * shape.component_stride] = value;
                }
            }
        }
        Ok(())
    }
}

/// The checks that every search begins with.
pub(crate) fn check(
    codebook: &Codebook,
    vectors: &Vectors<'_>,
    output: &SearchOutput<'_>,
) -> Result<(), VqError> {
    if codebook.dim() != vectors.dim() {
        return Err(VqError::Dimension {
            expected: codebook.dim(),
            found: vectors.dim(),
        });
    }
    let count = vectors.len();
    let lengths = [
        ("indices", count, output.indices.len()),
        ("squared distances", count, output.squared_distances.len()),
        (
            "quantised vectors",
            vectors.data().len(),
            output
                .quantized
                .as_ref()
                .map_or(vectors.data().len(), |q| q.len()),
        ),
    ];
    for (what, expected, found) in lengths {
        if expected != found {
            return Err(VqError::Length {
                what,
                shape: format!("[{expected}]"),
                expected,
                found,
            });
        }
    }
    Ok(())
}

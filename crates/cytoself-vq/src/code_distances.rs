//! Distances between quantised rows straight from their codes, as in product quantisation.

use rayon::prelude::*;

use crate::codebook::Codebook;
use crate::error::VqError;
use crate::reference::squared_distance;

/// The squared distances between all codes of a codebook.
///
/// A row of `m` codes stands for `m` vectors; the squared distance of two rows is the sum of `m` entries of the table instead of
/// `m * d` differences, and is the same number: quantised rows hold nothing but codes.
///
/// # References
/// Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 2011, doi:10.1109/TPAMI.2010.57, section III.
///
/// # Example
/// ```
/// use cytoself_vq::{CodeDistances, Codebook};
///
/// let codebook = Codebook::new(vec![0.0, 0.0, 3.0, 4.0], 2, 2)?;
/// let table = CodeDistances::new(&codebook);
/// assert_eq!(table.between(0, 1), Some(25.0));
/// assert_eq!(table.rows_squared(&[0u16, 1, 1], &[1, 1, 0])?, 50.0);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CodeDistances {
    codes: usize,
    table: Vec<f32>,
}

/// A code index as it is stored: u16 or u32.
pub trait CodeIndex: Copy + Send + Sync {
    /// The index as a place in the codebook.
    fn place(self) -> usize;
}

impl CodeIndex for u16 {
    fn place(self) -> usize {
        usize::from(self)
    }
}

impl CodeIndex for u32 {
    fn place(self) -> usize {
        self as usize
    }
}

impl CodeDistances {
    /// The table of `codebook`, `[codes, codes]`; each entry is summed in double precision and rounded once.
    #[must_use]
    pub fn new(codebook: &Codebook) -> Self {
        let codes = codebook.codes();
        let dim = codebook.dim();
        let rows = codebook.as_slice();
        let mut table = vec![0.0; codes * codes];
        table
            .par_chunks_mut(codes)
            .zip(rows.par_chunks_exact(dim))
            .for_each(|(out, row)| {
                for (distance, other) in out.iter_mut().zip(rows.chunks_exact(dim)) {
                    *distance = squared_distance(row, other) as f32;
                }
            });
        Self { codes, table }
    }

    /// Number of codes.
    #[must_use]
    pub fn codes(&self) -> usize {
        self.codes
    }

    /// The table, `[codes, codes]` row-major and symmetric.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.table
    }

    /// The squared distance between two codes; `None` past the end.
    #[must_use]
    pub fn between(&self, a: usize, b: usize) -> Option<f32> {
        if a < self.codes && b < self.codes {
            self.table.get(a * self.codes + b).copied()
        } else {
            None
        }
    }

    /// The squared distance between two rows of codes.
    ///
    /// # Errors
    /// - [`VqError::Length`]: the rows differ in length;
    /// - [`VqError::IndexOutOfRange`]: an index points past the codebook.
    pub fn rows_squared<I: CodeIndex>(&self, a: &[I], b: &[I]) -> Result<f64, VqError> {
        self.check_row(a, b.len())?;
        self.check_row(b, a.len())?;
        Ok(self.sum(a, b))
    }

    /// The squared distances from one row to many: `query: [m]`, `rows: [n, m]`, result `[n]`.
    ///
    /// # Errors
    /// As [`CodeDistances::rows_squared`].
    pub fn one_to_many<I: CodeIndex>(&self, query: &[I], rows: &[I]) -> Result<Vec<f32>, VqError> {
        let m = query.len();
        let n = rows.len().checked_div(m).unwrap_or(0);
        self.check_row(query, m)?;
        self.check_row(rows, n * m)?;
        let mut distances = vec![0.0; n];
        // The table's rows of the query's codes, one after the other: `m * codes` floats that stay in the cache.
        let own: Vec<&[f32]> = query
            .iter()
            .map(|q| &self.table[q.place() * self.codes..][..self.codes])
            .collect();
        distances
            .par_chunks_mut(1024)
            .zip(rows.par_chunks(1024 * m.max(1)))
            .for_each(|(out, rows)| {
                for (distance, row) in out.iter_mut().zip(rows.chunks_exact(m)) {
                    let sum: f64 = own
                        .iter()
                        .zip(row)
                        .map(|(table, c)| f64::from(table[c.place()]))
                        .sum();
                    *distance = sum as f32;
                }
            });
        Ok(distances)
    }

    /// The squared distances between all pairs: `a: [na, m]`, `b: [nb, m]`, result `[na, nb]`.
    ///
    /// # Errors
    /// - as [`CodeDistances::rows_squared`];
    /// - [`VqError::Parameter`]: `m` is 0.
    pub fn many_to_many<I: CodeIndex>(
        &self,
        a: &[I],
        b: &[I],
        m: usize,
    ) -> Result<Vec<f32>, VqError> {
        if m == 0 {
            return Err(VqError::Parameter {
                name: "m",
                value: "0".into(),
                expected: "at least 1",
            });
        }
        self.check_row(a, a.len() / m * m)?;
        self.check_row(b, b.len() / m * m)?;
        let nb = b.len() / m;
        let mut distances = vec![0.0; a.len() / m * nb];
        if nb > 0 {
            distances
                .par_chunks_mut(nb)
                .zip(a.par_chunks_exact(m))
                .for_each(|(out, a)| {
                    for (distance, b) in out.iter_mut().zip(b.chunks_exact(m)) {
                        *distance = self.sum(a, b) as f32;
                    }
                });
        }
        Ok(distances)
    }

    fn sum<I: CodeIndex>(&self, a: &[I], b: &[I]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(self.table[a.place() * self.codes + b.place()]))
            .sum()
    }

    fn check_row<I: CodeIndex>(&self, row: &[I], expected: usize) -> Result<(), VqError> {
        if row.len() != expected {
            let found = row.len();
            return Err(VqError::Length {
                what: "code row",
                shape: format!("[{expected}]"),
                expected,
                found,
            });
        }
        match row.iter().position(|c| c.place() >= self.codes) {
            Some(place) => {
                let found = u32::try_from(row[place].place()).unwrap_or(u32::MAX);
                Err(VqError::IndexOutOfRange {
                    place,
                    found,
                    codes: self.codes,
                })
            }
            None => Ok(()),
        }
    }
}

/// Writes the vectors that `indices` stand for, in the layout of images with channels first.
///
/// **Shapes** `indices: [images, split, positions]`, result `[images, split * dim, positions]`.
///
/// # Errors
/// - [`VqError::Length`]: `indices` has another length;
/// - [`VqError::IndexOutOfRange`]: an index points past the codebook.
///
/// # Example
/// ```
/// use cytoself_vq::{Codebook, unpack};
///
/// let codebook = Codebook::new(vec![1.0, 2.0, 3.0, 4.0], 2, 2)?;
/// assert_eq!(unpack(&[0u16, 1], &codebook, 1, 1, 2)?, [1.0, 3.0, 2.0, 4.0]);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
pub fn unpack<I: CodeIndex>(
    indices: &[I],
    codebook: &Codebook,
    images: usize,
    split: usize,
    positions: usize,
) -> Result<Vec<f32>, VqError> {
    let dim = codebook.dim();
    let expected = images.saturating_mul(split).saturating_mul(positions);
    if indices.len() != expected {
        let (shape, found) = (format!("[{images}, {split}, {positions}]"), indices.len());
        return Err(VqError::Length {
            what: "indices",
            shape,
            expected,
            found,
        });
    }
    if let Some(place) = indices.iter().position(|i| i.place() >= codebook.codes()) {
        let found = u32::try_from(indices[place].place()).unwrap_or(u32::MAX);
        return Err(VqError::IndexOutOfRange {
            place,
            found,
            codes: codebook.codes(),
        });
    }
    let mut vectors = vec![0.0; expected * dim];
    if positions > 0 {
        vectors
            .par_chunks_mut(dim * positions)
            .zip(indices.par_chunks(positions))
            .for_each(|(out, indices)| {
                for (position, index) in indices.iter().enumerate() {
                    let code = &codebook.as_slice()[index.place() * dim..][..dim];
                    for (i, &value) in code.iter().enumerate() {
                        out[i * positions + position] = value;
                    }
                }
            });
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizer::SplitQuantizer;

    #[test]
    fn distances_of_codes_are_distances_of_vectors() {
        let codebook = Codebook::uniform(40, 6, 1).unwrap();
        let z = Codebook::uniform(5 * 3 * 4, 6, 2).unwrap();
        let quantizer = SplitQuantizer::new(codebook.clone(), 3).unwrap();
        let found = quantizer.quantize_images(z.as_slice(), 5, 4).unwrap();
        assert_eq!(
            unpack(&found.indices, &codebook, 5, 3, 4).unwrap(),
            found.quantized
        );

        let table = CodeDistances::new(&codebook);
        let all = table
            .many_to_many(&found.indices, &found.indices, 12)
            .unwrap();
        let one = table
            .one_to_many(&found.indices[12..24], &found.indices)
            .unwrap();
        assert_eq!(one, all[5..10]);
        for a in 0..5 {
            for b in 0..5 {
                let row = |i: usize| &found.quantized[i * 72..(i + 1) * 72];
                let expected = squared_distance(row(a), row(b));
                assert!((f64::from(all[a * 5 + b]) - expected).abs() <= 1e-6 * expected);
            }
        }
    }

    #[test]
    fn bad_rows_are_refused() {
        let table = CodeDistances::new(&Codebook::uniform(3, 2, 1).unwrap());
        assert!(matches!(
            table.rows_squared(&[0u32, 3], &[0, 0]),
            Err(VqError::IndexOutOfRange {
                place: 1,
                found: 3,
                ..
            })
        ));
        assert!(table.rows_squared(&[0u32], &[0, 0]).is_err());
        assert!(table.one_to_many(&[0u32, 1], &[0, 1, 2]).is_err());
        assert!(table.one_to_many::<u16>(&[], &[]).unwrap().is_empty());
    }
}

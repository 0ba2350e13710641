use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use crate::SpectrumError;

/// The share of each feature cluster in the codes of each crop.
///
/// # Shapes
/// `indices: [n, positions]`; `clusters[code]` from 1 on, as [`crate::Biclustering::clusters`]. Returns
/// `[n, number of clusters]`, column `c - 1` for cluster `c`; rows sum to 1.
///
/// # Errors
/// - an index is not a code.
///
/// # Example
/// ```
/// let indices = ndarray::array![[0u16, 1, 2, 2], [0, 0, 0, 0]];
/// let shares = cytoself_spectrum::cluster_shares(indices.view(), &[1, 1, 2])?;
/// assert_eq!(shares, ndarray::array![[0.5, 0.5], [1.0, 0.0]]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn cluster_shares(
    indices: ArrayView2<'_, u16>,
    clusters: &[usize],
) -> Result<Array2<f64>, SpectrumError> {
    let number = clusters.iter().copied().max().unwrap_or(0);
    let mut shares = Array2::zeros((indices.nrows(), number));
    let rows = shares
        .as_slice_mut()
        .unwrap_or_default()
        .par_chunks_mut(number.max(1));
    rows.enumerate().try_for_each(|(row, shares)| {
        let one = 1.0 / indices.ncols() as f64;
        let mut counts = vec![0u32; number + 1];
        for &index in indices.row(row) {
            let (found, codes) = (usize::from(index), clusters.len());
            let cluster =
                clusters
                    .get(found)
                    .ok_or(SpectrumError::CodeOutOfRange { row, found, codes })?;
            counts[*cluster] += 1;
        }
        shares
            .iter_mut()
            .zip(&counts[1..])
            .for_each(|(share, &count)| *share = f64::from(count) * one);
        Ok(())
    })?;
    Ok(shares)
}

/// The crops that show a feature cluster best: those with the largest share of their codes in it.
///
/// At most `per_protein` crops of one protein are taken, so that the pictures show the cluster and not one protein.
/// Equal shares go to the lower row.
///
/// # Shapes
/// `shares[row]`, a column of [`cluster_shares`]; `protein[row]`. Returns up to `count` rows, best first.
///
/// Differs from the paper, which shows four crops per cluster without saying how they were chosen.
///
/// # Errors
/// - `protein` and `shares` differ in length.
///
/// # Example
/// ```
/// let shares = ndarray::aview1(&[0.9, 0.5, 0.8, 0.1]);
/// let rows = cytoself_spectrum::representatives(shares, &[0, 1, 0, 1], 2, 1)?;
/// assert_eq!(rows, [0, 1]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn representatives(
    shares: ArrayView1<'_, f64>,
    protein: &[usize],
    count: usize,
    per_protein: usize,
) -> Result<Vec<usize>, SpectrumError> {
    if protein.len() != shares.len() {
        let what = "proteins, one per crop";
        return Err(SpectrumError::Shape {
            what,
            expected: shares.len(),
            found: protein.len(),
        });
    }
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]).then(a.cmp(&b)));
    let mut taken = std::collections::HashMap::new();
    order.retain(|&row| {
        let taken = taken.entry(protein[row]).or_insert(0);
        *taken += 1;
        *taken <= per_protein
    });
    order.truncate(count);
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_named() {
        let error = cluster_shares(ndarray::array![[0u16], [3]].view(), &[1, 1]).unwrap_err();
        assert_eq!(
            error,
            SpectrumError::CodeOutOfRange {
                row: 1,
                found: 3,
                codes: 2
            }
        );
        assert!(representatives(ndarray::aview1(&[1.0]), &[], 1, 1).is_err());
    }
}

use ndarray::{Array1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{SpectrumError, code_histograms, pearson};

/// How much the single cells of a protein differ from one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispersion {
    /// Crops of the protein.
    pub crops: usize,
    /// Mean Pearson correlation of a crop's histogram with the mean of the protein's *other* crops; near 1 where all
    /// cells look alike. `None` with fewer than two crops that have a shape.
    pub coherence: Option<f64>,
    /// Effective number of codes: `exp` of the entropy of the mean histogram (the perplexity of the protein).
    pub perplexity: f64,
}

/// Within-protein spread of single-cell code histograms.
///
/// # Shapes
/// `indices: [crops, positions]` codes below `codes`; `group[i] < groups` is the protein of row `i`. Returns one entry
/// per group.
///
/// # Errors
/// - `group` and `indices` differ in length, or a group or code is out of range.
///
/// # Example
/// ```
/// let indices = ndarray::array![[0u16, 0, 0], [0, 0, 0], [1, 2, 2]];
/// let spread = cytoself_spectrum::dispersion(indices.view(), 3, &[0, 0, 1], 2)?;
/// assert_eq!(spread[0].coherence, Some(1.0));
/// assert_eq!(spread[0].perplexity, 1.0);
/// assert_eq!(spread[1].coherence, None);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn dispersion(
    indices: ArrayView2<'_, u16>,
    codes: usize,
    group: &[usize],
    groups: usize,
) -> Result<Vec<Dispersion>, SpectrumError> {
    if group.len() != indices.nrows() {
        let what = "one group per row of indices";
        return Err(SpectrumError::Shape {
            what,
            expected: indices.nrows(),
            found: group.len(),
        });
    }
    let mut rows = vec![Vec::new(); groups];
    for (row, &found) in group.iter().enumerate() {
        rows.get_mut(found)
            .ok_or(SpectrumError::GroupOutOfRange { row, found, groups })?
            .push(row);
    }
    // One protein at a time, so that only its histograms are in memory.
    rows.iter()
        .map(|rows| spread(indices.select(Axis(0), rows).view(), codes))
        .collect()
}

fn spread(indices: ArrayView2<'_, u16>, codes: usize) -> Result<Dispersion, SpectrumError> {
    let own = code_histograms(indices, codes)?.mapv(f64::from);
    let sum = own.sum_axis(Axis(0));
    // The sum of the others has the shape of their mean, and Pearson sees only the shape.
    let coherence = |crop| pearson(own.row(crop), (&sum - &own.row(crop)).view());
    let found: Vec<f64> = (0..own.nrows())
        .into_par_iter()
        .filter_map(coherence)
        .collect();
    let coherence = (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64);
    Ok(Dispersion {
        crops: own.nrows(),
        coherence,
        perplexity: perplexity(&sum),
    })
}

fn perplexity(counts: &Array1<f64>) -> f64 {
    let total = counts.sum();
    let entropy: f64 = counts
        .iter()
        .filter(|&&c| c > 0.0)
        .map(|c| -(c / total) * (c / total).ln())
        .sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn different_cells_are_less_coherent() {
        let indices = array![[0u16, 0, 0, 1], [1, 2, 2, 2], [0, 0, 0, 1], [0, 0, 1, 0]];
        let spread = dispersion(indices.view(), 3, &[0, 0, 1, 1], 2).unwrap();
        assert!(spread[0].coherence.unwrap() < 0.0);
        assert!((spread[1].coherence.unwrap() - 1.0).abs() < 1e-12);
        assert!(dispersion(array![[1u16]].view(), 1, &[0], 1).is_err());
    }
}

use ndarray::{Array1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{SpectrumError, pearson};

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
/// `histograms: [crops, codes]` counts per crop; `group[i] < groups` is the protein of row `i`. Returns one entry per
/// group.
///
/// # Errors
/// - `group` and `histograms` differ in length, or a group is out of range.
///
/// # Example
/// ```
/// let histograms = ndarray::array![[4u32, 0, 0], [4, 0, 0], [0, 1, 3]];
/// let spread = cytoself_spectrum::dispersion(histograms.view(), &[0, 0, 1], 2)?;
/// assert_eq!(spread[0].coherence, Some(1.0));
/// assert_eq!(spread[0].perplexity, 1.0);
/// assert_eq!(spread[1].coherence, None);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn dispersion(
    histograms: ArrayView2<'_, u32>,
    group: &[usize],
    groups: usize,
) -> Result<Vec<Dispersion>, SpectrumError> {
    if group.len() != histograms.nrows() {
        let what = "one group per histogram";
        return Err(SpectrumError::Shape {
            what,
            expected: histograms.nrows(),
            found: group.len(),
        });
    }
    let mut rows = vec![Vec::new(); groups];
    for (row, &found) in group.iter().enumerate() {
        rows.get_mut(found)
            .ok_or(SpectrumError::GroupOutOfRange { row, found, groups })?
            .push(row);
    }
    Ok(rows
        .par_iter()
        .map(|rows| spread(histograms, rows))
        .collect())
}

fn spread(histograms: ArrayView2<'_, u32>, rows: &[usize]) -> Dispersion {
    let own = histograms.select(Axis(0), rows).mapv(f64::from);
    let sum = own.sum_axis(Axis(0));
    let correlations: Vec<f64> = own
        .outer_iter()
        // The sum of the others has the shape of their mean, and Pearson sees only the shape.
        .filter_map(|crop| pearson(crop, (&sum - &crop).view()))
        .collect();
    let coherence = (!correlations.is_empty())
        .then(|| correlations.iter().sum::<f64>() / correlations.len() as f64);
    Dispersion {
        crops: rows.len(),
        coherence,
        perplexity: perplexity(&sum),
    }
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
        let spread = dispersion(
            array![[3u32, 1, 0], [0, 1, 3], [3, 1, 0], [3, 1, 0]].view(),
            &[0, 0, 1, 1],
            2,
        )
        .unwrap();
        assert!(spread[0].coherence.unwrap() < 0.0);
        assert!((spread[1].coherence.unwrap() - 1.0).abs() < 1e-12);
        assert!(dispersion(array![[1u32]].view(), &[1], 1).is_err());
    }
}

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::{SpectrumError, pearson};

/// Correlation of one spectrum with the consensus of one family.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilyCorrelation {
    /// Index of the family.
    pub family: usize,
    /// Pearson correlation; `None` where one of the two is flat.
    pub correlation: Option<f64>,
}

/// Code histograms read in leaf order: one feature spectrum per row.
///
/// The order is that of the codes; it changes how a spectrum looks and nothing that is computed from it.
///
/// # Example
/// ```
/// use cytoself_spectrum::FeatureSpectra;
/// let histograms = ndarray::array![[1.0, 2.0, 3.0], [3.0, 2.0, 2.0], [1.0, 2.0, 5.0]];
/// let spectra = FeatureSpectra::new(histograms.view(), &[2, 0, 1])?;
/// assert_eq!(spectra.rows(), ndarray::array![[3.0, 1.0, 2.0], [2.0, 3.0, 2.0], [5.0, 1.0, 2.0]]);
/// // Families 0 and 1: the mean of their members.
/// let consensus = spectra.consensus(&[Some(0), Some(1), Some(0)], 2)?;
/// assert_eq!(consensus.row(0), ndarray::aview1(&[4.0, 1.0, 2.0]));
/// let best = &spectra.correlate(0, consensus.view())?[0];
/// assert_eq!(best.family, 0);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSpectra {
    rows: Array2<f64>,
}

impl FeatureSpectra {
    /// Reads `histograms: [n, codes]` in `order`.
    ///
    /// # Errors
    /// - `order` is not a permutation of the codes.
    pub fn new(histograms: ArrayView2<'_, f64>, order: &[usize]) -> Result<Self, SpectrumError> {
        let codes = histograms.ncols();
        if order.len() != codes {
            let what = "codes in the leaf order";
            return Err(SpectrumError::Shape {
                what,
                expected: codes,
                found: order.len(),
            });
        }
        let mut seen = vec![false; codes];
        for (row, &code) in order.iter().enumerate() {
            let place = seen.get_mut(code).ok_or(SpectrumError::CodeOutOfRange {
                row,
                found: code,
                codes,
            })?;
            if std::mem::replace(place, true) {
                let (name, found, expected) = (
                    "leaf order",
                    format!("code {code} twice"),
                    "every code once",
                );
                return Err(SpectrumError::Parameter {
                    name,
                    found,
                    expected,
                });
            }
        }
        Ok(Self {
            rows: histograms.select(Axis(1), order),
        })
    }

    /// The spectra, `[n, codes]` in leaf order.
    #[must_use]
    pub fn rows(&self) -> ArrayView2<'_, f64> {
        self.rows.view()
    }

    /// Mean spectrum of each family, `[families, codes]`; a row with `None` belongs to no family.
    ///
    /// Every protein counts once, however many crops it has. A family without members is a row of zeros.
    ///
    /// # Errors
    /// - `family` and the spectra differ in length;
    /// - a family is not below `families`.
    pub fn consensus(
        &self,
        family: &[Option<usize>],
        families: usize,
    ) -> Result<Array2<f64>, SpectrumError> {
        if family.len() != self.rows.nrows() {
            let what = "one family per spectrum";
            return Err(SpectrumError::Shape {
                what,
                expected: self.rows.nrows(),
                found: family.len(),
            });
        }
        let mut consensus = Array2::zeros((families, self.rows.ncols()));
        let mut members = vec![0usize; families];
        for (row, (spectrum, &family)) in self.rows.outer_iter().zip(family).enumerate() {
            let Some(found) = family else { continue };
            let count = members
                .get_mut(found)
                .ok_or(SpectrumError::GroupOutOfRange {
                    row,
                    found,
                    groups: families,
                })?;
            *count += 1;
            consensus.row_mut(found).scaled_add(1.0, &spectrum);
        }
        for (mut row, &count) in consensus.outer_iter_mut().zip(&members) {
            row /= count.max(1) as f64;
        }
        Ok(consensus)
    }

    /// Correlates spectrum `row` with every family's consensus, best first: which localisation is this protein's?
    ///
    /// This is the paper's question about FAM241A (Fig. 4e). Leave the protein itself out of the consensus.
    ///
    /// # Errors
    /// - `row` does not exist;
    /// - the consensus has another number of codes.
    pub fn correlate(
        &self,
        row: usize,
        consensus: ArrayView2<'_, f64>,
    ) -> Result<Vec<FamilyCorrelation>, SpectrumError> {
        let (spectra, codes) = self.rows.dim();
        if row >= spectra {
            return Err(SpectrumError::GroupOutOfRange {
                row,
                found: row,
                groups: spectra,
            });
        }
        if consensus.ncols() != codes {
            let what = "codes of the consensus";
            return Err(SpectrumError::Shape {
                what,
                expected: codes,
                found: consensus.ncols(),
            });
        }
        Ok(correlate_with(self.rows.row(row), consensus))
    }
}

fn correlate_with(
    spectrum: ArrayView1<'_, f64>,
    consensus: ArrayView2<'_, f64>,
) -> Vec<FamilyCorrelation> {
    let mut found: Vec<FamilyCorrelation> = consensus
        .outer_iter()
        .enumerate()
        .map(|(family, mean)| FamilyCorrelation {
            family,
            correlation: pearson(spectrum, mean),
        })
        .collect();
    let key = |c: &FamilyCorrelation| c.correlation.unwrap_or(f64::NEG_INFINITY);
    found.sort_by(|a, b| key(b).total_cmp(&key(a)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_order_must_be_a_permutation() {
        let histograms = array![[1.0, 2.0, 3.0]];
        assert!(FeatureSpectra::new(histograms.view(), &[0, 1]).is_err());
        assert!(FeatureSpectra::new(histograms.view(), &[0, 1, 3]).is_err());
        assert!(FeatureSpectra::new(histograms.view(), &[0, 1, 1]).is_err());
    }

    #[test]
    fn a_flat_family_comes_last() {
        let spectra = FeatureSpectra::new(array![[1.0, 2.0, 3.0]].view(), &[0, 1, 2]).unwrap();
        let found = spectra
            .correlate(0, array![[2.0, 2.0, 2.0], [3.0, 2.0, 1.0]].view())
            .unwrap();
        let families: Vec<usize> = found.iter().map(|f| f.family).collect();
        assert_eq!(families, [1, 0]);
        assert!((found[0].correlation.unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(found[1].correlation, None);
    }
}

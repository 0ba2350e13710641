//! Proteins that the network was never trained on, assigned to families by their spectra: the FAM241A question of the paper.

use std::path::Path;

use cytoself_spectrum::FeatureSpectra;
use serde_json::{Value, json};

use super::{Families, Found};
use crate::cli::Failure;

/// A held-out protein and the family whose consensus its spectrum correlates with most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Assignment {
    protein: usize,
    family: usize,
    correlation: f64,
    right: bool,
}

/// The families that held-out proteins were assigned to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignments {
    all: Vec<Assignment>,
}

impl Assignments {
    /// Assigns every held-out protein of a known family; no held-out protein counts in a consensus.
    pub(super) fn of(families: &Families, spectra: &FeatureSpectra) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for (protein, own) in families.of.iter().enumerate() {
            let (Some(own), true) = (*own, families.held_out[protein]) else {
                continue;
            };
            let query = families.query(spectra, protein)?;
            let best = query
                .correlations
                .iter()
                .find_map(|c| Some((c.family, c.correlation?)));
            if let Some((family, correlation)) = best {
                all.push(Assignment {
                    protein,
                    family,
                    correlation,
                    right: family == own,
                });
            }
        }
        Ok(Self { all })
    }

    /// Proteins assigned to their own family, and all that were assigned.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.all.iter().filter(|a| a.right).count(), self.all.len())
    }

    /// The share in words, for the terminal; none without held-out proteins.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let (right, all) = self.counts();
        let [low, high] = wilson(right, all)?;
        Some(format!(
            "held-out proteins: {right} of {all} assigned to their own family ({:.2}, 95% {low:.2} to {high:.2})",
            right as f64 / all as f64
        ))
    }

    /// The share as it goes into `spectrum.json`.
    pub(super) fn to_json(&self) -> Value {
        let (right, all) = self.counts();
        match wilson(right, all) {
            None => Value::Null,
            Some([low, high]) => json!({
                "proteins": all,
                "assigned_to_own_family": right,
                "share": { "value": right as f64 / all as f64, "low": low, "high": high },
            }),
        }
    }

    /// `held_out.csv`, where there are held-out proteins.
    pub(super) fn write(&self, folder: &Path, found: &Found) -> Result<(), Failure> {
        if self.all.is_empty() {
            return Ok(());
        }
        let mut table = csv::Writer::from_path(folder.join("held_out.csv"))?;
        table.write_record(["protein", "own_family", "assigned", "correlation", "right"])?;
        let families = &found.families;
        for a in &self.all {
            let own = families.of[a.protein].map_or("", |f| &families.names[f]);
            table.write_record([
                found.proteins[a.protein].as_str(),
                own,
                &families.names[a.family],
                &format!("{:.9}", a.correlation),
                &a.right.to_string(),
            ])?;
        }
        Ok(table.flush()?)
    }
}

/// Wilson's 95 % interval of a share (doi:10.1080/01621459.1927.10502953); none of nothing.
fn wilson(right: usize, all: usize) -> Option<[f64; 2]> {
    if all == 0 {
        return None;
    }
    let (n, z) = (all as f64, 1.959_964);
    let p = right as f64 / n;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    Some([(centre - half) / scale, (centre + half) / scale])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_eight_of_ten() {
        let [low, high] = wilson(8, 10).unwrap();
        // statsmodels, proportion_confint(8, 10, method="wilson").
        assert!((low - 0.490_162).abs() < 1e-5 && (high - 0.943_318).abs() < 1e-5);
        assert!(wilson(0, 0).is_none());
    }

    #[test]
    fn a_held_out_protein_is_assigned_by_the_others() {
        let spectra = ndarray::array![
            [9.0, 1.0, 0.0],
            [8.0, 2.0, 0.0],
            [0.0, 1.0, 9.0],
            [0.0, 3.0, 7.0],
        ];
        let spectra = FeatureSpectra::new(spectra.view(), &[0, 1, 2]).unwrap();
        let families = |held_out: [bool; 4], of: [usize; 4]| Families {
            names: vec!["a".into(), "b".into()],
            of: of.map(Some).to_vec(),
            held_out: held_out.to_vec(),
            consensus: ndarray::Array2::zeros((2, 3)),
        };
        let right = families([true, false, true, false], [0, 0, 1, 1]);
        let found = Assignments::of(&right, &spectra).unwrap();
        assert_eq!(found.counts(), (2, 2));
        assert!(found.describe().unwrap().contains("2 of 2"));
        let wrong = families([true, false, false, false], [1, 0, 1, 1]);
        assert_eq!(Assignments::of(&wrong, &spectra).unwrap().counts(), (0, 1));
        assert!(Assignments::default().describe().is_none());
    }
}

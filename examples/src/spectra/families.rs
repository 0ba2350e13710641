use std::collections::HashMap;

use cytoself_eval::Labels;
use cytoself_io::{CropTable, read_groups};
use cytoself_spectrum::{FamilyCorrelation, FeatureSpectra};
use ndarray::Array2;

use super::Arguments;
use crate::cli::Failure;

/// Localisation families of the proteins and the mean spectrum of each.
#[derive(Debug, Clone)]
pub struct Families {
    /// Names of the families.
    pub names: Vec<String>,
    /// Family of each protein.
    pub of: Vec<Option<usize>>,
    /// Whether the network was never trained on the protein, which then counts in no consensus.
    pub held_out: Vec<bool>,
    /// Consensus spectra, `[families, codes]`.
    pub consensus: Array2<f64>,
}

/// One protein against every family, itself left out of its own.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Index of the protein.
    pub protein: usize,
    /// Families, best first.
    pub correlations: Vec<FamilyCorrelation>,
}

impl Families {
    /// Reads the family of each protein from a column of the crops or a table of groups.
    ///
    /// # Errors
    /// - the column does not exist; without families altogether there is nothing to correlate with, which is not an
    ///   error: the list of names is then empty.
    pub(super) fn of(
        table: &CropTable,
        rows: &[usize],
        proteins: &[String],
        spectra: &FeatureSpectra,
        held_out: &[&str],
        arguments: &Arguments,
    ) -> Result<Self, Failure> {
        let families: HashMap<String, String> = match &arguments.groups {
            Some(path) => read_groups(path)?
                .iter()
                .map(|(protein, group)| (protein.to_string(), group.to_string()))
                .collect(),
            None => column_by_protein(table, rows, &arguments.column)?,
        };
        let single = |protein: &String| {
            let family = families.get(protein).map_or("", String::as_str);
            if family.contains(';') { "" } else { family }
        };
        let labels = Labels::new(proteins.iter().map(single), &["others"]);
        let mut families = Self {
            names: labels.names().to_vec(),
            of: labels.classes().to_vec(),
            held_out: proteins
                .iter()
                .map(|p| held_out.contains(&p.as_str()))
                .collect(),
            consensus: Array2::zeros((0, 0)),
        };
        families.consensus = families.consensus_without(spectra, None)?;
        Ok(families)
    }

    /// Mean spectra of the families without held-out proteins, and without one more.
    fn consensus_without(
        &self,
        spectra: &FeatureSpectra,
        protein: Option<usize>,
    ) -> Result<Array2<f64>, Failure> {
        let counts = |at: usize| !self.held_out[at] && Some(at) != protein;
        let of: Vec<Option<usize>> = self
            .of
            .iter()
            .enumerate()
            .map(|(at, family)| family.filter(|_| counts(at)))
            .collect();
        Ok(spectra.consensus(&of, self.names.len())?)
    }

    /// Correlates the named proteins, or all, with every family; a protein never counts in its own consensus.
    ///
    /// # Errors
    /// - a name is no protein with crops.
    pub(super) fn queries(
        &self,
        proteins: &[String],
        names: &[String],
    ) -> Result<Vec<usize>, Failure> {
        if names.is_empty() {
            return Ok((0..proteins.len()).collect());
        }
        let find = |name: &String| {
            proteins.iter().position(|p| p == name).ok_or_else(|| {
                Failure::input(format!(
                    "--query {name}: no crop of that protein in this split; there are {}",
                    proteins.join(", ")
                ))
            })
        };
        names.iter().map(find).collect()
    }

    /// One protein against every family.
    pub(super) fn query(&self, spectra: &FeatureSpectra, protein: usize) -> Result<Query, Failure> {
        let consensus = self.consensus_without(spectra, Some(protein))?;
        Ok(Query {
            protein,
            correlations: spectra.correlate(protein, consensus.view())?,
        })
    }
}

/// The commonest value of a column for each protein; an absent column gives no families.
fn column_by_protein(
    table: &CropTable,
    rows: &[usize],
    name: &str,
) -> Result<HashMap<String, String>, Failure> {
    let protein = crate::evaluation::column(table, "protein")?;
    if name == "localization" && table.text(name).is_none() {
        return Ok(HashMap::new());
    }
    let column = crate::evaluation::column(table, name)?;
    let mut counts: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    for &row in rows {
        *counts
            .entry(protein.get(row))
            .or_default()
            .entry(column.get(row))
            .or_insert(0) += 1;
    }
    let commonest = |values: HashMap<&str, usize>| {
        let best = values
            .into_iter()
            .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
        best.map_or(String::new(), |(text, _)| text.to_string())
    };
    Ok(counts
        .into_iter()
        .map(|(protein, values)| (protein.to_string(), commonest(values)))
        .collect())
}

//! Protein complexes of CORUM.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::Groups;
use crate::table::text_or_error;
use crate::{Column, CropTable, IoError};

/// A complex and its subunits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complex {
    /// Name or number.
    pub name: String,
    /// Gene names of the subunits.
    pub subunits: BTreeSet<String>,
}

/// Reads a table of complexes, one row per subunit: a column `complex`, and the gene in `gene_names`, `target_name` or `protein`.
///
/// # Errors
/// - the file cannot be read or lacks one of the columns.
pub fn read_complexes(path: &Path) -> Result<Vec<Complex>, IoError> {
    let table = CropTable::from_csv(path)?;
    let gene = ["gene_names", "target_name", "protein"]
        .iter()
        .find_map(|c| table.text(c));
    let gene = match gene {
        Some(gene) => gene,
        None => text_or_error(path, &table, "gene_names")?,
    };
    let name = |row: usize| match table.column("complex") {
        Some(Column::Text(names)) => names.get(row).to_string(),
        Some(Column::Number(numbers)) => numbers[row].to_string(),
        _ => String::new(),
    };
    if table.column("complex").is_none() {
        text_or_error(path, &table, "complex")?;
    }
    let mut complexes: Vec<Complex> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (row, gene) in gene.iter().enumerate() {
        let place = *places.entry(name(row)).or_insert_with_key(|name| {
            complexes.push(Complex {
                name: name.clone(),
                subunits: BTreeSet::new(),
            });
            complexes.len() - 1
        });
        complexes[place].subunits.insert(gene.to_string());
    }
    Ok(complexes)
}

/// Complexes of more than one subunit whose subunits are all among `targets` and that share none with another: contained complexes are
/// dropped, then the largest are taken first (of equal size, the first by its sorted subunits).
///
/// The paper used 38 complexes with all subunits in OpenCell and no shared subunit; its list is not public.
///
/// # References
/// - Kobayashi et al., Nature Methods 2022, doi:10.1038/s41592-022-01541-z, Methods
pub fn disjoint_complexes<'a>(
    complexes: &[Complex],
    targets: impl IntoIterator<Item = &'a str>,
) -> Groups {
    let targets: HashSet<&str> = targets.into_iter().collect();
    let inside = |c: &&Complex| {
        c.subunits.len() > 1 && c.subunits.iter().all(|s| targets.contains(s.as_str()))
    };
    let candidates: Vec<&Complex> = complexes.iter().filter(inside).collect();
    let contained = |c: &Complex| {
        candidates
            .iter()
            .any(|o| o.subunits.len() > c.subunits.len() && c.subunits.is_subset(&o.subunits))
    };
    let mut maximal: Vec<&Complex> = candidates
        .iter()
        .copied()
        .filter(|c| !contained(c))
        .collect();
    maximal.sort_by(|a, b| {
        b.subunits
            .len()
            .cmp(&a.subunits.len())
            .then_with(|| a.subunits.cmp(&b.subunits))
    });
    let mut groups = Groups::default();
    for complex in maximal {
        if complex.subunits.iter().all(|s| groups.group(s).is_none()) {
            // None of the subunits is in a group yet.
            complex
                .subunits
                .iter()
                .for_each(|s| drop(groups.insert(s, &complex.name)));
        }
    }
    groups
}

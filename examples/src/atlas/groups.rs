//! The table that says which group each protein belongs to.

use std::collections::HashMap;
use std::path::Path;

use cytoself_io::{Column, CropTable, TextColumn};

use crate::cli::Failure;

/// The group of proteins that the table does not name.
pub const OTHERS: &str = "others";

/// Adds the column `group` from a CSV file `protein,group`.
///
/// # Errors
/// - the file cannot be read, has fewer than two columns in a row, or gives a protein two groups;
/// - the table has no column `protein`, or no protein of it is in the file.
pub fn add_groups(table: &mut CropTable, path: &Path) -> Result<(), Failure> {
    let groups = read(path)?;
    let proteins = table.text("protein").ok_or_else(|| {
        Failure::input(format!(
            "{}: the embeddings have no column protein to look up",
            path.display()
        ))
    })?;
    let mut column = TextColumn::new();
    let mut found = false;
    for protein in proteins.iter() {
        let group = groups.get(protein);
        found |= group.is_some();
        column.push(group.map_or(OTHERS, String::as_str))?;
    }
    if !found {
        return Err(Failure::input(format!(
            "{}: names none of the proteins of the embeddings, e.g. {:?}; expected rows protein,group",
            path.display(),
            proteins.iter().next().unwrap_or("")
        )));
    }
    Ok(table.insert("group", Column::Text(column))?)
}

fn read(path: &Path) -> Result<HashMap<String, String>, Failure> {
    let context = |e: csv::Error| Failure::from(e).context(path.display());
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(path)
        .map_err(context)?;
    let mut groups = HashMap::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(context)?;
        let (Some(protein), Some(group)) = (record.get(0), record.get(1)) else {
            return Err(Failure::input(format!(
                "{}: row {}: expected protein,group, found {} column",
                path.display(),
                row + 2,
                record.len()
            )));
        };
        if let Some(earlier) = groups.insert(protein.to_string(), group.to_string())
            && earlier != group
        {
            return Err(Failure::input(format!(
                "{}: row {}: {protein} is in {earlier} already; a protein has one group",
                path.display(),
                row + 2
            )));
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cytoself_io::Value;

    #[test]
    fn unnamed_proteins_are_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.csv");
        std::fs::write(&path, "protein,group\nA,golgi\nB,er\nA,golgi\n").unwrap();
        let mut table = CropTable::new();
        for protein in ["B", "C", "A"] {
            table.push(&[("protein", Value::Text(protein))]).unwrap();
        }
        add_groups(&mut table, &path).unwrap();
        assert_eq!(
            table.text("group").unwrap().iter().collect::<Vec<_>>(),
            ["er", "others", "golgi"]
        );
        std::fs::write(&path, "protein,group\nA,golgi\nA,er\n").unwrap();
        assert!(
            matches!(add_groups(&mut table, &path), Err(Failure::Input(m)) if m.contains("row 3"))
        );
        std::fs::write(&path, "protein,group\nX,er\n").unwrap();
        assert!(
            matches!(add_groups(&mut table, &path), Err(Failure::Input(m)) if m.contains("none of the proteins"))
        );
    }
}

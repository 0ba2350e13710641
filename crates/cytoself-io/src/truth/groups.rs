//! Groups of proteins: two columns, protein and group.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use crate::table::csv_error;
use crate::{CropTable, IoError, TextColumn};

/// The group that stands for proteins without one, as in cytoself.
const OTHERS: &str = "others";

/// Each protein's group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    rows: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Groups {
    /// Adds a protein; a second group for the same protein is refused with the first one.
    ///
    /// # Errors
    /// - the protein is in another group already.
    pub fn insert(&mut self, protein: &str, group: &str) -> Result<(), IoError> {
        if let Some(first) = self.group(protein) {
            if first == group {
                return Ok(());
            }
            return Err(IoError::argument(
                format!("group of {protein}"),
                format!("{first}, as before"),
                group,
            ));
        }
        self.index.insert(protein.to_string(), self.rows.len());
        self.rows.push((protein.to_string(), group.to_string()));
        Ok(())
    }

    /// The group of `protein`.
    #[must_use]
    pub fn group(&self, protein: &str) -> Option<&str> {
        self.index
            .get(protein)
            .and_then(|&i| self.rows.get(i))
            .map(|(_, group)| group.as_str())
    }

    /// Proteins and their groups, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.rows
            .iter()
            .map(|(protein, group)| (protein.as_str(), group.as_str()))
    }

    /// Number of proteins.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no protein.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The group of each crop's protein, `others` for a protein without one.
    ///
    /// # Errors
    /// - the table has no column `protein`.
    pub fn apply(&self, table: &CropTable) -> Result<TextColumn, IoError> {
        let proteins = table.text("protein").ok_or_else(|| {
            IoError::argument(
                "crop table",
                "a column protein",
                table.columns().collect::<Vec<_>>().join(", "),
            )
        })?;
        let by_code: Vec<&str> = proteins
            .categories()
            .map(|p| self.group(p).unwrap_or(OTHERS))
            .collect();
        TextColumn::from_texts(proteins.codes().iter().map(|&code| by_code[code as usize]))
    }

    /// Writes `protein,group`.
    ///
    /// # Errors
    /// - the file cannot be written.
    pub fn to_csv(&self, path: &Path) -> Result<(), IoError> {
        let mut table = CropTable::new();
        table.insert(
            "protein",
            TextColumn::from_texts(self.iter().map(|(p, _)| p))?,
        )?;
        table.insert(
            "group",
            TextColumn::from_texts(self.iter().map(|(_, g)| g))?,
        )?;
        table.to_csv(path)
    }
}

/// Reads a groups CSV: the protein in the first column and its group in the second, or in the columns named `protein` and `group`.
///
/// The header may be absent; a first line that names one of the usual columns (`protein`, `name`, `gene`, `target_name`, `group`, ...) is
/// one.
///
/// # Errors
/// - the file cannot be read, has no rows, or fewer than two columns;
/// - a protein is in two groups.
pub fn read_groups(path: &Path) -> Result<Groups, IoError> {
    let file = File::open(path).map_err(|e| IoError::file(path, e))?;
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .from_reader(std::io::BufReader::new(file));
    let mut groups = Groups::default();
    let mut columns = None;
    let mut record = StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| csv_error(path, e))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() < 2 {
            let expected = "two columns, protein and group";
            return Err(IoError::malformed(
                path,
                format!("line {line}"),
                expected,
                format!("{} columns", record.len()),
                "",
            ));
        }
        let header = columns.is_none().then(|| header_columns(&record)).flatten();
        let (protein, group) = *columns.get_or_insert(header.unwrap_or((0, 1)));
        if header.is_some() {
            continue;
        }
        let (protein, group) = (record[protein].trim(), record[group].trim());
        if protein.is_empty() || group.is_empty() {
            return Err(IoError::malformed(
                path,
                format!("line {line}"),
                "a protein and its group",
                "an empty value",
                "",
            ));
        }
        groups.insert(protein, group).map_err(|_| {
            let first = groups.group(protein).unwrap_or_default();
            let hint = "a protein may be in one group only";
            IoError::malformed(
                path,
                format!("line {line}"),
                format!("{protein} in {first}, as before"),
                group,
                hint,
            )
        })?;
    }
    if groups.is_empty() {
        return Err(IoError::malformed(
            path,
            "rows",
            "at least one protein",
            "none",
            "",
        ));
    }
    Ok(groups)
}

/// Positions of protein and group in a header line; `None` if the line is no header.
fn header_columns(record: &StringRecord) -> Option<(usize, usize)> {
    const PROTEIN: [&str; 6] = [
        "protein",
        "name",
        "gene",
        "gene_name",
        "gene_names",
        "target_name",
    ];
    const GROUP: [&str; 7] = [
        "group",
        "gt_name",
        "localization",
        "annotation_name",
        "complex",
        "cluster",
        "label",
    ];
    let find = |names: &[&str]| {
        names
            .iter()
            .find_map(|n| record.iter().position(|v| v.trim().eq_ignore_ascii_case(n)))
    };
    match (find(&PROTEIN), find(&GROUP)) {
        (None, None) => None,
        (Some(protein), Some(group)) => Some((protein, group)),
        _ => Some((0, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Groups, IoError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.csv");
        std::fs::write(&path, text).unwrap();
        read_groups(&path)
    }

    #[test]
    fn header_or_not() {
        for text in [
            "protein,group\nA,er\nB,golgi\n",
            "A,er\nB,golgi\n",
            "complex,id,target_name\ner,1,A\ngolgi,2,B\n",
        ] {
            let groups = read(text).unwrap();
            assert_eq!(
                groups.iter().collect::<Vec<_>>(),
                [("A", "er"), ("B", "golgi")],
                "{text}"
            );
        }
        assert!(
            read("A,er\nA,golgi\n")
                .unwrap_err()
                .to_string()
                .contains("line 2")
        );
        assert!(read("A\n").is_err());
        assert!(read("protein,group\n").is_err());
    }

    #[test]
    fn crops_of_other_proteins_are_others() {
        let mut table = CropTable::new();
        for protein in ["B", "C", "B"] {
            table.push(&[("protein", protein.into())]).unwrap();
        }
        let labels = read("A,er\nB,golgi\n").unwrap().apply(&table).unwrap();
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            ["golgi", "others", "golgi"]
        );
    }
}

//! A division given by the user: `split.csv`, or the column `split` of a crop table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Split;
use crate::table::text_or_error;
use crate::{CropTable, IoError};

/// The splits of fields, as read from a CSV file with the columns `fov,split` and optionally `protein`.
#[derive(Debug, Clone)]
pub struct SplitTable {
    path: PathBuf,
    // The protein is empty where the file names none.
    splits: HashMap<(String, String), Split>,
}

/// Reads a `split.csv` with the columns `fov` and `split` (`train`, `val` or `test`), and optionally `protein` for data in which
/// the same field name occurs with several proteins.
///
/// # Errors
/// - the file cannot be read or lacks one of the columns;
/// - a split is none of the three words;
/// - a field is in two splits.
pub fn read_split_csv(path: &Path) -> Result<SplitTable, IoError> {
    let table = CropTable::from_csv(path)?;
    let fov = text_or_error(path, &table, "fov")?;
    let split = text_or_error(path, &table, "split")?;
    let protein = table.text("protein");
    let mut splits = HashMap::new();
    for row in 0..table.len() {
        let place = format!("row {row}, column split");
        let malformed =
            |expected: &str, found: &str| IoError::malformed(path, &place, expected, found, "");
        let value: Split = split
            .get(row)
            .parse()
            .map_err(|_| malformed("train, val or test", split.get(row)))?;
        let key = (
            protein.map_or("", |p| p.get(row)).to_string(),
            fov.get(row).to_string(),
        );
        if let Some(&other) = splits.get(&key)
            && other != value
        {
            return Err(malformed(
                &format!("{other} as in an earlier row of field {}", key.1),
                value.as_str(),
            ));
        }
        splits.insert(key, value);
    }
    Ok(SplitTable {
        path: path.to_path_buf(),
        splits,
    })
}

impl SplitTable {
    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.splits.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.splits.is_empty()
    }

    /// The split of each crop of `table`.
    ///
    /// # Errors
    /// - `table` has no column `fov`;
    /// - a field of `table` is not in the file.
    pub fn apply(&self, table: &CropTable) -> Result<Vec<Split>, IoError> {
        let fov = table.text("fov").ok_or_else(|| {
            IoError::missing(
                &self.path,
                "the column fov of the crops",
                "a split by field needs crops that name their field",
            )
        })?;
        let protein = table.text("protein");
        // One look-up per distinct pair instead of one per crop.
        let mut known: HashMap<(u32, u32), Split> = HashMap::new();
        (0..table.len())
            .map(|row| {
                let codes = (protein.map_or(0, |p| p.codes()[row]), fov.codes()[row]);
                if let Some(&split) = known.get(&codes) {
                    return Ok(split);
                }
                let split = self.look_up(protein.map_or("", |p| p.get(row)), fov.get(row), row)?;
                known.insert(codes, split);
                Ok(split)
            })
            .collect()
    }

    fn look_up(&self, protein: &str, fov: &str, row: usize) -> Result<Split, IoError> {
        let of = |protein: &str| self.splits.get(&(protein.to_string(), fov.to_string()));
        of(protein).or_else(|| of("")).copied().ok_or_else(|| {
            let expected = format!("a row for field {fov} (protein {protein}, crop row {row})");
            IoError::malformed(
                &self.path,
                "column fov",
                expected,
                "none",
                "add the field, or leave its crops out of the data",
            )
        })
    }
}

/// The splits in the column `split` of `table`, if it has that column and no value of it is empty.
///
/// # Errors
/// - a value is not `train`, `val` or `test`.
pub fn split_column(table: &CropTable) -> Result<Option<Vec<Split>>, IoError> {
    let Some(column) = table.text("split") else {
        return Ok(None);
    };
    if table.is_empty() || column.code_of("").is_some() {
        return Ok(None);
    }
    column
        .iter()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_listed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("split.csv");
        std::fs::write(&path, "fov,split\n1,train\n2,val\n3,test\n").unwrap();
        let splits = read_split_csv(&path).unwrap();
        let mut table = CropTable::new();
        for fov in ["3", "1", "1"] {
            table
                .push(&[("protein", "A".into()), ("fov", fov.into())])
                .unwrap();
        }
        assert_eq!(
            splits.apply(&table).unwrap(),
            [Split::Test, Split::Train, Split::Train]
        );
        table
            .push(&[("protein", "B".into()), ("fov", "9".into())])
            .unwrap();
        assert!(
            splits
                .apply(&table)
                .unwrap_err()
                .to_string()
                .contains("field 9 (protein B, crop row 3)")
        );
        std::fs::write(&path, "fov,split\n1,train\n1,test\n").unwrap();
        assert!(read_split_csv(&path).is_err());
        std::fs::write(&path, "fov,split\n1,training\n").unwrap();
        assert!(
            read_split_csv(&path)
                .unwrap_err()
                .to_string()
                .contains("row 0")
        );
    }
}

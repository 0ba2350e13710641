//! Proteins that a model was never trained on.

use std::fs;
use std::path::Path;

use cytoself_io::{CropTable, Split};

use crate::cli::Failure;

/// The file in a model folder that names them, one per line; absent where none was held out.
const FILE: &str = "held_out.txt";

/// The proteins that training on the model folder `model` left out.
///
/// # Errors
/// - the file is there and cannot be read.
pub fn read(model: &Path) -> Result<Vec<String>, Failure> {
    let path = model.join(FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).map_err(|e| Failure::from(e).context(path.display()))?;
    Ok(text.lines().map(str::to_string).collect())
}

pub(super) fn write(folder: &Path, proteins: &[String]) -> Result<(), Failure> {
    if proteins.is_empty() {
        return Ok(());
    }
    let path = folder.join(FILE);
    fs::write(&path, proteins.join("\n") + "\n")
        .map_err(|e| Failure::from(e).context(path.display()))
}

/// The names, sorted, each once.
pub(super) fn check(names: &[String], table: &CropTable) -> Result<Vec<String>, Failure> {
    let known = |name: &&String| {
        table
            .text("protein")
            .is_some_and(|c| c.categories().any(|p| p == name.as_str()))
    };
    if let Some(unknown) = names.iter().find(|n| !known(n)) {
        return Err(Failure::input(format!(
            "--hold-out {unknown}: no crop is of that protein"
        )));
    }
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The split of every crop that may be trained on.
pub(super) fn without(
    splits: &[Split],
    table: &CropTable,
    proteins: &[String],
) -> Vec<Option<Split>> {
    let held = |row: usize| {
        table.text("protein").is_some_and(|c| {
            proteins
                .binary_search_by(|p| p.as_str().cmp(c.get(row)))
                .is_ok()
        })
    };
    splits
        .iter()
        .enumerate()
        .map(|(row, split)| (!held(row)).then_some(*split))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_crops_have_no_split() {
        let mut table = CropTable::new();
        for protein in ["A", "B", "A", "C"] {
            table.push(&[("protein", protein.into())]).unwrap();
        }
        let names = ["C", "A", "C"].map(String::from);
        let held = check(&names, &table).unwrap();
        assert_eq!(held, ["A", "C"]);
        let splits = without(&[Split::Train; 4], &table, &held);
        assert_eq!(splits, [None, Some(Split::Train), None, None]);
        assert!(check(&["D".to_string()], &table).is_err());
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &held).unwrap();
        assert_eq!(read(dir.path()).unwrap(), held);
    }
}

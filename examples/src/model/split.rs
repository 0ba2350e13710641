//! Which crops are trained on: from a file, from the crop table, or 8:1:1 by field.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use cytoself_io::{CropTable, Split, SplitParams, read_split_csv, split_by_field, split_column};

use crate::cli::{Common, Failure};

/// The name of the file in a model folder that says which field was used for what.
pub(super) const SPLIT_FILE: &str = "split.csv";

/// The split of each crop of `table`, and how it came about in words.
pub(super) fn choose(
    table: &CropTable,
    file: Option<&Path>,
    common: &Common,
) -> Result<(Vec<Split>, String), Failure> {
    if let Some(path) = file {
        return Ok((
            read_split_csv(path)?.apply(table)?,
            format!("split by {}", path.display()),
        ));
    }
    if let Some(splits) = split_column(table)? {
        return Ok((splits, "split by the crops' table".to_string()));
    }
    let (splits, report) = split_by_field(table, &SplitParams::default().seed(common.seed))?;
    let [train, validation, test] = report.fields;
    Ok((
        splits,
        format!("split by field: {train} train, {validation} val, {test} test"),
    ))
}

/// `protein,fov,split`, one line per field, so that `embed --split` knows what the model has seen.
pub(super) fn write(folder: &Path, table: &CropTable, splits: &[Split]) -> Result<(), Failure> {
    let (Some(protein), Some(fov)) = (table.text("protein"), table.text("fov")) else {
        return Ok(());
    };
    let mut fields: BTreeMap<(&str, &str), Split> = BTreeMap::new();
    for (row, split) in splits.iter().enumerate() {
        fields.insert((protein.get(row), fov.get(row)), *split);
    }
    let mut text = String::from("protein,fov,split\n");
    for ((protein, fov), split) in fields {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{},{},{split}", quoted(protein), quoted(fov));
    }
    let path = folder.join(SPLIT_FILE);
    fs::write(&path, text).map_err(|e| Failure::from(e).context(path.display()))
}

/// A CSV cell.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

/// The split of each crop as far as it is known: from the table, else from the fields that the model was trained with.
pub(super) fn known(table: &CropTable, model: &Path) -> Result<Vec<Option<Split>>, Failure> {
    if let Some(splits) = split_column(table)? {
        return Ok(splits.into_iter().map(Some).collect());
    }
    let path = model.join(SPLIT_FILE);
    let (Some(protein), Some(fov), true) =
        (table.text("protein"), table.text("fov"), path.is_file())
    else {
        return Ok(vec![None; table.len()]);
    };
    let known = CropTable::from_csv(&path)?;
    let column = |name: &str| {
        known.text(name).ok_or_else(|| {
            Failure::input(format!("{}: the column {name} is missing", path.display()))
        })
    };
    let (proteins, fovs, splits) = (column("protein")?, column("fov")?, column("split")?);
    let mut fields: HashMap<(&str, &str), Split> = HashMap::new();
    for row in 0..known.len() {
        fields.insert((proteins.get(row), fovs.get(row)), splits.get(row).parse()?);
    }
    Ok((0..table.len())
        .map(|row| fields.get(&(protein.get(row), fov.get(row))).copied())
        .collect())
}

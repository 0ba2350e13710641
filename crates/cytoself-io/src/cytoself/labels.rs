//! Label tables of cytoself: the seven public columns, or the first three of them, with or without a header.

use std::fs::File;
use std::path::Path;

use csv::ReaderBuilder;

use crate::table::csv_error;
use crate::{CropTable, IoError, TextColumn};

/// The public columns, in order.
pub(super) const PUBLIC: [&str; 7] = [
    "ensg",
    "name",
    "loc_grade1",
    "loc_grade2",
    "loc_grade3",
    "protein_id",
    "FOV_id",
];
/// The columns of the sample data's pickled labels.
const SAMPLE: [&str; 3] = ["ensg", "name", "localization"];

/// Names of the columns of a headerless table of `count` columns.
pub(super) fn column_names(path: &Path, count: usize) -> Result<Vec<String>, IoError> {
    let names = match count {
        1 => &PUBLIC[1..2],
        2 => &PUBLIC[..2],
        3 => &SAMPLE[..],
        4..=7 => &PUBLIC[..count],
        _ => {
            let expected = "1 to 7 label columns (ensg, name, loc_grade1-3, protein_id, FOV_id)";
            return Err(IoError::malformed(path, "labels", expected, count, ""));
        }
    };
    Ok(names.iter().map(ToString::to_string).collect())
}

/// Reads a label CSV, whose header may be absent.
pub(super) fn read_csv(path: &Path) -> Result<CropTable, IoError> {
    let file = File::open(path).map_err(|e| IoError::file(path, e))?;
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .from_reader(std::io::BufReader::new(file));
    let mut record = csv::StringRecord::new();
    let mut columns: Vec<(String, TextColumn)> = Vec::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| csv_error(path, e))?
    {
        if columns.is_empty() {
            let header = record.iter().any(|v| PUBLIC.contains(&v));
            let names = if header {
                record
                    .iter()
                    .enumerate()
                    .map(|(i, n)| {
                        if n.is_empty() {
                            format!("column{i}")
                        } else {
                            n.to_string()
                        }
                    })
                    .collect()
            } else {
                column_names(path, record.len())?
            };
            columns = names.into_iter().map(|n| (n, TextColumn::new())).collect();
            if header {
                continue;
            }
        }
        for ((_, column), value) in columns.iter_mut().zip(&record) {
            column.push(value)?;
        }
    }
    let mut table = CropTable::new();
    for (name, column) in columns {
        table.insert(&name, column)?;
    }
    Ok(table)
}

/// Adds our columns `protein`, `fov` and `localization` in front of cytoself's own, which are kept.
///
/// The localisation is that of the highest grade that is given.
pub(super) fn with_our_columns(path: &Path, labels: &CropTable) -> Result<CropTable, IoError> {
    let name = labels.text("name").or_else(|| labels.text("protein_id"));
    let Some(name) = name else {
        let found = labels.columns().collect::<Vec<_>>().join(", ");
        return Err(IoError::malformed(
            path,
            "labels",
            "a column name",
            found,
            "",
        ));
    };
    let mut table = CropTable::new();
    table.insert("protein", name.clone())?;
    if let Some(fov) = labels.text("FOV_id") {
        table.insert("fov", fov.clone())?;
    }
    let grades: Vec<&TextColumn> = ["loc_grade3", "loc_grade2", "loc_grade1"]
        .iter()
        .filter_map(|g| labels.text(g))
        .collect();
    if !grades.is_empty() {
        let best = |row: usize| {
            grades
                .iter()
                .map(|g| g.get(row))
                .find(|t| !t.is_empty())
                .unwrap_or("")
        };
        table.insert(
            "localization",
            TextColumn::from_texts((0..labels.len()).map(best))?,
        )?;
    }
    for column in labels.columns() {
        if let Some(values) = labels.column(column)
            && table.column(column).is_none()
        {
            table.insert(column, values.clone())?;
        }
    }
    Ok(table)
}

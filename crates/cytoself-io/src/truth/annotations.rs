//! OpenCell's localisation annotations.

use std::path::Path;

use super::Groups;
use crate::table::text_or_error;
use crate::{CropTable, IoError};

/// A protein's localisation with its grade: 3 for prominent, 2 for clear, 1 for weak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The protein.
    pub protein: String,
    /// The compartment.
    pub localization: String,
    /// 1, 2 or 3.
    pub grade: u8,
}

/// Reads OpenCell's annotation table: one row per annotation (`target_name,annotation_name,annotation_grade`) or one row per protein
/// (`target_name,annotations_grade_3,annotations_grade_2,annotations_grade_1`, several separated by semicolons).
///
/// # Errors
/// - the file cannot be read or has neither set of columns;
/// - a grade is not 1, 2 or 3.
///
/// # References
/// - Cho et al., Science 2022, doi:10.1126/science.abi6983
pub fn read_annotations(path: &Path) -> Result<Vec<Annotation>, IoError> {
    let table = CropTable::from_csv(path)?;
    let protein = text_or_error(path, &table, "target_name")?;
    let mut annotations = Vec::new();
    let mut add = |row: usize, localization: &str, grade: u8| {
        let (protein, localization) = (
            protein.get(row).to_string(),
            localization.trim().to_string(),
        );
        annotations.push(Annotation {
            protein,
            localization,
            grade,
        });
    };
    if let Some(names) = table.text("annotation_name") {
        let grades = table.number("annotation_grade").ok_or_else(|| {
            IoError::malformed(
                path,
                "line 1",
                "a numeric column annotation_grade",
                "none",
                "",
            )
        })?;
        for (row, name) in names.iter().enumerate() {
            let grade = [1_u8, 2, 3]
                .into_iter()
                .find(|&g| f64::from(g) == grades[row])
                .ok_or_else(|| {
                    IoError::malformed(
                        path,
                        format!("row {row}, column annotation_grade"),
                        "1, 2 or 3",
                        grades[row],
                        "",
                    )
                })?;
            add(row, name, grade);
        }
        return Ok(annotations);
    }
    text_or_error(path, &table, "annotations_grade_3")?;
    for row in 0..table.len() {
        for grade in [3_u8, 2, 1] {
            let names = table
                .text(&format!("annotations_grade_{grade}"))
                .map_or("", |c| c.get(row));
            names
                .split(';')
                .filter(|n| !n.trim().is_empty())
                .for_each(|name| add(row, name, grade));
        }
    }
    Ok(annotations)
}

/// Proteins with exactly one annotation, if that has grade 3: a stand-in for the paper's list of proteins of unique localisation, which is
/// not public.
#[must_use]
pub fn unique_localizations(annotations: &[Annotation]) -> Groups {
    let mut counts = std::collections::HashMap::new();
    for annotation in annotations {
        *counts.entry(annotation.protein.as_str()).or_insert(0_usize) += 1;
    }
    let mut groups = Groups::default();
    for annotation in annotations
        .iter()
        .filter(|a| a.grade == 3 && counts[a.protein.as_str()] == 1)
    {
        // One annotation per protein: it cannot be in two groups.
        let _ = groups.insert(&annotation.protein, &annotation.localization);
    }
    groups
}

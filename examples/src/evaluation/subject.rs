use std::collections::HashMap;

use cytoself_eval::Labels;
use cytoself_io::{CropTable, Groups, TextColumn};

use super::column;
use crate::cli::Failure;

/// Where the classes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// A column of the crop table.
    Column(String),
    /// Group of each protein; proteins that are not listed have none.
    Groups(Groups),
}

impl Truth {
    fn labels(&self, table: &CropTable, rows: &[usize]) -> Result<Labels, Failure> {
        match self {
            Self::Column(name) => {
                let column = column(table, name)?;
                // Several localisations are no class of their own; cytoself calls them `others`.
                let single = |row: &usize| {
                    Some(column.get(*row))
                        .filter(|text| !text.contains(';'))
                        .unwrap_or("")
                };
                Ok(Labels::new(rows.iter().map(single), &["others"]))
            }
            Self::Groups(groups) => {
                let proteins = column(table, "protein")?;
                let group = |row: &usize| groups.group(proteins.get(*row)).unwrap_or("");
                Ok(Labels::new(rows.iter().map(group), &["others"]))
            }
        }
    }

    /// The truth in words, for the report.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Column(name) => format!("column {name}"),
            Self::Groups(groups) => format!("groups of {} proteins", groups.len()),
        }
    }
}

/// The crops to judge: their classes, proteins and fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Rows of the crop table, all with a class.
    pub rows: Vec<usize>,
    /// Class of each of them.
    pub labels: Labels,
    /// Protein of each.
    pub protein: Vec<usize>,
    /// Names of the proteins.
    pub proteins: Vec<String>,
    /// Field of view of each; fields of different proteins are different fields.
    pub field: Vec<usize>,
    /// Which rows are judged; the others only serve as neighbours.
    pub judged: Vec<bool>,
    /// What was judged, in words.
    pub description: String,
    /// Crops of the split without a class, and crops left out by the limit.
    pub skipped: (usize, usize),
}

impl Subject {
    /// Chooses the labelled crops of a split (`all` for every one), and of the reference split beside them.
    ///
    /// More than `limit` judged crops are thinned evenly in table order.
    ///
    /// # Errors
    /// - the table has no such column or split;
    /// - fewer than two classes are left.
    pub fn choose(
        table: &CropTable,
        truth: &Truth,
        split: &str,
        reference: Option<&str>,
        limit: usize,
    ) -> Result<Self, Failure> {
        let judged = rows_of_split(table, split)?;
        let (judged, unlabelled) = labelled(table, truth, judged)?;
        let (judged, thinned) = thin(judged, limit);
        let mut marks = vec![true; judged.len()];
        let mut rows = judged;
        if let Some(reference) = reference {
            let (others, _) = labelled(table, truth, rows_of_split(table, reference)?)?;
            let (others, _) = thin(others, limit);
            marks.resize(rows.len() + others.len(), false);
            rows.extend(others);
        }
        let labels = truth.labels(table, &rows)?;
        if labels.names().len() < 2 {
            let text = format!(
                "{} has {} classes among {} crops of split {split}; expected at least 2",
                truth.describe(),
                labels.names().len(),
                rows.len()
            );
            return Err(Failure::input(text));
        }
        let (protein, proteins) = codes(column(table, "protein")?, &rows);
        let field = fields(table, &rows, &protein);
        let description = format!("{} of split {split}", truth.describe());
        Ok(Self {
            rows,
            labels,
            protein,
            proteins,
            field,
            judged: marks,
            description,
            skipped: (unlabelled, thinned),
        })
    }

    /// The subject of some of its rows.
    #[must_use]
    pub fn keep(&self, kept: &[usize]) -> Self {
        let name = |at: &usize| {
            self.labels.classes()[*at].map_or("", |class| self.labels.names()[class].as_str())
        };
        let pick = |values: &[usize]| kept.iter().map(|&at| values[at]).collect();
        Self {
            rows: pick(&self.rows),
            labels: Labels::new(kept.iter().map(name), &[]),
            protein: pick(&self.protein),
            proteins: self.proteins.clone(),
            field: pick(&self.field),
            judged: kept.iter().map(|&at| self.judged[at]).collect(),
            description: self.description.clone(),
            skipped: self.skipped,
        }
    }

    /// The judged rows grouped by field: the independent units of the intervals.
    #[must_use]
    pub fn units(&self, rows: impl IntoIterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
        let mut units: std::collections::BTreeMap<usize, Vec<usize>> =
            std::collections::BTreeMap::new();
        for (row, item) in rows {
            units.entry(self.field[row]).or_default().push(item);
        }
        units.into_values().collect()
    }
}

/// Rows of a split; `all` for every row.
pub(crate) fn rows_of_split(table: &CropTable, split: &str) -> Result<Vec<usize>, Failure> {
    if split == "all" {
        return Ok((0..table.len()).collect());
    }
    if !["train", "val", "test"].contains(&split) {
        return Err(Failure::input(format!(
            "split `{split}`: expected train, val, test or all"
        )));
    }
    let column = column(table, "split")?;
    let rows: Vec<usize> = (0..table.len())
        .filter(|&row| column.get(row) == split)
        .collect();
    if rows.is_empty() {
        return Err(Failure::input(format!(
            "no crop of split `{split}` among {}; give --split all to judge every crop",
            table.len()
        )));
    }
    Ok(rows)
}

/// The rows that have a class, and how many have none.
fn labelled(
    table: &CropTable,
    truth: &Truth,
    rows: Vec<usize>,
) -> Result<(Vec<usize>, usize), Failure> {
    let kept = truth.labels(table, &rows)?.labelled().0;
    let skipped = rows.len() - kept.len();
    Ok((kept.into_iter().map(|at| rows[at]).collect(), skipped))
}

fn thin(rows: Vec<usize>, limit: usize) -> (Vec<usize>, usize) {
    let limit = limit.max(1);
    if rows.len() <= limit {
        return (rows, 0);
    }
    let kept: Vec<usize> = (0..limit).map(|at| rows[at * rows.len() / limit]).collect();
    (kept, rows.len() - limit)
}

fn codes(column: &TextColumn, rows: &[usize]) -> (Vec<usize>, Vec<String>) {
    let codes = rows
        .iter()
        .map(|&row| column.codes()[row] as usize)
        .collect();
    (codes, column.categories().map(str::to_string).collect())
}

/// Field of each row; without a `fov` column every crop is a field of its own.
fn fields(table: &CropTable, rows: &[usize], protein: &[usize]) -> Vec<usize> {
    let Some(fov) = table.text("fov") else {
        return (0..rows.len()).collect();
    };
    let mut index = HashMap::new();
    rows.iter()
        .zip(protein)
        .map(|(&row, &protein)| {
            let next = index.len();
            *index.entry((protein, fov.codes()[row])).or_insert(next)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cytoself_io::Value;

    fn table() -> CropTable {
        let mut table = CropTable::new();
        for row in 0..12 {
            let (protein, class) = [("A", "er"), ("B", "golgi"), ("C", "er;golgi")][row % 3];
            let fov = format!("f{}", row / 6);
            let split = if row < 9 { "test" } else { "train" };
            let cells = [
                ("protein", protein),
                ("localization", class),
                ("fov", &fov),
                ("split", split),
            ];
            table
                .push(&cells.map(|(name, text)| (name, Value::Text(text))))
                .unwrap();
        }
        table
    }

    #[test]
    fn several_localisations_are_no_class() {
        let subject = Subject::choose(
            &table(),
            &Truth::Column("localization".into()),
            "test",
            None,
            100,
        )
        .unwrap();
        assert_eq!(subject.rows, [0, 1, 3, 4, 6, 7]);
        assert_eq!(subject.skipped, (3, 0));
        assert_eq!(subject.labels.names(), ["er", "golgi"]);
        // The field f0 of protein A is not the field f0 of protein B.
        assert_eq!(subject.field, [0, 1, 0, 1, 2, 3]);
    }

    #[test]
    fn a_reference_split_is_beside_the_judged_one() {
        let mut groups = Groups::default();
        groups.insert("A", "x").unwrap();
        groups.insert("B", "y").unwrap();
        let truth = Truth::Groups(groups);
        let subject = Subject::choose(&table(), &truth, "test", Some("train"), 4).unwrap();
        assert_eq!(subject.judged, [true, true, true, true, false, false]);
        assert_eq!(subject.skipped, (3, 2));
    }

    #[test]
    fn what_is_missing_is_named() {
        let truth = Truth::Column("localization".into());
        assert!(Subject::choose(&table(), &truth, "val", None, 9).is_err());
        assert!(Subject::choose(&table(), &truth, "tset", None, 9).is_err());
        assert!(
            Subject::choose(
                &table(),
                &Truth::Column("organelle".into()),
                "test",
                None,
                9
            )
            .is_err()
        );
    }
}

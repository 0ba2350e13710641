//! The table that describes crops: one row per crop, columns of text, numbers or flags.

mod column;
mod csv;
mod text;

pub use column::{Column, ColumnKind, Value};
pub use text::TextColumn;

pub(crate) use csv::{csv_error, text_or_error};

use crate::IoError;

/// A columnar table of crops, lean enough for a million rows: text is dictionary-encoded (4 bytes a row beside its distinct values).
///
/// Columns that this program gives a meaning are `crop` (unique name), `protein`, `fov`, `plate`, `y`, `x`, `scale`, `split`,
/// `localization` and `quality`; any other column is kept as it is.
///
/// # Example
/// ```
/// use cytoself_io::{CropTable, Value};
/// let mut table = CropTable::new();
/// table.push(&[("crop", Value::Text("a")), ("y", Value::Number(3.5))])?;
/// table.push(&[("crop", Value::Text("b"))])?;
/// assert_eq!(table.len(), 2);
/// assert_eq!(table.text("crop").unwrap().get(1), "b");
/// assert!(table.number("y").unwrap()[1].is_nan());
/// # Ok::<(), cytoself_io::IoError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CropTable {
    rows: usize,
    columns: Vec<(String, Column)>,
}

impl CropTable {
    /// A table without rows and columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Names of the columns, in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// The column `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, c)| c)
    }

    fn column_mut(&mut self, name: &str) -> Option<&mut Column> {
        self.columns
            .iter_mut()
            .find(|(n, _)| n == name)
            .map(|(_, c)| c)
    }

    /// The column `name`, if it holds text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&TextColumn> {
        match self.column(name)? {
            Column::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The column `name`, if it holds numbers; a missing number is NaN.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<&[f64]> {
        match self.column(name)? {
            Column::Number(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The column `name`, if it holds flags.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&[bool]> {
        match self.column(name)? {
            Column::Flag(flags) => Some(flags),
            _ => None,
        }
    }

    /// Adds the column `name`, or replaces it. The first column decides the number of rows.
    ///
    /// # Errors
    /// - the column's length is not the table's.
    pub fn insert(&mut self, name: &str, column: impl Into<Column>) -> Result<(), IoError> {
        let column = column.into();
        if self.columns.is_empty() {
            self.rows = column.len();
        }
        if column.len() != self.rows {
            return Err(IoError::argument(
                format!("column {name}"),
                format!("{} values, one per row", self.rows),
                column.len(),
            ));
        }
        match self.column_mut(name) {
            Some(old) => *old = column,
            None => self.columns.push((name.to_string(), column)),
        }
        Ok(())
    }

    /// Removes and returns the column `name`.
    pub fn remove(&mut self, name: &str) -> Option<Column> {
        let index = self.columns.iter().position(|(n, _)| n == name)?;
        Some(self.columns.remove(index).1)
    }

    /// Appends a row. A column that the table does not have yet is added, with missing values above; a column not named is missing
    /// (empty text, NaN, false) in this row.
    ///
    /// # Errors
    /// - a value's type is not that of its column;
    /// - a column of text has no room for another text ([`TextColumn::push`]).
    pub fn push(&mut self, row: &[(&str, Value<'_>)]) -> Result<(), IoError> {
        for (name, value) in row {
            if let Some(column) = self.column(name)
                && column.kind() != value.kind()
            {
                return Err(IoError::argument(
                    format!("column {name}"),
                    column.kind(),
                    value.kind(),
                ));
            }
        }
        for (name, value) in row {
            if self.column(name).is_none() {
                self.columns.push((
                    (*name).to_string(),
                    Column::missing(value.kind(), self.rows),
                ));
            }
        }
        self.rows += 1;
        for (name, column) in &mut self.columns {
            match row.iter().find(|(n, _)| n == name) {
                Some((_, value)) => column.push(*value)?,
                None => column.pad(self.rows)?,
            }
        }
        Ok(())
    }

    /// The given rows, in the given order.
    ///
    /// # Errors
    /// - a row is not in the table.
    pub fn select(&self, rows: &[usize]) -> Result<Self, IoError> {
        if let Some(row) = rows.iter().find(|&&r| r >= self.rows) {
            return Err(IoError::argument(
                "row",
                format!("below {}", self.rows),
                row,
            ));
        }
        let columns = self
            .columns
            .iter()
            .map(|(n, c)| (n.clone(), c.select(rows)))
            .collect();
        Ok(Self {
            rows: rows.len(),
            columns,
        })
    }

    /// Appends the rows of `other`; columns that one of the two lacks are missing in its rows.
    ///
    /// # Errors
    /// - a column has another type in `other`;
    /// - a column of text has no room for another text ([`TextColumn::push`]).
    pub fn concat(&mut self, other: &Self) -> Result<(), IoError> {
        for (name, column) in &other.columns {
            if let Some(own) = self.column(name)
                && own.kind() != column.kind()
            {
                return Err(IoError::argument(
                    format!("column {name}"),
                    own.kind(),
                    column.kind(),
                ));
            }
        }
        for (name, column) in &other.columns {
            if self.column(name).is_none() {
                self.columns
                    .push((name.clone(), Column::missing(column.kind(), self.rows)));
            }
        }
        self.rows += other.rows;
        for (name, column) in &mut self.columns {
            match other.column(name) {
                Some(added) => column.extend(added)?,
                None => column.pad(self.rows)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> CropTable {
        let mut table = CropTable::new();
        for (crop, y, good) in [("a", 1.0, true), ("b", 2.5, false), ("c", -3.0, true)] {
            table
                .push(&[
                    ("crop", crop.into()),
                    ("y", y.into()),
                    ("good", good.into()),
                ])
                .unwrap();
        }
        table
    }

    #[test]
    fn select_and_concat() {
        let mut picked = table().select(&[2, 0]).unwrap();
        assert_eq!(picked.number("y").unwrap(), [-3.0, 1.0]);
        let mut other = CropTable::new();
        other
            .push(&[("plate", "p1".into()), ("crop", "d".into())])
            .unwrap();
        picked.concat(&other).unwrap();
        assert_eq!(picked.len(), 3);
        assert_eq!(
            picked.text("plate").unwrap().iter().collect::<Vec<_>>(),
            ["", "", "p1"]
        );
        assert_eq!(
            picked.text("crop").unwrap().iter().collect::<Vec<_>>(),
            ["c", "a", "d"]
        );
        assert!(!picked.flag("good").unwrap()[2]);
        assert!(table().select(&[3]).is_err());
    }

    #[test]
    fn a_type_conflict_leaves_the_table_as_it_was() {
        let mut t = table();
        assert!(t.push(&[("crop", 1.0.into())]).is_err());
        let mut other = CropTable::new();
        other.push(&[("y", "high".into())]).unwrap();
        assert!(t.concat(&other).is_err());
        assert_eq!(t, table());
    }
}

//! One column of a table, and one value of a column.

use std::fmt;

use super::TextColumn;
use crate::IoError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Dictionary-encoded text.
    Text,
    /// 64-bit floating point numbers.
    Number,
    /// True or false.
    Flag,
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "true or false",
        })
    }
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
}

impl Value<'_> {
    /// The kind of column that takes this value.
    #[must_use]
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Text(_) => ColumnKind::Text,
            Self::Number(_) => ColumnKind::Number,
            Self::Flag(_) => ColumnKind::Flag,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// A column: one value per row.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Text; a missing value is empty.
    Text(TextColumn),
    /// Numbers; a missing value is NaN.
    Number(Vec<f64>),
    /// Flags; a missing value is false.
    Flag(Vec<bool>),
}

impl From<TextColumn> for Column {
    fn from(column: TextColumn) -> Self {
        Self::Text(column)
    }
}

impl From<Vec<f64>> for Column {
    fn from(column: Vec<f64>) -> Self {
        Self::Number(column)
    }
}

impl From<Vec<bool>> for Column {
    fn from(column: Vec<bool>) -> Self {
        Self::Flag(column)
    }
}

impl Column {
    /// A column of `rows` missing values.
    #[must_use]
    pub fn missing(kind: ColumnKind, rows: usize) -> Self {
        match kind {
            ColumnKind::Text => Self::Text(TextColumn::repeat("", rows)),
            ColumnKind::Number => Self::Number(vec![f64::NAN; rows]),
            ColumnKind::Flag => Self::Flag(vec![false; rows]),
        }
    }

    /// What the column holds.
    #[must_use]
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Text(_) => ColumnKind::Text,
            Self::Number(_) => ColumnKind::Number,
            Self::Flag(_) => ColumnKind::Flag,
        }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(c) => c.len(),
            Self::Number(c) => c.len(),
            Self::Flag(c) => c.len(),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `row`, if there is one.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<Value<'_>> {
        match self {
            Self::Text(c) => (row < c.len()).then(|| Value::Text(c.get(row))),
            Self::Number(c) => c.get(row).map(|&v| Value::Number(v)),
            Self::Flag(c) => c.get(row).map(|&v| Value::Flag(v)),
        }
    }

    /// Appends a value whose kind the caller has checked.
    pub(super) fn push(&mut self, value: Value<'_>) -> Result<(), IoError> {
        match (self, value) {
            (Self::Text(c), Value::Text(v)) => return c.push(v),
            (Self::Number(c), Value::Number(v)) => c.push(v),
            (Self::Flag(c), Value::Flag(v)) => c.push(v),
            _ => debug_assert!(false, "the kind was checked by the caller"),
        }
        Ok(())
    }

    /// Appends missing values up to `rows`.
    pub(super) fn pad(&mut self, rows: usize) -> Result<(), IoError> {
        match self {
            Self::Text(c) => return (c.len()..rows).try_for_each(|_| c.push("")),
            Self::Number(c) => c.resize(rows, f64::NAN),
            Self::Flag(c) => c.resize(rows, false),
        }
        Ok(())
    }

    /// Appends a column whose kind the caller has checked.
    pub(super) fn extend(&mut self, other: &Self) -> Result<(), IoError> {
        match (self, other) {
            (Self::Text(c), Self::Text(o)) => return c.extend(o),
            (Self::Number(c), Self::Number(o)) => c.extend_from_slice(o),
            (Self::Flag(c), Self::Flag(o)) => c.extend_from_slice(o),
            _ => debug_assert!(false, "the kind was checked by the caller"),
        }
        Ok(())
    }

    /// Rows that the caller has checked.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Text(c) => Self::Text(c.select(rows)),
            Self::Number(c) => Self::Number(rows.iter().map(|&r| c[r]).collect()),
            Self::Flag(c) => Self::Flag(rows.iter().map(|&r| c[r]).collect()),
        }
    }
}

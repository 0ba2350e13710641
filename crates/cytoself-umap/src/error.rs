//! What can go wrong, with what to do about it.

use thiserror::Error;

/// The errors of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UmapError {
    /// A parameter is outside its range.
    #[error("{name} = {value}: expected {expected}")]
    Parameter {
        /// Name of the setter.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The range that is accepted.
        expected: &'static str,
    },
    /// The input holds NaN or an infinity.
    #[error(
        "row {row}, column {column}: found {value}, expected a finite number; remove or impute the row"
    )]
    NotFinite {
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        value: f32,
    },
    /// The input has no rows or no columns.
    #[error("{what}: expected at least one row and one column, found shape [{rows}, {columns}]")]
    Empty {
        /// Which array.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// Two arrays that belong together differ in shape.
    #[error("{what}: expected shape {expected}, found {found}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// The shape that fits.
        expected: String,
        /// The shape that was given.
        found: String,
    },
    /// A code index points past the codebook.
    #[error("row {row}, position {position}: code {code} but the codebook has {codes} vectors")]
    Code {
        /// Row of the code.
        row: usize,
        /// Position in the row.
        position: usize,
        /// The code.
        code: u16,
        /// Number of vectors in the codebook.
        codes: usize,
    },
    /// A precomputed neighbour list or distance matrix is not usable.
    #[error("row {row}: {reason}")]
    Precomputed {
        /// The first offending row.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The operation needs points, and the source has only distances.
    #[error(
        "{operation} needs the points themselves, and the source is {found}; pass dense rows or codes"
    )]
    NeedsPoints {
        /// What was asked for.
        operation: &'static str,
        /// The kind of source.
        found: &'static str,
    },
    /// The reference points are not those that the model was fitted on.
    #[error(
        "the reference points are not those of the fit: content hash {found:016x}, the model has {expected:016x}"
    )]
    OtherPoints {
        /// Hash in the model.
        expected: u64,
        /// Hash of the points given.
        found: u64,
    },
    /// A model file cannot be read.
    #[error("not a usable model file: {reason}")]
    ModelFile {
        /// What was found and what was expected.
        reason: String,
    },
    /// A relation between two slices is not usable.
    #[error("relation {relation}, entry {entry}: {reason}")]
    Relation {
        /// Index of the relation (between slice `relation` and the next one).
        relation: usize,
        /// Index of the entry in it.
        entry: usize,
        /// What is wrong.
        reason: String,
    },
    /// The progress callback asked to stop.
    #[error("cancelled; nothing was kept")]
    Cancelled,
    /// Reading or writing a model failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl UmapError {
    pub(crate) fn parameter(
        name: &'static str,
        value: impl ToString,
        expected: &'static str,
    ) -> Self {
        Self::Parameter {
            name,
            value: value.to_string(),
            expected,
        }
    }

    pub(crate) fn shape(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self::Shape {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

use ndarray::ArrayView2;
use thiserror::Error;

/// Why a step of the spectrum chain failed.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SpectrumError {
    /// A code index does not exist in the codebook.
    #[error(
        "row {row}: code index {found} is outside the codebook of {codes} codes; give the codebook the indices were made with"
    )]
    CodeOutOfRange {
        /// Row of the indices.
        row: usize,
        /// The index found.
        found: usize,
        /// Size of the codebook.
        codes: usize,
    },
    /// A group index is outside the accumulator's groups.
    #[error("row {row}: group {found} is outside the {groups} groups")]
    GroupOutOfRange {
        /// Row of the group list.
        row: usize,
        /// The group found.
        found: usize,
        /// Number of groups.
        groups: usize,
    },
    /// Two inputs that belong together differ in length.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which length, e.g. `one group per row of indices`.
        what: &'static str,
        /// The length needed.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// Too few rows or columns for the step.
    #[error("{what}: at least {needed} needed, found {found}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// The smallest number that works.
        needed: usize,
        /// The number found.
        found: usize,
    },
    /// A number is NaN or infinite.
    #[error("{what}: row {row}, column {column} is {value}; leave that row out or repair it")]
    NotFinite {
        /// Which array.
        what: &'static str,
        /// Row of the value.
        row: usize,
        /// Column of the value.
        column: usize,
        /// The value, as text so that NaN compares equal to itself.
        value: String,
    },
    /// A parameter has no meaning.
    #[error("{name} is {found}: expected {expected}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A linkage matrix does not describe a tree.
    #[error("linkage row {row}: {problem}")]
    NotATree {
        /// Row of the linkage matrix.
        row: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Names the first value that is NaN or infinite.
pub(crate) fn check_finite(
    what: &'static str,
    x: ArrayView2<'_, f64>,
) -> Result<(), SpectrumError> {
    match x.iter().position(|v| !v.is_finite()) {
        Some(at) => {
            let (row, column) = (at / x.ncols(), at % x.ncols());
            Err(SpectrumError::NotFinite {
                what,
                row,
                column,
                value: x[[row, column]].to_string(),
            })
        }
        None => Ok(()),
    }
}

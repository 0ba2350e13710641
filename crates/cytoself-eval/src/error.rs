use thiserror::Error;

/// Why a score could not be computed.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum EvalError {
    /// Two inputs that belong together differ in length.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which length, e.g. `labels, one per point`.
        what: &'static str,
        /// The length needed.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// Too few points or classes for the score.
    #[error("{what}: at least {needed} needed, found {found}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// The smallest number that works.
        needed: usize,
        /// The number found.
        found: usize,
    },
    /// A coordinate is NaN or infinite.
    #[error(
        "row {row}, column {column} is {value}; leave that row out (and its label) or repair it"
    )]
    NotFinite {
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
    /// A score is undefined for this input.
    #[error("{score} is undefined: {why}")]
    Undefined {
        /// The score.
        score: &'static str,
        /// What makes it undefined.
        why: &'static str,
    },
    /// A model could not be fitted.
    #[error("{what} could not be fitted: {why}")]
    Fit {
        /// Which model.
        what: &'static str,
        /// What the solver said.
        why: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

//! Training, validation and test: by field, so that no field lends crops to two of them.

mod by_field;
mod file;
mod report;

use std::fmt;
use std::str::FromStr;

pub use by_field::{SplitParams, split_by_field};
pub use file::{SplitTable, read_split_csv, split_column};
pub use report::{ProteinSplit, SplitReport, SplitRule};

use crate::IoError;

/// What a crop is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Weights are fitted to it.
    Train,
    /// It decides the learning rate and the end of training.
    Validation,
    /// It is looked at once, at the end.
    Test,
}

impl Split {
    /// All three, in order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// `train`, `val` or `test`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Split {
    type Err = IoError;

    fn from_str(text: &str) -> Result<Self, IoError> {
        match text {
            "train" => Ok(Self::Train),
            "val" | "validation" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            _ => Err(IoError::argument("split", "train, val or test", text)),
        }
    }
}

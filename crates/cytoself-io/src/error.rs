//! The crate's error type.

use std::path::{Path, PathBuf};

/// Why reading or writing failed; every variant names the file, and where it can the place, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The content is not what the format requires.
    #[error("{path}: {place}: expected {expected}, found {found}{}", hint_text(.hint))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Row, page, tag or field within the file.
        place: String,
        /// What the format requires there.
        expected: String,
        /// What is there.
        found: String,
        /// What the user can do; may be empty.
        hint: Box<str>,
    },
    /// The file is valid, but uses something this crate does not read.
    #[error("{path}: {what} is not supported{}", hint_text(.hint))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature.
        what: String,
        /// What the user can do.
        hint: String,
    },
    /// A store was written by another version of the format.
    #[error(
        "{path}: format {format} version {found}, this program reads version {expected}; write the store again with this program, or read it with the program named in its attributes"
    )]
    Version {
        /// The store.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
        /// The version found.
        found: String,
        /// The version this program reads.
        expected: u64,
    },
    /// Something that must be there is absent.
    #[error("{path}: {what} is missing{}", hint_text(.hint))]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What is absent.
        what: String,
        /// What the user can do.
        hint: String,
    },
    /// The file declares more data than it holds or than is allowed.
    #[error("{path}: {what} takes {needed} bytes, but only {available} are available{}", hint_text(.hint))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: String,
        /// Bytes declared; 2^64 - 1 if there are more.
        needed: u64,
        /// Bytes that the file holds, or the limit.
        available: u64,
        /// What the user can do.
        hint: String,
    },
    /// A pixel is not a finite number.
    #[error(
        "{path}: channel {channel}, row {row}: pixel (y {y}, x {x}) is {value}; expected finite numbers: drop the crop or repair the pixel"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Name of the channel.
        channel: String,
        /// Row of the file.
        row: usize,
        /// Line of the pixel, px.
        y: usize,
        /// Column of the pixel, px.
        x: usize,
        /// The value found.
        value: f32,
    },
    /// A Zarr store cannot be read or written.
    #[error("{path}: {node}: {source}")]
    Store {
        /// The store.
        path: PathBuf,
        /// The group or array within it.
        node: String,
        /// What the array library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A call with arguments that do not fit the data.
    #[error("{what}: expected {expected}, found {found}")]
    Argument {
        /// Which argument.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The caller's progress function asked to stop.
    #[error("cancelled")]
    Cancelled,
}

fn hint_text(hint: &str) -> String {
    if hint.is_empty() {
        String::new()
    } else {
        format!("; {hint}")
    }
}

impl IoError {
    /// A fault of the operating system at `path`.
    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Content that is not what the format requires.
    pub(crate) fn malformed(
        path: &Path,
        place: impl ToString,
        expected: impl ToString,
        found: impl ToString,
        hint: impl ToString,
    ) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            place: place.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
            hint: hint.to_string().into_boxed_str(),
        }
    }

    /// A valid file that this crate does not read.
    pub(crate) fn unsupported(path: &Path, what: impl ToString, hint: impl ToString) -> Self {
        Self::Unsupported {
            path: path.to_path_buf(),
            what: what.to_string(),
            hint: hint.to_string(),
        }
    }

    /// An absent part.
    pub(crate) fn missing(path: &Path, what: impl ToString, hint: impl ToString) -> Self {
        Self::Missing {
            path: path.to_path_buf(),
            what: what.to_string(),
            hint: hint.to_string(),
        }
    }

    /// An argument that does not fit.
    pub(crate) fn argument(
        what: impl ToString,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Argument {
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_cheap_to_return() {
        // Above this size Clippy asks to box the error of every closure that returns it.
        assert!(size_of::<IoError>() < 128, "{}", size_of::<IoError>());
    }
}

//! What the stores need of Zarr v3: groups with attributes, and arrays that are written and read in blocks of rows.

mod group;
mod rows;
mod strings;

pub(crate) use group::Hierarchy;
pub(crate) use rows::{Item, RowArray, RowLayout, RowWriter};
pub(crate) use strings::{read_strings, write_strings};

use std::error::Error;
use std::path::Path;

use crate::IoError;

/// A fault of the array library at `node` of the store at `path`.
pub(crate) fn fault(
    path: &Path,
    node: &str,
    source: impl Error + Send + Sync + 'static,
) -> IoError {
    IoError::Store {
        path: path.to_path_buf(),
        node: node.to_string(),
        source: Box::new(source),
    }
}

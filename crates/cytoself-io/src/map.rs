//! Read-only memory maps: the crate's one use of `unsafe`.
#![allow(unsafe_code)] // a memory map has no safe constructor; see the SAFETY line below

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::IoError;

/// A whole file as bytes, paged in by the operating system on first use.
#[derive(Debug)]
pub(crate) struct FileMap {
    path: PathBuf,
    // An empty file cannot be mapped.
    map: Option<Mmap>,
}

impl FileMap {
    /// Maps the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, IoError> {
        let error = |e| IoError::file(path, e);
        let file = File::open(path).map_err(error)?;
        let metadata = file.metadata().map_err(error)?;
        if !metadata.is_file() {
            return Err(IoError::malformed(
                path,
                "the path",
                "a file",
                "a folder or device",
                "",
            ));
        }
        let map = if metadata.len() == 0 {
            None
        } else {
            // SAFETY: the map is read-only and private to this process. Another process that truncates the file while it is
            // mapped ends this one with SIGBUS, which is documented in docs/formats.md; bytes that change only change pixels,
            // as everything parsed from the map is checked at the time of its use and never trusted later.
            Some(unsafe { Mmap::map(&file) }.map_err(error)?)
        };
        Ok(Self {
            path: path.to_path_buf(),
            map,
        })
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

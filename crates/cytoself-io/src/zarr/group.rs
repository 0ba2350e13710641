//! A hierarchy on disk: its groups, and whole small arrays.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use zarrs::filesystem::FilesystemStore;
use zarrs::group::{Group, GroupBuilder};

use super::fault;
use crate::IoError;

/// A Zarr hierarchy in a folder.
#[derive(Clone)]
pub(crate) struct Hierarchy {
    path: PathBuf,
    pub(super) store: Arc<FilesystemStore>,
}

impl Hierarchy {
    /// Starts a hierarchy in a folder, which may exist if it is empty.
    pub(crate) fn create(path: &Path) -> Result<Self, IoError> {
        fs::create_dir_all(path).map_err(|e| IoError::file(path, e))?;
        let mut entries = fs::read_dir(path).map_err(|e| IoError::file(path, e))?;
        if entries.next().is_some() {
            return Err(IoError::malformed(
                path,
                "the folder",
                "an empty or absent folder",
                "files in it",
                "",
            ));
        }
        Self::over(path)
    }

    /// Opens the hierarchy in an existing folder.
    pub(crate) fn open(path: &Path) -> Result<Self, IoError> {
        if !path.join("zarr.json").is_file() {
            let hint = "is this a Zarr store of format 3, written by this program?";
            return Err(IoError::missing(path, "zarr.json", hint));
        }
        Self::over(path)
    }

    fn over(path: &Path) -> Result<Self, IoError> {
        let store = FilesystemStore::new(path).map_err(|e| fault(path, "/", e))?;
        Ok(Self {
            path: path.to_path_buf(),
            store: Arc::new(store),
        })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a group or array `node`.
    pub(crate) fn has(&self, node: &str) -> bool {
        self.folder(node).join("zarr.json").is_file()
    }

    /// The folder of `node`, which begins with a slash.
    pub(crate) fn folder(&self, node: &str) -> PathBuf {
        self.path.join(node.trim_start_matches('/'))
    }

    /// Writes the metadata of a group.
    pub(crate) fn write_group(
        &self,
        node: &str,
        attributes: Map<String, Value>,
    ) -> Result<(), IoError> {
        let group = GroupBuilder::new()
            .attributes(attributes)
            .build(self.store.clone(), node);
        let group = group.map_err(|e| fault(&self.path, node, e))?;
        group
            .store_metadata()
            .map_err(|e| fault(&self.path, node, e))
    }

    /// The attributes of a group.
    pub(crate) fn attributes(&self, node: &str) -> Result<Map<String, Value>, IoError> {
        let group =
            Group::open(self.store.clone(), node).map_err(|e| fault(&self.path, node, e))?;
        Ok(group.attributes().clone())
    }

    /// Names of the groups and arrays directly under `node`, sorted.
    pub(crate) fn children(&self, node: &str) -> Result<Vec<String>, IoError> {
        let folder = self.folder(node);
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|e| IoError::file(&folder, e))? {
            let entry = entry.map_err(|e| IoError::file(&folder, e))?;
            if entry.path().join("zarr.json").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Gives `node` another place; what was there before is removed when the new one stands.
    pub(crate) fn rename(&self, node: &str, to: &str) -> Result<(), IoError> {
        let old = format!("{node}.replaced");
        self.erase(&old)?;
        let (from, to, old_folder) = (self.folder(node), self.folder(to), self.folder(&old));
        if to.is_dir() {
            fs::rename(&to, &old_folder).map_err(|e| IoError::file(&to, e))?;
        }
        fs::rename(&from, &to).map_err(|e| IoError::file(&to, e))?;
        self.erase(&old)
    }

    /// Removes `node` and what is below it, if it is there.
    pub(crate) fn erase(&self, node: &str) -> Result<(), IoError> {
        let folder = self.folder(node);
        if folder.is_dir() {
            fs::remove_dir_all(&folder).map_err(|e| IoError::file(&folder, e))
        } else {
            Ok(())
        }
    }
}

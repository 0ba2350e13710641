//! Outputs that are complete or absent: written under a temporary name, renamed at the end.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// A folder or file in the making. Dropped without [`Output::commit`], it leaves nothing behind.
pub struct Output {
    target: PathBuf,
    temporary: PathBuf,
    overwrite: bool,
    committed: bool,
}

impl Output {
    /// Starts an output folder at `target`.
    ///
    /// # Errors
    /// - `target` exists and `overwrite` is false;
    /// - the parent folder cannot be created or written.
    pub fn folder(target: &Path, overwrite: bool) -> Result<Self, Failure> {
        let output = Self::begin(target, overwrite)?;
        fs::create_dir_all(&output.temporary)
            .map_err(|e| Failure::from(e).context(output.temporary.display()))?;
        Ok(output)
    }

    /// Starts an output file at `target`.
    ///
    /// # Errors
    /// As [`Output::folder`].
    pub fn file(target: &Path, overwrite: bool) -> Result<Self, Failure> {
        Self::begin(target, overwrite)
    }

    /// Removes what killed runs left of `target` under temporary names; for runs that go on where such a one stopped, as
    /// nothing else can be writing the same output then.
    ///
    /// # Errors
    /// - something is there and cannot be removed.
    pub fn remove_stale(target: &Path) -> Result<(), Failure> {
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Ok(());
        };
        let start = format!(".{}.partial-", name.to_string_lossy());
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        // A folder that is not there yet holds nothing.
        let Ok(entries) = fs::read_dir(parent) else {
            return Ok(());
        };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&start) {
                let path = entry.path();
                remove(&path).map_err(|e| Failure::from(e).context(path.display()))?;
            }
        }
        Ok(())
    }

    fn begin(target: &Path, overwrite: bool) -> Result<Self, Failure> {
        if target.symlink_metadata().is_ok() && !overwrite {
            return Err(Failure::input(format!(
                "{}: exists already; choose another output or give --overwrite",
                target.display()
            )));
        }
        let name = target.file_name().ok_or_else(|| {
            Failure::input(format!("{}: not a usable output name", target.display()))
        })?;
        let parent = match target.parent() {
            Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|e| Failure::from(e).context(parent.display()))?;
        let temporary = parent.join(format!(
            ".{}.partial-{}",
            name.to_string_lossy(),
            std::process::id()
        ));
        remove(&temporary).map_err(|e| Failure::from(e).context(temporary.display()))?;
        Ok(Self {
            target: target.to_path_buf(),
            temporary,
            overwrite,
            committed: false,
        })
    }

    /// Where to write until the commit.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Gives the output its final name, replacing an older one only now.
    ///
    /// # Errors
    /// - the rename fails; the output is then absent and an older one is still in place.
    pub fn commit(mut self) -> Result<(), Failure> {
        let context = |e: std::io::Error| Failure::from(e).context(self.target.display());
        let older = self.temporary.with_extension("older");
        let replaced = self.overwrite && self.target.symlink_metadata().is_ok();
        if replaced {
            fs::rename(&self.target, &older).map_err(context)?;
        }
        if let Err(error) = fs::rename(&self.temporary, &self.target) {
            if replaced {
                fs::rename(&older, &self.target).map_err(context)?;
            }
            return Err(context(error));
        }
        self.committed = true;
        if replaced {
            remove(&older).map_err(context)
        } else {
            Ok(())
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing better can be done with an error here: the output is absent either way.
            let _ = remove(&self.temporary);
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let output = Output::folder(&target, false).unwrap();
        fs::write(output.path().join("a"), "1").unwrap();
        drop(output);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let output = Output::folder(&target, false).unwrap();
        fs::write(output.path().join("a"), "1").unwrap();
        output.commit().unwrap();
        assert!(Output::folder(&target, false).is_err());
        Output::folder(&target, true).unwrap().commit().unwrap();
        let stale = dir.path().join(".out.partial-1");
        fs::create_dir(&stale).unwrap();
        Output::remove_stale(&target).unwrap();
        assert!(!stale.exists());
        assert!(!target.join("a").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

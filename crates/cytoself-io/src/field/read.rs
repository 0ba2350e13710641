//! Reading fields.

use std::path::Path;

use super::{FieldPlanes, FieldSpec, Stack};
use crate::IoError;

/// A field of view: one z-stack per channel.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldOfView {
    /// Channel names, by channel.
    pub channels: Vec<String>,
    /// Z-stacks, by channel.
    pub stacks: Vec<Stack>,
    /// Size of a pixel, um, if known.
    pub pixel_size_um: Option<f64>,
    /// Distance of slices, um, if known.
    pub z_step_um: Option<f64>,
}

impl FieldOfView {
    /// The stack of the channel `name`.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&Stack> {
        self.channels
            .iter()
            .position(|c| c == name)
            .and_then(|c| self.stacks.get(c))
    }
}

/// How fields are read.
///
/// # Defaults
/// - `limit`: 8 GiB
#[derive(Debug, Clone)]
pub struct FieldReader {
    limit: u64,
}

impl Default for FieldReader {
    fn default() -> Self {
        Self { limit: 8 << 30 }
    }
}

/// Reads the images of a field with the default [`FieldReader`].
///
/// # Errors
/// As [`FieldReader::read`].
pub fn read_field(spec: &FieldSpec) -> Result<FieldOfView, IoError> {
    FieldReader::default().read(spec)
}

impl FieldReader {
    /// The most memory that the pixels of a field may take, bytes.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads the images of a field: one file (TIFF or PNG) with all channels, or one per channel.
    ///
    /// # Errors
    /// - a file cannot be opened or is damaged;
    /// - the number of channels is not the number of names in the manifest;
    /// - a file is a time series, or files of one field differ in size;
    /// - the pixels take more memory than the limit.
    pub fn read(&self, spec: &FieldSpec) -> Result<FieldOfView, IoError> {
        self.whole(self.open(spec)?)
    }

    /// Reads one file with all of its channels.
    ///
    /// # Errors
    /// As [`FieldReader::read`].
    pub fn read_file(&self, path: &Path) -> Result<FieldOfView, IoError> {
        self.whole(FieldPlanes::of_file(path)?)
    }

    /// Opens a field without decoding its stacks, to read them plane by plane.
    ///
    /// # Errors
    /// As [`FieldReader::read`]; of the pixels, a single plane must be within the limit.
    pub fn open(&self, spec: &FieldSpec) -> Result<FieldPlanes, IoError> {
        let mut planes = match &spec.paths[..] {
            [path] => FieldPlanes::of_file(path)?,
            paths => FieldPlanes::of_files(paths)?,
        };
        planes.rename(spec)?;
        self.check(&planes, 1, "a plane")?;
        Ok(planes)
    }

    fn whole(&self, planes: FieldPlanes) -> Result<FieldOfView, IoError> {
        let (channels, slices) = (planes.channels().len(), planes.slices());
        let all = (channels as u64).saturating_mul(slices as u64);
        self.check(
            &planes,
            all,
            &format!("{channels} channels of {slices} slices"),
        )?;
        planes.read_all()
    }

    fn check(&self, planes: &FieldPlanes, count: u64, what: &str) -> Result<(), IoError> {
        let needed = planes.plane_bytes().saturating_mul(count);
        if needed <= self.limit {
            return Ok(());
        }
        Err(IoError::TooLarge {
            path: planes.path().to_path_buf(),
            what: what.to_string(),
            needed,
            available: self.limit,
            hint: "split the stack, or allow more memory".to_string(),
        })
    }
}

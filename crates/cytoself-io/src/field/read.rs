//! Reading fields.

use std::path::Path;

use ndarray::Array3;
use rayon::prelude::*;

use super::{FieldSpec, Stack};
use crate::image::{is_png, read_png};
use crate::tiff::{Pixel, PixelKind};
use crate::{IoError, Plane, TiffStack};

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
        let mut field = match &spec.paths[..] {
            [path] => self.read_file(path)?,
            paths => self.read_files(paths)?,
        };
        if !spec.channels.is_empty() {
            if spec.channels.len() != field.stacks.len() {
                return Err(channel_count(spec, &field));
            }
            field.channels.clone_from(&spec.channels);
        }
        field.pixel_size_um = spec.pixel_size_um.or(field.pixel_size_um);
        field.z_step_um = spec.z_step_um.or(field.z_step_um);
        Ok(field)
    }

    /// Reads one file with all of its channels.
    ///
    /// # Errors
    /// As [`FieldReader::read`].
    pub fn read_file(&self, path: &Path) -> Result<FieldOfView, IoError> {
        if is_png(path) {
            return Ok(from_png(read_png(path)?));
        }
        let tiff = TiffStack::open(path)?;
        if tiff.frames() > 1 {
            let found = format!(
                "{} frames (axes from {:?})",
                tiff.frames(),
                tiff.axes_source()
            );
            let hint = "save one time point, or correct the axes in ImageJ: Image > Properties";
            return Err(IoError::malformed(
                path,
                "axes",
                "one time point",
                found,
                hint,
            ));
        }
        let planes = (tiff.channels().len() as u64).saturating_mul(tiff.slices() as u64);
        let needed = tiff.plane_bytes().saturating_mul(planes);
        if needed > self.limit {
            let what = format!(
                "{} channels of {} slices",
                tiff.channels().len(),
                tiff.slices()
            );
            let hint = "split the stack, or allow more memory".to_string();
            return Err(IoError::TooLarge {
                path: path.to_path_buf(),
                what,
                needed,
                available: self.limit,
                hint,
            });
        }
        let stacks = match tiff.kind() {
            PixelKind::U8 => read_stacks(&tiff)?.into_iter().map(Stack::U8).collect(),
            PixelKind::U16 => read_stacks(&tiff)?.into_iter().map(Stack::U16).collect(),
            PixelKind::F32 => read_stacks(&tiff)?.into_iter().map(Stack::F32).collect(),
        };
        Ok(FieldOfView {
            channels: tiff.channels().to_vec(),
            stacks,
            pixel_size_um: tiff.pixel_size_um(),
            z_step_um: tiff.z_step_um(),
        })
    }

    fn read_files(&self, paths: &[std::path::PathBuf]) -> Result<FieldOfView, IoError> {
        let mut field = FieldOfView {
            channels: Vec::new(),
            stacks: Vec::new(),
            pixel_size_um: None,
            z_step_um: None,
        };
        for path in paths {
            let mut file = self.read_file(path)?;
            let (Some(stack), 1) = (file.stacks.pop(), file.channels.len()) else {
                let found = format!(
                    "{} channels ({})",
                    file.channels.len(),
                    file.channels.join(", ")
                );
                let hint = "a field of several files has one channel in each";
                return Err(IoError::malformed(path, "channels", "one", found, hint));
            };
            if let Some(first) = field.stacks.first()
                && first.shape() != stack.shape()
            {
                let (expected, found) = (
                    format!("{:?}", first.shape()),
                    format!("{:?}", stack.shape()),
                );
                return Err(IoError::malformed(
                    path,
                    "slices, height, width",
                    expected,
                    found,
                    "as in the first file of the field",
                ));
            }
            field
                .channels
                .push(format!("channel{}", field.channels.len()));
            field.stacks.push(stack);
            field.pixel_size_um = field.pixel_size_um.or(file.pixel_size_um);
            field.z_step_um = field.z_step_um.or(file.z_step_um);
        }
        Ok(field)
    }
}

fn channel_count(spec: &FieldSpec, field: &FieldOfView) -> IoError {
    let path = spec
        .paths
        .first()
        .map(std::path::PathBuf::as_path)
        .unwrap_or(Path::new(""));
    let expected = format!(
        "{} ({}), as row {} of the manifest names",
        spec.channels.len(),
        spec.channels.join(";"),
        spec.row
    );
    let slices = field.stacks.first().map_or(0, |s| s.shape()[0]);
    let found = format!(
        "{} ({}) of {slices} slices",
        field.channels.len(),
        field.channels.join(";")
    );
    let hint = "name every channel of the file in the column channels, or save the file with axes (OME-TIFF, ImageJ hyperstack)";
    IoError::malformed(path, "channels", expected, found, hint)
}

fn from_png(planes: Vec<Plane>) -> FieldOfView {
    let channels = crate::tiff::sample_names(planes.len());
    let stacks = planes.into_iter().map(one_slice).collect();
    FieldOfView {
        channels,
        stacks,
        pixel_size_um: None,
        z_step_um: None,
    }
}

fn one_slice(plane: Plane) -> Stack {
    match plane {
        Plane::U8(p) => Stack::U8(p.insert_axis(ndarray::Axis(0))),
        Plane::U16(p) => Stack::U16(p.insert_axis(ndarray::Axis(0))),
        Plane::F32(p) => Stack::F32(p.insert_axis(ndarray::Axis(0))),
    }
}

/// All channels; planes are decoded in parallel.
fn read_stacks<T: Pixel>(tiff: &TiffStack) -> Result<Vec<Array3<T>>, IoError> {
    let [h, w] = tiff.shape();
    let slices = tiff.slices();
    (0..tiff.channels().len())
        .map(|channel| {
            let mut pixels = vec![T::default(); slices * h * w];
            let planes = pixels.par_chunks_exact_mut(h * w).enumerate();
            planes.try_for_each(|(slice, out)| tiff.decode(channel, slice, 0, out))?;
            Array3::from_shape_vec((slices, h, w), pixels)
                .map_err(|e| IoError::argument("stack", "z x h x w pixels", e))
        })
        .collect()
}

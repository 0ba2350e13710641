//! Fields plane by plane.

use std::path::{Path, PathBuf};

use ndarray::{Array3, Axis};
use rayon::prelude::*;

use super::{FieldOfView, FieldSpec, Stack};
use crate::image::{is_png, read_png};
use crate::tiff::{Pixel, PixelKind, sample_names};
use crate::{IoError, Plane, TiffStack};

/// A field of view whose planes are decoded as they are asked for; made by [`crate::FieldReader::open`].
///
/// TIFF files are mapped into memory, so that a field of any size takes the memory of the planes that are held.
pub struct FieldPlanes {
    files: Vec<Source>,
    channels: Vec<String>,
    pixel_size_um: Option<f64>,
    z_step_um: Option<f64>,
}

/// One file of a field.
enum Source {
    Tiff(PathBuf, Box<TiffStack>),
    /// The channels of a PNG image.
    Png(PathBuf, Vec<Plane>),
}

impl Source {
    fn open(path: &Path) -> Result<Self, IoError> {
        if is_png(path) {
            return Ok(Self::Png(path.to_path_buf(), read_png(path)?));
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
        Ok(Self::Tiff(path.to_path_buf(), Box::new(tiff)))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Tiff(path, _) | Self::Png(path, _) => path,
        }
    }

    fn channels(&self) -> Vec<String> {
        match self {
            Self::Tiff(_, tiff) => tiff.channels().to_vec(),
            Self::Png(_, planes) => sample_names(planes.len()),
        }
    }

    /// Slices, height and width.
    fn shape(&self) -> [usize; 3] {
        let (slices, [h, w]) = match self {
            Self::Tiff(_, tiff) => (tiff.slices(), tiff.shape()),
            Self::Png(_, planes) => (1, planes.first().map_or([0, 0], Plane::shape)),
        };
        [slices, h, w]
    }

    fn plane_bytes(&self) -> u64 {
        match self {
            Self::Tiff(_, tiff) => tiff.plane_bytes(),
            // Already decoded, within the limits of the PNG reader.
            Self::Png(..) => 0,
        }
    }

    fn read(&self, channel: usize, slice: usize) -> Result<Plane, IoError> {
        match self {
            Self::Tiff(_, tiff) => tiff.read_plane(channel, slice, 0),
            Self::Png(path, planes) => {
                let plane = planes.get(channel).filter(|_| slice == 0).cloned();
                plane.ok_or_else(|| {
                    let expected = format!("{} channels of 1 slice", planes.len());
                    let found = format!("channel {channel}, slice {slice}");
                    IoError::malformed(path, "plane", expected, found, "ask for one that exists")
                })
            }
        }
    }

    /// All planes of a channel; they are decoded in parallel.
    fn stack(&self, channel: usize) -> Result<Stack, IoError> {
        let tiff = match self {
            Self::Tiff(_, tiff) => tiff,
            Self::Png(..) => return Ok(one_slice(self.read(channel, 0)?)),
        };
        Ok(match tiff.kind() {
            PixelKind::U8 => Stack::U8(decoded(tiff, channel)?),
            PixelKind::U16 => Stack::U16(decoded(tiff, channel)?),
            PixelKind::F32 => Stack::F32(decoded(tiff, channel)?),
        })
    }
}

impl FieldPlanes {
    /// One file with all channels.
    pub(super) fn of_file(path: &Path) -> Result<Self, IoError> {
        let file = Source::open(path)?;
        let (pixel_size_um, z_step_um) = match &file {
            Source::Tiff(_, tiff) => (tiff.pixel_size_um(), tiff.z_step_um()),
            Source::Png(..) => (None, None),
        };
        Ok(Self {
            channels: file.channels(),
            files: vec![file],
            pixel_size_um,
            z_step_um,
        })
    }

    /// One file for each channel, all of one size.
    pub(super) fn of_files(paths: &[PathBuf]) -> Result<Self, IoError> {
        let mut field = Self {
            files: Vec::new(),
            channels: Vec::new(),
            pixel_size_um: None,
            z_step_um: None,
        };
        for path in paths {
            let mut one = Self::of_file(path)?;
            let (Some(file), 1) = (one.files.pop(), one.channels.len()) else {
                let found = format!(
                    "{} channels ({})",
                    one.channels.len(),
                    one.channels.join(", ")
                );
                let hint = "a field of several files has one channel in each";
                return Err(IoError::malformed(path, "channels", "one", found, hint));
            };
            if let Some(first) = field.files.first()
                && first.shape() != file.shape()
            {
                let (expected, found) = (
                    format!("{:?}", first.shape()),
                    format!("{:?}", file.shape()),
                );
                let hint = "as in the first file of the field";
                return Err(IoError::malformed(
                    path,
                    "slices, height, width",
                    expected,
                    found,
                    hint,
                ));
            }
            field
                .channels
                .push(format!("channel{}", field.channels.len()));
            field.files.push(file);
            field.pixel_size_um = field.pixel_size_um.or(one.pixel_size_um);
            field.z_step_um = field.z_step_um.or(one.z_step_um);
        }
        Ok(field)
    }

    /// Takes names and sizes from the manifest, where it has them.
    pub(super) fn rename(&mut self, spec: &FieldSpec) -> Result<(), IoError> {
        if !spec.channels.is_empty() {
            if spec.channels.len() != self.channels.len() {
                return Err(self.channel_count(spec));
            }
            self.channels.clone_from(&spec.channels);
        }
        self.pixel_size_um = spec.pixel_size_um.or(self.pixel_size_um);
        self.z_step_um = spec.z_step_um.or(self.z_step_um);
        Ok(())
    }

    fn channel_count(&self, spec: &FieldSpec) -> IoError {
        let expected = format!(
            "{} ({}), as row {} of the manifest names",
            spec.channels.len(),
            spec.channels.join(";"),
            spec.row
        );
        let found = format!(
            "{} ({}) of {} slices",
            self.channels.len(),
            self.channels.join(";"),
            self.slices()
        );
        let hint = "name every channel of the file in the column channels, or save the file with axes (OME-TIFF, ImageJ hyperstack)";
        IoError::malformed(self.path(), "channels", expected, found, hint)
    }

    /// Channel names.
    #[must_use]
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Slices of each channel.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.size()[0]
    }

    /// Height and width, px.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        let [_, h, w] = self.size();
        [h, w]
    }

    /// Size of a pixel, um, if known.
    #[must_use]
    pub fn pixel_size_um(&self) -> Option<f64> {
        self.pixel_size_um
    }

    /// Distance of slices, um, if known.
    #[must_use]
    pub fn z_step_um(&self) -> Option<f64> {
        self.z_step_um
    }

    /// Decodes one plane, in the type it is stored in.
    ///
    /// # Errors
    /// - there is no such plane;
    /// - its pixels are damaged or cut off.
    pub fn read(&self, channel: usize, slice: usize) -> Result<Plane, IoError> {
        match &self.files[..] {
            [file] => file.read(channel, slice),
            files => match files.get(channel) {
                Some(file) => file.read(0, slice),
                None => {
                    let expected = format!("below {}", files.len());
                    Err(IoError::argument("channel", expected, channel))
                }
            },
        }
    }

    /// The first file.
    pub(super) fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), Source::path)
    }

    /// Bytes of one decoded plane.
    pub(super) fn plane_bytes(&self) -> u64 {
        self.files
            .iter()
            .map(Source::plane_bytes)
            .max()
            .unwrap_or(0)
    }

    /// Decodes everything.
    pub(super) fn read_all(self) -> Result<FieldOfView, IoError> {
        let stacks: Result<Vec<Stack>, IoError> = match &self.files[..] {
            [file] => (0..self.channels.len()).map(|c| file.stack(c)).collect(),
            files => files.iter().map(|file| file.stack(0)).collect(),
        };
        Ok(FieldOfView {
            stacks: stacks?,
            channels: self.channels,
            pixel_size_um: self.pixel_size_um,
            z_step_um: self.z_step_um,
        })
    }

    fn size(&self) -> [usize; 3] {
        self.files.first().map_or([0; 3], Source::shape)
    }
}

fn one_slice(plane: Plane) -> Stack {
    match plane {
        Plane::U8(p) => Stack::U8(p.insert_axis(Axis(0))),
        Plane::U16(p) => Stack::U16(p.insert_axis(Axis(0))),
        Plane::F32(p) => Stack::F32(p.insert_axis(Axis(0))),
    }
}

fn decoded<T: Pixel>(tiff: &TiffStack, channel: usize) -> Result<Array3<T>, IoError> {
    let ([h, w], slices) = (tiff.shape(), tiff.slices());
    let mut pixels = vec![T::default(); slices * h * w];
    let planes = pixels.par_chunks_exact_mut(h * w).enumerate();
    planes.try_for_each(|(slice, out)| tiff.decode(channel, slice, 0, out))?;
    Array3::from_shape_vec((slices, h, w), pixels)
        .map_err(|e| IoError::argument("stack", "z x h x w pixels", e))
}

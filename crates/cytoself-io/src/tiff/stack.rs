//! A TIFF file as a stack of planes.

use std::path::Path;

use ndarray::Array2;

use super::axes::{Axes, AxesSource, Source, find};
use super::bytes::Bytes;
use super::decode::{Pixel, plane};
use super::ifd::{Ifd, read, tag};
use super::imagej::images;
use super::page::{Page, Sample};
use super::plane::Plane;
use crate::IoError;
use crate::map::FileMap;

/// A TIFF file with its axes: channels, slices and frames of planes of one size and type.
///
/// # Example
/// ```
/// use cytoself_io::{OmeTiff, TiffStack, write_ome_tiff};
/// use ndarray::Array4;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("field.ome.tif");
/// let stack = Array4::from_shape_fn((2, 3, 4, 5), |(c, z, y, x)| (c * 1000 + z * 100 + y * 10 + x) as u16);
/// write_ome_tiff(&path, stack.view(), &OmeTiff::new(&["pro", "nuc"]).pixel_size_um(0.206).z_step_um(0.2))?;
/// let tiff = TiffStack::open(&path)?;
/// assert_eq!(tiff.channels(), ["pro", "nuc"]);
/// assert_eq!((tiff.slices(), tiff.frames(), tiff.shape()), (3, 1, [4, 5]));
/// assert_eq!(tiff.pixel_size_um(), Some(0.206));
/// assert_eq!(tiff.read_plane(1, 2, 0)?.to_f32()[[3, 4]], 1234.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TiffStack {
    map: FileMap,
    big_endian: bool,
    pages: Vec<Page>,
    axes: Axes,
}

impl TiffStack {
    /// Maps the file at `path` and reads the metadata of all pages.
    ///
    /// # Errors
    /// - the file cannot be opened, is no TIFF file, or its directories are damaged or cut off;
    /// - a page has a compression or sample type that is not read (the error names the conversion to run);
    /// - pages differ in size or type;
    /// - the metadata describe another number of planes than there are.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let map = FileMap::open(path)?;
        let (ifds, bytes) = read(path, map.bytes())?;
        let big_endian = bytes.big_endian;
        // Reduced copies of other pages are passed over without a look at how they are stored.
        let full: Vec<&Ifd<'_>> = ifds
            .iter()
            .filter(|i| i.integer(tag::NEW_SUBFILE_TYPE).unwrap_or(0) & 1 == 0)
            .collect();
        let full = if full.is_empty() {
            ifds.iter().collect()
        } else {
            full
        };
        let mut pages = Vec::with_capacity(full.len());
        for (index, ifd) in full.iter().enumerate() {
            pages.push(Page::read(path, index, ifd, big_endian)?);
        }
        for (index, page) in pages.iter().enumerate() {
            if !page.same_kind(&pages[0]) {
                let describe = |p: &Page| {
                    format!(
                        "{} x {} px of {} {:?}",
                        p.width, p.height, p.samples, p.sample
                    )
                };
                let hint = "split the file into one file per image size";
                return Err(IoError::malformed(
                    path,
                    format!("page {index}"),
                    describe(&pages[0]),
                    describe(page),
                    hint,
                ));
            }
        }
        let description = full[0].text(tag::DESCRIPTION).unwrap_or_default();
        follow_first(&mut pages, &description, &bytes);
        let micromanager: Vec<Option<String>> =
            full.iter().map(|i| i.text(tag::MICROMANAGER)).collect();
        let source = Source {
            pages: &pages,
            description: &description,
            micromanager: &micromanager,
            resolution: full[0].rational(tag::X_RESOLUTION),
            file_name: path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default(),
        };
        let axes =
            find(&source).map_err(|f| IoError::malformed(path, "axes", f.expected, f.found, ""))?;
        Ok(Self {
            big_endian,
            pages,
            axes,
            map,
        })
    }

    /// Names of the channels; `channel0`, `channel1`, ... where the file names none.
    #[must_use]
    pub fn channels(&self) -> &[String] {
        &self.axes.channels
    }

    /// Number of slices (z).
    #[must_use]
    pub fn slices(&self) -> usize {
        self.axes.slices
    }

    /// Number of frames (t).
    #[must_use]
    pub fn frames(&self) -> usize {
        self.axes.frames
    }

    /// Height and width, px.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.pages[0].height, self.pages[0].width]
    }

    /// Size of a pixel, um, if the file says.
    #[must_use]
    pub fn pixel_size_um(&self) -> Option<f64> {
        self.axes.pixel_size_um
    }

    /// Distance of slices, um, if the file says.
    #[must_use]
    pub fn z_step_um(&self) -> Option<f64> {
        self.axes.z_step_um
    }

    /// Where the axes were read from.
    #[must_use]
    pub fn axes_source(&self) -> AxesSource {
        self.axes.source
    }

    /// Bytes of one decoded plane.
    pub(crate) fn plane_bytes(&self) -> u64 {
        let page = &self.pages[0];
        let size = match page.sample {
            Sample::U8 => 1,
            Sample::U16 => 2,
            _ => 4,
        };
        (page.width * page.height) as u64 * size
    }

    /// Type of the decoded pixels.
    pub(crate) fn kind(&self) -> PixelKind {
        match self.pages[0].sample {
            Sample::U8 => PixelKind::U8,
            Sample::U16 => PixelKind::U16,
            _ => PixelKind::F32,
        }
    }

    /// Decodes one plane.
    ///
    /// # Errors
    /// - there is no such plane;
    /// - its pixels are damaged or cut off.
    pub fn read_plane(&self, channel: usize, slice: usize, frame: usize) -> Result<Plane, IoError> {
        Ok(match self.kind() {
            PixelKind::U8 => Plane::U8(self.array(channel, slice, frame)?),
            PixelKind::U16 => Plane::U16(self.array(channel, slice, frame)?),
            PixelKind::F32 => Plane::F32(self.array(channel, slice, frame)?),
        })
    }

    fn array<T: Pixel>(
        &self,
        channel: usize,
        slice: usize,
        frame: usize,
    ) -> Result<Array2<T>, IoError> {
        let [h, w] = self.shape();
        let mut pixels = vec![T::default(); h * w];
        self.decode(channel, slice, frame, &mut pixels)?;
        Array2::from_shape_vec((h, w), pixels)
            .map_err(|e| IoError::argument("plane", "h x w pixels", e))
    }

    /// Decodes one plane into `out`, `[h, w]`, whose type must be that of [`TiffStack::kind`].
    pub(crate) fn decode<T: Pixel>(
        &self,
        c: usize,
        z: usize,
        t: usize,
        out: &mut [T],
    ) -> Result<(), IoError> {
        let channels = self.axes.channels.len();
        let inside = c < channels && z < self.axes.slices && t < self.axes.frames;
        let index = (t * self.axes.slices + z) * channels + c;
        let (page, sample) = self
            .axes
            .planes
            .get(index)
            .copied()
            .filter(|_| inside)
            .ok_or_else(|| {
                let expected = format!(
                    "within {channels} channels, {} slices, {} frames",
                    self.axes.slices, self.axes.frames
                );
                IoError::argument("plane", expected, format!("({c}, {z}, {t})"))
            })?;
        let bytes = Bytes {
            all: self.map.bytes(),
            big_endian: self.big_endian,
        };
        plane(&bytes, &self.pages[page], sample, out).map_err(|found| {
            let hint = "the file is damaged or truncated: copy or download it again";
            IoError::malformed(
                self.map.path(),
                format!("page {page}"),
                "readable pixels",
                found,
                hint,
            )
        })
    }
}

/// Type of decoded pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PixelKind {
    U8,
    U16,
    F32,
}

/// Adds the planes of an ImageJ stack above 4 GB, which follow the first one without directories.
fn follow_first(pages: &mut Vec<Page>, description: &str, bytes: &Bytes<'_>) {
    let count = images(description);
    let [page] = &pages[..] else { return };
    let Some(first) = page
        .contiguous()
        .filter(|_| description.starts_with("ImageJ=") && count > 1)
    else {
        return;
    };
    let size = (page.width * page.height * page.sample.size()) as u64;
    let end = size
        .checked_mul(count as u64)
        .and_then(|n| n.checked_add(first));
    if end.is_none_or(|end| end > bytes.all.len() as u64) {
        return;
    }
    let template = page.clone();
    for index in 1..count as u64 {
        let mut page = template.clone();
        page.chunk = [page.width, page.height];
        page.chunks = vec![(first + index * size, size)];
        pages.push(page);
    }
}

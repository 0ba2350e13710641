//! One page: its size, sample type and the chunks its pixels are stored in.

use std::path::Path;

use super::codec::Compression;
use super::ifd::{Ifd, tag};
use crate::IoError;

/// The largest plane that is decoded, bytes.
const LARGEST_PLANE: u64 = 1 << 32;

/// Type of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F16,
    F32,
    F64,
}

impl Sample {
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// How neighbouring samples were subtracted before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    Float,
}

/// The layout of a page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub width: usize,
    pub height: usize,
    pub samples: usize,
    pub sample: Sample,
    pub big_endian: bool,
    /// Whether the samples of a pixel lie together.
    pub interleaved: bool,
    pub compression: Compression,
    pub predictor: Predictor,
    /// Width and height of a strip or tile.
    pub chunk: [usize; 2],
    /// Whether chunks at the right and lower border are padded to full size.
    pub tiled: bool,
    /// Offset and length of each chunk.
    pub chunks: Vec<(u64, u64)>,
}

impl Page {
    /// Reads the layout of page `index` and checks that it is consistent and of a supported kind.
    pub(super) fn read(
        path: &Path,
        index: usize,
        ifd: &Ifd<'_>,
        big_endian: bool,
    ) -> Result<Self, IoError> {
        let place = |what: &str| format!("page {index}, {what}");
        let size = |tag, name: &str| {
            let value = ifd.integer(tag).filter(|&v| v > 0 && v < 1 << 31);
            value.map(|v| v as usize).ok_or_else(|| {
                IoError::malformed(
                    path,
                    place(name),
                    "a size between 1 and 2^31",
                    format!("{:?}", ifd.integer(tag)),
                    "",
                )
            })
        };
        let (width, height) = (size(tag::WIDTH, "width")?, size(tag::HEIGHT, "height")?);
        let samples = ifd.integer(tag::SAMPLES).unwrap_or(1);
        if samples == 0 || samples > 4096 {
            return Err(IoError::malformed(
                path,
                place("samples per pixel"),
                "1 to 4096",
                samples,
                "",
            ));
        }
        let samples = samples as usize;
        let sample = sample_type(path, index, ifd)?;
        let compression =
            Compression::from_tag(path, index, ifd.integer(tag::COMPRESSION).unwrap_or(1))?;
        let predictor = match ifd.integer(tag::PREDICTOR).unwrap_or(1) {
            1 => Predictor::None,
            2 => Predictor::Horizontal,
            3 => Predictor::Float,
            other => {
                return Err(IoError::malformed(
                    path,
                    place("predictor"),
                    "1, 2 or 3",
                    other,
                    "",
                ));
            }
        };
        if ifd.integer(tag::FILL_ORDER).unwrap_or(1) != 1 {
            return Err(IoError::unsupported(
                path,
                place("reversed bit order"),
                "save it again with ImageJ",
            ));
        }
        let interleaved = samples == 1 || ifd.integer(tag::PLANAR).unwrap_or(1) == 1;
        let bytes = (width as u64)
            .checked_mul(height as u64)
            .and_then(|n| n.checked_mul((samples * sample.size()) as u64));
        let bytes = bytes
            .filter(|&b| b <= LARGEST_PLANE)
            .ok_or_else(|| IoError::TooLarge {
                path: path.to_path_buf(),
                what: place(&format!("{width} x {height} px of {samples} samples")),
                needed: (width as u64)
                    .saturating_mul(height as u64)
                    .saturating_mul((samples * sample.size()) as u64),
                available: LARGEST_PLANE,
                hint: "cut the field into smaller images".into(),
            })?;
        let mut page = Self {
            width,
            height,
            samples,
            sample,
            big_endian,
            interleaved,
            compression,
            predictor,
            chunk: [width, height],
            tiled: false,
            chunks: Vec::new(),
        };
        page.read_chunks(path, index, ifd)?;
        page.check_ratio(path, index, bytes)?;
        Ok(page)
    }

    fn read_chunks(&mut self, path: &Path, index: usize, ifd: &Ifd<'_>) -> Result<(), IoError> {
        let place = |what: &str| format!("page {index}, {what}");
        let tiles = ifd.integers(tag::TILE_OFFSETS);
        self.tiled = tiles.is_some();
        let (offsets, counts) = if self.tiled {
            let edge = |tag| {
                ifd.integer(tag)
                    .filter(|&v| v > 0 && v <= 1 << 16)
                    .map(|v| v as usize)
            };
            let (Some(w), Some(h)) = (edge(tag::TILE_WIDTH), edge(tag::TILE_HEIGHT)) else {
                return Err(IoError::malformed(
                    path,
                    place("tile size"),
                    "1 to 65536 px",
                    "another value",
                    "",
                ));
            };
            if (w * h) as u64 * (self.samples * self.sample.size()) as u64 > LARGEST_PLANE {
                return Err(IoError::malformed(
                    path,
                    place("tile size"),
                    "at most 4 GB",
                    format!("{w} x {h} px"),
                    "",
                ));
            }
            self.chunk = [w, h];
            (tiles, ifd.integers(tag::TILE_COUNTS))
        } else {
            let rows = ifd
                .integer(tag::ROWS_PER_STRIP)
                .unwrap_or(u64::MAX)
                .clamp(1, self.height as u64);
            self.chunk = [self.width, rows as usize];
            (
                ifd.integers(tag::STRIP_OFFSETS),
                ifd.integers(tag::STRIP_COUNTS),
            )
        };
        let offsets = offsets.ok_or_else(|| {
            IoError::malformed(path, place("strip offsets"), "a list", "none", "")
        })?;
        let expected =
            self.across() * self.down() * if self.interleaved { 1 } else { self.samples };
        if offsets.len() < expected {
            return Err(IoError::malformed(
                path,
                place("strips or tiles"),
                expected,
                offsets.len(),
                "the file is damaged",
            ));
        }
        let counts = match counts {
            Some(counts) if counts.len() >= expected => counts,
            // Old ImageJ leaves the counts out of uncompressed files.
            _ if self.compression == Compression::None => {
                (0..expected).map(|i| self.chunk_bytes(i) as u64).collect()
            }
            _ => {
                return Err(IoError::malformed(
                    path,
                    place("strip byte counts"),
                    expected,
                    "fewer",
                    "the file is damaged",
                ));
            }
        };
        self.chunks = offsets.into_iter().zip(counts).take(expected).collect();
        Ok(())
    }

    /// A page cannot be larger than what any of the codecs could unpack from its bytes.
    fn check_ratio(&self, path: &Path, index: usize, bytes: u64) -> Result<(), IoError> {
        let stored: u64 = self.chunks.iter().fold(0, |n, c| n.saturating_add(c.1));
        let largest = self
            .compression
            .largest_ratio()
            .saturating_mul(stored.saturating_add(4096));
        if bytes > largest {
            return Err(IoError::TooLarge {
                path: path.to_path_buf(),
                what: format!("page {index} of {} x {} px", self.width, self.height),
                needed: bytes,
                available: largest,
                hint: "the file is damaged or truncated: copy or download it again".into(),
            });
        }
        Ok(())
    }

    /// Chunks in a row.
    pub(super) fn across(&self) -> usize {
        self.width.div_ceil(self.chunk[0])
    }

    /// Rows of chunks.
    pub(super) fn down(&self) -> usize {
        self.height.div_ceil(self.chunk[1])
    }

    /// Samples that lie together in a chunk.
    pub(super) fn chunk_samples(&self) -> usize {
        if self.interleaved { self.samples } else { 1 }
    }

    /// Lines that chunk `index` of a plane holds.
    pub(super) fn chunk_lines(&self, index: usize) -> usize {
        let row = index / self.across() % self.down();
        if self.tiled {
            self.chunk[1]
        } else {
            self.chunk[1].min(self.height - row * self.chunk[1])
        }
    }

    /// Bytes of chunk `index` when unpacked.
    pub(super) fn chunk_bytes(&self, index: usize) -> usize {
        self.chunk[0] * self.chunk_lines(index) * self.chunk_samples() * self.sample.size()
    }

    /// Whether two pages can be planes of one stack.
    pub(super) fn same_kind(&self, other: &Self) -> bool {
        (self.width, self.height, self.samples, self.sample)
            == (other.width, other.height, other.samples, other.sample)
    }

    /// Offset of the pixels if they lie together, uncompressed and in order.
    pub(super) fn contiguous(&self) -> Option<u64> {
        let plain = self.compression == Compression::None
            && self.predictor == Predictor::None
            && !self.tiled;
        if !plain || self.samples > 1 {
            return None;
        }
        let first = self.chunks.first()?.0;
        let mut at = first;
        for (index, &(offset, _)) in self.chunks.iter().enumerate() {
            if offset != at {
                return None;
            }
            at = at.checked_add(self.chunk_bytes(index) as u64)?;
        }
        Some(first)
    }
}

fn sample_type(path: &Path, index: usize, ifd: &Ifd<'_>) -> Result<Sample, IoError> {
    let bits = ifd.integers(tag::BITS).unwrap_or_else(|| vec![1]);
    let formats = ifd.integers(tag::SAMPLE_FORMAT).unwrap_or_else(|| vec![1]);
    let uniform = |v: &[u64]| v.windows(2).all(|w| w[0] == w[1]);
    let hint = "save it with 8, 16 or 32 bits per sample, e.g. ImageJ: Image > Type > 16-bit";
    if !uniform(&bits) || !uniform(&formats) {
        return Err(IoError::unsupported(
            path,
            format!("page {index}: samples of different types"),
            hint,
        ));
    }
    let (bits, format) = (
        bits.first().copied().unwrap_or(1),
        formats.first().copied().unwrap_or(1),
    );
    // Format 4 is "undefined", which some writers use for plain numbers.
    Ok(match (bits, format) {
        (8, 1 | 4) => Sample::U8,
        (8, 2) => Sample::I8,
        (16, 1 | 4) => Sample::U16,
        (16, 2) => Sample::I16,
        (32, 1 | 4) => Sample::U32,
        (32, 2) => Sample::I32,
        (16, 3) => Sample::F16,
        (32, 3) => Sample::F32,
        (64, 3) => Sample::F64,
        _ => {
            let what = format!("page {index}: {bits} bits per sample of format {format}");
            return Err(IoError::unsupported(path, what, hint));
        }
    })
}

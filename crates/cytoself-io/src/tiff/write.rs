//! Writing OME-TIFF.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use flate2::write::ZlibEncoder;
use ndarray::{ArrayView4, Axis};

use super::ifd::tag;
use crate::IoError;
use crate::xml::escape;

/// Compression of the planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OmeCompression {
    /// None: fastest to read, by memory map.
    #[default]
    None,
    /// Deflate with horizontal differencing.
    Deflate,
}

/// What is written beside the pixels of an OME-TIFF.
#[derive(Debug, Clone, PartialEq)]
pub struct OmeTiff {
    channels: Vec<String>,
    pixel_size_um: Option<f64>,
    z_step_um: Option<f64>,
    compression: OmeCompression,
    description: String,
}

impl OmeTiff {
    /// For the given channel names; no pixel size, uncompressed.
    #[must_use]
    pub fn new(channels: &[&str]) -> Self {
        let channels = channels.iter().map(ToString::to_string).collect();
        let compression = OmeCompression::None;
        Self {
            channels,
            pixel_size_um: None,
            z_step_um: None,
            compression,
            description: String::new(),
        }
    }

    /// Size of a pixel, um.
    #[must_use]
    pub fn pixel_size_um(mut self, size: f64) -> Self {
        self.pixel_size_um = Some(size);
        self
    }

    /// Distance of slices, um.
    #[must_use]
    pub fn z_step_um(mut self, step: f64) -> Self {
        self.z_step_um = Some(step);
        self
    }

    /// Compression of the planes.
    #[must_use]
    pub fn compression(mut self, compression: OmeCompression) -> Self {
        self.compression = compression;
        self
    }

    /// Free text on how the image was made.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.description = text.to_string();
        self
    }

    fn xml(&self, [c, z, y, x]: [usize; 4]) -> String {
        let size = |name: &str, value: Option<f64>| {
            value.map_or(String::new(), |v| {
                format!(" {name}=\"{v}\" {name}Unit=\"\u{b5}m\"")
            })
        };
        let sizes = [
            size("PhysicalSizeX", self.pixel_size_um),
            size("PhysicalSizeY", self.pixel_size_um),
            size("PhysicalSizeZ", self.z_step_um),
        ]
        .concat();
        let channels: String = self
            .channels
            .iter()
            .enumerate()
            .map(|(i, name)| {
                format!(
                    "<Channel ID=\"Channel:0:{i}\" Name=\"{}\" SamplesPerPixel=\"1\"/>",
                    escape(name)
                )
            })
            .collect();
        let description = if self.description.is_empty() {
            String::new()
        } else {
            format!("<Description>{}</Description>", escape(&self.description))
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"http://www.openmicroscopy.org/Schemas/OME/2016-06 \
             http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd\" Creator=\"cytoself {}\"><Image ID=\"Image:0\">{description}\
             <Pixels ID=\"Pixels:0\" DimensionOrder=\"XYZCT\" Type=\"uint16\" BigEndian=\"false\" SizeX=\"{x}\" SizeY=\"{y}\" SizeZ=\"{z}\" \
             SizeC=\"{c}\" SizeT=\"1\"{sizes}>{channels}<TiffData IFD=\"0\" PlaneCount=\"{}\"/></Pixels></Image></OME>",
            env!("CARGO_PKG_VERSION"),
            c * z
        )
    }
}

/// Writes a 16-bit stack as OME-TIFF, one strip per plane; BigTIFF if it would not fit below 4 GB.
///
/// **Shapes**: `stack` is `[c, z, y, x]`; planes are written channel by channel.
///
/// # Errors
/// - the number of channel names is not `c`, or an axis is empty;
/// - the file cannot be written.
pub fn write_ome_tiff(
    path: &Path,
    stack: ArrayView4<'_, u16>,
    metadata: &OmeTiff,
) -> Result<(), IoError> {
    let (c, z, y, x) = stack.dim();
    if metadata.channels.len() != c || stack.is_empty() {
        return Err(IoError::argument(
            "channel names",
            format!("{c}, one per channel of shape {:?}", stack.shape()),
            metadata.channels.len(),
        ));
    }
    let error = |e| IoError::file(path, e);
    let file = File::create(path).map_err(error)?;
    let big = (stack.len() as u64) * 2 + (c * z) as u64 * 512 > u64::from(u32::MAX) - (1 << 20);
    let mut writer = Writer {
        out: BufWriter::with_capacity(1 << 20, file),
        at: 0,
        big,
    };
    let xml = metadata.xml([c, z, y, x]);
    write_all(&mut writer, stack, metadata.compression, &xml).map_err(error)
}

fn write_all(
    w: &mut Writer,
    stack: ArrayView4<'_, u16>,
    compression: OmeCompression,
    xml: &str,
) -> std::io::Result<()> {
    let (_, _, height, width) = stack.dim();
    w.header()?;
    let mut link = w.at - w.word();
    let mut first = true;
    for channel in stack.axis_iter(Axis(0)) {
        for plane in channel.axis_iter(Axis(0)) {
            let mut bytes = Vec::with_capacity(plane.len() * 2);
            for line in plane.outer_iter() {
                let mut before = 0;
                for &value in line {
                    let stored: u16 = if compression == OmeCompression::Deflate {
                        value.wrapping_sub(before)
                    } else {
                        value
                    };
                    before = value;
                    bytes.extend(stored.to_le_bytes());
                }
            }
            if compression == OmeCompression::Deflate {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(&bytes)?;
                bytes = encoder.finish()?;
            }
            w.align()?;
            let pixels = w.put(&bytes)?;
            let text = if first {
                Some(w.put(&[xml.as_bytes(), &[0]].concat())?)
            } else {
                None
            };
            let ifd = w.directory(
                height,
                width,
                compression,
                (pixels, bytes.len() as u64),
                text.map(|t| (t, xml.len() as u64 + 1)),
            )?;
            w.patch(link, ifd)?;
            link = w.at - w.word();
            first = false;
        }
    }
    w.out.flush()
}

/// Counts what is written, and knows the width of offsets.
struct Writer {
    out: BufWriter<File>,
    at: u64,
    big: bool,
}

impl Writer {
    fn word(&self) -> u64 {
        if self.big { 8 } else { 4 }
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<u64> {
        let at = self.at;
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(at)
    }

    fn put_word(&mut self, value: u64) -> std::io::Result<u64> {
        if self.big {
            self.put(&value.to_le_bytes())
        } else {
            self.put(&(value as u32).to_le_bytes())
        }
    }

    /// Directories and 16-bit pixels begin at even offsets.
    fn align(&mut self) -> std::io::Result<()> {
        if !self.at.is_multiple_of(16) {
            let padding = vec![0; (16 - self.at % 16) as usize];
            self.put(&padding)?;
        }
        Ok(())
    }

    /// Magic, and a place for the offset of the first directory.
    fn header(&mut self) -> std::io::Result<()> {
        if self.big {
            self.put(b"II\x2b\0\x08\0\0\0")?
        } else {
            self.put(b"II\x2a\0")?
        };
        self.put_word(0)?;
        Ok(())
    }

    fn patch(&mut self, at: u64, value: u64) -> std::io::Result<()> {
        let end = self.at;
        self.out.seek(std::io::SeekFrom::Start(at))?;
        self.put_word(value)?;
        self.at = end;
        self.out.seek(std::io::SeekFrom::Start(end))?;
        Ok(())
    }

    /// Writes the directory of a plane; its last word is a place for the offset of the next.
    fn directory(
        &mut self,
        height: usize,
        width: usize,
        compression: OmeCompression,
        pixels: (u64, u64),
        text: Option<(u64, u64)>,
    ) -> std::io::Result<u64> {
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        const LONG8: u16 = 16;
        const ASCII: u16 = 2;
        let offset = if self.big { LONG8 } else { LONG };
        let deflate = compression == OmeCompression::Deflate;
        let mut entries = vec![
            (tag::WIDTH, LONG, 1, width as u64),
            (tag::HEIGHT, LONG, 1, height as u64),
            (tag::BITS, SHORT, 1, 16),
            (tag::COMPRESSION, SHORT, 1, if deflate { 8 } else { 1 }),
            (tag::PHOTOMETRIC, SHORT, 1, 1),
            (tag::STRIP_OFFSETS, offset, 1, pixels.0),
            (tag::SAMPLES, SHORT, 1, 1),
            (tag::ROWS_PER_STRIP, LONG, 1, height as u64),
            (tag::STRIP_COUNTS, offset, 1, pixels.1),
            (tag::SAMPLE_FORMAT, SHORT, 1, 1),
        ];
        if let Some((at, length)) = text {
            entries.push((tag::DESCRIPTION, ASCII, length, at));
        }
        if deflate {
            entries.push((tag::PREDICTOR, SHORT, 1, 2));
        }
        entries.sort_unstable_by_key(|e| e.0);
        self.align()?;
        let count = entries.len() as u64;
        let start = if self.big {
            self.put(&count.to_le_bytes())?
        } else {
            self.put(&(count as u16).to_le_bytes())?
        };
        for (tag, kind, count, value) in entries {
            self.put(&tag.to_le_bytes())?;
            self.put(&kind.to_le_bytes())?;
            self.put_word(count)?;
            self.put_word(value)?;
        }
        self.put_word(0)?;
        Ok(start)
    }
}

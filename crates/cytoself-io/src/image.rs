//! PNG images, 8 and 16 bit.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use ndarray::{Array2, Array3, ArrayView2, Axis, ShapeBuilder};
use png::{BitDepth, ColorType, Decoder, Encoder, Limits, Transformations};

use crate::{IoError, Plane};

/// The most memory that decoding an image may take, bytes.
const LIMIT: usize = 1 << 31;

/// Reads a PNG image as one plane per channel: grey, red-green-blue (and alpha), or the indices of a palette.
///
/// # Errors
/// - the file cannot be opened, is no PNG image, or is damaged;
/// - it decodes to more than 2 GiB.
pub fn read_png(path: &Path) -> Result<Vec<Plane>, IoError> {
    let file = File::open(path).map_err(|e| IoError::file(path, e))?;
    let fault = |e: png::DecodingError| match e {
        png::DecodingError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
            IoError::file(path, e)
        }
        e => IoError::malformed(
            path,
            "image",
            "a readable PNG",
            e,
            "the file is damaged: copy or download it again",
        ),
    };
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), Limits { bytes: LIMIT });
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(fault)?;
    let (color, depth) = reader.output_color_type();
    let (bits, expand) = match depth {
        BitDepth::Sixteen => (16, false),
        BitDepth::Eight => (8, false),
        _ => (8, true),
    };
    let size = reader
        .output_buffer_size()
        .filter(|&s| s <= LIMIT)
        .ok_or_else(|| IoError::TooLarge {
            path: path.to_path_buf(),
            what: "the decoded image".into(),
            needed: u64::from(reader.info().width)
                .saturating_mul(u64::from(reader.info().height))
                .saturating_mul(8),
            available: LIMIT as u64,
            hint: "cut the image into smaller ones".into(),
        })?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(fault)?;
    bytes.truncate(frame.buffer_size());
    if expand {
        bytes = unpack_bits(&bytes, depth as usize, width, height, frame.line_size);
    }
    let shape_fault = |e| IoError::malformed(path, "image", "pixels of its size", e, "");
    let samples = color.samples();
    let shape = (height, width, samples).strides((width * samples, samples, 1));
    if bits == 16 {
        let values: Vec<u16> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| u16::from_be_bytes(*b))
            .collect();
        let image = Array3::from_shape_vec(shape, values).map_err(shape_fault)?;
        Ok(image
            .axis_iter(Axis(2))
            .map(|p| Plane::U16(p.as_standard_layout().into_owned()))
            .collect())
    } else {
        let image = Array3::from_shape_vec(shape, bytes).map_err(shape_fault)?;
        Ok(image
            .axis_iter(Axis(2))
            .map(|p| Plane::U8(p.as_standard_layout().into_owned()))
            .collect())
    }
}

/// Samples of 1, 2 or 4 bits, one per byte.
fn unpack_bits(bytes: &[u8], depth: usize, width: usize, height: usize, line: usize) -> Vec<u8> {
    let mask = (1_u16 << depth) as u8 - 1;
    let mut out = Vec::with_capacity(width * height);
    for line in bytes.chunks_exact(line.max(1)).take(height) {
        let pixels = line
            .iter()
            .flat_map(|b| (0..8 / depth).map(move |i| b >> (8 - depth * (i + 1)) & mask));
        out.extend(pixels.take(width));
    }
    out
}

/// Reads a single-channel image, PNG or TIFF, e.g. a label image: the only plane of the file.
///
/// # Errors
/// - the file cannot be read;
/// - it holds more than one plane.
pub fn read_image(path: &Path) -> Result<Plane, IoError> {
    let one = |count: usize| {
        IoError::malformed(path, "image", "one plane", format!("{count} planes"), "")
    };
    if is_png(path) {
        let mut planes = read_png(path)?;
        return match planes.len() {
            1 => Ok(planes.remove(0)),
            count => Err(one(count)),
        };
    }
    let stack = crate::TiffStack::open(path)?;
    match stack.channels().len() * stack.slices() * stack.frames() {
        1 => stack.read_plane(0, 0, 0),
        count => Err(one(count)),
    }
}

/// Whether the name or the first bytes say PNG.
pub(crate) fn is_png(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut magic));
    match read {
        Ok(()) => magic == *b"\x89PNG",
        Err(_) => path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png")),
    }
}

/// Writes a 16-bit grey PNG, e.g. a label image.
///
/// # Errors
/// - the file cannot be written.
pub fn write_png_u16(path: &Path, image: ArrayView2<'_, u16>) -> Result<(), IoError> {
    let bytes: Vec<u8> = image.iter().flat_map(|v| v.to_be_bytes()).collect();
    write(
        path,
        image.dim(),
        ColorType::Grayscale,
        BitDepth::Sixteen,
        &bytes,
    )
}

/// Writes an 8-bit grey PNG.
///
/// # Errors
/// - the file cannot be written.
pub fn write_png_u8(path: &Path, image: ArrayView2<'_, u8>) -> Result<(), IoError> {
    let bytes: Vec<u8> = image.iter().copied().collect();
    write(
        path,
        image.dim(),
        ColorType::Grayscale,
        BitDepth::Eight,
        &bytes,
    )
}

/// Writes an 8-bit colour PNG.
///
/// **Shapes**: `image` is `[h, w]` of red, green and blue.
///
/// # Errors
/// - the file cannot be written.
pub fn write_png_rgb(path: &Path, image: ArrayView2<'_, [u8; 3]>) -> Result<(), IoError> {
    let bytes: Vec<u8> = image.iter().flatten().copied().collect();
    write(path, image.dim(), ColorType::Rgb, BitDepth::Eight, &bytes)
}

fn write(
    path: &Path,
    (h, w): (usize, usize),
    color: ColorType,
    depth: BitDepth,
    bytes: &[u8],
) -> Result<(), IoError> {
    let size = |n: usize| u32::try_from(n).ok().filter(|&n| n > 0);
    let (Some(width), Some(height)) = (size(w), size(h)) else {
        return Err(IoError::argument(
            "image",
            "1 to 2^32 px on a side",
            format!("{h} x {w}"),
        ));
    };
    let file = File::create(path).map_err(|e| IoError::file(path, e))?;
    let mut encoder = Encoder::new(BufWriter::new(file), width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let fault = |e: png::EncodingError| match e {
        png::EncodingError::IoError(e) => IoError::file(path, e),
        e => IoError::file(path, std::io::Error::other(e)),
    };
    let mut writer = encoder.write_header().map_err(fault)?;
    writer.write_image_data(bytes).map_err(fault)?;
    writer.finish().map_err(fault)
}

/// The labels of a label image.
///
/// # Errors
/// - a value is not a whole number.
pub fn to_labels(path: &Path, plane: &Plane) -> Result<Array2<u32>, IoError> {
    match plane {
        Plane::U8(p) => Ok(p.mapv(u32::from)),
        Plane::U16(p) => Ok(p.mapv(u32::from)),
        Plane::F32(p) => {
            let bad = p
                .indexed_iter()
                .find(|(_, v)| v.fract() != 0.0 || **v < 0.0 || **v > 16_777_216.0);
            match bad {
                None => Ok(p.mapv(|v| v as u32)),
                Some(((y, x), v)) => Err(IoError::malformed(
                    path,
                    format!("pixel (y {y}, x {x})"),
                    "a whole number as label",
                    v,
                    "",
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_and_colour_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let image = Array2::from_shape_fn((3, 5), |(y, x)| (y * 1000 + x * 7) as u16);
        write_png_u16(&path, image.view()).unwrap();
        assert_eq!(read_image(&path).unwrap(), Plane::U16(image.clone()));
        assert_eq!(to_labels(&path, &Plane::U16(image)).unwrap()[[2, 4]], 2028);
        let colours = Array2::from_shape_fn((2, 3), |(y, x)| [y as u8, x as u8, 9]);
        write_png_rgb(&path, colours.view()).unwrap();
        let planes = read_png(&path).unwrap();
        assert_eq!(planes.len(), 3);
        assert_eq!(planes[1].to_f32()[[1, 2]], 2.0);
        assert!(
            read_image(&path)
                .unwrap_err()
                .to_string()
                .contains("3 planes")
        );
    }

    #[test]
    fn bits_are_unpacked() {
        assert_eq!(
            unpack_bits(&[0b1011_0000, 0b0100_0000], 1, 3, 2, 1),
            [1, 0, 1, 0, 1, 0]
        );
        assert_eq!(unpack_bits(&[0x12, 0x3f], 4, 3, 1, 2), [1, 2, 3]);
    }
}
